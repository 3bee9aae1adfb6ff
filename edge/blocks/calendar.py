"""Calendars as data: holidays and swapped workdays, and whether next year's are there.

Not a schedule: `edge/blocks/schedule.py` takes the dates. Two small kinds that every site with
such data gets by itself: one tells that a calendar is running out, one that the clock is not set.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from math import inf
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from edge.blocks.kind import Agenda, AlarmTemplate, Kind, Place, Published, usable
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal, Words
from edge.text import Text


def _date(value: object) -> object:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise Refusal(
            Text(
                f'"{value}" 不是日期; 应写如 2026-10-01',
                f'"{value}" is no date; write it like 2026-10-01',
            )
        ) from None


CalendarDate = Annotated[
    date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})
]


class Calendar(Model):
    """Public holidays and the weekend days that are worked instead (调休), as dates."""

    name: Words | None = None
    holidays: tuple[CalendarDate, ...] = ()
    workdays: tuple[CalendarDate, ...] = ()

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        refuse_both(self.holidays, self.workdays)
        return self


def refuse_both(holidays: tuple[date, ...], workdays: tuple[date, ...]) -> None:
    """Refuse a date that is a holiday and a workday."""
    for day in workdays:
        if day in holidays:
            raise Refusal(
                Text(
                    f"{day} 既是节假日又是调休工作日",
                    f"{day} is both a holiday and a swapped workday",
                )
            )


DECEMBER = 12  # from its first day on next year's dates are wanted


def missing(model: Calendar, place: Place, wall: float) -> Agenda:
    """1 while the year has no holiday in the calendar, or in December the next one has none."""
    zone = ZoneInfo(place.timezone)
    today = datetime.fromtimestamp(wall, zone).date()
    late = today.month == DECEMBER
    years = {day.year for day in model.holidays}
    lacking = today.year not in years or (late and today.year + 1 not in years)
    change = date(today.year + 1, 1, 1) if late else date(today.year, DECEMBER, 1)
    until = datetime(change.year, change.month, 1, tzinfo=zone).timestamp()
    return Agenda(float(lacking), until)


_SHOWN, _CELL = 0, 1


def calendar_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Show the agenda's answer; bad while the clock is not trusted."""
    v[ops[o + _SHOWN]] = v[ops[o + _CELL]]
    q[ops[o + _SHOWN]] = q[ops[o + _CELL]]


def _watched(
    name: str, model: type[Model], step: Callable[..., None], text: Text, shown: Published,
    alarm: AlarmTemplate, agenda: Callable[[Any, Place, float], Agenda],
) -> Kind:  # fmt: skip
    """A kind that the site brings by itself: it shows what its agenda says, and tells of it."""
    return Kind(
        name=name, model=model, step=step, text=text, every=1.0, slot=Slot.CONTROL,
        publishes=lambda _: (shown,), states=lambda _: 0, alarms=lambda _: (alarm,), agenda=agenda,
    )  # fmt: skip


CALENDAR = _watched(
    "calendar", Calendar, calendar_step, Text("日历数据是否齐全", "whether a calendar is complete"),
    Published(
        "missing", "", Text("日历缺失", "calendar missing"),
        {0: Text("齐全", "complete"), 1: Text("缺少日期", "dates are missing")},
    ),
    AlarmTemplate(
        "{RULE}_CALENDAR_MISSING", "{rule}.missing", 4,
        Text("日历 {rule} 缺少节假日安排", "calendar {rule} lacks its holidays"),
        (Text("查国务院节假日安排通知", "look up the official notice for the year"),
         Text("把日期加到日历文件并重新载入", "add the dates to the calendar and reload")),
        cause=Text("本年, 或 12 月起的下一年, 没有任何节假日日期",
                   "there is no holiday of this year, or from December on of the next"),
        consequence=Text("节假日和调休日按普通星期运行",
                         "holidays and swapped workdays run as ordinary days of the week"),
    ),
    missing,
)  # fmt: skip


class SiteClock(Model):
    """Nothing to set: the clock of the machine."""


def clock_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """1 while the wall clock is trusted: an agenda's cell is usable only then."""
    v[ops[o + _SHOWN]] = 1.0 if usable(v, q, ops[o + _CELL]) else 0.0
    q[ops[o + _SHOWN]] = 0


CLOCK = _watched(
    "clock", SiteClock, clock_step, Text("时钟是否可信", "whether the clock is trusted"),
    Published(
        "trusted", "", Text("时钟可信", "clock trusted"),
        {0: Text("未同步", "not synchronised"), 1: Text("已同步", "synchronised")},
    ),
    AlarmTemplate(
        "CLOCK_UNSYNC", "not {rule}.trusted", 3, Text("时钟未同步", "clock not synchronised"),
        (Text("查 NTP 服务器是否可达", "look whether the NTP server can be reached"),
         Text("查时钟电池 (RTC)", "look at the battery of the clock (RTC)")),
        on_delay=300.0,
        cause=Text("开机后没有对时, 或时钟电池失效",
                   "no time server since the start, or a dead clock battery"),
        consequence=Text("时间表停用: 照明只按光控, 灌溉暂停",
                         "schedules are suspended: lighting by photocell only, no irrigation"),
    ),
    lambda _model, _place, _wall: Agenda(1.0, inf),
)  # fmt: skip
