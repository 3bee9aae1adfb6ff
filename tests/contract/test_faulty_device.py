"""The faulty Modbus device itself: what the contract tests rely on, against printed examples."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import pytest

from edge.proof.virtual_loop import run_virtual
from tests.support.bad_line import BadLine, PacedLine, Piece, Trouble, crc
from tests.support.modbus_device import ModbusDevice, Unit
from tests.support.modbus_media import Pty
from tests.support.modbus_units import reply


@pytest.mark.parametrize(
    ("body", "check"),
    [("01 06 20 00 00 06", "02 08"), ("01 06 20 01 13 88", "DE 9C"), ("50 03 00 3A 00 03", "28 47"),
     ("01 03 00 00 00 0A", "C5 CD"), ("01 83 02", "C0 F1"), ("11 04 00 34 00 02", "32 95")],
)  # fmt: skip
def test_check_sum(body: str, check: str) -> None:
    """As printed in vendors' manuals."""
    assert crc(bytes.fromhex(body)) == bytes.fromhex(check)


def answered(unit: Unit, pdu: str) -> str:
    return reply(
        unit, bytes.fromhex(pdu), most_registers=125,
        served=lambda *_: None, written=lambda *_: None,
    ).hex(" ").upper()  # fmt: skip


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("01 0013 0013", "01 03 CD 6B 05"),
        ("03 006B 0003", "03 06 02 2B 00 00 00 64"),
        ("05 00AC FF00", "05 00 AC FF 00"),
        ("06 0001 0003", "06 00 01 00 03"),
        ("0F 0013 000A 02 CD 01", "0F 00 13 00 0A"),
        ("10 0001 0002 04 000A 0102", "10 00 01 00 02"),
        ("17 0003 0006 000E 0003 06 00FF 00FF 00FF", "17 0C 00 FE 0A CD 00 01 00 03 00 0D 00 FF"),
        ("2B 0E 01 00", "2B 0E 01 81 00 00 01 00 04 41 43 4D 45"),
        ("2B 0E 04 01", "AB 02"),
        ("03 0200 0001", "83 02"),
        ("03 0000 007E", "83 03"),
        ("07", "87 01"),
    ],
)
def test_functions(pdu: str, answer: str) -> None:
    """Each function answers as the examples of the standard (V1.1b3, chapter 6) do."""
    registers = {0x6B: 0x22B, 0x6C: 0, 0x6D: 0x64, 1: 0, 2: 0, 14: 0, 15: 0, 16: 0}
    registers |= dict(zip(range(3, 9), (0xFE, 0xACD, 1, 3, 0xD, 0xFF), strict=True))
    lamps = "1011001111010110101"  # 20-38
    coils = {0x13 + i: int(lamp) for i, lamp in enumerate(lamps)} | {0xAC: 0}
    unit = Unit(holding=registers, coil=coils, identity={0: b"ACME"})
    assert answered(unit, pdu) == answer


def test_mask_write() -> None:
    """The example of §6.16: 12 hex and F2 or 25 gives 17, and the answer is an echo."""
    unit = Unit(holding={4: 0x12})
    assert answered(unit, "16 0004 00F2 0025") == "16 00 04 00 F2 00 25"
    assert unit.holding[4] == 0x17


def sent(line: BadLine, frames: int, *, rtu: bool) -> list[Sequence[Piece]]:
    frame = bytes.fromhex("01 03 04 1234 5678")
    whole = frame + crc(frame) if rtu else bytes.fromhex("0001 0000 0007") + frame
    return [line.answer(whole, rtu=rtu) for _ in range(frames)]


@pytest.mark.parametrize("rtu", [True, False])
@pytest.mark.parametrize("trouble", Trouble)
def test_one_seed_one_course(trouble: Trouble, rtu: bool) -> None:
    """The same seed spoils the same frames in the same way, about as many as were asked for."""

    def line() -> BadLine:
        return BadLine(trouble, 3, share=0.1, timeout=0.1)

    one, other = line(), line()
    assert sent(one, 500, rtu=rtu) == sent(other, 500, rtu=rtu)
    if trouble not in (Trouble.BYTES, Trouble.TWICE, Trouble.ECHO):
        assert 30 < one.hurt < 70


def test_flipped_bits_are_always_detected() -> None:
    """No corrupted RTU frame has the right check sum."""
    line = BadLine(Trouble.CORRUPT, 5, share=1.0, timeout=0.1)
    for (piece,) in sent(line, 2000, rtu=True):
        assert piece.data is not None
        assert crc(piece.data[:-2]) != piece.data[-2:]


def test_paced_line_takes_its_time() -> None:
    """A request of 8 bytes and an answer of 25 at 9600 bit/s take what domain knowledge says."""
    line = PacedLine(9600)
    pieces = line.answer(bytes(25), rtu=True)
    took = line.arrival(8) + sum(piece.pause for piece in pieces)
    assert took + line.silence == pytest.approx(0.0508, abs=0.0001)
    assert b"".join(piece.data or b"" for piece in pieces) == bytes(25)


def test_terminal_vanishes_and_comes_back() -> None:
    """The open end of a dropped terminal is hung up, and the same path leads to a new one."""

    async def main() -> None:
        medium = Pty(away=0.01)
        async with ModbusDevice({1: Unit(holding={0: 7})}, medium=medium):
            for _ in range(2):
                end = os.open(medium.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                request = bytes.fromhex("01 03 0000 0001")
                os.write(end, request + crc(request))
                await asyncio.sleep(0.02)
                assert os.read(end, 100)[:5] == bytes.fromhex("01 03 02 0007")
                medium.drop()
                assert not medium.path.exists()
                assert os.read(end, 100) == b""
                os.close(end)
                await asyncio.sleep(0.02)

    asyncio.run(main())


def test_device_lives_in_virtual_time() -> None:
    """A paced answer costs virtual time only."""

    async def main() -> None:
        device = ModbusDevice({1: Unit(holding={0: 7})})
        device.line = PacedLine(1200)
        async with device:
            reader, writer = await asyncio.open_connection(*device.address.split(":"))
            started = asyncio.get_running_loop().time()
            writer.write(bytes.fromhex("0001 0000 0006 01 03 0000 0001"))
            assert (await reader.readexactly(11))[-1] == 7
            assert asyncio.get_running_loop().time() - started > 0.2
            writer.close()

    run_virtual(main, patience=0.002)
