"""A bus that is down, a device that is silent and one that refuses: what is raised for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.proof.stage import Stage
from tests.edge.app.test_trouble import play

SITE = """
site: {id: health, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {plant: {driver: sim}}
devices:
  zones:
    bus: plant
    model: zones
    points:
      position: {variable: v1_position, unit: "%"}
      header:   {variable: header_pressure, unit: MPa}
  io:
    bus: plant
    model: io
    points: {guard: {variable: input5}}
rules:
  slow_answers: {value: zones.link.round_trip_p99 > 0.2}
  wiring: {value: plant.bus.online and plant.bus.load < 80}
"""


async def raised(stage: Stage) -> list[str]:
    """Alarms in the order in which they became unacknowledged."""
    return [r["alarm"] for r in await stage.journal("alarm") if r["state"] == "UNACK"]


def states(stage: Stage) -> dict[str, str]:
    """Every alarm that is not normal."""
    rows = stage.controller.scan.alarms.states.values()
    return {row.alarm.id: row.state.value for row in rows if row.state.value != "NORMAL"}


def test_a_bus_that_is_down_is_one_alarm(tmp_path: Path) -> None:
    """Not one per device behind it, neither while it is down nor when it comes back."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(10)
        stage.line.down = True
        await asyncio.sleep(120)
        assert states(stage) == {
            "PLANT_DOWN": "UNACK", "ZONES_OFFLINE": "SUPPRESSED", "IO_OFFLINE": "SUPPRESSED",
        }  # fmt: skip
        assert (stage.value("plant.bus.online"), stage.value("wiring")) == (0.0, 0.0)
        stage.line.down = False
        await asyncio.sleep(150)
        assert await raised(stage) == ["PLANT_DOWN"]
        assert states(stage) == {"PLANT_DOWN": "RTN_UNACK"}
        assert stage.value("plant.bus.online") == 1.0
        assert stage.value("plant.bus.back_off") > 30
        await stage.stop()

    play(tmp_path, story, SITE)


def test_devices_go_with_their_bus_in_the_same_step(tmp_path: Path) -> None:
    """An alarm without any delay is suppressed before it is raised."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(10.25)
        stage.line.down = True
        await asyncio.sleep(60)
        assert await raised(stage) == ["PLANT_DOWN"]
        await stage.stop()

    play(tmp_path, story, SITE + "alarms: {ZONES_OFFLINE: {for: 0s}, IO_OFFLINE: {for: 0s}}\n")


def test_a_bus_that_never_connects_is_down(tmp_path: Path) -> None:
    """From the first attempt that failed, not unknown for ever."""

    async def story(stage: Stage) -> None:
        stage.line.down = True
        await stage.start()
        await asyncio.sleep(60)
        assert await raised(stage) == ["PLANT_DOWN"]
        await stage.stop()

    play(tmp_path, story, SITE)


def test_a_silent_device_is_told_while_its_bus_is_up(tmp_path: Path) -> None:
    """And told again when it is still silent after its bus was down in between."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(10)
        stage.line.silent.add("io")
        await asyncio.sleep(60)
        assert await raised(stage) == ["IO_OFFLINE"]
        assert states(stage)["IO_OFFLINE"] == "UNACK"
        stage.line.down = True
        await asyncio.sleep(60)
        assert states(stage)["IO_OFFLINE"] == "SUPPRESSED"
        stage.line.down = False
        await asyncio.sleep(150)
        assert await raised(stage) == ["IO_OFFLINE", "PLANT_DOWN", "IO_OFFLINE"]
        await stage.stop()

    play(tmp_path, story, SITE)


def test_a_device_that_refuses_a_point_is_a_prompt(tmp_path: Path) -> None:
    """After a minute, with their number; gone when the map is right."""

    async def story(stage: Stage) -> None:
        await stage.start()
        await asyncio.sleep(10)
        stage.line.refused.add("zones.header")
        await asyncio.sleep(55)
        assert await raised(stage) == []
        await asyncio.sleep(15)
        (record,) = [r for r in await stage.journal("alarm") if r["state"] == "UNACK"]
        assert (record["alarm"], record["priority"]) == ("ZONES_REFUSING", 4)
        assert record["numbers"] == {"zones.link.refused": 1.0}
        stage.line.refused.clear()
        await asyncio.sleep(10)
        assert states(stage)["ZONES_REFUSING"] == "RTN_UNACK"
        await stage.stop()

    play(tmp_path, story, SITE)


def test_what_is_measured_goes_nowhere_but_to_who_asks(tmp_path: Path) -> None:
    """Rules, the local API and its explanations have it; changes for the brokers do not."""

    async def story(stage: Stage) -> None:
        changed: set[int] = set()

        def noted(at: Sequence[int], *_: Any) -> None:
            changed.update(at)

        await stage.start()
        stage.controller.uplinks.changed = noted  # type: ignore[method-assign]
        await asyncio.sleep(10)
        stage.line.delay = 0.25
        stage.line.silent.add("io")
        await asyncio.sleep(90)
        local = {i for i, point in enumerate(stage.site.points) if point.local}
        assert len(local) == 35
        assert changed
        assert not changed & local
        view = stage.controller.view
        (bus,) = view.health()["buses"]
        zones, io = bus["devices"]
        assert bus["up"]
        assert bus["p50_ms"] is not None
        assert 250 <= zones["p99_ms"] < 260
        assert stage.value("slow_answers") == 1.0
        assert zones["age_s"] < 3
        assert io["failures"]["timeout"] == io["errors"] >= 3
        assert io["back_off_s"] > 30
        assert io["retry"] > stage.controller.clock.wall()
        assert stage.value("io.link.timeouts") == io["errors"]
        assert view.model()["points"][stage.index["io.link.age"]]["local"]
        assert view.explain("io.link.age")["value"] > 60
        await stage.stop()

    play(tmp_path, story, SITE)
