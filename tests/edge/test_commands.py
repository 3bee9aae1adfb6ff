"""Commands: every refusal of S09, the course of S08, leases, takeovers and restarts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.admission import Turn
from edge.clock import Clock
from edge.commands import Answer, Commands, State
from edge.envelope import TEXTS
from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.site.site import Grant, Interlock, Role, Site, User
from edge.text import Text
from tests.support.records import HERE, output, point

BOOT = "boot-1"
NOW, WALL = 1000.0, 1_795_000_000.0

POINTS = (
    point("v3.feedback", unit="%"),
    point("v3.hoa"),
    point("fire.run", Role.OUTPUT, fire=True),
    replace(
        point("v3.position", Role.OUTPUT, unit="%", low=0.0, high=100.0, hoa="v3.hoa"),
        output=output(feedback="v3.feedback", tolerance=2.0, rate=2.0, settle=5.0),
    ),
    point("lamp.level", Role.OUTPUT, unit="%", low=0.0, high=100.0),
    point("supply_pressure", Role.SETPOINT, unit="MPa", low=0.2, high=0.6),
    point("lobby.lux", unit="lx"),
)
COMMANDABLE = [2, 3, 4, 5]
EVERYBODY = frozenset({"engineer", "operator", "admin", "integration"})


def site(**fields: Any) -> Site:
    values: dict[str, Any] = {
        "id": "court", "name": Text("花园", "court"), "controller": "main", "language": "zh",
        "timezone": "Asia/Shanghai", "latitude": 31.0, "longitude": 121.0,
        "clock_trust": "always", "scan_min": 0.002, "scan_max": 0.1, "startup_delay": 0.0,
        "points": POINTS, "buses": (), "rules": (), "alarms": (), "annunciators": (),
        "interlocks": (
            Interlock("low", Text("低水位", "tank low"), "x", 0.0, ("v3.position",), 0.0,
                      "manual", "trip", HERE),
        ),
        "users": (User("zhangsan", "engineer"), User("lisi", "engineer"), User("wang", "viewer"),
                  User("zhao", "operator")),
        "grants": (
            Grant("v3.position", 10.0, 90.0, 20.0, frozenset({"engineer"}), 1800.0, 3600.0),
            Grant("supply_pressure", 0.35, 0.45, 0.1, EVERYBODY, 3600.0, 28800.0),
            Grant("lamp.level", 0.0, 100.0, math.inf, EVERYBODY, 900.0, 3600.0),
        ),
        "uplinks": (), "outbox_bytes": 1 << 20, "outbox_age": 1e6, "file": Path("s.yaml"),
        "digest": "0",
    }  # fmt: skip
    return Site(**values | fields)


class Plant:
    """A site in which the arbiter is one line and valve V3 follows at 2 % per second."""

    def __init__(self, kept: dict[str, Any] | None = None, **fields: Any) -> None:
        self.site = site(**fields)
        self.image = ProcessImage(len(POINTS), COMMANDABLE, 0)
        self.image.quality[: len(POINTS)] = 0
        self.now, self.wall = NOW, WALL
        self.answers: list[Answer] = []
        self.commands = Commands(
            self.site, self.image, session=BOOT, ask=self._ask, answer=self.answers.append
        )
        self.valve_works = True
        for name, value in (
            ("v3.feedback", 80), ("v3.position", 80), ("v3.hoa", 1), ("lamp.level", 30),
            ("supply_pressure", 0.4), ("fire.run", 0), ("lobby.lux", 200),
        ):  # fmt: skip
            self.set(name, value)
        self.image.request[Slot.DEFAULT - 1] = [0, 80, 30, 0.4]
        self.arbitrate()

    def set(self, name: str, value: float, bits: int = 0) -> None:
        index = self.site.index()[name]
        self.image.value[index], self.image.quality[index] = value, bits

    def get(self, name: str) -> float:
        return float(self.image.value[self.site.index()[name]])

    def ordinal(self, name: str) -> int:
        return COMMANDABLE.index(self.site.index()[name])

    def _ask(self, slot: int, name: str, value: float, expires: float) -> None:
        c = self.ordinal(name)
        self.image.request[slot - 1, c] = value
        self.image.expires[slot - 1, c] = expires

    def arbitrate(self) -> None:
        self.image.request[self.image.expires <= self.now] = np.nan
        for c in range(len(COMMANDABLE)):
            asked = np.flatnonzero(~np.isnan(self.image.request[:, c]))
            self.image.owner[c] = asked[0] + 1 if len(asked) else 0
            self.image.target[c] = self.image.request[asked[0], c] if len(asked) else np.nan

    def run(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            self.wall += step
            self.arbitrate()
            target, at = float(self.image.target[1]), self.get("v3.feedback")
            if self.valve_works and not math.isnan(at):
                self.set("v3.feedback", at + max(-2 * step, min(2 * step, target - at)))
            self.set("lamp.level", float(self.image.target[2]))
            self.commands.step(self.now, self.wall)

    def remote(self, *, retained: bool = False, topic: Any = "same", **fields: Any) -> Answer:
        body = envelope(self.wall, **fields)
        target = body.get("target") or {}
        named = (target.get("device"), target.get("point")) if topic == "same" else topic
        return self.commands.receive(
            json.dumps(body).encode(), via="mqtt", retained=retained, topic_target=named,
            now=self.now, wall=self.wall,
        )  # fmt: skip

    def local(self, name: str, value: float | None, **fields: Any) -> Answer:
        body = {"id": f"l{len(self.answers)}", "point": name,
                "op": "release" if value is None else "set"} | fields  # fmt: skip
        if value is not None:
            body["value"] = value
        return self.commands.receive(body, via="local", user="root", now=self.now, wall=self.wall)

    def course(self, id: str) -> list[str]:
        return [f"{a.state} {a.code}".strip() for a in self.answers if a.id == id]


def envelope(wall: float, **fields: Any) -> dict[str, Any]:
    """The envelope of S08."""
    body: dict[str, Any] = {
        "id": "c1", "ts": wall * 1000, "expires": wall * 1000 + 30_000, "session": BOOT,
        "actor": {"user": "zhangsan", "role": "admin", "via": "web"},
        "auth": {"kid": "k3", "sig": "x"}, "target": {"device": "v3", "point": "position"},
        "op": "set", "value": 65.0, "unit": "%", "expect": {"value": 80.0, "tol": 2.0},
        "lease_s": 1800, "on_expiry": "release", "reason": "zone 3 low", "approve": [],
        "dry_run": False,
    }  # fmt: skip
    return {k: v for k, v in (body | fields).items() if v is not ...}


def test_s08_remote_valve_adjust() -> None:
    """V3 from 80 to 65 %: verified by its feedback, back at 80 when the lease is over."""
    plant = Plant()
    answer = plant.remote()
    assert (answer.state, answer.role, answer.until) == (State.ACCEPTED, "engineer", WALL + 1800)
    plant.run(30)
    assert plant.course("c1") == ["RECEIVED", "ACCEPTED", "EXECUTING", "VERIFIED"]
    verified = plant.answers[-1].feedback
    assert verified == pytest.approx(65, abs=2)
    plant.run(1800)
    assert plant.get("v3.feedback") == pytest.approx(80)
    assert plant.course("c1")[4:] == ["REVERTED lease_end"]
    assert math.isnan(plant.image.request[Slot.REMOTE - 1, plant.ordinal("v3.position")])


SECONDS = 1000.0
S09: dict[str, tuple[dict[str, Any], str]] = {
    "retained": ({"retained": True}, "RETAINED"),
    "old boot": ({"session": "boot-0"}, "BAD_SESSION"),
    "no session": ({"session": ...}, "BAD_SESSION"),
    "expired by a second": (
        {"ts": (WALL - 31) * SECONDS, "expires": (WALL - 1) * SECONDS}, "EXPIRED"),
    "valid too long": ({"expires": (WALL + 121) * SECONDS}, "EXPIRED"),
    "from the future": (
        {"ts": (WALL + 300) * SECONDS, "expires": (WALL + 330) * SECONDS}, "EXPIRED"),
    "range": ({"value": 120.0}, "OUT_OF_RANGE"),
    "below the grant": ({"value": 5.0}, "OUT_OF_RANGE"),
    "lease too long": ({"lease_s": 3601}, "OUT_OF_RANGE"),
    "step": ({"value": 59.0}, "STEP_TOO_LARGE"),
    "expect": ({"expect": {"value": 50, "tol": 2}}, "EXPECT_MISMATCH"),
    "viewer": ({"actor": {"user": "wang", "role": "admin"}}, "FORBIDDEN"),
    "role without the grant": ({"actor": {"user": "zhao"}}, "FORBIDDEN"),
    "stranger": ({"actor": {"user": "mallory", "role": "admin"}}, "UNAUTHENTICATED"),
    "nobody": ({"actor": ...}, "UNAUTHENTICATED"),
    "fire": (
        {"target": {"device": "fire", "point": "run"}, "value": 1.0, "unit": ...}, "NOT_WRITABLE"),
    "an input": (
        {"target": {"device": "lobby", "point": "lux"}, "unit": ...}, "NOT_WRITABLE"),
    "no such point": ({"target": {"device": "v3", "point": "x"}}, "NOT_WRITABLE"),
    "topic and target differ": ({"topic": ("v3", "feedback")}, "MALFORMED"),
    "no target in the topic": ({"topic": None}, "MALFORMED"),
    "unknown op": ({"op": "toggle"}, "MALFORMED"),
    "value is text": ({"value": "65"}, "MALFORMED"),
    "value is a boolean": ({"value": True}, "MALFORMED"),
    "value is NaN": ({"value": math.nan}, "MALFORMED"),
    "no value": ({"value": ...}, "MALFORMED"),
    "release with a value": ({"op": "release"}, "MALFORMED"),
    "other unit": ({"unit": "MPa"}, "MALFORMED"),
    "unknown key": ({"force": True}, "MALFORMED"),
    "no expiry": ({"expires": ...}, "MALFORMED"),
    "id that is no topic": ({"id": "a/#"}, "MALFORMED"),
    "two points": ({"point": "v3.position"}, "MALFORMED"),
    "unknown end of lease": ({"on_expiry": "hold_last"}, "MALFORMED"),
}  # fmt: skip


@pytest.mark.parametrize("name", S09)
def test_s09_refused(name: str) -> None:
    """Each of these is refused with its code and a sentence in both languages; nothing moves."""
    plant = Plant()
    fields, code = S09[name]
    answer = plant.remote(**fields)
    assert (State.REJECTED, code) == (answer.state, answer.code)
    assert answer.text is not None
    assert answer.text.zh
    assert "{" not in answer.text.en
    plant.run(5)
    assert plant.get("v3.feedback") == 80
    assert np.isnan(plant.image.request[: Slot.REMOTE]).all()


def test_s09_same_id_twice() -> None:
    """The second time brings the present result and asks for nothing."""
    plant = Plant()
    plant.remote()
    plant.run(30)
    plant._ask(Slot.REMOTE, "v3.position", 70.0, math.inf)  # would be overwritten by a second move
    again = plant.remote(value=60.0, expect=...)
    assert (again.state, again.duplicate, again.value) == (State.VERIFIED, True, 65.0)
    assert plant.image.request[Slot.REMOTE - 1, 1] == 70.0
    refused = plant.remote(id="c2", value=120.0)
    assert replace(refused, duplicate=True) == plant.remote(id="c2", value=64.0)


def test_forged_id_does_not_block_a_real_one() -> None:
    """A command that was refused before its id was believed leaves the id free."""
    plant = Plant()
    plant.remote(session="forged")
    assert State.ACCEPTED is plant.remote().state


@pytest.mark.parametrize(
    ("hoa", "bits"), [(0.0, 0), (2.0, 0), (1.0, quality.COMM), (math.nan, quality.NEVER)]
)
def test_s09_hand_or_unknown_switch(hoa: float, bits: int) -> None:
    """With the switch at Hand, or when nobody knows where it is, the valve is left alone."""
    plant = Plant()
    plant.set("v3.hoa", hoa, bits)
    assert plant.remote().code == "LOCAL_MODE"
    assert plant.local("v3.position", 50).code == "LOCAL_MODE"


def test_local_hold_stands_before_remote() -> None:
    """While a person on site holds the output, remote commands are refused."""
    plant = Plant()
    assert State.ACCEPTED is plant.local("v3.position", 75).state
    plant.run(1)
    answer = plant.remote()
    assert (answer.code, "就地手动" in (answer.text or Text("", "")).zh) == ("LOCAL_MODE", True)


def test_interlock_is_named() -> None:
    """A point held at slot 5 refuses commands and says which interlock can hold it."""
    plant = Plant()
    plant._ask(Slot.PROTECT, "v3.position", 0.0, math.inf)
    answer = plant.remote()
    assert ("INTERLOCK", Text("v3.position 被 低水位 锁定", "v3.position is held by tank low")) == (
        answer.code, answer.text,
    )  # fmt: skip


def test_other_persons_lease_is_a_conflict() -> None:
    """Another engineer is refused while the lease runs; the same one may renew it."""
    plant = Plant()
    plant.remote()
    plant.run(30)
    other = plant.remote(id="c2", actor={"user": "lisi"}, expect=...)
    assert other.code == "CONFLICT"
    assert "zhangsan" in (other.text or Text("", "")).en
    assert plant.remote(
        id="c3", actor={"user": "lisi"}, op="release", value=..., expect=..., unit=...,
        lease_s=...,
    ).code == "CONFLICT"  # fmt: skip
    assert State.ACCEPTED is plant.remote(id="c4", value=60.0, expect=...).state
    assert plant.course("c1")[-1] == "SUPERSEDED superseded"


def test_rate_is_limited_per_point_and_site() -> None:
    """The seventh command to a point within a minute is refused, as is the 31st to the site."""
    plant = Plant()
    codes = [plant.remote(id=f"c{i}").code for i in range(8)]
    assert codes == ["", "", "", "", "", "", "RATE_LIMITED", "RATE_LIMITED"]
    assert plant.local("v3.position", 70).code == ""
    plant.run(61)
    plant.local("v3.position", None)
    plant.run(40)
    assert plant.remote(id="later", expect=..., value=80.0).code == ""


def test_present_value_unknown_refuses_a_step() -> None:
    """With feedback and own value bad and nobody asking, a limited step is refused."""
    plant = Plant()
    plant.set("v3.feedback", math.nan, quality.COMM)
    plant.set("v3.position", math.nan, quality.COMM)
    plant.image.target[1] = math.nan
    assert plant.remote(expect=...).code == "STEP_TOO_LARGE"


def test_untrusted_clock_relies_on_the_session() -> None:
    """Where the wall clock is not known, a command of this session is not called expired."""
    plant = Plant()
    body = json.dumps(envelope(WALL - 9999)).encode()
    for trusted, code in ((True, "EXPIRED"), (False, "")):
        answer = plant.commands.receive(
            body, via="mqtt", topic_target=("v3", "position"), now=NOW, wall=WALL, trusted=trusted
        )
        assert code == answer.code


def test_dry_run_says_what_would_happen() -> None:
    """A dry run is accepted, moves nothing and leaves its id free."""
    plant = Plant()
    answer = plant.remote(dry_run=True)
    assert (answer.state, answer.dry_run) == (State.ACCEPTED, True)
    plant.run(5)
    assert plant.get("v3.feedback") == 80
    assert not plant.remote().duplicate


def test_stuck_valve_is_a_mismatch() -> None:
    """A valve that does not follow: MISMATCH after settle + 1.3 × travel + 5 s."""
    plant = Plant()
    plant.valve_works = False
    plant.remote()
    plant.run(19)
    assert plant.course("c1")[-1] == "EXECUTING"
    plant.run(2)
    assert plant.course("c1")[-1] == "MISMATCH NOT_FOLLOWED"
    assert plant.answers[-1].feedback == 80


def test_stuck_valve_is_not_proved_by_a_small_step() -> None:
    """Within tolerance of where it stood already: written, but nothing shows that it moved."""
    plant = Plant()
    plant.valve_works = False
    plant.remote(value=78.5)
    plant.run(30)
    assert plant.course("c1")[-1] == "WRITTEN_UNVERIFIED"
    assert "VERIFIED" not in plant.course("c1")


def test_small_step_that_is_made_is_verified() -> None:
    """More than half of the way is proof."""
    plant = Plant()
    plant.remote(value=78.5)
    plant.run(5)
    assert plant.course("c1")[-1] == "VERIFIED"


def test_silent_feedback_is_a_timeout() -> None:
    """Without a usable feedback nothing is called verified or mismatched."""
    plant = Plant()
    plant.remote()
    plant.set("v3.feedback", math.nan, quality.COMM)
    plant.run(30)
    assert plant.course("c1")[-1] == "TIMEOUT NO_FEEDBACK"


def test_written_without_independent_feedback() -> None:
    """An output without feedback is read back, after it settled, and never called verified."""
    plant = Plant()
    plant.local("lamp.level", 60.0)
    plant.run(4)
    assert plant.answers[-1].state == "EXECUTING"
    plant.run(3)
    assert plant.answers[-1].state == "WRITTEN_UNVERIFIED"


def test_stronger_slot_fails_the_command_for_good() -> None:
    """Held by an interlock that came meanwhile: TIMEOUT, and no move when that is released."""
    plant = Plant()
    plant.remote()
    plant._ask(Slot.PROTECT, "v3.position", 80.0, math.inf)
    plant.run(10)
    assert plant.course("c1")[-1] == "TIMEOUT INTERLOCK"
    plant._ask(Slot.PROTECT, "v3.position", math.nan, math.inf)
    plant.run(60)
    assert plant.get("v3.feedback") == 80


def test_minimum_time_is_waited_for() -> None:
    """While a minimum time holds the output the command waits, then goes on."""
    plant = Plant()
    plant._ask(Slot.MIN_TIME, "v3.position", 80.0, math.inf)
    plant.remote()
    plant.run(100)
    assert plant.course("c1") == ["RECEIVED", "ACCEPTED"]
    plant._ask(Slot.MIN_TIME, "v3.position", math.nan, math.inf)
    plant.run(30)
    assert plant.course("c1")[-1] == "VERIFIED"


@pytest.mark.parametrize("how", ["hand", "local"])
def test_local_takeover_ends_the_lease(how: str) -> None:
    """The switch at Hand, or a person at the panel, ends a remote lease."""
    plant = Plant()
    plant.remote()
    plant.run(30)
    if how == "hand":
        plant.set("v3.hoa", 0.0)
    else:
        plant.local("v3.position", 70.0)
    plant.run(1)
    assert plant.course("c1")[-1] == "REVERTED local_takeover"
    assert math.isnan(plant.image.request[Slot.REMOTE - 1, 1])


def test_release_gives_back() -> None:
    """Release ends the hold at once and is answered when the slot is empty."""
    plant = Plant()
    plant.remote()
    plant.run(30)
    plant.remote(id="c2", op="release", value=..., unit=..., expect=..., lease_s=...)
    plant.run(1)
    assert plant.course("c1")[-1] == "REVERTED release"
    assert plant.course("c2") == ["RECEIVED", "ACCEPTED", "VERIFIED"]
    plant.run(30)
    assert plant.get("v3.feedback") == pytest.approx(80)


def test_local_setpoint_stays_without_a_lease() -> None:
    """A local setpoint needs no lease and is verified by being in force; an output has one."""
    plant = Plant()
    setpoint = plant.local("supply_pressure", 0.5, unit="MPa")
    lamp = plant.local("lamp.level", 50.0)
    assert (setpoint.until, lamp.until) == (None, WALL + 1800)
    plant.run(4000, step=5.0)
    assert plant.course(setpoint.id)[-1] == "VERIFIED"
    assert plant.course(lamp.id)[-1] == "REVERTED lease_end"
    assert list(plant.commands.holds(_clock(plant))) == ["supply_pressure"]
    assert plant.commands.names() == {("supply_pressure", 7): "root"}


def _clock(plant: Plant) -> Any:
    class Clock:
        def wall_at(self, now: float) -> float:
            return plant.wall - (plant.now - now)

    return Clock()


def restarted(plant: Plant, down: float, *, known: bool = True, **fields: Any) -> Plant:
    """The same plant after a restart; what is kept went through JSON."""
    after = Plant(**fields)
    after.now, after.wall = plant.now + down, plant.wall + down
    after.set("v3.feedback", plant.get("v3.feedback"))
    kept = json.loads(json.dumps(plant.commands.retain()))
    after.commands.restore(kept, after.now, after.wall, known=known)
    after.run(2)
    return after


def test_lease_goes_on_over_a_restart() -> None:
    """A restart keeps the lease to its end; a known id is still known."""
    plant = Plant()
    plant.remote()
    plant.run(30)
    after = restarted(plant, 10)
    assert after.image.request[Slot.REMOTE - 1, 1] == 65
    assert after.answers == []
    assert after.remote().duplicate
    after.run(1800)
    assert after.course("c1")[-1] == "REVERTED lease_end"


def test_unproven_command_is_followed_after_a_restart() -> None:
    """A command on its way when the controller ended is followed to its end."""
    plant = Plant()
    plant.remote()
    plant.run(1)
    after = restarted(plant, 5)
    after.run(30)
    assert after.course("c1") == ["EXECUTING", "VERIFIED"]


@pytest.mark.parametrize(
    ("down", "options", "code"),
    [
        (4000.0, {}, "lease_end"),
        (10.0, {"known": False}, "reboot"),
        (10.0, {"users": ()}, "authority"),
        (10.0, {"grants": ()}, "authority"),
        (10.0, {"grants": (Grant("v3.position", 70.0, 90.0, 20.0, EVERYBODY, 60.0, 60.0),)},
         "authority"),
    ],
)  # fmt: skip
def test_lease_that_does_not_survive(down: float, options: dict[str, Any], code: str) -> None:
    """Over, nobody knows for how long, or no longer allowed: it is reverted and not asked again."""
    plant = Plant()
    plant.remote()
    plant.run(30)
    after = restarted(plant, down, **options)
    assert [f"REVERTED {code}"] == after.course("c1")
    assert math.isnan(after.image.request[Slot.REMOTE - 1, 1])


def test_local_setpoint_survives_whatever_happened() -> None:
    """A setpoint without a lease stays, also when nobody knows how long nothing ran."""
    plant = Plant()
    plant.local("supply_pressure", 0.5)
    plant.run(1)
    assert restarted(plant, 10, known=False).image.request[Slot.LOCAL - 1, 3] == 0.5


def test_stopping_refuses() -> None:
    """While the controller stops, nothing new is begun."""
    plant = Plant()
    plant.commands.closed = True
    assert plant.remote().code == "STOPPING"


def test_held_commands_are_never_forgotten() -> None:
    """However many commands follow, one that still holds its slot keeps its answer."""
    plant = Plant()
    first = plant.local("supply_pressure", 0.5)
    for i in range(700):
        plant.local("lamp.level", float(i % 100), id=f"x{i}")
    assert plant.commands.answer_to(first.id) is not None
    assert plant.commands.names()[("supply_pressure", 7)] == "root"
    assert plant.commands.answer_to("x5") is None


def test_more_holds_than_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every answer still holds a slot none is forgotten, the newest included."""
    monkeypatch.setattr("edge.commands.ACCEPTED_KEPT", 1)
    plant = Plant()
    first, second = plant.local("supply_pressure", 0.5), plant.local("lamp.level", 40.0, id="x1")
    assert plant.commands.answer_to(first.id) is not None
    assert plant.commands.answer_to(second.id) is not None
    assert set(plant.commands.names()) == {("supply_pressure", 7), ("lamp.level", 7)}


def test_answer_names_the_command_even_when_it_is_malformed() -> None:
    """The id is found where it can be, so that the sender hears of its mistake."""
    plant = Plant()
    receive = plant.commands.receive
    for raw, id in ((b'{"id":"abc","op":1}', "abc"), (b"{", ""), (b'"abc"', ""),
                    (b'{"id":"' + b"x" * 20_000 + b'"}', ""), (b"\xff\xfe", "")):  # fmt: skip
        answer = receive(raw, via="mqtt", topic_target=("v3", "position"), now=NOW, wall=WALL)
        assert ("MALFORMED", id) == (answer.code, answer.id)


@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_at_all_is_answered(raw: bytes) -> None:
    """Whatever arrives is answered with MALFORMED and raises nothing."""
    answer = Plant().commands.receive(
        raw, via="mqtt", topic_target=("v3", "position"), now=NOW, wall=WALL
    )
    assert answer.code == "MALFORMED"
    json.dumps(answer.as_json(), allow_nan=False)


def test_every_code_has_both_texts() -> None:
    """Each code has a Chinese and an English sentence with the same places."""
    for code, text in TEXTS.items():
        assert text.zh != text.en, code
        places = [{p.split("}")[0].split(":")[0] for p in t.split("{")[1:]} for t in text]
        assert places[0] == places[1], code


class Rationed(Plant):
    """A plant whose lamp is written only when a test lets it: `turn` is what its budget says."""

    def __init__(self, kept: dict[str, Any] | None = None, **fields: Any) -> None:
        super().__init__(kept, **fields)
        self.turn = Turn()
        self.commands = Commands(
            self.site, self.image, session=BOOT, ask=self._ask, answer=self.answers.append,
            turn=lambda point, now: self.turn if point == "lamp.level" else Turn(),
        )  # fmt: skip

    def wait(self, seconds: float, code: Any = "WRITE_INTERVAL", *, told: bool = True) -> None:
        """Nothing is written for so long; once asked for, a write stands in line."""
        self.turn = Turn(self.now + seconds, code, told)

    def run(self, seconds: float, step: float = 0.5) -> None:
        held = self.get("lamp.level")
        for _ in range(round(seconds / step)):
            if self.now >= self.turn.at:
                self.turn = Turn()
            super().run(step, step)
            if self.turn.waiting:  # the lamp shows what it was given before
                self.set("lamp.level", held)


def test_a_command_whose_write_waits_is_not_one_that_did_not_follow() -> None:
    """It is executing, says why and until when, and has its time to follow from then on."""
    plant = Rationed()
    plant.wait(45, told=False)
    answer = plant.local("lamp.level", 50.0)
    assert answer.state is State.ACCEPTED
    plant.wait(45)
    plant.run(30)
    assert plant.course(answer.id)[2:] == ["EXECUTING", "EXECUTING WRITE_INTERVAL"]
    waits = plant.answers[-1]
    assert waits.due == pytest.approx(WALL + 45)
    assert waits.text is not None
    assert waits.text.en.endswith("it can be written again in 44 s")
    plant.run(60)
    assert plant.course(answer.id)[4:] == ["EXECUTING", "WRITTEN_UNVERIFIED"]
    assert plant.answers[-1].due is None


def test_a_write_that_goes_out_after_a_moment_is_not_told_of() -> None:
    """Every second command within a second would be answered twice as often."""
    plant = Rationed()
    answer = plant.local("lamp.level", 50.0)
    plant.wait(1.0)
    plant.run(30)
    assert plant.course(answer.id)[2:] == ["EXECUTING", "WRITTEN_UNVERIFIED"]


def test_a_command_that_could_only_be_written_when_it_is_over_is_refused() -> None:
    """With the sentence why and when it would be possible; longer than its lease or its expiry."""
    plant = Rationed()
    plant.wait(2 * 3600, "WRITES_SPENT", told=False)
    answer = plant.local("lamp.level", 50.0, lease_s=1800.0)
    assert (answer.state, answer.code) == (State.REJECTED, "WRITES_SPENT")
    assert answer.text is not None
    assert answer.text.en.endswith("it can be written again in 120 min")
    assert plant.local("lamp.level", 50.0, expires=WALL + 60).code == "WRITES_SPENT"
    plant.wait(90, told=False)
    assert plant.local("lamp.level", 50.0, expires=WALL + 60).code == "WRITE_INTERVAL"
    assert plant.local("lamp.level", 50.0, expires=WALL + 100).state is State.ACCEPTED
    plant.wait(2 * 3600, "WRITES_SPENT", told=False)
    assert plant.local("lamp.level", None).state is State.ACCEPTED  # letting go is always possible
    assert plant.local("lamp.level", 50.0, expires=WALL + 60).state is State.REJECTED
    assert plant.commands.refusal("lamp.level", 50.0, "zhangsan", plant.now) == "WRITES_SPENT"


def test_what_the_output_was_given_already_needs_no_write() -> None:
    """A day that is spent refuses nobody who asks for the value that stands."""
    plant = Rationed()
    plant.wait(2 * 3600, "WRITES_SPENT", told=False)
    assert plant.local("lamp.level", 30.0).state is State.ACCEPTED


def test_a_write_that_turns_out_to_wait_too_long_ends_its_command() -> None:
    """It was possible when it was accepted; now it must not act hours later."""
    plant = Rationed()
    answer = plant.local("lamp.level", 50.0, expires=WALL + 60)
    plant.wait(5 * 3600, "WRITES_SPENT")
    plant.run(5)
    assert plant.course(answer.id)[2:] == ["EXECUTING", "TIMEOUT WRITES_SPENT"]
    assert math.isnan(plant.image.request[Slot.LOCAL - 1, plant.ordinal("lamp.level")])
    assert plant.commands.holds(Clock(monotonic=lambda: 0.0)) == {}


def test_a_waiting_command_goes_on_after_a_restart() -> None:
    """Until when its write made sense is kept with it."""
    plant = Rationed()
    answer = plant.local("lamp.level", 50.0, expires=WALL + 100)
    plant.wait(80)
    plant.run(5)
    kept = json.loads(json.dumps(plant.commands.retain()))
    successor = Rationed()
    successor.commands.restore(kept, successor.now + 10, successor.wall + 10)
    successor.wait(200)
    successor.run(5)
    assert successor.course(answer.id)[-1] == "TIMEOUT WRITE_INTERVAL"


def test_what_is_proven_needs_no_further_write() -> None:
    """A ramp's last step still waits while the valve is near enough: it is verified."""
    plant = Plant()
    plant.commands._turn = lambda _point, now: Turn(now + 1.0, "WRITE_INTERVAL", waiting=True)
    plant.remote()
    plant.run(30)
    assert plant.course("c1") == ["RECEIVED", "ACCEPTED", "EXECUTING", "VERIFIED"]
