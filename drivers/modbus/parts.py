"""What is known of a poll whose device refuses some of its registers: which parts to read instead.

A refused block is divided until only the registers that the device does not have are left out, so
that one wrong line of a map costs one point. Pure; driven by `driver.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from drivers.modbus.codec import Decoder
from drivers.modbus.plan import Block, block_of
from edge.driver import Sample
from edge.image import quality

PROBES: Final = 16  # refused requests at most per read: a wrong map must not take the bus
RETRY: Final = 600.0  # seconds after which the whole is tried again


class Part:
    """Some neighbouring points of a poll: their request, and where their values go."""

    def __init__(self, block: Block, sample: Sample, first: int) -> None:
        last = first + len(block.spots)
        self.block = block
        self.first = first
        self.request = block.request()
        self.sample = sample
        self.decoder = Decoder(
            block.cells(),
            block.address,
            bits=block.bits,
            into=(sample.values[first:last], sample.quality[first:last]),
        )

    def halves(self) -> tuple[Part, ...]:
        """Two parts, divided at the widest hole, else in the middle; none for a single point."""
        spots = self.block.spots
        if len(spots) == 1:
            return ()
        middle = len(spots) / 2
        end, holes = spots[0].end, []
        for i, spot in enumerate(spots[1:], 1):
            holes.append((max(0, spot.address - end), -abs(i - middle), i))
            end = max(end, spot.end)
        at = max(holes)[2]
        return self._part(0, at), self._part(at, len(spots))

    def _part(self, start: int, stop: int) -> Part:
        block = block_of(self.block.unit, self.block.spots[start:stop])
        return Part(block, self.sample, self.first + start)

    def joined(self, other: Part) -> Part | None:
        """Both as one, when `other` follows directly without a hole."""
        touching = self.first + len(self.block.spots) == other.first
        end = self.block.address + self.block.count
        if not touching or other.block.address > end:
            return None
        spots = self.block.spots + other.block.spots
        return Part(block_of(self.block.unit, spots), self.sample, self.first)

    def refuse(self) -> tuple[Part, ...]:
        """Say that the device refused it: what to try instead, nothing for a single point."""
        last = self.first + len(self.block.spots)
        self.sample.values[self.first : last] = np.nan
        self.sample.quality[self.first : last] = quality.CONFIG
        return self.halves()


class Reading:
    """A poll's values, and the parts that bring them: one, as long as the device refuses none.

    `sample` is overwritten by every read. Points in no part are those that the device refused.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        n = len(block.spots)
        self.sample = Sample(np.full(n, np.nan), np.zeros(n, np.uint16))
        self.parts: list[Part] = []
        self.whole = True
        self.retry_at = 0.0
        self._joinable = False
        self.reset()

    def reset(self) -> None:
        """Forget what was refused: the next read asks for the whole again."""
        self.parts = [Part(self.block, self.sample, 0)]
        self.whole = True

    def divide(self, code: str, now: float) -> None:
        """The whole was refused: go on with its halves until `retry_at`."""
        self.parts = list(self.parts[0].refuse())
        self.whole = False
        self.retry_at = now + RETRY
        self._joinable = code == "02"  # after 03 the smaller size is what helped

    def join(self) -> None:
        """Everything left was answered: join neighbours without a hole between them, once."""
        if self._joinable:
            self._joinable = False
            self.parts = list(_join(self.parts))


def _join(parts: list[Part]) -> Iterator[Part]:
    current: Part | None = None
    for part in parts:
        joined = current.joined(part) if current else None
        if current and not joined:
            yield current
        current = joined or part
    if current:
        yield current
