"""What is known of a poll whose device refuses some of its registers: which parts to read instead.

A refused block is divided until only the registers that the device does not have are left out, so
that one wrong line of a map costs one point. Pure: what is asked, and when, is `dividing.py`; what
of it is kept is `knowledge.py`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from drivers.modbus.decoder import Decoder
from drivers.modbus.exceptions import TOO_MANY
from drivers.modbus.plan import Block, Spot, block_of
from edge.driver import Sample
from edge.image import quality

RETRY: Final = 3600.0  # seconds after which what is bad is tried again


class Place(NamedTuple):
    """Where points lie that can only be read together: wire address and size."""

    address: int
    size: int


class Findings(NamedTuple):
    """What is left to read of a block, and what is not: parts as (address, count, points) in their
    order, bad places with the loop time of their next trial. `joins`: parts may be joined again."""

    parts: tuple[tuple[int, int, int], ...]
    bad: dict[Place, float]
    joins: bool


class Part:
    """Some neighbouring points of a poll: their request, and where their values go."""

    def __init__(self, block: Block, sample: Sample, first: int) -> None:
        self.block = block
        self.first = first
        self.last = first + len(block.spots)
        self.request = block.request()
        self.sample = sample
        self.decoder = Decoder(
            block.cells(),
            block.address,
            bits=block.bits,
            into=(sample.values[first : self.last], sample.quality[first : self.last]),
        )

    @property
    def end(self) -> int:
        """The wire address after its last register or bit."""
        return self.block.address + self.block.count

    @property
    def place(self) -> Place:
        """Where it lies, when it cannot be divided."""
        return _place(self.block.spots[0])

    def halves(self) -> tuple[Part, ...]:
        """Two parts, divided at the widest hole, else in the middle; none when all lies in one
        place."""
        spots = self.block.spots
        middle = len(spots) / 2
        end, holes = spots[0].end, []
        for i, spot in enumerate(spots[1:], 1):
            if _place(spot) != _place(spots[i - 1]):
                holes.append((max(0, spot.address - end), -abs(i - middle), i))
            end = max(end, spot.end)
        if not holes:
            return ()
        at = max(holes)[2]
        return self.piece(0, at), self.piece(at, len(spots))

    def piece(self, start: int, stop: int) -> Part:
        """Some of its points as a part of their own."""
        block = block_of(self.block.unit, self.block.spots[start:stop])
        return Part(block, self.sample, self.first + start)

    def joined(self, other: Part) -> Part | None:
        """Both as one, when `other` follows directly without a hole."""
        if self.last != other.first or other.block.address > self.end:
            return None
        spots = self.block.spots + other.block.spots
        return Part(block_of(self.block.unit, spots), self.sample, self.first)

    def void(self) -> None:
        """Say that its points cannot be read; its decoder is not used any more."""
        self.sample.values[self.first : self.last] = np.nan
        self.sample.quality[self.first : self.last] = quality.CONFIG


class Reading:
    """A poll's values, and the parts that bring them: one, as long as the device refuses none.

    `sample` is overwritten by every read. `parts` are in the order of their points, `bad` those
    that the device refused alone; `whole` says that one request reads all. `changed`: more is known
    than was taken note of.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        n = len(block.spots)
        self.sample = Sample(np.full(n, np.nan), np.zeros(n, np.uint16))
        self.parts: list[Part] = []
        self.whole = True
        self.bad: dict[Place, Part] = {}
        self.changed = False
        self.reset()

    @property
    def settled(self) -> bool:
        """Whether the device has answered, or refused for good, all there is."""
        return not self._pending

    def pending(self, part: Part) -> bool:
        """Whether the device has yet to say what it makes of a part."""
        return part in self._pending

    def reset(self) -> None:
        """Forget what was refused: the next read asks for the whole again."""
        self.parts = [Part(self.block, self.sample, 0)]
        self.whole = True
        self.bad.clear()
        self._retry: dict[Place, float] = {}
        self._pending: set[Part] = set()
        self._pairs: list[tuple[Part, Part]] = []
        self._borders: set[int] = set()
        self._joins = True

    def order(self) -> list[Part]:
        """What to ask for: first what was answered before."""
        return sorted(self.parts, key=lambda part: part in self._pending)

    def refuse(self, part: Part, code: str, now: float) -> tuple[Part, ...]:
        """The device refused a part: what to try instead, nothing when it cannot be divided."""
        part.void()
        self.changed, self.whole = True, False
        self._joins = self._joins and code != TOO_MANY  # then the smaller size is what helped
        halves = part.halves()
        at = self.parts.index(part)
        self.parts[at : at + 1] = halves
        self._pending.discard(part)
        self._pending.update(halves)
        if halves:
            self._pairs.append((halves[0], halves[1]))
        else:
            self.bad[part.place] = part.piece(0, len(part.block.spots))
            self._retry[part.place] = now + RETRY
        return halves

    def answered(self, part: Part) -> None:
        """The device answered a part."""
        self._pending.discard(part)

    def due(self, now: float) -> Part | None:
        """What is bad and has its turn to be tried again."""
        for place, at in self._retry.items():
            if at > now + RETRY:  # kept by a machine that has been started anew
                self._retry[place] = now + RETRY
                self.changed = True
            elif at <= now:
                return self.bad[place]
        return None

    def put_off(self, part: Part, now: float) -> None:
        """It is still refused."""
        self._retry[part.place] = now + RETRY
        self.changed = True

    def rejoin(self, part: Part) -> None:
        """What was bad has been answered."""
        del self.bad[part.place], self._retry[part.place]
        self.parts = sorted([*self.parts, part], key=lambda p: p.first)
        self._borders -= {part.first, part.last}
        self.changed = True

    def settle(self) -> None:
        """Once nothing is pending: join neighbours, but not where the device wants two requests.

        Two halves that are both answered, and were refused as one, have a border between them.
        """
        answered = set(self.parts)
        self._borders |= {b.first for a, b in self._pairs if {a, b} <= answered}
        self._pairs.clear()
        if not self._joins:
            return
        joined: list[Part] = []
        for part in self.parts:
            one = joined[-1].joined(part) if joined and part.first not in self._borders else None
            if one is not None:
                joined[-1] = one
            else:
                joined.append(part)
        self.parts = joined
        if len(joined) == 1 and joined[0].last - joined[0].first == len(self.block.spots):
            self.reset()

    def findings(self) -> Findings | None:
        """What is known, once all is; None when the whole is read at once."""
        if self.whole or not self.settled:
            return None
        parts = tuple((p.block.address, p.block.count, p.last - p.first) for p in self.parts)
        return Findings(parts, dict(self._retry), self._joins)

    def recall(self, found: Findings) -> bool:
        """Go on with what was found earlier; False, and the whole, when it does not fit."""
        self.reset()
        parts = _fitting(self.parts[0], found)
        if parts is None:
            return False
        whole = self.parts[0]
        whole.void()
        self.parts, self.whole, self.changed = parts, False, False
        for i, spot in enumerate(self.block.spots):
            place = _place(spot)
            if place in found.bad and place not in self.bad:
                same = sum(_place(s) == place for s in self.block.spots)
                self.bad[place] = whole.piece(i, i + same)
        self._retry = dict(found.bad)
        self._borders = {part.first for part in parts}
        self._joins = found.joins
        return True


def _place(spot: Spot) -> Place:
    return Place(spot.address, spot.size)


def _fitting(whole: Part, found: Findings) -> list[Part] | None:
    """The parts of a block that were found; None when its points are not the ones of then.

    Each point must lie in a bad place or in its part, each part must begin and end with its points,
    and each bad place must be one of them.
    """
    spots = whole.block.spots
    bad = [_place(spot) in found.bad for spot in spots]
    if found.bad.keys() - {_place(spot) for spot in spots}:
        return None
    parts, at = list[Part](), 0
    for address, count, points in found.parts:
        while at < len(spots) and bad[at]:
            at += 1
        start, at = at, at + points
        if points < 1 or at > len(spots) or any(bad[start:at]):
            return None
        parts.append(whole.piece(start, at))
        if (parts[-1].block.address, parts[-1].block.count) != (address, count):
            return None
    return parts if parts and all(bad[at:]) else None
