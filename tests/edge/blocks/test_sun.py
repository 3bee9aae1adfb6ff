"""Sunrise, sunset and twilight against the reference values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge.blocks.kind import Place
from edge.blocks.sun import SunEvent, solar_noon, sun_event

SHANGHAI = Place("Asia/Shanghai", 31.23, 121.47)
BEIJING = Place("Asia/Shanghai", 39.90, 116.40)
URUMQI = Place("Asia/Shanghai", 43.83, 87.62)
LONDON = Place("Europe/London", 51.51, -0.13)
TROMSO = Place("Europe/Oslo", 69.65, 18.96)
MARCH, JUNE = date(2026, 3, 20), date(2026, 6, 21)
SEPTEMBER, DECEMBER = date(2026, 9, 23), date(2026, 12, 22)

VECTORS = [
    (SHANGHAI, 8, MARCH, "05:58:29", "18:05:17"),
    (SHANGHAI, 8, JUNE, "04:50:26", "19:01:18"),
    (SHANGHAI, 8, SEPTEMBER, "05:42:43", "17:50:03"),
    (SHANGHAI, 8, DECEMBER, "06:48:59", "16:56:03"),
    (BEIJING, 8, MARCH, "06:18:33", "18:25:57"),
    (BEIJING, 8, JUNE, "04:45:58", "19:46:20"),
    (BEIJING, 8, SEPTEMBER, "06:02:31", "18:10:36"),
    (BEIJING, 8, DECEMBER, "07:32:40", "16:52:57"),
    (URUMQI, 8, MARCH, "08:13:23", "20:21:25"),
    (URUMQI, 8, JUNE, "06:27:16", "21:55:18"),
    (URUMQI, 8, SEPTEMBER, "07:57:27", "20:05:46"),
    (URUMQI, 8, DECEMBER, "09:40:44", "18:35:12"),
    (LONDON, 0, MARCH, "06:03:22", "18:13:31"),
    (LONDON, 0, JUNE, "03:43:04", "20:21:36"),
    (LONDON, 0, SEPTEMBER, "05:48:06", "17:56:43"),
    (LONDON, 0, DECEMBER, "08:04:16", "15:53:55"),
]


def seconds_off(event: SunEvent, day: date, place: Place, hours: int, clock: str) -> float:
    at = sun_event(event, day, place)
    assert at is not None
    wanted = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC) - timedelta(hours=hours)
    return abs(at - wanted.timestamp())


@pytest.mark.parametrize(("place", "hours", "day", "rise", "down"), VECTORS)
def test_rise_and_set(place: Place, hours: int, day: date, rise: str, down: str) -> None:
    """Sunrise and sunset are within a minute of the reference at every place and season."""
    assert seconds_off("sunrise", day, place, hours, rise) <= 60
    assert seconds_off("sunset", day, place, hours, down) <= 60


@pytest.mark.parametrize(
    ("day", "dawn", "dusk"), [(MARCH, "05:34:19", "18:29:29"), (JUNE, "04:22:28", "19:29:16")]
)
def test_civil_twilight(day: date, dawn: str, dusk: str) -> None:
    """Civil dawn and dusk are within a minute of the reference."""
    assert seconds_off("civil_dawn", day, SHANGHAI, 8, dawn) <= 60
    assert seconds_off("civil_dusk", day, SHANGHAI, 8, dusk) <= 60


def test_polar_day_and_night_have_no_events() -> None:
    """Where the sun does not set or rise there is no event, not a made-up one."""
    assert [sun_event(e, JUNE, TROMSO) for e in ("sunrise", "sunset", "civil_dusk")] == [None] * 3
    assert sun_event("sunrise", DECEMBER, TROMSO) is None
    assert sun_event("civil_dawn", DECEMBER, TROMSO) is not None


@pytest.mark.parametrize(
    ("zone", "longitude"),
    [("Pacific/Kiritimati", -157.4), ("Asia/Shanghai", 87.6), ("Pacific/Pago_Pago", -170.7)],
)
def test_the_event_belongs_to_the_local_day(zone: str, longitude: float) -> None:
    """Where clock and sun are far apart, noon is still that of the local calendar day."""
    for offset in range(0, 366, 30):
        day = date(2026, 1, 1) + timedelta(offset)
        noon = solar_noon(day, Place(zone, 1.9, longitude))
        assert day == datetime.fromtimestamp(noon, ZoneInfo(zone)).date()
