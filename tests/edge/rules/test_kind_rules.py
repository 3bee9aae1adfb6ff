"""The rules of start-up, bad input and bumpless change (domain §0.3), on every kind that drives.

Each kind stands in its first example; a kind's own tests say what it computes, these say how it
behaves around it. Plain Python, a block at a time.
"""

from __future__ import annotations

from math import inf, isfinite, isnan, nan

import numpy as np
import pytest

from edge.blocks import KINDS
from edge.blocks.kind import Kind
from edge.image.quality import COMM, NEVER
from tests.support.block import Instance

MANUAL = 8
STATES = {  # kinds whose request is what an input or the calendar says: they have nothing to adopt
    "schedule": "the calendar says the value",
    "dali": "the code of a level that another block has ramped",
    "analog_dimmer": "the voltage of a level that another block has ramped",
    "correction": "asks for nothing until there is a fault to correct",
    "valve_exercise": "asks for nothing until its hour",
}
DECIDES = {  # what runs need not go on: these know at once whether it should
    "photocell": "the light outside says it",
    "rotation": "the demand says how many",
    "irrigation": "the clock says it; without one its valves are asked to be closed",
}
DRIVING = [kind for kind in KINDS.values() if Instance(kind, kind.examples[0].options).requests]
CONTINUOUS = [kind for kind in DRIVING if kind.name not in STATES]


class Standing(Instance):
    """A kind in its first example, inputs as there, outputs following what is asked."""

    def __init__(self, kind: Kind, *, read: bool = True) -> None:
        super().__init__(kind, kind.examples[0].options)
        self.now = 0.0
        self.inputs: dict[str, float] = {}
        for _, inputs, _ in kind.examples[0].steps:
            for name, value in inputs.items():
                self.inputs.setdefault(name, value)
        if read:
            self.good()

    def good(self) -> None:
        """Every input reads what the example begins with."""
        for name, value in self.inputs.items():
            if name not in self.requests:
                self[name] = value
        for name in self.requests:
            if self.quality(name) == NEVER:
                self[name] = self.inputs.get(name, 0.0)

    def lose(self) -> None:
        """Every input is bad; outputs still read back."""
        for name in self.inputs:
            if name not in self.requests and name != "agenda":
                self.bad(name, COMM)

    def run(self, seconds: float) -> Standing:
        """As many runs as fit; motors turn when they are told to."""
        period = self.every or 0.1
        for _ in range(max(1, round(seconds / period))):
            self.now += period
            self.step(self.now)
            self.turn()
        return self

    def turn(self) -> None:
        for name in self.requests:
            feedback = name.replace(".run", ".running").replace("ct.f", "ct.r")
            if feedback != name and feedback in self.index and not self.quality(feedback):
                self[feedback] = self[name]

    def asked(self) -> dict[str, float]:
        return {name: self.request(name) for name in self.requests}

    def step_of(self, name: str) -> float:
        """The greatest change of one run that is no bump: of a switch none, else 5 % of its span
        of 100 a second at most."""
        return 5.0 * max(self.every, 0.1) if self.is_continuous(name) else 0.0

    def is_continuous(self, name: str) -> bool:
        return self.inputs.get(name, 0.0) not in (0.0, 1.0) or "speed" in name or ".s" in name


def same(a: float, b: float, within: float = 1e-6) -> bool:
    return (isnan(a) and isnan(b)) or abs(a - b) <= within


@pytest.fixture(params=DRIVING, ids=lambda kind: kind.name)
def driving(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture(params=CONTINUOUS, ids=lambda kind: kind.name)
def continuous(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def test_nothing_is_asked_before_anything_was_read(driving: Kind) -> None:
    """Start-up: while no input and no read-back was ever good, nothing is started or moved."""
    block = Standing(driving, read=False)
    for _ in range(20):
        block.run(1)
        rest = 0.0 if driving.name == "irrigation" else nan
        assert all(isnan(asked) or asked == rest for asked in block.asked().values()), block.now


def test_the_first_request_is_what_the_device_does(continuous: Kind) -> None:
    """Adopt, don't jump: at start the request equals the read-back; what runs goes on running."""
    block = Standing(continuous)
    idle = not any(block[name] > 0.0 for name in block.requests)
    if idle and continuous.name not in DECIDES:  # let all of them run, at half speed
        for name in block.requests:
            block[name] = 50.0 if block.is_continuous(name) else 1.0
    block.turn()
    before = {name: block[name] for name in block.requests}
    block.run(0)
    for name, asked in block.asked().items():
        if continuous.name not in DECIDES:
            assert same(asked, before[name], block.step_of(name)) or isnan(asked), name


def test_a_lost_device_is_adopted_again(continuous: Kind) -> None:
    """A device that was lost and comes back doing something else is taken over as it is."""
    block = Standing(continuous).run(30)
    moved = {n: block[n] + 3.0 for n in block.requests if block[n] > 10.0}
    for name in block.requests:
        block.bad(name, COMM)
    block.lose()
    block.arbiter = False
    for name in block.requests:  # nobody holds it
        block.v[block.requests[name] + 1], block.v[block.requests[name] + 2] = nan, 0
    block.run(60)
    block.arbiter = True
    for name in block.requests:
        block[name] = moved.get(name, block[name])
    block.good()
    block.turn()
    block.now += 1000.0
    block.run(0)
    for name, value in moved.items():
        asked = block.request(name)
        assert same(asked, value, block.step_of(name)) or isnan(asked), name


def test_bad_inputs_hold_then_let_go_without_a_bump(continuous: Kind) -> None:
    """Held at first; back after minutes, the request goes on from what the output does."""
    block = Standing(continuous).run(60)
    before = block.asked()
    block.lose()
    block.run(0)
    for name, asked in block.asked().items():
        assert same(asked, before[name], block.step_of(name)), name
    for _ in range(240):
        last = block.asked()
        block.run(1)
        for name, asked in block.asked().items():
            limit = max(block.step_of(name), block.step_of(name) / max(block.every, 0.1))
            fell = block.is_continuous(name) or isnan(asked) or isnan(last[name])
            assert fell or same(asked, last[name], limit) or asked == 0.0, (name, block.now)
    present = {name: block[name] for name in block.requests}
    block.good()
    block.run(0)
    for name, asked in block.asked().items():
        if block.is_continuous(name):
            assert same(asked, present[name], block.step_of(name)) or isnan(asked), name


def test_while_a_person_holds_the_output_the_request_follows(continuous: Kind) -> None:
    """Manual for 10 minutes: the request is the manual value; released, it goes on from there."""
    block = Standing(continuous).run(30)
    held = {n: block[n] + 3.0 for n in block.requests if block[n] > 10.0}
    if not held:
        pytest.skip("switches only")
    block.taken = {name: (MANUAL, value) for name, value in held.items()}
    block.run(600)
    before = {name: block[name] for name in held}
    block.taken = {}
    block.run(0)
    for name, value in before.items():
        asked = block.request(name)
        assert same(asked, value, block.step_of(name)) or isnan(asked), name


def test_garbage_leaves_no_infinity(driving: Kind) -> None:
    """NaN and infinity never enter the state; good inputs then give what they gave before."""
    block = Standing(driving).run(30)
    for value in (inf, -inf, nan, 1e300, -1e300):
        for name in block.inputs:
            if name not in block.requests and name != "agenda":
                block[name] = value
                block.bad(name, 0 if isfinite(value) else COMM)
        block.run(5)
        assert not np.isinf(block.st).any(), value
    block.good()
    block.run(700)
    fresh = Standing(driving).run(700)
    for name in block.requests:
        assert isfinite(block.request(name)) == isfinite(fresh.request(name)), name


@pytest.mark.parametrize("downtime", [180.0, 3 * 86400.0], ids=["3 min", "3 days"])
def test_a_reboot_neither_fires_nor_loses_a_timer(driving: Kind, downtime: float) -> None:
    """All that a kind knows is in its state: rebooted, it goes on as one that only paused."""
    paused = Standing(driving).run(45)
    paused.lose()
    paused.run(10)
    booted = Standing(driving)
    booted.st[:] = paused.st
    booted.v[:], booted.q[:], booted.now = paused.v, paused.q, paused.now
    for block in (paused, booted):
        block.now += downtime
        block.good()
    for _ in range(60):
        paused.run(1)
        booted.run(1)
        assert paused.st.tobytes() == booted.st.tobytes()
        for name in paused.requests:
            assert same(paused.request(name), booted.request(name), 0.0), name


def test_a_gap_is_not_integrated(continuous: Kind) -> None:
    """Longer than three periods without a run: it begins anew from what the output does."""
    block = Standing(continuous).run(60)
    before = block.asked()
    block.now += 50.0 * max(block.every, 0.1)
    block.run(0)
    for name, asked in block.asked().items():
        assert same(asked, before[name], block.step_of(name)), name


def test_what_has_nothing_to_adopt_is_named() -> None:
    """The exceptions are kinds that there are."""
    assert set(STATES) | set(DECIDES) <= {kind.name for kind in DRIVING}
