"""What a simulated run leaves behind: values in buckets, starts and running hours, alarms.

Bounded however long the run is. Not the report of it (`page.py`). Filled by `edge/proof/trial.py`.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edge.image import quality
from edge.image.image import Floats, ProcessImage
from edge.scan.alarms import Transition
from edge.site.site import Point

BUCKET: Final = 300.0  # s
MOST: Final = 4_000_000  # values of one sort that are kept; beyond them buckets are wider
SHOWN_ALARMS: Final = 400  # transitions that are kept; the others are counted
HOUR: Final = 3600.0


class History:
    """Least, mean and greatest value of each point per bucket, as they were after every step.

    The mean is one over time. A value whose quality is bad counts for nothing; a bucket without a
    good one is NaN.
    """

    def __init__(self, points: Sequence[Point], index: Mapping[str, int], lasts: float) -> None:
        self.points = tuple(points)
        self.width = BUCKET * max(1, math.ceil(lasts / BUCKET * len(points) / MOST))
        self.buckets = 0  # that are closed
        self._kept: Floats = np.empty((3, math.ceil(lasts / self.width - 1e-9), len(points)))
        self._at = np.asarray([index[point.id] for point in points], np.intp)
        # All points of the site: what stands together is copied ten times as fast.
        self._rows = np.empty((64, len(index)))
        self._bits = np.empty((64, len(index)), np.uint16)
        self._times: list[float] = []

    @property
    def low(self) -> Floats:
        """The least values, a row per bucket."""
        return self._kept[0, : self.buckets]

    @property
    def mean(self) -> Floats:
        """The means."""
        return self._kept[1, : self.buckets]

    @property
    def high(self) -> Floats:
        """The greatest values."""
        return self._kept[2, : self.buckets]

    def look(self, now: float, image: ProcessImage) -> None:
        """Take in what a step left. Times never go back."""
        while now >= (self.buckets + 1) * self.width:
            self._close((self.buckets + 1) * self.width)
        if self._times and self._times[-1] == now:  # the later one of a moment counts
            self._times.pop()
        k = len(self._times)
        if k == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._bits = np.concatenate([self._bits, np.empty_like(self._bits)])
        self._rows[k] = image.value[: image.points]
        self._bits[k] = image.quality[: image.points]
        self._times.append(now)

    def end(self, now: float) -> None:
        """Close the last bucket, which may be a short one."""
        if self._times and now > self.buckets * self.width + 1e-6:
            self._close(now)

    def now(self) -> Floats:
        """The values of the latest step, NaN for bad ones."""
        k = len(self._times) - 1
        return np.where(self._bits[k] & quality.BAD, np.nan, self._rows[k])[self._at]

    def of(self, point: str) -> tuple[Floats, Floats, Floats]:
        """Least, mean and greatest value of a point, bucket by bucket."""
        k = [p.id for p in self.points].index(point)
        return self.low[:, k], self.mean[:, k], self.high[:, k]

    def _close(self, until: float) -> None:
        k, times = len(self._times), np.asarray([*self._times, until])
        rows = np.where(self._bits[:k] & quality.BAD, np.nan, self._rows[:k])[:, self._at]
        seen = ~np.isnan(rows)
        some = seen.any(axis=0)
        spans = np.diff(times)[:, None] * seen
        whole = spans.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (np.where(seen, rows, 0.0) * spans).sum(axis=0) / whole
        least = np.where(seen, rows, np.inf).min(axis=0)
        most = np.where(seen, rows, -np.inf).max(axis=0)
        self._kept[:, self.buckets] = np.where(some, (least, mean, most), np.nan)
        self.buckets += 1
        # What stood last still stands where the next bucket begins.
        self._rows[0], self._bits[0] = self._rows[k - 1], self._bits[k - 1]
        self._times = [until]


@dataclass(slots=True)
class Switched:
    """What one switched output did. `limit` is its greatest number of starts per hour, 0 for none;
    `peak` the most that fell into any hour."""

    point: Point
    on: bool
    limit: int
    starts: int = 0
    hours: float = 0.0
    peak: int = 0
    _since: float = 0.0
    _recent: deque[float] = field(default_factory=deque)

    @property
    def used(self) -> bool:
        """Whether it was on at all."""
        return self.starts > 0 or self.hours > 0

    def put(self, on: bool, now: float) -> None:
        """It was written."""
        if self.on:
            self.hours += (now - self._since) / HOUR
        self._since = now
        if on and not self.on:
            self.starts += 1
            self._recent.append(now)
            while self._recent[0] <= now - HOUR:
                self._recent.popleft()
            self.peak = max(self.peak, len(self._recent))
        self.on = on


@dataclass(slots=True)
class AlarmLog:
    """Alarm transitions in order: the first of them, and how often each alarm was raised."""

    shown: list[Transition] = field(default_factory=list)
    raised: Counter[str] = field(default_factory=Counter)
    left_out: int = 0

    def add(self, transition: Transition) -> None:
        """One more."""
        self.raised[transition.alarm.id] += transition.cause == "raised"
        if len(self.shown) < SHOWN_ALARMS:
            self.shown.append(transition)
        else:
            self.left_out += 1
