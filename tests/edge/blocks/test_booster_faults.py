"""A booster set in trouble: lost feedbacks, held outputs, the only drive, a slow restart."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from edge.blocks.booster import BOOSTER, FALLBACK, HELD, OVER_PRESSURE, REGULATING, WAITING
from edge.blocks.booster_layout import LEARNT, QUIET_AT, STAGE
from edge.blocks.booster_model import Booster, advice
from edge.blocks.cooling_tower import COOLING_TOWER, CoolingTower
from edge.image.quality import COMM
from edge.image.slots import Slot
from tests.support.block import Instance
from tests.support.booster import Set, no_flow_speed
from tests.support.rules import Bench, site_of

OPTIONS: dict[str, Any] = {
    "pressure": "b.pressure", "setpoint": "0.40 MPa", "filter": "0s", "sleep": False,
    "shutoff_head": "65 m",
}  # fmt: skip
NAMES = ("b.p1", "b.p2", "b.p3")


def running_set(**options: Any) -> Instance:
    """Three pumps, the first of which runs at 82 %."""
    block = Instance(BOOSTER, {**OPTIONS, "pumps": list(NAMES), **options})
    block["b.pressure"] = 0.40
    for name in NAMES:
        on = name == "b.p1"
        for point, value in (("running", on), ("run", on), ("speed", 82.0 * on), ("fault", 0)):
            if f"{name}.{point}" in block.index:
                block[f"{name}.{point}"] = float(value)
    return block


def test_lost_feedbacks_and_a_low_pressure_do_not_stop_the_water() -> None:
    """A pump without feedback is given up only while another one can take its place."""
    block = running_set()
    for tick in range(400):
        for name in NAMES:
            block[f"{name}.running"] = block[f"{name}.run"]
            if tick > 20:
                block.bad(f"{name}.running", COMM)
        block["b.pressure"] = 0.40 if tick < 40 else 0.33
        block.step(tick * 0.5)
    assert sum(block.request(f"{name}.run") for name in NAMES) == 2
    assert block["state"] == REGULATING


def test_the_only_drive_keeps_the_lead() -> None:
    """A set with one drive is not led by a pump on the mains, however long the lead has run."""
    fixed = [{"run": f"{n}.run", "running": f"{n}.running"} for n in NAMES[1:]]
    first = {**fixed[0], "run": "b.p1.run", "running": "b.p1.running", "speed": "b.p1.speed"}
    block = running_set(pumps=[first, *fixed], mode="single_vfd", max_lead_run="60s")
    for tick in range(200):
        block.step(tick * 0.5)
        for name in NAMES:
            block[f"{name}.running"] = block[f"{name}.run"]
    assert [block.request(f"{name}.run") for name in NAMES] == [1.0, 0.0, 0.0]


def test_a_drive_takes_the_lead_over_at_the_common_speed() -> None:
    """With several drives the one that comes does not turn at full speed during the overlap."""
    block = running_set(mode="single_vfd", max_lead_run="60s")
    most = 0.0
    for tick in range(200):
        block.step(tick * 0.5)
        for name in NAMES:
            block[f"{name}.running"] = block[f"{name}.run"]
        most = max(most, *(block.request(f"{name}.speed") for name in NAMES))
    assert [block.request(f"{name}.run") for name in NAMES] == [0.0, 1.0, 0.0]
    assert most <= 90.0


@pytest.mark.parametrize("held", [Slot.MIN_TIME, Slot.REMOTE])
def test_over_pressure_stops_a_pump_that_is_held_on(held: Slot) -> None:
    """Neither a minimum on-time nor a person far away keeps a pump running against it."""
    bench = Bench(site_of({"supply": ("booster", {**OPTIONS, "pumps": ["b.p1", "b.p2"]})}))
    points = {"b.pressure": 0.4, "b.p1.run": 1, "b.p1.running": 1, "b.p1.speed": 82, "b.p2.run": 0}
    points |= {"b.p2.running": 0, "b.p2.speed": 0, "b.p1.fault": 0, "b.p2.fault": 0}
    for name, value in points.items():
        bench[name] = float(value)
    for tick in range(20):
        bench.step(tick * 0.5)
    bench.taken["b.p1.run"] = (int(held), 1.0)
    bench["b.pressure"] = 0.60
    for tick in range(20, 40):
        bench.step(tick * 0.5)
    assert bench["supply.state"] == OVER_PRESSURE
    assert bench.request("b.p1.run", Slot.PROTECT) == 0.0
    assert bench["b.p1.run"] == 0.0
    bench["b.pressure"] = 0.35
    for tick in range(40, 60):
        bench.step(tick * 0.5)
    assert bench["supply.state"] == REGULATING
    assert isnan(bench.request("b.p1.run", Slot.PROTECT))


def test_every_start_waits_for_the_pumps_anew() -> None:
    """A start that had to wait does not take the patience of the next one away."""
    block = running_set()
    for start in (0.0, 5000.0):
        for name in NAMES:
            for point in ("run", "running"):
                block.bad(f"{name}.{point}", COMM)
        block.step(start)
        block.step(start + 1.0)
        assert block["state"] == WAITING
        for name in NAMES:
            for point in ("run", "running"):
                block[f"{name}.{point}"] = float(name == "b.p1")
        for tick in range(4, 10):
            block.step(start + tick * 0.5)
        assert block["state"] == REGULATING


def test_what_must_last_does_not_last_through_a_blind_time() -> None:
    """A pump is not stopped, nor the set put to sleep, on the first look after a lost sensor."""
    plant = Set(demand=0.5, sleep=True).settled()
    plant.block.st[QUIET_AT] = plant.now - 30.0
    plant.sensor = False
    plant.run(20)
    assert isnan(plant.block.st[QUIET_AT])
    assert plant.block.st[STAGE] == 1.0


def test_a_gap_is_no_over_pressure_and_no_lost_sensor() -> None:
    """What began before a gap has not lasted through it: the sensor is held for 30 s again."""
    block = running_set()
    for tick in range(4):
        block.step(tick * 0.5)
        for name in NAMES:
            block[f"{name}.running"] = block[f"{name}.run"]
    block["b.pressure"] = 0.55
    block.step(2.0)
    block.bad("b.pressure", COMM)
    block.step(2.5)
    block.step(1000.0)
    assert block["state"] == HELD
    block["b.pressure"] = 0.55
    block.step(1000.5)
    assert block["state"] == REGULATING


def test_a_standby_that_may_not_start_yet_is_replaced_until_it_does() -> None:
    """Neither a minimum off-time nor the starts per hour leave a set without a pump."""
    block = running_set(lead="fixed")
    for tick in range(60):
        for name in NAMES:
            block[f"{name}.running"] = block[f"{name}.run"]
        if tick == 10:
            block["b.p1.fault"], block["b.p1.running"] = 1.0, 0.0
            block.taken["b.p2.run"] = (int(Slot.MIN_TIME), 0.0)
        if tick == 12:
            assert [block[f"{name}.run"] for name in NAMES] == [0.0, 0.0, 1.0]
        if tick == 40:
            assert [block[f"{name}.run"] for name in NAMES] == [0.0, 0.0, 1.0]
            block.taken.clear()
        block.step(tick * 0.5)
    assert sum(block[f"{name}.run"] for name in NAMES) == 1.0


def test_a_learnt_pump_head_caps_the_fallback_speed() -> None:
    """Without `shutoff_head` as well the set never gives more than the setpoint + 10 % blind."""
    block = running_set(shutoff_head=None, fallback_speed="95 %")
    block.st[LEARNT] = 65.0
    for tick in range(200):
        for name in NAMES:
            block[f"{name}.running"] = block[f"{name}.run"]
        if tick > 4:
            block.bad("b.pressure", COMM)
        block.step(tick * 0.5)
    assert block["state"] == FALLBACK
    assert block.request("b.p1.speed") == pytest.approx(no_flow_speed(0.44))


def test_a_stage_lock_shorter_than_the_ramp_is_told() -> None:
    """Ramp time + 5 s: 15 s at 10 %/s, 25 s at 5 %/s."""
    options = {**OPTIONS, "pumps": list(NAMES)}
    assert advice(Booster.model_validate(options), lambda *_: None) == ()
    slow = Booster.model_validate({**options, "slew": 5.0})
    assert "25 s" in advice(slow, lambda *_: None)[0].en


def test_a_switch_that_was_forgotten_is_told_where_there_is_one() -> None:
    """Out of AUTO for 24 hours is an alarm of every pump and fan with a hand-off-auto switch."""
    pump = {"run": "a.run", "speed": "a.speed", "running": "a.running", "hoa": "a.auto"}
    model = Booster.model_validate({**OPTIONS, "pumps": [pump, "b.p2"]})
    told = {a.id: a for a in BOOSTER.alarms(model) if a.id.endswith("NOT_AUTO")}
    assert list(told) == ["{RULE}_PUMP1_NOT_AUTO"]
    assert (told["{RULE}_PUMP1_NOT_AUTO"].priority, told["{RULE}_PUMP1_NOT_AUTO"].on_delay) == (
        3, 86400.0,
    )  # fmt: skip
    cell = {"run": "f.run", "running": "f.running", "hoa": "f.auto"}
    tower = CoolingTower.model_validate({"leaving": "t", "cells": [cell]})
    assert any(a.id == "{RULE}_FAN1_NOT_AUTO" for a in COOLING_TOWER.alarms(tower))
