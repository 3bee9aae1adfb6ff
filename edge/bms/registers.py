"""The register map of one site: image → words and bits, and what a request writes → values.

Pure: no sockets, no commands. What cannot be shown reads as "not available" (NaN, 0xFFFF, 0x8000,
…) and never as another value. Called by `edge/bms/server.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from edge.image import quality
from edge.image.image import ProcessImage
from edge.site.registers import (
    BITS,
    RAW,
    STATUS_AT,
    STATUS_WORDS,
    TABLES,
    Bms,
    Order,
    Register,
    Table,
    Type,
)

_FORMAT: Final[Mapping[Type, str]] = {
    "u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "f32": ">f",
}  # fmt: skip
NOT_AVAILABLE: Final[Mapping[Type, bytes]] = {
    "u16": b"\xff\xff", "i16": b"\x80\x00", "u32": b"\xff\xff\xff\xff", "i32": b"\x80\x00\x00\x00",
    "f32": b"\x7f\xc0\x00\x00",
}  # fmt: skip
_MOST = 0xFFFE  # what a status word shows at most


class NoSuchAddress(Exception):
    """Modbus exception 2: nothing is there, it is only read, or it is half of a value."""


class BadValue(Exception):
    """Modbus exception 3: these words mean no value."""


class Status(NamedTuple):
    """What the controller tells of itself. `alive` changes with every scan."""

    alive: int
    active: tuple[int, int, int, int]  # alarms whose cause stands, by priority P1 to P4
    unacknowledged: int

    def words(self) -> list[int]:
        """The input registers from `STATUS_AT` on."""
        counts = (*self.active, self.unacknowledged)
        return [self.alive & 0xFFFF, *(min(count, _MOST) for count in counts)]


class Registers:
    """All four tables. `index` is the site's: where a point stands in the image."""

    def __init__(
        self,
        bms: Bms,
        index: Mapping[str, int],
        image: ProcessImage,
        status: Callable[[], Status],
    ) -> None:
        self._order, self._image, self._status = bms.order, image, status
        self._points = {register: index[register.point] for register in bms.registers}
        self._at: dict[Table, dict[int, Register]] = {table: {} for table in TABLES}
        for register in bms.registers:
            span = range(register.at, register.at + register.width)
            self._at[register.table].update(dict.fromkeys(span, register))

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Words, or bits as 0 and 1, all of one moment. Raises `NoSuchAddress`."""
        found: list[int] = []
        stop = address + count
        while address < stop:
            shown, first = self._show(table, address)
            found += shown[address - first : stop - first]
            address = first + len(shown)
        return found

    def _show(self, table: Table, address: int) -> tuple[Sequence[int], int]:
        """The words of whatever stands at `address`, and where they begin."""
        register = self._at[table].get(address)
        if register is not None:
            return self._present(register), register.at
        if table == "input" and STATUS_AT <= address < STATUS_AT + STATUS_WORDS:
            return self._status().words(), STATUS_AT
        raise NoSuchAddress

    def _present(self, register: Register) -> Sequence[int]:
        at = self._points[register]
        value = float(self._image.value[at])
        if self._image.quality[at] & quality.BAD:
            value = math.nan
        if register.type == "bit":
            return (int(register.bad if math.isnan(value) else value != 0),)
        return encode(register, self._order, value)

    def written(
        self, table: Table, address: int, raw: Sequence[int]
    ) -> list[tuple[Register, float]]:
        """What a request asks for; NaN gives a point back. Whole values only.

        Raises `NoSuchAddress` and `BadValue`: then none of it may be carried out.
        """
        found, done = [], 0
        while done < len(raw):
            register = self._at[table].get(address + done)
            if register is None or not register.write or register.at != address + done:
                raise NoSuchAddress
            words = raw[done : done + register.width]
            if len(words) < register.width:
                raise NoSuchAddress
            bit = table in BITS
            value = float(words[0]) if bit else decode(register, self._order, words)
            found.append((register, value))
            done += register.width
        return found


def encode(register: Register, order: Order, value: float) -> tuple[int, ...]:
    """The words of a value; those for "not available" when it is NaN or does not fit."""
    kind = register.type
    raw = value / register.scale
    if kind != "f32":
        raw = round(raw) if math.isfinite(raw) else math.nan
    low, high = RAW[kind]
    fits = low <= raw <= high
    data = struct.pack(_FORMAT[kind], raw) if fits else NOT_AVAILABLE[kind]
    words = struct.unpack(f">{len(data) // 2}H", data)
    return words[::-1] if order == "CDAB" else words


def decode(register: Register, order: Order, words: Sequence[int]) -> float:
    """The value of whole words, without the last bits that a scale or 32 bits add to it.

    NaN for "not available"; raises `BadValue` for an infinity.
    """
    kind = register.type
    data = struct.pack(f">{len(words)}H", *(words[::-1] if order == "CDAB" else words))
    raw = float(struct.unpack(_FORMAT[kind], data)[0])
    if math.isnan(raw) or (kind != "f32" and data == NOT_AVAILABLE[kind]):
        return math.nan
    if math.isinf(raw):
        raise BadValue
    if kind == "f32":
        raw = float(str(np.float32(raw)))  # 0.35, as it was meant, not 0.3499999940395355
    return float(f"{raw * register.scale:.14g}")
