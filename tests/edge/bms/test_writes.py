"""What a BMS writes becomes commands: checked like any other, renewed in its cycle."""

from __future__ import annotations

import math

import pytest

from edge.commands import State
from edge.image.slots import Slot
from edge.site.registers import Register
from tests.edge.bms.served import REGISTERS, Served

BY_POINT = {register.point: register for register in REGISTERS}
CLIENT = "192.168.10.7"


def ask(stage: Served, *wanted: tuple[str, float]) -> str:
    registers: list[tuple[Register, float]] = [(BY_POINT[name], value) for name, value in wanted]
    return stage.writes.ask(registers, CLIENT)


def recorded(stage: Served) -> list[tuple[str, State, str]]:
    return [(a.point, a.state, a.code) for a in stage.answers]


def test_a_write_is_a_command_of_the_bms_at_slot_remote() -> None:
    """It names who, whence and why, and holds for the lease that the site grants."""
    stage = Served()
    assert ask(stage, ("v3.position", 65.0)) == ""
    assert stage.asked == [(Slot.REMOTE, "v3.position", 65.0, 1060.0)]
    last = stage.answers[-1]
    assert (last.state, last.by, last.role, last.via) == (
        State.ACCEPTED, "bms", "integration", "bms",
    )  # fmt: skip
    assert last.reason == f"Modbus TCP {CLIENT}"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("v3.position", 95.0, "OUT_OF_RANGE"), ("v3.position", 55.0, "STEP_TOO_LARGE"),
     ("pressure", 0.46, "OUT_OF_RANGE")],
)  # fmt: skip
def test_limits_hold(name: str, value: float, code: str) -> None:
    """The grant's range and step bind a BMS as they bind everyone far away."""
    stage = Served()
    assert ask(stage, (name, value)) == code
    assert not stage.asked
    assert stage.answers[-1].code == code


def test_repeating_renews_the_lease_and_is_not_recorded() -> None:
    """Writing the same every second holds the point and leaves one record per half lease."""
    stage = Served()
    for _ in range(600):
        assert ask(stage, ("v3.position", 65.0)) == ""
        stage.now += 1.0
        stage.commands.step(stage.now, stage.wall + stage.now)
    assert stage.image.request[Slot.REMOTE - 1, 0] == 65.0
    states = [a.state for a in stage.answers]
    assert states.count(State.RECEIVED) == 1
    assert len(states) < 10 + 600 / 30
    assert State.REVERTED not in states
    assert len({a.id for a in stage.answers}) == 1
    until = stage.answers[-1].until
    assert until is not None
    assert until - (stage.wall + stage.now) > 28


def test_who_stops_writing_lets_go() -> None:
    """Without its writer a value ends with the lease."""
    stage = Served()
    ask(stage, ("v3.position", 65.0))
    stage.now += 61
    stage.commands.step(stage.now, stage.wall + stage.now)
    assert math.isnan(stage.image.request[Slot.REMOTE - 1, 0])
    assert stage.answers[-1].code == "lease_end"


def test_not_available_gives_the_point_back() -> None:
    """Once; while nothing is held it asks for nothing and records nothing."""
    stage = Served()
    assert ask(stage, ("v3.position", math.nan)) == ""
    assert not stage.answers
    ask(stage, ("v3.position", 65.0))
    assert ask(stage, ("v3.position", math.nan)) == ""
    assert math.isnan(stage.image.request[Slot.REMOTE - 1, 0])
    before = len(stage.answers)
    assert ask(stage, ("v3.position", math.nan)) == ""
    assert len(stage.answers) == before


def test_the_same_refusal_is_recorded_once_in_a_while() -> None:
    """Writing what is refused, every second, is refused every second and recorded every 10 min."""
    stage = Served()
    for i in range(1300):
        assert ask(stage, ("v3.position", 91.0 + i % 5)) == "OUT_OF_RANGE"
        stage.now += 1.0
    refused = [a for a in stage.answers if a.state is State.REJECTED]
    assert len(refused) == 3


def test_a_value_that_never_rests_is_limited() -> None:
    """Six changes a minute; the others are told that the controller is busy."""
    stage = Served()
    told = []
    for i in range(60):
        told.append(ask(stage, ("v3.position", 79.0 - i / 10)))
        stage.now += 1.0
    assert told.count("") == 6
    assert told.count("RATE_LIMITED") == 54
    assert len([a for a in stage.answers if a.code == "RATE_LIMITED"]) == 1


def test_a_request_is_checked_whole_before_any_of_it_is_done() -> None:
    """A good value beside a refused one moves nothing."""
    stage = Served()
    assert ask(stage, ("v3.position", 65.0), ("pressure", 0.5)) == "OUT_OF_RANGE"
    assert not stage.asked
    assert ask(stage, ("v3.position", 65.0), ("pressure", 0.41)) == ""
    assert [(name, value) for _, name, value, _ in stage.asked] == [
        ("v3.position", 65.0), ("pressure", 0.41),
    ]  # fmt: skip


def test_a_person_on_site_is_stronger() -> None:
    """While somebody holds the point there, the BMS is refused, and heard again afterwards."""
    stage = Served()
    stage.image.request[Slot.LOCAL - 1, 0] = 50.0
    assert ask(stage, ("v3.position", 65.0)) == "LOCAL_MODE"
    stage.image.request[Slot.LOCAL - 1, 0] = math.nan
    assert ask(stage, ("v3.position", 65.0)) == ""


def test_another_remote_holder_is_not_pushed_away() -> None:
    """What a person holds over MQTT stays his until he lets go or his lease is over."""
    stage = Served()
    wall = stage.wall + stage.now
    envelope = {
        "id": "c1", "op": "set", "value": 70.0, "target": {"device": "v3", "point": "position"},
        "ts": wall * 1e3, "expires": wall * 1e3 + 1e4, "session": "boot",
        "actor": {"user": "zhangsan"},
    }  # fmt: skip
    stage.commands.receive(
        envelope, via="mqtt", topic_target=("v3", "position"), now=stage.now, wall=wall
    )
    assert ask(stage, ("v3.position", 70.0)) == "CONFLICT"
    assert ask(stage, ("v3.position", math.nan)) == ""
    assert stage.image.request[Slot.REMOTE - 1, 0] == 70.0


def test_a_controller_that_stops_takes_nothing() -> None:
    """Not even the renewal of what is held."""
    stage = Served()
    ask(stage, ("v3.position", 65.0))
    stage.commands.closed = True
    assert ask(stage, ("v3.position", 65.0)) == "STOPPING"
    assert ask(stage, ("v3.position", math.nan)) == "STOPPING"
