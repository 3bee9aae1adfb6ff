"""Dry-run protection: what trips it, what lets it go, and how often."""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from edge.blocks.dry_run import (
    DRY_RUN,
    HOT,
    LEVEL_LOST,
    LEVEL_LOW,
    NO_FLOW,
    NONE,
    SUCTION_LOST,
    UNDERLOAD,
    DryRun,
)
from edge.image.quality import COMM
from edge.image.slots import Slot
from edge.rules.explain import explain
from tests.support.block import Instance
from tests.support.rules import Bench, interlock, site_of

TANK = {"trip": ["p.run"], "level": "t.level", "low_low": "0.3 m"}
SUCTION = {"trip": ["p.run"], "suction": "s.pressure"}
FLOW = {
    "trip": ["p.run"], "flow": "p.flow", "speed": "p.speed", "expected_flow": 12.0,
    "no_flow_speed": 79.0,
}  # fmt: skip
POWER = {"trip": ["p.run"], "power": "p.power", "speed": "p.speed", "closed_power": 4.0}


def after(it: Instance, since: float, seconds: float, **now: float) -> float:
    """Set points, run at `since` and again `seconds` later; the time of the second run."""
    for name, value in now.items():
        it[name.replace("_", ".", 1)] = value
    it.step(since)
    it.step(since + seconds)
    return since + seconds


def trip_time(options: dict[str, Any], normal: dict[str, float], bad: dict[str, float]) -> float:
    """After how many seconds of `bad` it trips, to a tenth; inf within two minutes."""
    it = Instance(DRY_RUN, options)
    for name, value in normal.items():
        it[name] = value
    for k in range(300):
        it.step(0.1 * k)
        assert it["tripped"] == 0.0
    for name, value in bad.items():
        it[name] = value
        if isnan(value):
            it.bad(name, COMM)
    for k in range(1200):
        it.step(30.0 + 0.1 * k)
        if it["tripped"] == 1.0:
            return 0.1 * k
    return float("inf")


@pytest.mark.parametrize(
    ("options", "normal", "bad", "expected"),
    [
        (TANK, {"t.level": 0.31}, {"t.level": 0.29}, 0.0),
        (TANK, {"t.level": 0.31}, {"t.level": nan}, 10.0),
        ({**TANK, "on_bad": "ok"}, {"t.level": 0.31}, {"t.level": nan}, float("inf")),
        (SUCTION, {"s.pressure": 0.03}, {"s.pressure": 0.019}, 5.0),
        (SUCTION, {"s.pressure": 0.03}, {"s.pressure": nan}, 10.0),
        ({**SUCTION, "minimum_suction": "0.10 MPa"}, {"s.pressure": 0.11}, {"s.pressure": 0.09}, 5),
        (FLOW, {"p.flow": 1.3, "p.speed": 90}, {"p.flow": 1.1}, 20.0),
        (FLOW, {"p.flow": 1.1, "p.speed": 83}, {"p.flow": 0.0}, float("inf")),
        (FLOW, {"p.flow": 1.3, "p.speed": 90}, {"p.flow": nan}, float("inf")),
        (POWER, {"p.power": 1.64, "p.speed": 80}, {"p.power": 1.63}, 10.0),
        (POWER, {"p.power": 3.21, "p.speed": 100}, {"p.power": 3.19}, 10.0),
        (POWER, {"p.power": 1.64, "p.speed": 80}, {"p.power": 0.0, "p.speed": 0}, float("inf")),
    ],
)  # fmt: skip
def test_each_cause_has_its_delay(
    options: dict[str, Any], normal: dict[str, float], bad: dict[str, float], expected: float
) -> None:
    """The delays and limits of domain §1.11; what cannot be judged never trips."""
    assert trip_time(options, normal, bad) == pytest.approx(expected, abs=0.11)


def test_the_float_stands_in_for_the_level_and_stops_by_itself() -> None:
    """A lost level is no low level while the float is up; a float that falls stops at once."""
    it = Instance(DRY_RUN, {**TANK, "float_switch": "t.float"})
    now = after(it, 0.0, 1.0, t_level=1.0, t_float=1)
    it.bad("t.level", COMM)
    now = after(it, now, 100.0)
    assert it["tripped"] == 0.0
    after(it, now, 0.1, t_float=0)
    assert (it["tripped"], it["cause"]) == (1.0, LEVEL_LOW)


def test_a_lost_suction_is_excused_by_a_good_level() -> None:
    """One dead transmitter does not stop a supply whose tank is seen to be full."""
    it = Instance(DRY_RUN, {**TANK, "suction": "s.pressure"})
    now = after(it, 0.0, 1.0, t_level=1.0, s_pressure=0.05)
    it.bad("s.pressure", COMM)
    now = after(it, now, 60.0)
    assert it["cause"] == NONE
    it.bad("t.level", COMM)
    after(it, now, 10.0)
    assert it["cause"] in (LEVEL_LOST, SUCTION_LOST)


def test_underload_is_not_judged_while_water_is_delivered() -> None:
    """A light pump that holds the pressure at its setpoint delivers; when that goes, it is dry."""
    it = Instance(DRY_RUN, {**POWER, "pressure": "n.pressure", "setpoint": 0.40})
    now = after(it, 0.0, 60.0, p_power=0.5, p_speed=80, n_pressure=0.385)
    assert it["cause"] == NONE
    after(it, now, 10.0, n_pressure=0.375)
    assert it["cause"] == UNDERLOAD


def test_heat_trips_and_a_lost_temperature_does_not() -> None:
    """Over-temperature trips after 10 s, restarts below the limit; a bad sensor only alarms."""
    it = Instance(
        DRY_RUN, {"trip": ["p.run"], "temperature": "p.heat", "maximum_temperature": "80 °C"}
    )
    now = after(it, 0.0, 60.0, p_heat=80.0)
    it.bad("p.heat", COMM)
    now = after(it, now, 60.0)
    assert it["cause"] == NONE
    now = after(it, now, 10.0, p_heat=81.0)
    assert it["cause"] == HOT
    now = after(it, now, 100.0, p_heat=76.0)
    assert it["cause"] == HOT
    after(it, now, 60.0, p_heat=74.0)
    assert it["cause"] == NONE


def test_nothing_trips_before_it_was_read() -> None:
    """At start nothing was read yet, which is no fault, and no reason to restart either."""
    it = Instance(DRY_RUN, {**TANK, **SUCTION, **POWER})
    after(it, 0.0, 100.0)
    assert it["tripped"] == 0.0


def test_the_fourth_trip_of_an_hour_waits_for_a_person() -> None:
    """Three restarts by itself within any hour; a reset while dry is refused."""
    it = Instance(DRY_RUN, TANK)
    now = 0.0
    for n in range(3):
        now = after(it, now + 1.0, 1.0, t_level=0.2)
        assert (it["tripped"], it["lockout"]) == (1.0, 0.0)
        now = after(it, now, 60.0, t_level=1.0)
        assert (it["tripped"], it["restarts"]) == (0.0, n + 1)
    now = after(it, now + 1.0, 1.0, t_level=0.2)
    assert it["lockout"] == 1.0
    it["reset"] = 1.0
    now = after(it, now, 1.0)
    assert it["tripped"] == 1.0
    now = after(it, now, 4000.0, t_level=1.0)
    assert it["tripped"] == 1.0
    it["reset"] = 1.0
    after(it, now, 0.1)
    assert (it["tripped"], it["lockout"], it["restarts"]) == (0.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    levels=some.lists(some.sampled_from([0.1, 0.4, 1.0, nan]), min_size=20, max_size=120),
    allowed=some.integers(0, 4),
)
def test_no_level_whatever_restarts_more_often_than_allowed(
    levels: list[float], allowed: int
) -> None:
    """Never more restarts than allowed in any hour, never one without 60 s of water before it."""
    it = Instance(DRY_RUN, {**TANK, "restarts": allowed})
    starts, was, wet, now = [], 0.0, 0.0, 0.0
    for level in levels:
        it["t.level"] = level
        if isnan(level):
            it.bad("t.level", COMM)
        for _ in range(4):
            it.step(now)
            if was == 1.0 and it["tripped"] == 0.0:
                starts.append(now)
                assert now - wet >= 60.0
            was = it["tripped"]
            now += 25.0
            wet = wet if level == 1.0 else now
    assert all(len([s for s in starts if t - 3600 < s <= t]) <= allowed for t in starts)


@settings(max_examples=60, deadline=None)
@given(
    head=some.floats(30, 120), curve=some.floats(0.01, 0.5), share=some.floats(0.3, 0.9),
    pressure=some.floats(0.05, 1.0), speed=some.floats(30, 100), pumps=some.integers(1, 4),
)  # fmt: skip
def test_expected_flow_follows_the_pumps_own_curve(
    head: float, curve: float, share: float, pressure: float, speed: float, pumps: int
) -> None:
    """For any pump: flow under a tenth of the curve's at the present pressure, and only then."""
    setpoint = share * head * 0.00980665
    s0, s = 100 * sqrt(share), speed / 100
    rest = head * s * s - pressure / 0.00980665
    due = pumps * sqrt(rest / curve) if rest > 0 and speed > s0 + 5 else 0.0
    options = {
        "trip": ["p.run"], "flow": "p.flow", "speed": "p.speed", "running": "p.count",
        "pressure": "n.pressure", "setpoint": setpoint, "shutoff_head": head, "curve": curve,
    }  # fmt: skip
    for measured, dry in ((0.101 * due, False), (0.099 * due, due > 0)):
        it = Instance(DRY_RUN, options)
        after(it, 0.0, 20.0, p_flow=measured, p_speed=speed, p_count=pumps, n_pressure=pressure)
        assert it["cause"] == (NO_FLOW if dry else NONE)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"level": "t.level"}, {"level": "t.level", "low_low": 1, "restart_level": 0.9},
        {"flow": "p.flow", "speed": "p.speed"}, {"power": "p.power", "closed_power": 4},
        {"power": "p.power", "speed": "p.speed"}, {"temperature": "p.heat"},
        {**FLOW, "curve": 0.1, "shutoff_head": 60},
    ],
)  # fmt: skip
def test_half_a_description_is_refused(options: dict[str, Any]) -> None:
    """What a part needs is said at once, not found out when the pump is dry."""
    with pytest.raises(ValidationError):
        DryRun.model_validate({"trip": ["p.run"], **options})


def bench() -> Bench:
    """A rule starts the pump; a dry-run protection and an interlock guard it."""
    site = site_of(
        {
            "dry": ("dry_run", TANK),
            "start": ("scale", {"input": 1, "input_low": 0, "input_high": 1, "low": 0, "high": 1,
                                "unit": "", "output": "p.run"}),
        },
        [interlock("door", "p.door", ["p.run"])],
    )  # fmt: skip
    it = Bench(site)
    it["t.level"], it["p.door"] = 1.0, 0.0
    it.step(0.0)
    return it


def test_it_stops_at_slot_5_from_the_protect_program_and_says_why() -> None:
    """It runs where a failing `control` cannot stop it, and explain leads to the level."""
    it = bench()
    assert it.asked("p.run") == 1.0
    assert "rules.dry" in it.programs.protect.owners
    it["t.level"] = 0.1
    it.step(1.0)
    assert it.request("p.run", Slot.PROTECT) == 0.0
    found = explain(it.site, it.programs, it.image, "p.run", 1.0)
    assert (found.winner, found.levels[0].who) == (Slot.PROTECT, "rules.dry")
    (cause,) = found.causes
    assert cause.owner == "rules.dry"
    assert cause.inputs[0].points[0].point == "t.level"
    it["p.door"] = 1.0
    it.step(2.0)
    found = explain(it.site, it.programs, it.image, "p.run", 2.0)
    assert found.levels[0].who == "rules.dry, interlocks.door"
    notes = [(c.owner, c.note.en) for c in found.causes]
    assert notes == [("rules.dry", "first-out"), ("interlocks.door", "")]


def test_a_lockout_is_reset_like_an_interlock() -> None:
    """Both have a reset cell under their own id, and a latch that a kill must not undo."""
    it = bench()
    assert set(it.programs.resets) == set(it.programs.tripped) == {"dry", "door"}
    assert set(it.programs.retained(latches=True)) >= {"rules.dry", "interlocks.door"}
    it["t.level"] = 0.1
    it.step(1.0)
    it["t.level"] = 1.0
    it.reset("dry", 2.0)
    assert it["dry.tripped"] == 0.0
