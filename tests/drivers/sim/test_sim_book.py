"""Sump, garage, yard, tower and garden give the numbers of the book, without a controller."""

from __future__ import annotations

import pytest

from drivers.sim.models.cooling import Tower
from drivers.sim.models.drainage import Sump
from drivers.sim.models.irrigation import Irrigation
from drivers.sim.models.lighting import Garage, Outdoor
from drivers.sim.models.model import Model


def run(model: Model, seconds: float) -> None:
    for _ in range(round(seconds / model.dt)):
        model.step(model.dt)


def reached(sump: Sump, level: float) -> float:
    """Seconds until the water stands at a level."""
    for second in range(36_000):
        if sump.level >= level - 1e-12:
            return second * sump.dt
        sump.step(sump.dt)
    raise AssertionError(sump.level)


def test_the_pit_fills_and_is_emptied() -> None:
    """§1.14: 3 m³/h bring it from 0.50 to 0.90 m in 960 s; one pump lifts the m³
    between start and stop in 5 min; 30 m³/h are 6 more than both can."""
    sump = Sump(inflow=3)
    assert reached(sump, 0.90) == pytest.approx(960, abs=1)
    sump.inflow = 0.0
    sump.commands["p1_run"] = 1.0
    run(sump, 300)
    assert sump.level == pytest.approx(0.40)
    assert sump.pumped == pytest.approx(1.0)
    sump.inflow = 30.0
    sump.commands["p2_run"] = 1.0
    assert reached(sump, 1.30) == pytest.approx((1.30 - 0.40) * 2 / (30 - 24) * 3600, abs=1)


def test_the_float_hangs_on_and_the_frozen_transmitter_does_not_know() -> None:
    """S20: the level rises to 1.35 m, the transmitter stays at 0.60, the float tells."""
    sump = Sump(level=0.60, inflow=30)
    sump.active.add("transmitter_frozen")
    run(sump, reached(Sump(level=0.60, inflow=30), 1.35))
    seen = sump.readings()
    assert (seen["sump_level"], seen["high_float"]) == (0.60, 1.0)
    assert seen["true_level"] == pytest.approx(1.35, abs=0.01)


def test_320_cars_come_in_a_day() -> None:
    """§7.0: one passage each, by the timetable; none is missed by a step of a second."""
    garage, passages, before = Garage(), 0, False
    for _ in range(86_400):
        now = garage.motion
        passages += now and not before
        before = now
        garage.step(1.0)
    assert passages == 320


@pytest.mark.parametrize(
    ("level", "on", "power"), [(0, 1, 10), (50, 1, 305), (100, 1, 600), (100, 0, 10)]
)
def test_the_yard_uses_standby_when_it_is_dark(level: float, on: float, power: float) -> None:
    """10 W…600 W linear, 10 W with the contactor open too."""
    assert Outdoor(on=on, level=level).readings()["power"] == power


@pytest.mark.parametrize(("wet_bulb", "load"), [(26.0, 1000.0), (20.0, 1000.0), (26.0, 500.0)])
def test_the_tower_comes_to_its_approach(wet_bulb: float, load: float) -> None:
    """3 K to the wet bulb at full speed and 1000 kW, half of it at half the load."""
    tower = Tower(wet_bulb=wet_bulb, load=load)
    tower.run_at(100, 100)
    run(tower, 6 * 3600)
    assert tower.leaving - wet_bulb == pytest.approx(3.0 * load / 1000, abs=0.01)


def test_fans_use_the_cube_of_their_speed() -> None:
    """§1.16: two cells at half the speed need a quarter of what one at full speed does."""
    both, one = Tower(), Tower()
    both.run_at(50, 50)
    one.run_at(100, 0)
    for tower in (both, one):
        run(tower, 3600)
    assert both.energy == pytest.approx(one.energy / 4)
    assert one.energy == pytest.approx(11.0)


def test_a_zone_of_the_garden_gets_its_water() -> None:
    """§1.15: 17.07 min at 12 mm/h are 3.413 mm, 1.024 m³ on 300 m²."""
    garden = Irrigation()
    garden.commands |= {"master_valve": 1.0, "feed_pump": 1.0, "z1_valve": 1.0}
    run(garden, 17.07 * 60)
    garden.commands["z1_valve"] = 0.0
    run(garden, 10)
    assert garden.volumes[0] == pytest.approx(1.024, abs=0.003)
    assert garden.volume == garden.volumes[0]
