"""Closed-loop daylight: the lighting day, robustness, a lost or covered sensor, adoption."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.sim.models.lighting import Lobby
from edge.blocks.daylight import (
    DAYLIGHT,
    FALLBACK,
    FOLLOWING,
    HELD,
    LIT,
    NO_RESPONSE,
    OFF,
    WAITING,
    Daylight,
)
from edge.blocks.kind import layout
from edge.image.quality import COMM, OVERRIDDEN, SENSOR, SIMULATED
from tests.support.block import Instance

OPTIONS = {"illuminance": "lobby.lux", "output": "lobby.dimmer"}


@dataclass
class Day:
    """What a lighting day came to: energy in kWh, lowest lx, level changes, switching times."""

    energy: float
    lowest: float
    changes: int
    switched: list[tuple[int, bool]]


def lighting_day(full_output: float = 200.0, **parameters: float) -> Day:
    """Zone A for 24 h at 1 s; `parameters` go past the model's ranges, straight to the block."""
    block = Instance(DAYLIGHT, {**OPTIONS, "full_output": full_output})
    others = {*OPTIONS, "setpoint", "fallback", "occupied", "lamps", "night_test"}
    names = [n for n in Daylight.model_fields if n not in others]
    assert len(names) == len(layout(DAYLIGHT, block.model).parameters)
    for name, value in parameters.items():
        block.par[names.index(name)] = value
    lobby = Lobby(level=75.0)
    block["lobby.dimmer"] = 75.0
    day = Day(0.0, 1e9, 0, [])
    target = 75.0
    for second in range(86400):
        block["lobby.lux"] = lobby.illuminance
        block.step(second)
        level = block.request("lobby.dimmer")
        if (level > 0) != (lobby.commands["level"] > 0):
            day.switched.append((second, level > 0))
        day.changes += abs(block["target"] - target) > 1e-7
        target = block["target"]
        lobby.commands["level"] = level
        lobby.step(1.0)
        day.lowest = min(day.lowest, lobby.illuminance)
    day.energy = lobby.energy
    return day


@pytest.fixture(scope="module")
def reference() -> Day:
    return lighting_day()


@pytest.mark.slow
def test_lighting_day(reference: Day) -> None:
    """S21 A: 2.551 kWh, off at 08:10:40, on at 16:11:00, never below 135 lx, few level writes."""
    assert reference.energy == pytest.approx(2.551, rel=0.02)
    assert reference.lowest >= 135
    assert reference.changes <= 150
    (off, is_on), (on, on_again) = reference.switched
    assert (is_on, on_again) == (False, True)
    assert off == pytest.approx(8 * 3600 + 10 * 60 + 40, abs=60)
    assert on == pytest.approx(16 * 3600 + 11 * 60, abs=60)


@pytest.mark.slow
@pytest.mark.parametrize("full_output", [140.0, 150.0, 300.0])
def test_a_wrong_calibration_costs_almost_nothing(reference: Day, full_output: float) -> None:
    """E_full 140 to 300 lx where 200 is true: energy within 0.4 %, never below 141.9 lx."""
    day = lighting_day(full_output)
    assert day.energy == pytest.approx(reference.energy, rel=0.004)
    assert day.lowest >= 141.9 - 0.05


@pytest.mark.slow
def test_a_nervous_loop_writes_ten_times_as_much(reference: Day) -> None:
    """k = 1 without a dead band changes the level some ten times as often, for more energy."""
    day = lighting_day(gain=1.0, deadband=0.0)
    assert 8 <= day.changes / reference.changes <= 12
    assert day.energy == pytest.approx(1.017 * reference.energy, rel=0.004)


def started(level: float = 50.0, lux: float = 150.0, **options: Any) -> Instance:
    block = Instance(DAYLIGHT, {**OPTIONS, **options})
    block["lobby.dimmer"], block["lobby.lux"] = level, lux
    block.step(0)
    return block


def run(block: Instance, start: int, end: int) -> None:
    for second in range(start, end):
        block.step(second)


def test_adopts_what_the_lamps_do() -> None:
    """At the start the request is what the dimmer reads back, whatever the sensor says."""
    block = started(level=37.0, lux=20.0)
    assert block.request("lobby.dimmer") == 37.0
    run(block, 1, 10)
    assert block.request("lobby.dimmer") == 37.0
    run(block, 10, 12)
    assert block.request("lobby.dimmer") > 37.0


def test_waits_for_the_first_read_back_but_not_for_ever() -> None:
    """An output not read yet gets no request; one that cannot be read starts after 30 s."""
    block = Instance(DAYLIGHT, OPTIONS)
    block["lobby.lux"] = 150.0
    run(block, 0, 30)
    assert (isnan(block.request("lobby.dimmer")), block["state"]) == (True, WAITING)
    block.step(30)
    assert block.request("lobby.dimmer") == 10.0


def test_off_waits_for_its_hold_and_on_for_its_own() -> None:
    """Off 600 s after it is too bright at the minimum, on 30 s after it is too dark."""
    block = started(level=10.0, lux=400.0)
    run(block, 1, 610)
    assert (block.request("lobby.dimmer"), block["state"]) == (10.0, LIT)
    run(block, 610, 621)
    assert (block.request("lobby.dimmer"), block["state"]) == (0.0, OFF)
    block["lobby.lux"] = 140.0
    run(block, 621, 640)
    assert block.request("lobby.dimmer") == 0.0
    run(block, 640, 700)
    assert block.request("lobby.dimmer") >= 10.0


def test_the_off_hold_doubles_when_it_was_too_early() -> None:
    """After a re-light within 30 min the next off waits 1200 s."""
    block = started(level=10.0, lux=400.0)
    run(block, 1, 621)
    block["lobby.lux"] = 150.0
    run(block, 621, 720)
    assert block.request("lobby.dimmer") == 10.0
    block["lobby.lux"] = 400.0
    run(block, 720, 1900)
    assert block["state"] == LIT
    run(block, 1900, 1980)
    assert block["state"] == OFF


def test_a_bad_sensor_holds_five_minutes_then_falls_back() -> None:
    """The level stays for 300 s, ramps to the fallback at 5 %/s, and the return is bumpless."""
    block = started(level=40.0)
    block.bad("lobby.lux", SENSOR)
    run(block, 1, 301)
    assert (block.request("lobby.dimmer"), block["state"]) == (40.0, HELD)
    block.step(301)
    assert (block.request("lobby.dimmer"), block["state"]) == (45.0, FALLBACK)
    run(block, 302, 320)
    assert block.request("lobby.dimmer") == 60.0
    block["lobby.lux"] = 100.0
    block.step(320)
    assert (block.request("lobby.dimmer"), block["state"]) == (60.0, LIT)


def test_the_fallback_may_be_a_schedule() -> None:
    """Where the fallback is a point, its value counts, and 0 is off."""
    block = started(level=40.0, fallback="evening", sensor_hold="0s")
    block["evening"] = 0.0
    block["lobby.lux"] = nan
    run(block, 1, 60)
    assert block.request("lobby.dimmer") == 0.0


def test_a_covered_sensor_is_found_out() -> None:
    """S23: at noon the reading drops to 5 lx and stays: fallback within 5 min, until it moves."""
    block = started(level=0.0, lux=500.0)
    block["lobby.lux"] = 5.0
    seen = []
    for second in range(1, 301):
        block.step(second)
        seen.append((block["state"], block.request("lobby.dimmer")))
    assert max(level for _, level in seen) == 100.0
    assert seen[-1] == (NO_RESPONSE, 60.0)
    block["lobby.lux"] = 480.0
    block.step(301)
    assert (block.request("lobby.dimmer"), block["state"]) == (60.0, LIT)


def test_a_sensor_that_answers_is_believed() -> None:
    """A step of 100 lx in the dark, with lamps that answer, raises nothing."""
    block = started(level=10.0, lux=20.0)
    for second in range(1, 600):
        block["lobby.lux"] = 2.0 * block.request("lobby.dimmer")
        block.step(second)
        assert block["state"] == LIT
    assert block["lobby.lux"] == pytest.approx(150, rel=0.05)


def test_follows_while_another_slot_holds_the_output() -> None:
    """In manual the block follows the level and goes on from it, bumpless."""
    block = started(level=50.0)
    block.taken["lobby.dimmer"] = (8, 90.0)
    block["lobby.lux"] = 200.0
    run(block, 1, 40)
    assert (block["state"], block.request("lobby.dimmer")) == (FOLLOWING, 90.0)
    block.taken.clear()
    run(block, 40, 41)
    run(block, 41, 45)
    assert (block["state"], block.request("lobby.dimmer")) == (LIT, 90.0)


def test_follows_a_stronger_slot_of_the_device() -> None:
    """What somebody else commands on the device itself is adopted, not fought."""
    block = started(level=50.0)
    block.arbiter = False
    block["lobby.dimmer"] = 80.0
    block.bad("lobby.dimmer", OVERRIDDEN)
    block.step(1)
    assert (block["state"], block.request("lobby.dimmer")) == (FOLLOWING, 80.0)


def test_after_a_lost_dimmer_its_level_is_adopted() -> None:
    """While the device is gone the request stays; what it does on its return is the new start."""
    block = started(level=50.0)
    block["lobby.lux"] = 50.0
    block.bad("lobby.dimmer", COMM)
    run(block, 1, 60)
    assert block.request("lobby.dimmer") == 50.0
    block["lobby.dimmer"] = 20.0
    block.step(60)
    assert block.request("lobby.dimmer") == 20.0


def test_the_notes_of_the_sensor_go_with_the_request() -> None:
    """A simulated reading may not drive a real lamp, so the request carries the note."""
    block = started()
    block.bad("lobby.lux", SIMULATED)
    block.step(1)
    assert block.q[block.requests["lobby.dimmer"]] & SIMULATED


def test_states_are_finite_after_any_input() -> None:
    """Odd but good readings never make the request anything but a level from 0 to 100 %."""
    block = started()
    random = np.random.default_rng(1)
    for second in range(1, 3000):
        block["lobby.lux"] = float(random.choice([0.0, 1e5, 149.0, random.uniform(0, 400)]))
        block.step(second)
        assert 0 <= block.request("lobby.dimmer") <= 100


@pytest.mark.parametrize(
    "options", [{"cycle": "5s"}, {"on_ratio": 1.4}, {"gain": 2.0}, {"minimum": "60 %"}]
)
def test_what_is_refused(options: dict[str, Any]) -> None:
    """A cycle shorter than the filter, crossed ratios and values out of range are refused."""
    with pytest.raises(ValidationError):
        Daylight.model_validate({**OPTIONS, **options})
