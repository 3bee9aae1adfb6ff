"""The verdict on other plants than the book's: the injected fault, or undetermined, never another.

Random valves, consumers, headers, openings and noise; each example is a minute of a network.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.sim.models.zones import ZoneNetwork
from edge.blocks.zone_layout import (
    BURST,
    NORMAL,
    RESTRICTION,
    SENSOR,
    SUPPLY,
    UNDETERMINED,
    VALVE,
)
from edge.blocks.zone_loss import ZONE_LOSS
from tests.support.block import Instance

FAULTS = {
    "valve_drift:2": VALVE,
    "false_feedback:2": RESTRICTION,
    "burst:2": BURST,
    "supply_drop": SUPPLY,
    "sensor": SENSOR,
}


@dataclass(frozen=True)
class Plant:
    """What two people would build differently; `burst` is in multiples of the consumers."""

    kvs: float
    cd: float
    header: float
    opening: float
    curve: float  # rangeability, 0 for linear
    burst: float
    noise: float  # MPa
    seed: int


PLANTS = st.builds(
    Plant,
    kvs=st.floats(10, 60),
    cd=st.floats(3, 20),
    header=st.floats(0.35, 0.8),
    opening=st.floats(40, 95),
    curve=st.sampled_from([0.0, 30.0, 50.0]),
    burst=st.floats(0.5, 6.0),
    noise=st.floats(0, 0.002),
    seed=st.integers(0, 2**16),
)


class Watched:
    """Three equal zones under the verdict, polled every 0.5 s with noise."""

    def __init__(self, plant: Plant) -> None:
        self.dice, self.noise = random.Random(plant.seed), plant.noise
        self.network = ZoneNetwork(
            opening=plant.opening, supply=plant.header, kvs=plant.kvs, cd=plant.cd,
            burst=plant.burst * plant.cd, rangeability=plant.curve,
        )  # fmt: skip
        usual = self.network.readings()
        curve = {"curve": "equal_percentage", "rangeability": plant.curve} if plant.curve else {}
        zones = [
            {
                "id": f"zone{i}", "pressure": f"z{i}_pressure", "flow": f"z{i}_flow",
                "command": f"v{i}_command", "position": f"v{i}_position", "kvs": plant.kvs,
                "baseline": usual[f"z{i}_flow"], **curve,
            }
            for i in (1, 2, 3)
        ]  # fmt: skip
        self.block = Instance(ZONE_LOSS, {"header": "header_pressure", "zones": zones})
        self.broken_sensor = False
        self.now = 0.0

    def run(self, seconds: float) -> set[tuple[float, ...]]:
        """Let time pass; gives all combinations of verdicts that were seen."""
        seen = set()
        for _ in range(round(seconds / 0.5)):
            for name, value in self.network.readings().items():
                if name in self.block.index:
                    spread = self.noise if "pressure" in name else 5 * self.noise * value
                    spread = 0.0 if name.startswith("v") else spread
                    self.block[name] = value + self.dice.gauss(0, 1) * spread
            if self.broken_sensor:
                self.block["z2_pressure"] = 0.0
            self.block.step(self.now)
            seen.add(tuple(self.block[f"zone{i}"] for i in (1, 2, 3)))
            for _ in range(5):
                self.network.step(0.1)
            self.now += 0.5
        return seen


@given(plant=PLANTS, fault=st.sampled_from(sorted(FAULTS)))
@settings(max_examples=80, deadline=None)
def test_the_verdict_is_the_fault_or_undetermined(plant: Plant, fault: str) -> None:
    """Whatever the plant, nobody is sent to the wrong place."""
    watched = Watched(plant)
    assert watched.run(20) == {(NORMAL, NORMAL, NORMAL)}
    if fault == "sensor":
        watched.broken_sensor = True
    else:
        watched.network.active.add(fault)
    allowed = {NORMAL, UNDETERMINED, FAULTS[fault]}
    for verdicts in watched.run(30):
        assert set(verdicts) <= allowed, verdicts
        if fault != "supply_drop":
            assert verdicts[0] == verdicts[2] == NORMAL, verdicts


@given(plant=PLANTS)
@settings(max_examples=20, deadline=None)
def test_without_a_fault_there_is_no_verdict(plant: Plant) -> None:
    """Noise alone triggers nothing in two minutes."""
    assert Watched(plant).run(120) == {(NORMAL, NORMAL, NORMAL)}
