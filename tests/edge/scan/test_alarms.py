"""Alarm states (domain.md §2.2), on flags set by hand instead of by the kernel."""

from __future__ import annotations

import json
import math

from edge.image import quality
from edge.image.image import ProcessImage
from edge.scan.alarms import Alarms, State
from tests.support.records import alarm

A, B = "A", "B"


class Rig:
    """Two alarms whose flags are the image's first cells; `B` latches."""

    def __init__(self) -> None:
        self.image = ProcessImage(1, (), 4)
        self.image.value[0], self.image.quality[0] = 7.5, 0
        self.image.value[1:] = 0
        self.now = 0.0
        definitions = [
            alarm(A, shows=("p",), re_alarm=1800.0),
            alarm(B, latch=True, priority=1),
        ]
        self.alarms = Alarms(definitions, self.image, {"p": 0}, (1, 2), (3, 4))

    def step(self, a: float | None = None, b: float | None = None, after: float = 1.0) -> list[str]:
        self.now += after
        for cell, value in ((1, a), (2, b)):
            if value is not None:
                self.image.value[cell] = value
        return [
            f"{t.alarm.id} {t.before}>{t.state}" for t in self.alarms.step(self.now, self.now + 1e9)
        ]

    def state(self, name: str) -> State:
        return self.alarms.states[name].state


def test_acknowledged_before_it_clears_it_ends_normal() -> None:
    """UNACK, ACKED, NORMAL; each change is one transition."""
    rig = Rig()
    assert rig.step(a=1) == ["A NORMAL>UNACK"]
    assert rig.step(a=1) == []
    assert rig.alarms.acknowledge(A, 1, "lisi", rig.now, 0.0)
    assert rig.step() == ["A UNACK>ACKED"]
    assert rig.step(a=0) == ["A ACKED>NORMAL"]


def test_cleared_before_acknowledged_it_waits_for_a_person() -> None:
    """RTN_UNACK until acknowledged; a new activation counts a new occurrence."""
    rig = Rig()
    rig.step(a=1)
    assert rig.step(a=0) == ["A UNACK>RTN_UNACK"]
    assert rig.step(a=1) == ["A RTN_UNACK>UNACK"]
    assert rig.alarms.states[A].occurrence == 2
    assert not rig.alarms.acknowledge(A, 1, "lisi", rig.now, 0.0), "a late tap on the first one"
    rig.step(a=0)
    assert rig.alarms.acknowledge(A, 2, "lisi", rig.now, 0.0)
    assert rig.step() == ["A RTN_UNACK>NORMAL"]


def test_a_latched_alarm_needs_a_reset_after_its_cause_is_gone() -> None:
    """Reset while active is refused; after ACK and clearing it ends the alarm."""
    rig = Rig()
    rig.step(b=1)
    rig.alarms.acknowledge(B, None, "lisi", rig.now, 0.0)
    assert not rig.alarms.reset(B, "lisi", rig.now, 0.0)
    assert rig.step(b=0)[-1] == "B ACKED>LATCHED_ACKED"
    assert rig.alarms.reset(B, "lisi", rig.now, 0.0)
    assert rig.step() == ["B LATCHED_ACKED>NORMAL"]


def test_a_latched_alarm_that_returns_is_new() -> None:
    """LATCHED_* with the cause back is UNACK again."""
    rig = Rig()
    rig.step(b=1)
    assert rig.step(b=0) == ["B UNACK>LATCHED_UNACK"]
    assert rig.step(b=1) == ["B LATCHED_UNACK>UNACK"]


def test_an_acknowledged_alarm_sounds_again_after_its_time() -> None:
    """`re_alarm` turns ACKED back into UNACK without a new occurrence."""
    rig = Rig()
    rig.step(a=1)
    rig.alarms.acknowledge(A, 1, "lisi", rig.now, 0.0)
    rig.step()
    assert rig.step(after=1700.0) == []
    assert rig.step(after=200.0) == ["A ACKED>UNACK"]
    assert rig.alarms.states[A].occurrence == 1


def test_a_suppressed_alarm_is_silent_and_recomputed_when_the_reason_ends() -> None:
    """While suppressed nothing is raised; afterwards an active one is UNACK."""
    rig = Rig()
    rig.image.value[3] = 1.0
    assert rig.step(a=1) == []
    assert rig.state(A) is State.SUPPRESSED
    rig.image.value[3] = 0.0
    assert rig.step() == ["A SUPPRESSED>UNACK"]


def test_suppression_with_a_bad_input_does_not_suppress() -> None:
    """Nobody knows whether the reason holds, so people are told."""
    rig = Rig()
    rig.image.value[3] = 1.0
    rig.image.quality[3] = quality.COMM
    assert rig.step(a=1) == ["A NORMAL>UNACK"]


def test_numbers_are_those_of_the_moment_it_was_raised() -> None:
    """The points that the alarm shows are kept with it; values nobody knows are left out."""
    rig = Rig()
    rig.step(a=1)
    assert rig.alarms.states[A].numbers == {"p": 7.5}
    rig.image.value[0] = math.nan
    assert rig.alarms.live_numbers(rig.alarms.states[A].alarm) == {}


def test_nothing_sounds_again_merely_because_of_a_restart() -> None:
    """S32: an acknowledged alarm that is still active stays so; a latched one can be reset."""
    rig = Rig()
    rig.step(a=1, b=1)
    rig.alarms.acknowledge(A, None, "lisi", rig.now, 0.0)
    rig.alarms.acknowledge(B, None, "lisi", rig.now, 0.0)
    rig.step(b=0)
    kept = json.loads(json.dumps(rig.alarms.retain()))

    again = Rig()
    again.alarms.restore(kept)
    assert again.step(a=1, b=0) == []
    assert again.state(A) is State.ACKED
    assert again.alarms.reset(B, "lisi", again.now, 0.0)


def test_an_alarm_waits_until_it_is_known_whether_it_is_suppressed() -> None:
    """At a start what suppresses it was not read yet: nothing is told until it was."""
    rig = Rig()
    rig.image.quality[3:] = quality.NEVER
    assert rig.step(a=1, b=1) == []
    rig.image.value[3] = 1.0
    rig.image.quality[3:] = 0
    assert rig.step() == ["B NORMAL>UNACK"]
    assert rig.state(A) is State.SUPPRESSED


def test_an_alarm_does_not_wait_for_ever_for_what_suppresses_it() -> None:
    """Ten seconds after the start nobody knows still, so people are told."""
    rig = Rig()
    rig.image.quality[3] = quality.NEVER
    assert rig.step(a=1) == []
    assert rig.step(after=9.9) == []
    assert rig.step(after=0.2) == ["A NORMAL>UNACK"]


def test_a_cause_that_went_away_during_the_restart_clears() -> None:
    """The process is evaluated anew: what was active and is not any more goes its way."""
    rig = Rig()
    rig.step(a=1, b=1)
    kept = rig.alarms.retain()

    again = Rig()
    again.alarms.restore(kept)
    assert sorted(again.step(a=0, b=0)) == ["A UNACK>RTN_UNACK", "B UNACK>LATCHED_UNACK"]
