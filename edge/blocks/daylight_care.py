"""What keeps a daylight loop well for years: it detunes itself, and measures its lamps at night.

Not the loop (`edge/blocks/daylight.py`, which calls this with `c`, the place of this state). Every
function but the agenda may be compiled with the step.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import asin, cos, degrees, inf, isnan, nan, radians, sin
from zoneinfo import ZoneInfo

from edge.blocks.kind import Agenda, Place
from edge.blocks.pid import clip
from edge.blocks.schedule import local_time
from edge.blocks.sun import solar_position
from edge.blocks.timing import ROUNDING
from edge.image.image import Floats

STATES = 10  # numbers of state that belong to this module
(_FACTOR, _DIRECTION, _REVERSALS, _REVERSED_AT, _SETPOINT, _TESTED, _TEST_AT, _TEST_U, _TEST_LUX,
 _FOUND) = range(STATES)  # fmt: skip

# Oscillation: the target turns round again and again while the setpoint stays.
SMALL = 0.5  # %: a smaller step of the target is no sign of anything
NEARLY = 0.05  # of the setpoint: what still counts as constant
TURNS = 6  # in a row, each within TURN_CYCLES of the one before
TURN_CYCLES = 10.0
LEAST_FACTOR = 1 / 8  # three halvings: a loop that still hunts has another fault

# Night test.
TEST_TIME = 30.0  # s at 100 %
RETURN_TIME = 10.0  # s until the sensor has seen the former level again
LATE = 60.0  # s: a test that was interrupted for so long is void
FIRST_DAYS = 7  # of the month: in one of these nights it is done
WINDOW = 3600.0  # s after its time of day
LIT_ALREADY = 80.0  # %: above, the difference to 100 % is too small to measure
DARK = -6.0  # degrees of the sun's height: civil twilight is over
WEAK = 0.7  # of the commissioned output

LEARNT = {"lamps at night": _FOUND, "month of the test": _TESTED}
"""What outlives a change of options; the gain does not, it belongs to them."""


def detuned(st: Floats, c: int) -> float:
    """By what the gain is multiplied."""
    return 1.0 if isnan(st[c + _FACTOR]) else float(st[c + _FACTOR])


def watch_step(step: float, setpoint: float, cycle: float, now: float, st: Floats, c: int) -> None:
    """Halve the gain when the target's steps turn round TURNS times in a row."""
    if isnan(st[c + _SETPOINT]) or abs(setpoint - st[c + _SETPOINT]) > NEARLY * setpoint:
        st[c + _SETPOINT], st[c + _REVERSALS], st[c + _DIRECTION] = setpoint, 0.0, nan
    if abs(step) < SMALL:
        return
    direction = 1.0 if step > 0.0 else -1.0
    if direction == -st[c + _DIRECTION]:
        soon = now - st[c + _REVERSED_AT] <= TURN_CYCLES * cycle + ROUNDING
        st[c + _REVERSALS] = st[c + _REVERSALS] + 1.0 if soon else 1.0
        st[c + _REVERSED_AT] = now
        if st[c + _REVERSALS] >= TURNS:
            st[c + _FACTOR] = max(0.5 * detuned(st, c), LEAST_FACTOR)
            st[c + _REVERSALS] = 0.0
    st[c + _DIRECTION] = direction


def full_output(commissioned: float, st: Floats, c: int) -> float:
    """What the lamps give at 100 %: as found at night, within half and double of commissioning."""
    if isnan(st[c + _FOUND]):
        return commissioned
    return clip(st[c + _FOUND], 0.5 * commissioned, 2.0 * commissioned)


def found(st: Floats, c: int) -> float:
    """What the last night test measured, in lx; NaN before the first."""
    return float(st[c + _FOUND])


def unfound(before: float, st: Floats, c: int) -> None:
    """Forget a measurement that tells of the sensor, not of the lamps: `before` counts again."""
    st[c + _FOUND] = before


def night_test(
    month: float, free: bool, lux: float, u: float, now: float, st: Floats, c: int
) -> float:  # fmt: skip
    """The level that a running test wants, NaN when there is none.

    `month` numbers the month in the hour of the test, NaN outside. One test a month, when nobody is
    there; somebody who comes ends it, and it is tried again.
    """
    if isnan(st[c + _TEST_AT]):
        if isnan(month) or month == st[c + _TESTED] or not free:
            return nan
        st[c + _TEST_AT], st[c + _TEST_U], st[c + _TEST_LUX] = now, u, lux
        return 100.0
    since = now - st[c + _TEST_AT] + ROUNDING
    if not free or since > LATE:
        return end_test(st, c)
    if since < TEST_TIME:
        return 100.0
    if month != st[c + _TESTED] and not isnan(month):
        st[c + _TESTED] = month
        lit = st[c + _TEST_U]
        rise = (lux - st[c + _TEST_LUX]) / (1.0 - lit / 100.0) if lit < LIT_ALREADY else lux
        st[c + _FOUND] = max(rise, 0.0)
    if since >= TEST_TIME + RETURN_TIME:
        return end_test(st, c)
    return float(st[c + _TEST_U])


def end_test(st: Floats, c: int) -> float:
    """End a test, if one runs, and say which level there was before it."""
    before = nan if isnan(st[c + _TEST_AT]) else float(st[c + _TEST_U])
    st[c + _TEST_AT] = nan
    return before


def night(at: str, place: Place, wall: float) -> Agenda:
    """The number of the month in the hour from `at` on in the first nights of it, else NaN."""
    if at == "never":
        return Agenda(nan, inf)
    hour, minute = (int(part) for part in at.split(":")[:2])
    today = datetime.fromtimestamp(wall, ZoneInfo(place.timezone)).date()
    for days in range(-1, 40):
        day = today + timedelta(days)
        start = local_time(day, hour * 3600 + minute * 60, place.timezone)
        if day.day > FIRST_DAYS or wall >= start + WINDOW:
            continue
        if wall < start:
            return Agenda(nan, start)
        dark = all(_height(t, place) < DARK for t in (start, start + WINDOW))
        return Agenda(float(12 * day.year + day.month) if dark else nan, start + WINDOW)
    return Agenda(nan, wall + 86400.0)


def _height(at: float, place: Place) -> float:
    """The sun's height in degrees; of a site without a place, night."""
    if isnan(place.latitude):
        return -90.0
    declination, equation = solar_position(at)
    angle = radians((at / 60 % 1440 + equation + 4 * place.longitude - 720) / 4)
    high, low = radians(place.latitude), radians(declination)
    sine = sin(high) * sin(low) + cos(high) * cos(low) * cos(angle)
    return degrees(asin(sine))
