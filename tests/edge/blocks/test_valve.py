"""Valve supervision: each state with its time, modulating commands, lost feedback."""

from __future__ import annotations

from math import nan

import pytest

from edge.blocks.valve import (
    END_NOT_REACHED,
    MOVING,
    NO_FEEDBACK,
    NOT_MOVING,
    OK,
    POSITION_ERROR,
    UNCOMMANDED_MOVE,
    VALVE,
)
from tests.support.block import Instance


class Actuator:
    """A supervised valve with a motor of 2 %/s and a clock; `jammed` stops the motor."""

    def __init__(self, position: float = 80.0, **options: object) -> None:
        self.block = Instance(VALVE, {"command": "v3.command", "position": "v3.position"} | options)
        self.command = self.position = position
        self.jammed = False
        self.now = 0.0
        self.run(0.5)

    def run(self, seconds: float) -> float:
        """Let time pass; gives the last state."""
        for _ in range(round(seconds / 0.5)):
            if not self.jammed:
                step = min(max(self.command - self.position, -1.0), 1.0)
                self.position += step
            self.block["v3.command"], self.block["v3.position"] = self.command, self.position
            self.block.step(self.now)
            self.now += 0.5
        return self.block["state"]


def test_a_healthy_stroke() -> None:
    """It moves, arrives, and stands: no fault at any time."""
    valve = Actuator()
    valve.command = 20.0
    assert valve.run(25) == MOVING
    assert valve.run(10) == OK
    assert valve.run(600) == OK


def test_a_jammed_valve() -> None:
    """60 % in 30 s: not moving after 9 s, a position error after 44 s, gone when it arrives."""
    valve = Actuator()
    valve.command, valve.jammed = 20.0, True
    assert valve.run(9) == MOVING
    assert valve.run(0.5) == NOT_MOVING
    assert valve.run(34.5) == NOT_MOVING
    assert valve.run(1) == POSITION_ERROR
    assert valve.block["deviation"] == -60.0
    valve.jammed = False
    assert valve.run(40) == OK


def test_a_small_move_has_at_least_five_seconds() -> None:
    """10 % in 5 s of travel: 0.3 of it would be shorter than the first movement may take."""
    valve = Actuator()
    valve.command, valve.jammed = 70.0, True
    assert valve.run(5) == MOVING
    assert valve.run(0.5) == NOT_MOVING


def test_a_move_without_a_command() -> None:
    """S01: more than 5 % although the command has stood for a minute; a new command ends it."""
    valve = Actuator()
    valve.run(60)
    valve.jammed, valve.position = True, 75.5
    assert valve.run(1) == OK
    valve.position = 74.5
    assert valve.run(0.5) == UNCOMMANDED_MOVE
    assert valve.run(3600) == UNCOMMANDED_MOVE
    valve.command, valve.jammed = 40.0, False
    assert valve.run(60) == OK


def test_a_valve_that_does_not_close() -> None:
    """A close command that ends at 4 % is within the position tolerance and still not closed."""
    valve = Actuator(position=30.0)
    valve.command = 0.0
    valve.run(13)
    valve.position, valve.jammed = 4.0, True
    assert valve.run(20) == END_NOT_REACHED
    valve.position = 2.0
    assert valve.run(0.5) == OK


def test_a_modulated_jammed_valve_is_found() -> None:
    """A controller that moves the command every second does not postpone the verdict for ever."""
    valve = Actuator(position=50.0)
    valve.jammed = True
    states = []
    for _ in range(60):
        valve.command -= 0.6
        states.append(valve.run(1))
    assert states[-1] in (NOT_MOVING, POSITION_ERROR)
    assert valve.run(60) == POSITION_ERROR


def test_a_modulated_healthy_valve_is_left_alone() -> None:
    """A command that wanders within the actuator's speed raises nothing."""
    valve = Actuator(position=50.0)
    for k in range(200):
        valve.command += 1.0 if (k // 20) % 2 else -1.0
        assert valve.run(1) in (OK, MOVING)


def test_lost_feedback_is_its_own_state() -> None:
    """Without feedback nothing else is claimed; where it reappears is not an uncommanded move."""
    valve = Actuator()
    valve.run(100)
    valve.block["v3.position"] = nan
    valve.block.step(valve.now)
    assert valve.block["state"] == NO_FEEDBACK
    assert valve.block["deviation"] != valve.block["deviation"]
    assert valve.run(1) == OK


def test_closing_may_take_longer_than_opening() -> None:
    """With its own closing time a slow closing stroke is in time."""
    valve = Actuator(travel="20s", closing="50s")
    valve.command = 20.0
    assert valve.run(28) == MOVING
    assert valve.run(600) == OK


@pytest.mark.parametrize("state", [NOT_MOVING, POSITION_ERROR, UNCOMMANDED_MOVE, END_NOT_REACHED])
def test_each_fault_has_an_alarm_that_the_zone_may_suppress(state: int) -> None:
    """Every fault state has one alarm with first checks, under the rule's suppression."""
    valve = Actuator(suppressed_by="zones.zone3 != 0")
    (alarm,) = [a for a in VALVE.alarms(valve.block.model) if a.when.endswith(f"== {state}")]
    assert alarm.suppressed_by == "zones.zone3 != 0"
    assert all(check.zh and check.en for check in alarm.checks)
