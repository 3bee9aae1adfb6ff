"""Simulated units on a pseudo-terminal, asked by pymodbus as on a serial line and by bare bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusSerialClient

from drivers.sim.registers import Register, Unit
from drivers.sim.serve_modbus import ModbusServer
from drivers.sim.serve_rtu import SerialLine, crc, framed

READ = bytes.fromhex("07 03 0000 0002 c46d".replace(" ", ""))
RIGHT = framed(7, bytes.fromhex("03 04 0064 00c8".replace(" ", "")))


@pytest.mark.parametrize(
    ("frame", "checksum"),
    [
        ("01 06 20 00 00 06", "02 08"),
        ("01 06 20 01 13 88", "DE 9C"),
        ("50 03 00 3A 00 03", "28 47"),
        ("01 03 00 00 00 0A", "C5 CD"),
        ("01 83 02", "C0 F1"),
        ("11 04 00 34 00 02", "32 95"),
    ],
)
def test_the_checksum_has_the_vectors(frame: str, checksum: str) -> None:
    """Frames as vendors print them in their manuals."""
    data = bytes.fromhex(frame)
    assert crc(data).to_bytes(2, "little") == bytes.fromhex(checksum)
    assert framed(data[0], data[1:]) == data + bytes.fromhex(checksum)


def on_line(
    act: Callable[[SerialLine, ModbusServer], Awaitable[None]], *, link: Path | None = None
) -> dict[str, float]:
    """Run `act` beside a line with units 7 and 8; returns what they were left with."""
    values = {"a": 100.0, "b": 200.0, "coil": 0.0}
    unit = Unit(
        (
            Register("a", "holding", 0, writable=(0, 1000)),
            Register("b", "holding", 1),
            Register("coil", "coil", 0, "bit", writable=(0, 1)),
        ),
        values.__getitem__, values.__setitem__, identity={0: "Maker", 1: "P", 2: "1"},
    )  # fmt: skip

    async def main() -> None:
        server = ModbusServer({7: unit, 8: unit})
        async with asyncio.timeout(10), SerialLine(server, link) as line:
            await act(line, server)

    asyncio.run(main())
    return values


def test_pymodbus_reads_and_writes_on_the_line() -> None:
    """A third-party client as on a real line, with every function that it has."""

    async def act(line: SerialLine, _: ModbusServer) -> None:
        client = AsyncModbusSerialClient(line.path, baudrate=9600, timeout=0.5, retries=0)
        assert await client.connect()
        try:
            seen = await client.read_holding_registers(0, count=2, device_id=7)
            assert seen.registers == [100, 200]
            await client.write_register(0, 5, device_id=8)
            await client.write_registers(0, [6], device_id=8)
            await client.write_coils(0, [True], device_id=7)
            await client.mask_write_register(address=0, and_mask=0xFFFF, or_mask=0x10, device_id=7)
            both = await client.readwrite_registers(
                read_address=0, read_count=1, write_address=0, values=[23], device_id=7
            )
            assert both.registers == [23]
            who = await client.read_device_information(read_code=1, object_id=0, device_id=7)
            assert who.information == {0: b"Maker", 1: b"P", 2: b"1"}
            assert (await client.read_holding_registers(5, device_id=7)).exception_code == 2
        finally:
            client.close()

    assert on_line(act) == {"a": 23.0, "b": 200.0, "coil": 1.0}


async def exchange(line: SerialLine, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send bytes to the line, in parts; what comes back within 0.1 s of silence."""
    terminal = os.open(line.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    found = b""
    try:
        for part in parts:
            os.write(terminal, part)
            await asyncio.sleep(pause)
        quiet = 0
        while quiet < 10:
            await asyncio.sleep(0.01)
            try:
                data = os.read(terminal, 300)
            except BlockingIOError:
                data = b""
            found, quiet = found + data, 0 if data else quiet + 1
    finally:
        os.close(terminal)
    return found


@pytest.mark.parametrize(
    ("fault", "frame"),
    [
        ({}, RIGHT),
        ({"answer": "unit"}, framed(8, RIGHT[1:-2])),
        ({"answer": "function"}, framed(7, b"\x04" + RIGHT[2:-2])),
        ({"answer": "short"}, framed(7, bytes.fromhex("03020064"))),
        ({"answer": "transaction"}, RIGHT[:-1] + bytes((RIGHT[-1] ^ 0xFF,))),
        ({"answer": "words"}, framed(7, RIGHT[1:3] + RIGHT[5:7] + RIGHT[3:5])),
        ({"answer": "garbage"}, b"\xde\xad\xbe\xef" * 8),
        ({"exception": 6}, framed(7, b"\x83\x06")),
        ({"bytewise": True}, RIGHT),
        ({"delay": 0.03}, RIGHT),
        ({"silent": True}, b""),
        ({"drop": True}, b""),
    ],
)
def test_the_faults_are_those_of_the_server(fault: dict[str, Any], frame: bytes) -> None:
    """Each fault of a unit changes its frame on the line in its one way."""

    async def act(line: SerialLine, server: ModbusServer) -> None:
        for name, value in fault.items():
            setattr(server.wire[7], name, value)
        assert await exchange(line, READ) == frame
        assert server.requests == {7: 1, 8: 0}

    on_line(act)


def test_only_whole_requests_to_a_unit_of_the_line_are_answered() -> None:
    """Noise, a wrong checksum, another unit and half a request stay unanswered, and the next
    request is answered as if nothing had been."""

    async def act(line: SerialLine, _: ModbusServer) -> None:
        wrong = READ[:-1] + bytes((READ[-1] ^ 1,))
        for nothing in (b"\x00\xff\x13", wrong, framed(9, READ[1:-2]), READ[:5], b"\x07" * 300):
            assert await exchange(line, nothing) == b""
            assert await exchange(line, READ) == RIGHT
        assert await exchange(line, framed(7, b"\x07")) == framed(7, b"\x87\x01")

    on_line(act)


def test_a_request_may_come_byte_by_byte_and_two_at_once() -> None:
    """However the terminal cuts them."""

    async def act(line: SerialLine, _: ModbusServer) -> None:
        single = [READ[i : i + 1] for i in range(len(READ))]
        assert await exchange(line, *single, pause=0.002) == RIGHT
        assert await exchange(line, READ + READ) == RIGHT + RIGHT

    on_line(act)


def test_a_link_has_the_same_name_at_each_start(tmp_path: Path) -> None:
    """It leads to the terminal while the line is open, replaces a stale one and goes with it."""
    link = tmp_path / "line"
    link.symlink_to("/dev/pts/gone")

    async def act(line: SerialLine, _: ModbusServer) -> None:
        assert line.path == str(link)
        assert await exchange(line, READ) == RIGHT

    for _ in range(2):
        on_line(act, link=link)
        assert not link.is_symlink()
    link.write_text("a file that is not ours")
    with pytest.raises(FileExistsError):
        on_line(act, link=link)
    assert link.read_text() == "a file that is not ours"
