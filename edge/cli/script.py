"""The scripted demo: faults in order, what must be seen after each, and a table of what was.

Sees the controller only from outside: its local API and what arrives at an MQTT subscriber. A
check that was not seen makes the demo fail. Used by `edge demo --headless`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.cli.alarms import standing
from edge.cli.broker import Message
from edge.cli.client import Client, Json
from edge.cli.points import Shown, number_text, shown
from edge.cli.stage import ROOT, Stage
from edge.text import Language, Text

LOOK = 0.2  # seconds between looks


@dataclass
class World:
    """The controller as seen at one moment, and what the subscriber heard since the step began."""

    language: Language
    points: dict[str, Shown]
    before: dict[str, Shown]  # when the step began
    alarms: dict[str, Json]
    health: Json
    heard: Sequence[Message]
    all_heard: Sequence[Message]
    command: str = ""  # id of the step's command

    def value(self, point: str) -> float | None:
        """The point's value, None while it is bad."""
        found = self.points[point]
        return None if found.bad else found.value

    def text(self, point: str) -> str:
        """The point and its value in words."""
        found = self.points[point]
        return f"{point} {number_text(found, found.value, self.language)}"


Act = Callable[[Stage, World], Awaitable[None]]
Test = Callable[[World], str | None]
"""What proves it, in words; None while it is not to be seen."""

KINDS = {
    "alarm": Text("报警", "alarm"),
    "correction": Text("处置", "correction"),
    "output": Text("输出", "output"),
    "message": Text("消息", "message"),
    "state": Text("状态", "state"),
}


@dataclass
class Check:
    """Something that must be seen. `after` is how long it took, None while it was not seen."""

    kind: str
    what: Text
    test: Test
    evidence: str = ""
    after: float | None = None


@dataclass
class Step:
    """Do something and see what must follow within `limit` seconds; then put it right again.

    The next step waits for it, unless `beside`: then it is watched while the others go on.
    """

    text: Text
    limit: float
    checks: list[Check]
    act: Act
    undo: Act | None = None
    beside: bool = False

    @property
    def seen(self) -> bool:
        """Whether everything that must follow was seen."""
        return all(check.after is not None for check in self.checks)


@dataclass
class Begun:
    """A step under way: when it began, and what the world was like."""

    step: Step
    at: float
    points: dict[str, Shown]
    first: int  # of the messages heard since
    command: str = ""


@dataclass
class Play:
    """A run of the script over a stage."""

    stage: Stage
    client: Client
    model: Json
    language: Language
    told: Callable[[str], None]
    steps: list[Step]
    begun: list[Begun] = field(default_factory=list)

    async def run(self, limit: float) -> bool:
        """Play every step; whether everything was seen before `limit` seconds were over."""
        ends = asyncio.get_running_loop().time() + limit
        for step in self.steps:
            self.told(step.text.of(self.language))
            begun = await self._begin(step)
            if not step.beside:
                await self._until_seen(begun, ends)
        for begun in self.begun:
            await self._until_seen(begun, ends)
        return all(step.seen for step in self.steps)

    async def _begin(self, step: Step) -> Begun:
        world = await self._look()
        begun = Begun(step, asyncio.get_running_loop().time(), world.points,
                      len(self.stage.subscriber.heard))  # fmt: skip
        await step.act(self.stage, world)
        begun.command = world.command
        self.begun.append(begun)
        return begun

    async def _until_seen(self, begun: Begun, ends: float) -> None:
        """Look at everything under way until this step is over, and put right what it did."""
        loop, step = asyncio.get_running_loop(), begun.step
        world = await self._look()
        while not step.seen and loop.time() < min(begun.at + step.limit, ends):
            await asyncio.sleep(LOOK)
            world = await self._look()
        if step.undo is not None:
            await step.undo(self.stage, world)

    async def _look(self) -> World:
        """See what there is now, and which of the checks under way it proves."""
        snapshot = await asyncio.to_thread(self.client.get, "snapshot")
        health = await asyncio.to_thread(self.client.get, "health")
        points = {point.id: point for point in shown(self.model, snapshot)}
        heard = self.stage.subscriber.heard
        alarms = {alarm["id"]: alarm for alarm in standing(snapshot["alarms"])}
        now = asyncio.get_running_loop().time()
        world = World(self.language, points, points, alarms, health, heard, heard)
        for begun in self.begun:
            world.before, world.heard = begun.points, heard[begun.first :]
            world.command = begun.command
            for check in begun.step.checks:
                if check.after is None and (evidence := check.test(world)) is not None:
                    check.evidence, check.after = evidence, now - begun.at
        return world


def summary(steps: Sequence[Step], language: Language) -> Any:
    """What was expected and what was seen, as a table."""
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False, box=None)
    for title in (SEEN, STEP, KIND, EXPECTED, EVIDENCE):
        table.add_column(title.of(language), overflow="fold")
    for step in steps:
        first = step.text.of(language)
        for check in step.checks:
            seen = NO.of(language) if check.after is None else f"{check.after:4.1f} s"
            table.add_row(
                seen, first, KINDS[check.kind].of(language), check.what.of(language),
                check.evidence,
                style="bold" if check.after is None else "",
            )  # fmt: skip
            first = ""
    return table


# ── what may be seen ───────────────────────────────────────────────────────────────────────────


def alarm(id: str) -> Check:
    """The alarm stands, unacknowledged, with first checks in its definition."""

    def test(world: World) -> str | None:
        entry = world.alarms.get(id)
        if entry is None or entry["state"] != "UNACK":
            return None
        return " ".join([f"P{entry['priority']} #{entry['n']}", *_numbers(entry)])

    return Check("alarm", Text(id, id), test)


def stands(id: str) -> Check:
    """The alarm stands, acknowledged or not."""

    def test(world: World) -> str | None:
        entry = world.alarms.get(id)
        return None if entry is None else " ".join([entry["state"], *_numbers(entry)])

    return Check("alarm", Text(id, id), test)


def output(point: str, value: float, what: Text) -> Check:
    """The point, as read back from the device, has this value."""
    return Check("output", what, lambda w: w.text(point) if w.value(point) == value else None)


def reaches(kind: str, point: str, low: float, high: float, what: Text) -> Check:
    """The value comes between two bounds."""

    def test(world: World) -> str | None:
        value = world.value(point)
        return world.text(point) if value is not None and low <= value <= high else None

    return Check(kind, what, test)


def rises(point: str, by: float, what: Text) -> Check:
    """The value has grown since the step began."""

    def test(world: World) -> str | None:
        before, now = world.before[point].value, world.value(point)
        if before is None or now is None or now < before + by:
            return None
        return f"{number_text(world.before[point], before, world.language)} -> {world.text(point)}"

    return Check("correction", what, test)


def bad(point: str, what: Text) -> Check:
    """The value is no longer shown as good."""

    def test(world: World) -> str | None:
        return point if world.points[point].bad else None

    return Check("state", what, test)


def good(point: str, age: float, what: Text) -> Check:
    """The value is good and young."""

    def test(world: World) -> str | None:
        found = world.points[point]
        young = not found.bad and found.age is not None and found.age <= age
        return f"{world.text(point)}, {found.age} s" if young else None

    return Check("state", what, test)


def numbers_complete(what: Text) -> Check:
    """Every numbered message up to the latest arrived, and nothing waits any more."""

    def test(world: World) -> str | None:
        (uplink,) = world.health["uplinks"]
        numbered = [m.data for m in world.all_heard if {"stream", "n"} <= set(m.data or ())]
        got = {message["n"] for message in numbered}
        if uplink["backlog"] or not got or len(got) < max(got) - min(got) + 1:
            return None
        return f"n {min(got)}-{max(got)}"

    return Check("message", what, test)


def heard(
    topic: str, what: Text, test: Callable[[Any], bool] = bool, *, ever: bool = False
) -> Check:
    """A message arrived at the subscriber on this topic below the root, `ever` or in this step."""

    def look(world: World) -> str | None:
        for message in world.all_heard if ever else world.heard:
            if message.topic == f"{ROOT}/{topic}" and test(message.data):
                return f"{topic} {_short(message.data)}"
        return None

    return Check("message", what, look)


def answered(state: str, what: Text) -> Check:
    """The step's command was answered with this state on `cmdack`."""

    def look(world: World) -> str | None:
        for message in world.heard:
            if message.topic == f"{ROOT}/cmdack/{world.command}":
                data = message.data or {}
                if data.get("state") == state:
                    return f"cmdack {state} {_short(data.get('feedback'))}"
        return None

    return Check("message", what, look)


def _numbers(entry: Json) -> list[str]:
    return [f"{k}={v:.3g}" for k, v in entry.get("numbers", {}).items() if v is not None]


def _short(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


SEEN = Text("用时", "seen")
STEP = Text("步骤", "step")
KIND = Text("类别", "kind")
EXPECTED = Text("期望", "expected")
EVIDENCE = Text("实见", "evidence")
NO = Text("未见", "NOT SEEN")
