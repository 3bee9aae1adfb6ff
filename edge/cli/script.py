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
    command: str = ""  # id of the step's command

    def value(self, point: str) -> float | None:
        """The point's value, None while it is bad."""
        found = self.points[point]
        return None if found.bad else found.value

    def text(self, point: str) -> str:
        """The point and its value in words."""
        found = self.points[point]
        return f"{point} {number_text(found, found.value, self.language)}"


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
    """Do something, see what must follow within `limit` seconds, put it right again."""

    text: Text
    limit: float
    checks: list[Check]
    act: Callable[[Stage, World], Awaitable[None]]
    undo: Callable[[Stage, World], Awaitable[None]] | None = None


@dataclass
class Play:
    """A run of the script over a stage."""

    stage: Stage
    client: Client
    model: Json
    language: Language
    told: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    async def run(self, limit: float) -> bool:
        """Play every step; whether everything was seen before `limit` seconds were over."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + limit
        for step in self.steps:
            self.told(step.text.of(self.language))
            world = await self._look({}, len(self.stage.subscriber.heard))
            world.before = world.points
            first = len(self.stage.subscriber.heard)
            began = loop.time()
            await step.act(self.stage, world)
            deadline = min(began + step.limit, ends)
            while not self._seen(step, world, loop.time() - began) and loop.time() < deadline:
                await asyncio.sleep(LOOK)
                world = await self._look(world.before, first, world.command)
            if step.undo is not None:
                await step.undo(self.stage, world)
        return all(check.after is not None for step in self.steps for check in step.checks)

    async def _look(self, before: dict[str, Shown], first: int, command: str = "") -> World:
        snapshot = await asyncio.to_thread(self.client.get, "snapshot")
        health = await asyncio.to_thread(self.client.get, "health")
        return World(
            self.language,
            {point.id: point for point in shown(self.model, snapshot)},
            before,
            {alarm["id"]: alarm for alarm in snapshot["alarms"]},
            health,
            self.stage.subscriber.heard[first:],
            command,
        )

    def _seen(self, step: Step, world: World, after: float) -> bool:
        for check in step.checks:
            if check.after is None and (evidence := check.test(world)) is not None:
                check.evidence, check.after = evidence, after
        return all(check.after is not None for check in step.checks)


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


def cleared(id: str) -> Check:
    """The alarm is gone."""
    return Check("alarm", Text(f"{id} 消失", f"{id} clears"), lambda w: _yes(id not in w.alarms))


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


def heard(topic: str, what: Text, test: Callable[[Any], bool] = bool) -> Check:
    """A message arrived at the subscriber on this topic below the root."""

    def look(world: World) -> str | None:
        for message in world.heard:
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


def _yes(seen: bool) -> str | None:
    return "" if seen else None


def _short(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


SEEN = Text("用时", "seen")
STEP = Text("步骤", "step")
KIND = Text("类别", "kind")
EXPECTED = Text("期望", "expected")
EVIDENCE = Text("实见", "evidence")
NO = Text("未见", "NOT SEEN")
