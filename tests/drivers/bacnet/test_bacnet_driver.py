"""The driver against a real BACnet/IP device: priorities, fallbacks, faults, and the network."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import uvloop
from bacpypes3.apdu import AbortPDU, ErrorRejectAbortNack
from bacpypes3.errors import ExecutionError, ObjectError, PropertyError

from drivers.bacnet import BACNET, codec
from drivers.bacnet.config import BusConfig, DeviceConfig, PointConfig
from drivers.bacnet.driver import BacnetDriver
from drivers.bacnet.link import Link
from drivers.sim.serve_bacnet import BacnetDevice, ObjectSpec, _Served
from edge.bus.host import BusHost
from edge.driver import FieldDevice, FieldPoint, Poll, Sample, Write
from edge.errors import DeviceRefused, DeviceTimeout, LinkDown
from edge.events import Event
from edge.image import quality
from edge.image.slots import Slot
from tests.support.bacnet_wire import HOST, Relay, free_port

DIMMER = "analog-output,1"
TABLE = (
    ObjectSpec("analog-input,1", "illuminance", "luxes", default=321.5),
    ObjectSpec(DIMMER, "dimmer", "percent", default=25.0),
    ObjectSpec("analog-value,1", "limit", "percent", default=80.0),
    ObjectSpec("analog-value,2", "target", "percent", default=40.0, commandable=True),
    ObjectSpec("binary-output,1", "lamp"),
    ObjectSpec("analog-input,2", "temperature", "degrees-celsius", default=21.0),
)
WRITABLE = {"analog-output,1", "analog-value,1", "analog-value,2", "binary-output,1"}


class Listener(BusHost):
    """A host that remembers what it was told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[tuple[str, str]] = []

    def emit(self, event: Event, **fields: Any) -> None:
        self.told.append((event.code, event.text.format(**fields).en))


@dataclass
class Bench:
    """A device, a relay in front of it and a driver that sees the relay."""

    device: BacnetDevice
    relay: Relay
    driver: BacnetDriver
    polls: Sequence[Poll]
    host: Listener

    def commandable(self, point: str) -> bool | None:
        """What is kept of it."""
        found: bool | None = self.host.recall("lobby").get("commandable", {}).get(point)
        return found

    async def read(self) -> dict[str, tuple[float, int]]:
        seen = {}
        for poll in self.polls:
            sample: Sample = await self.driver.read(poll)
            pairs = zip(sample.values.tolist(), sample.quality.tolist(), strict=True)
            seen |= dict(zip(poll.points, pairs, strict=True))
        return seen

    async def write(self, value: float, slot: int = Slot.CONTROL, point: str = DIMMER) -> None:
        await self.driver.write([Write("lobby", point, value, slot)])

    def reads(self) -> list[int]:
        """The services of the requests so far, in order."""
        return [data[9] for data in self.relay.requests]


def points(objects: Sequence[str], **limits: float) -> tuple[FieldPoint, ...]:
    low, high = limits.get("low", -math.inf), limits.get("high", math.inf)
    return tuple(
        FieldPoint(o, PointConfig(object=o), 1.0, 0.0, low, high, 1.0, True, o in WRITABLE)
        for o in objects
    )


def driver_for(
    address: str | None,
    field: tuple[FieldPoint, ...],
    *,
    instance: int = 1001,
    network: str = f"{HOST}/32",
    batch: int = 20,
    timeout: str = "400ms",
    host: BusHost | None = None,
) -> tuple[BacnetDriver, Sequence[Poll]]:
    bus = BusConfig(address=f"{network}:{free_port()}", timeout=timeout, retries=0)
    device = FieldDevice(
        "lobby", DeviceConfig(device=instance, address=address, batch=batch), field
    )
    polls = BACNET.plan(bus, device)
    driver = BACNET.connect(bus, [device], polls, host or BusHost())
    assert isinstance(driver, BacnetDriver)
    return driver, polls


@asynccontextmanager
async def bench(
    objects: Sequence[str] | None = None, table: Sequence[ObjectSpec] = TABLE, **options: Any
) -> AsyncIterator[Bench]:
    port = free_port()
    field = points(objects if objects is not None else [spec.object for spec in table])
    relay = Relay(port)
    host = options.setdefault("host", Listener())
    driver, polls = driver_for(relay.address, field, **options)
    async with BacnetDevice(1001, f"{HOST}/32:{port}", table) as device:
        await relay.start()
        try:
            async with driver:
                yield Bench(device, relay, driver, polls, host)
        finally:
            relay.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(main())


# ── priorities ────────────────────────────────────────────────────────────────────────────────────


def test_the_winner_is_written_at_its_number() -> None:
    """Each slot goes to the priority of its number, minimum times to 5, and is held alone."""

    async def test() -> None:
        async with bench() as b:
            for slot in (14, 8, 16, 6, 15, 5, 12, 7, 10):
                await b.write(slot + 40.0, slot)
                assert b.device.priorities(DIMMER) == {5 if slot == 6 else slot: slot + 40.0}

    run(test)


def test_the_new_priority_comes_before_the_old_one_goes() -> None:
    """In a change of slot the output never sees its relinquish default."""

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0, Slot.CONTROL)
            b.relay.requests.clear()
            await b.write(70.0, Slot.LOCAL)
            assert [data[-6:] for data in b.relay.requests] == [
                bytes.fromhex("8c0000 3f 49 07"),  # ... of 70.0, at 7
                bytes.fromhex("55 3e 00 3f 49 0e"),  # Null, at 14
            ]
            assert b.device.value(DIMMER) == 70.0

    run(test)


def test_relinquish_is_a_null_everywhere() -> None:
    """NaN lets go of every priority we hold by a real NULL; the device takes its default."""

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0)
            b.device.command(DIMMER, 3, 90.0)
            await b.write(math.nan)
            assert b.device.priorities(DIMMER) == {3: 90.0}
            b.device.command(DIMMER, 3, None)
            assert (await b.read())[DIMMER] == (25.0, quality.GOOD)

    run(test)


@pytest.mark.parametrize("slot", [1, 2, 3, 4, 9, 11, 13, 17])
def test_other_priorities_are_never_written(slot: int) -> None:
    """Life safety and what is not on the ladder is refused before anything is sent."""

    async def test() -> None:
        async with bench() as b:
            with pytest.raises(DeviceRefused):
                await b.write(60.0, slot)
            assert b.device.priorities(DIMMER) == {}

    run(test)


def test_leftovers_stay_until_the_first_write_is_acknowledged() -> None:
    """What an earlier run left is adopted by reading, and cleared only after our own write."""

    async def test() -> None:
        async with bench() as b:
            b.device.command(DIMMER, 8, 55.0)
            b.device.command(DIMMER, 5, 66.0)
            assert (await b.read())[DIMMER] == (66.0, quality.GOOD)
            b.device.faults.silent = True
            with pytest.raises(DeviceTimeout):
                await b.write(66.0)
            b.device.faults.silent = False
            assert b.device.priorities(DIMMER) == {8: 55.0, 5: 66.0}
            b.relay.requests.clear()
            await b.write(66.0)
            assert b.device.priorities(DIMMER) == {14: 66.0}
            written = [data[-1] for data in b.relay.requests if data[9] == codec.WRITE_PROPERTY]
            assert written == [14, 8, 5]  # never through 8 on the way

    run(test)


def test_a_first_relinquish_clears_leftovers() -> None:
    """A fresh process that only relinquishes, as the failsafe does, clears what is ours."""

    async def test() -> None:
        async with bench() as b:
            b.device.command(DIMMER, 14, 55.0)
            b.device.command(DIMMER, 9, 30.0)
            await b.write(math.nan)
            assert b.device.priorities(DIMMER) == {9: 30.0}

    run(test)


def test_what_appears_later_is_not_ours_to_clear() -> None:
    """After our first write an occupied priority is somebody else's, even on our numbers."""

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0, Slot.CONTROL)
            b.device.command(DIMMER, 8, 80.0)
            assert (await b.read())[DIMMER] == (80.0, quality.OVERRIDDEN)
            await b.write(61.0, Slot.CONTROL)
            await b.write(62.0, Slot.SCHEDULE)
            assert b.device.priorities(DIMMER) == {8: 80.0, 15: 62.0}

    run(test)


@pytest.mark.parametrize(("foreign", "overridden"), [(1, True), (2, True), (13, True), (15, False)])
def test_a_stronger_foreign_priority_is_a_note(foreign: int, overridden: bool) -> None:
    """Somebody above us is OVERRIDDEN and stays usable; somebody below us is nothing."""

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0, Slot.CONTROL)
            b.device.command(DIMMER, foreign, 99.0)
            value, bits = (await b.read())[DIMMER]
            assert bits == (quality.OVERRIDDEN if overridden else quality.GOOD)
            assert value == (99.0 if overridden else 60.0)
            b.device.command(DIMMER, foreign, None)
            assert (await b.read())[DIMMER] == (60.0, quality.GOOD)

    run(test)


def test_a_value_without_priorities_is_just_written() -> None:
    """Without a priority array a value is written plainly, and a relinquish changes nothing."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            assert b.commandable("analog-value,1") is False
            assert b.commandable("analog-value,2") is True
            await b.write(70.0, point="analog-value,1")
            await b.write(71.0, point="analog-value,2")
            b.relay.requests.clear()
            await b.write(math.nan, point="analog-value,1")
            await b.write(math.nan, point="analog-value,2")
            assert b.reads() == [codec.WRITE_PROPERTY]
            assert b.device.value("analog-value,1") == 70.0
            assert b.device.value("analog-value,2") == 40.0

    run(test)


def test_commandable_is_not_known_before_the_device_said_so() -> None:
    """The first read tells whether a point can be relinquished."""

    async def test() -> None:
        async with bench() as b:
            assert b.commandable(DIMMER) is None
            await b.read()
            assert b.commandable(DIMMER) is True

    run(test)


def test_an_object_that_is_missing_says_nothing_about_priorities() -> None:
    """While the device does not know the object, it is not taken for one without priorities."""

    async def test() -> None:
        async with bench([DIMMER], table=TABLE[:1]) as b:
            assert (await b.read())[DIMMER][1] == quality.CONFIG
            assert b.commandable(DIMMER) is None
            with pytest.raises(DeviceRefused):
                await b.write(50.0)

    run(test)


def test_a_refused_write_is_not_held() -> None:
    """An input refuses, in both languages, and is not counted as held."""

    async def test() -> None:
        async with bench(["analog-input,1"]) as b:
            with pytest.raises(DeviceRefused) as caught:
                await b.write(1.0, point="analog-input,1")
            assert caught.value.code == "property/write-access-denied"
            assert "拒绝" in caught.value.reason.zh

    run(test)


def test_a_priority_that_the_device_refuses_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that keeps a priority for others refuses it, and is not sent a NULL there later."""
    taken = _Served.do_WritePropertyRequest

    async def refuse_eight(app: Any, apdu: Any) -> None:
        if apdu.priority == 8:
            raise PropertyError("writeAccessDenied")
        await taken(app, apdu)

    monkeypatch.setattr(_Served, "do_WritePropertyRequest", refuse_eight)

    async def test() -> None:
        async with bench() as b:
            with pytest.raises(DeviceRefused):
                await b.write(60.0, Slot.REMOTE)
            await b.write(61.0, Slot.CONTROL)
            assert b.device.priorities(DIMMER) == {14: 61.0}

    run(test)


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def test_status_flags_become_quality() -> None:
    """Fault is a bad sensor; out of service is a note, and on an output an override too."""

    async def test() -> None:
        async with bench() as b:
            b.device.faults.fault.add("analog-input,1")
            b.device.faults.out_of_service |= {"analog-input,2", DIMMER}
            b.device.tick()
            seen = await b.read()
            assert seen["analog-input,1"] == (321.5, quality.SENSOR)
            assert seen["analog-input,2"] == (21.0, quality.OUT_OF_SERVICE)
            assert seen[DIMMER] == (25.0, quality.OUT_OF_SERVICE | quality.OVERRIDDEN)
            b.device.faults.fault.clear()
            b.device.faults.out_of_service.clear()
            b.device.tick()
            assert {bits for _, bits in (await b.read()).values()} == {quality.GOOD}

    run(test)


def test_one_poll_is_one_request() -> None:
    """When the device is known a poll costs one ReadPropertyMultiple, nothing else."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            b.relay.requests.clear()
            for _ in range(3):
                await b.read()
            assert b.reads() == 3 * [codec.READ_PROPERTY_MULTIPLE]

    run(test)


def test_scale_and_range() -> None:
    """Raw values are scaled; what lies outside the physical range is RANGE."""

    async def test() -> None:
        port = free_port()
        config = PointConfig(object="analog-input,1")
        field = tuple(
            FieldPoint(id, config, 0.5, -10.0, 0.0, high, 1.0, True, False)
            for id, high in (("inside", 200.0), ("outside", 150.0))
        )
        driver, polls = driver_for(f"{HOST}:{port}", field)
        async with BacnetDevice(1001, f"{HOST}/32:{port}", TABLE), driver:
            sample = await driver.read(polls[0])
            assert sample.values.tolist() == [150.75, 150.75]
            assert sample.quality.tolist() == [quality.GOOD, quality.RANGE]

    run(test)


def test_text_is_not_a_number() -> None:
    """A property that is no number is CONFIG, and its bytes can still be looked at."""

    async def test() -> None:
        port = free_port()
        name = PointConfig(object="analog-input,1", property="77")  # object-name
        field = (FieldPoint("name", name, 1.0, 0.0, -math.inf, math.inf, 1.0, True, False),)
        driver, polls = driver_for(f"{HOST}:{port}", field)
        async with BacnetDevice(1001, f"{HOST}/32:{port}", TABLE), driver:
            assert (await driver.read(polls[0])).quality.tolist() == [quality.CONFIG]
            assert b"illuminance" in await driver.raw("lobby", "name")

    run(test)


def test_a_device_without_read_property_multiple() -> None:
    """After one rejected request it is read property by property, with the same result."""

    async def test() -> None:
        async with bench() as b:
            expected = await b.read()
            b.device.faults.no_multiple = True
            b.device.faults.fault.add("analog-input,2")
            b.device.tick()
            rounds = [await b.read() for _ in range(len(TABLE))]
            assert b.reads().count(codec.READ_PROPERTY_MULTIPLE) == 2
            assert rounds[0].keys() == expected.keys()
            assert {p: v for p, (v, _) in rounds[0].items()} == {
                p: v for p, (v, _) in expected.items()
            }
            assert rounds[-1]["analog-input,2"][1] == quality.SENSOR
            await b.write(60.0)
            b.device.command(DIMMER, 1, 100.0)
            later = [(await b.read())[DIMMER] for _ in range(len(TABLE))]
            assert later[-1] == (100.0, quality.OVERRIDDEN)

    run(test)


def test_a_device_in_trouble_refuses_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the device itself is no property's fault, and may pass."""

    async def trouble(app: Any, apdu: Any) -> None:
        raise ExecutionError(errorClass="device", errorCode="operationalProblem")

    async def test() -> None:
        async with bench() as b:
            await b.read()
            b.device.faults.no_multiple = True
            with monkeypatch.context() as patched:
                patched.setattr(_Served, "do_ReadPropertyRequest", trouble)
                with pytest.raises(DeviceRefused) as caught:
                    await b.read()
            assert not caught.value.permanent
            assert {bits for _, bits in (await b.read()).values()} == {quality.GOOD}

    run(test)


def refuse_more_than(most: int, how: str) -> Callable[[Any, Any], Awaitable[None]]:
    async def limited(app: Any, apdu: Any) -> None:
        if len(apdu.listOfReadAccessSpecs) <= most:
            await super(type(app), app).do_ReadPropertyMultipleRequest(apdu)
        elif how == "error":
            raise ObjectError("unknownObject")
        else:
            await app.response(AbortPDU(srv=True, reason=4, context=apdu))

    return limited


@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize("how", ["abort", "error"])
def test_a_device_that_answers_only_so_much(
    most: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused request is asked again by halves, once; afterwards the size is known."""
    limited = refuse_more_than(most, how)
    monkeypatch.setattr(_Served, "do_ReadPropertyMultipleRequest", limited)

    async def test() -> None:
        async with bench() as b:
            first = await b.read()
            assert {bits for _, bits in first.values()} == {quality.GOOD}
            learned = len(b.relay.requests)
            assert await b.read() == first
            again = len(b.relay.requests) - learned
            assert again < learned
            b.relay.requests.clear()
            await b.read()
            assert (codec.READ_PROPERTY_MULTIPLE in b.reads()) == (most > 0)

    run(test)


def test_a_device_with_short_messages() -> None:
    """A request that would not fit the longest APDU the device takes is sent in parts."""
    table = [ObjectSpec(f"analog-input,{i}", f"a{i}", default=float(i)) for i in range(30)]

    async def test() -> None:
        async with bench(table=table, batch=30) as b:
            assert b.device._stack is not None
            b.device._stack.device_object.maxApduLengthAccepted = 206
            seen = await b.read()
            assert seen == {spec.object: (spec.default, quality.GOOD) for spec in table}
            assert max(map(len, b.relay.requests)) <= 206 + 10
            b.relay.requests.clear()
            await b.read()
            assert b.reads() == [codec.READ_PROPERTY_MULTIPLE] * 2

    run(test)


def test_a_poll_whose_objects_are_all_missing() -> None:
    """A device that refuses the whole request makes these points CONFIG, not silent."""

    async def test() -> None:
        async with bench(["analog-input,8", "analog-input,9"]) as b:
            for _ in range(2):
                assert {bits for _, bits in (await b.read()).values()} == {quality.CONFIG}

    run(test)


# ── silence and errors ────────────────────────────────────────────────────────────────────────────


def test_silence_takes_time_out_times_attempts() -> None:
    """A device that never answers is a DeviceTimeout, which is an Exception like any other."""

    async def test() -> None:
        port, bus_port = free_port(), free_port()
        bus = BusConfig(address=f"{HOST}/32:{bus_port}", timeout="100ms", retries=2)
        link = Link(bus, {1001: f"{HOST}:{port}"})
        await link.open()
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(DeviceTimeout) as caught:
            await link.request(1001, codec.READ_PROPERTY, codec.read_property((1, 85)))
        assert loop.time() - started >= 0.3
        assert "0.3" in caught.value.reason.zh
        await link.close()

    run(test)


def test_no_base_exception_escapes() -> None:
    """Error, reject and abort, which derive from BaseException, all arrive as DeviceRefused."""
    assert not issubclass(ErrorRejectAbortNack, Exception)
    absent = codec.object_identifier(0, 99)
    requests = (
        ("object/unknown-object", codec.READ_PROPERTY, codec.read_property((absent, 85))),
        ("property/unknown-property", codec.READ_PROPERTY, codec.read_property((1, 4000))),
        ("reject/unrecognized-service", 29, b""),
        ("abort/segmentation-not-supported", codec.READ_PROPERTY, bytes(2000)),
    )

    async def test() -> None:
        async with bench() as b:
            for code, service, data in requests:
                with pytest.raises(DeviceRefused) as caught:
                    await b.driver._link.request(1001, service, data)
                assert caught.value.code == code

    run(test)


def test_another_device_at_the_address_is_refused() -> None:
    """Values of a device with another instance are never taken for those of the configured one."""

    async def test() -> None:
        async with bench(instance=1007) as b:
            with pytest.raises(DeviceRefused) as caught:
                await b.read()
            assert caught.value.permanent
            assert "1007" in caught.value.reason.zh
            assert b.reads() == [codec.READ_PROPERTY]

    run(test)


def test_a_replaced_device_is_noticed() -> None:
    """After a silence the device must say again who it is: another one may have its address."""

    async def test() -> None:
        port = free_port()
        driver, polls = driver_for(f"{HOST}:{port}", points(["analog-input,1"]))
        async with driver:
            async with BacnetDevice(1001, f"{HOST}/32:{port}", TABLE):
                await driver.read(polls[0])
            with pytest.raises(DeviceTimeout):
                await driver.read(polls[0])
            async with BacnetDevice(1002, f"{HOST}/32:{port}", TABLE):
                with pytest.raises(DeviceRefused):
                    await driver.read(polls[0])
            async with BacnetDevice(1001, f"{HOST}/32:{port}", TABLE):
                assert (await driver.read(polls[0])).values.tolist() == [321.5]

    run(test)


def test_requests_under_way_are_bounded() -> None:
    """However many ask at once, the device sees a few requests at a time, and all are answered."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            b.relay.delay = 0.005
            b.relay.waiting = b.relay.most_waiting = 0
            target = (codec.object_identifier(0, 1), 85)
            request = codec.read_property(target)
            answers = await asyncio.gather(
                *(b.driver._link.request(1001, codec.READ_PROPERTY, request) for _ in range(200))
            )
            assert {codec.number(codec.property_value(a, target)) for a in answers} == {321.5}
            assert 1 < b.relay.most_waiting <= 4

    run(test)


# ── the network ───────────────────────────────────────────────────────────────────────────────────


def test_an_occupied_port_is_said() -> None:
    """The library would share the port silently; we say what is wrong and what to do."""

    async def test() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind((HOST, 0))
            port = other.getsockname()[1]
            link = Link(BusConfig(address=f"{HOST}/32:{port}"), {})
            with pytest.raises(LinkDown) as caught:
                await link.open()
        assert f"{HOST}:{port} is in use" in caught.value.reason.en
        assert "已被另一个程序占用" in caught.value.reason.zh
        await link.open()
        await link.close()

    run(test)


def test_an_absent_address_is_said() -> None:
    """The library would wait for ever; we say that the machine has no such address."""

    async def test() -> None:
        with pytest.raises(LinkDown) as caught:
            await Link(BusConfig(address="192.0.2.1/24"), {}).open()
        assert "192.0.2.1" in caught.value.reason.en

    run(test)


def test_garbage_on_the_port_is_not_even_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datagrams that mean nothing cost nobody a traceback, and the next poll is as before."""
    records: list[logging.LogRecord] = []
    collector = logging.Handler()
    monkeypatch.setattr(collector, "emit", records.append)
    monkeypatch.setattr(logging.getLogger(), "handlers", [collector])

    async def test() -> None:
        async with bench() as b:
            before = await b.read()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for data in (
                    b"",
                    b"\x81",
                    b"\x81\x0a\x00\x04",
                    b"\x81\x0a\x00\x09\x01\x20",
                    bytes(99),
                ):
                    stranger.sendto(data, (HOST, b.driver._link._config.port))
            assert await b.read() == before

    run(test)
    assert [record for record in records if record.name.startswith("bacpypes3")] == []


def test_our_own_device_cannot_be_written() -> None:
    """Others may find our device on the network, and may not change it."""

    async def test() -> None:
        port = free_port()
        own = BusConfig(address=f"{HOST}/32:{port}", device=4000)
        other = Link(BusConfig(address=f"{HOST}/32:{free_port()}"), {4000: f"{HOST}:{port}"})
        link = Link(own, {})
        await link.open()
        await other.open()
        retries = (codec.object_identifier(8, 4000), 73)
        read = await other.request(4000, codec.READ_PROPERTY, codec.read_property(retries))
        assert codec.number(codec.property_value(read, retries)) == own.retries
        write = codec.write_property(retries, codec.encoded(9, codec.UNSIGNED), None)
        with pytest.raises(DeviceRefused) as caught:
            await other.request(4000, codec.WRITE_PROPERTY, write)
        assert caught.value.code == "property/write-access-denied"
        await other.close()
        await link.close()

    run(test)


def test_a_device_that_announces_itself_is_found() -> None:
    """An I-Am tells where a device without a configured address is."""

    async def test() -> None:
        port = free_port()
        driver, polls = driver_for(None, points(["analog-input,1"]))
        async with BacnetDevice(1001, f"{HOST}/32:{port}", TABLE) as device, driver:
            with pytest.raises(DeviceTimeout) as caught:
                await driver.read(polls[0])
            assert "1001" in caught.value.reason.zh
            device.announce(f"{HOST}:{driver._link._config.port}")
            await asyncio.sleep(0.05)
            assert (await driver.read(polls[0])).values.tolist() == [321.5]

    run(test)


def test_a_device_is_searched_by_one_broadcast() -> None:
    """Missing devices are searched by one Who-Is over their range, at most every ten seconds."""

    async def test() -> None:
        port = free_port()
        bus = BusConfig(address=f"127.0.0.1/8:{port}", timeout="200ms", retries=0)
        link = Link(bus, {1001: None, 1003: None, 7: f"{HOST}:9"})
        await link.open()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ear.bind(("127.255.255.255", port))
            ear.setblocking(False)
            for device in (1001, 1003, 1001):
                with pytest.raises(DeviceTimeout):
                    await link.request(device, codec.READ_PROPERTY, b"")
            heard = []
            while True:
                try:
                    heard.append(ear.recv(100))
                except BlockingIOError:
                    break
        await link.close()
        assert [data[-8:] for data in heard] == [bytes.fromhex("1008 0a03e9 1a03eb")]

    run(test)


def test_uvloop() -> None:
    """Everything works on uvloop too, opening a second time included."""

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0)
            assert (await b.read())[DIMMER] == (60.0, quality.GOOD)
            b.device.faults.silent = True
            with pytest.raises(DeviceTimeout):
                await b.read()
            b.device.faults.silent = False
            await b.driver.__aexit__(None, None, None)
            await b.driver.__aenter__()
            assert (await b.read())[DIMMER] == (60.0, quality.GOOD)

    uvloop.run(test())


def test_the_buffers_are_the_drivers_own() -> None:
    """A sample has one value and one quality for each point of its poll."""

    async def test() -> None:
        async with bench(batch=4) as b:
            assert [len(p.points) for p in b.polls] == [4, 2]
            for poll in b.polls:
                sample = await b.driver.read(poll)
                assert sample.values.dtype == np.float64
                assert sample.quality.dtype == np.uint16
                assert len(sample.values) == len(sample.quality) == len(poll.points)

    run(test)
