"""What a killed controller leaves behind, in virtual time: nothing is undone by a kill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from drivers import DRIVERS
from edge.app.retain import read_drivers
from edge.proof.stage import Stage
from edge.proof.virtual_loop import run_virtual

SITE = """
site: {id: kept, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {plant: {driver: sim}}
devices:
  booster:
    bus: plant
    model: booster
    points:
      tank:      {variable: tank_level, unit: m}
      p1.run:    {variable: p1_run, output: true, default: 1, min_off: 300s}
      p2.run:    {variable: p2_run, output: true, default: 0}
  main:
    bus: plant
    model: fire_main
    points: {pressure: {variable: hydrant_pressure, unit: MPa}}
  io:
    bus: plant
    model: io
    points:
      buzzer:  {variable: relay2, output: true}
      silence: {variable: input1, poll: 100ms}
interlocks:
  dry: {when: booster.tank < 0.3, trip: [booster.p1.run], reset: manual}
alarms:
  LOW:
    point: main.pressure
    below: 0.07 MPa
    for: 2s
    clear_after: 60s
    priority: P1
    text: {zh: 低, en: low}
    checks: {zh: [看], en: [look]}
annunciators:
  panel: {buzzer: io.buzzer, silence: io.silence}
"""


def play(directory: Path, story: Callable[[Stage], Awaitable[None]], text: str = SITE) -> None:
    """Run a story on a stage in virtual time."""
    (directory / "site.yaml").write_text(text)
    began = time.time()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        running = {"booster": {"run_at": [80.0]}}
        site = directory / "site.yaml"
        stage = Stage(site, directory, lambda: began + loop.time(), DRIVERS, equipment=running)
        await stage.start()
        await story(stage)
        await stage.stop()

    run_virtual(main)


async def restart(stage: Stage) -> None:
    await stage.kill()
    await stage.start()
    await asyncio.sleep(5)


def test_a_killed_controller_keeps_its_alarms(tmp_path: Path) -> None:
    """S32: acknowledged stays acknowledged, the occurrence the same; nothing is told again."""

    async def story(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.fault("fire_main", "pressure_low")
        await asyncio.sleep(10)
        await stage.answer_alarm("LOW", "ack")
        await asyncio.sleep(0.2)
        told = await stage.journal("alarm")
        assert [record["state"] for record in told] == ["UNACK", "ACKED"]
        for _ in range(3):
            await restart(stage)
        assert await stage.journal("alarm") == told
        stage.fault("fire_main", "pressure_low", repaired=True)
        await asyncio.sleep(30)
        await restart(stage)
        assert await stage.journal("alarm") == told
        await asyncio.sleep(70)
        assert [r["state"] for r in await stage.journal("alarm")][2:] == ["NORMAL"]

    play(tmp_path, story)


def test_a_killed_controller_keeps_silence(tmp_path: Path) -> None:
    """What a person has silenced does not sound because of a restart; a new alarm would."""

    async def story(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.fault("fire_main", "pressure_low")
        await asyncio.sleep(10)
        assert stage.value("io.buzzer") == 1
        await restart(stage)
        assert stage.value("io.buzzer") == 1
        stage.fault("io", "press:1")
        await asyncio.sleep(0.5)
        stage.fault("io", "press:1", repaired=True)
        await asyncio.sleep(0.5)
        assert stage.value("io.buzzer") == 0
        written = len(stage.line.written)
        await restart(stage)
        assert stage.value("io.buzzer") == 0
        assert [w for w in stage.line.written[written:] if w[1] == "io.buzzer" and w[2]] == []

    play(tmp_path, story)


def test_a_killed_controller_keeps_interlocks_and_minimum_times(tmp_path: Path) -> None:
    """A trip waits for its reset, and then the stopped pump for its minimum time."""

    async def story(stage: Stage) -> None:
        await asyncio.sleep(3)
        assert stage.value("booster.p1.run") == 1
        stage.fault("booster", "tank_low")
        await asyncio.sleep(40)  # the tank empties
        stopped = next(
            t for t, name, value in stage.line.written if name == "booster.p1.run" and not value
        )
        assert stage.value("dry.tripped") == 1
        stage.fault("booster", "tank_low", repaired=True)
        await restart(stage)
        assert stage.value("booster.tank") > 0.3
        assert (stage.value("dry.tripped"), stage.value("booster.p1.run")) == (1, 0)
        assert stage.controller.scan.reset_interlock("dry")
        await asyncio.sleep(0.2)
        await restart(stage)
        assert (stage.value("dry.tripped"), stage.owner("booster.p1.run")) == (0, "min_time")
        await asyncio.sleep(stopped + 299 - stage.now)
        assert stage.value("booster.p1.run") == 0
        await asyncio.sleep(3)
        assert stage.value("booster.p1.run") == 1

    play(tmp_path, story)


def test_what_drivers_learned_is_kept_and_can_be_looked_at(tmp_path: Path) -> None:
    """A killed controller's successor recalls it, and anybody may read it meanwhile."""
    learned = {"refused": [17]}

    async def story(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.controller.buses["plant"].host.keep("booster", learned)
        await asyncio.sleep(2)
        assert read_drivers(tmp_path / "state") == {"plant": {"booster": learned}}
        await restart(stage)
        host = stage.controller.buses["plant"].host
        assert (host.recall("booster"), host.recall("io")) == (learned, {})

    play(tmp_path, story)
    before = sorted((tmp_path / "state").iterdir())
    assert read_drivers(tmp_path / "state") == {"plant": {"booster": learned}}
    assert sorted((tmp_path / "state").iterdir()) == before
    assert read_drivers(tmp_path / "nowhere") == {}


def test_writes_are_counted_over_restarts(tmp_path: Path) -> None:
    """How often an output was written in its life: the next process goes on counting."""

    async def story(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.fault("fire_main", "pressure_low")
        await asyncio.sleep(10)
        budgets = stage.controller.buses["plant"].budgets
        before = budgets["io.buzzer"].count
        assert before >= 1
        await stage.stop()
        await stage.start()
        await asyncio.sleep(5)
        again = stage.controller.buses["plant"].budgets
        assert again is not budgets
        assert again["io.buzzer"].count >= before

    play(tmp_path, story)


ROTATING = """
site: {id: rotating, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {plant: {driver: sim}}
devices:
  booster:
    bus: plant
    model: booster
    points:
      p1.run:     {variable: p1_run, output: true}
      p1.running: {variable: p1_running}
      p1.fault:   {variable: p1_fault}
      p2.run:     {variable: p2_run, output: true}
      p2.running: {variable: p2_running}
      p2.fault:   {variable: p2_fault}
rules:
  duty: {block: rotation, demand: 1, pumps: [booster.p1, booster.p2]}
"""


def test_other_options_after_a_restart_lose_no_hours_and_no_lockout(tmp_path: Path) -> None:
    """Someone changes `retry` and turns the list of pumps round: what was counted stays with each
    pump, and the one that tripped still waits for a person."""

    async def story(stage: Stage) -> None:
        await asyncio.sleep(1800)
        stage.fault("booster", "pump_trip:1")
        await asyncio.sleep(5)
        stage.fault("booster", "pump_trip:1", repaired=True)
        await asyncio.sleep(5)
        assert stage.value("duty.pump1_hours") > 0.49
        await stage.stop()
        (rule,) = stage.site.rules
        changed = {"retry": 300.0, "pumps": tuple(reversed(rule.model.pumps))}  # type: ignore[attr-defined]
        rule = replace(rule, model=rule.model.model_copy(update=changed))
        stage.site = replace(stage.site, rules=(rule,))
        await stage.start()
        await asyncio.sleep(5)
        assert stage.value("duty.pump2_hours") > 0.49
        assert stage.value("duty.pump1_hours") < 0.01
        assert (stage.value("duty.tripped"), stage.value("booster.p1.run")) == (1, 0)
        assert stage.value("booster.p2.run") == 1

    play(tmp_path, story, ROTATING)
