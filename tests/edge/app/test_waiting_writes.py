"""Commands to outputs that may not be written at once: the whole controller in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from edge.proof.stage import Stage
from tests.edge.app.test_trouble import play

SITE = """
site: {id: slow, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {plant: {driver: sim}}
devices:
  zones:
    bus: plant
    model: zones
    points:
      valve: {variable: v1_command, unit: "%", range: [0, 100], output: true, default: 50, LIMIT}
"""


async def course(stage: Stage, id: str) -> list[tuple[str, str]]:
    """States and codes of a command, in order."""
    return [(r["state"], r["code"]) for r in await stage.journal("command") if r["id"] == id]


async def ask(stage: Stage, id: str, value: float, **fields: Any) -> None:
    await stage.local(by="lisi", id=id, point="zones.valve", value=value, **fields)


def test_a_command_within_the_write_interval_waits_and_is_done(tmp_path: Path) -> None:
    """It was "did not follow" after ten seconds before its write had gone out."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(120)
        await ask(stage, "a", 60.0, expires=None)
        await asyncio.sleep(20)
        assert (await course(stage, "a"))[-1] == ("WRITTEN_UNVERIFIED", "")
        await ask(stage, "b", 70.0, expires=None)
        await asyncio.sleep(20)
        assert (await course(stage, "b"))[-1] == ("EXECUTING", "WRITE_INTERVAL")
        assert stage.value("zones.valve") == 60.0
        due = (await stage.journal("command"))[-1]["due"]
        await asyncio.sleep(due - stage.controller.clock.wall() - 1.0)
        assert stage.value("zones.valve") == 60.0
        await asyncio.sleep(3.0)
        assert stage.value("zones.valve") == 70.0
        await asyncio.sleep(20)
        assert (await course(stage, "b"))[-2:] == [("EXECUTING", ""), ("WRITTEN_UNVERIFIED", "")]
        await stage.stop()

    play(tmp_path, story, SITE.replace("LIMIT", "write_interval: 60s"))


def test_a_spent_day_refuses_who_cannot_wait_for_the_next(tmp_path: Path) -> None:
    """With the hours until it is possible, and nothing acts when they are over."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(10)
        for k in range(9):
            await ask(stage, f"w{k}", 51.0 + k, expires=None)
            await asyncio.sleep(15)
        assert stage.value("zones.valve") == 59.0
        await ask(stage, "late", 80.0, expires=None)
        await asyncio.sleep(1.0)
        (record,) = [r for r in await stage.journal("command") if r["state"] == "REJECTED"]
        assert (record["id"], record["code"]) == ("late", "WRITES_SPENT")
        assert "it can be written again in 24 h" in record["text"]["en"]
        await asyncio.sleep(60)
        assert stage.value("zones.valve") == 59.0
        await stage.stop()

    play(tmp_path, story, SITE.replace("LIMIT", "eeprom: true"))


def test_a_spent_day_is_not_forgotten_by_a_process_that_is_killed(tmp_path: Path) -> None:
    """Whatever ends it soon after its writes: else one that dies every minute wears it out."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(10)
        for k in range(9):
            await ask(stage, f"w{k}", 51.0 + k, expires=None)
            await asyncio.sleep(2)
        assert stage.value("zones.valve") == 59.0
        await stage.kill()
        await stage.start()
        await asyncio.sleep(10)
        (bus,) = stage.controller.buses.values()
        assert bus.budgets["zones.valve"].count >= 10
        await ask(stage, "late", 80.0, expires=None)
        await asyncio.sleep(1.0)
        assert (await course(stage, "late"))[-1] == ("REJECTED", "WRITES_SPENT")
        await stage.stop()

    play(tmp_path, story, SITE.replace("LIMIT", "eeprom: true"))


def test_a_valve_that_somebody_else_moves_is_moved_back(tmp_path: Path) -> None:
    """Within its write budget; the log has both values, and no refresh was configured."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(30)
        assert stage.value("zones.valve") == 50.0
        stage.rig.write("zones", "v1_command", 20.0)
        await asyncio.sleep(10)
        assert stage.value("zones.valve") == 50.0
        assert stage.controller.events.counts["changed-elsewhere"] == 1
        stage.rig.write("zones", "v1_command", 20.0)
        await asyncio.sleep(30)
        assert stage.value("zones.valve") == 20.0  # not yet: at most once a minute
        await asyncio.sleep(30)
        assert stage.value("zones.valve") == 50.0
        assert stage.controller.events.counts["changed-elsewhere"] == 2
        await stage.stop()

    play(tmp_path, story, SITE.replace("LIMIT", "write_interval: 2s"))
