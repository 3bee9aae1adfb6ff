"""A loop that hunts: how it is recognised by its error, and detuned (domain §1.2).

The error swings when it goes beyond a band on one side of the setpoint and then on the other. Two
rows of half-swings are hunting:

    regular   SWINGS in a row, none longer than Ti, beyond what moves the output by BAND of its
              range, each between ALIKE and 1/ALIKE times as high as the highest (so that what dies
              away is none), at most EVEN times as long or short as the one before, and driven: for
              no more than RESTING of its time below SMALL of its own height, where a disturbance
              leaves a loop at rest
    wide      WIDE_SWINGS in a row, none longer than Ti/2, beyond what moves the output by WIDE of
              its range, of whatever height: a stiff network that is looked at twice in a swing
              shows no two alike

The band is never below the loop's dead band. Slower swings are not those of Kp: halving it would
make them worse. A setpoint that moves by more than the band, or half a swing, begins anew. A demand
that alternates by itself as fast and as evenly cannot be told from hunting by the error alone.

Then Kp is halved, at most twice: who still hunts at a quarter has another fault. It stays so over
restarts until a person resets the rule or its options change. Called by the steps of loops, with
`c` the place of this state; every function is compiled with them.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import AlarmTemplate, Published
from edge.image.image import Floats
from edge.text import Text

OSCILLATION_STATES = 12  # numbers of state that belong to this module
(_FACTOR, _SIDE, _PEAK, _TURNED, _INSIDE, _TOP, _HALF, _COUNT, _SETPOINT,
 _WIDE_SIDE, _WIDE_AT, _WIDE_COUNT) = range(OSCILLATION_STATES)  # fmt: skip

BAND, WIDE = 0.005, 0.015  # of the output's range, by the P part: less wears nothing
SWINGS, WIDE_SWINGS = 24.0, 48.0  # neither noise nor people who draw water make so many in a row
ALIKE = 0.6
EVEN = 2.0
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
    st[c + _WIDE_SIDE], st[c + _WIDE_COUNT] = nan, 0.0


def hunts(
    error: float, setpoint: float, span: float, kp: float, deadband: float, ti: float,
    now: float, dt: float, st: Floats, c: int,
) -> bool:  # fmt: skip
    """Look at the error of one run; True when the gain was halved just now.

    `span` is that of the output, `kp` what is configured.
    """
    part = span / (kp * gain_factor(st, c))
    band, wide = max(BAND * part, deadband), max(WIDE * part, deadband)
    top = 0.0 if isnan(st[c + _TOP]) else st[c + _TOP]
    if dt == 0.0 or not abs(setpoint - st[c + _SETPOINT]) <= max(band, 0.5 * top):
        look_anew(st, c)
        st[c + _SETPOINT] = setpoint
    regular = swings(error, band, ti, now, dt, st, c)
    if not (swings_wide(error, wide, ti, now, st, c) or regular):
        return False
    factor = gain_factor(st, c)
    look_anew(st, c)
    st[c + _FACTOR] = max(0.5 * factor, LEAST_FACTOR)
    return factor > LEAST_FACTOR


def swings(
    error: float, band: float, ti: float, now: float, dt: float, st: Floats, c: int
) -> bool:  # fmt: skip
    """Whether so many regular half-swings have ended in a row."""
    if now - st[c + _TURNED] > ti:
        st[c + _SIDE] = nan
    size = abs(error)
    if size < SMALL * st[c + _PEAK]:
        st[c + _INSIDE] += dt
    if size <= band:
        return False
    side = 1.0 if error > 0.0 else -1.0
    if side == st[c + _SIDE]:
        st[c + _PEAK] = max(st[c + _PEAK], size)
        return False
    if isnan(st[c + _SIDE]):
        st[c + _COUNT], st[c + _TOP], st[c + _HALF] = 0.0, nan, nan
    else:
        count_swing(now, st, c)
    st[c + _SIDE], st[c + _PEAK], st[c + _TURNED], st[c + _INSIDE] = side, size, now, 0.0
    return bool(st[c + _COUNT] >= SWINGS)


def count_swing(now: float, st: Floats, c: int) -> None:
    """Count the half-swing that just ended; one that is unlike the others is the first of a row."""
    half, before = now - st[c + _TURNED], st[c + _HALF]
    peak, top = st[c + _PEAK], st[c + _TOP]
    alike = ALIKE * peak <= top and ALIKE * top <= peak
    even = half <= EVEN * before and before <= EVEN * half
    driven = st[c + _INSIDE] <= RESTING * half
    st[c + _HALF] = half
    if alike and even and driven:
        st[c + _COUNT] += 1.0
        st[c + _TOP] = max(top, peak)
    else:
        st[c + _COUNT], st[c + _TOP] = 1.0, peak


def swings_wide(error: float, wide: float, ti: float, now: float, st: Floats, c: int) -> bool:
    """Whether so many wide half-swings have followed one another."""
    side = 1.0 if error > 0.0 else -1.0
    if abs(error) <= wide or side == st[c + _WIDE_SIDE]:
        return False
    soon = not isnan(st[c + _WIDE_SIDE]) and now - st[c + _WIDE_AT] <= 0.5 * ti
    st[c + _WIDE_COUNT] = st[c + _WIDE_COUNT] + 1.0 if soon else 0.0
    st[c + _WIDE_SIDE], st[c + _WIDE_AT] = side, now
    return bool(st[c + _WIDE_COUNT] >= WIDE_SWINGS)


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
