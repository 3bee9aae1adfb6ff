"""Plays a scenario on a `Stage` in virtual time, and says where it did not hold and why.

Not what the words mean (`acting.py`, `seeing.py`). Everything a scenario says is checked against
its site before anything is played. Called by `edge test` and by tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge import events
from edge.blocks import KINDS
from edge.driver import DriverKind
from edge.envelope import State as Answered
from edge.hmi.view import Refused
from edge.image.quality import NAMES
from edge.image.slots import Slot
from edge.proof.acting import ACTS, FIELDS, Acting, whole
from edge.proof.case import Given, Scenario, Step
from edge.proof.seeing import WORDS, Seeing
from edge.proof.sentence import Names, Sentence, parse_sentence
from edge.proof.stage import Stage
from edge.proof.virtual_loop import run_virtual
from edge.scan.alarms import State
from edge.schema.arguments import given
from edge.schema.loader import Loc
from edge.schema.model import Model, Refusal
from edge.schema.problem import Mark, Problem
from edge.schema.validate import unknown_key, validate
from edge.site.load import ConfigProblems
from edge.site.requests import resettable
from edge.site.site import Site
from edge.text import Text

Json = dict[str, Any]
SLICE = 60.0  # virtual seconds between two signs of life


@dataclass(frozen=True, slots=True)
class Failure:
    """A sentence that was false: what was seen of it, and why its points had their values.

    `why` are explanations as the local API gives them. `note` says why it could not be computed.
    """

    mark: Mark
    at: float
    sentence: str
    seen: tuple[tuple[str, str], ...]
    why: tuple[Json, ...]
    note: Text | None = None


class Played:
    """One run of a scenario; `failures` are those of the first step that did not hold."""

    def __init__(
        self,
        scenario: Scenario,
        state: Path,
        drivers: Mapping[str, DriverKind],
        progress: Callable[[float, float], None] | None = None,
    ) -> None:
        self.scenario, self.settle = scenario, scenario.case.given.settle
        self.lasted = 0.0  # virtual seconds so far
        self._progress = progress
        self.failures: list[Failure] = []
        given = scenario.case.given
        self.stage = Stage(
            scenario.site, state, self._now, drivers, equipment=given.equipment, marks=scenario,
            minute=_minute(given),
        )  # fmt: skip
        start = datetime.fromisoformat(given.wall).replace(
            tzinfo=ZoneInfo(self.stage.site.timezone)
        )
        self._wall = start.timestamp() - self.settle
        self.stage.line.silent.update(given.silent)
        self.stage.trusted = given.trusted
        self._acting = Acting(self.stage)
        self.seeing = Seeing(self.stage, self.settle, self._wall)
        checked = Check(scenario, names(self.stage.site, self.stage.uplinks))
        if checked.problems:
            raise ConfigProblems(checked.problems)
        for point, value in given.points.items():
            with self._placed(("given", "points", point)):
                self.stage.show(point, value)
        self._acts, self._sentences = checked.acts, checked.sentences

    def _now(self) -> float:
        return self._wall + asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Settle, then go through the steps until one does not hold."""
        loop = asyncio.get_running_loop()
        await self.stage.start()
        try:
            for number, step in enumerate(self.scenario.case.steps):
                await self._sleep_until(self.settle + step.at)
                await self._act(number, step)
                if step.when:
                    await asyncio.sleep(0)
                await self._expect(number, step)
                if self.failures:
                    return
        finally:
            self.lasted = loop.time()
            await self.stage.end()

    async def _sleep_until(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            if self._progress is not None:
                end = self.settle + self.scenario.case.steps[-1].at
                self._progress(loop.time(), end)
            await asyncio.sleep(min(left, SLICE))

    @contextmanager
    def _placed(self, loc: Loc) -> Iterator[None]:
        """What is refused within is a problem of what is written at `loc`."""
        try:
            yield
        except Refusal as refusal:
            mark = self.scenario.value(loc)
            raise ConfigProblems([Problem(refusal.code, mark, refusal.text)]) from refusal

    async def _act(self, number: int, step: Step) -> None:
        for k, (name, options) in enumerate(self._acts[number]):
            loc = ("steps", number, "when", k)
            try:
                with self._placed(loc):
                    done = getattr(self._acting, name)(**options)
                    if inspect.isawaitable(done):
                        await done
            except Refused as refused:  # as the local API would say it to a person
                written = ", ".join(str(option) for option in options.values())
                said = f"{name}: {written}"
                mark = self.scenario.value(loc)
                self.failures.append(Failure(mark, step.at, said, (), (), refused.text))

    async def _expect(self, number: int, step: Step) -> None:
        if not step.then:
            return
        await self.seeing._look()
        for k, sentence in enumerate(self._sentences[number]):
            failure = self._look_at(
                sentence, self.scenario.value(("steps", number, "then", k)), step
            )
            if failure is not None:
                self.failures.append(failure)

    def _look_at(self, sentence: Sentence, mark: Mark, step: Step) -> Failure | None:
        words, note = self.seeing._words(), None
        try:
            with suppress(LookupError):  # `raised(X)[0]` of an alarm never raised is no truth
                if sentence.value(sentence.tree, words):
                    return None
        except Refusal as refusal:
            note = refusal.text
        except (TypeError, ValueError, ArithmeticError) as error:
            note = Text(f"无法计算: {error}", f"cannot be computed: {error}")
        seen = []
        for text, look in sentence.looks:
            with suppress(LookupError, TypeError, ValueError, ArithmeticError):
                seen.append((text, _shown(sentence.value(look, words))))
        why = tuple(self.stage.controller.view.explain(point) for point in sentence.points)
        return Failure(mark, step.at, sentence.text, tuple(seen), why, note)


def _minute(given: Given) -> float:
    """Of the day, when the controller starts: `settle` before the scenario's wall time."""
    begins = datetime.fromisoformat(given.wall) - timedelta(seconds=given.settle)
    return (begins - begins.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(
        minutes=1
    )


def _shown(value: Any) -> str:
    """A value as a person writes it: numbers short, texts without quotes."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value)


class Check:
    """What a scenario says, checked against its site: acts and sentences by step, or problems."""

    def __init__(self, scenario: Scenario, names: Names) -> None:
        self._scenario, self._names = scenario, names
        self.problems: list[Problem] = []
        case = scenario.case
        for k, device in enumerate(case.given.silent):
            self._check("device", device, ("given", "silent", k))
        for point in case.given.points:
            self._check("point", point, ("given", "points", point))
        self.acts = [
            [act for k, item in enumerate(step.when)
             if (act := self._act(item, ("steps", n, "when", k)))]
            for n, step in enumerate(case.steps)
        ]  # fmt: skip
        self.sentences = [
            [s for k, text in enumerate(step.then)
             if (s := self._sentence(text, ("steps", n, "then", k)))]
            for n, step in enumerate(case.steps)
        ]  # fmt: skip

    def _act(self, item: Mapping[str, Any], loc: Loc) -> tuple[str, Json] | None:
        ((name, options),) = item.items()
        place = (*self._scenario.loc, *loc, name)
        if name not in ACTS:
            self.problems.append(unknown_key(place, self._scenario.document, ACTS))
            return None
        one = whole(name)
        data = options if one is None else {one: options}
        model: type[Model] = FIELDS[name]
        marks = self._scenario.document if one is None else _Bare(self._scenario, place)
        filled, problems = validate(model, data, marks, place)
        self.problems += problems
        if filled is None:
            return None
        found = given(filled)
        for parameter, value in found.items():
            self._check(parameter, value, (*loc, name))
            if parameter == "points":
                for point in value:
                    self._check("point", point, (*loc, name, point))
        return name, found

    def _sentence(self, text: str, loc: Loc) -> Sentence | None:
        try:
            return parse_sentence(text, WORDS, self._names)
        except Refusal as refusal:
            self._refused(refusal, loc)
            return None

    def _check(self, parameter: str, value: object, loc: Loc) -> None:
        try:
            self._names.check(parameter, value)
        except Refusal as refusal:
            self._refused(refusal, loc)

    def _refused(self, refusal: Refusal, loc: Loc) -> None:
        self.problems.append(Problem(refusal.code, self._scenario.value(loc), refusal.text))


class _Bare:
    """The place of a value that stands for the one parameter of a word."""

    def __init__(self, scenario: Scenario, place: Loc) -> None:
        self._document, self._place = scenario.document, place

    def value(self, loc: Loc) -> Mark:
        return self._document.value(self._place)

    def key(self, loc: Loc) -> Mark:
        return self._document.key(self._place)


def names(site: Site, uplinks: Collection[str]) -> Names:
    """What the words of a scenario may name."""
    alarms = {alarm.id for alarm in site.alarms}
    known = {
        "point": set(site.index()),
        "device": {device.id for bus in site.buses for device in bus.devices} | set(uplinks),
        "alarm": alarms,
        "latch": alarms | set(resettable(site, KINDS)),
        "state": {state.value for state in State},
        "answer": {state.value for state in Answered},
        "code": {event.code for event in vars(events).values() if isinstance(event, events.Event)},
        "program": {"control", "protect"},
        "language": {"zh", "en"},
    }
    slots = {slot.name.lower() for slot in Slot} | {"none"}
    qualities = {"GOOD", *(name.upper().replace("-", "_") for _, name, _ in NAMES)}
    return Names(known, slots | qualities | alarms | known["state"] | known["answer"])


def play(scenario: Scenario, state: Path, drivers: Mapping[str, DriverKind]) -> Played:
    """Play a scenario, keeping the controller's state in `state`.

    Raises `ConfigProblems`: of its site, of its plant and of its own.
    """
    played = Played(scenario, state, drivers)
    run_virtual(played.run, most=None)
    return played
