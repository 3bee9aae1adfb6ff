"""Constant pressure against the simulated pump set: steps, trips, lost sensor, over-pressure."""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.sim.models.booster import CURVE, H0
from drivers.sim.models.booster import Booster as Plant
from drivers.sim.models.model import MPA_PER_METRE
from edge.blocks.booster import (
    ASLEEP,
    BOOSTER,
    FALLBACK,
    FILL_TIMEOUT,
    FILLING,
    FOLLOWING,
    HELD,
    NO_PUMP,
    OFF,
    OVER_PRESSURE,
    REGULATING,
    SUCTION_LOW,
    WAITING,
    Booster,
)
from edge.blocks.booster_layout import DAY_AT, LEAD_RUN, LEADER
from edge.blocks.booster_model import advice
from edge.blocks.booster_pressure import reduction
from edge.blocks.booster_staging import destage_speed
from edge.blocks.pumps import (
    BLOCKED,
    FAILED,
    FORCED,
    HOURS,
    NOT_AUTO,
    PUMP_STATES,
    RUNNING,
    STARTING,
    STOPPED,
    TRIPPED,
)
from edge.image.quality import COMM, SENSOR
from tests.support.block import Instance

REFERENCE: dict[str, Any] = {
    "filter": "0s", "deadband": 0.0, "minimum_speed": "70 %", "shutoff_head": "65 m", "duty": 3,
}  # fmt: skip
"""The settings of the reference simulation."""


class Set:
    """Three pumps under the block: hydraulics every 0.1 s, control every 0.5 s, control first."""

    def __init__(self, speed: float = 82.64, demand: float = 6.0, **options: Any) -> None:
        pumps = [
            {**{k: f"p{i}.{k}" for k in ("run", "speed", "running", "fault")}, "hoa": f"p{i}.auto"}
            for i in (1, 2, 3)
        ]
        self.block = Instance(
            BOOSTER,
            {
                "pressure": "pressure",
                "setpoint": "0.40 MPa",
                "pumps": pumps,
                **REFERENCE,
                **options,
            },
        )
        self.plant = Plant(demand=demand)
        self.plant.run_at(speed)
        self.tick = 0
        self.trace: list[tuple[float, float]] = []
        self.sensor = True
        self.read()
        for i in (1, 2, 3):
            self.block[f"p{i}.run"] = float(i == 1)
            if f"p{i}.speed" in self.block.index:
                self.block[f"p{i}.speed"] = speed if i == 1 else 0.0

    @property
    def now(self) -> float:
        return self.tick * 0.1

    def read(self) -> None:
        seen = self.plant.readings()
        if self.sensor:
            self.block["pressure"] = seen["discharge_pressure"]
        else:
            self.block.bad("pressure", SENSOR)
        for i in (1, 2, 3):
            for name in ("running", "fault", "auto"):
                if f"p{i}.{name}" in self.block.index:
                    self.block[f"p{i}.{name}"] = seen[f"p{i}_{name}"]

    def run(self, seconds: float) -> None:
        """Let time pass and keep the pressures, by the time of the start of the step."""
        for _ in range(round(seconds / 0.1)):
            if self.tick % 5 == 0:
                self.read()
                self.block.step(self.now)
                for i in (1, 2, 3):
                    for name, command in (("run", "run"), ("speed", "reference")):
                        if f"p{i}.{name}" not in self.block.index:
                            continue
                        self.plant.commands[f"p{i}_{command}"] = self.block[f"p{i}.{name}"]
            self.plant.step(0.1)
            self.trace.append((self.now, self.plant.pressure))
            self.tick += 1

    def settled(self, **options: Any) -> Set:
        self.run(60)
        assert self.plant.pressure == pytest.approx(0.40, abs=1e-3)
        self.trace.clear()
        return self

    def when(self, name: str, value: float, limit: float = 7200.0) -> float:
        """Let time pass until the published point has this value; gives how long that took."""
        start = self.now
        while self.block[name] != value:
            self.run(0.5)
            assert self.now - start < limit, f"{name} is {self.block[name]}, not {value}"
        return self.now - start

    def stuck_at(self, pressure: float) -> None:
        """From now on the pumps turn as commanded and the pressure does not move."""

        def step(_: float) -> None:
            self.plant.pressure = pressure
            for i, pump in enumerate(self.plant.pumps, 1):
                pump.delivers = self.plant.commands[f"p{i}_run"] > 0

        self.plant.step = step  # type: ignore[method-assign]
        self.plant.pressure = pressure

    def lowest(self) -> float:
        return min(pressure for _, pressure in self.trace)

    def back_in_band(self) -> float:
        """Seconds from the start of the trace to the last moment outside 0.40 ± 0.01 MPa."""
        start = self.trace[0][0]
        outside = [t for t, pressure in self.trace if abs(pressure - 0.40) > 0.01]
        return max(outside) + 0.1 - start if outside else 0.0

    def asked(self, name: str) -> list[float]:
        return [self.block.request(f"p{i}.{name}") for i in (1, 2, 3)]


def test_load_step() -> None:
    """S11: 6 to 14 m³/h: lowest 0.380 MPa, back in band within 12 s, no second pump."""
    plant = Set().settled()
    plant.plant.demand = 14.0
    plant.run(120)
    assert plant.lowest() == pytest.approx(0.380, abs=0.01)
    assert plant.back_in_band() <= 12
    assert plant.block["running"] == 1
    assert plant.block["speed"] == pytest.approx(96.39, abs=0.1)


def test_load_step_with_the_filter_of_the_field() -> None:
    """With the 2 s filter the same step sees 0.372 MPa and is back within 12 s."""
    plant = Set(filter="2s").settled()
    plant.plant.demand = 14.0
    plant.run(120)
    assert plant.lowest() == pytest.approx(0.372, abs=0.01)
    assert plant.back_in_band() <= 12


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


def no_flow_speed(pressure: float) -> float:
    return 100 * sqrt(pressure / MPA_PER_METRE / H0)


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
    """When the last pump trips nothing is asked any more and the state says so."""
    plant = Set().settled()
    plant.plant.active.update({"pump_trip:1", "pump_trip:2", "pump_trip:3"})
    plant.run(1)
    assert (plant.block["state"], plant.asked("run")) == (NO_PUMP, [0.0, 0.0, 0.0])
    plant.plant.active.clear()
    plant.run(120)
    assert plant.plant.pressure == pytest.approx(0.40, abs=2e-3)


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
