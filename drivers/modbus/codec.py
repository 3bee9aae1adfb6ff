"""What stands in registers and bits: types, byte orders, and values as bytes; pure.

Not answers (`decoder.py`), not requests (`pdu.py`), not I/O (`link.py`), not grouping (`plan.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from edge.errors import DeviceRefused
from edge.text import Text

Type = Literal[
    "bool", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64",
    "bcd16", "bcd32", "mod10k", "bitfield", "enum",
]  # fmt: skip
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]

# What a type occupies: registers, and the little-endian number that its bytes form.
SHAPES: Final[dict[Type, tuple[int, str]]] = {
    "bool": (1, "u2"), "bitfield": (1, "u2"), "enum": (1, "u2"), "u16": (1, "u2"),
    "i16": (1, "i2"), "u32": (2, "u4"), "i32": (2, "i4"), "u64": (4, "u8"), "i64": (4, "i8"),
    "f32": (2, "f4"), "f64": (4, "f8"), "bcd16": (1, "u2"), "bcd32": (2, "u4"),
    "mod10k": (2, "u4"),
}  # fmt: skip
DECIMAL: Final = {"bcd16": 9_999, "bcd32": 99_999_999, "mod10k": 99_999_999}


@dataclass(frozen=True, slots=True)
class Cell:
    """One point in a device: what stands at the wire address `at` of its table.

    `sentinel` are raw values that mean "not available": bit patterns or signed numbers for integer
    types, numbers for f32 and f64. `value = raw * scale + offset`, possible from `low` to `high`.
    """

    at: int
    type: Type = "u16"
    order: Order = "ABCD"
    bit: int | None = None
    length: int = 1
    sentinel: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf


def registers(kind: Type) -> int:
    """How many registers a value of this type occupies."""
    return SHAPES[kind][0]


def wire_places(width: int, order: Order) -> list[int]:
    """Where each byte of a value, least significant first, stands among its `width` wire bytes."""
    words = width // 2
    low_word_first = order in ("CDAB", "DCBA")
    swapped = order in ("BADC", "DCBA")
    places = []
    for significance in range(width):
        word = significance // 2 if low_word_first else words - 1 - significance // 2
        low_byte = significance % 2 == 0
        places.append(2 * word + (low_byte != swapped))
    return places


def encode(cell: Cell, value: float) -> bytes:
    """The registers of `value` as on the wire; a bit or bitfield stands at its place, others 0.

    Rounds to the nearest step of the type. Raises DeviceRefused, permanent, when the value is not
    finite, outside `low` to `high`, does not fit the type, or is a sentinel.
    """
    number = raw_number(cell, value)
    width = 2 * registers(cell.type)
    pattern = np.array(_pack(cell, number), np.dtype(SHAPES[cell.type][1])).tobytes()
    wire = bytearray(width)
    for byte, place in zip(pattern, wire_places(width, cell.order), strict=True):
        wire[place] = byte
    return bytes(wire)


def raw_number(cell: Cell, value: float) -> float:
    """`value` in the device's own steps: an int for integer types; refused as for `encode`."""
    if not (math.isfinite(value) and cell.low <= value <= cell.high):
        raise _does_not_fit(value, cell.low, cell.high)
    raw = (value - cell.offset) / cell.scale
    number: float = raw if cell.type in ("f32", "f64") else round(raw)
    low, high = limits(cell)
    if not low <= number <= high:
        ends = sorted((low * cell.scale + cell.offset, high * cell.scale + cell.offset))
        raise _does_not_fit(value, ends[0], ends[1])
    if number in (s if cell.type in ("f32", "f64") else _signed(cell, s) for s in cell.sentinel):
        raise DeviceRefused(
            Text(
                f"值 {value:g} 在该寄存器中表示“无数据”, 不能写入",
                f"the value {value:g} means “not available” in this register and cannot be written",
            ),
            "value",
            permanent=True,
        )
    return number


def limits(cell: Cell) -> tuple[float, float]:
    """The smallest and the greatest raw number that the cell can hold."""
    if cell.type in DECIMAL:
        return 0, DECIMAL[cell.type]
    if cell.type == "bool" or cell.bit is not None:
        return 0, (1 << cell.length) - 1
    dtype = np.dtype(SHAPES[cell.type][1])
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return -largest, largest
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def patterns(kind: Type) -> tuple[float, float]:
    """What may be given as a sentinel: signed numbers and bit patterns; any number for floats."""
    if kind in ("f32", "f64"):
        return limits(Cell(0, kind))
    bits = 16 * registers(kind)
    return -(1 << (bits - 1)), (1 << bits) - 1


def bit_mask(cell: Cell) -> int:
    """The bits of its register that the cell occupies, before byte order."""
    return ((1 << cell.length) - 1) << (cell.bit or 0) if cell.bit is not None else 0xFFFF


def decode_string(data: bytes, order: Order = "ABCD", charset: str = "ascii") -> str:
    """A device's own text (model, serial number): ends at the first NUL, blanks cut off.

    Words stand in reading order in every device; BADC and DCBA swap the two characters of each.
    Raises UnicodeDecodeError.
    """
    return _swap(data, order).split(b"\0", 1)[0].decode(charset).strip()


def encode_string(text: str, length: int, order: Order = "ABCD", charset: str = "ascii") -> bytes:
    """`text` in `length` registers, filled with NUL. Raises ValueError when it does not fit."""
    data = text.encode(charset)
    if len(data) > 2 * length:
        raise ValueError(f"{len(data)} bytes do not fit {length} registers")
    return _swap(data.ljust(2 * length, b"\0"), order)


def _swap(data: bytes, order: Order) -> bytes:
    if order in ("ABCD", "CDAB"):
        return data
    return np.frombuffer(data, np.uint16).byteswap().tobytes()


def _pack(cell: Cell, number: float) -> float:
    """The raw number as the bit pattern that its type is stored with."""
    whole = int(number) if cell.type not in ("f32", "f64") else 0
    if cell.type in ("bcd16", "bcd32"):
        return int(str(whole), 16)
    if cell.type == "mod10k":
        return (whole // 10_000 << 16) | whole % 10_000
    if cell.bit is not None:
        return whole << cell.bit
    return whole if cell.type not in ("f32", "f64") else number


def pattern(cell: Cell, sentinel: float) -> float:
    """A sentinel as it stands in an unsigned view of the register."""
    if cell.type in ("f32", "f64"):
        return sentinel
    return int(sentinel) % (1 << 16 * registers(cell.type))


def _signed(cell: Cell, sentinel: float) -> int:
    """A sentinel as the number that the type reads it as (plain integers and bits only)."""
    stored = int(pattern(cell, sentinel))
    bits = 16 * registers(cell.type)
    signed = cell.type in ("i16", "i32", "i64") and stored >> (bits - 1)
    return stored - (1 << bits) if signed else stored


def _does_not_fit(value: float, low: float, high: float) -> DeviceRefused:
    return DeviceRefused(
        Text(
            f"值 {value:g} 放不进该寄存器, 允许 {low:g} 至 {high:g}",
            f"the value {value:g} does not fit this register, which takes {low:g} to {high:g}",
        ),
        "value",
        permanent=True,
    )
