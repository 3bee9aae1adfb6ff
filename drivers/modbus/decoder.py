"""Turns answers into values and quality: bytes → float64, vectorised.

What a cell is and its bytes are `codec.py`. Called by `parts.py` for polls, and by whoever reads a
single register; `edge check` runs the test vectors of profiles through it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers.modbus.codec import (
    DECIMAL,
    SHAPES,
    Cell,
    bit_mask,
    limits,
    pattern,
    registers,
    wire_places,
)
from edge.image import quality
from edge.image.image import Bits, Floats

_WIRE: Final = {shape: np.dtype(">" + shape) for _, shape in SHAPES.values()}
_PLAIN: Final = frozenset({"u16", "enum", "i16", "u32", "i32", "u64", "i64", "f32", "f64"})
_LARGEST: Final = float(np.finfo(np.float64).max)
_Straight = tuple[Floats, np.dtype[Any], int, int]  # where to, from what, how many, from where on


class Decoder:
    """Turns answers of one read, from wire address `start` on, into values and quality.

    One gather brings the bytes of all cells into order, then each group of equal type is cast at
    once. `values` and `quality` are overwritten by the next `decode`; they are the arrays
    `into`, when given. Where all are numbers that need nothing but their type, `_straight` is how.
    """

    __slots__ = (
        "_alone", "_answer", "_as_sent", "_below", "_clean", "_groups", "_high", "_low", "_offset",
        "_possible", "_scale", "_straight", "quality", "values",
    )  # fmt: skip

    def __init__(
        self,
        cells: Sequence[Cell],
        start: int,
        *,
        bits: bool,
        into: tuple[Floats, Bits] | None = None,
    ) -> None:
        n = len(cells)
        self.values: Floats
        self.quality: Bits
        self.values, self.quality = into or (np.full(n, np.nan), np.zeros(n, np.uint16))
        self._scale = _unless(1.0, [c.scale for c in cells])
        self._offset = _unless(0.0, [c.offset for c in cells])
        self._low, self._high = _needed_bounds(cells, bits=bits)
        self._possible = np.ones(n, np.bool_)
        self._below = np.ones(n, np.bool_)
        self._clean = False
        self._alone = True  # nobody but `decode` changes the values
        self._answer = bytearray()  # the last one; the groups look into it
        self._groups = [_BitGroup(cells, start)] if bits else _register_groups(cells, start)
        changes = (self._scale, self._offset, self._low, self._high)
        self._as_sent = all(change is None for change in changes)
        self._straight = None
        if self._as_sent and len(self._groups) == 1:
            self._straight = self._groups[0].straight(self.values)

    def reader(self, answer: memoryview, size: int) -> Callable[[], None]:
        """Decodes, at each call, what lies in `answer` then: a PDU of `size` bytes as for `decode`,
        which has taken one before."""
        if self._straight is None or not self._clean:
            return lambda: self.decode(bytes(answer[:size]))
        self._alone = False
        values, wire, count, start = self._straight
        return partial(values.__setitem__, ..., np.frombuffer(answer, wire, count, start))

    def decode(self, pdu: bytes) -> None:
        """Fill `values` and `quality` from an answer; `answers` holds for it.

        NaN, infinity, wrong digits and what lies outside `low` to `high` become RANGE, sentinels
        SENSOR; where there is no number, the value is NaN.
        """
        if self._alone and pdu == self._answer:  # most answers repeat the one before
            return
        if len(pdu) != len(self._answer):
            self._answer = bytearray(len(pdu))
            for group in self._groups:
                group.look(self._answer, self.values)
        self._answer[:] = pdu
        values = self.values
        absent = []
        for group in self._groups:
            places = group.fill()
            if places is not None:
                absent.append(places)
        if self._as_sent and self._clean and not absent:
            return
        if self._scale is not None:
            values *= self._scale
        if self._offset is not None:
            values += self._offset
        possible = self._check(values)
        if possible is None and not absent:
            if not self._clean:
                self.quality.fill(quality.GOOD)
                self._clean = True
            return
        self._clean = False
        self.quality[:] = (
            quality.GOOD if possible is None else np.where(possible, quality.GOOD, quality.RANGE)
        )
        for places in absent:
            values[places] = np.nan
            self.quality[places] = quality.SENSOR

    def _check(self, values: Floats) -> NDArray[np.bool_] | None:
        """Which values are possible; None when all are."""
        possible = self._possible
        if self._low is not None:
            np.greater_equal(values, self._low, out=possible)
            if self._high is not None:
                possible &= np.less_equal(values, self._high, out=self._below)
        elif self._high is not None:
            np.less_equal(values, self._high, out=possible)
        else:
            return None
        return None if np.count_nonzero(possible) == len(possible) else possible


def decode_one(cell: Cell, data: bytes, *, bits: bool) -> tuple[float, int]:
    """Value and quality of one cell from bytes as on the wire."""
    decoder = Decoder([cell], cell.at, bits=bits)
    decoder.decode(b"\0\0" + data)
    return float(decoder.values[0]), int(decoder.quality[0])


class _Group:
    """Cells of one type inside an answer: where their bytes are and where their values go.

    The views on both are made once, by `look`: making them costs as much as using them.
    """

    def __init__(self, cells: Sequence[Cell], start: int, where: Sequence[int]) -> None:
        self._kind = cells[0].type
        count, self._shape = SHAPES[self._kind]
        self._where = _as_slice(where)
        self._places = np.array(where, np.intp)
        self._wire: np.dtype[Any] | None = None
        self._start = 2 * (cells[0].at - start) + 2  # after function and byte count
        self._count = len(cells)
        in_line = all(c.at == cells[0].at + i * count for i, c in enumerate(cells))
        if in_line and all(c.order == "ABCD" for c in cells):
            self._wire = _WIRE[self._shape]
        index = [2 + 2 * (c.at - start) + p for c in cells for p in wire_places(2 * count, c.order)]
        self._index = np.array(index, np.intp)
        self._scratch = np.zeros(len(index), np.uint8)
        self._shift = np.array([c.bit or 0 for c in cells], np.uint16)
        self._mask = np.array([bit_mask(c) >> (c.bit or 0) for c in cells], np.uint16)
        pairs = [(i, pattern(c, s)) for i, c in enumerate(cells) for s in c.sentinel]
        self._guarded = np.array([i for i, _ in pairs], np.intp)
        self._absent = np.array([p for _, p in pairs], np.dtype(self._unsigned()))
        self._sentinel = bool(pairs)
        self._plain = self._kind in _PLAIN
        self._data: NDArray[np.uint8]
        self._raw: NDArray[Any]
        self._values: Floats
        self._mine: Floats | None

    def _unsigned(self) -> str:
        return self._shape if self._shape[0] == "f" else "u" + self._shape[1]

    def look(self, answer: bytearray, values: Floats) -> None:
        """From now on `fill` takes from `answer` and brings to `values`."""
        self._data = np.frombuffer(answer, np.uint8)
        self._raw = self._scratch.view("<" + self._shape)
        if self._wire is not None:
            self._raw = np.frombuffer(answer, self._wire, self._count, self._start)
        self._values = values
        self._mine = values[self._where] if isinstance(self._where, slice) else None

    def straight(self, values: Floats) -> _Straight | None:
        """How an answer becomes `values`, which are those of this group, in one step."""
        if self._wire is None or self._sentinel or not self._plain:
            return None
        return values, self._wire, self._count, self._start

    def fill(self) -> NDArray[np.intp] | None:
        """Write the raw numbers and return the places in the values that hold a sentinel."""
        raw = self._raw
        if self._wire is None:
            np.take(self._data, self._index, out=self._scratch, mode="clip")
        numbers = raw if self._plain else self._convert(raw)
        if self._mine is not None:
            self._mine[:] = numbers
        else:
            self._values[self._where] = numbers
        if not self._sentinel:
            return None
        found = self._places[self._sentinels(raw)]
        return found if found.size else None

    def _convert(self, raw: NDArray[Any]) -> NDArray[Any]:
        number = raw.astype(self._shape)
        if self._kind in ("bool", "bitfield"):
            return (number >> self._shift) & self._mask
        if self._kind == "mod10k":
            return _mod10k(number)
        return _bcd(number, 4 * registers(self._kind))

    def _sentinels(self, raw: NDArray[Any]) -> NDArray[np.intp]:
        pattern = raw.astype(self._shape).view(self._unsigned())
        places: NDArray[np.intp] = self._guarded[pattern[self._guarded] == self._absent]
        return places


class _BitGroup:
    """Coils or discrete inputs inside an answer, the first one in the lowest bit (§6.1)."""

    def __init__(self, cells: Sequence[Cell], start: int) -> None:
        self._bytes = np.array([2 + (c.at - start) // 8 for c in cells], np.intp)
        self._shift = np.array([(c.at - start) % 8 for c in cells], np.uint8)

    def straight(self, _values: Floats) -> None:
        """Bits are taken out of bytes."""

    def look(self, answer: bytearray, values: Floats) -> None:
        """As `_Group.look`."""
        self._data, self._values = np.frombuffer(answer, np.uint8), values

    def fill(self) -> NDArray[np.intp] | None:
        """As `_Group.fill`; a bit has no sentinel."""
        self._values[:] = (self._data[self._bytes] >> self._shift) & 1
        return None


def _register_groups(cells: Sequence[Cell], start: int) -> list[_Group | _BitGroup]:
    kinds = {kind: [i for i, c in enumerate(cells) if c.type == kind] for kind in SHAPES}
    return [_Group([cells[i] for i in where], start, where) for where in kinds.values() if where]


def _bcd(number: NDArray[Any], digits: int) -> Floats:
    """Four bits a digit; NaN where one of them is no digit."""
    pattern = number.astype(np.uint64)
    result = np.zeros(len(pattern))
    for place in range(digits):
        digit = (pattern >> np.uint64(4 * place)) & np.uint64(0xF)
        result += np.where(digit <= 9, digit, np.nan) * 10.0**place
    return result


def _mod10k(number: NDArray[Any]) -> Floats:
    """Two words of 0 to 9999 each, the upper one counts ten thousands; NaN for greater words."""
    pattern = number.astype(np.uint64)
    upper, lower = pattern >> np.uint64(16), pattern & np.uint64(0xFFFF)
    result = upper * 10_000.0 + lower
    return np.where((upper <= 9_999) & (lower <= 9_999), result, np.nan)


def _needed_bounds(cells: Sequence[Cell], *, bits: bool) -> tuple[Floats | None, Floats | None]:
    """The bounds that values must be compared with; None for one that no raw value can pass."""
    bounds = [_bounds(c) for c in cells]
    reach = [_reach(c, bits=bits) for c in cells]
    low = any(b[0] > r[0] for b, r in zip(bounds, reach, strict=True))
    high = any(b[1] < r[1] for b, r in zip(bounds, reach, strict=True))
    return (
        np.array([b[0] for b in bounds]) if low else None,
        np.array([b[1] for b in bounds]) if high else None,
    )


def _bounds(cell: Cell) -> tuple[float, float]:
    """The possible range, always finite, so that infinity lies outside; a bool is 0 or 1."""
    low, high = max(cell.low, -_LARGEST), min(cell.high, _LARGEST)
    if cell.type == "bool":
        ends = sorted((cell.offset, cell.scale + cell.offset))
        return max(low, ends[0]), min(high, ends[1])
    return low, high


def _reach(cell: Cell, *, bits: bool) -> tuple[float, float]:
    """What the bytes on the wire can become at all; infinite where they may be no number."""
    if cell.type in DECIMAL or cell.type in ("f32", "f64"):
        return -math.inf, math.inf
    whole_word = cell.type == "bool" and cell.bit is None and not bits
    ends = limits(Cell(0, "u16") if whole_word else cell)
    low, high = sorted(end * cell.scale + cell.offset for end in ends)
    return low, high


def _unless(neutral: float, numbers: Sequence[float]) -> Floats | float | None:
    """None where every number does nothing, one number where all are equal."""
    if all(n == neutral for n in numbers):
        return None
    return numbers[0] if len(set(numbers)) == 1 else np.array(numbers)


def _as_slice(where: Sequence[int]) -> slice | NDArray[np.intp]:
    if list(where) == list(range(where[0], where[0] + len(where))):
        return slice(where[0], where[0] + len(where))
    return np.array(where, np.intp)
