"""A register that somebody else changed: told once, written again, and never in a war."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edge.driver import Write
from edge.events import Events
from edge.image import quality
from edge.scan.elsewhere import AGAIN
from edge.scan.outputs import Outputs
from tests.edge.scan.test_outputs import HOA, OWN, Rig

SETTLE = 5.0


class Register(Rig):
    """The rig's output as a register that keeps what it is given, read once a second."""

    def __init__(self, **limits: float) -> None:
        super().__init__(**{"settle": SETTLE, "tolerance": 1.0} | limits)
        self.held = 10.0
        self.keeps = True
        self.told: list[dict[str, float]] = []
        self.writes: list[float] = []
        self._watch(self.events)
        self.released(self.held)

    def _watch(self, events: Events) -> None:
        events.watch(lambda e, f: self.told.append(f) if e.code == "changed-elsewhere" else None)

    def run(self, seconds: float, target: float) -> list[float]:
        """So long; returns what was written meanwhile."""
        before = len(self.writes)
        for _ in range(round(seconds)):
            self.now += 1.0
            self.read(OWN, self.held)
            for value in self.step(target, after=0.0):
                self.writes.append(value)
                if self.keeps:
                    self.held = value
                self.acknowledge(value)
        return self.writes[before:]

    def acknowledge(self, value: float) -> None:
        (wire,) = self.outputs.wires
        self.outputs.written(Write("d", wire.point, value, 14), self.now)


def test_it_is_told_once_and_written_again() -> None:
    """With both values; when it holds again, the next change is a new one."""
    rig = Register()
    assert rig.run(10, 50.0) == [50.0]
    rig.held = 20.0
    assert rig.run(20, 50.0) == [50.0]
    assert rig.told == [{"point": "d.out", "value": 50.0, "seen": 20.0}]
    rig.run(AGAIN, 50.0)
    rig.held = 30.0
    assert rig.run(20, 50.0) == [50.0]
    assert [fields["seen"] for fields in rig.told] == [20.0, 30.0]


def test_two_masters_do_not_wear_a_register_out() -> None:
    """Whoever writes it every second gets an answer once a minute, and one event per value."""
    rig = Register()
    rig.run(10, 50.0)
    rig.keeps = False
    rig.held = 20.0
    assert len(rig.run(10 * AGAIN, 50.0)) == 10
    assert len(rig.told) == 1
    rig.held = 25.0
    rig.run(5, 50.0)
    assert len(rig.told) == 2
    assert not rig.outputs.following[0]  # control has no effect: that is the alarm's


@pytest.mark.parametrize("value", [50.9, 49.1, 50.0])
def test_what_a_device_makes_of_a_value_is_no_change(value: float) -> None:
    """Rounding, noise of a position: within the output's tolerance."""
    rig = Register()
    rig.run(10, 50.0)
    rig.held = value
    assert rig.run(100, 50.0) == []
    assert rig.told == []


def test_a_device_that_limits_or_travels_was_never_there() -> None:
    """It stays at 40, or goes there and on: it has not shown 50 and so did not leave it."""
    rig = Register()
    rig.keeps = False
    rig.held = 40.0
    rig.run(100, 50.0)
    for rig.held in range(40, 50):
        rig.run(1, 50.0)
    assert (len(rig.writes), rig.told) == (1, [])


def test_before_it_has_settled_nothing_counts() -> None:
    """A read-back right after the write may still be the old one, or overshoot."""
    rig = Register()
    rig.run(10, 50.0)
    rig.run(1, 60.0)
    rig.held = 75.0
    rig.run(SETTLE - 2, 60.0)
    rig.held = 60.0
    rig.run(60, 60.0)
    assert (rig.writes, rig.told) == ([50.0, 60.0], [])


def test_a_hand_switch_and_bad_values_speak_for_themselves() -> None:
    """While a person has it, nothing is told or written; afterwards it is ours again."""
    rig = Register()
    rig.run(10, 50.0)
    rig.read(HOA, 0.0)
    rig.held = 0.0
    assert rig.run(60, 50.0) == []
    rig.read(HOA, 1.0)
    assert rig.told == []
    assert rig.run(5, 50.0) == [50.0]
    rig.told.clear()
    rig.run(10, 50.0)
    for _ in range(100):
        rig.now += 1.0
        rig.read(OWN, 3.0, quality.COMM)
        assert rig.step(50.0, after=0.0) == []
    assert rig.told == []


def test_what_nobody_asks_for_is_anybody_s() -> None:
    """Let go: whoever else writes it may."""
    rig = Register()
    rig.run(10, 50.0)
    rig.run(2, math.nan)
    rig.held = 20.0
    writes = rig.run(100, math.nan)
    assert (writes, rig.told) == ([], [])


def test_what_was_adopted_at_a_start_is_watched_too() -> None:
    """The device held the wanted value, so it was never written; then somebody changes it."""
    rig = Register()
    assert rig.run(5, 10.0) == []
    rig.held = 30.0
    assert rig.run(5, 10.0) == [10.0]
    assert [fields["seen"] for fields in rig.told] == [30.0]


def test_a_device_with_a_ladder_of_its_own_is_left_alone() -> None:
    """A stronger owner there is OVERRIDDEN, not a fault."""
    rig = Register()
    wire = replace(rig.outputs.wires[0], priorities=True)
    rig.outputs = Outputs([wire], rig.image, rig.events)
    rig.released(10.0)
    rig.run(10, 50.0)
    rig.held = 20.0
    assert rig.run(100, 50.0) == []
    assert rig.told == []


def test_a_device_that_forgot_is_not_one_that_was_changed() -> None:
    """It came back without its value: written again, and nobody else is blamed."""
    rig = Register()
    rig.run(10, 50.0)
    rig.outputs.returned("d", rig.now + 0.5)
    rig.held = 0.0
    assert rig.run(10, 50.0) == [50.0]
    assert rig.told == []
