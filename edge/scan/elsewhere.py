"""Registers of outputs that somebody else changed: noticed in what is read, and written again.

For devices on which the last writer wins; where they keep a ladder, a stronger owner shows as
OVERRIDDEN. Not whether a write was followed at all. Called by `outputs.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.events import CHANGED_ELSEWHERE, Events
from edge.image import quality
from edge.image.image import Floats, ProcessImage
from edge.scan.wire import ROUNDED, Wire

AGAIN = 60.0  # seconds between two writes of what somebody else changes: no war on a bus


class Elsewhere:
    """What each output's own register shows, in the order of the ordinals.

    Only a device that has shown what it was sent can be seen to leave it: one that limits or
    rounds a value, or is still on its way, does not follow and is no case for this.
    """

    def __init__(self, wires: Sequence[Wire], image: ProcessImage, events: Events) -> None:
        self._wires, self._image, self._events = wires, image, events
        self._watched = np.asarray(
            [w.ordinal for w in wires if w.device and w.readable and not w.priorities], np.intp
        )
        self._at = np.asarray([wires[c].at for c in self._watched], np.intp)
        self._near: Floats = np.asarray(
            [max(wires[c].output.tolerance, wires[c].output.deadband) for c in self._watched]
        )
        count = len(wires)
        self._since: Floats = np.full(count, np.inf)  # what was read from then on counts
        self._shown: NDArray[np.bool_] = np.zeros(count, bool)  # what it was sent last
        self._other: Floats = np.full(count, np.nan)  # what it shows instead, as was told
        self._again_at: Floats = np.full(count, -np.inf)

    def sent(self, c: int, *, anew: bool) -> None:
        """A write is on its way; `anew` when of another value than the last."""
        self._since[c] = np.inf
        if anew:
            self._shown[c], self._other[c] = False, np.nan

    def holds(self, c: int, since: float) -> None:
        """The device has what it was sent; from `since` on it must show it."""
        self._since[c] = since

    def look(
        self, sent: Floats, settled: NDArray[np.bool_], in_hand: Callable[[Wire], bool], now: float
    ) -> Iterator[int]:
        """The outputs that must be written again now; tells of each change once."""
        c, wanted = self._watched, sent[self._watched]
        seen, bits = self._image.value[self._at], self._image.quality[self._at]
        known = (self._image.stamp[self._at] >= self._since[c]) & (bits & quality.BAD == 0)
        known &= settled[c] & ~np.isnan(wanted)
        apart = np.abs(seen - wanted) > np.maximum(self._near, ROUNDED * np.abs(wanted))
        right = c[known & ~apart]
        self._shown[right], self._other[right] = True, np.nan
        for k in map(int, np.flatnonzero(known & apart & self._shown[c])):
            wire, ordinal, value = self._wires[c[k]], int(c[k]), float(seen[k])
            if in_hand(wire):
                continue  # a person has it: its own switch says so
            told = self._other[ordinal]
            if math.isnan(told) or abs(value - told) > self._near[k]:
                self._other[ordinal] = value
                self._events.emit(
                    CHANGED_ELSEWHERE, point=wire.point, value=float(wanted[k]), seen=value
                )
            if now >= self._again_at[ordinal]:
                self._again_at[ordinal] = now + AGAIN
                yield ordinal
