"""S41: a write whose outcome is unknown is read back before anything else, and never done twice.

The whole controller over a real socket and over a pseudo-terminal; the device counts what it was
made to do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge.app.controller import Controller
from edge.image import quality
from tests.support.bad_line import BadLine, Line, Trouble
from tests.support.live import controller_on, until, value_of
from tests.support.modbus_device import Fault, ModbusDevice, Unit
from tests.support.modbus_media import Medium, Pty, Tcp

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MEDIA: dict[str, Callable[[], Medium]] = {"tcp": Tcp, "rtu": Pty}
media = pytest.mark.parametrize("make", MEDIA.values(), ids=MEDIA.keys())

TIMEOUT = 0.15
SITE = """
site: {{id: s41, timezone: Asia/Shanghai}}
clock: {{trust: always}}
scan: {{startup_delay: 0s}}
buses:
  line: {{driver: modbus, timeout: {timeout}s, {options}}}
devices:
  valve:
    bus: line
    unit: 1
    poll: 500ms
    points:
      command:  {{holding: 0, unit: "%", range: [0, 100], output: true, feedback: position}}
      position: {{input: 0, unit: "%", range: [0, 100]}}
      blind:    {{holding: 10, unit: "%", range: [0, 100], output: true, access: write, settle: 1s}}
"""

Deed = Callable[[ModbusDevice, Controller], Awaitable[None]]


def day(make: Callable[[], Medium], folder: Path, deed: Deed) -> None:
    """A valve that stands at 20 % and follows at once, and a register that cannot be read."""
    position = {0: 20}
    unit = Unit(holding=position, input=position)

    async def main() -> None:
        async with asyncio.timeout(60), ModbusDevice({1: unit}, medium=make()) as device:
            device.decide = lambda _, pdu: 2 if pdu[:3] == b"\x03\x00\x0a" else None
            unit.holding[10] = 0
            options = ", ".join(f"{k}: {json.dumps(v)}" for k, v in device.options.items())
            async with controller_on(
                SITE.format(options=options, timeout=TIMEOUT), folder
            ) as controller:
                await until(
                    lambda: value_of(controller, "valve.position") == (20.0, quality.GOOD),
                    "the valve was read",
                )
                await deed(device, controller)

    asyncio.run(main())


async def command(controller: Controller, point: str, value: float) -> str:
    """Ask for a value at slot `local`; the id of the command."""
    envelope = {"id": "c1", "op": "set", "point": f"valve.{point}", "value": value}
    answer = await controller.view.command(envelope, "lisi")
    assert answer["state"] == "ACCEPTED", answer
    return str(answer["id"])


def state(controller: Controller, id: str) -> str:
    found = controller.view.command_state(id)
    assert found is not None
    return str(found["state"])


def first_write(device: ModbusDevice, address: int, fault: Fault) -> None:
    """The next write of a register meets a fault; everything else is answered."""
    decide, met = device.decide, False

    def once(unit: int, pdu: bytes) -> Fault | int | None:
        nonlocal met
        if not met and pdu[0] in (6, 16) and int.from_bytes(pdu[1:3], "big") == address:
            met = True
            return fault
        return decide(unit, pdu)

    device.decide = once


def writes(device: ModbusDevice, address: int) -> list[int]:
    """What was written to a register, as the device carried it out."""
    return [value for w in device.written if w.address == address for value in w.values]


def asked_after_write(device: ModbusDevice, address: int) -> list[tuple[int, int]]:
    """Function and address of the requests from the first write of a register on."""
    asked = [(function, at) for _, function, at, _ in device.requests]
    return asked[next(i for i, (f, at) in enumerate(asked) if f in (6, 16) and at == address) :]


def late_first_write(device: ModbusDevice) -> None:
    """The next write is carried out at once and acknowledged after the time-out."""
    decide, met = device.decide, False

    def once(unit: int, pdu: bytes) -> Fault | int | None:
        nonlocal met
        device.line = Line()
        if not met and pdu[0] in (6, 16):
            met = True
            device.line = BadLine(Trouble.LATE, 1, share=1.0, timeout=TIMEOUT)
        return decide(unit, pdu)

    device.decide = once


@media
@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.CUT])
def test_executed_but_not_acknowledged(
    make: Callable[[], Medium], fault: Fault, tmp_path: Path
) -> None:
    """It is read back first, found done, and not written again; feedback verifies the command."""

    async def deed(device: ModbusDevice, controller: Controller) -> None:
        first_write(device, 0, fault)
        id = await command(controller, "command", 65.0)
        await until(lambda: state(controller, id) == "VERIFIED", "the command is verified")
        await asyncio.sleep(1.5)  # time for a second write that must not come
        assert writes(device, 0) == [65]
        asked = asked_after_write(device, 0)
        assert [f for f, at in asked if f in (6, 16)] == [6]
        assert (3, 0) in asked

    day(make, tmp_path, deed)


@media
def test_acknowledged_too_late(make: Callable[[], Medium], tmp_path: Path) -> None:
    """The late acknowledgement answers nothing that is asked meanwhile, and nothing is repeated."""

    async def deed(device: ModbusDevice, controller: Controller) -> None:
        late_first_write(device)
        id = await command(controller, "command", 65.0)
        await until(lambda: state(controller, id) == "VERIFIED", "the command is verified")
        await asyncio.sleep(1.5)  # time for a second write that must not come
        assert writes(device, 0) == [65]

    day(make, tmp_path, deed)


@media
def test_neither_executed_nor_acknowledged(make: Callable[[], Medium], tmp_path: Path) -> None:
    """It is read back before it is written again: between two writes stands a reading."""

    async def deed(device: ModbusDevice, controller: Controller) -> None:
        first_write(device, 0, Fault.SILENT)
        id = await command(controller, "command", 65.0)
        await until(lambda: state(controller, id) == "VERIFIED", "the command is verified")
        assert writes(device, 0) == [65]
        asked = asked_after_write(device, 0)
        again = next(i for i, (f, _) in enumerate(asked[1:], 1) if f in (6, 16))
        assert (3, 0) in asked[1:again]

    day(make, tmp_path, deed)


@media
def test_register_that_cannot_be_read(make: Callable[[], Medium], tmp_path: Path) -> None:
    """Nothing tells whether it was done: it is not done again, and the command says so."""

    async def deed(device: ModbusDevice, controller: Controller) -> None:
        first_write(device, 10, Fault.MUTE)
        id = await command(controller, "blind", 65.0)
        await until(lambda: state(controller, id) == "WRITTEN_UNVERIFIED", "the command is done")
        await asyncio.sleep(1.5)  # time for a second write that must not come
        assert writes(device, 10) == [65]

    day(make, tmp_path, deed)
