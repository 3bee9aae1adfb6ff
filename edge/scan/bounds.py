"""How far a valve may be moved automatically while nobody sees where it stands (domain §1.13).

While its position is bad, what the automatic slots get stays within 10 % of full range of where the
valve was last seen; of the last value sent, when it never was. People (7, 8) see or answer for what
they do and have their own limits, a protection (5) may always act: neither is bound, and what they
do meanwhile does not move the centre, or the end of a lease would not bring back what was before.
Used by `arbiter.py`; who says where a valve stands is `edge/site/positions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.image import quality
from edge.image.image import Floats, ProcessImage
from edge.image.slots import Slot

REACH = 0.10  # of full range, to either side
EASE = 0.02  # of full range per second (§1.3): how valves without a rate go to a bound and back


class Seen(NamedTuple):
    """Commandable `ordinal` is a valve between `low` and `high`, and point `at` says where."""

    ordinal: int
    at: int
    low: float
    high: float


class Bounds:
    """The valves among the outputs. `turns` counts how often one was lost from sight or found."""

    def __init__(self, image: ProcessImage, ids: Sequence[str], valves: Sequence[Seen]) -> None:
        self._image, self._ids = image, ids
        self._c = np.asarray([valve.ordinal for valve in valves], np.intp)
        self._at = np.asarray([valve.at for valve in valves], np.intp)
        self._low = np.asarray([valve.low for valve in valves])
        self._high = np.asarray([valve.high for valve in valves])
        self._centre: Floats = np.full(len(valves), np.nan)
        self._unseen: NDArray[np.bool_] = np.zeros(len(valves), bool)
        self._seen_all, self._bits = False, b""
        self.turns = 0
        self.turned: set[int] = set()  # at the last look
        self.ease = {v.ordinal: EASE * (v.high - v.low) for v in valves}

    def look(self, held: NDArray[np.bool_]) -> bool:
        """Take in what the positions say now; True when a valve was lost from sight or found."""
        if not len(self._c):
            return False
        image = self._image
        value, bits = image.value.take(self._at), image.quality.take(self._at)
        if self._seen_all and bits.tobytes() == self._bits:
            self._centre = value  # as in most steps
            return False
        self._bits = bits.tobytes()
        unseen = (bits & quality.BAD != 0) | np.isnan(value)
        self._seen_all = not unseen.any()
        np.copyto(self._centre, value, where=~unseen)
        lost = unseen & np.isnan(self._centre) & ~held[self._c]
        if lost.any():
            self._centre[lost] = image.target[self._c[lost]]
            lost &= ~np.isnan(self._centre)
        changed = (unseen != self._unseen) | lost
        if not changed.any():
            return False
        self.turned = set(self._c[changed].tolist())
        self._unseen = unseen
        self.turns += 1
        reach = REACH * (self._high - self._low)
        low = np.maximum(self._centre - reach, self._low)
        high = np.minimum(self._centre + reach, self._high)
        nowhere = np.isnan(self._centre)
        low[nowhere], high[nowhere] = np.inf, -np.inf  # no value is near an unknown place
        image.span[0, self._c] = np.where(unseen, low, np.nan)
        image.span[1, self._c] = np.where(unseen, high, np.nan)
        return True

    def limit(self, goal: Floats, winner: Floats) -> None:
        """Bring what automatic slots want within the bounds, in place."""
        if not len(self._c) or not self._unseen.any():
            return
        c = self._c[self._unseen & (winner[self._c] >= Slot.CORRECT)]
        low, high = self._image.span[:, c]
        nowhere = low > high
        goal[c] = np.where(nowhere, np.nan, np.clip(goal[c], low, high))
        winner[c[nowhere]] = 0.0

    def retain(self) -> dict[str, Any]:
        """Where each valve was last seen, by point id, as plain data."""
        return {
            self._ids[c]: float(centre)
            for c, centre in zip(self._c, self._centre, strict=True) if not np.isnan(centre)
        }  # fmt: skip

    def restore(self, data: Mapping[str, Any]) -> None:
        """A restart must not make a place known or unknown."""
        for k, c in enumerate(self._c):
            self._centre[k] = data.get(self._ids[c], np.nan)
