"""When a booster sleeps and wakes: a quiet network is raised a little and left to itself.

Wakes that come too often mean a leak or a tank without its air. Called by the booster's step.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.booster_layout import (
    BOOST_AT,
    FLOW,
    FREQUENT,
    GOAL,
    MAX_WAKES,
    NOT_QUIET,
    PF,
    QUIET_AT,
    SLEEP_AFTER,
    SLEEP_BOOST,
    SLEEP_FLOW,
    SLEEP_WHY,
    SLEEPS,
    STOPPED_AT,
    WAKE,
    WAKE_AT,
    WAKE_NEXT,
    WAKE_TIME,
    WAKES,
    WAKES_KEPT,
    U,
)
from edge.blocks.booster_staging import no_flow_speed
from edge.blocks.timing import lasted
from edge.image.image import Floats

QUIET = 60.0  # s
NEAR_NO_FLOW = 2.0  # % above s0
BOOST_TIME = 30.0  # s at the most
BOOSTED = 0.002  # MPa that may lack
DISTURBED = 0.01  # MPa below the setpoint: somebody draws water while it is raised
TIMED_FALL = 60.0  # s: a network that loses 0.03 MPa faster than this was not quiet
NO_SLEEP = 900.0  # s, after such a fall
INHIBITED = 7200.0  # s, after too many wakes
HOUR = 3600.0


def falls_asleep(
    alone: bool, par: Floats, p: int, st: Floats, s: int, now: float
) -> bool:  # fmt: skip
    """Whether the last pump stops now: quiet for 60 s, then raised by `sleep_boost`."""
    awake = par[p + SLEEPS] == 0.0 or not alone or now < st[s + SLEEP_AFTER]
    if awake:
        st[s + QUIET_AT], st[s + BOOST_AT] = nan, nan
        return False
    if not isnan(st[s + BOOST_AT]):
        return raised(par, p, st, s, now)
    if lasted(st, s + QUIET_AT, is_quiet(par, p, st, s), now, QUIET):
        st[s + BOOST_AT] = now
    return False


def is_quiet(par: Floats, p: int, st: Floats, s: int) -> bool:
    """Little flow by the meter; without one, a speed hardly above the no-flow speed."""
    if not isnan(par[p + SLEEP_FLOW]) and not isnan(st[s + FLOW]):
        return bool(st[s + FLOW] < par[p + SLEEP_FLOW])
    s0 = no_flow_speed(par, p, st, s)
    return bool(st[s + U] <= s0 + NEAR_NO_FLOW and st[s + PF] > st[s + GOAL] - DISTURBED)


def raised(par: Floats, p: int, st: Floats, s: int, now: float) -> bool:
    """Whether the pressure is raised or it has been tried for long enough."""
    if st[s + PF] < st[s + GOAL] - DISTURBED:
        st[s + QUIET_AT], st[s + BOOST_AT] = nan, nan
        return False
    there = st[s + PF] >= st[s + GOAL] + par[p + SLEEP_BOOST] - BOOSTED
    return bool(there or now - st[s + BOOST_AT] >= BOOST_TIME)


def fall_asleep(st: Floats, s: int, now: float) -> None:
    """The pump has been stopped."""
    st[s + STOPPED_AT] = now
    st[s + QUIET_AT], st[s + BOOST_AT], st[s + WAKE_AT] = nan, nan, nan


def wakes(good: bool, blind: bool, par: Floats, p: int, st: Floats, s: int, now: float) -> bool:
    """Whether water is drawn: 0.03 MPa below the setpoint for 2 s, or nobody can see."""
    low = good and st[s + PF] < st[s + GOAL] - WAKE
    if not lasted(st, s + WAKE_AT, low, now, WAKE_TIME):
        return blind
    metered = not isnan(par[p + SLEEP_FLOW]) and not isnan(st[s + FLOW])
    if not metered and st[s + WAKE_AT] - st[s + STOPPED_AT] < TIMED_FALL:
        st[s + SLEEP_AFTER], st[s + SLEEP_WHY] = now + NO_SLEEP, NOT_QUIET
    else:
        count_wake(par, p, st, s, now)
    st[s + WAKE_AT] = nan
    return True


def count_wake(par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """Remember the wake; more than `max_wakes` in an hour: no sleep for two hours."""
    k = 0 if isnan(st[s + WAKE_NEXT]) else int(st[s + WAKE_NEXT])
    st[s + WAKES + k] = now
    st[s + WAKE_NEXT] = (k + 1) % WAKES_KEPT
    if wakes_in_hour(st, s, now) > par[p + MAX_WAKES]:
        st[s + SLEEP_AFTER], st[s + SLEEP_WHY] = now + INHIBITED, FREQUENT


def wakes_in_hour(st: Floats, s: int, now: float) -> int:
    """How often it woke within the last hour."""
    count = 0
    for k in range(WAKES_KEPT):
        count += 1 if now - st[s + WAKES + k] < HOUR else 0
    return count
