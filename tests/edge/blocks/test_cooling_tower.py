"""Cooling-tower fans and their vibration guard on the simulated tower, and any other tower."""

from __future__ import annotations

import itertools
from math import isnan, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.sim.models.cooling import Tower
from edge.blocks.cooling_tower import COOLING_TOWER
from edge.blocks.motor import BLOCKED, FAILED
from edge.blocks.tower_guard import TOWER_GUARD
from edge.blocks.tower_model import CoolingTower
from edge.blocks.tower_shown import (
    FALLBACK,
    FREEZE,
    FREEZE_BLIND,
    HELD,
    IDLE,
    OFF,
    REGULATING,
    WAITING,
)
from edge.image.quality import COMM
from tests.support.block import Instance


class Water:
    """A tower under the block, one step every half second, control first."""

    def __init__(self, cells: int = 2, plant: dict[str, Any] | None = None, sort: str = "speed",
                 **options: Any) -> None:  # fmt: skip
        fans = [
            {"run": f"f{i}", "running": f"r{i}", "fault": f"e{i}"}
            | ({sort: f"{sort}{i}"} if sort else {})
            for i in range(1, cells + 1)
        ]
        self.sort, self.cells, self.now = sort, cells, 0.0
        inputs = {"leaving": "leaving", "wet_bulb": "wet", "enable": "enable"}
        basin = {"makeup": "makeup", "heater": "heater", "basin_level": "level",
                 "basin_temperature": "cold"}  # fmt: skip
        self.block = Instance(COOLING_TOWER, {**inputs, **basin, "cells": fans, **options})
        self.plant = Tower(cells, drives=sort == "speed", **(plant or {}))
        self.block["enable"], self.block["cold"] = 1.0, 15.0
        for name in self.block.requests:
            self.block[name] = 0.0
        self.trace: list[tuple[float, tuple[float, ...]]] = []
        self.bad = False

    def run(self, seconds: float) -> Water:
        names = [f"f{i}" for i in range(1, self.cells + 1)]
        names += [f"{self.sort}{i}" for i in range(1, self.cells + 1)] if self.sort else []
        for _ in range(round(2 * seconds)):
            seen = self.plant.readings()
            self.block["leaving"], self.block["wet"] = seen["leaving_temperature"], seen["wet_bulb"]
            if self.bad:
                self.block.bad("leaving", COMM)
            self.block["level"] = seen["basin_level"]
            for i in range(1, self.cells + 1):
                self.block[f"r{i}"], self.block[f"e{i}"] = (
                    seen[f"f{i}_running"],
                    seen[f"f{i}_fault"],
                )
            self.block.step(self.now)
            for i in range(1, self.cells + 1):
                self.plant.commands[f"f{i}_run"] = self.block[f"f{i}"]
                if self.sort == "speed":
                    self.plant.commands[f"f{i}_reference"] = self.block[f"speed{i}"]
                elif self.sort == "high":
                    self.plant.commands[f"f{i}_high"] = self.block[f"high{i}"]
            self.plant.commands["makeup_valve"] = self.block.request("makeup")
            asked = tuple(self.block.request(name) for name in names)
            if not self.trace or self.trace[-1][1] != asked:
                self.trace.append((self.now, asked))
            self.plant.step(0.5)
            self.now += 0.5
        return self

    def speeds(self) -> list[float]:
        return [self.block.request(f"speed{i}") for i in range(1, self.cells + 1)]

    def switched(self) -> list[float]:
        """When any fan was switched on or off."""
        ons = [(at, asked[: self.cells]) for at, asked in self.trace]
        return [b[0] for a, b in itertools.pairwise(ons) if a[1] != b[1]]


def test_s46_at_its_setpoint() -> None:
    """LWT 33, wet bulb 26: SP 30, both fans at one speed, 30 ± 0.2 °C in 20 min, no hunting."""
    tower = Water(plant={"leaving": 33.0}).run(1200)
    assert tower.block["setpoint"] == 30.0
    assert tower.plant.leaving == pytest.approx(30.0, abs=0.2)
    assert all(asked[2] == asked[3] for _, asked in tower.trace)
    assert tower.block["state"] == REGULATING
    assert len(tower.switched()) == 0
    speed = tower.run(1800).speeds()[0]
    assert tower.run(1800).speeds()[0] == pytest.approx(speed, abs=1.0)


@settings(max_examples=4, deadline=None)
@given(
    cells=st.integers(1, 4), load=st.floats(100.0, 1300.0), wet=st.floats(5.0, 28.0),
    water=st.floats(8.0, 60.0), approach=st.floats(2.5, 4.0),
)  # fmt: skip
def test_any_tower(cells: int, load: float, wet: float, water: float, approach: float) -> None:
    """Equal speeds, on and off 300 s apart, and the setpoint where fans can hold it."""
    plant = {"leaving": 32.0, "load": load, "wet_bulb": wet, "water": water,
             "approach_full": approach}  # fmt: skip
    tower = Water(cells, plant).run(3600)
    for _, asked in tower.trace:
        assert len(set(asked[cells:])) == 1
        assert asked[cells] == 0.0 or 30.0 <= asked[cells] <= 100.0
    times = tower.switched()
    assert all(b - a >= 300 - 1e-6 for a, b in itertools.pairwise(times))
    goal = max(20.0, wet + 4.0)
    assert tower.block["setpoint"] == pytest.approx(goal)
    full = wet + load / 1000.0 * approach
    if 30.0 < tower.speeds()[0] < 100.0:
        assert tower.plant.leaving == pytest.approx(goal, abs=1.0)
    assert tower.plant.leaving <= max(goal, full) + 1.2


@pytest.mark.parametrize("sort", ["high", ""])
def test_stages_rest_300_s(sort: str) -> None:
    """One stage at a time, 300 s between two; all run slow before one is fast."""
    tower = Water(plant={"leaving": 36.0, "load": 950.0}, sort=sort).run(7200)
    levels = [
        tuple(asked[k] + (2 * asked[2 + k] if sort else 0) for k in range(2))
        for _, asked in tower.trace
    ]
    assert (1.0, 0.0) in levels
    assert (1.0, 1.0) in levels
    if sort:
        assert levels.index((1.0, 1.0)) < min(k for k, pair in enumerate(levels) if 2.0 in pair)
        assert all(asked[k] + asked[2 + k] <= 1 for _, asked in tower.trace for k in (0, 1))
    starts = [b[0] for a, b in zip(tower.trace, tower.trace[1:], strict=False)
              if sum(b[1]) > sum(a[1])]  # fmt: skip
    assert all(b - a >= 289 for a, b in itertools.pairwise(starts))


def test_two_speed_pauses() -> None:
    """Low to high after 10 s without either, high to low after 30 s of coasting."""
    tower = Water(1, {"leaving": 36.0, "load": 800.0}, sort="high").run(400)
    low_off = next(at for at, asked in tower.trace if at > 10 and asked == (0.0, 0.0))
    high_on = next(at for at, asked in tower.trace if asked == (0.0, 1.0))
    assert high_on - low_off == pytest.approx(10, abs=1)
    tower.plant.load, tower.plant.leaving = 10.0, 29.0
    tower.run(400)
    high_off = next(at for at, asked in tower.trace if at > high_on and asked == (0.0, 0.0))
    low_on = next(at for at, asked in tower.trace if at > high_off and asked == (1.0, 0.0))
    assert low_on - high_off == pytest.approx(30, abs=1)


def test_freeze() -> None:
    """Under 5 °C the fans stop; above 7 °C they may run again."""
    tower = Water(plant={"leaving": 33.0}).run(60)
    tower.plant.leaving = 4.9
    tower.run(1)
    assert tower.block.request("f1") == 0.0
    assert tower.block["state"] == FREEZE
    tower.plant.leaving = 6.9
    assert tower.run(1).block["state"] == FREEZE
    tower.plant.leaving = 7.1
    assert tower.run(1).block["state"] == IDLE


def test_a_lost_temperature() -> None:
    """Speed held for 30 s, then the fallback speed; the return does not jump."""
    tower = Water(plant={"leaving": 33.0}).run(900)
    speed = tower.speeds()[0]
    tower.bad = True
    tower.run(29)
    assert tower.block["state"] == HELD
    assert tower.speeds()[0] == pytest.approx(speed, abs=0.01)
    tower.run(100)
    assert tower.block["state"] == FALLBACK
    assert tower.speeds() == [pytest.approx(60.0, abs=0.5)] * 2
    tower.bad = False
    tower.run(1)
    assert tower.speeds()[0] == pytest.approx(60.0, abs=1.0)


def test_a_temperature_lost_while_the_fans_stand() -> None:
    """It is told, and after 30 s the fans start: nobody knows how warm the water gets."""
    tower = Water(plant={"leaving": 26.0, "load": 0.0}).run(400)
    assert tower.block["state"] == IDLE
    tower.bad = True
    assert tower.run(20).block["state"] == HELD
    assert tower.run(100).block["state"] == FALLBACK
    assert tower.speeds() == [pytest.approx(60.0, abs=0.5)] * 2


def test_a_temperature_lost_in_the_cold() -> None:
    """Stopped against freezing, and told; a wet bulb that has warmed up lets the fans run."""
    tower = Water(plant={"leaving": 4.5, "wet_bulb": -2.0, "load": 0.0}).run(1)
    assert tower.block["state"] == FREEZE
    tower.bad = True
    assert tower.run(400).block["state"] == FREEZE_BLIND
    tower.plant.wet_bulb = 15.0
    assert tower.run(400).block["state"] == FALLBACK


def test_a_basin_level_that_is_lost() -> None:
    """A single lost answer stops no pump; after 30 s nobody vouches for the water."""
    tower = Water(plant={"basin": 0.38, "load": 0.0})
    tower.block["makeup"] = 1.0
    assert tower.run(2).block.request("makeup") == 1.0  # as it stood
    seen = []
    for k in range(80):
        tower.block.bad("level", COMM)
        tower.block.step(tower.now + 0.5 * k)
        seen.append((tower.block["pump_permitted"], tower.block.request("makeup")))
    assert seen[58] == (1.0, 1.0)
    assert seen[62][0] == 0.0
    assert isnan(seen[62][1])


def test_silent_fans_are_waited_for_at_every_start() -> None:
    """Not adopted as stopped after one scan, neither at the first nor at a later start."""
    tower = Water(plant={"leaving": 33.0})
    for start in (0.0, 9000.0):
        for name in ("f1", "f2", "r1", "r2"):
            tower.block.bad(name, COMM)
        tower.block["leaving"], tower.block["wet"] = 33.0, 26.0
        for k in range(4):
            tower.block.step(start + 0.5 * k)
            assert tower.block["state"] == WAITING
        for name in ("f1", "f2", "r1", "r2"):
            tower.block[name] = 1.0
        tower.block.step(start + 2.0)
        assert tower.block["state"] == REGULATING


def test_bumpless_after_a_person() -> None:
    """While slot 8 holds the speeds they are followed; the return goes on from there."""
    tower = Water(plant={"leaving": 31.0}).run(600)
    tower.block.taken = {"speed1": (8, 45.0), "speed2": (8, 45.0)}
    tower.run(60)
    tower.block.taken = {}
    tower.run(0.5)
    assert tower.speeds()[0] == pytest.approx(45.0, abs=1.0)


def test_one_fan_gone_the_other_goes_on() -> None:
    """A fan that gives no feedback, or that is tripped, is left out; it is told of."""
    tower = Water(plant={"leaving": 33.0}).run(300)
    tower.plant.active.add("fan_dead:1")
    tower.run(90)
    assert tower.block["fan1"] == FAILED
    assert tower.speeds()[0] == 0.0
    assert tower.speeds()[1] > 30.0
    tower.block.taken["f2"] = (5, 0.0)
    tower.run(2)
    assert tower.block["fan2"] == BLOCKED


def test_not_enabled() -> None:
    """Without condenser water the fans stand."""
    tower = Water(plant={"leaving": 33.0}).run(60)
    tower.block["enable"] = 0.0
    tower.run(1)
    assert tower.block["state"] == OFF
    assert tower.speeds() == [0.0, 0.0]


def test_basin() -> None:
    """Make-up between two levels, the pump's permissive, the heater only under water."""
    tower = Water(plant={"basin": 0.25, "load": 300.0}).run(1)
    assert tower.block.request("makeup") == 1.0
    tower.run(2000)
    assert tower.block.request("makeup") == 0.0
    assert tower.plant.basin >= 0.44
    tower.block["cold"] = 3.9
    assert tower.run(1).block.request("heater") == 1.0
    tower.plant.basin = 0.05
    tower.run(1)
    assert tower.block["pump_permitted"] == 0.0
    assert tower.block.request("heater") == 0.0


def test_skipped_speeds() -> None:
    """No speed within a band is ever asked for."""
    bands = [{"low": "40 %", "high": "50 %"}, {"low": "60 %", "high": "72 %"}]
    tower = Water(plant={"leaving": 33.0, "load": 800.0}, bands=bands).run(3000)
    seen = [asked[2] for _, asked in tower.trace]
    assert not [s for s in seen if 40.0 < s < 50.0 or 60.0 < s < 72.0]
    assert max(seen) >= 60.0


def test_a_running_tower_is_adopted() -> None:
    """The first speed is the one that turns."""
    tower = Water(plant={"leaving": 30.5})
    tower.plant.run_at(55.0, 55.0)
    for i in (1, 2):
        tower.block[f"f{i}"], tower.block[f"speed{i}"] = 1.0, 55.0
    tower.run(1)
    assert tower.speeds() == [pytest.approx(55.0, abs=1.0)] * 2


def test_a_wet_bulb_that_is_lost() -> None:
    """The setpoint stays for 30 s, then the configured one applies."""
    tower = Water(plant={"leaving": 33.0, "wet_bulb": 20.0}).run(10)
    assert tower.block["setpoint"] == 24.0
    tower.plant.wet_bulb = nan
    for _ in range(70):
        tower.block.step(tower.now)
        tower.block["wet"] = nan
        tower.now += 0.5
    assert tower.block["setpoint"] == 30.0


def test_the_guard_when_its_switch_is_lost() -> None:
    """Lost for 10 s it trips, and lets go when the switch is read again: nobody need look."""
    guard = Instance(TOWER_GUARD, {"fans": ["f"], "vibration_switch": "switch"})
    guard["switch"] = 0.0
    for k in range(300):
        if k == 100:
            guard.bad("switch", COMM)
        if k == 250:
            guard["switch"] = 0.0
        guard.step(0.1 * k)
        assert guard["tripped"] == (1.0 if 200 <= k < 250 else 0.0), k


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": [{"run": "a", "speed": "b", "running": "c"}, {"run": "d", "running": "e"}]},
         "one sort"),
        ({"cells": [{"run": "a", "running": "c"}], "basin_low": 0.05}, "basin_stop <"),
        ({"cells": [{"run": "a", "running": "c"}], "makeup": "m"}, "takes basin_level"),
        ({"cells": [{"run": "a", "running": "c"}], "heater": "h"}, "takes basin_temperature"),
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    """Cells of different sorts, levels out of order."""
    with pytest.raises(ValidationError, match=message):
        CoolingTower.model_validate({"leaving": "l", **options})
