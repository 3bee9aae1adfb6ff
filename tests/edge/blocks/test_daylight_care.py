"""A daylight loop over years: it detunes itself when it hunts, and measures its lamps at night."""

from __future__ import annotations

from datetime import datetime
from math import isnan, nan
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from drivers.sim.models.lighting import Lobby
from edge.blocks.daylight import DAYLIGHT, FOLLOWING, HELD, LIT, NO_RESPONSE, TESTING
from edge.blocks.daylight_care import night
from edge.blocks.kind import Place
from edge.image.quality import COMM
from tests.support.block import Instance

SHANGHAI = Place("Asia/Shanghai", 31.23, 121.47)
TROMSO = Place("Europe/Oslo", 69.65, 18.96)
JUNE = 12.0 * 2026 + 6
OPTIONS = {"illuminance": "lobby.lux", "output": "lobby.dimmer", "occupied": "lobby.pir"}


def at(text: str, place: Place = SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(place.timezone)).timestamp()


class Room:
    """The block with lamps that give `full` lx at 100 %, at night."""

    def __init__(self, full: float = 200.0, level: float = 75.0, **options: Any) -> None:
        self.block = Instance(DAYLIGHT, {**OPTIONS, **options})
        self.full, self.now, self.stuck = full, 0.0, nan
        self.block["lobby.dimmer"], self.block["lobby.pir"] = level, 0.0
        self.levels: list[float] = []

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            lux = self.full * self.block["lobby.dimmer"] / 100
            self.block["lobby.lux"] = lux if isnan(self.stuck) else self.stuck
            self.block.step(self.now)
            self.levels.append(self.block.request("lobby.dimmer"))
            self.now += 1.0

    def __getitem__(self, name: str) -> float:
        return self.block[name]


def test_a_hunting_loop_halves_its_gain_until_it_is_calm() -> None:
    """Commissioned with 25 lx where the lamps give 200, the target swings; then it stands still."""
    room = Room(full=200.0, full_output=25.0, level=20.0)
    room.run(60)
    assert room["gain"] == pytest.approx(0.3)
    room.run(3600)
    assert room["gain"] in (0.15, 0.075, 0.0375)
    room.levels.clear()
    room.run(600)
    assert max(room.levels) - min(room.levels) < 10.0
    assert abs(room["lux"] - 150.0) < 0.1 * 150.0


def test_clouds_do_not_detune() -> None:
    """Daylight that comes and goes within minutes is no hunting."""
    room = Room(level=75.0)
    for k in range(40):
        room.full = 120.0 if k % 2 else 240.0
        room.run(150)
    assert room["gain"] == 0.3


@settings(max_examples=15, deadline=None)
@given(full=some.floats(60, 500), gain=some.floats(0.05, 0.5), setpoint=some.floats(30, 300))
def test_a_loop_within_its_limits_is_never_detuned(
    full: float, gain: float, setpoint: float
) -> None:
    """Commissioned right, k up to 0.5 settles to the setpoint, or to full light, and keeps k."""
    room = Room(full=full, full_output=full, gain=gain, setpoint=setpoint)
    room.run(1500)
    assert room["gain"] == gain
    reach = min(max(setpoint, 0.1 * full), full)
    assert room["lux"] == pytest.approx(reach, rel=0.06)


def test_the_night_test_measures_the_lamps_and_returns() -> None:
    """30 s at 100 %, then the former level; what the lamps gave is shown and not filtered in."""
    room = Room(full=130.0, setpoint="75 lx", level=57.7)
    room.run(100)
    before = room.levels[-1]
    room.block["agenda"] = JUNE
    room.run(20)
    assert (room.levels[-1], room["state"]) == (100.0, TESTING)
    room.run(40)
    assert (room.levels[-1], room["state"]) == (before, LIT)
    assert room["full_output_found"] == pytest.approx(130.0)
    assert room.levels.count(100.0) == 30
    room.run(3000)
    assert room.levels.count(100.0) == 30  # once a month


def test_saturated_lamps_are_measured_as_they_are() -> None:
    """Lamps that burn at 100 % all night to reach the setpoint are the ones that have faded."""
    room = Room(full=120.0, level=100.0)
    room.run(50)
    room.block["agenda"] = JUNE
    room.run(60)
    assert room["full_output_found"] == pytest.approx(120.0)
    weak = next(a for a in DAYLIGHT.alarms(room.block.model) if a.id.endswith("LAMPS_WEAK"))
    assert weak.when == "{rule}.full_output_found < 140"
    assert weak.priority == 4


def test_nobody_is_dazzled() -> None:
    """Somebody there, or a bad presence sensor: no test; who comes ends it for a while."""
    room = Room()
    room.run(50)
    room.block["agenda"], room.block["lobby.pir"] = JUNE, 1.0
    room.run(60)
    room.block.bad("lobby.pir", COMM)
    room.run(60)
    assert 100.0 not in room.levels
    room.block["lobby.pir"] = 0.0
    room.run(10)
    room.block["lobby.pir"] = 1.0
    room.run(1)
    assert room.levels[-1] == pytest.approx(75.0)
    room.block["lobby.pir"] = 0.0
    room.run(60)
    assert room["full_output_found"] == pytest.approx(200.0)


def test_a_hand_or_a_lost_sensor_ends_the_test() -> None:
    """A manual level is followed at once, a sensor that fails leaves the former level."""
    room = Room()
    room.run(50)
    room.block["agenda"] = JUNE
    room.run(10)
    room.block.taken["lobby.dimmer"] = (8, 40.0)
    room.run(2)
    assert (room["state"], room.levels[-1]) == (FOLLOWING, 40.0)
    room.block.taken.clear()
    room.run(15)
    room.stuck = nan
    room.full = nan
    room.run(1)
    assert room["state"] == HELD
    assert room.levels[-1] < 100.0


def test_a_sensor_that_ignores_the_test_is_dead() -> None:
    """A covered sensor at night is found out by the test, too."""
    room = Room(level=75.0)
    room.run(50)
    room.stuck = 150.0
    room.block["agenda"] = JUNE
    room.run(60)
    assert room["state"] == NO_RESPONSE
    assert isnan(room["full_output_found"])  # it told of the sensor, not of the lamps
    room.run(600)
    room.stuck = nan
    room.run(2)
    assert room["state"] != TESTING  # the old test does not come back with the sensor


@pytest.mark.parametrize(
    ("wall", "value", "until"),
    [
        ("2026-06-01 02:59:59", nan, "2026-06-01 03:00"),
        ("2026-06-01 03:00", JUNE, "2026-06-01 04:00"),
        ("2026-06-07 03:59:59", JUNE, "2026-06-07 04:00"),
        ("2026-06-07 04:00", nan, "2026-07-01 03:00"),
    ],
)
def test_the_hour_of_the_test(wall: str, value: float, until: str) -> None:
    """From 03:00 to 04:00 in the first seven nights of a month."""
    told = night("03:00", SHANGHAI, at(wall))
    assert (told.value == value or (isnan(told.value) and isnan(value)), told.until) == (
        True, at(until),
    )  # fmt: skip


def test_no_test_in_the_midnight_sun() -> None:
    """Where 03:00 is bright there is nothing to measure; in winter there is."""
    assert isnan(night("03:00", TROMSO, at("2026-06-02 03:10", TROMSO)).value)
    assert night("03:00", TROMSO, at("2026-12-02 03:10", TROMSO)).value == 12.0 * 2026 + 12
    assert isnan(night("never", SHANGHAI, at("2026-06-02 03:10")).value)


def test_lamps_fade_with_their_hours_and_with_dirt() -> None:
    """The model's lamps give 70 % after 50 000 h of burning, and what the dirt lets through."""
    lobby = Lobby(minute=0.0, level=100.0, clean=0.9, hours=50_000.0, l70=50_000.0)
    assert lobby.illuminance == pytest.approx(200.0 * 0.7 * 0.9)
