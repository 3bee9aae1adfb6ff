"""A site against its simulated equipment as fast as it computes: the scan, without any task.

The real scan, programs, arbiter and alarms; polls come at their shipped periods, equipment moves
twice a second and a write is carried out at once; neither buses nor brokers nor people are part of
it (`edge/proof/stage.py` has them, at a hundredth of the speed). Keeps nothing: that is its caller,
`edge/proof/trial.py`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np

from drivers.sim.field import Cell, Field
from edge.blocks.kind import Kind
from edge.events import Events
from edge.image import quality
from edge.image.image import Bits, Floats, Index
from edge.rules.compile import compile_site
from edge.scan.cycle import Outcome, Run, Scan
from edge.site.site import Point, Site

EARLY: Final = 1e-9  # s: rounding
TICK: Final = 0.5  # s: the equipment moves so often at most; between two ticks it shows the same
QUIET: Final = 1.0  # s: the longest time between two steps; timers are looked at that often


Take = Callable[[Mapping[str, float]], tuple[float, ...]]


@dataclass(slots=True)
class _Part:
    """The points of a group behind one model, or those without one (`model` is "")."""

    model: str
    take: Take
    alone: list[Cell]
    span: slice  # of the group
    seen: tuple[float, ...] = ()  # what was read last


@dataclass(slots=True)
class _Group:
    """All points that are read together, those of one model behind one another."""

    period: float
    parts: list[_Part]
    at: Index
    raw: Floats  # what was read last, as the models say it
    scale: Floats
    offset: Floats
    low: Floats
    high: Floats
    bits: Bits
    plain: bool  # every value is as it is read
    wrong: bool = False


After = Callable[[float, Outcome], None]


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
        self.field.rig.shortest = TICK
        self._priorities = {bus.id for bus in site.buses if bus.kind.priorities}
        self._due = self._listen()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Have something done to the equipment `moment` seconds after the start."""
        heapq.heappush(self._acts, (moment, len(self._acts), act))

    def run(self, until: float, pause: float) -> Iterator[float]:
        """Go on until `until` seconds after the start; gives the time about every `pause`."""
        shown = self.now + pause
        while self.now < until:
            self._step(until)
            if self.now >= shown:
                shown += pause
                yield self.now
        yield self.now

    def _listen(self) -> list[tuple[float, int, _Group]]:
        """What is read, all due now; buses and devices are there from the start."""
        points = {p.id: p for p in self.site.points}
        together: dict[float, list[Point]] = {}
        for bus in self.site.buses:
            for poll in bus.polls:
                # What polls more often reads the same again.
                mine = together.setdefault(max(poll.period, TICK), [])
                mine += [points[name] for name in poll.points]
            for device in bus.devices:
                self.scan.online(device.id, True, 0.0)
        return [(0.0, k, self._group(*pair)) for k, pair in enumerate(sorted(together.items()))]

    def _group(self, period: float, points: list[Point]) -> _Group:
        by_model: dict[str, list[Point]] = {}
        for point in points:
            by_model.setdefault(self.field.cells[point.id].model, []).append(point)
        parts, first = [], 0
        for model, mine in by_model.items():
            cells = [self.field.cells[point.id] for point in mine]
            take = _taker([cell.variable for cell in cells])
            parts.append(_Part(model, take, cells, slice(first, first + len(mine))))
            first += len(mine)
        order = [point for mine in by_model.values() for point in mine]
        behind = [cell for part in parts for cell in part.alone]
        return _Group(
            period, parts, np.asarray([self.scan.index[p.id] for p in order], np.int32),
            np.empty(len(order)), np.asarray([c.scale for c in behind]),
            np.asarray([c.offset for c in behind]), np.asarray([p.low for p in order]),
            np.asarray([p.high for p in order]),
            np.full(len(order), quality.SIMULATED, np.uint16),
            plain=all(c.scale == 1.0 and c.offset == 0.0 for c in behind),
        )  # fmt: skip

    def _step(self, until: float) -> None:
        """Everything that falls due at the next moment, then one scan."""
        due, acts = self._due, self._acts
        moment = min(due[0][0] if due else math.inf, self.now + QUIET, until)
        if acts:
            moment = min(moment, acts[0][0])
        self.now = moment
        self.field.rig.advance_to(moment)
        while acts and acts[0][0] <= moment:
            heapq.heappop(acts)[2]()
        while due and due[0][0] <= moment + EARLY:
            at, number, group = due[0]
            self._read(group, moment)
            heapq.heapreplace(due, (at + group.period, number, group))
        outcome = self.scan.step(moment, self.wall + moment, True)
        if outcome.writes:
            self._carry_out(outcome)
        self.after(moment, outcome)

    def _read(self, group: _Group, now: float) -> None:
        """What shows the same as the last time is only as new as it is read."""
        anew = False
        for part in group.parts:
            if part.model:
                raw = part.take(self.field.rig.shown(part.model))
            else:
                raw = tuple([cell.value for cell in part.alone])
            if raw != part.seen:
                part.seen = group.raw[part.span] = raw
                anew = True
        if not anew:
            self.scan.again(group.at, now)
            return
        values = group.raw if group.plain else group.raw * group.scale + group.offset
        well = (values >= group.low) & (values <= group.high)
        wrong = not well.all()
        if wrong or group.wrong:
            group.wrong = wrong
            group.bits[:] = quality.SIMULATED
            group.bits[~well] |= quality.RANGE
            group.bits[np.isnan(values)] = quality.SIMULATED | quality.SENSOR
        self.scan.take(group.at, values, group.bits, now)

    def _carry_out(self, outcome: Outcome) -> None:
        for bus, write in outcome.writes:
            if math.isnan(write.value):
                if bus in self._priorities:
                    self.field.put(write.point, self.field.cells[write.point].rest)
                continue
            self.field.put(write.point, write.value)
            self.scan.written(write, self.now)


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
