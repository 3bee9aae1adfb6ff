"""What a point's answers say about it: number, status flags, and who holds its priority array.

Pure bookkeeping, no I/O: `driver.py` asks the device and hands the answers in here.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import Final

from drivers.bacnet import codec
from drivers.bacnet.codec import Property, Refusal
from drivers.bacnet.config import BINARY, PRESENT_VALUE, PointConfig
from drivers.bacnet.knowledge import Knowledge
from edge.driver import FieldPoint
from edge.image import quality
from edge.image.slots import SLOTS, Slot

PRIORITY_ARRAY: Final = 87
STATUS_FLAGS: Final = 111

# The priorities that we write. A device's own minimum times hold 6, so ours go out as 5.
OURS: Final = frozenset(int(slot) for slot in Slot if slot is not Slot.MIN_TIME)

# Status flags (clause 12.50) and what they mean for a value.
_FLAGS: Final = ((4, quality.SENSOR), (2, quality.OVERRIDDEN), (1, quality.OUT_OF_SERVICE))

UNKNOWN_PROPERTY: Final = 32
# Error codes that say that the map is wrong (clause 18).
WRONG_MAP: Final = {
    "read-access-denied": 27, "unknown-object": 31, "unknown-property": UNKNOWN_PROPERTY,
    "unsupported-object-type": 36, "invalid-array-index": 42, "datatype-not-supported": 47,
}  # fmt: skip
_WRONG: Final = frozenset(WRONG_MAP.values())


def priorities(array: bytes) -> dict[int, bytes]:
    """The occupied places of a priority array, coded; raises `codec.Malformed`."""
    slots = codec.elements(array)
    if len(slots) != SLOTS:
        raise codec.Malformed(f"{len(slots)} priorities")
    return {i: value for i, value in enumerate(slots, 1) if value != codec.NULL}


def priority(slot: int) -> int:
    """The priority at which a slot of the ladder is written."""
    return int(Slot.PROTECT) if slot == Slot.MIN_TIME else slot


@dataclass(slots=True)
class Known:
    """A point. `commandable` (None: not known yet), `flagged` and `tag`, its type of number, are
    learned; `news` says that one of them has changed.

    `held` are the priorities that we may hold. `leftovers` are those of ours that were occupied
    before the first write: an earlier run of this controller left them, and `told`: that was said.
    `seen`: the array was read on this connection.
    """

    spec: FieldPoint
    target: Property
    name: str
    commandable: bool | None
    tag: int = -1
    flagged: bool = True
    news: bool = False
    held: set[int] = field(default_factory=set)
    leftovers: dict[int, bytes] = field(default_factory=dict)
    seen: bool = False
    written: bool = False
    told: bool = False
    flag_bits: int = 0
    array_bits: int = 0

    @classmethod
    def of(cls, point: FieldPoint, known: Knowledge) -> Known:
        """A point of which only the configuration is known, and what was learned earlier."""
        config: PointConfig = point.config
        target, name = config.target(), config.name
        asks = point.writable and target[1] == PRESENT_VALUE
        return cls(
            point, target, name, known.commandable.get(name) if asks else False,
            tag=known.types.get(name, -1), flagged=name not in known.unflagged,
        )  # fmt: skip

    @property
    def array(self) -> Property:
        """Its object's priority array."""
        return self.target[0], PRIORITY_ARRAY

    @property
    def flags(self) -> Property:
        """Its object's status flags."""
        return self.target[0], STATUS_FLAGS

    def extras(self) -> list[Property]:
        """What is worth knowing beside the value, as far as the object has it."""
        out = [self.flags] if self.flagged else []
        return out if self.commandable is False else [*out, self.array]

    def take_value(self, answer: bytes | Refusal) -> tuple[float, int]:
        """Value in the point's unit, and its quality."""
        if isinstance(answer, Refusal):
            wrong = answer.error_code in _WRONG
            return math.nan, quality.CONFIG if wrong else quality.SENSOR
        try:
            number = codec.number(answer)
        except ValueError:
            return math.nan, quality.CONFIG  # a text, a date, a list: not what a point can be
        tag = codec.application_tag(answer)
        if tag != self.tag:
            self.tag, self.news = tag, self.news or self.spec.writable
        value = number * self.spec.scale + self.spec.offset
        bits = self.flag_bits | self.array_bits
        if not self.spec.low <= value <= self.spec.high or math.isinf(value):
            bits |= quality.RANGE
        return value, bits

    def take_extra(self, target: Property, answer: bytes | Refusal) -> None:
        """One of `extras`. What the object does not have is not asked for again.

        Any other error may pass (a starting device has no objects yet); odd content tells nothing.
        """
        if isinstance(answer, Refusal):
            if answer.error_code == UNKNOWN_PROPERTY and target == self.flags:
                self.flagged, self.news = False, True
            elif answer.error_code == UNKNOWN_PROPERTY:
                self._is_commandable(False)
            return
        with contextlib.suppress(codec.Malformed):
            if target == self.flags:
                self.flag_bits = self._flag_bits(answer)
            else:
                self._take_array(answer)

    def _flag_bits(self, answer: bytes) -> int:
        seen = codec.flags(answer)
        bits = sum(bit for flag, bit in _FLAGS if seen & flag)
        if self.spec.writable and bits & quality.OUT_OF_SERVICE:
            bits |= quality.OVERRIDDEN  # the physical output no longer follows what we write
        return bits

    def _take_array(self, answer: bytes) -> None:
        occupied = priorities(answer)
        self._is_commandable(True)
        self.seen = True
        if not self.written:
            self.leftovers = {slot: value for slot, value in occupied.items() if slot in OURS}
        strongest = min(self.held, default=SLOTS + 1)
        foreign = occupied.keys() - self.held - self.leftovers.keys()
        stronger = any(slot < strongest for slot in foreign)
        self.array_bits = quality.OVERRIDDEN if stronger else 0

    def _is_commandable(self, found: bool) -> None:
        self.news |= self.commandable is not found
        self.commandable = found

    def releases(self, keep: int | None) -> list[int]:
        """The priorities to give up beside `keep`, weakest first: the output moves once at most."""
        return sorted((self.held | self.leftovers.keys()) - {keep}, reverse=True)

    def released(self, slot: int) -> None:
        """The device acknowledged a NULL there."""
        self.held.discard(slot)
        self.leftovers.pop(slot, None)

    def holds(self, array: bytes, value: float, slot: int) -> bool:
        """Whether the array has `value` at `slot` and nothing of ours beside it; NaN: nothing."""
        occupied = priorities(array)
        nothing = math.isnan(value)
        if not occupied.keys().isdisjoint(self.releases(keep=None if nothing else slot)):
            return False
        if nothing:
            return True
        return slot in occupied and self.is_value(occupied[slot], value)

    def is_value(self, answer: bytes, value: float) -> bool:
        """Whether this is how the device holds `value`, as exactly as its type can."""
        raw = (value - self.spec.offset) / self.spec.scale
        try:
            asked = codec.number(codec.encoded(raw, codec.application_tag(answer)))
            return math.isclose(codec.number(answer), asked, rel_tol=1e-6)
        except ValueError:
            return False

    def number(self, answer: bytes) -> float:
        """A coded number in the point's unit, NaN for what is none."""
        try:
            return codec.number(answer) * self.spec.scale + self.spec.offset
        except ValueError:
            return math.nan

    def encoded(self, value: float) -> bytes:
        """`value` in the type that the device itself uses. Raises `codec.NotANumber`."""
        raw = (value - self.spec.offset) / self.spec.scale
        if self.target[0] >> codec.INSTANCE_BITS in BINARY and raw not in (0, 1):
            raise codec.NotANumber("0 or 1")
        return codec.encoded(raw, self.tag)
