"""The schedule: values by clock, sun and calendar, as transitions that stay in force.

The calendar part is plain Python (`agenda`), asked when the last answer has run out; the step only
puts the agenda's cell on the ladder. Priority: exception dates, then seasons, then the week.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import inf, isnan, nan
from typing import Annotated, Literal, Self, TypeVar, cast
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from edge.blocks.calendar import Calendar, CalendarDate, refuse_both
from edge.blocks.kind import Agenda, Example, Kind, Place, Published, Target, usable
from edge.blocks.output import RESULT, ask
from edge.blocks.sun import SunEvent, sun_event
from edge.image.image import Bits, Floats, Index
from edge.image.quality import NEVER
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import canonical, parse_duration
from edge.text import Text

DayName = Literal[
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "workday", "weekend", "holiday"
]  # fmt: skip

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOLIDAY = 7  # the day code after Monday 0 … Sunday 6
_GROUPS = {
    "workday": frozenset(range(5)), "weekend": frozenset({5, 6}), "holiday": frozenset({_HOLIDAY})
}  # fmt: skip
_HORIZON = 400  # days to look back and ahead: a date that recurs each year is found
_LONGEST_OFFSET = 6 * 3600.0

T = TypeVar("T")

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_SUN = re.compile(r"(sunrise|sunset|civil_dawn|civil_dusk)\s*(?:([+-])\s*(.+))?")


@dataclass(frozen=True, slots=True)
class _When:
    """A time of day: seconds after midnight by the clock, or an event of the sun and an offset."""

    event: SunEvent | None
    seconds: float


@lru_cache(maxsize=4096)
def _when(text: str) -> _When:
    clock = _CLOCK.fullmatch(text.strip())
    if clock:
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return _When(None, hours * 3600 + minutes * 60 + seconds)
    sun = _SUN.fullmatch(text.strip())
    if not sun:
        raise Refusal(
            Text(
                f'"{text}" 不是时刻; 应写如 "07:30"、"sunset"、"sunrise - 30min"、'
                f'"civil_dusk + 10min"',
                f'"{text}" is no time of day; write it like "07:30", "sunset", "sunrise - 30min", '
                f'"civil_dusk + 10min"',
            )
        )
    offset = parse_duration(sun[3]) if sun[3] else 0.0
    if offset > _LONGEST_OFFSET:
        raise Refusal(Text(f'"{text}": 偏移最多 6h', f'"{text}": an offset is at most 6h'))
    return _When(cast(SunEvent, sun[1]), -offset if sun[2] == "-" else offset)


def _time_of_day(text: str) -> str:
    _when(text)
    return text


def _clock_time(text: str) -> str:
    if _when(text).event is not None:
        raise Refusal(
            Text(f'"{text}" 应为钟点, 如 "18:00"', f'"{text}" should be a clock time like "18:00"')
        )
    return text


def _month_day(text: str) -> str:
    try:
        date.fromisoformat(f"2024-{text}")  # a leap year: 02-29 may stand here
    except ValueError:
        raise Refusal(
            Text(
                f'"{text}" 不是月-日; 应写如 06-15',
                f'"{text}" is no month-day; write it like 06-15',
            )
        ) from None
    return text


TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
ClockTime = Annotated[str, AfterValidator(_clock_time)]
MonthDay = Annotated[str, AfterValidator(_month_day)]


class Entry(Model):
    """On these days, at this time, the value changes. No `days`: every day, holidays too.

    `at` is a clock time or `sunrise`, `sunset`, `civil_dawn`, `civil_dusk` with an offset; a day
    without the event (polar day and night) has no transition. `value: null` withdraws the request.
    """

    days: tuple[DayName, ...] = ()
    at: TimeOfDay
    value: float | bool | None
    not_before: ClockTime | None = None
    not_after: ClockTime | None = None

    @model_validator(mode="after")
    def _window(self) -> Self:
        low, high = self.not_before, self.not_after
        if low and high and _when(low).seconds > _when(high).seconds:
            raise Refusal(
                Text(
                    f"not_before {low} 晚于 not_after {high}",
                    f"not_before {low} is later than not_after {high}",
                )
            )
        return self

    def codes(self) -> frozenset[int]:
        """The day codes it applies to."""
        if not self.days:
            return frozenset(range(_HOLIDAY + 1))
        single = {_WEEK.index(name) for name in self.days if name in _WEEK}
        return frozenset(single).union(*(_GROUPS.get(name, ()) for name in self.days))


class Season(Model):
    """Replaces the weekly entries from one month-day through another, each year."""

    first: MonthDay = Field(alias="from")
    last: MonthDay = Field(alias="to")
    entries: tuple[Entry, ...] = Field(min_length=1)

    def covers(self, day: date) -> bool:
        """Whether `day` lies in it; from December to February is one season."""
        today = day.strftime("%m-%d")
        if self.first <= self.last:
            return self.first <= today <= self.last
        return today >= self.first or today <= self.last


class Schedule(Model):
    """Values by clock, sun and calendar.

    `output` may be left out: then the value is only shown as the point of the rule. On a date of
    `holidays` the entries that name `holiday` apply (of the season, else of the week); where none
    does, the holiday is a Sunday. A weekend date of `workdays` (调休) runs as a Monday. `calendar`
    names one of the site's `calendars:`, whose dates are added.
    """

    output: Annotated[str | None, Target()] = None
    unit: Annotated[str, AfterValidator(canonical)] = ""
    entries: tuple[Entry, ...] = Field(min_length=1)
    seasons: tuple[Season, ...] = ()
    calendar: str | None = None
    holidays: tuple[CalendarDate, ...] = ()
    workdays: tuple[CalendarDate, ...] = ()

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        refuse_both(self.holidays, self.workdays)
        return self

    def on(self, calendar: Calendar) -> Schedule:
        """The schedule with the calendar's dates; where both say something, its own stay."""
        holidays = {*self.holidays, *calendar.holidays} - {*self.workdays}
        workdays = {*self.workdays, *calendar.workdays} - {*self.holidays}
        return self.model_copy(
            update={"holidays": tuple(sorted(holidays)), "workdays": tuple(sorted(workdays))}
        )


def step_schedule(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Ask for the agenda's value; with an untrusted clock withdraw the request (§1.5)."""
    shown, cell = ops[o + RESULT], ops[o + RESULT + 1]
    value = v[cell] if usable(v, q, cell) else nan
    ask(v, q, ops, o, value, q[cell])
    v[shown] = value
    q[shown] = q[cell] | NEVER if isnan(value) else q[cell]


def agenda(model: Schedule, place: Place, wall: float) -> Agenda:
    """What holds at the Unix time `wall`: the last transition before it, until the next one."""
    today = datetime.fromtimestamp(wall, ZoneInfo(place.timezone)).date()

    def passed(days: int) -> list[tuple[float, float]]:
        return [t for t in _transitions(model, place, today - timedelta(days)) if t[0] <= wall]

    def coming(days: int) -> list[float]:
        day = today + timedelta(days)
        return [at for at, _ in _transitions(model, place, day) if at > wall]

    last, following = _first(passed), _first(coming)
    value = max(reversed(last), key=lambda t: t[0])[1] if last else nan  # a later line wins a tie
    return Agenda(value, min(following, default=inf))


def _first(found: Callable[[int], list[T]]) -> list[T]:
    """What the first day on which there is something has, and the day after it.

    Counted from the day on the other side of today: an offset reaches into a neighbouring day,
    never further.
    """
    for days in range(-1, _HORIZON):
        if here := found(days):
            return found(days + 1) + here
    return []


def _transitions(model: Schedule, place: Place, day: date) -> Iterator[tuple[float, float]]:
    """(Unix time, value) of each transition that belongs to the local calendar day."""
    for entry in _entries(model, day):
        when = _when(entry.at)
        if when.event is None:
            at = local_time(day, when.seconds, place.timezone)
        else:
            event = sun_event(when.event, day, place)
            if event is None:
                continue
            at = event + when.seconds
        if entry.not_before is not None:
            at = max(at, local_time(day, _when(entry.not_before).seconds, place.timezone))
        if entry.not_after is not None:
            at = min(at, local_time(day, _when(entry.not_after).seconds, place.timezone))
        yield at, nan if entry.value is None else float(entry.value)


def _entries(model: Schedule, day: date) -> Iterator[Entry]:
    season = next((s for s in model.seasons if s.covers(day)), None)
    code, entries = day.weekday(), season.entries if season else model.entries
    if day in model.holidays:
        code = 6
        for candidates in (entries, model.entries):
            if any("holiday" in entry.days for entry in candidates):
                code, entries = _HOLIDAY, candidates
                break
    elif day in model.workdays and code >= 5:
        code = 0
    return (entry for entry in entries if code in entry.codes())


def local_time(day: date, seconds: float, timezone: str) -> float:
    """The Unix time at which a clock on the wall shows `seconds` after midnight of `day`.

    In the hour that is skipped in spring: the moment of the change, the first valid minute. In the
    hour that is repeated in autumn: the first of the two.
    """
    zone = ZoneInfo(timezone)
    naive = datetime.combine(day, time()) + timedelta(seconds=seconds)
    late = naive.replace(tzinfo=zone).timestamp()
    early = naive.replace(tzinfo=zone, fold=1).timestamp()
    if early >= late:  # an ordinary moment, or the first of two
        return late
    before = _offset(early, zone)
    while late - early > 1:  # in the gap fold 1 is before the change and fold 0 after it
        middle = (early + late) // 2
        early, late = (middle, late) if _offset(middle, zone) == before else (early, middle)
    return late


def _offset(at: float, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()


def _publishes(model: Schedule) -> tuple[Published, ...]:
    return (Published("", model.unit, Text("时间表当前值", "present value of the schedule")),)


SCHEDULE = Kind(
    name="schedule",
    model=Schedule,
    step=step_schedule,
    text=Text("按日历、钟点和日出日落给值", "values by calendar, clock and sun"),
    every=1.0,
    slot=Slot.SCHEDULE,
    publishes=_publishes,
    states=lambda _: 0,
    agenda=agenda,
    examples=(
        Example(
            "the agenda's value is asked for; an untrusted clock withdraws it",
            {
                "output": "garden.level",
                "unit": "%",
                "entries": [
                    {"at": "civil_dusk", "value": 80.0, "not_before": "17:30"},
                    {"at": "civil_dawn", "value": 0.0},
                ],
            },
            (
                (0.0, {"agenda": 80.0}, {"garden.level": 80.0, "": 80.0}),
                (1.0, {"agenda": nan}, {"garden.level": nan, "": nan}),
                (2.0, {"agenda": 0.0}, {"garden.level": 0.0, "": 0.0}),
            ),
        ),
    ),
)
