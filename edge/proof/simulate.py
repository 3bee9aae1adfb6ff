"""A site against its simulated equipment as fast as it computes: the scan, without any task.

The real scan, programs, arbiter and alarms; polls come at their shipped periods and a write is
carried out at once, so neither buses nor brokers nor people are part of it (`edge/proof/stage.py`
has them, at a hundredth of the speed). Called by `edge simulate` and the benchmark.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from drivers.sim.rig import Rig
from edge.blocks.kind import Kind
from edge.events import Events
from edge.image import quality
from edge.rules.compile import compile_site
from edge.scan.alarms import Transition
from edge.scan.cycle import Outcome, Run, Scan
from edge.site.site import Point, Site

EARLY: Final = 1e-9  # s: rounding
QUIET: Final = 1.0  # s: the longest time between two steps; timers are looked at that often


class Bound(NamedTuple):
    """What stands behind a field point: a variable of a model; `value = raw * scale + offset`."""

    model: str
    variable: str
    scale: float = 1.0
    offset: float = 0.0


class _Shown(NamedTuple):
    """One point as it is read: what stands behind it, and what is physically possible."""

    point: str
    source: Bound | None  # None: a cell
    low: float
    high: float


@dataclass(slots=True)
class _Range:
    """Neighbours in the image that are polled together."""

    period: float
    first: int
    shown: list[_Shown]


@dataclass(slots=True)
class Tally:
    """What is counted while it runs: alarm transitions in order, and starts by output."""

    transitions: list[Transition] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    steps: int = 0


class Simulation:
    """A site, its equipment and a clock of its own. Deterministic: equal arguments, equal bits.

    `bound` says what stands behind each field point; the others are cells, 0 or their default
    until something is written or put there. `wall` is Unix time at the start.
    """

    def __init__(
        self,
        site: Site,
        kinds: Mapping[str, Kind],
        run: Run,
        rig: Rig,
        bound: Mapping[str, Bound],
        *,
        wall: float,
        prepared: Callable[[Scan], Scan] = lambda scan: scan,
    ) -> None:
        self.site, self.rig, self.wall = site, rig, wall
        self.programs = compile_site(site, kinds)
        self.events = Events(site.language, quiet=True)
        self.scan = prepared(_Scan(site, kinds, self.programs, run, self.events))
        self.scan.cold_for = site.startup_delay
        self.now = 0.0
        self.tally = Tally()
        self._bound = bound
        self.cells: dict[str, float] = {}
        self._due = self._listen()
        self._on: dict[str, bool] = {}

    def run(self, until: float, pause: float) -> Iterator[float]:
        """Go on until `until` seconds after the start; gives the time about every `pause`."""
        shown = self.now + pause
        while self.now < until:
            self._step(until)
            if self.now >= shown:
                shown += pause
                yield self.now
        yield self.now

    def _listen(self) -> list[tuple[float, int, _Range]]:
        """The ranges to be read, all due now; buses and devices are there from the start."""
        ranges: list[_Range] = []
        points = {p.id: p for p in self.site.points}
        for bus in self.site.buses:
            for poll in bus.polls:
                shown = [
                    _Shown(name, self._bound.get(name), points[name].low, points[name].high)
                    for name in poll.points
                ]
                last = ranges[-1] if ranges else None
                if last is not None and last.period == poll.period:
                    last.shown += shown
                else:
                    ranges.append(_Range(poll.period, self.scan.index[poll.points[0]], shown))
            for device in bus.devices:
                self.scan.online(device.id, True, 0.0)
        for part in ranges:
            self.cells |= {p.point: _begins(points[p.point]) for p in part.shown if not p.source}
        return [(0.0, number, part) for number, part in enumerate(ranges)]

    def _step(self, until: float) -> None:
        """Everything that falls due at the next moment, then one scan."""
        due = self._due
        moment = min(due[0][0] if due else math.inf, self.now + QUIET, until)
        self.now = moment
        self.rig.advance_to(moment)
        while due and due[0][0] <= moment + EARLY:
            at, number, part = due[0]
            self._deliver(part, moment)
            heapq.heapreplace(due, (at + part.period, number, part))
        self._carry_out(self.scan.step(moment, self.wall + moment, True))

    def _deliver(self, part: _Range, now: float) -> None:
        seen, cells = {}, self.cells
        values: list[float] = []
        wrong: list[int] = []
        for point, source, low, high in part.shown:
            if source is None:
                value = cells[point]
            else:
                model, variable, scale, offset = source
                if model not in seen:
                    seen[model] = self.rig.shown(model)
                value = seen[model][variable] * scale + offset
            if not low <= value <= high:
                wrong.append(len(values))
            values.append(value)
        bits = np.full(len(values), quality.SIMULATED, np.uint16)
        for k in wrong:
            bits[k] |= quality.SENSOR if math.isnan(values[k]) else quality.RANGE
        self.scan.put(part.first, np.asarray(values), bits, now)

    def _carry_out(self, outcome: Outcome) -> None:
        tally = self.tally
        tally.steps += 1
        if outcome.transitions:
            tally.transitions += outcome.transitions
        for _, write in outcome.writes:
            if math.isnan(write.value):
                continue
            self._count(write.point, write.value)
            source = self._bound.get(write.point)
            if source is None:
                self.cells[write.point] = write.value
            else:
                raw = (write.value - source.offset) / source.scale
                self.rig.write(source.model, source.variable, raw)
            self.scan.written(write, self.now)

    def _count(self, point: str, value: float) -> None:
        on = value > 0
        if on and not self._on.get(point, True):
            self.tally.starts[point] = self.tally.starts.get(point, 0) + 1
        self._on[point] = on


class _Scan(Scan):
    """Without what is there for others only: nobody asks here what must go upstream."""

    def _changed(self, slices: list[tuple[int, int]]) -> list[int]:
        return []


def _begins(point: Point) -> float:
    """What a cell shows before anything is put there."""
    if point.output is None or math.isnan(point.output.default):
        return 0.0
    return point.output.default
