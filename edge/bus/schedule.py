"""Which poll is due next on a bus: earliest deadline first, due times spread, no bursts.

Pure bookkeeping over site time, used by the bus task.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.driver import Poll
from edge.text import Text

BACK_OFF_FIRST = 10.0  # seconds until the first probe of a device that fell silent
BACK_OFF_LONGEST = 300.0


@dataclass(slots=True)
class DeviceState:
    """What the bus knows of one device; `failures` counts time-outs in a row."""

    id: str
    online: bool = True
    failures: int = 0
    offline_since: float = 0.0
    reason: Text | None = None  # why it was lost last
    back_off: float = BACK_OFF_FIRST
    retry_at: float = 0.0
    last_answer: float = float("-inf")
    requests: int = 0
    timeouts: int = 0
    refused: int = 0

    def answered(self, now: float) -> None:
        """Whatever it said, it is there."""
        self.failures = 0
        self.last_answer = now
        self.back_off = BACK_OFF_FIRST
        self.retry_at = 0.0

    def silent(self, now: float) -> None:
        """Count a failure; that of a probe makes the pause until the next one longer."""
        self.failures += 1
        if self.failures > 1 and now >= self.retry_at:
            self.retry_at = now + self.back_off
            self.back_off = min(2 * self.back_off, BACK_OFF_LONGEST)


@dataclass(slots=True, order=True)
class Planned:
    """A poll with its next deadline. `phase` (0-1) spreads polls of one period evenly."""

    due: float
    order: int
    poll: Poll = field(compare=False)
    first: int = field(compare=False)
    device: DeviceState = field(compare=False)
    phase: float = field(compare=False)
    refused: bool = field(default=False, compare=False)  # reported once, until it works again
    overruns: int = field(default=0, compare=False)


class Schedule:
    """The polls of one bus in order of their deadlines."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._heap = list(planned)
        heapq.heapify(self._heap)

    def start(self, now: float) -> None:
        """Everything is due now: after a connect the picture must be complete soon."""
        for planned in self._heap:
            planned.due = now
        heapq.heapify(self._heap)

    def pop(self, now: float) -> Planned | None:
        """The due poll with the earliest deadline; a device in back-off gives one probe at most."""
        while self._heap and self._heap[0].due <= now:
            planned = heapq.heappop(self._heap)
            if planned.device.retry_at <= now:
                return planned
            planned.due = planned.device.retry_at + planned.order * 1e-6
            heapq.heappush(self._heap, planned)
        return None

    def push(self, planned: Planned, now: float, *, after: float | None = None) -> None:
        """Back into the queue: on the poll's own grid, or `after` so many seconds.

        Missed turns are counted and skipped, never caught up.
        """
        if after is not None:
            planned.due = now + after
        else:
            taken = max(now, planned.due)  # it may have been taken a little early
            planned.due, missed = next_turn(planned.due, planned.poll.period, planned.phase, taken)
            planned.overruns += missed
        heapq.heappush(self._heap, planned)

    def hurry(self, device: str, now: float, point: str | None = None) -> None:
        """Make the device's polls due now, or only the one that brings `point`."""
        for planned in self._heap:
            if planned.device.id == device and (point is None or point in planned.poll.points):
                planned.due = min(planned.due, now)
        heapq.heapify(self._heap)

    def next_due(self) -> float:
        """When the next poll is due, inf when there is none."""
        return self._heap[0].due if self._heap else float("inf")


def next_turn(due: float, period: float, phase: float, now: float) -> tuple[float, int]:
    """The next point after `now` on the grid `(k + phase) * period`, and how many were missed.

    A poll that comes onto its grid (after a start or a probe) has missed nothing.
    """
    turn = ((now / period - phase) // 1 + 1 + phase) * period
    if turn - now < 1e-6 * period:  # rounding: `now` is the turn that was just taken
        turn += period
    missed = round((turn - due) / period) - 1
    return turn, max(missed, 0) if abs((due / period - phase) % 1.0) < 1e-6 else 0
