"""The registers that a site shows to a building management system, resolved.

Plain frozen records and what their types can hold; nothing here knows YAML (`edge/site/bms.py`) or
the wire (`edge/bms/`). A part of `Site`, made by `edge/site/build.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

Network = IPv4Network | IPv6Network
Table = Literal["coil", "discrete", "holding", "input"]
Type = Literal["bit", "u16", "i16", "u32", "i32", "f32"]
Order = Literal["ABCD", "CDAB"]

TABLES: Final[tuple[Table, ...]] = ("coil", "discrete", "holding", "input")
BITS: Final[frozenset[Table]] = frozenset({"coil", "discrete"})

WIDTH: Final[Mapping[Type, int]] = {"bit": 1, "u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2}
"""How many addresses a value takes."""

RAW: Final[Mapping[Type, tuple[float, float]]] = {
    "u16": (0, 0xFFFE), "i16": (-0x7FFF, 0x7FFF), "u32": (0, 0xFFFF_FFFE),
    "i32": (-0x7FFF_FFFF, 0x7FFF_FFFF), "f32": (-3.4028235e38, 3.4028235e38),
}  # fmt: skip
"""The raw values that mean a value; the one that is left out means "not available"."""

STATUS_AT: Final = 9000
STATUS_WORDS: Final = 6
"""Input registers in which the controller tells of itself."""


@dataclass(frozen=True, slots=True)
class Register:
    """One point from the wire address `at` of a table on.

    value = raw * scale. A bit reads `bad` while its point is bad. `write`: it may be commanded.
    """

    point: str
    table: Table
    at: int
    type: Type
    scale: float = 1.0
    write: bool = False
    bad: bool = False

    @property
    def width(self) -> int:
        """How many addresses it takes."""
        return WIDTH[self.type]

    def limits(self) -> tuple[float, float]:
        """The least and the greatest value that it can show."""
        if self.type == "bit":
            return -math.inf, math.inf
        low, high = RAW[self.type]
        return low * self.scale, high * self.scale


@dataclass(frozen=True, slots=True)
class Bms:
    """The server: where it listens, who may connect, on whose authority is written ("" nobody's).

    `order` is the word order of 32-bit values.
    """

    host: str
    port: int
    unit: int
    clients: tuple[Network, ...]
    user: str
    order: Order
    registers: tuple[Register, ...]
