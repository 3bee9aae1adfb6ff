"""Pump sets with other parameters than the book's get what the equations say.

The gain is what a competent person sets: the book's, by how much more flow a percent of speed gives
and how much less the network stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from drivers.sim.models.booster import Booster as Plant
from drivers.sim.models.booster import pump_flow
from drivers.sim.models.model import MPA_PER_METRE
from edge.blocks.booster import ASLEEP, REGULATING
from edge.blocks.booster_staging import destage_speed, preload
from tests.support.booster import Set

SETPOINT = 0.40


@dataclass(frozen=True)
class Design:
    """A pump set as it might be bought: H0 in m, a in m/(m³/h)², m³/MPa."""

    head: float
    curve: float
    pumps: int
    compliance: float

    @property
    def no_flow(self) -> float:
        """s0 in %."""
        return 100 * sqrt(SETPOINT / MPA_PER_METRE / self.head)

    @property
    def full(self) -> float:
        """q1: what one pump delivers at 95 %, m³/h."""
        return pump_flow(0.95, SETPOINT, self.head, self.curve)

    def shared_at(self, load: float) -> float:
        """The speed in % at which each of two pumps delivers half of `load` times q1."""
        part = load / 2 * self.full
        return 100 * sqrt((SETPOINT / MPA_PER_METRE + self.curve * part * part) / self.head)

    @property
    def gain(self) -> float:
        """kp in %/MPa that answers this plant as 400 does the book's at the same share of load."""
        here = self.head * 0.9 / (self.curve * self.full) / self.compliance
        book = 65 * 0.9 / (0.10 * 13.369) / 0.15
        return min(max(400 * book / here, 10.0), 800.0)

    def running(self, load: float, **options: Any) -> Set:
        """The set with a demand of `load` times what one pump delivers, settled."""
        plant = Plant(
            self.pumps, SETPOINT, load * self.full,
            head=self.head, curve=self.curve, compliance=self.compliance,
        )  # fmt: skip
        own = {
            "kp": self.gain, "minimum_speed": None, "shutoff_head": f"{self.head} m",
            "duty": self.pumps, "sleep": False,
        }  # fmt: skip
        built = Set(min(self.no_flow + 3.0, 95.0), plant=plant, **{**own, **options})
        built.run(90)
        built.trace.clear()
        return built


def designs() -> some.SearchStrategy[Design]:
    """H0 and a of pumps that fit the setpoint, with a network that fits the flow: seconds to tens
    of seconds from one pump's flow to 0.1 MPa."""
    return some.builds(
        Design, some.floats(50, 90), some.floats(0.02, 0.5), some.integers(2, 6),
        some.floats(0.05, 0.5),
    ).filter(lambda d: d.compliance * 0.1 * 3600 / d.full > 1.0)  # fmt: skip


@given(designs())
@settings(max_examples=50, deadline=None)
def test_the_thresholds_stand_in_their_order(design: Design) -> None:
    """s0 < s_d(2) < s_d(3) … < 95 %; what n pumps deliver at s_d(n), n - 1 do at 95 %."""
    speeds = [destage_speed(n, design.no_flow, False) for n in range(2, 7)]
    assert design.no_flow < speeds[0]
    assert speeds == sorted(speeds)
    assert speeds[-1] < 95
    for n, speed in enumerate(speeds, 2):
        each = pump_flow(speed / 100, SETPOINT, design.head, design.curve)
        assert n * each == pytest.approx((n - 1) * design.full, rel=1e-6)


@given(designs(), some.floats(0.1, 1.0), some.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_a_pump_that_stops_leaves_the_flow_as_it_was(design: Design, share: float, n: int) -> None:
    """The speed set for n - 1 pumps delivers what n did, unless even full speed does not."""
    threshold = destage_speed(n, design.no_flow, False)
    speed = design.no_flow + share * (threshold - design.no_flow)
    before = n * pump_flow(speed / 100, SETPOINT, design.head, design.curve)
    after = preload(n, speed, design.no_flow, False)
    assert after <= 95 + 1e-6
    flow = (n - 1) * pump_flow(after / 100, SETPOINT, design.head, design.curve)
    assert flow == pytest.approx(before, rel=1e-4)


@given(designs(), some.floats(0.3, 0.8), some.floats(1.2, 5.0))
@settings(max_examples=3, deadline=None)
def test_a_step_is_met_without_hunting(design: Design, low: float, high: float) -> None:
    """Up: as many pumps as the flow takes, each started once, none stopped. Down: back again, maybe
    several at once where so much less flow is an over-pressure."""
    assume(high < design.pumps * 0.9)
    built = design.running(low)
    assert built.block["running"] == 1
    for load in (high, low):
        built.plant.demand = load * design.full
        counts = [built.block["running"]]
        for _ in range(240):
            built.run(1)
            if built.block["running"] != counts[-1]:
                counts.append(built.block["running"])
        changes = [b - a for a, b in pairwise(counts)]
        assert len(changes) <= design.pumps
        wanted = 1 if load > low else -1
        assert all(change * wanted > 0 for change in changes), counts
        assert load < high or all(change == 1 for change in changes), counts
        assert built.plant.pressure == pytest.approx(SETPOINT, abs=0.01)
        speed = built.block["speed"] / 100
        each = pump_flow(speed, SETPOINT, design.head, design.curve)
        assert built.block["running"] * each == pytest.approx(load * design.full, rel=0.05)


@given(designs(), some.floats(0.3, 0.8))
@settings(max_examples=3, deadline=None)
def test_nothing_is_felt_when_a_pump_stops(design: Design, load: float) -> None:
    """From two pumps to one: the pressure moves by less than 0.01 MPa around the stop."""
    # A flat system keeps two: the margin of 1 % is more than half a pump's flow there.
    assume(design.shared_at(load) < destage_speed(2, design.no_flow, False) - 1.2)
    built = design.running(load)
    built.plant.demand = 1.4 * pump_flow(1.0, SETPOINT, design.head, design.curve)
    built.when("running", 2, 300)
    built.run(60)
    built.plant.demand = load * design.full
    built.when("running", 1, 300)
    start = built.plant.pressure
    built.trace.clear()
    built.run(10)
    assert all(abs(pressure - start) < 0.01 for _, pressure in built.trace)


@given(designs(), some.floats(0.002, 0.02))
@settings(max_examples=2, deadline=None)
def test_sleep_lasts_as_long_as_the_network_holds(design: Design, share: float) -> None:
    """From stop to wake a leak takes (P - 0.37)·C, whatever the plant; 2 s see it."""
    leak = share * design.full
    expected = 0.05 * design.compliance * 3600 / leak
    assume(70 < expected < 3000)
    built = design.running(0.0, sleep=True)
    built.plant.leak = leak
    built.when("state", ASLEEP)
    height = built.plant.pressure - (SETPOINT - 0.03)
    built.when("state", REGULATING)
    lasted = built.now
    built.when("state", ASLEEP)
    height = built.plant.pressure - (SETPOINT - 0.03)
    lasted = built.when("state", REGULATING)
    assert lasted == pytest.approx(height * design.compliance * 3600 / leak, rel=0.05, abs=3)
