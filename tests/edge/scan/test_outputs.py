"""When an output is written: readiness, deadband, hand switch, read-back, a device coming back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edge.driver import Write
from edge.events import Events
from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.scan.outputs import READ_WITHIN, Outputs
from edge.scan.wire import Wire
from tests.support.records import output

SENSOR, OWN, HOA = 0, 1, 2


class Rig:
    """One field output that needs a sensor, reads itself back and has a hand switch."""

    def __init__(self, **limits: float) -> None:
        self.image = ProcessImage(3, (OWN,), 0)
        self.events = Events()
        wire = Wire(
            ordinal=0, point="d.out", at=OWN, device="d", bus="b", output=output(**limits),
            readable=True, priorities=False, feedback=OWN, hoa=HOA, needs=(SENSOR,),
            rules=frozenset({"r"}),
        )  # fmt: skip
        self.outputs = Outputs([wire], self.image, self.events)
        self.now = 0.0
        self.read(HOA, 1.0)

    def read(self, at: int, value: float, bits: int = 0) -> None:
        self.image.value[at], self.image.quality[at] = value, bits
        self.image.stamp[at] = self.now

    def released(self, value: float = 10.0) -> Rig:
        self.read(SENSOR, 1.0)
        self.read(OWN, value)
        for wire in self.outputs.ready(self.now):
            self.image.target[0] = self.outputs.release(wire, self.now)
        return self

    def step(self, target: float, after: float = 0.1) -> list[float]:
        self.now += after
        self.image.target[0], self.image.owner[0] = target, Slot.CONTROL
        return [write.value for _, write in self.outputs.step(self.now)]


def test_nothing_is_written_before_the_inputs_were_read() -> None:
    """Held, and it says what it waits for; what the device does now is where it starts."""
    rig = Rig()
    assert rig.outputs.waits_for(0) == [SENSOR, OWN]
    rig.read(OWN, 10.0)
    assert (rig.outputs.ready(rig.now), rig.outputs.waits_for(0)) == ([], [SENSOR])
    assert rig.step(50.0) == []
    rig.released()
    assert rig.outputs.waits_for(0) == []
    assert rig.step(10.0) == []
    assert rig.step(50.0) == [50.0]


def test_changes_within_the_deadband_are_not_written() -> None:
    """Devices wear out: only what differs from the last write by more than the deadband."""
    rig = Rig(deadband=2.0).released()
    assert [rig.step(v) for v in (11.0, 12.0, 12.5, 13.0)] == [[], [], [12.5], []]


def test_an_unchanged_output_is_refreshed() -> None:
    """A device that was switched off has forgotten what it was told."""
    rig = Rig(refresh=60.0).released()
    assert rig.step(20.0) == [20.0]
    assert rig.step(20.0, after=59.0) == []
    assert rig.step(20.0, after=2.0) == [20.0]


def test_a_switch_in_hand_is_never_fought() -> None:
    """Not on Auto: nothing is written; back on Auto: what is wanted then."""
    rig = Rig().released()
    rig.read(HOA, 0.0)
    assert rig.step(50.0) == []
    assert rig.outputs.in_hand(0)
    rig.read(HOA, 1.0)
    assert rig.step(50.0) == [50.0]


def test_a_device_that_does_not_follow_is_noticed_once_and_forgiven() -> None:
    """One event when it did not follow after `settle`, and it follows again when it does."""
    rig = Rig(tolerance=1.0, settle=5.0).released()
    rig.step(50.0)
    rig.outputs.written(Write("d", "d.out", 50.0, Slot.CONTROL), rig.now)
    rig.step(50.0, after=6.0)
    rig.step(50.0, after=6.0)
    assert not rig.outputs.following[0]
    assert rig.events.counts["write-not-followed"] == 1
    rig.read(OWN, 50.2)
    rig.step(50.0, after=6.0)
    assert rig.outputs.following[0]


@pytest.mark.parametrize("bits", [quality.COMM, quality.STALE, quality.OVERRIDDEN])
def test_what_cannot_be_judged_is_not_judged(bits: int) -> None:
    """A bad read-back and a foreign priority have events and alarms of their own."""
    rig = Rig(settle=5.0).released()
    rig.step(50.0)
    rig.outputs.written(Write("d", "d.out", 50.0, Slot.CONTROL), rig.now)
    rig.read(OWN, 10.0, bits)
    rig.step(50.0, after=6.0)
    assert rig.outputs.following[0]


def test_failsafe_values() -> None:
    """Explicit ones at a stop; `relinquish` only when protection itself has failed."""
    rig = Rig().released()
    wire = rig.outputs.wires[0]
    for failsafe, at_stop, at_failure in (
        (60.0, [60.0], [60.0]), ("hold", [], []), ("relinquish", [], [math.nan]),
    ):  # fmt: skip
        rig.outputs.wires = [replace(wire, output=replace(wire.output, failsafe=failsafe))]
        for explicit_only, expected in ((True, at_stop), (False, at_failure)):
            writes = rig.outputs.failsafe(1.0, explicit_only=explicit_only)
            assert [w.value for _, w in writes] == pytest.approx(expected, nan_ok=True)


def test_the_acknowledgement_of_an_overtaken_value_proves_nothing() -> None:
    """While a newer value is on its way nobody may say that the device did not follow it."""
    rig = Rig(settle=5.0).released()
    rig.step(50.0)
    rig.step(70.0)
    rig.outputs.written(Write("d", "d.out", 50.0, Slot.CONTROL), rig.now)
    rig.read(OWN, 50.0)
    rig.step(70.0, after=6.0)
    assert rig.outputs.following[0]


def test_a_device_that_came_back_without_its_value_gets_it_again() -> None:
    """Once it has been read since, and only where it differs from what was last sent."""
    rig = Rig().released()
    assert rig.step(50.0) == [50.0]
    rig.read(OWN, 50.0)
    rig.outputs.returned("d", rig.now)
    assert rig.step(50.0) == []
    rig.now += 10.0
    rig.outputs.returned("d", rig.now)
    assert rig.step(50.0) == []  # what stands in the image is older than its return
    rig.read(OWN, 0.0)
    assert rig.step(50.0) == [50.0]
    assert rig.step(50.0) == []


def test_an_output_of_another_device_stays_alone() -> None:
    """Who came back is named."""
    rig = Rig().released()
    rig.step(50.0)
    rig.read(OWN, 0.0)
    rig.outputs.returned("other", rig.now)
    assert rig.step(50.0) == []


@pytest.mark.parametrize(("bits", "after"), [(quality.CONFIG, 0.1), (quality.COMM, READ_WITHIN)])
def test_what_a_returned_device_does_not_tell_is_written_again(bits: int, after: float) -> None:
    """Refused at once; still failing after a while."""
    rig = Rig().released()
    rig.step(50.0)
    rig.outputs.returned("d", rig.now)
    rig.read(OWN, 50.0, bits)
    if after > 1:
        assert rig.step(50.0) == []
    assert rig.step(50.0, after=after) == [50.0]


def test_an_acknowledgement_after_the_return_is_proof_enough() -> None:
    """A value read just before it was written does not cause a second write."""
    rig = Rig().released()
    rig.step(50.0)
    rig.outputs.returned("d", rig.now)
    rig.read(OWN, 0.0)
    rig.outputs.written(Write("d", "d.out", 50.0, Slot.CONTROL), rig.now)
    assert rig.step(50.0) == []


def test_a_ladder_is_filled_again_whatever_it_shows() -> None:
    """Our slot may be empty behind an equal value; one that was relinquished stays so."""
    rig = Rig().released()
    rig.outputs.wires = (replace(rig.outputs.wires[0], priorities=True),)
    rig.step(50.0)
    rig.read(OWN, 50.0)
    rig.outputs.returned("d", rig.now)
    assert rig.step(50.0) == [50.0]
    assert math.isnan(rig.step(math.nan)[0])
    rig.outputs.returned("d", rig.now)
    rig.read(OWN, 0.0)
    assert rig.step(math.nan) == []


def test_a_returned_device_in_hand_gets_its_value_when_it_is_back_on_auto() -> None:
    """The switch is never fought, and nothing is forgotten meanwhile."""
    rig = Rig().released()
    rig.step(50.0)
    rig.read(HOA, 0.0)
    rig.outputs.returned("d", rig.now)
    rig.read(OWN, 0.0)
    assert rig.step(50.0) == []
    rig.read(HOA, 1.0)
    assert rig.step(50.0) == [50.0]


def test_a_returned_device_s_switch_is_read_before_it_is_written() -> None:
    """It came back in Hand; the read-back arrives before the contact does."""
    rig = Rig().released()
    rig.step(50.0)
    rig.read(OWN, 50.0, quality.COMM)
    rig.read(HOA, 1.0, quality.COMM)
    rig.outputs.returned("d", rig.now)
    rig.read(OWN, 0.0)
    assert rig.step(50.0) == []
    rig.read(HOA, 0.0)
    assert rig.step(50.0) == []
    rig.read(HOA, 1.0)
    assert rig.step(50.0) == [50.0]


def test_a_write_that_nobody_can_verify_shows_as_uncertain() -> None:
    """An output that cannot be read shows what it was sent, and whether that is sure."""
    rig = Rig().released()
    wire = replace(rig.outputs.wires[0], readable=False)
    rig.outputs = Outputs([wire], rig.image, rig.events)
    rig.released()
    for sure, bits in ((True, quality.GOOD), (False, quality.UNCERTAIN)):
        rig.outputs.written(Write("d", "d.out", 50.0, Slot.CONTROL), rig.now, sure=sure)
        assert (rig.image.value[OWN], rig.image.quality[OWN]) == (50.0, bits)
