"""The schedule: priorities of the calendar, daylight saving time, sun, restart, untrusted clock."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from math import inf, isnan
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from edge.blocks.kind import Place
from edge.blocks.schedule import SCHEDULE, Schedule, agenda, local_time
from edge.blocks.sun import sun_event
from edge.image.quality import NEVER
from tests.support.block import Instance

SHANGHAI = Place("Asia/Shanghai", 31.23, 121.47)
BERLIN = Place("Europe/Berlin", 52.52, 13.40)
TROMSO = Place("Europe/Oslo", 69.65, 18.96)

WEEK = [
    {"days": ["workday"], "at": "07:30", "value": 100.0},
    {"days": ["workday"], "at": "19:00", "value": 20.0},
    {"days": ["weekend"], "at": "09:00", "value": 50.0},
    {"days": ["holiday"], "at": "00:00", "value": 5.0},
]


def schedule(**options: Any) -> Schedule:
    return Schedule.model_validate({"entries": WEEK, **options})


def at(text: str, place: Place = SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(place.timezone)).timestamp()


def value(model: Schedule, text: str, place: Place = SHANGHAI) -> float:
    return agenda(model, place, at(text, place)).value


def test_the_last_transition_holds_until_the_next() -> None:
    """At any moment the latest transition before it applies, without replaying older ones."""
    now = agenda(schedule(), SHANGHAI, at("2026-10-14 12:00"))
    assert (100.0, at("2026-10-14 19:00")) == (now.value, now.until)
    assert value(schedule(), "2026-10-14 07:29:59") == 20.0
    assert value(schedule(), "2026-10-14 07:30:00") == 100.0
    assert value(schedule(), "2026-10-12 03:00") == 50.0  # Monday night: still Sunday's


def test_a_holiday_and_a_swapped_workday() -> None:
    """S25: 1 October runs the holiday entries, Saturday 10 October those of a workday."""
    model = schedule(holidays=["2026-10-01"], workdays=["2026-10-10"])
    assert value(model, "2026-10-01 12:00") == 5.0
    assert value(model, "2026-10-10 12:00") == 100.0
    assert value(model, "2026-10-11 12:00") == 50.0


def test_a_holiday_without_entries_of_its_own_is_a_sunday() -> None:
    """Where no entry names `holiday`, a listed Thursday runs as a Sunday."""
    model = Schedule.model_validate({"entries": WEEK[:3], "holidays": ["2026-10-01"]})
    assert value(model, "2026-10-01 12:00") == 50.0


def test_a_season_replaces_the_week_and_yields_to_a_holiday() -> None:
    """Exception dates come before seasons, seasons before the week; a season may span New Year."""
    winter = {"from": "12-01", "to": "02-28", "entries": [{"at": "06:00", "value": 70.0}]}
    model = schedule(seasons=[winter], holidays=["2027-01-01"])
    assert value(model, "2026-12-15 12:00") == 70.0
    assert value(model, "2027-02-28 12:00") == 70.0
    assert value(model, "2027-03-01 12:00") == 100.0
    assert value(model, "2027-01-01 12:00") == 5.0


def test_in_spring_a_skipped_transition_fires_at_the_first_valid_minute() -> None:
    """02:30 does not exist on the day of the change: it happens at 03:00 summer time."""
    model = schedule(entries=[{"at": "02:30", "value": 1.0}, {"at": "23:00", "value": 0.0}])
    change = at("2026-03-29 03:00", BERLIN)
    assert agenda(model, BERLIN, change - 1).until == change
    assert agenda(model, BERLIN, change).value == 1.0


def test_in_autumn_a_repeated_transition_fires_once() -> None:
    """02:30 comes twice on the day of the change: the first one counts, the second is none."""
    model = schedule(entries=[{"at": "02:30", "value": 1.0}])
    first = at("2026-10-25 02:30", BERLIN)
    assert agenda(model, BERLIN, first - 1).until == first
    assert agenda(model, BERLIN, first).until == at("2026-10-26 02:30", BERLIN)


@given(
    some.dates(date(2020, 1, 1), date(2030, 12, 31)),
    some.integers(0, 86399),
    some.sampled_from(
        ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Shanghai"]
    ),
)
@settings(max_examples=300, deadline=None)
def test_local_time_shows_the_wanted_time_or_the_end_of_a_gap(
    day: date, seconds: int, zone: str
) -> None:
    """Outside a gap the clock on the wall shows what was asked; inside it, it has just jumped."""
    moment = local_time(day, seconds, zone)
    wanted = datetime.combine(day, datetime.min.time()) + timedelta(seconds=seconds)
    shown = datetime.fromtimestamp(moment, ZoneInfo(zone)).replace(tzinfo=None)
    before = datetime.fromtimestamp(moment - 1, ZoneInfo(zone)).replace(tzinfo=None)
    assert shown == wanted or (shown > wanted > before)


def test_sun_entries_with_offset_and_window() -> None:
    """An offset moves the sun's event and the window clamps it."""
    model = schedule(
        entries=[
            {"at": "sunset - 30min", "value": 1.0, "not_before": "17:00"},
            {"at": "sunrise + 10min", "value": 0.0},
        ]
    )
    sunset = sun_event("sunset", date(2026, 6, 21), SHANGHAI)
    assert sunset is not None
    assert agenda(model, SHANGHAI, at("2026-06-21 12:00")).until == sunset - 1800
    assert agenda(model, SHANGHAI, at("2026-12-22 12:00")).until == at("2026-12-22 17:00")


def test_an_offset_may_reach_into_the_next_day() -> None:
    """Six hours after sunset is tomorrow; until then yesterday's transition is the last one."""
    model = schedule(entries=[{"at": "sunset + 6h", "value": 7.0}, {"at": "00:10", "value": 3.0}])
    assert value(model, "2026-06-21 00:30") == 3.0
    assert value(model, "2026-06-21 02:00") == 7.0


def test_polar_day_leaves_the_fixed_times() -> None:
    """Under the midnight sun there is no sunset; the entries by the clock go on."""
    model = schedule(entries=[{"at": "sunset", "value": 1.0}, {"at": "06:00", "value": 2.0}])
    now = agenda(model, TROMSO, at("2026-06-21 23:00", TROMSO))
    assert (2.0, at("2026-06-22 06:00", TROMSO)) == (now.value, now.until)


def test_nothing_known_yet_is_no_request() -> None:
    """With a calendar that never comes up there is no value and no end."""
    model = Schedule.model_validate(
        {"entries": [{"days": ["holiday"], "at": "08:00", "value": 1.0}]}
    )
    now = agenda(model, SHANGHAI, at("2026-06-21 12:00"))
    assert isnan(now.value)
    assert now.until == inf


def test_of_two_at_the_same_moment_the_later_line_wins() -> None:
    """Entries are read from top to bottom."""
    model = schedule(entries=[{"at": "08:00", "value": 1.0}, {"at": "08:00", "value": 2.0}])
    assert value(model, "2026-06-21 09:00") == 2.0


@given(some.integers(0, 365 * 24 * 60))
@settings(max_examples=60, deadline=None)
def test_the_value_does_not_change_before_until(minute: int) -> None:
    """Asking again at any moment before `until` gives the same answer; at `until` a new one."""
    model = schedule(
        holidays=["2026-10-01"],
        seasons=[{"from": "06-15", "to": "09-15", "entries": [{"at": "sunset", "value": 9.0}]}],
    )
    wall = at("2026-01-01 00:00") + 60 * minute
    now = agenda(model, SHANGHAI, wall)
    assert now.until > wall
    assert now == agenda(model, SHANGHAI, (wall + now.until) / 2)
    assert agenda(model, SHANGHAI, now.until).until > now.until


def test_the_step_asks_for_the_agenda_and_withdraws_without_a_clock() -> None:
    """S24: while the clock is not trusted the request is withdrawn and the point is bad."""
    block = Instance(SCHEDULE, {"output": "garden.level", "entries": WEEK}, arbiter=False)
    block["agenda"] = 80.0
    block.step(0)
    assert (block.request("garden.level"), block[""], block.quality("")) == (80.0, 80.0, 0)
    block.bad("agenda", NEVER)
    block.step(1)
    assert isnan(block.request("garden.level"))
    assert block.quality("") == NEVER


def test_without_an_output_it_only_shows_its_value() -> None:
    """A schedule may serve as a point that other rules read."""
    block = Instance(SCHEDULE, {"entries": WEEK, "unit": "%"})
    block["agenda"] = 30.0
    block.step(0)
    assert block[""] == 30.0
    assert SCHEDULE.publishes(block.model)[0].unit == "%"


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"entries": [{"at": "7.30", "value": 1}]}, "07:30"),
        ({"entries": [{"at": "noon", "value": 1}]}, "sunset"),
        ({"entries": [{"at": "sunset + 9h", "value": 1}]}, "6h"),
        ({"entries": [{"at": "sunset", "value": 1, "not_before": "sunrise"}]}, "18:00"),
        ({"entries": [{"at": "sunset", "value": 1, "not_before": "19:00", "not_after": "18:00"}]},
         "later than"),
        ({"holidays": ["2026-02-30"]}, "2026-10-01"),
        ({"holidays": ["2026-10-01"], "workdays": ["2026-10-01"]}, "both"),
        ({"seasons": [{"from": "13-01", "to": "02-01", "entries": WEEK}]}, "06-15"),
        ({"unit": "percent"}, "no unit"),
        ({"entries": []}, "at least 1"),
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any], hint: str) -> None:
    """A schedule that cannot be meant is refused with what would be right."""
    with pytest.raises(ValidationError, match=hint):
        schedule(**options)
