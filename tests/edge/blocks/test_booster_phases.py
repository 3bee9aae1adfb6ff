"""Staging, rotation, filling, sleep and direct connection of the simulated pump set."""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import Any

import pytest

from drivers.sim.models.booster import CURVE, H0
from drivers.sim.models.model import MPA_PER_METRE
from edge.blocks.booster import (
    ASLEEP,
    BOOSTER,
    FILL_TIMEOUT,
    FILLING,
    OFF,
    REGULATING,
    SUCTION_LOW,
    WAITING,
)
from edge.blocks.booster_layout import DAY_AT, LEAD_RUN, LEADER
from edge.blocks.booster_model import advice
from edge.blocks.booster_pressure import reduction
from edge.blocks.booster_staging import destage_speed
from edge.blocks.motor import FAILED, HOURS
from edge.blocks.pumps import PUMP_STATES
from tests.support.block import Instance
from tests.support.booster import Set, no_flow_speed


def test_a_large_load_brings_the_second_pump_and_lets_it_go() -> None:
    """S12: 6 to 24 m³/h: pump 2 after 9 ± 1.5 s, lowest 0.283; back to 6: off after 22 ± 3 s."""
    plant = Set().settled()
    plant.plant.demand = 24.0
    assert plant.when("running", 2) == pytest.approx(9, abs=1.6)
    plant.run(290)
    assert plant.lowest() == pytest.approx(0.283, abs=0.015)
    assert plant.back_in_band() <= 30
    assert plant.block["running"] == 2
    plant.trace.clear()
    plant.plant.demand = 6.0
    assert plant.when("running", 1) == pytest.approx(22, abs=3)
    before = plant.plant.pressure
    plant.run(60)
    assert max(pressure for _, pressure in plant.trace) == pytest.approx(0.431, abs=0.015)
    assert plant.back_in_band() <= 10
    assert plant.plant.pressure == pytest.approx(before, abs=0.005)


@pytest.mark.parametrize(
    ("demand", "at", "highest"), [(0, 26, 0.4), (1, 26.5, 0.4), (6, 31.5, 0.407)]
)
def test_an_empty_pipe_is_filled(demand: float, at: float, highest: float) -> None:
    """S17: 70 % from 0.05 MPa, in band after 26-32 s, highest 0.400-0.407 MPa."""
    plant = Set(speed=0.0, demand=demand, sleep=False)
    plant.plant.pressure = 0.05
    plant.run(10)
    assert (plant.block["state"], plant.block["speed"]) == (FILLING, 70.0)
    plant.run(80)
    assert plant.back_in_band() == pytest.approx(at, abs=1)
    assert max(pressure for _, pressure in plant.trace) == pytest.approx(highest, abs=2e-3)


def test_a_pipe_that_does_not_fill_gets_more_pumps_then_one_and_an_alarm() -> None:
    """No rise for 60 s: the next pump; all of them: 85 %; 600 s later one pump and the state."""
    plant = Set(speed=0.0, duty=2)
    plant.stuck_at(0.05)
    plant.run(59)
    assert plant.block["running"] == 1
    plant.run(2)
    assert (plant.block["running"], plant.block["speed"]) == (2, 70.0)
    plant.run(63)
    assert plant.block["speed"] == 85.0
    assert plant.block["state"] == FILLING
    plant.run(545)
    assert (plant.block["state"], plant.block["running"]) == (FILL_TIMEOUT, 1)
    plant.run(2)
    assert plant.block["speed"] == 70.0
    plant.stuck_at(0.30)
    plant.run(12)
    assert plant.block["state"] == REGULATING


@pytest.mark.parametrize(("leak", "fall", "cycle"), [(0.05, 540, 650), (0.20, 135, 235)])
def test_sleep_and_wake(leak: float, fall: float, cycle: float) -> None:
    """S15: stop to wake as the network's volume says, wake to wake with 60 s of quiet and boost."""
    plant = Set(speed=79.3, demand=0.0)
    plant.plant.leak = leak
    plant.when("state", ASLEEP)
    height = plant.plant.pressure - 0.37
    assert height == pytest.approx(0.05, abs=0.002)
    asleep = plant.when("state", REGULATING)
    assert asleep == pytest.approx(height * 0.15 * 3600 / leak, rel=0.05)
    awake = plant.when("state", ASLEEP) + plant.when("state", REGULATING)
    assert awake == pytest.approx(cycle, abs=60 if leak == 0.05 else 40)


def test_too_many_wakes_end_sleep_for_two_hours() -> None:
    """One wake more than allowed in an hour inhibits sleep and says why; two hours later it
    sleeps again."""
    plant = Set(speed=79.3, demand=0.0, max_wakes=2)
    plant.plant.leak = 0.20
    plant.when("sleep_off", 1.0)
    assert plant.block["wakes"] == 3
    inhibited = plant.now
    plant.tick += 70000  # nothing happens for most of two hours
    assert plant.when("state", ASLEEP, 8000) > 0
    assert plant.now - inhibited == pytest.approx(7200, abs=120)


def test_a_network_that_loses_pressure_at_once_was_not_quiet() -> None:
    """Small use on a flat curve: a fall in under 60 s is no wake; no sleep for 15 min."""
    plant = Set(speed=79.3, demand=0.0)
    plant.plant.leak = 1.0
    plant.when("state", ASLEEP)
    assert plant.when("state", REGULATING) < 60
    assert (plant.block["wakes"], plant.block["sleep_off"]) == (0, 2)
    assert plant.when("state", ASLEEP, 2000) == pytest.approx(900, abs=90)


def test_with_a_meter_the_flow_decides_about_sleep() -> None:
    """2 m³/h on the book's pump looks like no flow by the speed; the meter knows better."""
    options = {"flow": "flow", "sleep_flow": "0.5 m³/h"}
    plant = Set(speed=80.0, demand=2.0, **options)
    read = plant.read

    def metered() -> None:
        read()
        plant.block["flow"] = plant.plant.readings()["flow"]

    plant.read = metered  # type: ignore[method-assign]
    plant.run(300)
    assert plant.block["state"] == REGULATING
    plant.plant.demand = 0.1
    plant.run(150)
    assert plant.block["state"] == ASLEEP


def test_the_lead_changes_after_a_day_make_before_break() -> None:
    """At low demand, after `max_lead_run`: the next pump starts, 10 s later the old one stops."""
    plant = Set(max_lead_run="60s", sleep=False)
    plant.when("running", 2)
    assert plant.now == pytest.approx(60, abs=2)
    assert plant.asked("run") == [1.0, 1.0, 0.0]
    assert plant.when("running", 1) == pytest.approx(10, abs=1.5)
    assert plant.asked("run") == [0.0, 1.0, 0.0]
    plant.run(40)
    plant.trace.clear()
    plant.run(5)
    assert plant.plant.pressure == pytest.approx(0.40, abs=5e-3)


def test_a_change_of_lead_that_fails_leaves_the_old_one() -> None:
    """The new pump has no feedback: the old lead goes on, no third pump starts."""
    plant = Set(max_lead_run="60s", sleep=False)
    plant.plant.active.add("no_run_feedback:2")
    plant.run(70)
    assert plant.asked("run") == [1.0, 0.0, 0.0]
    assert plant.block["pump2"] == FAILED
    assert plant.plant.pressure == pytest.approx(0.40, abs=5e-3)


def test_the_lead_stays_until_it_has_run_two_hours_more() -> None:
    """A start from standstill takes the former lead unless another has 2 h less (§1.17)."""
    for other, first in ((1.5, [1.0, 0.0, 0.0]), (2.5, [0.0, 1.0, 0.0])):
        plant = Set(speed=0.0, duty=1, enable="enable")
        plant.block["enable"] = 1.0
        for i, hours in enumerate((10.0, 10.0 - other, 10.0)):
            plant.block.st[(i - 3) * PUMP_STATES + HOURS] = hours
        plant.block.st[LEADER], plant.block.st[LEAD_RUN] = 0.0, 0.0
        plant.run(1)
        assert plant.asked("run") == first


def test_a_drives_counter_raises_ours_and_never_lowers_it() -> None:
    """Reconciliation (§1.17): the higher of both counts."""
    pumps = [{"run": "p1.run", "speed": "p1.speed", "running": "p1.running", "hours": "hours"}]
    block = Instance(BOOSTER, {"pressure": "p", "setpoint": 0.4, "pumps": pumps})
    for name in ("p1.run", "p1.running"):
        block[name] = 1.0
    block["p"], block["p1.speed"] = 0.4, 80.0
    for k, (counter, shown) in enumerate([(5.0, 5.0), (4.0, 5.0), (nan, 5.0), (6.0, 6.0)]):
        block["hours"] = counter
        block.step(0.5 * k)
        assert block["pump1_hours"] == pytest.approx(shown, abs=1e-3)


def test_the_second_sensor_takes_over_without_a_bump() -> None:
    """The discharge sensor fails: the second one regulates at once, and nothing jumps."""
    plant = Set(second="second").settled()
    before = plant.block["speed"]
    plant.block["second"] = 0.39
    plant.sensor = False
    plant.run(0.5)
    assert (plant.block["state"], plant.block["sensor"]) == (REGULATING, 2)
    assert plant.block["speed"] == pytest.approx(before, abs=2)


def test_without_permissive_nothing_starts() -> None:
    """CHECK waits for water in the tank; when it is there, the pipe is filled or kept."""
    plant = Set(speed=0.0, permissive="tank > 0.5", enable="enable")
    name = "tank > 0.5"
    plant.block["enable"] = 1.0
    for value in (0.0, nan):
        plant.block[name] = value
        plant.run(40)
        assert (plant.block["state"], plant.asked("run")) == (WAITING, [0.0, 0.0, 0.0])
    plant.block[name] = 1.0
    plant.run(1)
    assert plant.asked("run") == [1.0, 0.0, 0.0]
    plant.block["enable"] = 0.0
    plant.run(1)
    assert (plant.block["state"], plant.asked("run")) == (OFF, [0.0, 0.0, 0.0])


def connected(**options: Any) -> Set:
    """A set on the mains, which lose pressure as more is drawn."""
    plant = Set(suction="suction", suction_setpoint="0.12 MPa", minimum_speed="50 %",
                sleep=False, **options)  # fmt: skip
    plant.plant.mains, plant.plant.mains_loss = 0.20, 4e-4
    read = plant.read

    def both() -> None:
        read()
        plant.block["suction"] = plant.plant.suction

    plant.read = both  # type: ignore[method-assign]
    return plant


def test_direct_connection_keeps_the_mains_pressure() -> None:
    """Too much demand: the suction loop takes over at 0.12 MPa and hands back without wind-up."""
    plant = connected(duty=1)
    plant.run(120)
    assert plant.plant.pressure == pytest.approx(0.40, abs=2e-3)
    plant.plant.demand = 18.0
    plant.run(240)
    assert plant.plant.suction == pytest.approx(0.12, abs=5e-3)
    assert plant.plant.pressure < 0.39
    plant.plant.demand = 6.0
    plant.trace.clear()
    plant.run(120)
    assert plant.plant.pressure == pytest.approx(0.40, abs=2e-3)
    assert max(pressure for _, pressure in plant.trace) < 0.47


def test_below_the_suction_limit_everything_stops() -> None:
    """Below 0.10 MPa for 5 s: stop; again after a minute above 0.12 MPa."""
    plant = connected()
    plant.run(60)
    plant.plant.mains = 0.09
    plant.run(10)
    assert (plant.block["state"], sum(plant.asked("run"))) == (SUCTION_LOW, 0)
    plant.plant.mains = 0.20
    plant.run(60)
    assert plant.block["state"] == SUCTION_LOW
    plant.run(5)
    assert sum(plant.asked("run")) == 1


def test_one_drive_leads_and_fixed_pumps_follow() -> None:
    """single_vfd: the pump with a drive leads, the others turn at full speed, and stop again."""
    pumps = [
        {"run": "p1.run", "speed": "p1.speed", "running": "p1.running"},
        {"run": "p2.run", "running": "p2.running"},
        {"run": "p3.run", "running": "p3.running"},
    ]  # fmt: skip
    plant = Set(pumps=pumps, mode="single_vfd")
    plant.plant.drives = 1
    plant.run(60)
    plant.plant.demand = 26.0
    plant.run(120)
    assert plant.asked("run") == [1.0, 1.0, 0.0]
    assert plant.plant.pressure == pytest.approx(0.40, abs=5e-3)
    plant.plant.demand = 8.0
    plant.run(120)
    assert plant.asked("run") == [1.0, 0.0, 0.0]
    assert plant.plant.pressure == pytest.approx(0.40, abs=5e-3)


@pytest.mark.parametrize(
    ("quadratic", "expected"),
    [(True, (0.340, 0.34375, 0.355, 0.400)), (False, (0.340, 0.355, 0.370, 0.400))],
)
def test_proportional_pressure_vector(quadratic: bool, expected: tuple[float, ...]) -> None:
    """SP 0.40, ΔPf 0.06, Qd 24 at 0, 6, 12, 24 m³/h."""
    for flow, pressure in zip((0, 6, 12, 24), expected, strict=True):
        assert 0.40 - reduction(flow, 0.06, 24.0, quadratic) == pytest.approx(pressure)


def test_staging_vectors() -> None:
    """H0 65 m, SP 0.40 MPa, s_hi 95 %: s0 and the destage speeds before their margin."""
    s0 = no_flow_speed(0.40)
    assert s0 == pytest.approx(79.22, abs=0.005)
    for n, speed in ((2, 83.44), (3, 86.59), (4, 88.44)):
        assert destage_speed(n, s0, False) == pytest.approx(speed, abs=0.005)
        q1 = sqrt((H0 * 0.95**2 - 0.40 / MPA_PER_METRE) / CURVE)
        assert q1 == pytest.approx(13.369, abs=5e-4)
        flow = (n - 1) * q1 / n  # of each pump: the formula as the book writes it
        whole = 100 * sqrt((0.40 / MPA_PER_METRE + CURVE * flow**2) / H0)
        assert destage_speed(n, s0, False) == pytest.approx(whole)


def test_without_a_pump_curve_a_day_teaches_it() -> None:
    """The lowest speed of a day at the setpoint is s0; before, `destage_speed` stands alone."""
    plant = Set(shutoff_head=None, sleep=False)
    plant.run(120)
    assert isnan(plant.block["no_flow_speed"])
    plant.plant.demand = 0.3
    plant.run(150)
    plant.block.st[DAY_AT] -= 86400
    plant.run(2)
    assert plant.block["no_flow_speed"] == pytest.approx(no_flow_speed(0.40), abs=0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"elevation": "-4 m"}, "0.36 MPa"),
        ({"elevation": "6 m"}, "0.46 MPa"),
        ({"elevation": "-10 m"}, ""),
        ({"fill_speed": "55 %"}, "fill speed"),
        ({}, ""),
    ],
)
def test_what_a_check_warns_of(options: dict[str, Any], words: str) -> None:
    """Static pressure above 0.35 or 0.45 MPa, and a fill speed that never reaches 60 %."""
    model = Set(**options).block.model
    told = advice(model, lambda source, unit: 0.40)
    assert [words in text.en for text in told] == ([True] if words else [])
    assert advice(model, lambda source, unit: None) == ()
