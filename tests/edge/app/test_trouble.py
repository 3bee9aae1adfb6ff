"""What a controller does when it is told to stop, and when something within it goes wrong."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from drivers import DRIVERS
from edge.driver import Write
from edge.image import quality
from edge.proof.stage import Stage
from edge.proof.virtual_loop import run_virtual

SITE = """
site: {id: faults, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {plant: {driver: sim}, panel: {driver: sim}}
devices:
  zones:
    bus: plant
    model: zones
    points:
      position: {variable: v1_position, unit: "%"}
      command:  {variable: v1_command, unit: "%", range: [0, 100], output: true,
                 failsafe: 35 %, refresh: 1s}
  io:
    bus: panel
    model: io
    points:
      relay:  {variable: relay3, output: true}
      beacon: {variable: relay1, output: true}
      lamp:   {variable: relay2, output: true, default: 0}
      guard:  {variable: input5}
setpoints:
  opening: {default: 80 %, unit: "%", range: [0, 100]}
rules:
  follow: {block: scale, input: opening, input_low: 0, input_high: 100, low: 0, high: 100,
           unit: "%", output: zones.command}
  light: {block: hysteresis, input: zones.position, on_at: 5, off_at: 2, output: io.lamp}
interlocks:
  guarded: {when: io.guard, trip: [io.lamp], value: 1}
alarms:
  SHUT:
    when: opening < 10
    priority: P1
    text: {zh: 已关, en: shut}
    checks: {zh: [看], en: [look]}
    shows: [zones.position]
annunciators:
  panel: {beacon: io.beacon, relay: io.relay}
"""


def play(directory: Path, story: Callable[[Stage], Awaitable[None]], site: str = SITE) -> None:
    """Run a story on a stage in virtual time."""
    (directory / "site.yaml").write_text(site)
    began = time.time()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stage = Stage(
            directory / "site.yaml", directory, lambda: began + loop.time(), DRIVERS, alone=False
        )
        await story(stage)

    run_virtual(main)


def written(stage: Stage, point: str) -> list[float]:
    return [value for _, name, value in stage.line.written if name == point]


def test_the_explicit_failsafe_is_the_last_thing_written(tmp_path: Path) -> None:
    """A stop drives the failsafe, and no rule writes its own value over it while others wait."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(5)
        assert written(stage, "zones.command")[-1] == 80
        stage.line.silent.add("io")  # its letters keep the stop waiting for its three seconds
        stage.controller.buses["panel"].mailbox.put(Write("io", "io.relay", 1.0, 14))
        await stage.stop()
        assert written(stage, "zones.command")[-1] == 35
        assert written(stage, "zones.command").count(35) == 1

    play(tmp_path, story)


def test_an_infinite_reading_does_not_end_the_scan(tmp_path: Path) -> None:
    """A sensor that says infinity is out of range; the alarm that shows it is still raised."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(2.45)
        stage.line.silent.add("zones")  # nothing comes after the infinite one
        scan, bits = stage.controller.scan, np.full(1, quality.RANGE, np.uint16)
        scan.deliver(stage.index["zones.position"], np.full(1, math.inf), bits, 2.0)
        await stage.local(by="lisi", id="1", point="opening", value=5.0, expires=None)
        await asyncio.sleep(0.3)
        (record,) = await stage.journal("alarm")
        assert record["state"] == "UNACK"
        assert record["numbers"] == {}
        await stage.stop()

    play(tmp_path, story)


def test_nothing_is_driven_before_its_inputs_were_read(tmp_path: Path) -> None:
    """A device that is silent from the start is not one whose value is known."""

    async def story(stage: Stage) -> None:
        stage.line.silent.add("zones")
        await stage.start()
        await asyncio.sleep(8)
        assert "COMM" in stage.quality("zones.command")
        assert (stage.owner("zones.command"), stage.owner("io.lamp")) == ("none", "none")
        await asyncio.sleep(30)
        assert (stage.owner("zones.command"), stage.owner("io.lamp")) == ("none", "default")
        assert written(stage, "zones.command") == []
        stage.line.silent.clear()
        await asyncio.sleep(60)
        assert (stage.owner("zones.command"), stage.owner("io.lamp")) == ("control", "control")
        await stage.stop()

    play(tmp_path, story)


def test_a_protection_does_not_wait_for_other_inputs(tmp_path: Path) -> None:
    """Its own inputs are known: it trips an output whose rule still waits for a dead sensor."""

    async def story(stage: Stage) -> None:
        stage.line.silent.add("zones")
        stage.fault("io", "press:5")
        await stage.start()
        await asyncio.sleep(3)
        assert (stage.owner("io.lamp"), written(stage, "io.lamp")) == ("protect", [1])
        await stage.stop()

    play(tmp_path, story)


def test_the_relay_drops_when_alarms_are_no_longer_computed(tmp_path: Path) -> None:
    """Energised means well; a controller that cannot know must not say so."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(3)
        assert stage.value("io.relay") == 1
        stage.broken.add("alarm")
        await asyncio.sleep(3)
        assert stage.value("io.relay") == 0
        stage.broken.clear()
        await asyncio.sleep(3)
        assert stage.value("io.relay") == 1
        await stage.stop()

    play(tmp_path, story)


def test_what_a_failing_protection_drove_is_taken_back_when_it_is_mended(tmp_path: Path) -> None:
    """Nothing was decided differently meanwhile, and still the failsafe is not what is wanted."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(3)
        stage.broken.add("protect")
        await asyncio.sleep(0.15)
        stage.broken.clear()
        await asyncio.sleep(0.3)
        assert written(stage, "zones.command")[-2:] == [35, 80]
        await stage.stop()

    play(tmp_path, story, SITE.replace("refresh: 1s", "write_interval: 100ms"))


def test_the_retained_state_of_an_alarm_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Upstream sees one shape: with text and first checks, whoever published it."""
    shown: list[str] = []

    async def story(stage: Stage) -> None:
        for _ in range(2):
            await stage.start()
            await asyncio.sleep(2)
            if not shown:
                await stage.local(by="lisi", id="1", point="opening", value=5.0, expires=None)
                await asyncio.sleep(1)
            shown.append(stage.controller.uplinks.lines[0].session._retained["alarm/SHUT"])
            await stage.stop()

    play(tmp_path, story, SITE + 'uplink: {cloud: {mqtt: "127.0.0.1:9"}}')
    assert shown[0] == shown[1]
    assert json.loads(shown[0])["checks"] == [{"zh": "看", "en": "look"}]


def test_who_reset_an_interlock_is_recorded(tmp_path: Path) -> None:
    """A person lets equipment start again: the journal says who."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(1)
        await stage.answer_alarm("guarded", "reset")
        await asyncio.sleep(0.1)
        assert await stage.journal("reset") == [{"interlock": "guarded", "by": "lisi"}]
        await stage.stop()

    play(tmp_path, story)


def test_a_setpoint_that_the_site_no_longer_allows_is_not_kept(tmp_path: Path) -> None:
    """What a person set stays over a restart, unless the range was narrowed meanwhile."""

    async def first(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(1)
        await stage.local(by="lisi", id="1", point="opening", value=60.0, expires=None)
        await asyncio.sleep(1)
        await stage.stop()

    async def same(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(1)
        assert (stage.value("opening"), stage.owner("opening")) == (60, "local")
        await stage.stop()

    async def narrowed(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(1)
        assert (stage.value("opening"), stage.owner("opening")) == (45, "default")
        await stage.stop()

    play(tmp_path, first)
    play(tmp_path, same)
    narrow = SITE.replace(
        'opening: {default: 80 %, unit: "%", range: [0, 100]}',
        'opening: {default: 45 %, unit: "%", range: [0, 50]}',
    )
    play(tmp_path, narrowed, narrow)
