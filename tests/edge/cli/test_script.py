"""The scripted demo sees what is there, and does not see what is not."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from rich.console import Console

from edge.cli import script
from edge.cli.broker import Message
from edge.cli.client import Client
from edge.cli.script import Check, Play, Step, World
from edge.cli.stage import ROOT, Stage
from edge.text import Text
from tests.edge.conftest import WALL, Running

X = Text("某事", "something")


@dataclass
class Heard:
    """The subscriber of a stage without equipment."""

    heard: list[Message] = field(default_factory=list)


@dataclass
class BareStage:
    """What a play needs of its stage."""

    subscriber: Heard = field(default_factory=Heard)


def play(running: Running, *steps: Step, limit: float = 5.0) -> tuple[bool, Play, list[str]]:
    """Play steps against the served fake."""
    told: list[str] = []
    client = Client(running.path)
    made = Play(cast(Stage, BareStage()), client, client.get("model"), "en", told.append,
                list(steps))  # fmt: skip
    return asyncio.run(made.run(limit)), made, told


def step(running: Running, check: Check, change: Any = None, limit: float = 0.5) -> Step:
    async def act(stage: Stage, world: World) -> None:
        if change is not None:
            change(running.view, stage)

    return Step(X, limit, [check], act)


ALARM = {"id": "ZONE3_LOW", "n": 1, "priority": 2, "state": "UNACK", "raised": WALL,
         "numbers": {"booster.pressure": 0.28}}  # fmt: skip


def hear(topic: str, data: Any) -> Any:
    return lambda view, stage: stage.subscriber.heard.append(Message(f"{ROOT}/{topic}", data))


CASES = [
    (script.alarm("ZONE3_LOW"), lambda v, s: v.alarm_list.append(dict(ALARM))),
    (script.output("v3.position", 65.0, X), lambda v, s: v.value.__setitem__(2, 65.0)),
    (script.reaches("correction", "booster.pressure", 0.5, 0.6, X),
     lambda v, s: v.value.__setitem__(0, 0.55)),
    (script.rises("v3.position", 5.0, X), lambda v, s: v.value.__setitem__(2, 90.0)),
    (script.bad("v3.position", X), lambda v, s: v.quality.__setitem__(2, 4)),
    (script.heard("event", X, lambda data: data["kind"] == "alarm"),
     hear("event", {"kind": "alarm"})),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_check_passes_only_when_it_happens(running: Running, case: int) -> None:
    """Each kind of check fails on the quiet site, and passes once its cause is there."""
    check, change = CASES[case]
    check = Check(check.kind, check.what, check.test)

    quiet, first, _ = play(running, step(running, check))
    assert not quiet
    assert check.after is None

    seen, _, told = play(running, step(running, check, change, limit=5.0))
    assert seen
    assert check.evidence
    assert told == ["something"]
    assert first.steps


def test_an_acknowledged_alarm_is_not_a_new_one(running: Running) -> None:
    """The alarm must stand unacknowledged; an old one proves nothing."""
    running.view.alarm_list = [ALARM | {"state": "ACKED"}]

    passed, _, _ = play(running, step(running, script.alarm("ZONE3_LOW")))

    assert not passed


def test_messages_from_before_the_step_prove_nothing(running: Running) -> None:
    """Only what the subscriber hears after the step began counts."""
    stage = BareStage(Heard([Message(f"{ROOT}/event", {"kind": "alarm"})]))
    client = Client(running.path)
    check = script.heard("event", X)
    made = Play(cast(Stage, stage), client, client.get("model"), "en", lambda _: None,
                [step(running, check)])  # fmt: skip

    assert not asyncio.run(made.run(5.0))


def test_the_time_of_the_whole_play_is_bounded(running: Running) -> None:
    """`--for` ends the script even in the middle, and what was not seen is a failure."""
    check = script.alarm("ZONE3_LOW")

    passed, _, _ = play(running, step(running, check, limit=1000.0), limit=0.3)

    assert not passed


def test_the_summary_names_what_was_not_seen(running: Running) -> None:
    """The table has a line per check, with evidence or NOT SEEN."""
    good, missing = CASES[1][0], script.alarm("ZONE3_LOW")
    _, made, _ = play(running, step(running, good, CASES[1][1]), step(running, missing))
    out = io.StringIO()

    Console(file=out, width=120).print(script.summary(made.steps, "en"))

    assert "v3.position 65 %" in out.getvalue()
    assert "NOT SEEN" in out.getvalue()
