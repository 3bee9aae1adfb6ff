"""Raw register words read in every way a technician may have to try.

Only shows; what the controller uses is decided by the profile. Used by `edge read`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes in one order, and what they mean as a float, an unsigned and a signed integer."""

    order: str
    float: float
    unsigned: int
    signed: int


@dataclass(frozen=True, slots=True)
class Word:
    """One register by itself."""

    hex: str
    unsigned: int
    signed: int


def words(raw: bytes) -> list[Word]:
    """Each 16-bit register as it came over the wire."""
    return [
        Word(
            raw[i : i + 2].hex(),
            int.from_bytes(raw[i : i + 2], "big"),
            int.from_bytes(raw[i : i + 2], "big", signed=True),
        )
        for i in range(0, len(raw) - 1, 2)
    ]


def orders(raw: bytes) -> list[Reading]:
    """The four word and byte orders of two registers (or four); nothing for any other length."""
    if len(raw) not in (4, 8):
        return []
    pairs = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    swapped = [pair[::-1] for pair in pairs]
    big = "ABCDEFGH"[: len(raw)]
    return [
        _reading(name, b"".join(parts))
        for name, parts in (
            (big, pairs),
            (_letters(big, reverse_words=True, swap=False), pairs[::-1]),
            (_letters(big, reverse_words=False, swap=True), swapped),
            (_letters(big, reverse_words=True, swap=True), swapped[::-1]),
        )
    ]


def _letters(big: str, *, reverse_words: bool, swap: bool) -> str:
    pairs = [big[i : i + 2] for i in range(0, len(big), 2)]
    if swap:
        pairs = [pair[::-1] for pair in pairs]
    return "".join(pairs[::-1] if reverse_words else pairs)


def _reading(order: str, data: bytes) -> Reading:
    form = ">f" if len(data) == 4 else ">d"
    return Reading(
        order,
        float(struct.unpack(form, data)[0]),
        int.from_bytes(data, "big"),
        int.from_bytes(data, "big", signed=True),
    )
