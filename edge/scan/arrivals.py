"""What bus tasks bring, kept until a step takes it: one answer per poll and step, in order.

A second answer of a poll waits for the next step, so that no change goes unseen. What comes faster
than steps for long must not pile up: `TURNS` steps' worth wait at most, in buffers made once. Not
the image itself. Filled on the loop through `edge.scan.cycle.Scan`, emptied by its latch.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from edge.image.image import Bits, Floats, ProcessImage

TURNS: Final = 4  # a burst of so many answers is seen whole, and no value waits for more steps


class _Turn:
    """What one step takes: values and quality by point, and which polls they are of.

    `arrived` gives by a poll's first point where it stops and when it came; no time for points
    that could not be read and keep their values.
    """

    __slots__ = ("arrived", "bits", "values")

    def __init__(self, points: int) -> None:
        self.values = np.empty(points).data  # copies a slice in half of numpy's time
        self.bits = np.empty(points, np.uint16).data
        self.arrived: dict[int, tuple[int, float | None]] = {}


class Arrivals:
    """The turns of the next steps, to be taken into `image`.

    Beyond the last turn an answer takes the place of the one before it, so that the newest is
    always taken in the end; `skipped` counts those that no step has seen.
    """

    def __init__(self, image: ProcessImage) -> None:
        self.skipped = 0
        self._turns = deque(_Turn(image.points) for _ in range(TURNS))
        self._last = 0  # the turn that is being filled
        self._filled = self._turns[0]
        self._value, self._quality = image.value.data, image.quality.data
        self._stamp = image.stamp

    def __bool__(self) -> bool:
        return bool(self._turns[0].arrived)

    def put(self, first: int, values: Floats, bits: Bits, now: float) -> None:
        """A poll's answer; copied before this returns."""
        turn = self._filled
        if first in turn.arrived:
            turn = self._next()
        stop = first + len(values)
        turn.values[first:stop] = values  # type: ignore[call-overload] # they are buffers
        turn.bits[first:stop] = bits  # type: ignore[call-overload] # before Python 3.12 too
        turn.arrived[first] = stop, now

    def put_failure(self, first: int, count: int, bits: int) -> None:
        """These points could not be read: a new quality for the values that are there."""
        turn = self._filled
        if first in turn.arrived:
            turn = self._next()
        turn.bits[first : first + count] = np.full(count, bits, np.uint16).data
        turn.arrived[first] = first + count, None

    def _next(self) -> _Turn:
        """The turn after the one that has this poll already; the last one is filled anew."""
        if self._last + 1 < TURNS:
            self._last += 1
            self._filled = self._turns[self._last]
        else:
            self.skipped += 1
        return self._filled

    def latch(self) -> list[tuple[int, int]]:
        """Take the oldest turn into the image; returns the ranges of points that it brought."""
        turn, slices = self._turns[0], []
        for first, (stop, now) in turn.arrived.items():
            slices.append((first, stop))
            self._quality[first:stop] = turn.bits[first:stop]
            if now is not None:
                self._value[first:stop] = turn.values[first:stop]
                self._stamp[first:stop].fill(now)
        turn.arrived.clear()
        if self._last:
            self._turns.rotate(-1)
            self._last -= 1
        return slices
