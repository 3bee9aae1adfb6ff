"""Lamps by daylight from outside, by photocell, by presence; DALI and 0-10 V; what they use."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from drivers.sim.models.lighting import Garage
from edge.blocks.dali import (
    ANALOG_DIMMER,
    DALI,
    arc_level,
    arc_percent,
    fade_code,
    fade_time,
    linear_level,
    linear_percent,
)
from edge.blocks.daylight_open import DAYLIGHT_OPEN
from edge.blocks.daylight_open import FALLBACK as OPEN_FALLBACK
from edge.blocks.kind import Kind
from edge.blocks.lamp_power import LAMP_POWER, METERED
from edge.blocks.occupancy import (
    FOLLOWING,
    GRACE,
    HOLD,
    NEIGHBOUR,
    OCCUPANCY,
    PANIC,
    SENSOR_BAD,
    VACANT,
)
from edge.blocks.photocell import BLOCKED, FALLBACK, OFF, ON, PHOTOCELL
from edge.image.quality import COMM, CONFIG
from tests.support.block import Instance

OPEN = {"illuminance": "roof.lux", "output": "hall.dimmer", "daylight_factor": 0.01}
CELL = {"illuminance": "yard.lux", "output": "yard.lamps", "dimmer": "yard.level"}
LANE = {"motion": "lane.pir", "output": "lane.level"}


class Lamps(Instance):
    """A block that is run second by second."""

    def __init__(self, kind: Kind, options: dict[str, Any], **values: float) -> None:
        super().__init__(kind, options)
        self.now = 0.0
        self.set(**values)

    def set(self, **values: float) -> None:
        for name, value in values.items():
            self[name.replace("_", ".", 1)] = value

    def run(self, seconds: float, pace: float = 1.0) -> None:
        for _ in range(round(seconds / pace)):
            self.step(self.now)
            self.now += pace


# Open loop.


@settings(deadline=None)
@given(
    lux=some.floats(0, 1e5), setpoint=some.floats(5, 1000), full=some.floats(20, 2000),
    factor=some.floats(0.001, 0.2), minimum=some.floats(1, 50),
)  # fmt: skip
def test_open_loop_adds_what_daylight_lacks(
    lux: float, setpoint: float, full: float, factor: float, minimum: float
) -> None:
    """u = clip((E_set - DF·E_out)/E_full, u_min, 1) for any room, §1.6."""
    options = {"illuminance": "roof.lux", "setpoint": setpoint, "full_output": full,
               "daylight_factor": factor, "minimum": minimum}  # fmt: skip
    block = Lamps(DAYLIGHT_OPEN, options, roof_lux=lux)
    block.run(1)
    wanted = min(max((setpoint - factor * lux) / full, minimum / 100), 1.0)
    assert block["target"] == pytest.approx(100 * wanted)


def test_open_loop_without_its_sensor() -> None:
    """Held for 300 s, then the fallback, ramped there; back without a jump."""
    block = Lamps(DAYLIGHT_OPEN, {**OPEN, "fallback": 40.0}, roof_lux=5000.0, hall_dimmer=50.0)
    block.run(10)
    block["roof.lux"] = nan
    block.run(300)
    assert block.request("hall.dimmer") == 50.0
    block.run(30)
    assert (block.request("hall.dimmer"), block["state"]) == (40.0, OPEN_FALLBACK)
    block["roof.lux"] = 5000.0
    block.run(1)
    assert block.request("hall.dimmer") == 45.0


# Photocell.


def test_dusk_and_dawn() -> None:
    """120 s below 30 lx, 120 s above 60 lx; headlights and clouds in between do nothing."""
    block = Lamps(PHOTOCELL, CELL, yard_lux=100.0, yard_lamps=0.0, yard_level=0.0)
    block.run(10)
    block["yard.lux"] = 29.0
    block.run(100)
    block["yard.lux"] = 31.0
    block.run(1)
    block["yard.lux"] = 29.0
    block.run(120)
    assert block["state"] == OFF
    block.run(21)
    assert (block["state"], block.request("yard.lamps"), block.request("yard.level")) == (
        ON, 1.0, 100.0,
    )  # fmt: skip
    block["yard.lux"] = 59.0
    block.run(1000)
    assert block["state"] == ON
    block["yard.lux"] = 61.0
    block.run(122)
    assert (block["state"], block.request("yard.level")) == (OFF, 0.0)


def test_a_schedule_narrows_only_while_it_knows_the_time() -> None:
    """`allowed` false keeps the lamps off; unknown, as without a clock, it allows (S24)."""
    options = {**CELL, "allowed": "night.on", "level": "night.level"}
    block = Lamps(
        PHOTOCELL, options, yard_lux=5.0, yard_lamps=1.0, yard_level=50.0, night_on=1.0,
        night_level=50.0,
    )  # fmt: skip
    block.run(10)
    assert (block["state"], block.request("yard.level")) == (ON, 50.0)
    block["night.on"] = 0.0
    block.run(2)
    assert (block["state"], block.request("yard.lamps")) == (BLOCKED, 0.0)
    block["night.on"], block["night.level"] = nan, nan
    block.run(30)
    assert (block["state"], block.request("yard.level")) == (ON, 100.0)


def test_a_dead_photocell_lights_the_yard() -> None:
    """Held for 300 s, then as the fallback says; when that is bad too, on."""
    options = {**CELL, "fallback": "night.dark"}
    block = Lamps(
        PHOTOCELL, options, yard_lux=5000.0, yard_lamps=0.0, yard_level=0.0, night_dark=0.0
    )
    block.run(10)
    block["yard.lux"] = nan
    block.run(295)
    assert block.request("yard.lamps") == 0.0
    block.run(10)
    assert (block["state"], block.request("yard.lamps")) == (FALLBACK, 0.0)
    block["night.dark"] = nan
    block.run(1)
    assert block.request("yard.lamps") == 1.0


def test_a_hand_stays_until_the_light_changes() -> None:
    """Lamps that somebody switched on by day stay on after the release, for the off delay."""
    block = Lamps(PHOTOCELL, CELL, yard_lux=5000.0, yard_lamps=0.0, yard_level=0.0)
    block.run(10)
    block.taken["yard.lamps"] = (8, 1.0)
    block.run(300)
    block.taken.clear()
    block.run(2)
    assert block.request("yard.lamps") == 1.0
    block.run(130)
    assert block.request("yard.lamps") == 0.0


@pytest.mark.parametrize("options", [{**CELL, "off_above": 40.0}, {"illuminance": "yard.lux"}])
def test_refused_photocells(options: dict[str, Any]) -> None:
    """Thresholds nearer than 1.5 to 1, and nothing to drive."""
    with pytest.raises(ValidationError):
        PHOTOCELL.model.model_validate(options)


# Presence.


def test_presence_through_its_states() -> None:
    """Full for 300 s after the last movement, retriggered, dimmed for 60 s, then the floor."""
    block = Lamps(OCCUPANCY, LANE, lane_pir=0.0, lane_level=20.0)
    block.run(5)
    block["lane.pir"] = 1.0
    block.run(2)
    block["lane.pir"] = 0.0
    block.run(200)
    block["lane.pir"] = 1.0
    block.run(1)
    block["lane.pir"] = 0.0
    block.run(299)
    assert (block["state"], block.request("lane.level"), block["occupied"]) == (HOLD, 100.0, 1.0)
    block.run(20)
    assert (block["state"], block.request("lane.level"), block["occupied"]) == (GRACE, 30.0, 0.0)
    block.run(60)
    assert (block["state"], block.request("lane.level")) == (VACANT, 20.0)


def test_daylight_schedule_and_floor_together() -> None:
    """u = max(floor, factor · daylight), not above the schedule, never below the floor."""
    options = {**LANE, "daylight": "roof.level", "schedule": "night.level", "panic": "fire.alarm"}
    block = Lamps(
        OCCUPANCY, options, lane_pir=1.0, lane_level=20.0, roof_level=70.0, night_level=100.0,
        fire_alarm=0.0,
    )  # fmt: skip
    for daylight, schedule, wanted in [
        (70.0, 100.0, 70.0), (70.0, 50.0, 50.0), (70.0, 0.0, 20.0), (10.0, 100.0, 20.0),
        (nan, 80.0, 80.0), (40.0, nan, 40.0),
    ]:  # fmt: skip
        block["roof.level"], block["night.level"] = daylight, schedule
        block.run(30)
        assert block.request("lane.level") == wanted
    block["fire.alarm"], block["night.level"] = 1.0, 0.0
    block.run(1)
    assert (block["state"], block.request("lane.level")) == (PANIC, 100.0)
    block.bad("fire.alarm", COMM)
    block.run(1)
    assert block["state"] == PANIC


def test_a_bad_sensor_is_presence_and_neighbours_brighten() -> None:
    """Nobody drives into the dark: 60 % for a neighbour, full while the own sensor is bad."""
    options = {**LANE, "neighbours": "next.pir"}
    block = Lamps(OCCUPANCY, options, lane_pir=0.0, lane_level=20.0, next_pir=1.0)
    block.run(5)
    assert (block["state"], block.request("lane.level"), block["occupied"]) == (
        NEIGHBOUR, 60.0, 0.0,
    )  # fmt: skip
    block["lane.pir"] = nan
    block.run(3)
    assert (block["state"], block.request("lane.level")) == (SENSOR_BAD, 100.0)


def test_lamps_that_burn_are_taken_as_lit_for_somebody() -> None:
    """After a start beside bright lamps they stay for the hold time; a hand is followed."""
    block = Lamps(OCCUPANCY, LANE, lane_pir=0.0, lane_level=90.0)
    block.run(1)
    assert block.request("lane.level") == 90.0
    block.run(200)
    assert block["state"] == HOLD
    block.taken["lane.level"] = (8, 35.0)
    block.run(2)
    assert (block["state"], block.request("lane.level")) == (FOLLOWING, 35.0)
    block.taken.clear()
    block.run(2)
    assert 35.0 < block.request("lane.level") <= 85.0


@settings(max_examples=60, deadline=None)
@given(
    events=some.lists(some.tuples(some.integers(1, 400), some.sampled_from([0.0, 1.0, nan])),
                      min_size=1, max_size=12),
    floor=some.floats(10, 30), schedule=some.sampled_from([0.0, 25.0, 100.0, nan]),
)  # fmt: skip
def test_a_garage_is_never_darker_than_its_floor(
    events: list[tuple[int, float]], floor: float, schedule: float
) -> None:
    """Whatever sensors and schedules say, at any moment."""
    options = {**LANE, "floor_level": floor, "schedule": "night.level"}
    block = Lamps(OCCUPANCY, options, lane_pir=0.0, lane_level=100.0, night_level=schedule)
    for seconds, motion in events:
        block["lane.pir"] = motion
        for _ in range(seconds):
            block.run(1)
            assert block.request("lane.level") >= floor - 1e-9


@pytest.mark.parametrize("area", ["garage", "stairs"])
def test_a_dark_garage_is_refused(area: str) -> None:
    """The floor MUST apply in garages and stairs; elsewhere it may be dark."""
    with pytest.raises(ValidationError, match="at least 10 %"):
        OCCUPANCY.model.model_validate({**LANE, "area": area, "floor_level": 0.0})
    OCCUPANCY.model.model_validate({**LANE, "area": "other", "floor_level": 0.0})


@pytest.mark.slow
@pytest.mark.parametrize(("hold", "energy", "saved"), [(600, 32.25, 16.0), (120, 20.68, 46.2)])
def test_the_hold_time_moves_the_saving(hold: int, energy: float, saved: float) -> None:
    """S22: zone B uses 32.25 kWh at 600 s and 20.68 kWh at 120 s of hold."""
    options = {**LANE, "hold": f"{hold}s", "dim_level": 30.0, "floor_level": 30.0, "up": 200.0,
               "down": 200.0}  # fmt: skip
    garage = Garage(level=100.0)
    block = Lamps(OCCUPANCY, options, lane_level=100.0)
    for _ in range(86400):
        block["lane.pir"] = float(garage.motion)
        block.run(1)
        garage.commands["level"] = block.request("lane.level")
        garage.step(1.0)
    assert garage.lamps.energy == pytest.approx(energy, rel=0.01)
    assert 100 * (1 - garage.lamps.energy / garage.lamps.always_on) == pytest.approx(saved, abs=0.6)


# Dimming outputs.


@pytest.mark.parametrize(
    ("percent", "level"),
    [(0.1, 1), (1, 85), (5, 144), (10, 170), (20, 195), (30, 210), (50, 229), (75, 243),
     (100, 254), (0, 0), (-3, 0), (200, 254), (0.01, 1)],
)  # fmt: skip
def test_dali_levels(percent: float, level: int) -> None:
    """The vectors of §1.9: 50 % of the light is level 229, not 127."""
    assert arc_level(percent) == level


@given(level=some.integers(1, 254))
def test_dali_there_and_back(level: int) -> None:
    """Each level comes back from its light, on both curves."""
    assert arc_level(arc_percent(float(level))) == level
    assert linear_level(linear_percent(float(level))) == level


@given(percent=some.floats(allow_nan=True, allow_infinity=True))
def test_255_is_never_a_level(percent: float) -> None:
    """255 is MASK: no input makes it, and read back it is no light."""
    assert 0 <= arc_level(percent) <= 254
    assert 0 <= linear_level(percent) <= 254
    assert isnan(arc_percent(255.0))
    assert arc_percent(126.0) == pytest.approx(3.04, abs=0.005)


def test_fade_times() -> None:
    """T = 0.5·√(2ⁿ): the table of §1.9, and the code nearest to a wish."""
    table = [0.71, 1.00, 1.41, 2.0, 2.83, 4, 5.66, 8, 11.3, 16, 22.6, 32, 45.3, 64, 90.5]
    for code, seconds in enumerate(table, 1):
        assert fade_time(code) == pytest.approx(seconds, rel=0.005)
        assert fade_code(seconds) == code
    assert fade_code(0.0) == 0


def test_both_outputs_hold_a_bad_level_then_let_go() -> None:
    """30 s after the level was lost the requests are withdrawn; nothing before it was read."""
    for kind, options, wanted in (
        (DALI, {"level": "hall.level", "output": "hall.arc"}, 229.0),
        (ANALOG_DIMMER, {"level": "hall.level", "output": "hall.arc"}, 5.0),
    ):
        block = Lamps(kind, options)
        block.run(2, 0.5)
        assert isnan(block.request("hall.arc"))
        block["hall.level"] = 50.0
        block.run(1, 0.5)
        assert block.request("hall.arc") == wanted
        block["hall.level"] = nan
        block.run(29.5, 0.5)
        assert block.request("hall.arc") == wanted
        block.run(2, 0.5)
        assert isnan(block.request("hall.arc"))


# Energy.


@settings(max_examples=40, deadline=None)
@given(
    rated=some.floats(0.01, 50), part=some.floats(0, 0.5),
    levels=some.lists(some.floats(0, 100), min_size=2, max_size=30),
)  # fmt: skip
def test_energy_is_the_sum_of_power(rated: float, part: float, levels: list[float]) -> None:
    """P = P_sb + (P_rated - P_sb)·u over time, for any lamps; the saving is against always on."""
    options = {"level": "hall.level", "rated": rated, "standby": part * rated}
    block = Lamps(LAMP_POWER, options)
    energy = 0.0
    for k, level in enumerate(levels):
        block["hall.level"] = level
        block.run(1)
        energy += (part * rated + (1 - part) * rated * level / 100) / 3600 if k else 0.0
    assert block["energy"] == pytest.approx(energy, abs=1e-12)
    full = rated * (len(levels) - 1) / 3600
    assert block["saving"] == pytest.approx(100 * (1 - energy / full), abs=1e-6)
    assert block.quality("energy") != 0  # an estimate says so


def test_a_meter_is_believed_before_any_estimate() -> None:
    """What is metered is not marked as estimated, whatever the level says (S22)."""
    options = {"level": "hall.level", "rated": 1.0, "meter": "hall.kwh"}
    block = Lamps(LAMP_POWER, options, hall_level=100.0, hall_kwh=100.0)
    block.run(1)
    block["hall.kwh"] = 100.5
    block.run(1)
    assert (block["energy"], block["source"], block.quality("energy")) == (0.5, METERED, 0)


def test_a_level_that_cannot_be_read_back_is_driven_all_the_same() -> None:
    """A register that the device refuses to read does not keep a garage dark."""
    lane = Instance(OCCUPANCY, {"motion": "pir", "output": "level"})
    lane["pir"] = 1.0
    for k in range(100):
        lane.bad("level", CONFIG)
        lane.step(0.5 * k)
    assert lane.request("level") == 100.0


def test_a_minimum_time_delays_and_does_not_overrule() -> None:
    """Lamps that a minimum time keeps on go off when it ends, not another delay later."""
    yard = Instance(PHOTOCELL, {"illuminance": "lux", "output": "lamps", "off_delay": "10s"})
    yard["lux"], yard["lamps"] = 1000.0, 1.0
    for now in range(12):
        yard.step(float(now))
    assert yard.request("lamps") == 0.0
    yard.taken["lamps"] = (6, 1.0)
    for now in range(12, 20):
        yard.step(float(now))
    assert yard.request("lamps") == 0.0


def test_a_start_is_no_presence() -> None:
    """A sensor that was not read yet brightens nothing for the hold time; a dead one does."""
    lane = Instance(OCCUPANCY, {"motion": "pir", "output": "level"})
    lane["level"] = 20.0
    lane.step(0.0)
    lane["pir"] = 0.0
    for k in range(1, 4):
        lane.step(0.5 * k)
    assert lane["state"] == VACANT
    lane.bad("pir", COMM)
    lane.step(2.0)
    lane["pir"] = 0.0
    lane.step(2.5)
    assert lane["state"] == HOLD


def test_a_saving_compares_the_same_time() -> None:
    """A meter that is first read after hours, or lost for one, is compared with its own hours."""
    options = {"level": "hall.level", "rated": 1.0, "meter": "hall.kwh"}
    block = Instance(LAMP_POWER, options)
    block["hall.level"] = 50.0
    for k in range(3600):
        block.step(float(k))
    block["hall.kwh"] = 100.0
    block.step(3600.0)
    block.bad("hall.kwh", COMM)
    for k in range(3601, 7200):
        block.step(float(k))
    block["hall.kwh"] = 100.5
    block.step(7200.0)
    assert block["always_on"] == pytest.approx(1.0)
    assert block["saving"] == pytest.approx(50.0)


def test_a_yard_whose_light_is_unknown_at_the_start_is_lit() -> None:
    """No read-back and no sensor: the lamps burn, as the fallback says."""
    yard = Instance(PHOTOCELL, {"illuminance": "lux", "output": "lamps"})
    yard.bad("lux", COMM)
    for now in range(40):
        yard.step(float(now))
    assert yard.request("lamps") == 1.0


def test_a_dimmer_in_another_hand_is_followed_while_the_contactor_is_ours() -> None:
    """A person dims to 30 %: after it the level goes on from there, at its rate."""
    options = {"illuminance": "lux", "output": "lamps", "dimmer": "level", "level": 100.0}
    yard = Instance(PHOTOCELL, options)
    yard["lux"], yard["lamps"], yard["level"] = 5.0, 1.0, 100.0
    for now in range(5):
        yard.step(float(now))
    yard.taken["level"] = (8, 30.0)
    for now in range(5, 10):
        yard.step(float(now))
    yard.taken.clear()
    yard.step(10.0)
    assert yard.request("level") <= 35.0


@pytest.mark.parametrize("kind", [DAYLIGHT_OPEN, PHOTOCELL])
def test_a_lost_sensor_is_told(kind: Kind) -> None:
    """Whatever goes by a light sensor says so when it has none."""
    model = kind.model.model_validate({"illuminance": "lux", "output": "lamps"})
    assert [alarm.id for alarm in kind.alarms(model)] == ["{RULE}_LUX_SENSOR_LOST"]
