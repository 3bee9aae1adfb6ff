"""Who wins an output: the ladder, minimum times, starts per hour and the rate of change.

Turns the image's requests into targets and owners, the same for every requester but for valves that
nobody sees (`bounds.py`). It decides; what
is then written to the field, and when, is `outputs.py`. Called by `cycle.py` once per step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.scan.bounds import Bounds, Seen
from edge.site.site import Output

RAMP_EVERY = 0.5  # seconds between two steps of a rated output: devices wear out by writes
HOUR = 3600.0
_MIN_TIME = Slot.MIN_TIME - 1
Which = NDArray[np.bool_]  # of the commandable points


@dataclass(slots=True)
class _Timed:
    """An output with minimum times or a limit on starts; times are site time."""

    ordinal: int
    output: Output
    on: bool | None = None  # None: not known yet
    since: float = -math.inf
    starts: deque[float] = field(default_factory=deque)
    told: float = -math.inf  # the deferral last reported, so that it is reported once


class Arbiter:
    """The ladder of every commandable point, `outputs[c]` being what binds commandable c."""

    def __init__(
        self, image: ProcessImage, ids: Sequence[str], outputs: Sequence[Output],
        valves: Sequence[Seen] = (),
    ) -> None:  # fmt: skip
        self._image, self._ids = image, ids
        self._columns = np.arange(len(outputs))
        self._rate = np.asarray([o.rate for o in outputs])
        self.bounds = Bounds(image, ids, valves)
        self._eased: set[int] = set()  # valves without a rate on their way to a bound or back
        rated = set(np.flatnonzero(np.isfinite(self._rate)).tolist())
        self._rated = sorted(rated.union(valve.ordinal for valve in valves))
        self._timed = [
            _Timed(c, o) for c, o in enumerate(outputs) if o.min_on or o.min_off or o.max_starts
        ]
        self._goal = np.full(len(outputs), np.nan)
        self._winner = np.zeros(len(outputs))
        self._wanted, self._first = self._goal, self._winner  # before anything is bound
        self._asked = self._holding = b""  # what the last decision was made of
        self._settled = False  # all targets are where they should be
        self._next_ramp = -math.inf
        self._next_expiry = math.inf
        self._next_time = -math.inf  # when a minimum time ends
        self.deferred: list[tuple[str, float]] = []  # starts newly put off: id, until
        self.switched = 0  # how often an output with minimum times has been switched
        image.request[Slot.DEFAULT - 1] = [o.default for o in outputs]

    @property
    def due(self) -> float:
        """When a step has something to decide although nobody asks for anything else."""
        if self._image.request.tobytes() != self._asked:
            return -math.inf  # a panel has, since the last one
        ramp = math.inf if self._settled else self._next_ramp
        return min(self._next_expiry, self._next_time, ramp)

    def expire(self, now: float) -> None:
        """Withdraw requests whose time is over; before the programs run."""
        if now < self._next_expiry:
            return
        image = self._image
        over = image.expires <= now
        image.request[over] = np.nan
        image.expires[over] = np.inf
        self._next_expiry = float(image.expires.min(initial=math.inf))

    def ask(self, slot: int, ordinal: int, value: float, expires: float) -> None:
        """Put a request of a person or a remote system on the ladder; NaN withdraws it."""
        image = self._image
        image.request[slot - 1, ordinal] = value
        image.expires[slot - 1, ordinal] = math.inf if math.isnan(value) else expires
        self._next_expiry = min(self._next_expiry, expires)

    def adopt(self, ordinal: int, value: float, now: float) -> None:
        """Take what the device does now for the state to start from; its minimum times begin.

        NaN, when nobody can read it: then what was kept of it counts.
        """
        self._image.target[ordinal] = value
        self._settled = False
        self._next_time = -math.inf
        if math.isnan(value):
            return
        for timed in self._timed:
            if timed.ordinal == ordinal:
                on = value > 0
                if on or timed.on is None or timed.on != on:
                    timed.on, timed.since = on, now

    def step(self, now: float, held: Which, undriven: Which | None = None) -> None:
        """Decide every target and owner. `held` outputs keep their target: not ready yet. Nobody
        owns an `undriven` one, those that are held: rules track it, and gather nothing."""
        if not len(self._columns):
            return
        request = self._image.request
        undriven = held if undriven is None else undriven
        asked, holding = request.tobytes(), held.tobytes() + undriven.tobytes()
        turned = self.bounds.look(held)
        if turned:
            self._eased |= self.bounds.turned
        same = asked == self._asked and holding == self._holding and not turned
        if same and self._settled and now < self._next_time:
            return  # as most steps are
        self._next_time = math.inf
        if self._timed:
            for timed in self._timed:
                if not held[timed.ordinal]:
                    self._time(timed, now)
            asked = request.tobytes()
        self._holding = holding
        if asked != self._asked:
            self._asked = asked
            given = ~np.isnan(request)
            first = given.argmax(axis=0)
            self._wanted = request[first, self._columns]
            self._first = np.where(given.any(axis=0), first + 1.0, 0.0)
            turned = True
        if turned:
            self._goal, self._winner = self._wanted.copy(), self._first.copy()
            self.bounds.limit(self._goal, self._winner)
        self._image.owner[:] = np.where(undriven, 0.0, self._winner)
        self._settled = self._move(now, held)

    def _move(self, now: float, held: Which) -> bool:
        """Bring targets to their goals, or nearer; True when all of them are there."""
        target = self._image.target
        free = ~held
        if not len(self._rated):
            target[free] = self._goal[free]
            return True
        there = True
        ramped = now >= self._next_ramp
        if ramped:
            self._next_ramp = now + RAMP_EVERY
        for c in self._rated:
            if held[c]:
                continue
            free[c] = False
            start, goal = target[c], self._goal[c]
            if math.isnan(start) or math.isnan(goal) or start == goal:
                target[c] = goal
                if start == goal:
                    self._eased.discard(c)
                continue
            rate = self._rate[c]
            if math.isinf(rate) and c in self._eased and self._winner[c] >= Slot.CORRECT:
                rate = self.bounds.ease[c]
            there = False
            if ramped or math.isinf(rate):
                most = rate * RAMP_EVERY
                target[c] = start + min(max(goal - start, -most), most)
        target[free] = self._goal[free]
        return there

    def _time(self, timed: _Timed, now: float) -> None:
        """Hold slot 6 while a minimum time runs or a start must wait."""
        request, c, output = self._image.request, timed.ordinal, timed.output
        request[_MIN_TIME, c] = np.nan
        column = request[:, c].tolist()
        first = next((k for k, asked in enumerate(column) if not math.isnan(asked)), None)
        if first is None:
            return
        wanted, protected = column[first] > 0, first < _MIN_TIME
        if timed.on is None or wanted == timed.on:
            if timed.on is None:
                timed.on, timed.since = wanted, now
            return
        until = timed.since + (output.min_on if timed.on else output.min_off)
        if wanted:
            until = max(until, self._start_allowed(timed, now))
        if now < until and not protected:
            self._next_time = min(self._next_time, until)
            request[_MIN_TIME, c] = self._image.target[c] if timed.on else 0.0
            return
        timed.on, timed.since = wanted, now
        self.switched += 1
        if wanted:
            timed.starts.append(now)

    def _start_allowed(self, timed: _Timed, now: float) -> float:
        starts = timed.starts
        while starts and starts[0] <= now - HOUR:
            starts.popleft()
        most = timed.output.max_starts
        if not most or len(starts) < most:
            return -math.inf
        until = starts[len(starts) - most] + HOUR
        if until != timed.told:
            timed.told = until
            self.deferred.append((self._ids[timed.ordinal], until))
        return until

    def retain(self) -> dict[str, Any]:
        """Minimum times and starts by point id, as plain data."""
        return {self._ids[t.ordinal]: [t.on, t.since, list(t.starts)] for t in self._timed}

    def restore(self, data: Mapping[str, Any]) -> None:
        """A reboot must not defeat a minimum time."""
        for timed in self._timed:
            if (kept := data.get(self._ids[timed.ordinal])) is not None:
                timed.on, timed.since = kept[0], kept[1]
                timed.starts = deque(kept[2])
