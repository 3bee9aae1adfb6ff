"""Duty rotation: who runs next, who gives way, who stands in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.blocks.rotation import ROTATION
from edge.image.quality import COMM
from tests.support.block import Instance


class Room:
    """Motors that turn half a second after they are told to, but for those that are dead."""

    def __init__(self, count: int = 3, hours: tuple[float, ...] = (), **options: object) -> None:
        self.names = [f"f{i}" for i in range(1, count + 1)]
        pumps = [{w: f"{n}.{w}" for w in ("run", "running", "fault", "hours")} for n in self.names]
        self.block = Instance(ROTATION, {"demand": "demand", "pumps": pumps, **options})
        self.now = 0.0
        self.block["demand"] = 0.0
        for i, name in enumerate(self.names):
            self.block[f"{name}.run"] = self.block[f"{name}.running"] = 0.0
            self.block[f"{name}.fault"] = 0.0
            if hours:
                self.block[f"{name}.hours"] = hours[i]
        self.dead: set[str] = set()
        self.least = count

    def run(self, seconds: float) -> list[str]:
        for _ in range(round(2 * seconds)):
            self.block.step(self.now)
            self.now += 0.5
            for name in self.names:
                on = self.block[f"{name}.run"] == 1.0 and name not in self.dead
                self.block[f"{name}.running"] = float(on)
            self.least = min(self.least, len(self.running()))
        return self.running()

    def running(self) -> list[str]:
        return [n for n in self.names if self.block[f"{n}.running"] == 1.0]

    def demand(self, count: float) -> Room:
        self.block["demand"] = count
        return self


def test_the_lead_stays_until_it_ran_two_hours_longer() -> None:
    """Starts go to the lead again within 2 h, then to the one with the least hours."""
    room = Room(2, (10.0, 10.5))
    assert room.demand(1).run(2) == ["f1"]
    room.demand(0).run(2)
    room.block["f1.hours"] = 12.4
    assert room.demand(1).run(2) == ["f1"]
    room.demand(0).run(2)
    room.block["f1.hours"] = 12.6
    assert room.demand(1).run(2) == ["f2"]


def test_by_turn_every_start_takes_the_next() -> None:
    """Alternation, whatever the hours say; who is not available is passed over."""
    room = Room(3, (50.0, 10.0, 90.0), by="turn")
    assert room.demand(1).run(2) == ["f1"]
    leads = []
    for _ in range(4):
        room.demand(0).run(2)
        leads += room.demand(1).run(2)
    assert leads == ["f2", "f3", "f1", "f2"]
    room.demand(0).run(2)
    room.block["f3.fault"] = 1.0
    assert room.demand(1).run(2) == ["f1"]


def test_a_lead_that_has_run_long_gives_way_without_a_gap() -> None:
    """After max_lead_run the next one runs beside it for 10 s, then it stops."""
    room = Room(2, max_lead_run="600s").demand(1)
    assert room.run(600) == ["f1"]
    room.least = 2
    assert room.run(5) == ["f1", "f2"]
    assert room.run(10) == ["f2"]
    assert room.least == 1


def test_a_failed_start_brings_the_standby() -> None:
    """No feedback in 5 s: the standby runs, and what failed is tried again after a reset only."""
    room = Room(2).demand(1)
    room.dead.add("f1")
    assert room.run(5) == []
    assert room.run(2) == ["f2"]
    assert room.block["pump1"] == 4.0
    assert room.demand(2).run(2) == ["f2"]
    assert room.block["short"] == 1.0


def test_a_lost_demand_is_held_then_let_go() -> None:
    """30 s as before, then no request; back, it goes on."""
    room = Room(2).demand(1)
    room.run(10)
    room.block.bad("demand", COMM)
    room.run(29)
    assert room.block.request("f1.run") == 1.0
    room.run(3)
    assert room.block.request("f1.run") != room.block.request("f1.run")
    assert room.demand(1).run(1) == ["f1"]


@settings(max_examples=15, deadline=None)
@given(
    demands=st.lists(st.integers(0, 5), min_size=3, max_size=8),
    faults=st.sets(st.integers(1, 4)), turn=st.booleans(),
)  # fmt: skip
def test_as_many_run_as_are_asked_for(demands: list[int], faults: set[int], turn: bool) -> None:
    """Always the smaller of demand and availability, never one that tripped."""
    room = Room(4, by="turn" if turn else "hours")
    for i in faults:
        room.block[f"f{i}.fault"] = 1.0
    for wanted in demands:
        running = room.demand(wanted).run(3)
        assert len(running) == min(wanted, 4 - len(faults))
        assert not {f"f{i}" for i in faults} & set(running)
