"""Calendars: their dates in a schedule, and when next year's are asked for."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from math import nan
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from edge.blocks import KINDS
from edge.blocks.calendar import CALENDAR, CLOCK, Calendar, missing
from edge.blocks.kind import Place
from edge.blocks.schedule import Schedule
from edge.schema.loader import load_file
from edge.site.load import read_site
from tests.support.block import Instance

SHANGHAI = Place("Asia/Shanghai", 31.23, 121.47)
CHINA = Path(__file__).resolve().parents[3] / "config" / "calendars" / "china.yaml"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(SHANGHAI.timezone)).timestamp()


def shipped() -> Calendar:
    document, problems, _ = load_file(CHINA)
    assert document is not None
    assert not problems
    return Calendar.model_validate(document.data["calendars"]["china"])


def test_the_shipped_calendar_is_the_notice_of_2026() -> None:
    """33 days off in seven holidays and six worked weekend days, as the State Council gave them."""
    china = shipped()
    spans = [("01-01", 3), ("02-15", 9), ("04-04", 3), ("05-01", 5), ("06-19", 3), ("09-25", 3),
             ("10-01", 7)]  # fmt: skip
    wanted = [
        date.fromisoformat(f"2026-{first}") + timedelta(k) for first, n in spans for k in range(n)
    ]
    assert list(china.holidays) == wanted
    worked = ("01-04", "02-14", "02-28", "05-09", "09-20", "10-10")
    assert list(china.workdays) == [date.fromisoformat(f"2026-{day}") for day in worked]
    assert all(day.weekday() >= 5 for day in china.workdays)


@pytest.mark.parametrize(
    ("wall", "lacking", "until"),
    [
        ("2026-07-01 12:00", 0.0, "2026-12-01 00:00"),
        ("2026-11-30 23:59:59", 0.0, "2026-12-01 00:00"),
        ("2026-12-01 00:00", 1.0, "2027-01-01 00:00"),
        ("2027-01-01 00:00", 1.0, "2027-12-01 00:00"),
        ("2025-12-24 12:00", 1.0, "2026-01-01 00:00"),
    ],
)
def test_next_year_is_asked_for_from_december(wall: str, lacking: float, until: str) -> None:
    """Complete until 30 November; then next year must be there; an unknown year is not."""
    told = missing(shipped(), SHANGHAI, at(wall))
    assert (told.value, told.until) == (lacking, at(until))


def test_with_next_year_december_is_quiet() -> None:
    """One date of the next year is enough to be believed."""
    two = Calendar.model_validate({"holidays": ["2026-01-01", "2027-01-01"]})
    assert missing(two, SHANGHAI, at("2026-12-24 12:00")).value == 0.0


def test_own_dates_of_a_schedule_stay_and_win() -> None:
    """A shop that works on a public holiday says so; dates that it adds are there too."""
    own = Schedule.model_validate(
        {
            "entries": [{"at": "07:00", "value": 1}],
            "holidays": ["2026-12-24", "2026-10-10"],
            "workdays": ["2026-10-01"],
        }
    )
    both = own.on(shipped())
    assert date(2026, 12, 24) in both.holidays
    assert date(2026, 10, 1) not in both.holidays
    assert date(2026, 10, 10) not in both.workdays
    assert {date(2026, 10, 2), date(2026, 10, 10)} <= {*both.holidays}


def test_a_date_is_not_both() -> None:
    """A calendar that calls a date a holiday and a workday is refused."""
    with pytest.raises(ValidationError, match="both a holiday"):
        Calendar.model_validate({"holidays": ["2026-10-01"], "workdays": ["2026-10-01"]})


def test_an_untrusted_clock_says_nothing_about_a_calendar() -> None:
    """Without the time the calendar's point is bad, and the clock's own says why."""
    calendar, clock = Instance(CALENDAR, {}), Instance(CLOCK, {})
    for block, cell, value in ((calendar, 1.0, 1.0), (clock, 1.0, 1.0)):
        block["agenda"] = cell
        block.step(0.0)
        assert block["missing" if block is calendar else "trusted"] == value
        block["agenda"] = nan
        block.step(1.0)
    assert calendar.quality("missing") != 0
    assert (clock["trusted"], clock.quality("trusted")) == (0.0, 0)


def test_a_site_with_a_schedule_watches_its_clock(tmp_path: Path) -> None:
    """The alarm comes with the first rule that goes by the clock, and the calendar's with it."""
    (tmp_path / "site.yaml").write_text(
        "site: {id: yard, timezone: Asia/Shanghai}\n"
        "calendars: {shop: {holidays: [2026-10-01]}}\n"
        'rules: {open: {block: schedule, calendar: shop, entries: [{at: "07:00", value: 1}]}}\n'
    )
    site = read_site(tmp_path, {}, KINDS).site
    assert site is not None
    assert {a.id for a in site.alarms} == {"SHOP_CALENDAR_MISSING", "CLOCK_UNSYNC"}
    assert {p.id for p in site.points} == {"open", "shop.missing", "clock.trusted"}
