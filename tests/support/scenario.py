"""Scenarios as folders: `site.yaml` and `case.yaml`, played on a `Stage` in virtual time.

`case.yaml` says what the equipment is like (`given`) and then, step by step,
`at` which time after the settling what is done (`when`) and what must be so (`then`). README.md
beside the cases lists every word. Called by `tests/scenario/test_scenarios.py`.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field

from edge.scan.alarms import SILENT
from edge.schema.loader import load_file
from edge.schema.model import Model, Words
from edge.schema.units import Duration
from edge.schema.validate import validate
from tests.support.stage import Stage
from tests.support.virtual_loop import run_virtual

CHANGED = 1e-9  # a smaller difference between two scans is no movement
VALUES = {"abs": abs, "len": len, "sum": sum, "sorted": sorted, "set": set, "list": list}
_AROUND = re.compile(r"(-?[\d.]+)\s*±\s*([\d.]+)")


class Step(Model):
    """One moment: first everything of `when`, in order, then everything of `then`."""

    at: Duration
    when: tuple[Annotated[Mapping[str, Any], Field(min_length=1, max_length=1)], ...] = ()
    then: tuple[str, ...] = ()


class Given(Model):
    """What there is before the first step. `wall` is the site's local time at t = 0, which is
    `settle` after the start; `silent` devices do not answer from the start on."""

    site: str = "site.yaml"
    wall: str = "2026-03-20 10:00:00"
    settle: Duration = 60.0
    equipment: Mapping[str, Mapping[str, Any]] = {}
    silent: tuple[str, ...] = ()


class Case(Model):
    """A scenario."""

    text: Words
    source: str = ""
    given: Given = Given()
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


def read_case(folder: Path) -> Case:
    """The case in `folder`; what is wrong with it fails the test with its place."""
    document, problems, _ = load_file(folder / "case.yaml")
    if document is not None:
        case, more = validate(Case, document.data, document)
        if case is not None:
            return case
        problems = [*problems, *more]
    raise AssertionError("\n".join(problem.line("en") for problem in problems))


def play(folder: Path, state: Path) -> Played:
    """Play the scenario in `folder`, keeping the controller's state in `state`."""
    case = read_case(folder)
    played = Played(folder, case, state)
    run_virtual(played.run)
    return played


@dataclass(frozen=True)
class Around:
    """`0.380 ± 0.01`: equal to whatever is not further away."""

    centre: float
    width: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float | int) and abs(other - self.centre) <= self.width + 1e-9

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.centre:g} ± {self.width:g}"


class Played:
    """One run of a case; the words of `when` are the methods `do_…`, those of `then` the rest."""

    def __init__(self, folder: Path, case: Case, state: Path) -> None:
        self.folder, self.case, self.state, self.settle = folder, case, state, case.given.settle
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.stage: Stage = None  # type: ignore[assignment] # made in the loop
        self._wall = 0.0

    async def run(self) -> None:
        """Settle, then go through the steps."""
        loop = asyncio.get_running_loop()
        self.stage = Stage(
            (self.folder / self.case.given.site).resolve(), self.state, self.case.given.equipment,
            lambda: self._wall + loop.time(),
        )  # fmt: skip
        self.stage.line.silent.update(self.case.given.silent)
        start = datetime.fromisoformat(self.case.given.wall).replace(
            tzinfo=ZoneInfo(self.stage.site.timezone)
        )
        self._wall = start.timestamp() - self.settle
        await self.stage.start()
        try:
            for number, step in enumerate(self.case.steps):
                await asyncio.sleep(self.settle + step.at - loop.time())
                for action in step.when:
                    await self._do(number, action)
                if step.when:
                    await asyncio.sleep(0)
                if step.then:
                    await self._expect(number, step)
        finally:
            await self.stage.end()

    # What is done.

    async def _do(self, number: int, action: Mapping[str, Any]) -> None:
        ((name, options),) = action.items()
        method = getattr(self, f"do_{name}", None)
        known = sorted(m[3:] for m in dir(self) if m.startswith("do_"))
        assert method is not None, f"steps[{number}]: no action {name!r}; there are {known}"
        done = method(**options) if isinstance(options, Mapping) else method(options)
        if done is not None:
            await done

    def do_fault(self, fault: str) -> None:
        """`zones valve_drift:3`: let a fault of a model happen."""
        self.stage.fault(*fault.split())

    def do_repair(self, fault: str) -> None:
        """End a fault."""
        self.stage.fault(*fault.split(), repaired=True)

    def do_press(self, button: str) -> None:
        """Hold the push button on an input of the I/O module: `input4`."""
        self.stage.fault("io", f"press:{button.removeprefix('input')}")

    def do_let_go(self, button: str) -> None:
        """Let go of the button."""
        self.stage.fault("io", f"press:{button.removeprefix('input')}", repaired=True)

    def do_equipment(self, **values: Any) -> None:
        """`booster.demand: 14`: change what a model is like."""
        for name, value in values.items():
            model, _, attribute = name.partition(".")
            target = self.stage.equipment(model)
            assert hasattr(target, attribute), f"{model} has no {attribute}"
            setattr(target, attribute, value)

    def do_play(self, variable: str, values: list[float], every: str) -> None:
        """Let a variable of a model take these values, one after another, beginning now."""
        pause, loop = Step(at=every).at, asyncio.get_running_loop()  # type: ignore[arg-type]
        for k, value in enumerate(values):
            loop.call_later(k * pause, lambda v=value: self.do_equipment(**{variable: v}))

    def do_silent(self, device: str) -> None:
        """A device stops answering."""
        self.stage.line.silent.add(device)

    def do_lost_answer(self, point: str) -> None:
        """Writes to a point are carried out, and their answers lost."""
        self.stage.line.lost.add(point)

    def do_corrupted(self, device: str) -> None:
        """A device's answers arrive damaged."""
        self.stage.line.corrupted.add(device)

    def do_busy(self, device: str, times: int) -> None:
        """A device is busy for so many requests."""
        self.stage.line.busy[device] = times

    def do_answers(self, device: str) -> None:
        """It answers as it should again, to writes of its points too."""
        line = self.stage.line
        for broken in (line.silent, line.corrupted):
            broken.discard(device)
        line.lost = {point for point in line.lost if not point.startswith(f"{device}.")}
        line.busy.pop(device, None)

    def do_send(self, **command: Any) -> None:
        """A remote command: `id`, `by`, `point`, `value` (none: a release) and more."""
        self.stage.send(**command)

    async def do_local(self, **command: Any) -> None:
        """A command of a person on site."""
        await self.stage.local(**command)

    async def do_acknowledge(self, alarm: str) -> None:
        """A person acknowledges an alarm on the local API."""
        await self.stage.answer_alarm(alarm, "ack")

    async def do_reset(self, alarm: str) -> None:
        """A person resets a latched alarm, or an interlock."""
        await self.stage.answer_alarm(alarm, "reset")

    async def do_restart(self, after: str = "0s", kill: bool = False, forget: bool = False) -> None:
        """The controller stops (or is killed) and starts again `after` so long, maybe without what
        it kept."""
        await (self.stage.kill() if kill else self.stage.stop())
        await asyncio.sleep(Step(at=after).at)  # type: ignore[arg-type] # a duration as written
        if forget:
            self.stage.forget()
        await self.stage.start()

    def do_bug(self, program: str) -> None:
        """A rule of the program `control` or `protect` raises from now on."""
        self.stage.broken.add(program)

    def do_mend(self, program: str) -> None:
        """It does no more."""
        self.stage.broken.discard(program)

    # What is expected.

    async def _expect(self, number: int, step: Step) -> None:
        if self.stage.running:
            self.records = {kind: await self.stage.journal(kind) for kind in ("alarm", "command")}
        failed = [told for text in step.then if (told := self._check(text))]
        if failed:
            place = f"{self.folder.name} at {step.at:g} s (steps[{number}])"
            raise AssertionError("\n  ".join([f"{place}: expected", *failed]))

    def _check(self, text: str) -> str:
        """ "" when `text` is true, else what was expected and what was seen."""
        tree = ast.parse(_AROUND.sub(r"around(\1, \2)", text), mode="eval")
        sentence = Sentence(self)
        with suppress(LookupError):  # `raised(X)[0]` of an alarm that was never raised is no truth
            if self._value(sentence.visit(tree).body):
                return ""
        seen = [f"{_written(look)} = {self._value(look)!r}" for look in sentence.looks]
        return f"{text}\n      seen: " + "; ".join(seen)

    def _value(self, node: ast.expr) -> Any:
        code = compile(ast.fix_missing_locations(ast.Expression(node)), "expect", "eval")
        words = {name: getattr(self, name) for name in WORDS}
        return eval(code, {"__builtins__": {}}, {**VALUES, "around": Around, **words})

    def value(self, point: str) -> float:
        """A point, as the controller sees it; written as the bare name."""
        return self.stage.value(point)

    def quality(self, point: str) -> str:
        """GOOD, or its BAD bits: COMM, "COMM,STALE", …"""
        return self.stage.quality(point)

    def owner(self, point: str) -> str:
        """The slot that decides an output: control, remote, protect, …"""
        return self.stage.owner(point)

    def plant(self, variable: str) -> float:
        """`booster.discharge_pressure`: the truth in the model, whatever its sensor says."""
        model, _, name = variable.partition(".")
        return float(self.stage.equipment(model).readings()[name])

    def lowest(self, point: str, since: float, until: float) -> float:
        """The lowest value that was seen between two times."""
        return float(np.nanmin(self._seen(point, since, until)[1]))

    def highest(self, point: str, since: float, until: float) -> float:
        """The highest value that was seen between two times."""
        return float(np.nanmax(self._seen(point, since, until)[1]))

    def falls_to(self, point: str, limit: float, since: float, until: float) -> float:
        """When a point was first seen at `limit` or below it; inf when it was not."""
        times, values = self._seen(point, since, until)
        at = np.flatnonzero(values <= limit)
        return round(float(times[at[0]]) - self.settle, 3) if len(at) else float("inf")

    def settled(self, point: str, band: Around, since: float, until: float) -> float:
        """How long after `since` the value came into the band for good, inf when it did not."""
        times, values = self._seen(point, since, until)
        outside = np.flatnonzero(~(np.abs(values - band.centre) <= band.width + 1e-9))
        if not len(outside):
            return 0.0
        last = outside[-1] + 1
        return float(times[last]) - self.settle - since if last < len(times) else float("inf")

    def fastest(self, point: str, since: float, until: float, over: float = 1.0) -> float:
        """The greatest change within `over` seconds."""
        times, values = self._seen(point, since, until)
        before = np.searchsorted(times, times - over - 1e-9)
        return float(np.nanmax(np.abs(values - values[before])))

    def moves(self, point: str, since: float, until: float) -> list[float]:
        """The times at which a point moved."""
        times, values = self._seen(point, since, until)
        times, values = times[~np.isnan(values)], values[~np.isnan(values)]
        at = np.flatnonzero(np.abs(np.diff(values)) > CHANGED) + 1
        return [round(float(times[i]) - self.settle, 3) for i in at]

    def rises(self, point: str, since: float, until: float) -> list[float]:
        """The times at which a point went from 0 to something."""
        return self._edges(point, since, until, up=True)

    def falls(self, point: str, since: float, until: float) -> list[float]:
        """The times at which a point went to 0."""
        return self._edges(point, since, until, up=False)

    def _edges(self, point: str, since: float, until: float, *, up: bool) -> list[float]:
        times, values = self._seen(point, since, until)
        known = ~np.isnan(values)  # a controller that has just started knows nothing yet
        times, on = times[known], values[known] > 0
        at = np.flatnonzero((~on[:-1] & on[1:]) if up else (on[:-1] & ~on[1:])) + 1
        return [round(float(times[i]) - self.settle, 3) for i in at]

    def _seen(self, point: str, since: float, until: float) -> Any:
        settle, at = self.settle, self.stage.index[point]
        times, values = self.stage.trace.of(at, settle + since, settle + until)
        assert len(times), f"nobody looked at {point} between {since:g} and {until:g} s"
        return times, values

    def writes(self, point: str, since: float, until: float) -> list[float]:
        """What was written to the equipment behind a point, in order."""
        model, field = self.stage.variable(point)
        settle = self.settle
        return [
            value * field.scale + field.offset
            for t, m, variable, value in self.stage.rig.written
            if (m, variable) == (model, field.config.variable)
            and settle + since - 1e-9 <= t <= settle + until + 1e-9
        ]

    def disturbance(self, since: float, until: float) -> tuple[float, str]:
        """By how much any output was moved from where it stood at `since`, in % of its range, and
        which one."""
        worst = 0.0, ""
        for point in self.stage.outputs():
            before = self._seen(point.id, since - 60, since)[1][-1]
            span = point.high - point.low if np.isfinite(point.high - point.low) else 1.0
            for value in self.writes(point.id, since, until):
                worst = max(worst, (100 * float(abs(value - before)) / span, point.id))
        return worst

    def alarms(self, state: str = "") -> list[str]:
        """The alarms in a state; without one, all that are neither NORMAL nor SUPPRESSED."""
        rows = self.stage.controller.scan.alarms.states.values()
        return sorted(
            row.alarm.id for row in rows
            if (row.state == state if state else row.state not in SILENT)
        )  # fmt: skip

    def states(self, alarm: str) -> list[str]:
        """Every state that an alarm came to, from the journal."""
        return [r["state"] for r in self.records["alarm"] if r["alarm"] == alarm]

    def raised(self, alarm: str = "") -> list[float]:
        """When an alarm (any, without a name) was raised, from the journal."""
        return [self._time(r["ts"] / 1000) for r in self.records["alarm"]
                if alarm in ("", r["alarm"]) and r["cause"] == "raised"]  # fmt: skip

    def live(self, alarm: str, point: str) -> float:
        """The live value of a point that an alarm shows."""
        row = self.stage.controller.scan.alarms.states[alarm]
        return float(self.stage.controller.view.alarm_state(row)["numbers"][point])

    def priority(self, alarm: str) -> int:
        """1 to 4."""
        return self.stage.controller.scan.alarms.states[alarm].alarm.priority

    def checks(self, alarm: str, language: str) -> list[str]:
        """The first checks, in `zh` or `en`, from the journal."""
        found = [r["checks"] for r in self.records["alarm"] if r["alarm"] == alarm]
        return [check[language] for check in found[-1]]

    def answers(self, command: str) -> list[str]:
        """Each answer to a command as "STATE" or "STATE code", from the journal."""
        return [f"{r['state']} {r['code']}".strip() for r in self._answers(command)]

    def answered(self, command: str, state: str) -> float:
        """When a command first came to `state`; inf when it did not."""
        times = [r["ts"] for r in self._answers(command) if r["state"] == state]
        return self._time(times[0] / 1000) if times else float("inf")

    def _answers(self, command: str) -> list[dict[str, Any]]:
        return [r for r in self.records["command"] if r["id"] == command]

    def exit_code(self) -> int | None:
        """Of the controller that ended last; None while none has ended."""
        return self.stage.exit_code()

    def requests(self, device: str) -> int:
        """How many requests a device has got so far."""
        return self.stage.line.requests[device]

    def probes(self, device: str) -> int:
        """How many of them only asked whether it is there."""
        return self.stage.line.probes[device]

    def events(self, code: str) -> int:
        """How often the controller that runs now emitted an event."""
        return self.stage.controller.events.counts[code]

    def _time(self, wall: float) -> float:
        return round(wall - self._wall - self.settle, 3)


WORDS: Mapping[str, Callable[..., Any]] = {
    name: word for name, word in vars(Played).items()
    if not name.startswith(("_", "do_")) and callable(word) and name != "run"
}  # fmt: skip


class Sentence(ast.NodeTransformer):
    """Makes a dotted name a point's value, or a word where a function takes names."""

    def __init__(self, played: Played) -> None:
        self._played = played
        self.looks: list[ast.Call] = []  # what to show when the sentence is false

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name), f"cannot call {ast.unparse(node.func)}"
        assert node.func.id in {*VALUES, *WORDS, "around"}, f"no word {node.func.id!r}"
        if node.func.id in VALUES:
            node.args = [self.visit(argument) for argument in node.args]
            return node
        if node.func.id != "around":
            self.looks.append(node)
        node.args = [self._name(a) if _dotted(a) else a for a in node.args]
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._point(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._point(node)

    def _point(self, node: ast.expr) -> ast.expr:
        name = _dotted(node)
        if name not in self._played.stage.index:
            assert "." not in name, f"no point {name!r}"
            return self._name(node)
        look = ast.Call(ast.Name("value", ast.Load()), [ast.Constant(name)], [])
        self.looks.append(look)
        return look

    def _name(self, node: ast.expr) -> ast.expr:
        return ast.Constant(_dotted(node))


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _written(look: ast.Call) -> str:
    """A look as the case has it: names without quotes, a point by its name alone."""
    text = ast.unparse(look).replace("'", "")
    return text[6:-1] if text.startswith("value(") else text
