"""Requests byte by byte against the specification's examples, and what counts as their answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import pdu


def answer(
    objects: dict[int, bytes], *, stream: int = 1, more: int = 0, following: int = 0
) -> bytes:
    """An identification answer, assembled independently of the code under test."""
    body = bytes([0x2B, 0x0E, stream, 0x83, more, following, len(objects)])
    return body + b"".join(bytes([n, len(text)]) + text for n, text in objects.items())


@pytest.mark.parametrize(
    ("request_", "sent", "reply"),
    [
        # The examples of §6.16 and §6.17.
        (
            pdu.mask_write(4, bytes.fromhex("FF0D"), bytes.fromhex("0025")),
            "16 0004 00F2 0025",
            "16 0004 00F2 0025",
        ),
        (
            pdu.read_write(3, 6, 14, bytes.fromhex("00FF00FF00FF")),
            "17 0003 0006 000E 0003 06 00FF00FF00FF",
            "17 0C 00FE 0ACD 0001 0003 000D 00FF",
        ),
        (pdu.identify(pdu.BASIC), "2B 0E 01 00", "2B 0E 01 01 00 00 01 00 02 4142"),
        (pdu.identify(pdu.REGULAR, 4), "2B 0E 02 04", "2B 0E 02 82 FF 05 01 04 02 4142"),
    ],
)
def test_examples(request_: pdu.Request, sent: str, reply: str) -> None:
    """The request is as the specification prints it, and so is its answer."""
    assert request_.pdu == bytes.fromhex(sent)
    assert pdu.answers(request_, bytes.fromhex(reply))
    assert not pdu.answers(request_, bytes.fromhex(reply)[:-1])
    assert not pdu.answers(request_, bytes.fromhex(reply) + b"\0")
    assert pdu.refusal(request_, bytes((request_.pdu[0] | 0x80, 2))) == 2


def test_mask_write_leaves_other_bits() -> None:
    """By the specification's formula only the masked bits change, to those of the data."""
    mask, data, present = 0x0F0C, 0x0504, 0xA5A5
    sent = pdu.mask_write(1, mask.to_bytes(2), data.to_bytes(2)).pdu
    keep, put = int.from_bytes(sent[3:5]), int.from_bytes(sent[5:7])
    after = (present & keep) | (put & ~keep)
    assert after & mask == data & mask
    assert after & ~mask == present & ~mask


@pytest.mark.parametrize(
    "bad",
    [
        lambda: pdu.read(3, 0, 126),
        lambda: pdu.read(3, 0, 0),
        lambda: pdu.read(1, 0, 2001),
        lambda: pdu.read(4, 65535, 2),
        lambda: pdu.read(4, -1, 2),
        lambda: pdu.write_register(0, b"\0\0\0\0"),
        lambda: pdu.write_registers(0, bytes(248)),
        lambda: pdu.write_registers(0, b"\0\0\0"),
        lambda: pdu.write_coils(0, [True] * 1969),
        lambda: pdu.read_write(0, 126, 0, b"\0\0"),
        lambda: pdu.read_write(0, 1, 0, bytes(244)),
        lambda: pdu.mask_write(0, bytes(4), bytes(2)),
    ],
)
def test_limits(bad: Callable[[], pdu.Request]) -> None:
    """More than the specification allows in one request is never sent."""
    with pytest.raises(ValueError, match=r"one request takes|no registers"):
        bad()


@pytest.mark.parametrize(
    "greatest",
    [
        pdu.read(3, 65411, 125),
        pdu.read(1, 0, 2000),
        pdu.write_registers(0, bytes(246)),
        pdu.write_coils(0, [True] * 1968),
        pdu.read_write(0, 125, 0, bytes(242)),
    ],
)
def test_greatest(greatest: pdu.Request) -> None:
    """The greatest allowed request and its answer both fit one PDU."""
    assert max(len(greatest.pdu), greatest.size) <= pdu.MAX_PDU


@given(
    st.dictionaries(st.integers(0, 255), st.binary(max_size=60), max_size=4),
    st.sampled_from([(0, 0), (0xFF, 3)]),
)
def test_identification(objects: dict[int, bytes], tail: tuple[int, int]) -> None:
    """Objects come out as they went in; only the whole answer counts, and its end is found."""
    more, following = tail
    asked, reply = pdu.identify(1), answer(objects, more=more, following=following)
    assert pdu.answers(asked, reply)
    assert pdu.identification(reply) == (objects, following if more else None)
    for i in range(len(reply)):
        told = pdu.length(asked, reply[:i])
        assert told is None or told == len(reply)
    assert pdu.length(asked, reply) == len(reply)


@given(st.sampled_from([pdu.identify(1), pdu.read(3, 0, 4)]), st.binary(max_size=300))
def test_anything_may_arrive(asked: pdu.Request, data: bytes) -> None:
    """Any bytes are judged without an exception; what counts as an answer can be read."""
    for begun in (data, asked.head + data):
        told = pdu.length(asked, begun)
        assert told is None or 0 < told <= pdu.MAX_PDU
        if pdu.answers(asked, begun) and not asked.size:
            pdu.identification(begun)


def test_length_of_fixed_answers() -> None:
    """What is asked for says how long the answer is, and an exception is two bytes."""
    asked = pdu.read(3, 0, 4)
    assert pdu.length(asked, b"") is None
    assert pdu.length(asked, b"\x03") == 10
    assert pdu.length(asked, b"\x83") == 2
    assert pdu.length(pdu.identify(1), b"\xab") == 2
