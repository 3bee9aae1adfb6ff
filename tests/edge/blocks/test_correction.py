"""Automatic correction: every row of the table, its limits, and who may not be disturbed."""

from __future__ import annotations

from itertools import pairwise
from math import isnan, nan
from typing import Any

import pytest
from pydantic import ValidationError

from edge.blocks.correct import ACTING, CHECKING, CORRECTED, FAILED, READY, WAITING
from edge.blocks.correction import CORRECTION, PEOPLE_ONLY
from edge.image.slots import Slot
from tests.support.block import Instance
from tests.support.rules import Bench, site_of

DAY = 86400.0
VALVE = {
    "cause": "valve_position", "fault": "fault", "output": "v3.position", "feedback": "v3.feedback",
    "pressure": "z3.pressure", "hoa": "v3.auto",
}  # fmt: skip


class Bay:
    """One correction, a command of 80 % by somebody weaker, and inputs that stay until changed."""

    def __init__(self, options: dict[str, Any], **inputs: float) -> None:
        self.block = Instance(CORRECTION, options)
        self.output = options["output"]
        self.block.taken = {self.output: (16, 80.0)}
        self.inputs = inputs
        self.now = 0.0
        self.states: list[tuple[float, float]] = []
        self.asked: list[tuple[float, float]] = []
        self.run(1)

    def run(self, seconds: float, **inputs: float) -> float:
        """Let time pass in steps of 0.5 s; gives the last state."""
        self.inputs |= inputs
        for _ in range(round(seconds / 0.5)):
            for name, value in self.inputs.items():
                self.block[name] = value
            self.block.step(self.now)
            state, asked = self.block["state"], self.block.request(self.output)
            if not self.states or self.states[-1][1] != state:
                self.states.append((self.now, state))
            if not self.asked or str(self.asked[-1][1]) != str(asked):
                self.asked.append((self.now, asked))
            self.now += 0.5
        return self.block["state"]

    def began(self) -> list[float]:
        return [t for t, state in self.states if state == ACTING]

    def requests(self) -> list[float]:
        return [value for _, value in self.asked if not isnan(value)]


def valve(**options: Any) -> Bay:
    """A valve in its place at 80 %."""
    inputs = {"fault": 0.0, "v3.feedback": 80.0, "z3.pressure": 0.4, "v3.auto": 1.0}
    return Bay(VALVE | options, **inputs)


JAM = {"fault": 1.0, "v3.feedback": 20.0, "z3.pressure": 0.281}


def test_a_jammed_valve_gets_three_attempts() -> None:
    """The command again, two exercises of 10 % around it, 1.5 x 30 s apart, then people only."""
    bay = valve()
    bay.run(600, fault=1.0)
    assert bay.began() == []  # it is where it should be: nothing to correct
    bay.run(600, **JAM)
    starts = bay.began()
    assert len(starts) == 3
    assert all(later - earlier >= 45 for earlier, later in pairwise(starts))
    assert bay.requests() == [80.0, 70.0, 80.0, 90.0, 70.0, 80.0, 90.0]
    assert bay.block["state"] == FAILED
    assert bay.block["attempts"] == 3
    before = len(bay.asked)
    for _ in range(4):
        bay.now += DAY / 2
        assert bay.run(300) == FAILED
    assert len(bay.asked) == before
    (alarm,) = [a for a in CORRECTION.alarms(bay.block.model) if a.id == "{RULE}_FAILED"]
    assert (alarm.priority, alarm.text.zh) == (2, "{name}: 自动处置失败")


@pytest.mark.parametrize("asked", [0.0, 8.0, 15.0])
def test_near_its_seat_a_valve_is_only_asked_again(asked: float) -> None:
    """No exercise shuts a throttled supply, nor opens what people shut."""
    bay = valve()
    bay.block.taken = {bay.output: (16, asked)}
    bay.run(600, **{**JAM, "v3.feedback": 60.0})
    assert len(bay.began()) == 3
    assert set(bay.requests()) == {asked}


def test_three_in_a_day_across_reboots() -> None:
    """A restart ends the attempt, and neither its count nor the pause between two."""
    bay = valve()
    bay.run(7, **JAM)
    assert bay.block["state"] == ACTING
    first = bay.began()[0]
    for _ in range(4):
        again = Instance(CORRECTION, VALVE)
        again.taken, again.st[:] = bay.block.taken, bay.block.st
        bay.block, bay.now = again, bay.now + 10
        bay.run(60)
    bay.run(600)
    assert len(bay.began()) == 3
    assert bay.began()[1] - first >= 45
    assert bay.block["state"] == FAILED


def test_the_fourth_fault_of_a_day_waits_for_people_and_the_next_day_is_new() -> None:
    """What is corrected at once uses one attempt each; the fourth in 24 h is not tried."""
    bay = valve()
    for _ in range(3):
        bay.run(6, **JAM)
        bay.run(120, **{"v3.feedback": 80.0, "z3.pressure": 0.4, "fault": 0.0})
    assert [state for _, state in bay.states].count(CORRECTED) == 3
    assert bay.run(10, **JAM) == FAILED
    assert bay.run(20, **{"v3.feedback": 80.0, "fault": 0.0}) == READY
    bay.now += DAY
    bay.run(7, **JAM)
    assert len(bay.began()) == 4


def test_three_successes_in_a_week_are_a_recurring_fault() -> None:
    """The counter counts seven days, and its third raises a P2 of its own."""
    bay = valve()
    for k in range(3):
        bay.run(6, **JAM)
        bay.run(120, **{"v3.feedback": 80.0, "z3.pressure": 0.4, "fault": 0.0})
        assert bay.block["week"] == k + 1
        bay.now += 2 * DAY
    (alarm,) = [a for a in CORRECTION.alarms(bay.block.model) if a.id == "{RULE}_RECURRING"]
    assert (alarm.priority, alarm.when) == (2, "{rule}.week >= 3")
    bay.now += 2.5 * DAY
    bay.run(1)
    assert bay.block["week"] == 2


def test_an_attempt_that_makes_it_worse_is_the_last() -> None:
    """After it the pressure is lower than before: no second one."""
    bay = valve()
    bay.run(10, **JAM)
    bay.run(120, **{"z3.pressure": 0.26})
    assert bay.block["state"] == FAILED
    assert len(bay.began()) == 1
    other = valve()
    other.run(10, **JAM)
    other.run(120, **{"v3.feedback": 15.0})
    assert (other.block["state"], len(other.began())) == (FAILED, 1)


@pytest.mark.parametrize("slot", [Slot.PROTECT, Slot.LOCAL, Slot.REMOTE])
def test_a_person_or_a_protection_is_not_disturbed(slot: int) -> None:
    """While a stronger slot holds the valve nothing is tried; a running attempt is withdrawn."""
    bay = valve()
    bay.block.taken["v3.position"] = (slot, 60.0)
    assert bay.run(60, **JAM) == WAITING
    assert bay.requests() == []
    bay.block.taken["v3.position"] = (16, 80.0)
    bay.run(1)
    assert bay.block["state"] == ACTING
    bay.block.taken["v3.position"] = (slot, 60.0)
    assert bay.run(1) == WAITING
    assert isnan(bay.block.request("v3.position"))


@pytest.mark.parametrize("lost", ["fault", "v3.feedback"])
def test_nothing_is_tried_blindly(lost: str) -> None:
    """Without its feedback no attempt begins, and one that runs is withdrawn."""
    bay = valve()
    bay.run(60, **(JAM | {lost: nan}))
    assert bay.began() == []
    bay.run(8, **JAM)
    assert bay.block["state"] in (ACTING, CHECKING)
    assert bay.run(1, **{lost: nan}) == WAITING
    assert isnan(bay.block.request("v3.position"))


def test_a_hand_switch_is_not_fought() -> None:
    """The valve is in HAND: it is off its command because somebody wants it so."""
    bay = valve()
    assert bay.run(60, **(JAM | {"v3.auto": 0.0})) == WAITING
    assert bay.began() == []


DRIVE = {
    "cause": "undervoltage", "fault": "p1.fault", "output": "p1.reset", "run": "p1.run",
    "running": "p1.running",
}  # fmt: skip


def drive(cause: str = "undervoltage") -> Bay:
    bay = Bay(DRIVE | {"cause": cause}, **{"p1.fault": 0.0, "p1.running": 1.0})
    bay.block.taken = {"p1.reset": (16, 0.0), "p1.run": (14, 1.0)}
    return bay


def test_a_drive_is_reset_and_restarted_after_thirty_seconds() -> None:
    """A pulse of 2 s, kept off for 30 s, corrected when it has run for 120 s."""
    bay = drive()
    bay.run(5.5, **{"p1.fault": 1.0, "p1.running": 0.0})
    assert (bay.block["state"], bay.block.request("p1.reset")) == (ACTING, 1.0)
    bay.run(2)
    assert (bay.block.request("p1.reset"), bay.block.request("p1.run")) == (0.0, 0.0)
    bay.run(27.5, **{"p1.fault": 0.0})
    assert bay.block.request("p1.run") == 0.0
    bay.run(1)
    assert isnan(bay.block.request("p1.run"))
    assert isnan(bay.block.request("p1.reset"))
    bay.run(5, **{"p1.running": 1.0})
    assert bay.run(114) == CHECKING
    assert bay.run(3) == CORRECTED


@pytest.mark.parametrize("cause", ["undervoltage", "communication"])
def test_a_drive_is_restarted_twice_in_an_hour(cause: str) -> None:
    """2 in an hour, 3 in a day; the third waits for the hour to be over."""
    bay = drive(cause)
    bay.run(3 * 3600, **{"p1.fault": 1.0, "p1.running": 0.0})
    starts = bay.began()
    assert len(starts) == 3
    assert starts[1] - starts[0] < 300
    assert starts[2] - starts[0] >= 3600
    assert bay.block["state"] == FAILED


def test_lamps_that_do_not_answer_get_their_level_twice_in_a_day() -> None:
    """Sent again, proved by the level read back within 30 s; the third fault of a day is people's,
    and nothing but the level that was asked is ever sent."""
    options = {
        "cause": "no_response", "fault": "lost", "output": "dimmer", "feedback": "level",
    }  # fmt: skip
    bay = Bay(options, **{"lost": 0.0, "level": 80.0})
    bay.run(300, **{"lost": 1.0, "level": 0.0})
    first, second = bay.began()
    assert second - first >= 30
    assert bay.block["state"] == FAILED
    assert bay.requests() == [80.0, 80.0]
    bay.run(60, **{"lost": 0.0, "level": 80.0})
    bay.run(3600, **{"lost": 1.0, "level": 0.0})
    assert len(bay.began()) == 2
    bay.run(60, **{"lost": 0.0, "level": 80.0})
    bay.now += 86400.0
    bay.run(60)
    assert bay.run(6, **{"lost": 1.0, "level": 0.0}) == ACTING


def test_a_low_pressure_raises_the_setpoint_in_three_steps() -> None:
    """+0.01 MPa each ten minutes up to +0.03, then given back with the alarm."""
    options = {
        "cause": "pressure_low", "fault": "low", "output": "supply", "pressure": "z3.pressure",
    }  # fmt: skip
    bay = Bay(options, **{"low": 0.0, "z3.pressure": 0.31})
    bay.block.taken = {"supply": (16, 0.40)}
    bay.run(3600, **{"low": 1.0, "z3.pressure": 0.29})
    assert bay.requests() == pytest.approx([0.41, 0.42, 0.43])
    starts = [t for t, value in bay.asked if not isnan(value)]
    assert all(b - a >= 600 for a, b in pairwise(starts))
    assert bay.block["state"] == FAILED
    assert isnan(bay.block.request("supply"))
    good = Bay(options, **{"low": 0.0, "z3.pressure": 0.31})
    good.block.taken = {"supply": (16, 0.40)}
    good.run(10, **{"low": 1.0, "z3.pressure": 0.29})
    assert good.run(30, **{"low": 0.0, "z3.pressure": 0.31}) == CORRECTED
    good.run(8 * 3600 - 60)
    assert good.block.request("supply") == pytest.approx(0.41)
    good.run(120)
    assert isnan(good.block.request("supply"))


def test_ten_actions_an_hour_for_all_together() -> None:
    """Twelve valves jam at once: ten actions in the first hour, whoever makes them."""
    rules = {
        f"c{i}": (
            "correction",
            {"cause": "valve_position", "fault": f"f{i}.on", "output": f"v{i}.position",
             "feedback": f"v{i}.feedback"},
        )
        for i in range(12)
    }  # fmt: skip
    bench = Bench(site_of(rules))
    bench.taken = {f"v{i}.position": (16, 80.0) for i in range(12)}
    for k in range(8000):
        for i in range(12):
            bench[f"f{i}.on"], bench[f"v{i}.feedback"] = 1.0, 20.0
        bench.step(0.5 * k)
        spent = sum(bench[f"c{i}.hour"] for i in range(12))
        assert spent <= 10
    assert spent > 0
    assert sum(bench[f"c{i}.attempts"] for i in range(12)) > 10


@pytest.mark.parametrize("cause", sorted(PEOPLE_ONLY))
def test_some_faults_belong_to_people(cause: str) -> None:
    """Overload, earth fault, over-temperature, flood and fire are refused by name."""
    with pytest.raises(ValidationError, match="only by people"):
        Instance(CORRECTION, VALVE | {"cause": cause})


@pytest.mark.parametrize(
    "options",
    [
        {**VALVE, "feedback": None},
        {**DRIVE, "running": None},
        {**DRIVE, "run": None},
        {**VALVE, "cause": "pressure_low", "pressure": None},
        {**VALVE, "attempts": 4},
        {**VALVE, "cause": "switch"},
    ],
)
def test_what_cannot_be_proved_is_refused(options: dict[str, Any]) -> None:
    """Each cause needs what tells whether an attempt helped; limits only go down."""
    with pytest.raises(ValidationError):
        Instance(CORRECTION, options)
