"""Exercise of a valve, and what keeps strokes slow: the vectors of the water hammer."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isnan, nan
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.sim.models.zones import ZoneNetwork
from edge.blocks.kind import Place
from edge.blocks.ramp import RAMP
from edge.blocks.valve import IN_HAND, OK, VALVE
from edge.blocks.valve_exercise import (
    NO_MARGIN,
    NO_WATER,
    NOT_FREE,
    REACTED,
    SHUT,
    STUCK,
    VALVE_EXERCISE,
    ValveExercise,
    agenda,
)
from edge.blocks.water_hammer import least_stroke, pipe_period, slow_surge, sudden_surge
from edge.image.slots import Slot
from tests.support.block import Instance

OPTIONS = {
    "output": "v1.position", "position": "v1.feedback", "upstream": "header",
    "pressure": "z1.pressure", "flow": "z1.flow", "hoa": "v1.auto",
}  # fmt: skip


class Night:
    """A zone valve held at 30 % by its default, where the pressure drop is 0.07 MPa."""

    def __init__(self, opening: float = 30.0, **options: Any) -> None:
        self.plant = ZoneNetwork(zones=1, opening=opening)
        self.block = Instance(VALVE_EXERCISE, OPTIONS | options)
        self.block.taken = {"v1.position": (16, opening)}
        self.now, self.day = 0.0, nan
        self.asked: set[float] = set()
        self.seen: dict[str, float] = {}
        self.run(2)

    def run(self, seconds: float) -> float:
        for _ in range(round(seconds / 0.5)):
            seen = self.plant.readings() | self.seen
            self.block["header"], self.block["agenda"] = seen["header_pressure"], self.day
            self.block["v1.feedback"], self.block["v1.auto"] = seen["v1_position"], seen["v1_auto"]
            self.block["z1.pressure"], self.block["z1.flow"] = seen["z1_pressure"], seen["z1_flow"]
            self.block.step(self.now)
            self.plant.commands["v1_command"] = self.block["v1.position"]
            if not isnan(self.block.request("v1.position")):
                self.asked.add(self.block.request("v1.position"))
            for _ in range(5):
                self.plant.step(0.1)
            self.now += 0.5
        return self.block["state"]

    def exercise(self) -> float:
        """The night of the month comes, and lasts an hour."""
        self.day = 739000.0
        state = self.run(300)
        self.day = nan
        self.run(1)
        return state


def test_a_healthy_valve_reacts_and_is_given_back() -> None:
    """10 % down, back, up, back; position and water moved; once in that night."""
    night = Night()
    assert night.exercise() == REACTED
    assert night.asked == {20.0, 30.0, 40.0}
    assert night.block["position_moved"] == pytest.approx(10, abs=0.5)
    assert night.block["pressure_moved"] > 0.01
    assert night.block["flow_moved"] > 0.1
    assert isnan(night.block.request("v1.position"))
    assert night.plant.valves[0].motor == pytest.approx(30)
    night.asked.clear()
    night.day = 739000.0
    night.run(300)
    assert night.asked == set()


def test_a_stuck_valve_and_a_loose_plug_are_told() -> None:
    """No movement is STUCK; a position that moves without any reaction of the water is told too."""
    stuck = Night()
    stuck.plant.active.add("valve_stuck:1")
    assert stuck.exercise() == STUCK
    (alarm,) = VALVE_EXERCISE.alarms(stuck.block.model)
    assert alarm.priority == 3
    loose = Night()
    loose.seen = {k: loose.plant.readings()[k] for k in ("z1_pressure", "z1_flow")}
    assert loose.exercise() == NO_WATER


def test_no_exercise_without_margin_or_in_other_hands() -> None:
    """The zone needs 0.05 MPa to spare, and nobody stronger may hold the valve."""
    tight = Night(opening=80.0)
    assert tight.exercise() == NO_MARGIN
    assert tight.asked == set()
    for slot in (Slot.PROTECT, Slot.LOCAL, Slot.REMOTE, Slot.CORRECT):
        held = Night()
        held.block.taken = {"v1.position": (slot, 30.0)}
        assert held.exercise() == NOT_FREE
        assert held.asked == set()
    hand = Night()
    hand.plant.active.add("hoa_hand:1")
    assert hand.exercise() == NOT_FREE


@pytest.mark.parametrize("opening", [0.0, 8.0, 10.0, 19.0])
def test_a_valve_that_people_shut_stays_shut(opening: float) -> None:
    """Neither is a shut-off zone opened at night nor a throttled one shut: the margin is greatest
    just there."""
    night = Night(opening=opening)
    night.seen = {"z1_pressure": 0.0}
    assert night.exercise() == SHUT
    assert night.asked == set()


def test_what_interrupts_an_exercise_ends_it() -> None:
    """A person takes the valve, or its feedback is lost: the request is withdrawn at once."""
    for change in ("person", "feedback"):
        night = Night()
        night.day = 739000.0
        night.run(5)
        assert not isnan(night.block.request("v1.position"))
        if change == "person":
            night.block.taken = {"v1.position": (Slot.LOCAL, 50.0)}
        else:
            night.seen = {"v1_position": nan}
        assert night.run(0.5) == NOT_FREE or night.run(0.5) == NOT_FREE
        assert isnan(night.block.request("v1.position"))


def test_once_a_month_at_three() -> None:
    """From 03:00 to 04:00 local time on its day; otherwise the agenda waits for the next one."""
    place, model = Place("Asia/Shanghai", 31.0, 121.0), ValveExercise.model_validate(OPTIONS)
    at = datetime(2026, 3, 31, 19, 0, tzinfo=UTC).timestamp()  # 1 April 03:00
    assert agenda(model, place, at - 1) == (agenda(model, place, at - 86400))
    assert agenda(model, place, at - 1).until == at
    now = agenda(model, place, at)
    assert (now.value, now.until) == (datetime(2026, 4, 1).toordinal(), at + 3600)  # noqa: DTZ001
    assert isnan(agenda(model, place, at + 3600).value)
    assert agenda(model, place, at + 3600).until == at + 30 * 86400


def test_vectors_of_the_water_hammer() -> None:
    """1.0 MPa for 1 m/s; 0.4 s for 200 m; 6.7 kPa when the same water is stopped in 30 s."""
    assert sudden_surge(1.0) == pytest.approx(1.0)
    assert pipe_period(200.0) == pytest.approx(0.4)
    assert slow_surge(200.0, 1.0, 30.0) == pytest.approx(0.0067, abs=5e-5)
    assert least_stroke(200.0) == pytest.approx(1.6)


def test_a_stroke_that_hammers_is_refused_with_what_would_be_right() -> None:
    """2 km of pipe ask for 16 s: 6.25 % per second, of a ramp as of an actuator."""
    ramp = {"input": "x.y", "unit": "%", "pipe_length": "2 km"}
    Instance(RAMP, ramp | {"up": 6.25, "down": 6.25})
    with pytest.raises(ValidationError, match=r"at least 16 s.*6\.25 % per second"):
        Instance(RAMP, ramp | {"up": 2.0, "down": 10.0})
    with pytest.raises(ValidationError, match="valves"):
        Instance(RAMP, ramp | {"up": 2.0, "down": 2.0, "unit": "lx"})
    valve = {"command": "v.c", "position": "v.f", "pipe_length": "2 km"}
    Instance(VALVE, valve | {"travel": "50s"})
    with pytest.raises(ValidationError, match="at least 16 s"):
        Instance(VALVE, valve | {"travel": "50s", "closing": "15s"})


@pytest.mark.parametrize("travel", [20.0, 50.0, 90.0])
def test_the_travel_of_a_valve_is_measured(travel: float) -> None:
    """A stroke of 60 % tells the time of a full one; a small one tells nothing."""
    plant = ZoneNetwork(zones=1, stroke=travel)
    block = Instance(VALVE, {"command": "c", "position": "f", "travel": f"{travel}s", "hoa": "a"})
    now = 0.0

    def run(seconds: float) -> None:
        nonlocal now
        for _ in range(round(seconds / 0.5)):
            seen = plant.readings()
            block["c"], block["f"], block["a"] = seen["v1_command"], seen["v1_position"], 1.0
            block.step(now)
            for _ in range(5):
                plant.step(0.1)
            now += 0.5

    run(5)
    plant.commands["v1_command"] = 70.0
    run(60)
    assert isnan(block["travelled"])
    plant.commands["v1_command"] = 10.0
    run(100)
    assert block["travelled"] == pytest.approx(travel, rel=0.03)
    assert block["state"] == OK
    block["a"] = 0.0
    block.step(now)
    assert block["state"] == IN_HAND
