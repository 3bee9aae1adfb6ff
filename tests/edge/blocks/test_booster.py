"""Constant pressure against the simulated pump set: steps, trips, lost sensor, over-pressure."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import pytest
from pydantic import ValidationError

from edge.blocks.booster import (
    BOOSTER,
    FALLBACK,
    FOLLOWING,
    HELD,
    NO_PUMP,
    OVER_PRESSURE,
    REGULATING,
    WAITING,
    Booster,
)
from edge.blocks.motor import (
    BLOCKED,
    FAILED,
    FORCED,
    HOURS,
    NOT_AUTO,
    RUNNING,
    STARTING,
    STOPPED,
    TRIPPED,
)
from edge.blocks.pumps import PUMP_STATES
from edge.image.quality import COMM
from tests.support.booster import Set, no_flow_speed

FIRST = {"pressure": "p", "setpoint": "0.4 MPa", "pumps": ["booster.p1"]}


def test_load_step() -> None:
    """S11: 6 to 14 m³/h: lowest 0.380 MPa, back in band within 12 s, no second pump."""
    plant = Set().settled()
    plant.plant.demand = 14.0
    plant.run(120)
    assert plant.lowest() == pytest.approx(0.380, abs=0.01)
    assert plant.back_in_band() <= 12
    assert plant.block["running"] == 1
    assert plant.block["speed"] == pytest.approx(96.39, abs=0.1)


def test_the_filter_is_on_unless_the_input_is_filtered() -> None:
    """§1.2: 2 s, so that a stiff network does not hunt."""
    assert Booster.model_validate(FIRST).filter == 2.0
    assert Booster.model_validate({**FIRST, "filter": "0s"}).filter == 0.0


def test_load_step_with_the_filter_of_the_field() -> None:
    """S11 with the 2 s filter (§7.0): 0.372 MPa, back in band after 9.5 s."""
    plant = Set(filter="2s").settled()
    plant.plant.demand = 14.0
    plant.run(120)
    assert plant.lowest() == pytest.approx(0.372, abs=0.001)
    assert plant.back_in_band() == pytest.approx(9.5, abs=0.5)


@pytest.mark.parametrize(
    ("filtered", "started", "band", "highest", "stopped"),
    [("0s", 9.0, 27.0, 0.431, 22.0), ("2s", 10.0, 29.5, 0.443, 25.0)],
)
def test_staging_with_and_without_the_filter(
    filtered: str, started: float, band: float, highest: float, stopped: float
) -> None:
    """S12 as §7.0 gives it for both; a period later by the convention of §0.2, another one since
    staging looks at the speed of the run before."""
    plant = Set(filter=filtered).settled()
    plant.plant.demand = 24.0
    began = plant.when("running", 2) - 0.5
    plant.run(240)
    assert began == pytest.approx(started + 1.0, abs=0.1)
    assert plant.back_in_band() == pytest.approx(band + 1.0, abs=0.3)
    plant.trace.clear()
    plant.plant.demand = 6.0
    ended = plant.when("running", 1) - 0.5
    plant.run(60)
    assert ended == pytest.approx(stopped + 0.5, abs=0.5)
    assert max(pressure for _, pressure in plant.trace) == pytest.approx(highest, abs=0.001)


@pytest.mark.parametrize(("filtered", "highest"), [("0s", 0.407), ("2s", 0.435)])
def test_pipe_fill_with_and_without_the_filter(filtered: str, highest: float) -> None:
    """S17 as §7.0 gives it for both: with the filter it overshoots to 0.435 MPa."""
    plant = Set(speed=0.0, filter=filtered)
    plant.plant.pressure = 0.05
    plant.run(90)
    assert max(pressure for _, pressure in plant.trace) == pytest.approx(highest, abs=0.003)


def test_a_trip_starts_the_standby_in_the_same_step() -> None:
    """S13: on the fault contact pump 2 starts at once; lowest 0.320 MPa, in band within 25 s."""
    plant = Set().settled()
    plant.plant.active.add("pump_trip:1")
    plant.plant.step(0.0)
    plant.run(0.1)
    assert plant.asked("run") == [0.0, 1.0, 0.0]
    assert plant.block["pump1"] == TRIPPED
    plant.run(120)
    assert plant.lowest() == pytest.approx(0.320, abs=0.015)
    assert plant.back_in_band() <= 25
    assert plant.block["pump2"] == RUNNING


def test_lost_feedback_starts_the_standby_after_five_seconds() -> None:
    """S13: a pump that stops without a contact is given up after 5 s; lowest 0.281 MPa."""
    plant = Set().settled()
    plant.plant.active.add("no_run_feedback:1")
    plant.plant.step(0.0)
    plant.run(5)
    assert plant.asked("run") == [1.0, 0.0, 0.0]
    plant.run(0.1)
    assert plant.asked("run") == [0.0, 1.0, 0.0]
    assert plant.block["pump1"] == FAILED
    plant.run(120)
    assert plant.lowest() == pytest.approx(0.281, abs=0.015)
    assert plant.block["pump1"] == FAILED


def test_a_failed_pump_is_tried_again_later_or_after_a_reset() -> None:
    """A failed start is forgiven after `retry` or by the reset input; then it is standby again."""
    for options, seconds in (({"retry": "20s"}, 20.5), ({"reset": "reset"}, 1.0)):
        plant = Set(**options).settled()
        plant.plant.active.add("no_run_feedback:1")
        plant.run(10)
        assert plant.block["pump1"] == FAILED
        if "reset" in options:
            plant.block["reset"] = 1.0
        plant.run(seconds)
        assert plant.block["pump1"] == STOPPED
        assert plant.asked("run") == [0.0, 1.0, 0.0]


def test_a_lost_sensor_holds_then_falls_back_and_returns_bumpless() -> None:
    """S18: held within 1 % for 30 s, then never above the no-flow speed for SP + 10 %; no bump."""
    plant = Set().settled()
    before = plant.block["speed"]
    plant.sensor = False
    plant.run(30)
    assert plant.block["speed"] == pytest.approx(before, abs=1)
    assert plant.block["state"] == HELD
    fallback = []
    for _ in range(600):
        plant.run(0.5)
        fallback.append(plant.block["speed"])
    assert plant.block["state"] == FALLBACK
    assert max(fallback) <= no_flow_speed(0.44)
    last = fallback[-1]
    plant.plant.demand = 10.0
    plant.run(30)
    plant.sensor = True
    plant.run(0.5)
    assert plant.block["state"] == REGULATING
    assert abs(plant.block["speed"] - last) <= 2
    plant.run(60)
    assert plant.plant.pressure == pytest.approx(0.40, abs=2e-3)


@pytest.mark.parametrize(
    ("options", "speed"),
    [
        ({"fallback_speed": "76 %"}, 76.0),
        ({"fallback_speed": "95 %"}, no_flow_speed(0.44)),
        ({"fallback_speed": "90 %", "shutoff_head": None}, 90.0),
    ],
)
def test_the_fallback_speed_is_bounded(options: dict[str, Any], speed: float) -> None:
    """A configured fallback counts, up to the no-flow speed for SP + 10 % where H0 is known."""
    plant = Set(**options).settled()
    plant.sensor = False
    plant.run(60)
    assert plant.block["speed"] == pytest.approx(speed, abs=0.01)


def test_without_experience_it_starts_blind_but_not_at_full_speed() -> None:
    """After a power cut with a dead sensor one pump runs, at 70 %: the compound is not left dry."""
    plant = Set(speed=0.0, minimum_speed="50 %")
    plant.sensor = False
    plant.run(60)
    assert (plant.block["running"], plant.block["speed"]) == (1, 70.0)


def test_adopts_a_running_pump_at_its_speed() -> None:
    """A restart beside a running pump moves its speed by less than 2 % in the first seconds."""
    plant = Set().settled()
    second = Set(speed=plant.block["speed"])
    second.plant = plant.plant
    second.run(0.1)
    assert second.asked("run") == [1.0, 0.0, 0.0]
    assert second.asked("speed")[0] == pytest.approx(plant.block["speed"], abs=0.01)
    for _ in range(10):
        second.run(0.5)
        assert second.asked("speed")[0] == pytest.approx(plant.block["speed"], abs=2)


def test_two_running_pumps_are_adopted_and_the_surplus_one_stops() -> None:
    """With a duty of one, of two running pumps the one with more hours stops."""
    plant = Set(duty=1)
    plant.plant.run_at(80.1, 80.1)
    plant.block["p2.run"], plant.block["p2.speed"] = 1.0, 80.1
    plant.run(0.1)
    assert sum(plant.asked("run")) == 1


def test_waits_until_it_knows_what_runs() -> None:
    """Before the pumps were read nothing is asked of them; a dead one is waited for 30 s."""
    plant = Set()
    plant.block.bad("p3.running", COMM)
    plant.block.bad("p3.run", COMM)
    read = plant.read

    def without_three() -> None:
        read()
        plant.block.bad("p3.running", COMM)

    plant.read = without_three  # type: ignore[method-assign]
    plant.run(29.9)
    assert plant.block["state"] == WAITING
    assert all(isnan(asked) for asked in plant.asked("run"))
    plant.run(1)
    assert plant.block["state"] == REGULATING
    assert plant.asked("run")[0] == 1.0


def test_over_pressure_stops_the_lag_pump_then_the_lead() -> None:
    """P > SP + 0.10 MPa for 3 s leaves one pump, 3 s more none; then it begins anew."""
    plant = Set(demand=24.0)
    plant.run(60)
    assert plant.block["running"] == 2
    plant.plant.step = lambda dt: None  # type: ignore[method-assign]
    plant.plant.pressure = 0.55
    plant.run(3)
    assert plant.block["running"] == 2
    plant.run(0.5)
    assert plant.block["running"] == 1
    plant.run(3.5)
    assert (plant.block["running"], plant.block["state"]) == (0, OVER_PRESSURE)
    plant.plant.pressure = 0.365
    plant.run(2)
    assert plant.block["running"] == 0
    plant.run(1)
    assert (plant.block["running"], plant.block["state"]) == (1, REGULATING)


def test_the_pipe_rating_stops_within_a_second() -> None:
    """Above 90 % of the pipes' pressure class one second is enough."""
    plant = Set(rating="0.50 MPa").settled()
    plant.plant.step = lambda dt: None  # type: ignore[method-assign]
    plant.plant.pressure = 0.46
    plant.run(1.6)
    assert plant.block["state"] == OVER_PRESSURE


def test_no_pump_available() -> None:
    """When the last pump trips nothing is asked any more and the state says so, until a person
    resets."""
    plant = Set().settled()
    for pump in (1, 2, 3):
        plant.plant.active.add(f"pump_trip:{pump}")
        plant.run(10)
    assert (plant.block["state"], plant.asked("run")) == (NO_PUMP, [0.0, 0.0, 0.0])
    plant.plant.active.clear()
    plant.run(120)
    assert (plant.block["state"], plant.block["tripped"]) == (NO_PUMP, 3)
    plant.block["reset"] = 1.0
    plant.run(120)
    assert plant.plant.pressure == pytest.approx(0.40, abs=2e-3)
    assert plant.block["tripped"] == 0


def test_a_pump_in_hand_is_left_alone_and_taken_back_running() -> None:
    """HOA not AUTO: no request, no failed start, another pump takes over until it is back."""
    plant = Set().settled()
    plant.plant.active.add("hoa_hand:1")
    plant.run(10)
    assert plant.block["pump1"] == NOT_AUTO
    assert isnan(plant.asked("run")[0])
    assert plant.asked("run")[1:] == [1.0, 0.0]
    plant.plant.active.clear()
    plant.run(1)
    assert plant.asked("run")[0] == 0.0


def test_the_only_pump_comes_back_from_hand_without_a_bump() -> None:
    """With all others tripped, the pump that returns from HAND goes on at the speed it has."""
    plant = Set().settled()
    plant.plant.active.update({"pump_trip:2", "pump_trip:3", "hoa_hand:1"})
    plant.run(10)
    assert plant.block["state"] == FOLLOWING
    plant.block["p1.speed"] = 88.0
    plant.plant.active.discard("hoa_hand:1")
    plant.run(0.5)
    assert (plant.asked("run")[0], plant.asked("speed")[0]) == (1.0, 88.0)


def test_follows_a_speed_that_somebody_else_sets() -> None:
    """While a person holds the speed at slot 8 the reference follows and returns bumpless."""
    plant = Set().settled()
    plant.block.taken["p1.speed"] = (8, 88.0)
    plant.run(5)
    assert (plant.block["state"], plant.block["speed"]) == (FOLLOWING, 88.0)
    plant.block.taken.clear()
    plant.tick = (plant.tick + 4) // 5 * 5
    plant.block.step(plant.now)
    plant.block.step(plant.now + 0.5)
    assert plant.block["speed"] == pytest.approx(88.0, abs=6)
    assert plant.block["state"] == REGULATING


def test_a_pump_held_off_by_an_interlock_is_replaced_without_a_failure() -> None:
    """Slot 5 at 0 blocks a pump: the standby runs, and nobody says that it failed to start."""
    plant = Set().settled()
    plant.block.taken["p1.run"] = (5, 0.0)
    plant.run(10)
    assert plant.block["pump1"] == BLOCKED
    assert plant.asked("run") == [0.0, 1.0, 0.0]


def test_a_pump_held_on_counts_as_running_at_the_common_speed() -> None:
    """A pump that a person keeps on is regulated; with a duty of one no other starts."""
    plant = Set(duty=1).settled()
    plant.block.taken["p2.run"] = (8, 1.0)
    plant.run(30)
    assert plant.block["pump2"] == FORCED
    assert plant.block["running"] == 1
    assert plant.plant.pressure == pytest.approx(0.40, abs=5e-3)


def test_a_minimum_off_time_delays_the_start_without_an_alarm() -> None:
    """A start that slot 6 still holds back is starting, not blocked and not failed."""
    plant = Set(speed=0.0)
    for i in (1, 2, 3):
        plant.block.taken[f"p{i}.run"] = (6, 0.0)
    plant.run(20)
    assert plant.block["pump1"] == STARTING
    assert plant.block["state"] == REGULATING


def test_bad_feedback_is_believed_while_there_is_pressure() -> None:
    """A dead feedback module does not stop a pump that keeps the pressure; low pressure does."""
    plant = Set(duty=1).settled()
    read = plant.read

    def without_feedback() -> None:
        read()
        plant.block.bad("p1.running", COMM)

    plant.read = without_feedback  # type: ignore[method-assign]
    plant.run(120)
    assert plant.asked("run") == [1.0, 0.0, 0.0]
    plant.plant.active.add("no_run_feedback:1")
    plant.run(30)
    assert plant.asked("run") == [0.0, 1.0, 0.0]


def test_the_standby_with_the_fewest_hours_comes_next() -> None:
    """Order by running hours as in the rotation vector; with a fixed lead, by number."""
    for lead, order in (("least_runtime", [0.0, 0.0, 1.0]), ("fixed", [0.0, 1.0, 0.0])):
        plant = Set(lead=lead).settled()
        for i, hours in enumerate((1205.5, 1190.2, 1180.0)):
            plant.block.st[i * PUMP_STATES - 3 * PUMP_STATES + HOURS] = hours
        plant.plant.active.add("pump_trip:1")
        plant.run(0.5)
        assert plant.block["pump1_hours"] == pytest.approx(1205.5, abs=0.01)
        assert plant.asked("run") == order


def test_a_cold_start_ramps_from_the_present_pressure() -> None:
    """From 0.05 MPa: lowest speed first, the setpoint ramps, far from over-pressure."""
    plant = Set(speed=0.0, minimum_speed="70 %")
    plant.plant.pressure = 0.05
    plant.run(0.1)
    assert plant.block["speed"] == 70.0
    plant.run(90)
    assert plant.plant.pressure == pytest.approx(0.40, abs=2e-3)
    assert max(pressure for _, pressure in plant.trace) < 0.45


def test_the_lowest_speed_follows_from_the_pump_curve() -> None:
    """s_min = max(50 %, s0 - 5 %) with s0 = 79.22 % for H0 = 65 m and 0.40 MPa."""
    for options, lowest in (({}, 74.22), ({"shutoff_head": None}, 50.0)):
        plant = Set(demand=0.0, minimum_speed=None, sleep=False, **options)
        plant.plant.draw = 0.0
        plant.plant.pressure = 0.45
        plant.run(60)
        assert plant.block["speed"] == pytest.approx(lowest, abs=0.01)


def test_a_bad_setpoint_leaves_the_last_one() -> None:
    """When the setpoint point goes bad, control goes on at the value it had."""
    plant = Set(setpoint="sp")
    plant.block["sp"] = 0.36
    plant.run(60)
    plant.block["sp"] = nan
    plant.run(60)
    assert plant.plant.pressure == pytest.approx(0.36, abs=2e-3)


def test_pumps_by_name_or_one_by_one() -> None:
    """`booster.p1` stands for its four points; a mapping may name them and add the HOA contact."""
    model = Booster.model_validate(
        {"pressure": "p", "setpoint": 0.4,
         "pumps": ["booster.p1", {"run": "a", "speed": "b", "running": "c", "hoa": "d"}]}
    )  # fmt: skip
    first, second = model.pumps
    assert (first.run, first.speed) == ("booster.p1.run", "booster.p1.speed")
    assert (first.running, first.fault) == ("booster.p1.running", "booster.p1.fault")
    assert (first.hoa, second.fault, second.hoa) == (None, None, "d")


@pytest.mark.parametrize(
    "options",
    [
        {"duty": 4}, {"fallback_speed": "100 %"}, {"pumps": []}, {"kp": 5.0}, {"friction": 0.05},
        {"sleep_flow": 1.0}, {"suction_setpoint": 0.12}, {"suction_limit": 0.1},
        {"suction": "x", "suction_setpoint": 0.1, "suction_limit": 0.1},
        {"pumps": [{"run": "p1.run", "running": "r"}], "mode": "single_vfd"},
        {"pumps": ["p1", {"run": "p2.run", "running": "r"}]},
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any]) -> None:
    """More duty than pumps, a blind full speed, no pumps, a gain out of range."""
    with pytest.raises(ValidationError):
        Set(**options)


def test_every_alarm_has_first_checks_in_both_languages() -> None:
    """The kind brings its catalogue alarms, each pump its own two."""
    alarms = BOOSTER.alarms(Set().block.model)
    ids = {alarm.id for alarm in alarms}
    assert {"{RULE}_P_LOW", "{RULE}_P_HIGH", "{RULE}_NO_PUMP_AVAILABLE"} <= ids
    assert {"{RULE}_PUMP3_TRIP", "{RULE}_PUMP3_FAIL_START", "{RULE}_PRESSURE_LOST"} <= ids
    assert all(check.zh and check.en for alarm in alarms for check in alarm.checks)
    (lost,) = [alarm for alarm in alarms if alarm.id == "{RULE}_PRESSURE_LOST"]
    assert lost.on_delay <= 15
