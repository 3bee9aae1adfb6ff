"""A valve whose position nobody sees: how far automatic requesters may move it (§1.13)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.scan.arbiter import Arbiter
from edge.scan.bounds import Seen
from tests.support.records import output

COMMAND, FEEDBACK = 0, 1
AUTOMATIC = (Slot.CORRECT, Slot.MAINTAIN, Slot.CONTROL, Slot.SCHEDULE, Slot.DEFAULT)


class Valve:
    """An output that moves a valve, seen by a feedback that may fail."""

    def __init__(self, kept: Any = None, low: float = 0.0, high: float = 100.0, **limits: Any):
        self.image = ProcessImage(2, (COMMAND,), 0)
        self.arbiter = Arbiter(
            self.image, ["v.position"], [output(**limits)], [Seen(0, FEEDBACK, low, high)]
        )
        self.held = np.zeros(1, bool)
        self.now = 0.0
        if kept is not None:
            self.arbiter.bounds.restore(kept)

    def see(self, value: float) -> None:
        self.image.value[FEEDBACK], self.image.quality[FEEDBACK] = value, quality.GOOD

    def lose(self, bits: int = quality.COMM) -> None:
        self.image.quality[FEEDBACK] = bits

    def ask(self, slot: Slot, value: float) -> None:
        self.arbiter.ask(slot, 0, value, math.inf)

    def run(self, seconds: float = 60.0) -> float:
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 1)
            self.arbiter.expire(self.now)
            self.arbiter.step(self.now, self.held)
        return float(self.image.target[0])

    @property
    def owner(self) -> int:
        return int(self.image.owner[0])


def seen_at(place: float, **limits: Any) -> Valve:
    """A valve that stands where it was sent, and then is lost from sight."""
    valve = Valve(**limits)
    valve.see(place)
    valve.arbiter.adopt(0, place, 0.0)
    valve.ask(Slot.DEFAULT, place)
    valve.run(1.0)
    valve.lose()
    return valve


@pytest.mark.parametrize("slot", AUTOMATIC)
@pytest.mark.parametrize(("asked", "got"), [(100.0, 60.0), (0.0, 40.0), (57.0, 57.0)])
def test_every_automatic_slot_is_bound(slot: Slot, asked: float, got: float) -> None:
    """Last seen at 50 %: 40 to 60 % is all that pid, schedule or correction get."""
    valve = seen_at(50.0)
    valve.ask(slot, asked)
    assert valve.run() == got
    assert valve.owner == slot
    assert valve.image.span[:, 0].tolist() == [40.0, 60.0]


@pytest.mark.parametrize("slot", [Slot.PROTECT, Slot.LOCAL, Slot.REMOTE])
def test_protections_and_people_are_not_bound(slot: Slot) -> None:
    """And they get it at once: nothing of this slows them."""
    valve = seen_at(50.0)
    valve.ask(Slot.CONTROL, 100.0)
    valve.run()
    valve.ask(slot, 0.0)
    assert valve.run(0.1) == 0.0


def test_what_a_person_did_meanwhile_does_not_move_the_bounds() -> None:
    """When the lease ends nothing of the command is left (§6.1 point 6)."""
    valve = seen_at(50.0)
    valve.ask(Slot.REMOTE, 90.0)
    assert valve.run() == 90.0
    valve.ask(Slot.REMOTE, math.nan)
    valve.ask(Slot.CONTROL, 100.0)
    assert valve.run() == 60.0


@pytest.mark.parametrize(("rate", "pace"), [(math.inf, 2.0), (5.0, 5.0), (1.0, 1.0)])
def test_to_the_bound_and_back_it_goes_by_its_rate(rate: float, pace: float) -> None:
    """2 % per second (§1.3) where the output has no rate; never a jump."""
    valve = seen_at(50.0, rate=rate)
    valve.ask(Slot.CONTROL, 100.0)
    before, fastest = 50.0, 0.0
    for second in range(80):
        if second == 40:
            assert before == 60.0
            valve.see(60.0)
        after = valve.run(1.0)
        fastest = max(fastest, abs(after - before))
        before = after
    assert before == 100.0
    assert fastest == pytest.approx(pace)


def test_a_valve_with_feedback_and_without_rate_is_sent_where_it_shall_go() -> None:
    """As ever: the actuator has its own speed."""
    valve = seen_at(50.0)
    valve.see(50.0)
    valve.run(1.0)
    valve.ask(Slot.CONTROL, 100.0)
    assert valve.run(0.1) == 100.0


def test_lost_on_its_way_it_stops_near_where_it_was_seen() -> None:
    """Sent to 100 %, seen at 70 % on its way: 80 %."""
    valve = seen_at(50.0)
    valve.see(50.0)
    valve.ask(Slot.CONTROL, 100.0)
    valve.run(1.0)
    valve.see(70.0)
    valve.run(0.1)
    valve.lose(quality.STALE)
    assert valve.run() == 80.0


def test_never_seen_it_stays_near_what_was_sent_last() -> None:
    """The read-back of the command at the start is what was sent last."""
    valve = Valve()
    valve.lose(quality.NEVER)
    valve.arbiter.adopt(0, 30.0, 0.0)
    valve.ask(Slot.CONTROL, 90.0)
    assert valve.run() == 40.0
    valve.ask(Slot.CONTROL, 0.0)
    assert valve.run() == 20.0


def test_where_nobody_knows_anything_nothing_is_sent_until_a_person_does() -> None:
    """A valve that is only written and was never seen: any value might be a whole stroke."""
    valve = Valve()
    valve.lose(quality.NEVER)
    valve.ask(Slot.CONTROL, 90.0)
    assert math.isnan(valve.run())
    assert valve.owner == 0
    valve.ask(Slot.LOCAL, 50.0)
    assert valve.run() == 50.0
    valve.ask(Slot.LOCAL, math.nan)
    assert valve.run() == 60.0


def test_a_range_that_is_not_a_hundred() -> None:
    """10 % of full range, and never beyond it."""
    valve = seen_at(25.0, low=0.0, high=30.0)
    valve.ask(Slot.CONTROL, 0.0)
    assert valve.run() == 22.0
    valve.ask(Slot.CONTROL, 30.0)
    assert valve.run() == 28.0
    assert seen_at(95.0).run() == 95.0


@pytest.mark.parametrize("last_sent", [58.0, math.nan])
def test_a_restart_in_the_middle_neither_frees_it_nor_moves_the_bounds(last_sent: float) -> None:
    """Whether or not the command can be read back."""
    valve = seen_at(50.0)
    valve.ask(Slot.CONTROL, 58.0)
    valve.run()
    again = Valve(valve.arbiter.bounds.retain())
    again.lose(quality.NEVER)
    again.arbiter.adopt(0, last_sent, 0.0)
    again.ask(Slot.CONTROL, 100.0)
    assert again.run() == 60.0
    again.see(60.0)
    assert again.run() == 100.0


STEPS = st.tuples(
    st.sampled_from(["see", "lose", "ask", "ask", "ask", "withdraw", "reboot"]),
    st.sampled_from((*AUTOMATIC, Slot.REMOTE, Slot.PROTECT)),
    st.floats(0, 100),
    st.sampled_from([0.1, 3.0, 60.0]),
)


@given(rate=st.sampled_from([math.inf, 1.0, 5.0]), steps=st.lists(STEPS, min_size=5, max_size=30))
@settings(deadline=None)
def test_no_sequence_moves_an_unseen_valve_far(
    rate: float, steps: list[tuple[str, Slot, float, float]]
) -> None:
    """Whoever asks what, over reboots: an automatic owner never moves it further from where it was
    seen than 10 %, but back towards there."""
    valve = Valve(rate=rate)
    valve.see(50.0)
    valve.arbiter.adopt(0, 50.0, 0.0)
    valve.ask(Slot.DEFAULT, 50.0)
    place, seen, asked = 50.0, True, {Slot.DEFAULT: 50.0}
    valve.run(0.1)
    for what, slot, value, pause in steps:
        if what == "see":
            valve.see(value)
            place, seen = value, True
        elif what == "lose":
            valve.lose()
            seen = False
        elif what == "reboot":
            sent = float(valve.image.target[0])
            again = Valve(valve.arbiter.bounds.retain(), rate=rate)
            if seen:
                again.see(place)
            else:
                again.lose(quality.NEVER)
            again.arbiter.adopt(0, sent, 0.0)
            for other, wanted in asked.items():
                again.ask(other, wanted)
            valve = again
        else:
            asked[slot] = value if what == "ask" else math.nan
            valve.ask(slot, asked[slot])
        for _ in range(round(pause * 10)):
            before = float(valve.image.target[0])
            after = valve.run(0.1)
            if not seen and valve.owner >= Slot.CORRECT:
                assert abs(after - place) <= max(10.0, abs(before - place)) + 1e-9
