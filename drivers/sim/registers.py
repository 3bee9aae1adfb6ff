"""A simulated device's register map and its encoding, as a manual would give them.

Shares nothing with `drivers/modbus`: a symmetric mistake in word order would hide otherwise. Used
by `serve_modbus.py`; which registers a site's devices have is `equipment.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

Table = Literal["coil", "discrete", "input", "holding"]
Kind = Literal[
    "bit", "u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64", "bcd16", "bcd32", "mod10k"
]  # fmt: skip

# Natural (big-endian) layout of each kind; an order names the natural bytes in the order in which
# they stand on the wire.
_LAYOUT: Mapping[str, str] = {
    "u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "f32": ">f", "u64": ">Q", "i64": ">q",
    "f64": ">d", "bcd16": ">H", "bcd32": ">I", "mod10k": ">I",
}  # fmt: skip
_LETTERS = "ABCDEFGH"
_DIGITS = {"bcd16": 4, "bcd32": 8, "mod10k": 8}  # of what holds decimal digits


class NoSuchAddress(Exception):
    """Nothing is there, or it cannot be written: Modbus exception 2."""


class BadValue(Exception):
    """The device does not take this value: Modbus exception 3."""


@dataclass(frozen=True, slots=True)
class Register:
    """One value in a map: `variable` of the equipment stands at wire address `address`.

    raw = (value - `offset`) / `scale`. `order` is given by the bytes on the wire ("CDAB"). `bit`
    picks `length` bits, from it upwards, of a 16-bit word which several registers share.
    `writable` bounds the value, None for read only. `absent` is the raw value shown when the sensor
    is bad, all ones unless given (floats show NaN).
    """

    variable: str
    table: Table
    address: int
    kind: Kind = "u16"
    order: str = ""
    scale: float = 1.0
    bit: int | None = None
    writable: tuple[float, float] | None = None
    absent: int = -1
    offset: float = 0.0
    length: int = 1

    @property
    def words(self) -> int:
        """How many addresses it takes."""
        return 1 if self.kind == "bit" else struct.calcsize(_LAYOUT[self.kind]) // 2

    def encode(self, value: float) -> bytes:
        """The bytes on the wire; out of its range a number stays at the end of it."""
        layout = _LAYOUT[self.kind]
        raw = (value - self.offset) / self.scale
        if self.kind in ("f32", "f64"):
            natural = struct.pack(layout, raw)
        elif isnan(value):
            natural = (self.absent & (1 << 64) - 1).to_bytes(8, "big")[-struct.calcsize(layout) :]
        else:
            natural = struct.pack(layout, self._packed(self._clamp(round(raw))))
        return bytes(natural[_LETTERS.index(letter)] for letter in self._order())

    def word(self, value: float) -> int:
        """What its bits add to the word that they share with others; a bad value adds none."""
        raw = 0 if isnan(value) else round((value - self.offset) / self.scale)
        word = min(max(raw, 0), (1 << self.length) - 1) << (self.bit or 0)
        return self._ordered(word)

    def of_word(self, word: int) -> float:
        """The value that its bits have in a word."""
        raw = self._ordered(word) >> (self.bit or 0) & (1 << self.length) - 1
        return raw * self.scale + self.offset

    def _ordered(self, word: int) -> int:
        return (word & 0xFF) << 8 | word >> 8 if self.order == "BA" else word

    def decode(self, wire: bytes) -> float:
        """The value of the bytes on the wire."""
        natural = bytearray(len(wire))
        for byte, letter in zip(wire, self._order(), strict=True):
            natural[_LETTERS.index(letter)] = byte
        raw = struct.unpack(_LAYOUT[self.kind], bytes(natural))[0]
        if self.kind == "mod10k":
            raw = (raw >> 16) * 10_000 + (raw & 0xFFFF)
        elif self.kind in _DIGITS:
            try:
                raw = int(f"{raw:x}")
            except ValueError:  # a digit above nine
                raise BadValue(self.variable) from None
        return float(raw) * self.scale + self.offset

    def _order(self) -> str:
        return self.order or _LETTERS[: 2 * self.words]

    def _packed(self, raw: int) -> int:
        if self.kind == "mod10k":
            return raw // 10_000 << 16 | raw % 10_000
        return int(str(raw), 16) if self.kind in _DIGITS else raw

    def _clamp(self, raw: int) -> int:
        if self.kind in _DIGITS:
            return min(max(raw, 0), int(10 ** _DIGITS[self.kind]) - 1)
        bits = 16 * self.words
        if self.kind.startswith("u"):
            return min(max(raw, 0), (1 << bits) - 1)
        return min(max(raw, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)


class Unit:
    """One device behind the server: its map and where its values come from and go to.

    With `holes` an address that the map leaves out, between its first and last, reads as 0;
    without, it is refused, as many devices do. `identity` are its identification objects: 0 vendor,
    1 product code, 2 revision and further ones; a device without them does not know the function.
    """

    def __init__(
        self,
        registers: Iterable[Register],
        read: Callable[[str], float],
        write: Callable[[str, float], None],
        *,
        holes: bool = True,
        identity: Mapping[int, str] | None = None,
    ) -> None:
        self.identity = identity or {}
        self._registers: dict[Table, list[Register]] = {}
        self._mapped: dict[Table, set[int]] = {}
        for register in registers:
            self._registers.setdefault(register.table, []).append(register)
            span = range(register.address, register.address + register.words)
            self._mapped.setdefault(register.table, set()).update(span)
        self._read, self._write = read, write
        self._holes = holes

    def values(self, table: Table, address: int, count: int) -> list[tuple[Register, float]]:
        """The registers that overlap this range, with their present values."""
        mapped = self._mapped.get(table, set())
        wanted = range(address, address + count)
        if not mapped or wanted[0] < min(mapped) or wanted[-1] > max(mapped):
            raise NoSuchAddress(address)
        if not self._holes and not mapped.issuperset(wanted):
            raise NoSuchAddress(address)
        return [
            (register, self._read(register.variable))
            for register in self._registers[table]
            if register.address <= wanted[-1] and register.address + register.words > address
        ]

    def put_bits(self, address: int, values: Sequence[bool]) -> None:
        """Write coils, all or none."""
        found = [self._writable("coil", address + i) for i in range(len(values))]
        for register, value in zip(found, values, strict=True):
            self._write(register.variable, register.of_word(int(value)))

    def put_words(self, address: int, wire: bytes) -> None:
        """Write holding registers, all or none; a value must be written whole. Of a word of bits
        those that cannot be written stay as they are."""
        puts: list[tuple[Register, float]] = []
        place = 0
        while place < len(wire):
            register = self._writable("holding", address + place // 2)
            if register.bit is not None:
                word = int.from_bytes(wire[place : place + 2], "big")
                puts += self._bits(address + place // 2, word)
                place += 2
                continue
            part = wire[place : place + 2 * register.words]
            if len(part) < 2 * register.words:
                raise BadValue(register.variable)
            value = register.decode(part)
            low, high = register.writable or (nan, nan)
            if not low <= value <= high:
                raise BadValue(register.variable)
            puts.append((register, value))
            place += len(part)
        for register, value in puts:
            self._write(register.variable, value)

    def _bits(self, address: int, word: int) -> list[tuple[Register, float]]:
        return [
            (register, register.of_word(word))
            for register in self._registers["holding"]
            if register.address == address and register.writable and register.bit is not None
        ]

    def _writable(self, table: Table, address: int) -> Register:
        for register in self._registers.get(table, []):
            if register.address == address and register.writable:
                return register
        raise NoSuchAddress(address)


def bits_of(values: Iterable[tuple[Register, float]], address: int, count: int) -> bytes:
    """Coils or discrete inputs as Modbus packs them: the first in the lowest bit."""
    packed = 0
    for register, value in values:
        packed |= register.word(value) << (register.address - address)
    return packed.to_bytes((count + 7) // 8, "little")


def words_of(values: Iterable[tuple[Register, float]], address: int, count: int) -> bytes:
    """Input or holding registers, two bytes each; unmapped ones are 0."""
    wire = bytearray(2 * count)
    for register, value in values:
        start = 2 * (register.address - address)
        if register.bit is not None:
            word = register.word(value)
            wire[start] |= word >> 8
            wire[start + 1] |= word & 0xFF
            continue
        for i, byte in enumerate(register.encode(value)):
            if 0 <= start + i < len(wire):
                wire[start + i] = byte
    return bytes(wire)
