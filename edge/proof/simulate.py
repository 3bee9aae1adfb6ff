"""A site against its simulated equipment as fast as it computes: the scan, without any task.

The real scan, programs, arbiter and alarms. Every poll comes at its shipped period and finds
equipment as it is then: what is polled steps as often, if its own step is shorter. A scan is made
where the real controller's would do something (`pace.py`), and a write is carried out at once;
neither buses nor brokers nor people are part of it (`edge/proof/stage.py` has them, at a hundredth
of the speed). Keeps nothing: that is its caller, `edge/proof/trial.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from math import floor, inf, isnan
from operator import itemgetter, ne
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drivers.sim.field import Cell, Field
from edge.blocks.kind import Kind
from edge.events import Events
from edge.image import quality
from edge.proof.pace import Pace
from edge.rules.compile import compile_site
from edge.scan.cycle import Outcome, Run, Scan
from edge.site.site import Point, Site

EARLY: Final = 1e-6  # of a step or a period: rounding
GOOD: Final = quality.SIMULATED
BEYOND, BROKEN = GOOD | quality.RANGE, GOOD | quality.SENSOR

After = Callable[[float, Outcome], None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One point of a group: where its value goes, and how it becomes one."""

    at: int
    scale: float
    offset: float
    low: float
    high: float
    looked_at: bool  # in every scan


@dataclass(slots=True, eq=False)
class _Group:
    """Points of one model that are read together; those without one ("") show what was written.

    Between two moments when the model `moves` there is nothing new to be seen, so it may be read
    less often than its `period` says, until something else is done to it.
    """

    model: str
    period: float
    moves: float
    points: list[_Seen]
    take: Callable[[Mapping[str, float]], tuple[float, ...]]
    at: list[int]
    raw: tuple[float | None, ...]  # what was seen last, nothing yet
    shown: Mapping[str, float] | None = None  # where

    @property
    def every(self) -> float:
        """Seconds between two times at which it is read."""
        times = self.moves / self.period
        whole = times == inf or abs(times - round(times)) < EARLY
        return max(self.moves, self.period) if whole else self.period

    def after(self, now: float) -> float:
        """Its first time after `now`."""
        return (floor(now / self.period + EARLY) + 1) * self.period


@dataclass(slots=True, eq=False)
class _Round:
    """Groups that are read at the same times: at whole multiples of `every`. The next is the
    `count`-th."""

    every: float
    groups: list[_Group]
    at: NDArray[np.intp]
    count: int = 0


class Simulation:
    """A site, its equipment and a clock of its own. Deterministic: equal arguments, equal bits.

    `field` holds what stands behind the site's points; `wall` is Unix time at the start. `after` is
    called after every step with its time and what it brought.
    """

    def __init__(
        self,
        site: Site,
        kinds: Mapping[str, Kind],
        run: Run,
        field: Field,
        *,
        wall: float,
        after: After = lambda now, outcome: None,
        prepared: Callable[[Scan], Scan] = lambda scan: scan,
    ) -> None:
        self.site, self.field, self.wall = site, field, wall
        self.after = after
        self.programs = compile_site(site, kinds)
        self.events = Events(site.language, quiet=True)
        self.scan = prepared(_Scan(site, kinds, self.programs, run, self.events))
        self.scan.cold_for = site.startup_delay
        self.scan.outputs.others = False
        self.now = 0.0
        self._acts: list[tuple[float, int, Callable[[], None]]] = []
        self._priorities = {bus.id for bus in site.buses if bus.kind.priorities}
        self._pace = Pace(self.scan, site)
        self._next_scan = 0.0
        for bus in site.buses:
            for device in bus.devices:  # they are there from the start
                self.scan.online(device.id, True, 0.0)
        self._rounds = self._listen()
        self._due = [(0.0, number) for number in range(len(self._rounds))]
        self._again: list[tuple[float, int, _Group]] = []  # to be read besides
        self._number = 0  # of those, so that equal times have an order
        # Read less often than their period says.
        self._idle = [g for r in self._rounds for g in r.groups if g.every > g.period]

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Have something done to the equipment `moment` seconds after the start."""
        heapq.heappush(self._acts, (moment, len(self._acts), act))

    def run(self, until: float, pause: float) -> Iterator[float]:
        """Go on until `until` seconds after the start; gives the time about every `pause`."""
        shown = self.now + pause
        while self.now < until:
            self._go(until)
            if self.now >= shown:
                shown += pause
                yield self.now
        yield self.now

    def _listen(self) -> list[_Round]:
        """What is read: by model and period, and of these what is read at the same times."""
        points = {p.id: p for p in self.site.points}
        found: dict[tuple[str, float], list[Point]] = {}
        for bus in self.site.buses:
            for poll in bus.polls:
                for name in poll.points:
                    key = self.field.cells[name].model, poll.period
                    found.setdefault(key, []).append(points[name])
        looks: dict[str, float] = {}
        for model, period in found:
            looks[model] = min(period, looks.get(model, inf))
        self.field.rig.looks = looks
        rounds: dict[float, list[_Group]] = {}
        for (model, period), mine in found.items():
            group = self._group(model, period, mine)
            rounds.setdefault(group.every, []).append(group)
        return [
            _Round(every, groups, np.asarray([at for g in groups for at in g.at], np.intp))
            for every, groups in sorted(rounds.items())
        ]

    def _group(self, model: str, period: float, points: list[Point]) -> _Group:
        cells = [self.field.cells[point.id] for point in points]
        places = [self.scan.index[point.id] for point in points]
        seen = [
            _Seen(at, cell.scale, cell.offset, point.low, point.high, at in self._pace.looked_at)
            for point, cell, at in zip(points, cells, places, strict=True)
        ]
        variables = [cell.variable for cell in cells]
        return _Group(
            model, period, self.field.rig.moves(model, variables) if model else inf, seen,
            _taker(variables) if model else _holder(cells), places,
            (None,) * len(cells),
        )  # fmt: skip

    def _go(self, until: float) -> None:
        """On to the next moment: what is done to the equipment, what is read, perhaps a scan."""
        acts, due, again = self._acts, self._due, self._again
        moment = min(self._next_scan, until)
        if due and due[0][0] < moment:
            moment = due[0][0]
        if acts or again:
            moment = min(moment, *(heap[0][0] for heap in (acts, again) if heap))
        self.now = moment
        self.field.rig.advance_to(moment)
        while acts and acts[0][0] <= moment:
            heapq.heappop(acts)[2]()
            self._touched(None, moment)
        news = False
        while again and again[0][0] <= moment + EARLY:
            news |= self._read(heapq.heappop(again)[2], moment)
        while due and due[0][0] <= moment + EARLY:
            number = due[0][1]
            round_ = self._rounds[number]
            round_.count += 1
            heapq.heapreplace(due, (round_.count * round_.every, number))
            for group in round_.groups:
                news |= self._read(group, moment)
            self.scan.again(round_.at, moment)
        if news or moment >= self._next_scan - EARLY or moment >= until:
            self._step(moment)

    def _read(self, group: _Group, now: float) -> bool:
        """Take in what shows something else than the last time; whether every scan looks at it."""
        shown = self.field.rig.shown(group.model) if group.model else {}
        if shown is group.shown:
            return False
        raw, before = group.take(shown), group.raw
        group.shown = shown
        if raw == before:
            return False
        group.raw, news = raw, False
        at, values, bits = [], [], []
        for point, number in compress(zip(group.points, raw, strict=True), map(ne, raw, before)):
            value = number * point.scale + point.offset
            good = point.low <= value <= point.high
            at.append(point.at)
            values.append(value)
            bits.append(GOOD if good else BROKEN if isnan(value) else BEYOND)
            news |= point.looked_at
        self.scan.take(at, values, bits, now)
        return news

    def _step(self, now: float) -> None:
        outcome = self.scan.step(now, self.wall + now, True)
        if outcome.writes:
            self._carry_out(outcome)
        self._next_scan = self._pace.after(now, self.wall + now)
        self.after(now, outcome)

    def _carry_out(self, outcome: Outcome) -> None:
        written = set()
        for bus, write in outcome.writes:
            cell = self.field.cells[write.point]
            if isnan(write.value):
                if bus not in self._priorities:
                    continue
                self.field.put(write.point, cell.rest)
            else:
                self.field.put(write.point, write.value)
                self.scan.written(write, self.now)
            written.add(cell.model)
        self._touched(written, self.now)

    def _touched(self, models: Collection[str] | None, now: float) -> None:
        """Something else was done to these, None: to any of them. Read it at its own next time."""
        for group in self._idle:
            if models is None or group.model in models:
                self._number += 1
                heapq.heappush(self._again, (group.after(now), self._number, group))


class _Scan(Scan):
    """Nobody asks here what must go upstream, and nothing that is read grows old."""

    def _age(self, now: float) -> bool:
        return False

    def _changed(self, slices: list[tuple[int, int]]) -> list[int]:
        return []


def _taker(names: list[str]) -> Callable[[Mapping[str, float]], tuple[float, ...]]:
    """Takes these variables from a model's readings, always as a tuple."""
    if len(names) == 1:
        return lambda shown: (shown[names[0]],)
    return itemgetter(*names)


def _holder(cells: list[Cell]) -> Callable[[Mapping[str, float]], tuple[float, ...]]:
    """Takes what cells without a model hold."""
    return lambda shown: tuple([cell.value for cell in cells])
