"""Loops that hunt are detuned, and no others (domain §1.2): by the error, and over plants."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from drivers.sim.models.booster import Booster as Plant
from edge.blocks import KINDS
from edge.blocks.booster_layout import HUNTING
from edge.blocks.oscillation import (
    OSCILLATION_STATES,
    SWINGS,
    WIDE_SWINGS,
    gain_factor,
    hunts,
    tune_anew,
)
from tests.edge.blocks.test_booster_plants import Design, designs
from tests.support.block import Instance
from tests.support.booster import Set

TI = 6.0
KP, SPAN = 400.0, 100.0
BAND = 0.005 * SPAN / KP  # 0.00125 MPa


class Watched:
    """The error of a loop with the book's gain, looked at every 0.5 s."""

    def __init__(self) -> None:
        self.st = np.full(OSCILLATION_STATES, np.nan)
        self.now = 0.0

    def sees(self, error: Callable[[float], float], seconds: float, setpoint: float = 0.4) -> float:
        """The factor after so many seconds of error(t)."""
        for _ in range(round(seconds / 0.5)):
            dt = 0.5 if self.now else 0.0
            hunts(error(self.now), setpoint, SPAN, KP, 0.0, TI, self.now, dt, self.st, 0)
            self.now += 0.5
        return gain_factor(self.st, 0)


def sine(height: float, period: float) -> Callable[[float], float]:
    return lambda t: height * sin(2 * pi * (t + 0.1) / period)


def test_so_many_swings_alike_and_not_one_fewer() -> None:
    """A square wave of 4 s: the 25th turn ends the 24th half-swing."""
    watched = Watched()
    square = lambda t: 0.002 if int(t / 2) % 2 else -0.002  # noqa: E731
    assert watched.sees(square, 2 * SWINGS) == 1.0
    assert watched.sees(square, 0.5) == 0.5


def test_it_is_halved_twice_and_no_more() -> None:
    """Down to a quarter: who still hunts then has another fault."""
    watched = Watched()
    assert watched.sees(sine(0.01, 4.0), 600) == 0.25
    tune_anew(watched.st, 0)
    assert gain_factor(watched.st, 0) == 1.0


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("within the band", sine(0.9 * BAND, 4.0)),
        ("on one side", lambda t: 0.01 + 0.005 * cos(t)),
        ("slower than two Ti", sine(0.02, 2.5 * TI)),
        ("dies away", lambda t: 0.05 * 0.985**t * sin(2 * pi * t / 8) if t < 150 else 0.0),
        ("as it comes: heights", lambda t: (0.0014, 0.0033)[int(t / 4) % 2] * (-1) ** int(t / 2)),
        ("as it comes: times", lambda t: 0.002 * (-1) ** int(t % 7 < 1.5)),
        ("a disturbance every 5 s, gone in 1 s", lambda t: 0.01 * (t % 5 < 1) * (-1) ** int(t / 5)),
        ("a steady error", lambda t: 0.02),
    ],
)  # fmt: skip
def test_what_is_no_hunting(what: str, error: Callable[[float], float]) -> None:
    """For ten minutes of it, unless it says something else."""
    assert Watched().sees(error, 600) == 1.0, what


def test_wide_swings_need_not_be_alike() -> None:
    """A stiff network that is looked at twice in a swing: sizes at random, one side, the other."""
    sizes = np.random.default_rng(7).uniform(0.004, 0.015, 400)
    wild = lambda t: sizes[int(2 * t)] * (-1) ** int(2 * t)  # noqa: E731
    watched = Watched()
    assert watched.sees(wild, 0.5 * WIDE_SWINGS) == 1.0
    assert watched.sees(wild, 1.0) == 0.5


def test_a_setpoint_that_moves_begins_anew() -> None:
    """The error that a setpoint makes by going to and fro is not the loop's."""
    watched = Watched()
    for k in range(100):
        side = (-1) ** k
        watched.sees(lambda t, side=side: 0.01 * side, 2.0, 0.4 + 0.005 * side)  # type: ignore[misc]
    assert gain_factor(watched.st, 0) == 1.0


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 2.0])
def test_noise_is_no_hunting(sigma: float) -> None:
    """A day of white noise that moves the speed by up to 1 % (2 σ of the band: by chance both
    sides, never so often in a row)."""
    noise = np.random.default_rng(3).normal(0.0, sigma * BAND, 172_800)
    assert Watched().sees(lambda t: float(noise[int(2 * t)]), 86_400) == 1.0


STIFF = [(0.03, 3.0), (0.02, 1.0), (0.02, 3.0), (0.02, 6.0), (0.01, 3.0), (0.01, 6.0), (0.01, 12.0)]


def stiff(compliance: float, demand: float, **options: Any) -> Set:
    """The book's pumps on a stiff network, without the filter; a load step wakes it."""
    plant = Plant(3, 0.40, demand, compliance=compliance)
    given: dict[str, Any] = {"filter": "0s", "sleep": False, **options}
    built = Set(plant=plant, **given)
    built.run(20)
    plant.demand = demand + 1
    return built


def moves(built: Set, seconds: float) -> float:
    """By how much the speed goes up and down, in %."""
    speeds = []
    for _ in range(round(seconds / 0.5)):
        built.run(0.5)
        speeds.append(built.block["speed"])
    return float(np.ptp(speeds))


@pytest.mark.parametrize(("compliance", "demand"), STIFF)
def test_a_stiff_network_is_calmed(compliance: float, demand: float) -> None:
    """§1.2: at 0.03 m³/MPa and less Kp 400 hunts without the filter; half or a quarter does not."""
    built = stiff(compliance, demand)
    built.run(200)
    assert built.block["gain_factor"] in (0.5, 0.25)
    assert moves(built, 60) < 0.1
    assert built.plant.pressure == pytest.approx(0.40, abs=1e-3)


@pytest.mark.parametrize(("compliance", "demand"), STIFF)
def test_the_filter_keeps_it_calm(compliance: float, demand: float) -> None:
    """With the 2 s of the site nothing is detuned."""
    built = stiff(compliance, demand, filter="2s")
    built.run(200)
    assert built.block["gain_factor"] == 1.0
    assert moves(built, 60) < 0.1


@given(some.floats(0.008, 0.03), some.floats(1.0, 14.0), some.sampled_from([0.0, 0.002]))
@settings(max_examples=15, deadline=None)
def test_whatever_the_stiff_network_it_ends_calm(
    compliance: float, demand: float, deadband: float
) -> None:
    """Either it does not hunt, or it is detuned until it does not."""
    built = stiff(compliance, demand, deadband=deadband)
    built.run(400)
    assert moves(built, 60) < 1.0


@given(designs(), some.floats(0.3, 0.8), some.floats(1.2, 4.0), some.floats(0.0, 1.0))
@settings(max_examples=6, deadline=None)
def test_a_loop_that_is_well_set_is_never_detuned(
    design: Design, low: float, high: float, noise: float
) -> None:
    """Load steps, pumps that start and stop, a noisy sensor: with the gain of a competent person
    Kp stays what it is. The noise moves the speed by up to 1 %."""
    built = design.running(low, filter="2s")
    read, rng = built.read, np.random.default_rng(11)

    def noisy() -> None:
        read()
        built.block["pressure"] = built.plant.pressure + rng.normal(0.0, noise / design.gain)

    built.read = noisy  # type: ignore[method-assign]
    for load in (high, low, high, low):
        built.plant.demand = load * design.full
        built.run(90)
        assert built.block["gain_factor"] == 1.0


def test_the_book_s_steps_do_not_detune() -> None:
    """S11 and S12 again and again, with and without filter, with the simulator's noise."""
    for filtered in ("0s", "2s"):
        built = Set(filter=filtered)
        read, rng = built.read, np.random.default_rng(5)

        def noisy(read: Any = read, built: Set = built, rng: Any = rng) -> None:
            read()
            built.block["pressure"] = built.plant.pressure + rng.normal(0.0, 3e-4)

        built.read = noisy  # type: ignore[method-assign]
        for demand in (6.0, 14.0, 6.0, 24.0, 6.0, 14.0, 24.0, 6.0):
            built.plant.demand = demand
            built.run(60)
        assert built.block["gain_factor"] == 1.0


def test_people_who_draw_water_do_not_detune() -> None:
    """Half an hour of a morning: every few seconds somebody opens or shuts something."""
    built = Set(filter="2s")
    rng = np.random.default_rng(9)
    for _ in range(900):
        built.run(2)
        built.plant.demand = float(np.clip(built.plant.demand + rng.normal(0.0, 2.0), 1.0, 22.0))
    assert built.block["gain_factor"] == 1.0


def test_a_load_that_comes_and_goes_slowly_does_not_detune() -> None:
    """Ten seconds on, ten off: the loop has time to recover, so it is not its own doing."""
    built = Set()
    for k in range(60):
        built.plant.demand = 8.0 if k % 2 else 5.0
        built.run(10)
    assert built.block["gain_factor"] == 1.0


def test_halving_moves_nothing_and_a_person_gives_it_back() -> None:
    """The speed goes on where it was; `edge reset` restores kp, and it is found out again."""
    built = stiff(0.01, 3.0)
    before = built.block["speed"]
    while built.block["gain_factor"] == 1.0:
        before = built.block["speed"]
        built.run(0.5)
        assert built.now < 200
    assert abs(built.block["speed"] - before) <= 5.0 + 1e-9  # the slew of one run
    built.run(200)
    assert built.block["gain_factor"] == 0.25
    built.block["reset"] = 1.0
    built.run(0.5)
    assert built.block["gain_factor"] == 1.0
    built.plant.demand = 3.0
    built.run(200)
    assert built.block["gain_factor"] == 0.25


def test_giving_it_back_moves_nothing() -> None:
    """Under the setpoint as it is, the set does not jump to what four times the gain would ask."""
    block = Set().settled().block
    block.st[HUNTING] = 0.25
    block["pressure"] = 0.38
    now = block.last
    for _ in range(10):
        now += 0.5
        block.step(now)
    before = block["speed"]
    block["reset"] = 1.0
    block.step(now + 0.5)
    assert block["gain_factor"] == 1.0
    assert block["speed"] == pytest.approx(before, abs=1.0)


class Heated:
    """A first-order plant behind a dead time under `pid`: gain 1 per %, 10 s, 2 s."""

    def __init__(self, kp: float, ti: str) -> None:
        self.block = Instance(KINDS["pid"], {
            "input": "t", "setpoint": "sp", "output": "y", "kp": kp, "ti": ti,
        })  # fmt: skip
        self.value, self.line = 40.0, [40.0] * 4
        self.block["sp"], self.block["y"], self.block["t"] = 50.0, 40.0, 40.0
        self.now = 0.0

    def run(self, seconds: float) -> list[float]:
        seen = []
        for _ in range(round(seconds / 0.5)):
            self.block["t"] = self.value
            self.block.step(self.now)
            self.line.append(self.block["y"])
            self.value += (self.line.pop(0) - self.value) * 0.5 / 10.0
            self.now += 0.5
            seen.append(self.value)
        return seen


@given(some.floats(8.0, 20.0))
@settings(max_examples=10, deadline=None)
def test_a_pid_with_too_much_gain_is_calmed(kp: float) -> None:
    """Its critical gain is about 8.5: half or a quarter of up to 20 stands."""
    loop = Heated(kp, "10s")
    loop.run(900)
    assert loop.block["gain_factor"] < 1.0 or np.ptp(loop.run(60)) < 1.0
    assert np.ptp(loop.run(120)) < 1.0
    assert loop.value == pytest.approx(50.0, abs=0.5)


@given(some.floats(0.5, 4.0))
@settings(max_examples=10, deadline=None)
def test_a_pid_that_is_well_set_keeps_its_gain(kp: float) -> None:
    """Setpoints that step to and fro, and settle each time."""
    loop = Heated(kp, "10s")
    for k in range(10):
        loop.block["sp"] = 50.0 + 5.0 * (k % 2)
        loop.run(40)
    assert loop.block["gain_factor"] == 1.0


@pytest.mark.parametrize("name", ["pid", "booster"])
def test_it_is_told_with_what_to_look_at(name: str) -> None:
    """P3 as long as the loop is detuned: filter, kp and ti, a valve that sticks."""
    kind = KINDS[name]
    model = kind.model.model_validate(dict(kind.examples[0].options))
    (told,) = [a for a in kind.alarms(model) if a.id == "{RULE}_HUNTING"]
    assert (told.priority, told.when) == (3, "{rule}.gain_factor < 1")
    words = " ".join(check.en for check in told.checks)
    assert all(word in words for word in ("filter", "kp", "ti", "stick"))
