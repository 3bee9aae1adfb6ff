"""Emptying a pit: the book's storms on the simulated sump, and any other pit by its equations."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.sim.models.drainage import Sump as Pit
from edge.blocks.motor import FAILED, MOTOR_OPERANDS, NOT_AUTO, TRIPPED
from edge.blocks.sump import NOT_READY, READY, SUMP
from edge.blocks.sump_model import Sump, advice
from edge.blocks.sump_watch import (
    BLIND,
    BY_FLOAT,
    CONTRADICTED,
    DOUBTED,
    HELD,
    IDLE,
    NO_PUMP,
    WAITING,
)
from edge.image.quality import BAD, COMM, SENSOR
from tests.support.block import Instance


class Drained:
    """A pit under the block: one step a second, control first. `flood` does what slot 5 would."""

    def __init__(
        self, pumps: int = 2, plant: dict[str, Any] | None = None, dt: float = 1.0, **options: Any
    ) -> None:
        motors = [
            {**{k: f"p{i}.{k}" for k in ("run", "running", "fault")}, "hoa": f"p{i}.auto"}
            for i in range(1, pumps + 1)
        ]
        given = {"level": "level", "float_switch": "float", "test": "test", "area": 2.0, **options}
        self.block = Instance(SUMP, {**given, "pumps": motors})
        self.block.every = self.dt = dt
        self.plant = Pit(pumps=pumps, **(plant or {}))
        self.pumps, self.now = pumps, 0.0
        self.starts: list[tuple[float, int]] = []
        self.peak = 0.0
        self.block["test"] = 0.0
        self.read()
        for i in range(1, pumps + 1):
            self.block[f"p{i}.run"] = 0.0

    def read(self) -> None:
        seen = self.plant.readings()
        self.block["level"] = seen["sump_level"]
        if "float" in self.block.index:
            self.block["float"] = seen["high_float"]
        for i in range(1, self.pumps + 1):
            for name in ("running", "fault", "auto"):
                self.block[f"p{i}.{name}"] = seen[f"p{i}_{name}"]

    def run(self, seconds: float, *, sensor: bool = True) -> Drained:
        for _ in range(round(seconds / self.dt)):
            self.read()
            if not sensor:
                self.block.bad("level", COMM)
            self.block.step(self.now)
            for i in range(1, self.pumps + 1):
                before = self.plant.commands[f"p{i}_run"]
                asked = self.block.request(f"p{i}.run")
                run = 0.0 if isnan(asked) else asked
                if run > before:
                    self.starts.append((self.now, i))
                self.plant.commands[f"p{i}_run"] = run
            self.plant.step(self.dt)
            self.peak = max(self.peak, self.plant.level)
            self.now += self.dt
        return self

    def asked(self) -> list[float]:
        return [self.block.request(f"p{i}.run") for i in range(1, self.pumps + 1)]


def storm(inflow: float, **options: Any) -> Drained:
    return Drained(plant={"inflow": inflow}, **options)


def test_six_hours_of_3() -> None:
    """3 m³/h for 6 h: 7 + 6 starts in turns, the first at 961 s and the second at 2565 s."""
    pit = storm(3.0).run(6 * 3600)
    assert [p for _, p in pit.starts] == [1, 2] * 6 + [1]
    assert pit.starts[0][0] == pytest.approx(961, abs=2)
    assert pit.starts[1][0] == pytest.approx(2565, abs=5)


def test_worst_case_is_3_starts_an_hour() -> None:
    """Z = Qp/(4·V): 12 m³/h and 1.0 m³ give 3.0 starts an hour at an inflow of half the pump."""
    pit = storm(6.0).run(5 * 3600)
    assert len(pit.starts) == pytest.approx(15, abs=1)


def test_lag_joins_by_level() -> None:
    """18 m³/h: without the rising rule the lag joins 238 s after the first start."""
    pit = storm(18.0, rising_time=None).run(1000)
    (first, _), (second, _) = pit.starts[:2]
    assert second - first == pytest.approx(238, abs=3)
    assert pit.peak < 1.12


def test_lag_joins_because_the_level_still_rises() -> None:
    """18 m³/h rises by 0.05 m/min: with the rule the lag joins 120 s after the first start."""
    pit = storm(18.0).run(1000)
    (first, _), (second, _) = pit.starts[:2]
    assert second - first == pytest.approx(120, abs=2)


def test_more_than_the_pumps_can_do() -> None:
    """30 m³/h is more than 24: the high-high level at 415 s, every pump runs."""
    pit = storm(30.0)
    while pit.block["flood"] != 1.0:
        pit.run(1)
    assert pit.now == pytest.approx(415, abs=5)
    assert pit.asked() == [1.0, 1.0]


def test_one_pump_dead() -> None:
    """Pump 1 failed and 10 m³/h: pump 2 takes every start, no high-high."""
    pit = storm(10.0, exercise="0s")
    pit.plant.active.add("pump_dead:1")
    pit.run(300)
    assert pit.block["pump1"] == FAILED
    pit.run(3 * 3600)
    assert pit.peak < 1.30
    assert pit.plant.starts[0] == 0
    assert pit.plant.starts[1] >= 3


@settings(max_examples=6, deadline=None)
@given(
    area=st.floats(0.8, 12.0), flow=st.floats(5.0, 60.0), share=st.floats(0.05, 0.95),
    stop=st.floats(0.2, 0.6), span=st.floats(0.3, 0.9), pumps=st.integers(2, 4),
)  # fmt: skip
def test_any_pit(
    area: float, flow: float, share: float, stop: float, span: float, pumps: int
) -> None:
    """At most Qp/(4·V) starts an hour, in turns; what one pump can do never floods."""
    lead = stop + span
    pit = Drained(
        pumps, {"area": area, "flow": flow, "inflow": share * flow, "level": stop, "spill": 9.0,
                "float_at": lead + 1.0},
        dt=5.0, area=area, stop=stop, start_lead=lead, start_lag=lead + 0.5, high_high=lead + 1.0,
        spill=lead + 2.0, longest_run="3h",
    )  # fmt: skip
    pit.run(2 * 3600)
    worst = flow / (4 * area * span)
    assert len(pit.starts) <= 2 * worst * 1.05 + 1
    assert [p for _, p in pit.starts] == [1 + k % pumps for k in range(len(pit.starts))]
    assert pit.plant.spilt == 0.0
    assert pit.peak < lead + 0.5


@settings(max_examples=4, deadline=None)
@given(inflow=st.floats(12.5, 23.5), pumps=st.integers(2, 4))
def test_no_flood_while_capacity_suffices(inflow: float, pumps: int) -> None:
    """Whatever two pumps can pump never reaches the high-high float."""
    pit = Drained(pumps, {"inflow": inflow}, dt=2.0).run(3600)
    assert pit.peak < 1.30


def test_frozen_transmitter() -> None:
    """S20: the float starts all pumps; told of after 30 s; then the float alone decides."""
    pit = Drained(plant={"level": 0.6}).run(5)
    pit.plant.active.add("transmitter_frozen")
    pit.plant.level = 1.35
    pit.run(2)
    assert pit.asked() == [1.0, 1.0]
    assert pit.block["flood"] == 1.0
    pit.run(28)
    assert pit.block["disagree"] == 0.0
    pit.run(3)
    assert pit.block["disagree"] == 1.0
    pit.run(300)
    assert pit.asked() == [0.0, 0.0]
    assert pit.block["state"] == CONTRADICTED
    assert 0.0 <= pit.plant.level < 0.95
    pit.plant.active.clear()
    pit.run(40)
    assert pit.block["disagree"] == 0.0
    assert pit.block["state"] == IDLE


def urgent(pit: Drained) -> list[float]:
    return [pit.block[f"pump{i}_urgent"] for i in range(1, pit.pumps + 1)]


def stuck_up(**plant: float) -> Drained:
    pit = Drained(plant={"level": 0.7, **plant}).run(5)
    pit.plant.active.add("float_stuck_up")
    return pit


def test_a_float_stuck_up_does_not_run_the_pumps_dry_for_ever() -> None:
    """The level fell with the pumps to `stop` and stays there for 120 s: they rest 600 s, and try
    again for 120 s; what was told of the float stands all the while."""
    pit = stuck_up().run(30)
    assert pit.asked() == urgent(pit) == [1.0, 1.0]
    while pit.block["level"] > 0.40:
        pit.run(1)
    pit.run(118)
    assert urgent(pit) == [1.0, 1.0]
    pit.run(4)
    assert pit.asked() == urgent(pit) == [0.0, 0.0]
    assert (pit.block["state"], pit.block["disagree"], pit.block["flood"]) == (DOUBTED, 1.0, 1.0)
    dry = pit.run(5).plant.running
    assert dry == [False, False]
    pit.run(590)
    assert urgent(pit) == [0.0, 0.0]
    pit.run(6)
    assert urgent(pit) == [1.0, 1.0]
    pit.run(122)
    assert urgent(pit) == [0.0, 0.0]
    starts = sum(pit.plant.starts)
    assert sum(pit.run(3600).plant.starts) - starts == 2 * 5
    pit.plant.active.clear()
    pit.run(40)
    assert (pit.block["state"], pit.block["disagree"], pit.block["flood"]) == (IDLE, 0.0, 0.0)


def test_a_pit_with_a_float_stuck_up_is_emptied_by_its_level() -> None:
    """While the pumps rest the level starts and stops them, and a flood is one."""
    pit = stuck_up().run(400)
    assert pit.block["state"] == DOUBTED
    pit.plant.inflow = 10.0
    pit.run(4 * 3600)
    assert pit.peak < 1.0
    pit.plant.level = 1.32
    pit.run(2)
    assert urgent(pit) == [1.0, 1.0]


def test_a_frozen_transmitter_below_stop_is_never_believed_against_the_float() -> None:
    """S20 at the worst place: it reads an empty pit, and the water stands at the float."""
    pit = Drained(plant={"level": 0.30, "inflow": 23.9}).run(5)
    pit.plant.active.add("transmitter_frozen")
    pit.plant.level = 1.35
    for _ in range(40):
        pit.run(60)
        assert pit.block["state"] != DOUBTED
        assert pit.plant.level < 1.36
    assert pit.block["disagree"] == 1.0


def test_a_level_that_jumps_to_nothing_proves_nothing() -> None:
    """A wet cable in a flood: 4 mA is a good reading of an empty pit. The float goes on pumping,
    also where the transmitter had read too little before."""
    pit = Drained(plant={"level": 1.35, "inflow": 60.0}).run(30)
    for k in range(1800):
        pit.read()
        pit.block["level"], pit.block["float"] = 1.05 if k < 60 else 0.0, 1.0
        pit.block["p1.running"] = pit.block["p2.running"] = 1.0
        pit.block.step(pit.now)
        pit.now += 1.0
        assert urgent(pit) == [1.0, 1.0]


def test_a_restart_does_not_forget_who_was_doubted() -> None:
    """In an empty pit nothing can be proved anew: the proof is kept, and so is the rest."""
    pit = stuck_up().run(400)
    assert pit.block["state"] == DOUBTED
    pit.now += 60.0
    pit.run(10)
    assert urgent(pit) == [0.0, 0.0]
    assert pit.block["state"] == DOUBTED


def test_a_transmitter_lost_while_the_float_is_doubted_gives_the_float_its_word_back() -> None:
    """Nothing contradicts it any more."""
    pit = stuck_up().run(400)
    pit.run(2, sensor=False)
    assert urgent(pit) == [1.0, 1.0]


def test_a_dead_transmitter_holds_then_the_float_works() -> None:
    """What runs goes on for 30 s, then stops; a flood still starts every pump."""
    pit = Drained(plant={"level": 0.95}).run(10)
    assert pit.asked() == [1.0, 0.0]
    pit.run(20, sensor=False)
    assert pit.asked() == [1.0, 0.0]
    assert pit.block["state"] == HELD
    pit.run(20, sensor=False)
    assert pit.asked() == [0.0, 0.0]
    assert pit.block["state"] == BY_FLOAT
    pit.plant.inflow, pit.plant.level = 6.0, 1.31
    pit.run(2, sensor=False)
    assert pit.asked() == [1.0, 1.0]
    pit.run(3600, sensor=False)
    assert pit.peak < 1.33


def test_without_float_and_level_the_request_is_withdrawn() -> None:
    """Nothing is known: hold, then nothing is asked for."""
    pit = Drained(float_switch=None)
    for k in range(40):
        if k < 3:
            pit.block["level"] = 0.95
        else:
            pit.block.bad("level", SENSOR)
        pit.block["p1.running"] = float(k > 0)
        pit.block.step(float(k))
        if k == 30:
            assert pit.asked() == [1.0, 0.0]
    assert isnan(pit.asked()[0])
    assert pit.block["state"] == BLIND


def test_a_float_that_stays_down() -> None:
    """The level alone floods and pumps; the contradiction is told of."""
    pit = storm(30.0)
    pit.plant.active.add("float_stuck")
    pit.run(700)
    assert pit.block["flood"] == 1.0
    assert pit.asked() == [1.0, 1.0]
    assert pit.block["disagree"] == 1.0


def test_both_pumps_gone() -> None:
    """Nobody can pump: P1, whatever the reason."""
    pit = storm(10.0)
    pit.plant.active |= {"pump_trip:1", "hoa_off:2"}
    pit.run(900)
    assert pit.block["state"] == NO_PUMP
    assert (pit.block["pump1"], pit.block["pump2"]) == (TRIPPED, NOT_AUTO)
    ours = [a.id for a in SUMP.alarms(pit.block.model) if a.priority == 1]
    assert ours == ["{RULE}_FLOOD_HIGH", "{RULE}_NO_PUMP_AVAILABLE"]


def test_a_blocked_pump_gives_way_to_the_next() -> None:
    """3600 s below the lead level without reaching stop: told of, and pump 2 tries."""
    pit = Drained(plant={"level": 0.91}, rising_time=None)
    pit.plant.active.add("pump_blocked:1")
    pit.run(5)
    pit.plant.level = 0.8
    pit.run(3500)
    assert pit.block["not_emptying"] == 0.0
    assert pit.asked() == [1.0, 0.0]
    pit.run(120)
    assert pit.block["not_emptying"] == 1.0
    assert pit.asked() == [0.0, 1.0]
    pit.run(600)
    assert pit.block["not_emptying"] == 0.0
    assert pit.plant.level < 0.41


def test_exercise_after_a_dry_week() -> None:
    """Each pump turns for 10 s, one after the other, once in seven days."""
    pit = Drained(plant={"level": 0.2}, dt=5.0, exercise_after="1d").run(86400 + 60)
    assert [i for _, i in pit.starts] == [1, 2]
    assert pit.starts[1][0] - pit.starts[0][0] == pytest.approx(10, abs=5)
    assert pit.asked() == [0.0, 0.0]
    assert pit.run(80000).plant.starts == [1, 1]


@pytest.mark.parametrize("fault", ["", "pump_dead:2", "hoa_off:1"])
def test_readiness_before_the_rains(fault: str) -> None:
    """Every pump must start and say so; one that cannot makes the pit not ready."""
    pit = Drained().run(5)
    pit.plant.active |= {fault} - {""}
    for asked in (1.0, 0.0):
        pit.block["test"] = asked
        pit.run(30)
    assert pit.block["readiness"] == (NOT_READY if fault else READY)
    failed = [i for i in (1, 2) if pit.block[f"pump{i}_test"] == 2.0]
    assert failed == ([int(fault[-1])] if fault else [])
    assert pit.block["state"] == IDLE


def test_inflow_capacity_and_wear() -> None:
    """What comes in and what a pump does is known to a few percent; a worn pump is seen."""
    pit = storm(3.0, capacity="12 m3/h").run(1380)
    assert pit.block["inflow"] == pytest.approx(3.0, rel=0.03)
    assert pit.block["pump1_capacity"] == pytest.approx(12.0, rel=0.05)
    pit.plant.wear = 0.7
    pit.run(3600)
    assert pit.block["pump2_capacity"] == pytest.approx(8.4, rel=0.05)
    wear = [a.when for a in SUMP.alarms(pit.block.model) if a.id.endswith("WEAR")]
    assert wear == ["{rule}.pump1_capacity < 9.6", "{rule}.pump2_capacity < 9.6"]


def test_what_runs_is_adopted() -> None:
    """At the start a running pump goes on, above the stop level whatever the lead level is."""
    pit = Drained(plant={"level": 0.7})
    pit.plant.commands["p2_run"] = 1.0
    pit.plant.step(0.0)
    pit.read()
    pit.block["p2.run"] = 1.0
    pit.run(20)
    assert pit.asked() == [0.0, 1.0]


def test_a_flood_that_nobody_sees_any_more_is_not_over() -> None:
    """With level and float lost, what was told of the flood is neither raised nor cleared."""
    pit = Drained(plant={"level": 1.2, "inflow": 60.0}).run(60)
    assert pit.block["flood"] == 1.0
    pit.run(1)
    pit.block.bad("level", COMM)
    pit.block.bad("float", COMM)
    pit.block.step(pit.now + 1.0)
    assert isnan(pit.block["flood"])
    assert pit.block.quality("flood") & BAD


def test_silent_pumps_are_waited_for_at_every_start() -> None:
    """Not adopted as stopped after one scan, neither at the first nor at a later start."""
    pit = Drained(plant={"level": 0.7})
    for start in (0.0, 9000.0):
        for name in ("p1.run", "p2.run", "p1.running", "p2.running"):
            pit.block.bad(name, COMM)
        for k in range(4):
            pit.block.step(start + k)
            assert pit.block["state"] == WAITING
        for name in ("p1.run", "p2.run", "p1.running", "p2.running"):
            pit.block[name] = float(name.startswith("p1"))
        pit.block.step(start + 4.0)
        assert pit.asked() == [1.0, 0.0]


def test_a_pit_that_is_too_small_is_told() -> None:
    """12 m³/h on 1 m³ are 1.5 starts an hour of each of two pumps; on 0.1 m³ they are 15."""
    pit = {"level": "l", "pumps": ["a", "b"], "capacity": "12 m³/h", "start_lead": "0.90 m"}
    large, small = (Sump.model_validate({**pit, "area": a}) for a in (2.0, 0.2))
    assert advice(large, lambda *_: None) == ()
    assert "15 times" in advice(small, lambda *_: None)[0].en


@pytest.mark.parametrize(
    "levels", [{"stop": 1.0}, {"start_lag": 0.9}, {"high_high": 1.05}, {"spill": 1.2}]
)
def test_the_order_of_levels_is_enforced(levels: dict[str, float]) -> None:
    """stop < start_lead < start_lag < high_high ≤ spill, or the site is refused."""
    with pytest.raises(ValidationError, match="must be below"):
        Sump.model_validate({"level": "l", "pumps": ["p"], **levels})
    assert MOTOR_OPERANDS == 7
