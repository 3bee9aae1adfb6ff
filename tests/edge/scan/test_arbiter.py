"""The ladder: who wins, minimum times, starts per hour, rate of change (domain.md §0.3, §0.4)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.image.image import ProcessImage
from edge.image.slots import SLOTS, Slot
from edge.scan.arbiter import Arbiter
from tests.support.records import output

NEVER = math.inf


class Rig:
    """One output on the ladder, stepped ten times a second."""

    def __init__(self, **limits: Any) -> None:
        self.image = ProcessImage(1, (0,), 0)
        self.arbiter = Arbiter(self.image, ["out"], [output(**limits)])
        self.held = np.zeros(1, bool)
        self.now = 0.0

    def ask(self, slot: Slot, value: float, expires: float = NEVER) -> None:
        self.arbiter.ask(slot, 0, value, expires)

    def run(self, seconds: float = 0.1) -> float:
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 1)
            self.arbiter.expire(self.now)
            self.arbiter.step(self.now, self.held)
        return float(self.image.target[0])


def test_the_ladder_of_s42() -> None:
    """Protection 0, then the remote's 80, then after its lease control's 60."""
    rig = Rig()
    rig.ask(Slot.CONTROL, 60.0)
    rig.ask(Slot.REMOTE, 80.0, expires=30.0)
    rig.ask(Slot.PROTECT, 0.0)
    assert rig.run() == 0.0
    rig.ask(Slot.PROTECT, math.nan)
    assert rig.run() == 80.0
    assert rig.image.owner[0] == Slot.REMOTE
    assert rig.run(30.0) == 60.0
    assert rig.image.owner[0] == Slot.CONTROL


@pytest.mark.parametrize("limits", [{}, {"min_off": 120.0}, {"rate": 2.0}])
def test_what_is_settled_is_not_decided_again(limits: dict[str, Any]) -> None:
    """Nothing is due until somebody asks for something else, with minimum times or without."""
    rig = Rig(**limits)
    rig.ask(Slot.CONTROL, 1.0)
    rig.run(5.0)
    assert rig.arbiter.due == math.inf
    rig.ask(Slot.CONTROL, 0.0)
    assert rig.arbiter.due == -math.inf
    assert rig.run(5.0) == 0.0


def test_a_pump_just_stopped_by_a_protection_rests_its_minimum_time() -> None:
    """S42: slot 6 holds 0 for 120 s from the stop, against the remote as well."""
    rig = Rig(min_off=120.0)
    rig.ask(Slot.CONTROL, 1.0)
    rig.run(300.0)
    rig.ask(Slot.PROTECT, 0.0)
    rig.run(10.0)
    rig.ask(Slot.PROTECT, math.nan)
    rig.ask(Slot.REMOTE, 1.0)
    assert rig.run(109.0) == 0.0
    assert rig.image.owner[0] == Slot.MIN_TIME
    assert rig.run(2.0) == 1.0


def test_minimum_on_holds_against_control_but_not_against_a_protection() -> None:
    """A started pump runs its minimum time; a protection stops it at once."""
    rig = Rig(min_on=60.0)
    rig.ask(Slot.CONTROL, 0.0)
    rig.run()
    rig.ask(Slot.CONTROL, 1.0)
    rig.run(1.0)
    rig.ask(Slot.CONTROL, 0.0)
    assert rig.run(50.0) == 1.0
    rig.ask(Slot.PROTECT, 0.0)
    assert rig.run() == 0.0


def test_more_starts_than_allowed_wait_until_the_oldest_leaves_the_hour() -> None:
    """The third start within an hour of a pump with two is deferred, and said once."""
    rig = Rig(max_starts=2)
    rig.ask(Slot.CONTROL, 0.0)
    rig.run()
    starts = []
    for _ in range(3):
        rig.ask(Slot.CONTROL, 1.0)
        rig.run(60.0)
        starts.append(float(rig.image.target[0]))
        rig.ask(Slot.CONTROL, 0.0)
        rig.run(60.0)
    assert starts == [1.0, 1.0, 0.0]
    assert [name for name, _ in rig.arbiter.deferred] == ["out"]
    rig.ask(Slot.CONTROL, 1.0)
    assert rig.run(3600.0) == 1.0


def test_a_reboot_does_not_defeat_a_minimum_time() -> None:
    """Stop, restart of the controller, and the rest of the pause still holds."""
    rig = Rig(min_off=120.0)
    rig.ask(Slot.CONTROL, 1.0)
    rig.run(200.0)
    rig.ask(Slot.CONTROL, 0.0)
    rig.run(30.0)

    again = Rig(min_off=120.0)
    again.arbiter.restore(rig.arbiter.retain())
    again.now = rig.now
    again.arbiter.adopt(0, 0.0, again.now)
    again.ask(Slot.CONTROL, 1.0)
    assert again.run(85.0) == 0.0
    assert again.run(10.0) == 1.0


def test_a_rated_output_moves_no_faster_than_its_rate() -> None:
    """2 %/s from an adopted 80 towards 65 takes 7.5 s and never overshoots."""
    rig = Rig(rate=2.0)
    rig.arbiter.adopt(0, 80.0, 0.0)
    rig.ask(Slot.REMOTE, 65.0)
    before = 80.0
    for _ in range(80):
        value = rig.run()
        assert before - 1.0 - 1e-9 <= value <= before
        before = value
    assert before == pytest.approx(65.0)


def test_a_held_output_keeps_what_the_device_does() -> None:
    """Before its inputs are known nothing moves its target."""
    rig = Rig()
    rig.held[0] = True
    rig.image.target[0] = 42.0
    rig.ask(Slot.CONTROL, 0.0)
    assert rig.run() == 42.0


def test_an_output_that_cannot_be_read_goes_on_as_it_was_kept() -> None:
    """A pump that ran before the restart is no pump that has just been stopped."""
    before = Rig(min_off=300.0, min_on=60.0)
    before.ask(Slot.CONTROL, 1.0)
    before.run(100.0)
    rig = Rig(min_off=300.0, min_on=60.0)
    rig.now = before.now
    rig.arbiter.restore(before.arbiter.retain())
    rig.arbiter.adopt(0, math.nan, rig.now)
    rig.ask(Slot.CONTROL, 1.0)
    assert rig.run() == 1.0
    assert rig.image.owner[0] == Slot.CONTROL


def test_the_default_stands_when_nobody_asks() -> None:
    """Slot 16; without a default nobody owns the output."""
    assert Rig(default=60.0).run() == 60.0
    rig = Rig()
    assert math.isnan(rig.run())
    assert rig.image.owner[0] == 0


@given(st.lists(st.tuples(st.integers(1, SLOTS), st.floats(-1e6, 1e6)), max_size=30))
def test_the_target_is_always_what_the_strongest_requester_asked(
    asks: list[tuple[int, float]],
) -> None:
    """The arbiter never emits a value nobody asked for."""
    rig = Rig()
    latest: dict[int, float] = {}
    for slot, value in asks:
        rig.arbiter.ask(slot, 0, value, NEVER)
        latest[slot] = value
        assert rig.run() == latest[min(latest)]
        assert rig.image.owner[0] == min(latest)


MOST, MIN_ON, MIN_OFF = 2, 60.0, 120.0
EVENTS = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "protect", "free", "reboot"]),
    st.sampled_from([Slot.REMOTE, Slot.CONTROL]),
    st.sampled_from([0.0, 1.0, math.nan]),
    st.sampled_from([0.1, 10.0, 70.0, 130.0]),  # seconds until the next one
)


class Motor:
    """An output with all limits, whose controller may be killed at any moment."""

    def __init__(self) -> None:
        self.now, self.on = 0.0, False
        self.switched: list[tuple[float, bool]] = []
        self.asked: dict[Slot, float] = {}
        self._controller(None)

    def _controller(self, kept: Any) -> None:
        self.rig = Rig(min_on=MIN_ON, min_off=MIN_OFF, max_starts=MOST)
        if kept is not None:
            self.rig.arbiter.restore(kept)
            self.rig.arbiter.adopt(0, float(self.on), self.now)
        for slot, value in self.asked.items():
            self.rig.ask(slot, value)

    def reboot(self) -> None:
        self._controller(self.rig.arbiter.retain())

    def ask(self, slot: Slot, value: float) -> None:
        self.asked[slot] = value
        self.rig.ask(slot, value)

    def run(self, seconds: float) -> None:
        self.rig.now = self.now
        until = self.now + seconds
        while self.now < until:
            step = 0.1 if until - self.now < 1.0 else 1.0
            self.now = self.rig.now = round(self.now + step, 1)
            self.rig.arbiter.expire(self.now)
            self.rig.arbiter.step(self.now, self.rig.held)
            target = float(self.rig.image.target[0])
            on = target > 0  # NaN: nobody asks; the device is taken as off
            if on != self.on:
                self.on = on
                self.switched.append((self.now, on))
            if self.asked.get(Slot.PROTECT) == 0.0:
                assert not on, "a protection may always stop"


@given(st.lists(EVENTS, min_size=20, max_size=60))
def test_no_sequence_of_requests_and_reboots_starts_too_often(
    events: list[tuple[str, Slot, float, float]],
) -> None:
    """Whoever asks, remote or rule, over reboots: never more than two starts in an hour, never a
    start within the pause, never a stop within the minimum time but by a protection."""
    motor = Motor()
    motor.ask(Slot.DEFAULT, 0.0)
    motor.run(1.0)
    protected: list[tuple[float, float]] = []
    for what, slot, value, pause in events:
        if what == "reboot":
            motor.reboot()
        elif what == "ask":
            motor.ask(slot, value)
        else:
            motor.ask(Slot.PROTECT, 0.0 if what == "protect" else math.nan)
        began = motor.now
        motor.run(pause)
        if motor.asked.get(Slot.PROTECT) == 0.0:
            protected.append((began, motor.now))
    starts = [t for t, on in motor.switched if on]
    assert all(b - a > 3600 - 1e-6 for a, b in zip(starts, starts[MOST:], strict=False))
    for (before, was_on), (after, _) in itertools.pairwise(motor.switched):
        if was_on and any(a <= after <= b for a, b in protected):
            continue
        assert after - before >= (MIN_ON if was_on else MIN_OFF) - 1e-6
