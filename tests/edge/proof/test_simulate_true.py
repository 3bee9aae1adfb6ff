"""`edge simulate` beside the whole controller in virtual time, and how it takes its polls."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.proof.setting import setting
from edge.proof.simulate import Simulation, _Group
from edge.proof.stage import Stage
from edge.proof.trial import Trial
from edge.proof.virtual_loop import run_virtual
from edge.rules.kernel import compile_kernel
from edge.scan.cycle import Outcome

RESIDENTIAL = Path(__file__).parents[3] / "config" / "residential"
BEGAN = datetime(2026, 3, 20, 6, 50, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
MINUTE = 410.0
LASTS = 1000.0
STEPS = {200.0: 1.0, 500.0: 0.25}  # what people draw of the evening's peak, from when on
EQUIPMENT = {"people": {"steady": 0.3}, "sump": {"level": 0.8}}
LOOKED = ("booster.discharge_pressure", "zone3.pressure", "pit.level", "lane.level")
SWITCHED = ("booster.p1.run", "booster.p2.run", "booster.p3.run", "pit.p1.run", "pit.p2.run")
SETTLED = 5.0  # s from which on extremes count


@dataclass
class Run:
    """What one of the two brought: values after each scan, writes, counters of the equipment."""

    times: list[float] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    writes: list[tuple[float, str, float]] = field(default_factory=list)
    equipment: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, point: str) -> np.ndarray[Any, Any]:
        """Its values each second."""
        at = np.searchsorted(self.times, np.arange(SETTLED, LASTS), side="right") - 1
        return np.asarray(self.rows)[at, LOOKED.index(point)]

    def switched(self) -> list[tuple[str, bool, float]]:
        """Every start and stop: the output, whether it went on, when."""
        found, on = [], dict.fromkeys(SWITCHED, 0.0)
        for now, point, value in self.writes:
            if point in on and now > SETTLED and value != on[point]:
                found.append((point, value > 0, now))
            if point in on:
                on[point] = value
        return found


def controlled(folder: Path) -> Run:
    """The whole controller: buses, budgets, arrivals at any time, a scan every 100 ms at least."""
    run = Run()
    stage = Stage(
        RESIDENTIAL, folder, lambda: BEGAN + asyncio.get_running_loop().time(), DRIVERS,
        equipment=EQUIPMENT, minute=MINUTE,
    )  # fmt: skip
    at = [stage.index[name] for name in LOOKED]

    class Few(list[Any]):
        def append(self, row: Any) -> None:
            super().append(row[at].tolist())

    stage.trace.values = Few()

    async def go() -> None:
        await stage.start()
        for when, share in STEPS.items():
            await asyncio.sleep(when - stage.now)
            stage.equipment("people").steady = share
        await asyncio.sleep(LASTS - stage.now)
        await stage.stop()

    run_virtual(go, most=None)
    run.times, run.rows = stage.trace.times, stage.trace.values
    run.writes = stage.line.written
    run.equipment = {name: model.readings() for name, model in stage.rig.models.items()}
    return run


def simulated() -> Run:
    """The scan alone."""
    run, found = Run(), setting(RESIDENTIAL, DRIVERS, equipment=EQUIPMENT, minute=MINUTE)
    rig = found.field.rig
    at = [found.site.index()[name] for name in LOOKED]

    def after(now: float, outcome: Outcome) -> None:
        run.times.append(now)
        run.rows.append(simulation.scan.image.value[at].tolist())
        run.writes += [(now, write.point, write.value) for _, write in outcome.writes]

    simulation = Simulation(
        found.site, KINDS, compile_kernel().run, found.field, wall=BEGAN, after=after
    )
    for when, share in STEPS.items():
        simulation.at(when, lambda share=share: setattr(rig.models["people"], "steady", share))  # type: ignore[misc]
    for _ in simulation.run(LASTS, LASTS):
        pass
    run.equipment = {name: model.readings() for name, model in rig.models.items()}
    return run


def test_a_simulated_stretch_is_what_the_whole_controller_does(tmp_path: Path) -> None:
    """Pumps staged on a load step and down again, a sump pumped out, a car in the garage: the same
    starts, apart by a period of the rule and the age of what it reads (a level is polled each
    second, which counts at both ends); energy within 0.2 %; pressures within 4 kPa at their
    extremes and 0.5 kPa in the mean.
    """
    real, quick = controlled(tmp_path), simulated()
    assert [event[:2] for event in quick.switched()] == [event[:2] for event in real.switched()]
    assert {point for point, *_ in real.switched()} >= {"booster.p2.run", "pit.p1.run"}
    for (point, _, then), (*_, now) in zip(real.switched(), quick.switched(), strict=True):
        assert now == pytest.approx(then, abs=2.1 if point.startswith("pit") else 0.6), point
    for model, near in (("supply", 0.002), ("sump", 0.01), ("garage", 0.002), ("yard", 0.002)):
        used, wanted = quick.equipment[model]["energy"], real.equipment[model]["energy"]
        assert used == pytest.approx(wanted, rel=near), model
    for point, extreme, mean in (
        ("booster.discharge_pressure", 0.004, 0.0005),
        ("zone3.pressure", 0.004, 0.0005),
        ("pit.level", 0.005, 0.002),
    ):
        then, now = real.of(point), quick.of(point)
        assert now.min() == pytest.approx(then.min(), abs=extreme), point
        assert now.max() == pytest.approx(then.max(), abs=extreme), point
        assert np.abs(now - then).mean() <= mean, point
    assert real.of("booster.discharge_pressure").max() > 0.45
    assert real.of("lane.level").max() == quick.of("lane.level").max() == 100.0
    assert len(quick.times) < len(real.times) / 10


def _trial(lasts: float, **given: Any) -> Trial:
    found = setting(RESIDENTIAL, DRIVERS, minute=MINUTE)
    return Trial(found, compile_kernel().run, BEGAN, lasts, **given)


def test_equipment_steps_as_often_as_it_is_looked_at_and_no_oftener() -> None:
    """The set's pressure is polled every 250 ms, and what is coupled to it steps with it; what has
    a coarser step of its own keeps that; nothing steps more rarely than twice a second."""
    trial = _trial(60.0)
    steps: dict[str, list[float]] = {}
    for name, model in trial.rig.models.items():

        def watched(dt: float, name: str = name, step: Any = model.step) -> None:
            steps.setdefault(name, []).append(dt)
            step(dt)

        model.step = watched  # type: ignore[method-assign]
    trial.rig._arrange()
    for _ in trial:
        pass
    assert {name: (len(found), set(found)) for name, found in steps.items()} == {
        "supply": (240, {0.25}), "zones": (240, {0.25}), "hydrant": (120, {0.5}),
        **dict.fromkeys(("people", "sump", "garage", "yard", "panel"), (60, {1.0})),
    }  # fmt: skip


def test_a_button_that_is_pressed_for_a_moment_is_seen(tmp_path: Path) -> None:
    """Its inputs are polled every 100 ms: 200 ms are enough to acknowledge."""
    trial = _trial(120.0, folder=tmp_path)
    rig, simulation = trial.rig, trial.simulation
    simulation.at(40.0, lambda: rig.start("hydrant", "pressure_low"))
    simulation.at(100.03, lambda: rig.start("panel", "press:2"))
    simulation.at(100.23, lambda: rig.stop("panel", "press:2"))
    for _ in trial:
        pass
    rows = list(csv.DictReader((tmp_path / "alarms.csv").read_text("utf-8-sig").splitlines()))
    seen = [(row["event"], row["time"]) for row in rows if "MAIN" in row["alarm"]]
    assert [event for event, _ in seen] == ["raised", "acknowledged"]
    assert seen[1][1] == "2026-03-20 06:51:40.1"


def test_polls_that_can_bring_nothing_new_are_left_out_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between two steps of a model nobody need look: with every poll made the files are the same,
    but for the moment of writes and faults, which are looked at at the next poll in both."""
    for name in ("few", "all"):
        trial = _trial(900.0, folder=tmp_path / name)
        for model, fault, first in (("panel", "press:4", 61.07), ("sump", "pump_trip:1", 300.3)):
            trial.simulation.at(first, partial(trial.rig.start, model, fault))
            trial.simulation.at(first + 0.31, partial(trial.rig.stop, model, fault))
        for _ in trial:
            pass
        polls = {g.every / g.period for r in trial.simulation._rounds for g in r.groups}
        assert (polls == {1.0}) == (name == "all")
        monkeypatch.setattr(_Group, "every", property(lambda group: group.period))
    for file in ("samples.csv", "alarms.csv"):
        assert (tmp_path / "few" / file).read_bytes() == (tmp_path / "all" / file).read_bytes()
