"""A pump that tripped or did not start stays out until a person resets it (domain §1.18, S13)."""

from __future__ import annotations

from typing import Any

import pytest

from edge.blocks import KINDS
from edge.blocks.kind import Kind
from edge.blocks.motor import BLOCKED, FAILED, RUNNING, STOPPED, TRIPPED
from edge.image.quality import COMM
from edge.image.slots import Slot
from tests.support.block import Instance
from tests.support.booster import Set
from tests.support.rules import Bench, site_of

NAMES = ("b.p1", "b.p2", "b.p3")
WITHOUT_TARGETS = {"duty": 2, "lead": "fixed"}


def trip(plant: Set, pump: int) -> None:
    """The fault contact closes and opens again."""
    plant.plant.active.add(f"pump_trip:{pump}")
    plant.run(1)
    plant.plant.active.clear()
    plant.run(60)


def test_a_contact_that_opens_again_resets_nothing() -> None:
    """S13: locked out though the contact is open, the standby runs; a reset makes it ready."""
    plant = Set(**WITHOUT_TARGETS).settled()
    trip(plant, 1)
    assert (plant.block["pump1"], plant.block["tripped"]) == (TRIPPED, 1)
    assert plant.asked("run") == [0.0, 1.0, 0.0]
    plant.run(3600)
    assert plant.block["pump1"] == TRIPPED
    plant.block["reset"] = 1.0
    plant.run(1)
    assert (plant.block["pump1"], plant.block["tripped"]) == (STOPPED, 0)
    assert plant.asked("run") == [0.0, 1.0, 0.0]


def test_a_reset_does_nothing_while_the_fault_stands() -> None:
    """Nor does it count later: the person has to come again."""
    plant = Set(**WITHOUT_TARGETS).settled()
    plant.plant.active.add("pump_trip:1")
    plant.run(5)
    plant.block["reset"] = 1.0
    plant.run(5)
    assert plant.block["pump1"] == TRIPPED
    plant.plant.active.clear()
    plant.run(60)
    assert plant.block["pump1"] == TRIPPED


def test_a_locked_out_pump_is_not_started_when_the_load_needs_it() -> None:
    """Two pumps are wanted and the third stands by: the tripped one stays where it is."""
    plant = Set(**WITHOUT_TARGETS).settled()
    trip(plant, 1)
    trip(plant, 2)
    plant.plant.demand = 24.0
    plant.run(120)
    assert plant.asked("run") == [0.0, 0.0, 1.0]


def test_a_correction_that_keeps_the_pump_off_resets_it() -> None:
    """§1.19, a resettable trip of the drive: slot 10 holds it off for 30 s, then it is ready."""
    plant = Set(**WITHOUT_TARGETS).settled()
    plant.plant.active.add("pump_trip:1")
    plant.run(6)
    plant.block.taken["p1.run"] = (int(Slot.CORRECT), 0.0)
    plant.run(1)
    assert plant.block["pump1"] == TRIPPED
    plant.plant.active.clear()
    plant.run(1)
    assert plant.block["pump1"] == BLOCKED
    plant.block.taken.clear()
    plant.run(1)
    assert (plant.block["pump1"], plant.block["tripped"]) == (STOPPED, 0)


@pytest.mark.parametrize("slot", [Slot.PROTECT, Slot.LOCAL, Slot.REMOTE])
def test_nobody_else_who_keeps_it_off_resets_it(slot: Slot) -> None:
    """A tripped interlock or a person's command at a distance is no reset."""
    plant = Set(**WITHOUT_TARGETS).settled()
    trip(plant, 1)
    plant.block.taken["p1.run"] = (int(slot), 0.0)
    plant.run(5)
    plant.block.taken.clear()
    plant.run(5)
    assert plant.block["pump1"] == TRIPPED


def test_a_correction_does_not_reset_what_nobody_can_see() -> None:
    """A fault contact that cannot be read may still be closed."""
    plant = Set(**WITHOUT_TARGETS).settled()
    trip(plant, 1)
    read = plant.read

    def unread() -> None:
        read()
        plant.block.bad("p1.fault", COMM)

    plant.read = unread  # type: ignore[method-assign]
    plant.block.taken["p1.run"] = (int(Slot.CORRECT), 0.0)
    plant.run(5)
    assert plant.block["pump1"] == TRIPPED


def test_a_failed_start_stays_out_while_another_can_take_its_place() -> None:
    """Of three pumps with a duty of two one may be out: no retry, whatever time passes."""
    plant = Set(retry="20s", **WITHOUT_TARGETS).settled()
    plant.plant.active.add("no_run_feedback:1")
    plant.run(60)
    assert (plant.block["pump1"], plant.block["tripped"]) == (FAILED, 1)


def test_failed_starts_are_tried_again_where_too_few_are_left() -> None:
    """Lost feedbacks never stop the water: with one pump left of two, the others are tried."""
    plant = Set(retry="20s", **WITHOUT_TARGETS).settled()
    plant.plant.active.update({"no_run_feedback:1", "no_run_feedback:2"})
    plant.run(60)
    states = {plant.block["pump1"], plant.block["pump2"]}
    assert FAILED in states
    plant.plant.active.clear()
    plant.plant.demand = 20.0
    plant.run(120)
    assert sum(plant.asked("run")) == 2
    assert plant.plant.pressure == pytest.approx(0.40, abs=0.01)


def test_trips_are_not_tried_again_where_too_few_are_left() -> None:
    """An overload is for people only: not even a set without water starts it by itself."""
    plant = Set(retry="20s", **WITHOUT_TARGETS).settled()
    for pump in (1, 2, 3):
        trip(plant, pump)
    plant.run(120)
    assert plant.asked("run") == [0.0, 0.0, 0.0]


class Cabinet:
    """A set on fail-safe contacts: without mains every drive stands and says fault."""

    def __init__(self, plant: Set, skew: float = 0.0) -> None:
        self.plant, self.skew = plant, skew

    def cut(self, seconds: float) -> None:
        """Contacts are read one after another, `skew` s apart, in both directions."""
        faults = self.plant.plant.active
        for change in (faults.add, faults.discard):
            for pump in (1, 2, 3):
                change(f"pump_trip:{pump}")
                self.plant.run(self.skew)
            self.plant.run(seconds)
            seconds = 60.0


@pytest.mark.parametrize("seconds", [1.0, 30.0, 7200.0])
@pytest.mark.parametrize("skew", [0.0, 0.5, 2.0])
def test_a_power_cut_locks_nobody_out(seconds: float, skew: float) -> None:
    """The contacts fall with the mains, one after another as they are read: when the mains are
    back there is water, without anybody's coming."""
    plant = Set(duty=2).settled()
    Cabinet(plant, skew).cut(seconds)
    assert plant.block["tripped"] == 0
    plant.run(120)
    assert sum(plant.asked("run")) == 1
    assert plant.plant.pressure == pytest.approx(0.40, abs=0.01)


def test_a_pump_that_had_tripped_stays_out_over_a_power_cut() -> None:
    """Its fault was its own."""
    plant = Set(duty=2).settled()
    trip(plant, 1)
    Cabinet(plant, 0.5).cut(30)
    assert (plant.block["pump1"], plant.block["tripped"]) == (TRIPPED, 1)
    assert sum(plant.asked("run")) == 1


def test_a_trip_beside_a_pump_that_is_out_for_repair_is_a_trip() -> None:
    """Two drives without power for a week are no reason to forgive the third one's overload."""
    plant = Set(**WITHOUT_TARGETS).settled()
    plant.plant.active |= {"pump_trip:2", "pump_trip:3"}
    plant.run(600)
    assert plant.block["tripped"] == 0
    trip(plant, 1)
    plant.plant.active.clear()
    plant.run(60)
    assert plant.block["pump1"] == TRIPPED


def test_a_contact_at_a_pump_that_stands_keeps_it_off_and_no_longer() -> None:
    """Its breaker was off: nothing tripped."""
    plant = Set(**WITHOUT_TARGETS).settled()
    plant.plant.active.add("pump_trip:2")
    plant.run(600)
    assert (plant.block["pump2"], plant.block["tripped"]) == (TRIPPED, 0)
    plant.plant.active.clear()
    plant.run(1)
    assert plant.block["pump2"] == STOPPED


def test_rotation_starts_again_after_a_power_cut() -> None:
    """Although a minimum on-time holds its contactor through the cut."""
    block = rotating()
    turn(block, 0.0, 5.0)
    block.taken["f1.run"] = (int(Slot.MIN_TIME), 1.0)
    for name in ("f1", "f2", "f3"):
        block[f"{name}.fault"] = 1.0
    turn(block, 5.0, 60.0, dead=("f1", "f2", "f3"))
    block.taken.clear()
    for name in ("f1", "f2", "f3"):
        block[f"{name}.fault"] = 0.0
    turn(block, 65.0, 5.0)
    assert (block["running"], block["tripped"]) == (1, 0)


def rotating(**options: Any) -> Instance:
    """Three fans of which one is asked for."""
    block = Instance(
        KINDS["rotation"],
        {"demand": "hall.fans", "pumps": ["f1", "f2", "f3"], "retry": "20s", **options},
    )
    for name in block.index:
        block[name] = 0.0
    block["hall.fans"] = 1.0
    return block


def turn(block: Instance, start: float, seconds: float, dead: tuple[str, ...] = ()) -> None:
    for k in range(round(seconds / 0.5)):
        block.step(start + 0.5 * k)
        for name in ("f1", "f2", "f3"):
            block[f"{name}.running"] = block[f"{name}.run"] * (name not in dead)


def test_rotation_keeps_a_tripped_motor_out() -> None:
    """The same for motors on the mains: the next one runs, the tripped one waits for a reset."""
    block = rotating()
    turn(block, 0.0, 5.0)
    block["f1.fault"] = 1.0
    turn(block, 5.0, 2.0)
    block["f1.fault"] = 0.0
    turn(block, 7.0, 60.0)
    assert (block["pump1"], block["pump2"], block["tripped"]) == (TRIPPED, RUNNING, 1)
    block["reset"] = 1.0
    turn(block, 67.0, 5.0)
    assert (block["pump1"], block["tripped"]) == (STOPPED, 0)


def test_rotation_tries_failed_starts_again_where_too_few_are_left() -> None:
    """One of three that failed stays out; when three are asked for it is tried again."""
    block = rotating()
    turn(block, 0.0, 60.0, dead=("f1",))
    assert block["pump1"] == FAILED
    block["hall.fans"] = 3.0
    turn(block, 60.0, 60.0)
    assert [block[f"pump{i}"] for i in (1, 2, 3)] == [RUNNING] * 3


@pytest.mark.parametrize("kind", [KINDS["booster"], KINDS["rotation"]], ids=lambda kind: kind.name)
def test_the_alarm_stands_as_long_as_the_pump_is_out(kind: Kind) -> None:
    """P2, latched by the lock-out itself, with what to do at the pump before the reset."""
    options = {"pressure": "p", "setpoint": "0.4 MPa", "demand": "d", "pumps": list(NAMES)}
    known = {name: v for name, v in options.items() if name in kind.model.model_fields}
    alarms = {a.id: a for a in kind.alarms(kind.model.model_validate(known))}
    told = alarms["{RULE}_PUMP2_TRIP"]
    assert (told.priority, told.when, told.off_delay) == (2, f"{{rule}}.pump2 == {TRIPPED}", 0.0)
    assert "reset" in told.checks[-1].en


@pytest.mark.parametrize("fault", ["b.p1.fault", f"supply.pump1 == {TRIPPED}"])
def test_a_correction_and_the_booster_together(fault: str) -> None:
    """§1.19 on the real programs: reset after 30 s, a standby again, three times in a day; then the
    pump stays out. The contact opens with the reset; by the pump's state it may do so by itself."""
    bench = Bench(
        site_of(
            {
                "supply": ("booster", {"pressure": "b.pressure", "setpoint": "0.40 MPa",
                                       "filter": "0s", "sleep": False, "lead": "fixed",
                                       "pumps": list(NAMES)}),
                "drive1": ("correction", {"cause": "undervoltage", "fault": fault,
                                          "output": "b.p1.reset", "run": "b.p1.run",
                                          "running": "b.p1.running"}),
            }
        )
    )  # fmt: skip
    for name in bench.index:
        if name.startswith("b."):
            bench[name] = 0.0
    bench["b.pressure"], bench["b.p1.run"], bench["b.p1.running"] = 0.4, 1.0, 1.0
    bench["b.p1.speed"] = 80.0
    now = 0.0

    def run(seconds: float) -> None:
        nonlocal now
        for _ in range(round(seconds / 0.5)):
            for name in NAMES:
                bench[f"{name}.running"] = bench[f"{name}.run"]
            if bench["b.p1.reset"] == 1.0 or not fault.startswith("b."):
                bench["b.p1.fault"] = 0.0
            bench.step(now)
            now += 0.5

    run(10)
    for attempt in range(1, 5):
        bench["b.p1.fault"] = bench["b.p1.running"] = 1.0
        bench.step(now)
        run(400)
        assert bench["drive1.attempts"] == min(attempt, 3)
        assert bench["supply.pump1"] == (STOPPED if attempt <= 3 else TRIPPED)
        run(3600)
    assert bench["b.p2.run"] == 1.0
