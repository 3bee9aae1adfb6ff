"""The units of a Modbus device: their registers and bits, and the answer to each request. Pure.

Plain dicts and `struct`, sharing nothing with `drivers/modbus`, so that an error there cannot hide
in both ends. Not frames or media (`modbus_media.py`), not faults (`modbus_device.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

KNOWN = frozenset({1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 0x2B})
_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil",
           16: "holding", 22: "holding", 23: "holding"}  # fmt: skip
_CONFORMITY = ((0x80, 0x83), (3, 0x82), (0, 0x81))  # smallest object id: conformity level
_OBJECTS = {1: range(3), 2: range(0x80), 3: range(0x100)}  # read device identification: by code


@dataclass
class Unit:
    """The registers and bits of one unit; an address that is missing is answered by exception 2.

    `identity` are its identification objects (function 0x2B/0x0E); without any it does not know
    the function. What is not in `functions` it answers by exception 1. `room` is the longest PDU of
    an identification: more of it follows.
    """

    holding: dict[int, int] = field(default_factory=dict)
    input: dict[int, int] = field(default_factory=dict)
    coil: dict[int, int] = field(default_factory=dict)
    discrete: dict[int, int] = field(default_factory=dict)
    identity: dict[int, bytes] = field(default_factory=dict)
    functions: frozenset[int] = KNOWN
    room: int = 253

    def put(self, table: str, address: int, data: bytes) -> None:
        """Store bytes, in the order in which they go over the wire, into registers."""
        for i in range(0, len(data), 2):
            getattr(self, table)[address + i // 2] = data[i] * 256 + data[i + 1]


@dataclass(frozen=True, slots=True)
class Served:
    """A register or bit that was sent in an answer: when, where, and what."""

    at: float  # loop time, which is time.monotonic() unless it is virtual
    unit: int
    table: str
    address: int
    value: int


@dataclass(frozen=True, slots=True)
class Written:
    """A write that the device carried out: function, first address and the values it left there."""

    at: float
    unit: int
    function: int
    address: int
    values: tuple[int, ...]


class Refused(Exception):
    """The request is answered by this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def reply(
    unit: Unit,
    pdu: bytes,
    *,
    most_registers: int,
    served: Callable[[str, int, int], None],
    written: Callable[[int, int, tuple[int, ...]], None],
) -> bytes:
    """The answer to a request; more registers than `most_registers` are not read at once.

    `served(table, address, value)` is told of each register or bit in the answer,
    `written(function, address, values)` of what was changed.
    """
    function = pdu[0]
    try:
        if function not in unit.functions or function not in KNOWN:
            raise Refused(1)
        if function == 0x2B:
            return _identification(unit, pdu)
        if function <= 4:
            address, count = struct.unpack_from(">HH", pdu, 1)
            _at_most(count, most_registers if function in (3, 4) else 2000)
            return _read(unit, function, address, count, served)
        if function == 23:
            _at_most(struct.unpack_from(">H", pdu, 3)[0], most_registers)
            return _read_write(unit, pdu, served, written)
        return _write(unit, pdu, written)
    except Refused as refused:
        return bytes([function | 0x80, refused.code])


def _at_most(count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise Refused(3)


def _cells(unit: Unit, function: int, address: int, count: int) -> dict[int, int]:
    """The table that a function concerns; refused when something is missing in it."""
    cells: dict[int, int] = getattr(unit, _TABLES[function])
    if any(a not in cells for a in range(address, address + count)):
        raise Refused(2)
    return cells


def _read(
    unit: Unit, function: int, address: int, count: int, served: Callable[[str, int, int], None]
) -> bytes:
    cells = _cells(unit, function, address, count)
    values = [cells[a] for a in range(address, address + count)]
    for i, value in enumerate(values):
        served(_TABLES[function], address + i, value)
    if function in (1, 2):
        packed = [0] * ((count + 7) // 8)
        for i, value in enumerate(values):
            packed[i // 8] |= (1 if value else 0) << (i % 8)
        data = bytes(packed)
    else:
        data = struct.pack(f">{count}H", *values)
    return bytes([function, len(data)]) + data


def _read_write(
    unit: Unit,
    pdu: bytes,
    served: Callable[[str, int, int], None],
    written: Callable[[int, int, tuple[int, ...]], None],
) -> bytes:
    """The write comes first (§6.17)."""
    address, count, to, number = struct.unpack_from(">HHHH", pdu, 1)
    values = struct.unpack_from(f">{number}H", pdu, 10)
    _cells(unit, 23, address, count)
    _store(unit, 23, to, values, written)
    return _read(unit, 23, address, count, served)


def _write(unit: Unit, pdu: bytes, written: Callable[[int, int, tuple[int, ...]], None]) -> bytes:
    function = pdu[0]
    address, number = struct.unpack_from(">HH", pdu, 1)
    values: Iterable[int]
    if function == 5:
        if number not in (0, 0xFF00):
            raise Refused(3)
        values = [1 if number else 0]
    elif function == 6:
        values = [number]
    elif function == 15:
        values = [pdu[6 + i // 8] >> (i % 8) & 1 for i in range(number)]
    elif function == 16:
        values = struct.unpack_from(f">{number}H", pdu, 6)
    else:
        keep, change = struct.unpack_from(">HH", pdu, 3)
        present = _cells(unit, 22, address, 1)[address]
        values = [(present & keep) | (change & ~keep & 0xFFFF)]
    _store(unit, function, address, tuple(values), written)
    return pdu if function == 22 else pdu[:5]


def _store(
    unit: Unit,
    function: int,
    address: int,
    values: tuple[int, ...],
    written: Callable[[int, int, tuple[int, ...]], None],
) -> None:
    cells = _cells(unit, function, address, len(values))
    cells.update(zip(range(address, address + len(values)), values, strict=True))
    written(function, address, values)


def _identification(unit: Unit, pdu: bytes) -> bytes:
    """Read device identification (§6.21): a stream of objects, or one by its id."""
    kind, code, first = pdu[1:4]
    if kind != 0x0E or not unit.identity:
        raise Refused(1)
    level = next(level for least, level in _CONFORMITY if max(unit.identity) >= least)
    if code == 4:
        if first not in unit.identity:
            raise Refused(2)
        wanted = [first]
    elif code in _OBJECTS:
        wanted = sorted(i for i in unit.identity if i in _OBJECTS[code])
        wanted = [i for i in wanted if i >= first] if first in wanted else wanted
    else:
        raise Refused(3)
    data, count = b"", 0
    for i in wanted:
        entry = bytes([i, len(unit.identity[i])]) + unit.identity[i]
        if count and 7 + len(data) + len(entry) > unit.room:
            break
        data, count = data + entry, count + 1
    more, after = (0xFF, wanted[count]) if count < len(wanted) else (0, 0)
    return bytes([0x2B, 0x0E, code, level, more, after, count]) + data
