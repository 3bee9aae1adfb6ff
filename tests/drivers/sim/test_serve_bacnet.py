"""The simulated BACnet/IP device, asked by the library's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bacpypes3.apdu import ErrorRejectAbortNack
from bacpypes3.basetypes import PropertyIdentifier
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address
from bacpypes3.primitivedata import Null, ObjectIdentifier

from drivers.sim.serve_bacnet import BacnetDevice, ObjectSpec
from edge.errors import LinkDown
from tests.support.bacnet_wire import HOST, free_port


class Lobby:
    """A model as the device sees it: something to read and something to set."""

    def __init__(self) -> None:
        self.lux = 100.0
        self.dimmer = -1.0
        self.open = 0.0

    @property
    def objects(self) -> Sequence[ObjectSpec]:
        return (
            ObjectSpec("analog-input,1", "lux", "luxes", get=lambda: self.lux),
            ObjectSpec("analog-output,1", "dimmer", "percent", set=self.set, default=20.0),
            ObjectSpec("binary-input,1", "door", get=lambda: self.open),
            ObjectSpec("analog-value,1", "plain"),
            ObjectSpec("multi-state-value,1", "scene", default=2, commandable=True, states=4),
            ObjectSpec("binary-value,1", "night", commandable=True),
        )

    def set(self, value: float) -> None:
        self.dimmer = value


class Client:
    """The library's client, without its types."""

    def __init__(self, app: Any, at: str) -> None:
        self.app, self.at = app, Address(at)

    async def read(self, name: str, prop: str = "present-value") -> Any:
        return await self.app.read_property(
            self.at, ObjectIdentifier(name), PropertyIdentifier(prop)
        )

    async def write(self, name: str, value: Any, priority: int | None = None) -> None:
        await self.app.write_property(
            self.at, ObjectIdentifier(name), PropertyIdentifier("present-value"), value,
            priority=priority,
        )  # fmt: skip


@asynccontextmanager
async def served(lobby: Lobby) -> AsyncIterator[tuple[BacnetDevice, Client]]:
    port = free_port()
    async with BacnetDevice(1001, f"{HOST}/32:{port}", lobby.objects) as device:
        own = DeviceObject(
            objectIdentifier=("device", 1), objectName="client", vendorIdentifier=999,
            apduTimeout=300, numberOfApduRetries=0,
        )  # fmt: skip
        app = NormalApplication(own, IPv4Address(f"{HOST}/32:{free_port()}"))
        try:
            yield device, Client(app, f"{HOST}:{port}")
        finally:
            app.close()


def run(test: Callable[[Lobby, BacnetDevice, Client], Awaitable[None]]) -> None:
    async def main() -> None:
        lobby = Lobby()
        async with asyncio.timeout(20), served(lobby) as (device, client):
            await test(lobby, device, client)

    asyncio.run(main())


def test_measured_values_come_from_the_model() -> None:
    """At each tick inputs take what the model says."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        assert await client.read("analog-input,1") == 100.0
        lobby.lux, lobby.open = 250.5, 1.0
        device.tick()
        assert await client.read("analog-input,1") == 250.5
        assert int(await client.read("binary-input,1")) == 1
        assert str(await client.read("analog-input,1", "units")) == "luxes"

    run(test)


def test_the_model_gets_the_effective_value() -> None:
    """The priority array decides what the model is told; all NULL is the relinquish default."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        assert lobby.dimmer == 20.0
        for value, priority, effective in (
            (60.0, 14, 60.0), (70.0, 8, 70.0), (50.0, 16, 70.0), (Null(()), 8, 60.0),
            (Null(()), 14, 50.0), (Null(()), 16, 20.0),
        ):  # fmt: skip
            await client.write("analog-output,1", value, priority)
            device.tick()
            assert lobby.dimmer == effective
        device.command("analog-output,1", 1, 99.0)
        assert device.priorities("analog-output,1") == {1: 99.0}
        assert await client.read("analog-output,1") == 99.0

    run(test)


def test_values_have_priorities_only_where_said() -> None:
    """A commandable value has a priority array of its type, another one has none."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        for name, value, default in (("multi-state-value,1", 3, 2), ("binary-value,1", 1, 0)):
            await client.write(name, value, 14)
            assert device.priorities(name) == {14: value}
            device.command(name, 8, value)
            await client.write(name, Null(()), 14)
            device.command(name, 8, None)
            assert device.value(name) == default
        with pytest.raises(ErrorRejectAbortNack, match="unknown-property"):
            await client.read("analog-value,1", "priority-array")
        await client.write("analog-value,1", 4.5)
        assert device.value("analog-value,1") == 4.5

    run(test)


def test_out_of_service_lets_go_of_the_model() -> None:
    """An object out of service keeps its value, says so, and an input can then be written."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        with pytest.raises(ErrorRejectAbortNack, match="write-access-denied"):
            await client.write("analog-input,1", 7.0)
        device.faults.out_of_service |= {"analog-input,1", "analog-output,1"}
        lobby.lux = 1.0
        device.tick()
        await client.write("analog-input,1", 7.0)
        await client.write("analog-output,1", 88.0, 14)
        device.tick()
        assert await client.read("analog-input,1") == 7.0
        assert list(await client.read("analog-input,1", "status-flags")) == [0, 0, 0, 1]
        assert lobby.dimmer == 20.0
        device.faults.out_of_service.clear()
        device.tick()
        assert await client.read("analog-input,1") == 1.0
        assert lobby.dimmer == 88.0

    run(test)


def test_a_fault_shows_in_the_status_flags() -> None:
    """A faulty object raises its fault flag and goes on measuring."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        device.faults.fault.add("analog-input,1")
        device.tick()
        assert list(await client.read("analog-input,1", "status-flags")) == [0, 1, 0, 0]
        assert await client.read("analog-input,1") == 100.0

    run(test)


def test_silence_and_delay() -> None:
    """A silent device answers nothing, not even later; a slow one answers after its delay."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        device.faults.silent = True
        with pytest.raises(ErrorRejectAbortNack, match="no-response"):
            await client.read("analog-input,1")
        device.faults.silent = False
        device.faults.delay = 0.1
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await client.read("analog-input,1") == 100.0
        assert loop.time() - started >= 0.1

    run(test)


def test_read_property_multiple_can_be_missing() -> None:
    """Without the service a request is rejected as the standard wants it."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        device.faults.no_multiple = True
        with pytest.raises(ErrorRejectAbortNack, match="unrecognized-service"):
            await client.app.read_property_multiple(
                client.at, ["analog-input,1", ["present-value"]]
            )

    run(test)


def test_the_device_itself_cannot_be_written() -> None:
    """Nobody changes the device object over the network."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        with pytest.raises(ErrorRejectAbortNack, match="write-access-denied"):
            await client.app.write_property(
                client.at, ObjectIdentifier("device,1001"), "apdu-timeout", 5
            )

    run(test)


def test_an_occupied_port_is_said() -> None:
    """A second device on the same port is refused instead of answering at random."""

    async def test(lobby: Lobby, device: BacnetDevice, client: Client) -> None:
        second = BacnetDevice(1002, f"{HOST}/32:{client.at.addrPort}", ())
        with pytest.raises(LinkDown):
            await second.__aenter__()

    run(test)
