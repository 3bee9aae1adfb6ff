"""Which poll is due next on a bus: earliest deadline first, due times spread, no bursts.

Pure bookkeeping over site time, used by the bus task. Also what silent devices may cost.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.bus.meter import Meter
from edge.driver import Poll
from edge.text import Text

BACK_OFF_FIRST = 10.0  # seconds until the first probe of a device that fell silent
BACK_OFF_LONGEST = 300.0
LOST_AFTER = 3  # failures in a row: of frames lost one in twenty, one in 8000 times by chance
LATER = 1.0  # seconds by which what failed comes after the others when a bus is connected again
SILENT_SHARE = 0.048  # of a bus's time for silent devices together: below 5 % with its own cost


@dataclass(slots=True)
class DeviceState:
    """What the bus knows of one device; `failures` counts those in a row.

    `lost`: it is silent, so it is probed and not polled. `online` is what the site is told: nothing
    is while the bus is down. `parked` are the polls of a lost device.
    """

    id: str
    meter: Meter = field(default_factory=Meter)
    online: bool = True
    lost: bool = False
    well: bool = False  # online, and its last answer was one
    failures: int = 0
    failed_at: float = float("-inf")
    offline_since: float = 0.0
    reason: Text | None = None  # why it was lost last
    wrong: Text | None = None  # another device answers in its place: how that shows
    back_off: float = BACK_OFF_FIRST
    retry_at: float = 0.0  # when it may be probed, while it is lost
    wanted: bool = False  # somebody waits for the probe
    resting_since: float = float("inf")  # inf while it is not left alone
    last_answer: float = float("-inf")
    parked: list[Planned] = field(default_factory=list, repr=False)

    @property
    def seen(self) -> bool:
        """Whether it has answered since the start."""
        return self.last_answer != float("-inf")

    def silent(self, began: float, now: float, *, garbled: bool = False) -> None:
        """Count a request that failed. Whoever was never there is lost with the first one, unless
        something `garbled` came: on a noisy line that may be him."""
        self.well = False
        if began < self.failed_at:
            return  # it was under way when another one failed: the same silence
        self.failed_at = now
        self.failures += 1
        self.wanted = False
        if self.failures >= LOST_AFTER or not (self.seen or garbled):
            self.lost, self.wrong = True, None  # who is there will show
        if self.lost and now >= self.retry_at:
            self.retry_at = now + self.back_off
            self.back_off = min(2 * self.back_off, BACK_OFF_LONGEST)
            self.resting_since = now

    def rested(self, now: float) -> None:
        """A pause is over: it is asked, or it has answered."""
        if self.resting_since < now:
            self.meter.rested(now - self.resting_since)
        self.resting_since = float("inf")

    def hurry(self, now: float) -> None:
        """Another one is back, and perhaps for the same reason: it need not wait much longer."""
        self.retry_at = min(self.retry_at, max(now, self.resting_since + BACK_OFF_FIRST))

    def answered(self, now: float) -> None:
        """Whatever it said, it is there."""
        self.well = True
        self.last_answer = now
        self.rested(now)
        self.failures = 0
        self.wrong = None
        self.lost = self.wanted = False
        self.back_off = BACK_OFF_FIRST
        self.retry_at = 0.0


class Allowance:
    """The time that silent devices may take from a bus, all of them together.

    A time-out of c seconds is paid for by almost 20 c in which no other probe begins: over any
    time T, probes take less than T / 20 and one probe.
    """

    def __init__(self) -> None:
        self.free_at = float("-inf")

    def spend(self, began: float, seconds: float) -> None:
        """Count what a silent device took; what nobody could defer is paid for later."""
        self.free_at = max(self.free_at, began) + seconds / SILENT_SHARE


@dataclass(slots=True, eq=False)
class Planned:
    """A poll with its next deadline. `phase` (0-1) spreads polls of one period evenly.

    `tries` counts the refusals in a row, `silences` what else failed; both start anew when it works
    again. `told`: this was reported. `queued`: it waits for its turn; else it is being read, or
    parked. `again`: what is being read will be old, and must be read once more.
    """

    due: float
    order: int
    poll: Poll
    first: int
    device: DeviceState
    phase: float
    failing: bool = False
    tries: int = 0
    silences: int = 0
    told: bool = False
    overruns: int = 0
    queued: bool = False
    again: bool = False

    def works(self) -> None:
        """It was answered as it should be."""
        self.failing = self.told = False
        self.tries = self.silences = 0

    @property
    def pause(self) -> float:
        """Seconds until it is tried again after a silence; as for a device, but for it alone."""
        more = self.silences - LOST_AFTER
        return min(BACK_OFF_FIRST * 2.0 ** min(more, 9), BACK_OFF_LONGEST) if more >= 0 else 0.0


class Schedule:
    """The polls of one bus in order of their deadlines."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._planned = planned
        self._by_point = {point: p for p in planned for point in p.poll.points}
        self._heap: list[tuple[float, int, Planned]] = []

    def start(self, now: float) -> None:
        """Everything is due now: after a connect the picture must be complete soon.

        Except for what has failed: it may be what the other end hangs up on, so it comes last.
        """
        for planned in self._planned:
            later = max(planned.pause, LATER) if planned.silences else 0.0
            planned.due, planned.queued, planned.again = now + later, True, False
            planned.device.parked.clear()
        self._heap = [(planned.due, planned.order, planned) for planned in self._planned]
        heapq.heapify(self._heap)

    def pop(self, now: float) -> Planned | None:
        """The due poll with the earliest deadline; those of lost devices are put aside."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            planned = heapq.heappop(heap)[2]
            planned.queued = False
            if not planned.device.lost:
                return planned
            planned.device.parked.append(planned)
        return None

    def push(self, planned: Planned, now: float, *, after: float | None = None) -> None:
        """Back into the queue: on the poll's own grid, or `after` so many seconds.

        Missed turns are counted and skipped, never caught up.
        """
        if after is None:
            taken = now if now > planned.due else planned.due  # it may have been a little early
            planned.due, missed = next_turn(planned.due, planned.poll.period, planned.phase, taken)
            planned.overruns += missed
        else:
            planned.due = now + after
        if planned.again:
            planned.due, planned.again = now, False
        planned.queued = True
        heapq.heappush(self._heap, (planned.due, planned.order, planned))

    def hurry(self, point: str, now: float) -> None:
        """Make the poll that brings `point` due now."""
        planned = self._by_point.get(point)
        if planned is None:
            return
        if not planned.queued:
            planned.again = not planned.device.lost
        elif planned.due > now:
            at = next(k for k, entry in enumerate(self._heap) if entry[2] is planned)
            planned.due = now
            self._heap[at] = (now, planned.order, planned)
            heapq.heapify(self._heap)

    def resume(self, device: DeviceState, now: float) -> None:
        """A lost device answers again: all its polls are due now."""
        polls = [entry[2] for entry in self._heap] + device.parked
        for planned in polls:
            if planned.device is device:
                planned.due, planned.queued = min(planned.due, now), True
        device.parked.clear()
        self._heap = [(planned.due, planned.order, planned) for planned in polls]
        heapq.heapify(self._heap)

    def set_back(self, now: float) -> None:
        """A device that was never there took its time-out: what fell due meanwhile goes before the
        next one of whom nothing is known, so that the others miss no turn while such are found."""
        for planned in (entry[2] for entry in self._heap):
            if not planned.device.seen:
                planned.due = max(planned.due, now)
        self._heap = [(planned.due, planned.order, planned) for _, _, planned in self._heap]
        heapq.heapify(self._heap)

    def next_due(self) -> float:
        """When the next poll is due, inf when there is none."""
        return self._heap[0][0] if self._heap else float("inf")


def next_turn(due: float, period: float, phase: float, now: float) -> tuple[float, int]:
    """The next point after `now` on the grid `(k + phase) * period`, and how many were missed.

    A poll that comes onto its grid (after a start or a probe) has missed nothing.
    """
    turn = ((now / period - phase) // 1 + 1 + phase) * period
    if turn - now < 1e-6 * period:  # rounding: `now` is the turn that was just taken
        turn += period
    if turn - due < 1.5 * period:
        return turn, 0  # as nearly always
    missed = round((turn - due) / period) - 1
    place = due / period - phase
    return turn, max(missed, 0) if abs(place - round(place)) < 1e-6 else 0
