"""A loop that hunts: how it is recognised by its error, and detuned (domain §1.2).

Hunting is SWINGS half-swings of the error in a row, on alternate sides of the setpoint, each

    beyond the band (the loop's dead band, or what moves its output by OUTPUT_BAND of its range),
    between ALIKE and 1/ALIKE times as high as the highest, so that what dies away is none,
    at most EVEN times as long or short as the one before, and no longer than LONGEST · Ti,
    driven: for no more than RESTING of its time below SMALL of its own height. A disturbance that
    comes and goes leaves the loop time to recover; who hunts passes the setpoint without a rest.

A setpoint that moves by more than half a swing begins anew. What alternates by itself, as fast as
the loop and as evenly, cannot be told from hunting by the pressure alone.

Then Kp is halved, at most twice: who still hunts at a quarter has another fault. It stays so over
restarts until a person resets the rule or its options change. Called by the steps of loops, with
`c` the place of this state; every function is compiled with them.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import AlarmTemplate, Published
from edge.image.image import Floats
from edge.text import Text

OSCILLATION_STATES = 9  # numbers of state that belong to this module
_FACTOR, _SIDE, _PEAK, _TURNED, _INSIDE, _TOP, _HALF, _COUNT, _SETPOINT = range(OSCILLATION_STATES)

OUTPUT_BAND = 0.005  # of the output's range: a smaller swing of the P part wears nothing
SWINGS = 24.0  # noise alone, at its worst as high as the band, makes so many in centuries
ALIKE = 0.6
EVEN = 2.0
LONGEST = 3.0  # half a swing in Ti: a period of six Ti
SMALL, RESTING = 0.3, 0.4  # of the height, of the time; a sine rests for 0.19, a triangle for 0.3
LEAST_FACTOR = 0.25


def gain_factor(st: Floats, c: int) -> float:
    """By what Kp is multiplied: 1, 0.5 or 0.25."""
    return 1.0 if isnan(st[c + _FACTOR]) else float(st[c + _FACTOR])


def tune_anew(st: Floats, c: int) -> None:
    """A person resets it: Kp as configured."""
    st[c + _FACTOR] = nan
    look_anew(st, c)


def look_anew(st: Floats, c: int) -> None:
    """Nobody looked for a while, or the loop was not ours: what was counted is void."""
    st[c + _SIDE], st[c + _COUNT], st[c + _TOP], st[c + _HALF] = nan, 0.0, nan, nan


def hunts(
    error: float, setpoint: float, band: float, ti: float, now: float, dt: float, st: Floats, c: int
) -> bool:
    """Look at the error of one run; True when Kp was halved just now."""
    top = 0.0 if isnan(st[c + _TOP]) else st[c + _TOP]
    most = 0.5 * top if 0.5 * top > band else band
    moved = not abs(setpoint - st[c + _SETPOINT]) <= most
    if dt == 0.0 or moved or now - st[c + _TURNED] > LONGEST * ti:
        look_anew(st, c)
        st[c + _SETPOINT] = setpoint
    size = abs(error)
    if size < SMALL * st[c + _PEAK]:
        st[c + _INSIDE] += dt
    if size < band or size == 0.0:
        return False
    side = 1.0 if error > 0.0 else -1.0
    if side == st[c + _SIDE]:
        if size > st[c + _PEAK]:
            st[c + _PEAK] = size
        return False
    halved = not isnan(st[c + _SIDE]) and swings(now, st, c)
    st[c + _SIDE], st[c + _PEAK], st[c + _TURNED], st[c + _INSIDE] = side, size, now, 0.0
    return halved


def swings(now: float, st: Floats, c: int) -> bool:
    """Count the half-swing that just ended; True when it was the last one needed."""
    half, before = now - st[c + _TURNED], st[c + _HALF]
    peak, top = st[c + _PEAK], st[c + _TOP]
    alike = ALIKE * peak <= top and ALIKE * top <= peak
    even = half <= EVEN * before and before <= EVEN * half
    driven = st[c + _INSIDE] <= RESTING * half
    st[c + _HALF] = half
    if not (alike and even and driven):
        st[c + _COUNT], st[c + _TOP] = 1.0, peak
        return False
    st[c + _COUNT] += 1.0
    if peak > top:
        st[c + _TOP] = peak
    if st[c + _COUNT] < SWINGS:
        return False
    factor = gain_factor(st, c)
    look_anew(st, c)
    if factor <= LEAST_FACTOR:
        return False
    st[c + _FACTOR] = 0.5 * factor
    return True


def gain_point() -> Published:
    """By what the configured Kp is multiplied."""
    return Published("gain_factor", "", Text("增益系数", "share of kp in use"), told=True)


def hunting_alarm(shows: tuple[str, ...]) -> AlarmTemplate:
    """Told as long as the loop is detuned."""
    return AlarmTemplate(
        "{RULE}_HUNTING", "{rule}.gain_factor < 1", 3,
        Text("调节振荡, 增益已减半", "The loop hunted, its gain was halved"),
        (Text("检查滤波时间是否过短", "is the filter of the measured value too short?"),
         Text("减小 kp 或加大 ti, 再复位本规则", "lower kp or raise ti, then reset the rule"),
         Text("检查阀门或执行器是否卡滞", "does a valve or an actuator stick?")),
        shows=("{rule}.gain_factor", *shows),
        cause=Text("kp 过大, 无滤波, 或执行器卡滞",
                   "kp too high, no filter, or an actuator that sticks"),
        consequence=Text("偏差恢复变慢, 直至有人复位", "slower, until a person resets it"),
    )  # fmt: skip
