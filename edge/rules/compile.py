"""From the resolved site to programs: order, expressions, cells, operands, ranges.

Three programs: `protect` (interlocks, rules that protect, and the computing rules they look at),
`control` (all other rules) and `alarm`. Called at start and on reload; compiles no code. Raises
CompileError for what the checks of `edge/site` should have refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter

import numpy as np

from edge.blocks import INTERNAL
from edge.blocks.alarming import Condition, Limit
from edge.blocks.expression import Call, Number, Tree, parse, quantity
from edge.blocks.kind import Kind, Operand, Place, Source, layout, references, trips
from edge.blocks.protection import Cause, FirstOut, Permissive, Rival, Trip
from edge.blocks.protection import Interlock as InterlockModel
from edge.image.image import first_cell, owner_index, request_index, target_index
from edge.rules.program import (
    OPCODE,
    AgendaCell,
    CompileError,
    Program,
    Programs,
    StateSlice,
    check_ranges,
)
from edge.schema.model import Model
from edge.site.requests import rivals
from edge.site.site import Alarm, Interlock, Rule, Site
from edge.text import Text


def commandable(site: Site) -> tuple[int, ...]:
    """The point index of every commandable point, in image order."""
    return tuple(i for i, point in enumerate(site.points) if point.output is not None)


def compile_site(site: Site, kinds: Mapping[str, Kind]) -> Programs:
    """Compile everything that runs: rules, interlocks and alarm conditions."""
    image = _Image(site)
    first, later = _split(site, kinds)
    protect, control, alarm = (_Builder(name, image) for name in ("protect", "control", "alarm"))
    for item in first:
        if isinstance(item, Interlock):
            _interlock(protect, item)
        else:
            _rule(protect, item, kinds, site)
    _first_outs(protect, site)
    _trips(protect, site, kinds)
    for rule in site.watches:
        _rule(control, rule, INTERNAL, site)
    for rule in later:
        _rule(control, rule, kinds, site)
    conditions = [_alarm(alarm, item) for item in site.alarms]

    programs = Programs(
        protect=protect.program(),
        control=control.program(),
        alarm=alarm.program(),
        points=len(site.points),
        commandable=image.commandable,
        cells=image.cells,
        initial=tuple(image.initial),
        absent=image.absent,
        agendas=(*protect.agendas, *control.agendas),
        resets={**protect.resets, **control.resets},
        tripped=_tripped(site, image),
        active=tuple(active for active, _ in conditions),
        suppressed=tuple(suppressed for _, suppressed in conditions),
        published=tuple(sorted(i for i in image.written if i < len(site.points))),
        slices={**protect.slices, **control.slices, **alarm.slices},
    )
    for program in programs:
        check_ranges(program, image.total())
    return programs


class _Image:
    """The layout of the flat image while it grows: points, ladder, then cells."""

    def __init__(self, site: Site) -> None:
        self.index = site.index()
        self.commandable = commandable(site)
        self.ordinal = {site.points[i].id: c for c, i in enumerate(self.commandable)}
        self._first = first_cell(len(site.points), len(self.commandable))
        self._points = len(site.points)
        self.cells = 0
        self.initial: list[tuple[int, float]] = []
        self._literals: dict[bytes, int] = {}
        self.written: set[int] = set()
        self.absent = self.cell()

    def total(self) -> int:
        return self._first + self.cells

    def cell(self) -> int:
        self.cells += 1
        return self._first + self.cells - 1

    def literal(self, value: float) -> int:
        """The one cell of a constant."""
        key = np.float64(value).tobytes()  # tells 0.0 from -0.0
        if key not in self._literals:
            self._literals[key] = self.begins(value)
        return self._literals[key]

    def begins(self, value: float) -> int:
        """A cell of its own that begins with a good `value`."""
        index = self.cell()
        self.initial.append((index, value))
        return index

    def point(self, name: str, owner: str) -> int:
        if name not in self.index:
            raise _error(f"{owner}: 没有点 {name}", f"{owner}: there is no point {name}")
        return self.index[name]

    def target(self, name: str, slot: int, owner: str) -> list[int]:
        """The four operands of a target."""
        point = self.point(name, owner)
        if name not in self.ordinal:
            raise _error(f"{owner}: {name} 不可控", f"{owner}: {name} is not commandable")
        n, c, ordinal = self._points, len(self.commandable), self.ordinal[name]
        request = request_index(n, c, slot, ordinal)
        return [request, target_index(n, c, ordinal), owner_index(n, c, ordinal), point]

    def write(self, index: int, owner: str, what: str) -> int:
        """One writer per index."""
        if index in self.written:
            raise _error(
                f"{owner}: {what} 已由另一条规则写入",
                f"{owner}: another rule already writes {what}",
            )
        self.written.add(index)
        return index


@dataclass(slots=True)
class _Builder:
    """One program while it grows."""

    name: str
    image: _Image
    code: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    every: list[float] = field(default_factory=list)
    ops: list[int] = field(default_factory=list)
    par: list[float] = field(default_factory=list)
    states: int = 0
    owners: list[str] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    agendas: list[AgendaCell] = field(default_factory=list)
    resets: dict[str, int] = field(default_factory=dict)
    slices: dict[str, StateSlice] = field(default_factory=dict)
    results: dict[Tree, int] = field(default_factory=dict)  # equal subexpressions are computed once

    def instruction(
        self, name: str, operands: Sequence[int], owner: str, *, every: float = 0.0,
        parameters: Sequence[float] = (), states: int = 0,
    ) -> None:  # fmt: skip
        self.code.append((OPCODE[name], len(self.ops), len(operands), len(self.par), self.states))
        self.ops += operands
        self.par += parameters
        self.states += states
        self.every.append(every)
        self.owners.append(owner)

    def source(self, source: Source, unit: str | None, owner: str) -> int:
        """The index that holds what an input field reads."""
        number = quantity(source, unit)
        if number is not None:
            return self.image.literal(number)
        return self.tree(parse(str(source)).tree, owner)

    def tree(self, tree: Tree, owner: str) -> int:
        if isinstance(tree, Number):
            return self.image.literal(tree.value)
        if not isinstance(tree, Call):
            return self.image.point(tree.id, owner)
        if tree not in self.results:
            operands = [self.tree(operand, owner) for operand in tree.operands]
            result = self.image.cell()
            self.instruction(tree.operator, (result, *operands), owner)
            self.results[tree] = result
        return self.results[tree]

    def block(
        self, kind: Kind, model: Model, owner: str, published: Mapping[str, int],
        given: Mapping[str, int], shared: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """One instruction of a kind. `published` by name; `given` holds the agenda's cell; `shared`
        are the operands that all instances have in common."""
        plan = layout(kind, model)
        operands: list[int] = []
        for operand in plan.operands:
            operands += self._indices(operand, kind, owner, published, given)
        operands += shared
        every = getattr(model, "every", None)
        states = kind.states(model)
        if states:
            options = f"{kind.name} {model.model_dump_json(warnings=False)}"
            digest = hashlib.sha256(options.encode()).hexdigest()
            names = kind.keeps(model)
            self.slices[owner] = StateSlice(self.name, self.states, states, digest, names)
        self.instruction(
            kind.name, operands, owner, every=kind.every if every is None else float(every),
            parameters=plan.parameters, states=states,
        )  # fmt: skip

    def _indices(
        self, operand: Operand, kind: Kind, owner: str,
        published: Mapping[str, int], given: Mapping[str, int],
    ) -> list[int]:  # fmt: skip
        image, source = self.image, operand.source
        if operand.role == "published":
            index = published[str(source)]
            return [image.write(index, owner, f"{owner.partition('.')[2]}.{source}".rstrip("."))]
        if operand.role == "agenda":
            return [given["agenda"]]
        if operand.role == "reset":
            id = owner.partition(".")[2]
            self.resets[id] = image.begins(0.0)
            return [self.resets[id]]
        if operand.role == "target":
            if source is None:
                return [image.cell(), image.absent, image.absent, image.absent]
            indices = image.target(str(source), kind.slot, owner)
            self.requests.append(image.write(indices[0], owner, str(source)))
            return indices
        return [image.absent if source is None else self.source(source, operand.unit, owner)]

    def program(self) -> Program:
        n = len(self.code)
        timing = np.full((n, 2), np.nan)
        timing[:, 0] = self.every
        return Program(
            name=self.name,
            code=np.asarray(self.code, np.int32).reshape(n, 5),
            timing=timing,
            ops=np.asarray(self.ops, np.int32),
            par=np.asarray(self.par, np.float64),
            state=np.full(self.states, np.nan),
            owners=tuple(self.owners),
            requests=np.asarray(self.requests, np.int32),
        )


def _rule(builder: _Builder, rule: Rule, kinds: Mapping[str, Kind], site: Site) -> None:
    owner, kind, image = f"rules.{rule.id}", kinds[rule.kind], builder.image
    published = {
        p.name: image.point(_point_id(rule.id, p.name), owner) for p in kind.publishes(rule.model)
    }
    given: dict[str, int] = {}
    if kind.agenda is not None:
        place = Place(site.timezone, site.latitude, site.longitude)
        given["agenda"] = image.cell()
        at = partial(kind.agenda, rule.model, place)
        builder.agendas.append(AgendaCell(given["agenda"], owner, at))
    shared = [
        image.point(_point_id(other.id, kind.shared), owner)
        for other in site.rules if kind.shared and other.kind == rule.kind
    ]  # fmt: skip
    builder.block(kind, rule.model, owner, published, given, shared)


def _interlock(builder: _Builder, interlock: Interlock) -> None:
    owner, image = f"{interlock.section}.{interlock.id}", builder.image
    bypass = interlock.bypass if interlock.bypassable else 0.0
    shown = image.point(interlock.shown, owner)
    if interlock.permissive:
        permit = Permissive(
            when=interlock.when, bypass=bypass, delay=interlock.delay, on_bad=interlock.on_bad
        )
        builder.block(INTERNAL["permissive"], permit, owner, {"permitted": shown}, {})
        return
    model = InterlockModel(
        when=interlock.when, bypass=bypass, delay=interlock.delay, on_bad=interlock.on_bad,
        reset=interlock.reset,
    )  # fmt: skip
    builder.block(INTERNAL["interlock"], model, owner, {"tripped": shown}, {})


def _first_outs(builder: _Builder, site: Site) -> None:
    """One mark for each that trips a point together with others."""
    for id, others in rivals(dict(_stopping(site))).items():
        owner = f"first_out.{id}"
        among = tuple(Rival(tripped=f"{other}.tripped") for other in others)
        model = FirstOut(tripped=f"{id}.tripped", rivals=among)
        published = {"first_out": builder.image.point(f"{id}.first_out", owner)}
        builder.block(INTERNAL["first_out"], model, owner, published, {})


def _trips(builder: _Builder, site: Site, kinds: Mapping[str, Kind]) -> None:
    """One instruction per protected point, whatever number of interlocks and rules guard it.

    They go before what rules urge: what stops a motor is stronger than what wants it to run.
    """
    causes: dict[str, list[Cause]] = {}
    values = {i.id: i.value for i in site.interlocks}
    for id, points in _stopping(site):
        for point in points:
            cause = Cause(tripped=f"{id}.tripped", value=values.get(id, 0.0))
            causes.setdefault(point, []).append(cause)
    for permit in (i for i in site.interlocks if i.permissive):
        for point in dict.fromkeys(permit.trip):
            cause = Cause(tripped=permit.shown, value=0.0, starting=True)
            causes.setdefault(point, []).append(cause)
    for rule in site.rules:
        for urge in kinds[rule.kind].urges(rule.model):
            cause = Cause(tripped=_point_id(rule.id, urge.when), value=urge.value)
            causes.setdefault(urge.point, []).append(cause)
    for point, by in causes.items():
        model = Trip(output=point, by=tuple(by))
        builder.block(INTERNAL["trip"], model, f"trips.{point}", {}, {})


def _stopping(site: Site) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What stops anything, by id, with the points it trips."""
    for interlock in site.interlocks:
        if not interlock.permissive:
            yield interlock.id, tuple(dict.fromkeys(interlock.trip))
    for rule in site.rules:
        if points := trips(rule.model):
            yield rule.id, points


def _tripped(site: Site, image: _Image) -> dict[str, int]:
    """The index of `<id>.tripped` of all that stops anything."""
    return {id: image.index[f"{id}.tripped"] for id, _ in _stopping(site)}


def _alarm(builder: _Builder, alarm: Alarm) -> tuple[int, int]:
    """Emit one condition; returns the indices of its active and its suppressed cell."""
    owner, image = f"alarms.{alarm.id}", builder.image
    active = image.begins(0.0)
    model: Model
    if alarm.point is None:
        kind = INTERNAL["condition"]
        model = Condition(input=alarm.when, on_delay=alarm.on_delay, off_delay=alarm.off_delay)
    else:
        kind = INTERNAL["limit"]
        model = Limit(
            input=alarm.point, above=_given(alarm.above), below=_given(alarm.below),
            deadband=alarm.deadband, on_delay=alarm.on_delay, off_delay=alarm.off_delay,
        )  # fmt: skip
    builder.block(kind, model, owner, {"": active}, {})
    if not alarm.suppressed_by:
        return active, image.literal(0.0)
    rule = parse(alarm.suppressed_by).tree
    return active, builder.tree(Call("certain", (rule,)), owner)


def _given(limit: float) -> float | None:
    return None if math.isnan(limit) else limit


def _split(site: Site, kinds: Mapping[str, Kind]) -> tuple[list[Rule | Interlock], list[Rule]]:
    """What runs in `protect` and what in `control`, each in order.

    A rule that drives nothing and that a protection looks at, however indirectly, belongs to
    `protect`: the protection must not stand still when `control` fails. What `protect` reads of
    `control` is a scan old.
    """
    items: dict[str, Rule | Interlock] = {f"rules.{r.id}": r for r in site.rules}
    items |= {f"{i.section}.{i.id}": i for i in site.interlocks}
    producer: dict[str, str] = {}
    for rule in site.rules:
        for published in kinds[rule.kind].publishes(rule.model):
            producer[_point_id(rule.id, published.name)] = f"rules.{rule.id}"
    producer |= {i.shown: f"{i.section}.{i.id}" for i in site.interlocks}
    needs = {
        key: list(dict.fromkeys(producer[n] for n in _names(item) if n in producer))
        for key, item in items.items()
    }
    protect: set[str] = set()
    waiting = [
        key for key, item in items.items() if isinstance(item, Interlock) or trips(item.model)
    ]
    while waiting:
        key = waiting.pop()
        if key not in protect and not _drives(items[key]):
            protect.add(key)
            waiting += needs[key]
    first = _ordered({key: needs[key] for key in items if key in protect})
    later = _ordered({key: needs[key] for key in items if key not in protect})
    return [items[key] for key in first], [r for key in later if isinstance(r := items[key], Rule)]


def _ordered(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys of `needs` so that each follows those it needs; what is not a key is elsewhere."""
    inside = {key: [other for other in others if other in needs] for key, others in needs.items()}
    try:
        return list(TopologicalSorter(inside).static_order())
    except CycleError as error:
        path = " → ".join(reversed(error.args[1]))
        raise _error(f"规则互相依赖成环: {path}", f"rules depend on each other: {path}") from None


def _names(item: Rule | Interlock) -> list[str]:
    """The points that a rule or an interlock reads."""
    if isinstance(item, Interlock):
        return list(parse(item.when).names)
    found: list[str] = []
    for reference in references(item.model):
        if reference.role == "input" and quantity(reference.text, reference.unit) is None:
            found += parse(reference.text).names
    return found


def _drives(item: Rule | Interlock) -> bool:
    if isinstance(item, Interlock):
        return False
    return any(reference.role == "output" for reference in references(item.model))


def _point_id(rule: str, name: str) -> str:
    return f"{rule}.{name}" if name else rule


def _error(zh: str, en: str) -> CompileError:
    return CompileError(Text(zh, en))
