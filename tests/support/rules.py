"""Rules on a bench: compiled and run by the real kernel on an image, with a site made to fit.

Points are those that the options name; outputs take what is asked of them, unless `taken` says that
a stronger slot holds them. No drivers, no scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from edge.blocks import KINDS
from edge.blocks.expression import parse, quantity
from edge.blocks.kind import Kind, references, trips
from edge.image import quality
from edge.image.slots import Slot
from edge.rules.compile import compile_site
from edge.rules.kernel import Kernel, plain_kernel
from edge.rules.program import Programs
from edge.schema.problem import Mark
from edge.site.requests import rivals
from edge.site.site import Alarm, Interlock, Output, Point, Role, Rule, Site
from edge.text import Text

MARK = Mark("site.yaml", 1, 1)
WORDS = Text("名", "name")
OUTPUT = Output(
    default=nan, failsafe="hold", deadband=0, refresh=inf, rate=inf, min_on=0, min_off=0,
    max_starts=0, feedback=None, tolerance=0, settle=0,
)  # fmt: skip

Options = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Kind and options by rule id."""


def point(name: str, role: Role, unit: str = "") -> Point:
    output = OUTPUT if role in (Role.OUTPUT, Role.SETPOINT) else None
    device = None if role in (Role.VIRTUAL, Role.SETPOINT) else name.partition(".")[0]
    return Point(
        id=name, role=role, unit=unit, name=WORDS, device=device, low=-inf, high=inf, period=1,
        max_age=inf, report=0, decimals=2, output=output,
    )  # fmt: skip


def interlock(name: str, when: str, trip: Sequence[str], **options: Any) -> Interlock:
    given: dict[str, Any] = {"delay": 0.0, "value": 0.0, "reset": "manual", "on_bad": "trip"}
    given |= options
    return Interlock(id=name, name=WORDS, when=when, trip=tuple(trip), mark=MARK, **given)


def alarm(name: str, **options: Any) -> Alarm:
    given: dict[str, Any] = {
        "when": "", "point": None, "above": nan, "below": nan, "deadband": 0.0, "on_delay": 0.0,
        "off_delay": 0.0, "latch": False, "suppressed_by": "", "priority": 2,
    }  # fmt: skip
    return Alarm(
        id=name, text=WORDS, checks=(WORDS,), cause=WORDS, consequence=WORDS, shows=(),
        responsible="", re_alarm=inf, mark=MARK, **(given | options),
    )  # fmt: skip


def site_of(
    rules: Options,
    interlocks: Sequence[Interlock] = (),
    alarms: Sequence[Alarm] = (),
    *,
    kinds: Mapping[str, Kind] = KINDS,
) -> Site:
    """A site with these rules and with every point that they need."""
    made = [Rule(i, kind, kinds[kind].model.model_validate(dict(options)), MARK)
            for i, (kind, options) in rules.items()]  # fmt: skip
    roles: dict[str, Role] = {}
    units: dict[str, str] = {}
    for rule in made:
        for published in kinds[rule.kind].publishes(rule.model):
            name = f"{rule.id}.{published.name}".rstrip(".")
            roles[name], units[name] = Role.VIRTUAL, published.unit
    roles |= {i.shown: Role.VIRTUAL for i in interlocks}
    roles |= {i.bypass: Role.SETPOINT for i in interlocks if i.bypassable}
    stops = {i.id: i.trip for i in interlocks if not i.permissive}
    stops |= {rule.id: points for rule in made if (points := trips(rule.model))}
    roles |= {f"{id}.first_out": Role.VIRTUAL for id in rivals(stops)}
    outputs = [p for i in interlocks for p in i.trip]
    inputs: list[str] = [n for i in interlocks for n in parse(i.when).names]
    for rule in made:
        for reference in references(rule.model):
            if reference.role != "input":
                outputs.append(reference.text)
            elif quantity(reference.text, reference.unit) is None:
                inputs += parse(reference.text).names
    inputs += _named_by(alarms)
    roles |= dict.fromkeys(outputs, Role.OUTPUT)
    for name in inputs:
        roles.setdefault(name, Role.INPUT)
    return Site(
        id="bench", name=WORDS, controller="main", language="en", timezone="Asia/Shanghai",
        latitude=31.23, longitude=121.47, clock_trust="always", scan_min=0.002, scan_max=0.1,
        startup_delay=0, points=tuple(point(n, r, units.get(n, "")) for n, r in roles.items()),
        buses=(), rules=tuple(made), interlocks=tuple(interlocks), alarms=tuple(alarms),
        annunciators=(), users=(), grants=(), uplinks=(), outbox_bytes=0, outbox_age=0,
        file=Path("site.yaml"), digest="",
    )  # fmt: skip


def _named_by(alarms: Iterable[Alarm]) -> Iterable[str]:
    for item in alarms:
        if item.point is not None:
            yield item.point
        for text in (item.when, item.suppressed_by):
            if text:
                yield from parse(text).names


class Bench:
    """A compiled site that can be stepped. `bench["pump.run"]` reads, assignment sets a point."""

    def __init__(self, site: Site, kernel: Kernel | None = None) -> None:
        self.site, self.kernel = site, kernel or plain_kernel()
        self.programs: Programs = compile_site(site, KINDS)
        self.image = self.programs.image()
        self.index = site.index()
        self.taken: dict[str, tuple[int, float]] = {}
        self.ordinal = {site.points[i].id: c for c, i in enumerate(self.programs.commandable)}

    def __setitem__(self, name: str, value: float) -> None:
        """Set a point, the agenda of the first rule that has one, or "reset" of the first that can
        be reset; NaN is a lost device."""
        if name == "agenda":
            at = self.programs.agendas[0].index
        elif name == "reset":
            at = next(iter(self.programs.resets.values()))
        else:
            at = self.index[name]
        self.image.value[at] = value
        self.image.quality[at] = quality.COMM if isnan(value) else quality.GOOD

    def __getitem__(self, name: str) -> float:
        return float(self.image.value[self.index[name]])

    def bits(self, name: str) -> int:
        return int(self.image.quality[self.index[name]])

    def request(self, name: str, slot: int) -> float:
        return float(self.image.request[slot - 1, self.ordinal[name]])

    def asked(self, name: str) -> float:
        """The strongest request for a point, NaN when there is none."""
        column = self.image.request[:, self.ordinal[name]]
        given = column[~np.isnan(column)]
        return float(given[0]) if len(given) else nan

    def active(self, alarm: int = 0) -> bool:
        return bool(self.image.value[self.programs.active[alarm]] == 1.0)

    def reset(self, interlock: str, now: float) -> None:
        """One step in which a person resets the interlock."""
        self.image.value[self.programs.resets[interlock]] = 1.0
        self.step(now)

    def step(self, now: float) -> None:
        """Run the three programs, then let outputs follow the ladder."""
        for program in (self.programs.protect, self.programs.control):
            self.kernel.run(program, self.image, now)
        for name, c in self.ordinal.items():
            column = self.image.request[:, c].copy()
            if name in self.taken:
                slot, value = self.taken[name]
                column[slot - 1] = value
            given = np.flatnonzero(~np.isnan(column))
            self.image.owner[c] = given[0] + 1 if len(given) else 0
            self.image.target[c] = column[given[0]] if len(given) else nan
            if len(given) and not self.bits(name) & (quality.BAD ^ quality.NEVER):
                self[name] = self.image.target[c]
        self.kernel.run(self.programs.alarm, self.image, now)


CONTROL = int(Slot.CONTROL)
