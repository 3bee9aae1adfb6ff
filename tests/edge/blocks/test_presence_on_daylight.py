"""Presence on top of a closed daylight loop: u = max(floor, factor · daylight), in one room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from edge.blocks.daylight import DAYLIGHT, LIT, NO_RESPONSE, WAITING, Daylight
from edge.blocks.occupancy import MOTION_BAD, NEIGHBOUR_BAD, OCCUPANCY, PANIC_BAD, SENSOR_BAD
from edge.image.quality import COMM
from tests.support.block import Instance


class Room:
    """Both blocks over lamps that give `full` lx at 100 %; one step a second."""

    def __init__(self, full: float = 200.0, day: float = 40.0, **options: float) -> None:
        self.daylight = Instance(
            DAYLIGHT, {"illuminance": "lux", "output": "auto", "lamps": "dimmer", **options}
        )
        self.presence = Instance(
            OCCUPANCY, {"motion": "pir", "daylight": "auto", "output": "dimmer", "area": "other",
                        "floor_level": 10.0, "grace": "10s"},
        )  # fmt: skip
        self.full, self.day, self.now, self.level = full, day, 0.0, 10.0
        self.covered = False
        self.daylight["auto"], self.presence["dimmer"], self.presence["pir"] = 50.0, 10.0, 0.0
        self.lux: list[float] = []

    def run(self, seconds: int) -> Room:
        for _ in range(seconds):
            lux = self.day + self.full * self.level / 100.0
            self.daylight["lux"] = 5.0 if self.covered else lux
            self.daylight["dimmer"] = self.level
            self.daylight.step(self.now)
            self.presence["auto"] = self.daylight.request("auto")
            self.presence.step(self.now)
            self.level = self.presence.request("dimmer")
            self.lux.append(lux)
            self.now += 1.0
        return self

    def come(self) -> Room:
        self.presence["pir"] = 1.0
        self.lux.clear()
        return self


def test_the_loop_does_not_wind_up_while_nobody_is_there() -> None:
    """Two hours at the floor: the level is what the room will need, 55 %, and right at once."""
    room = Room().run(7200)
    assert room.level == 10.0
    assert room.daylight["target"] == pytest.approx(55.0, abs=4.0)
    assert room.daylight["state"] == LIT
    room.come().run(600)
    assert room.lux[4] == pytest.approx(150.0, abs=8.0)
    assert max(room.lux) < 158.0


def test_the_loop_follows_the_sun_while_nobody_is_there() -> None:
    """The level sinks with the daylight that comes, to nothing, and rises again."""
    room = Room().run(600)
    for day, level in ((90.0, 30.0), (0.0, 75.0)):
        room.day = day
        room.run(900)
        assert room.daylight["target"] == pytest.approx(level, abs=5.0)
    room.day = 400.0
    room.run(1500)
    assert room.daylight["target"] == 0.0
    assert room.level == 10.0  # the floor


@settings(max_examples=25, deadline=None)
@given(
    full=some.floats(120.0, 400.0), wrong=some.floats(0.75, 1.4), share=some.floats(0.0, 0.8),
)  # fmt: skip
def test_a_wrong_calibration_is_corrected_as_soon_as_somebody_comes(
    full: float, wrong: float, share: float
) -> None:
    """Whatever the lamps really give: near at once, right within five minutes."""
    setpoint = 0.7 * full
    room = Room(full, share * setpoint, full_output=full * wrong, setpoint=setpoint).run(1800)
    room.come().run(300)
    assert 0.7 * setpoint < room.lux[3] < 1.4 * setpoint
    assert room.lux[-1] == pytest.approx(setpoint, rel=0.08)


def test_a_covered_sensor_is_found_by_what_the_lamps_do() -> None:
    """Not by what the loop would like: dimmed lamps under a good sensor prove nothing."""
    room = Room().run(600)
    room.day = 0.0
    room.run(600)
    assert room.daylight["state"] == LIT
    room.covered = True
    room.run(600)
    assert room.daylight["state"] == LIT
    room.come().run(200)
    assert room.daylight["state"] == NO_RESPONSE


def test_lamps_that_are_not_known_hold_the_loop() -> None:
    """Nothing is integrated while nobody knows what the lamps give."""
    room = Room().run(600)
    before = room.daylight.request("auto")
    room.daylight.bad("dimmer", COMM)
    for _ in range(600):
        room.daylight["lux"] = 20.0
        room.daylight.step(room.now)
        room.now += 1.0
    assert room.daylight["state"] == WAITING
    assert room.daylight.request("auto") == before


def test_lamps_of_another_rule_are_not_tested_at_night() -> None:
    """Asking for it is refused; by itself it does not happen."""
    given = {"illuminance": "l", "output": "a", "lamps": "d"}
    with pytest.raises(ValidationError, match="cannot be tested at night"):
        Daylight.model_validate({**given, "night_test": "02:00"})
    assert Daylight.model_validate({**given, "night_test": "never"}).lamps == "d"


def test_bad_signals_are_told() -> None:
    """Which one, after a minute; what it means for the light stays as it was."""
    block = Instance(
        OCCUPANCY, {"motion": "pir", "neighbours": "near", "panic": "fire", "output": "level"}
    )
    block["level"] = 20.0
    signals = {"pir": MOTION_BAD, "near": NEIGHBOUR_BAD, "fire": PANIC_BAD}
    for now, bad in enumerate((None, *signals)):
        for name in signals:
            block[name] = 0.0
        if bad:
            block.bad(bad, COMM)
        block.step(float(now))
        assert block["sensor"] == (signals[bad] if bad else 0.0)
        if bad == "pir":
            assert block["state"] == SENSOR_BAD
    (alarm,) = OCCUPANCY.alarms(block.model)
    assert (alarm.when, alarm.on_delay) == ("{rule}.sensor > 0", 60.0)
