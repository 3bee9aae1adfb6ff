"""RTU frames: the check sum, the byte times, and frames found among other bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import rtu
from tests.support.bad_line import crc

ANSWER = rtu.wrap(7, bytes.fromhex("03 04 1234 5678"))
SEVEN = frozenset({7})


@pytest.mark.parametrize(
    ("data", "sum_"),
    [
        ("01 06 20 00 00 06", "02 08"),
        ("01 06 20 01 13 88", "DE 9C"),
        ("50 03 00 3A 00 03", "28 47"),
        ("01 03 00 00 00 0A", "C5 CD"),
        ("01 83 02", "C0 F1"),
        ("11 04 00 34 00 02", "32 95"),
    ],
)
def test_check_sum_of_printed_frames(data: str, sum_: str) -> None:
    """Frames printed in manuals have the check sum that stands there."""
    body = bytes.fromhex(data)
    assert rtu.check_sum(body) == bytes.fromhex(sum_)
    assert rtu.wrap(body[0], body[1:]) == bytes.fromhex(data + sum_)


@given(st.binary(max_size=260))
def test_check_sum_bit_by_bit(data: bytes) -> None:
    """The table gives what the standard's bit by bit recipe gives."""
    assert rtu.check_sum(data) == crc(data)


@pytest.mark.parametrize(
    ("baud", "milliseconds"),
    [(1200, 32.083), (9600, 4.010), (19200, 2.005), (38400, 1.750), (115200, 1.750)],
)
def test_silence_between_frames(baud: int, milliseconds: float) -> None:
    """t3.5 is three and a half characters, above 19200 bit/s a fixed 1.75 ms."""
    assert rtu.silence(baud) * 1000 == pytest.approx(milliseconds, abs=0.001)


def test_wire_time() -> None:
    """A character has eleven bits."""
    assert rtu.wire_time(9600, 255) == pytest.approx(0.2922, abs=0.0001)


@pytest.mark.parametrize(
    "body",
    [
        "01 01 05", "03 04 1234 5678", "05 0000 FF00", "06 0001 1388", "0F 0013 000A",
        "10 0001 0002", "16 0004 00F2 0025", "17 02 1234", "83 02", "96 01", "AB 01",
        "2B 0E 01 01 00 00 02 00 03 41 42 43 01 01 44",
    ],
)  # fmt: skip
@pytest.mark.parametrize("noise", ["", "00", "FF 07", "07 03", "07 83 02", "07 03 04 00"])
def test_answers_of_every_function_are_found(body: str, noise: str) -> None:
    """A whole answer is found by its own length, whatever stands before and after it."""
    wanted, before = bytes.fromhex(body), bytes.fromhex(noise)
    frame = rtu.wrap(7, wanted)
    for after in (b"", b"\x00", b"\x07\x03"):
        found = rtu.find(before + frame + after, SEVEN)
        assert (found.unit, found.body) == (7, wanted)
        assert (found.start, found.end) == (len(before), len(before) + len(frame))
    for end in range(len(frame)):
        assert rtu.find(before + frame[:end], SEVEN).body is None


def test_other_units_are_passed_over() -> None:
    """A frame of a unit that nobody waits for is noise."""
    found = rtu.find(rtu.wrap(8, b"\x06\0\1\0\2") + ANSWER, SEVEN)
    assert (found.unit, found.start) == (7, 8)


@pytest.mark.parametrize("flipped", range(3, len(ANSWER)))
def test_damaged_answer_is_told_from_none(flipped: int) -> None:
    """Whole length and wrong check sum is damage; less than the whole is not yet."""
    bad = bytearray(ANSWER)
    bad[flipped] ^= 0x10
    assert rtu.find(bytes(bad), SEVEN, 7, 3).damaged
    assert not rtu.find(bytes(bad[:-1]), SEVEN, 7, 3).damaged
    assert not rtu.find(bytes(bad), SEVEN, 7, 4).damaged


def test_damage_inside_an_unfinished_answer_is_none() -> None:
    """What looks like a damaged refusal within an answer that still arrives does not count."""
    whole = rtu.wrap(7, bytes.fromhex("03 08 0783 0000 0000 0000"))
    assert not rtu.find(whole[:-1], SEVEN, 7, 3).damaged
    assert rtu.find(whole, SEVEN, 7, 3).body is not None


@given(st.binary(max_size=60), st.sets(st.integers(0, 255), max_size=3), st.integers(0, 255))
def test_only_what_has_its_check_sum(data: bytes, units: set[int], function: int) -> None:
    """Whatever the bytes are, what is found is a frame of a wanted unit with its check sum."""
    found = rtu.find(data, frozenset(units), min(units, default=-1), function)
    if found.body is not None:
        assert found.unit in units
        assert data[found.start : found.end] == rtu.wrap(found.unit, found.body)
