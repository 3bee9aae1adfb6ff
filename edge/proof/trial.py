"""A simulated run of a site with all that is kept of it: history, starts, alarms, energy, files.

Writes `samples.csv` and `alarms.csv` as it goes, one row per minute and per transition. Not the
report (`page.py`). Called by `edge simulate`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from drivers.sim.plant_file import MODEL, unknown
from edge.app.recording import head
from edge.blocks import KINDS
from edge.proof.history import AlarmLog, History, Switched
from edge.proof.setting import Setting
from edge.proof.simulate import Simulation
from edge.scan.cycle import Outcome, Run
from edge.scan.record import Record, recorded
from edge.site.site import Point, Role, Site
from edge.text import Language, Text

SAMPLES, ALARMS = "samples.csv", "alarms.csv"
MINUTE: Final = 60.0
LOOK: Final = 1.0  # s between two values of a curve
PAUSE: Final = 60.0  # s of simulated time between two looks from outside
MACHINERY: Final = (".online", ".following")

BASELINES: Final[Mapping[str, Text]] = {
    "always_on": Text("全天 100 % 常亮", "always on at 100 %"),
    "time_clock": Text("定时开关, 不调光", "a time clock without dimming"),
    "full_speed": Text("同样流量, 泵全速运行", "the same flow with the pumps at full speed"),
}
"""What energy is compared with, by the name that models give it among their readings."""
USED: Final = ("energy", "fan_energy")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a model from `start` on, in seconds of the run, until `end` (inf: for good)."""

    model: str
    name: str
    start: float
    end: float = math.inf


@dataclass(frozen=True, slots=True)
class Energy:
    """What a model used, in kWh, and what it would have used in each baseline that it knows."""

    model: str
    used: float
    baselines: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the site's calendar, or the part of it that was run: energies of the models in their
    order, starts by output, how many alarms were raised."""

    began: datetime
    energies: Sequence[Energy]
    starts: Mapping[str, int]
    raised: int

    def until(self, after: Day) -> Day:
        """The day between two looks at counters that go on and on."""
        energies = [
            Energy(
                now.model, now.used - then.used,
                {name: kwh - then.baselines[name] for name, kwh in now.baselines.items()},
            )
            for then, now in zip(self.energies, after.energies, strict=True)
        ]  # fmt: skip
        starts = {point: n - self.starts[point] for point, n in after.starts.items()}
        return Day(self.began, energies, starts, after.raised - self.raised)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a rule of the site says it used, kWh, and saved, %; from a meter or estimated."""

    rule: str
    used: float
    saving: float
    source: Text


class Trial:
    """One run of `lasts` seconds from Unix time `began`. Iterate: the time, about once a minute.

    `folder` is where the rows go, `record` the file of a record; None for none. Rows are in
    `language`, the site's unless given.
    Raises `Refusal` for a fault that no model has.
    """

    def __init__(
        self,
        setting: Setting,
        run: Run,
        began: float,
        lasts: float,
        *,
        faults: Sequence[Fault] = (),
        folder: Path | None = None,
        record: Path | None = None,
        language: Language | None = None,
    ) -> None:
        self.site, self.field, self.rig = setting.site, setting.field, setting.field.rig
        self.began, self.lasts, self.faults = began, lasts, tuple(faults)
        self._folder, self._record_path = folder, record
        self._language = language or self.site.language
        self._record: Record | None = None
        self.zone = ZoneInfo(self.site.timezone)
        self.simulation = Simulation(
            self.site, KINDS, run, self.field, wall=began, after=self._after,
            prepared=self._prepared,
        )  # fmt: skip
        self._image = self.simulation.scan.image
        points = kept(self.site)
        self.history = History(points, self.site.index(), lasts)
        self.switched = {p.id: self._switched(p) for p in points if switches(p, self.site)}
        self.alarms = AlarmLog()
        self.days: list[Day] = []
        self._today = self._counted(0.0)
        self._midnight = self._next_midnight()
        self._next_look = 0.0
        self._next_row = 0.0
        self._sample: Callable[[list[Any]], object] = lambda row: None
        self._told: Callable[[list[Any]], object] = lambda row: None
        for fault in self.faults:
            self._plan(fault)

    def __iter__(self) -> Iterator[float]:
        with ExitStack() as open_files:
            if self._record is not None:
                open_files.callback(self._record.close)
            if self._folder is not None:
                self._sample = self._file(open_files, SAMPLES)
                self._told = self._file(open_files, ALARMS)
                self._sample(["time", *(f"{p.id} {p.unit}".strip() for p in self.history.points)])
                self._told(["time", "alarm", "priority", "event", "state", "text"])
            for now in self.simulation.run(self.lasts, PAUSE):
                if self._record is not None:
                    self._record.write(self._record.take())
                yield now
        self.history.end(self.lasts)
        for switched in self.switched.values():
            switched.put(switched.on, self.lasts)
        self._end_day(self.lasts)

    def local(self, now: float) -> datetime:
        """A moment of the run as the site's clocks show it."""
        return datetime.fromtimestamp(self.began + now, self.zone)

    # What came out.

    def energies(self) -> list[Energy]:
        """Of every model that uses power."""
        found = []
        for name, model in self.rig.models.items():
            seen = model.readings()
            found += [
                Energy(name, seen[used], {b: seen[b] for b in BASELINES if b in seen})
                for used in USED
                if used in seen
            ]
        return found

    def called(self, model: str) -> Text:
        """What people call a model: the devices that stand on it."""
        devices = dict.fromkeys(
            p.device for p in self.site.points
            if p.device and p.id in self.field.cells and self.field.cells[p.id].model == model
        )  # fmt: skip
        names = [_begins(self.site, device) for device in devices]
        if not names or not all(name.zh and name.en for name in names):
            return Text(model, model)
        return Text("、".join(n.zh for n in names), ", ".join(n.en for n in names))

    def estimates(self) -> list[Estimate]:
        """What the site's own rules say about lamps."""
        index, value = self.site.index(), self._image.value
        found = []
        for rule in self.site.rules:
            if rule.kind == "lamp_power":
                used, saving, source = (
                    index[f"{rule.id}.{n}"] for n in ("energy", "saving", "source")
                )
                label = self.site.points[source].labels[int(value[source])]
                found.append(Estimate(rule.id, float(value[used]), float(value[saving]), label))
        return found

    def without_model(self) -> list[str]:
        """Points of the field behind which nothing is simulated: they keep their value."""
        return [p.id for p in self.site.points
                if p.id in self.field.cells and not self.field.cells[p.id].model]  # fmt: skip

    # While it runs.

    def _prepared(self, scan: Any) -> Any:
        if self._record_path is None:
            return scan
        self._record_path.parent.mkdir(parents=True, exist_ok=True)
        self._record = Record(self._record_path, head(self.site, self.began))
        return recorded(scan, self._record)

    def _counted(self, now: float) -> Day:
        starts = {point: switched.starts for point, switched in self.switched.items()}
        return Day(self.local(now), self.energies(), starts, self.alarms.raised.total())

    def _end_day(self, now: float) -> None:
        before, self._today = self._today, self._counted(now)
        if self._today.began > before.began:
            self.days.append(before.until(self._today))
        self._midnight = self._next_midnight()

    def _next_midnight(self) -> float:
        """The end of today, in seconds of the run."""
        tomorrow = self._today.began.date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(), self.zone).timestamp() - self.began

    def _after(self, now: float, outcome: Outcome) -> None:
        if now >= self._midnight:
            self._end_day(self._midnight)
        if now >= self._next_look - 1e-6:
            self._next_look = now + LOOK
            self.history.look(now, self._image)
        if now >= self._next_row - 1e-6:
            self._next_row += MINUTE
            row = [
                "" if math.isnan(value) else f"{value:.6g}" for value in self.history.now().tolist()
            ]
            self._sample([f"{self.local(now):%Y-%m-%d %H:%M:%S}", *row])
        for _, write in outcome.writes:
            if write.point in self.switched and not math.isnan(write.value):
                self.switched[write.point].put(write.value > 0, now)
        for change in outcome.transitions:
            self.alarms.add(change)
            alarm = change.alarm
            self._told([
                f"{self.local(now):%Y-%m-%d %H:%M:%S.%f}"[:-5], alarm.id, alarm.priority,
                change.cause, change.state.value, alarm.text.of(self._language),
            ])  # fmt: skip

    def _plan(self, fault: Fault) -> None:
        if fault.model not in self.rig.models:
            raise unknown(MODEL, fault.model, self.rig.models)
        if fault.name not in self.rig.faults(fault.model):
            what = Text(f"{fault.model} 的故障", f"fault of {fault.model}")
            raise unknown(what, fault.name, self.rig.faults(fault.model))
        self.simulation.at(fault.start, lambda: self.rig.start(fault.model, fault.name))
        if fault.end < math.inf:
            self.simulation.at(fault.end, lambda: self.rig.stop(fault.model, fault.name))

    def _switched(self, point: Point) -> Switched:
        cell = self.field.cells[point.id]
        on = self.rig.read(cell.model, cell.variable) if cell.model else cell.value
        assert point.output is not None
        return Switched(point, on > 0, point.output.max_starts)

    def _file(self, open_files: ExitStack, name: str) -> Callable[[list[Any]], object]:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        # The mark at its beginning tells spreadsheets that it is UTF-8.
        file = (self._folder / name).open("w", newline="", encoding="utf-8-sig")
        return csv.writer(open_files.enter_context(file), lineterminator="\n").writerow


def together(energies: Sequence[Energy], baseline: str) -> Energy:
    """The sum over all models that know a baseline."""
    known = [e for e in energies if baseline in e.baselines]
    whole = {baseline: sum(e.baselines[baseline] for e in known)}
    return Energy("", sum(e.used for e in known), whole)


def saving(energy: Energy, baseline: str) -> float:
    """Percent that was saved of a baseline."""
    return 100.0 * (1.0 - energy.used / energy.baselines[baseline])


def _begins(site: Site, device: str) -> Text:
    """The name of a device: with it the names of all its points begin."""
    names = [p.name for p in site.points if device in (p.device, p.id.removesuffix(".online"))]
    return Text(_common([n.zh for n in names]), _common([n.en for n in names]))


def _common(names: Sequence[str]) -> str:
    """The words with which all names begin."""
    same = takewhile(lambda words: len(set(words)) == 1, zip(*map(str.split, names), strict=False))
    return " ".join(words[0] for words in same)


def kept(site: Site) -> list[Point]:
    """The points that matter: what is read, driven, set and computed, not the machinery's own."""
    return [p for p in site.points
            if not p.local and not p.bypass and not p.id.endswith(MACHINERY)]  # fmt: skip


def switches(point: Point, site: Site) -> bool:
    """Whether an output is switched on and off; those of a panel flash, they are left out."""
    panel = {o for a in site.annunciators for o in (a.beacon, a.buzzer, a.relay)}
    return point.role is Role.OUTPUT and not point.unit and point.id not in panel
