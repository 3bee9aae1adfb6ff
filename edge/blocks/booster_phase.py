"""A booster's state machine: OFF, CHECK, FILL, RUN, SLEEP, TRIP, and what `state` says of it.

Over-pressure and missing suction are judged here; what a phase does is not. Called by the
booster's step.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.booster_fill import begin_fill, is_empty
from edge.blocks.booster_layout import (
    ALLOWED,
    ASLEEP,
    CHECK,
    DUTY,
    ENABLE,
    ENABLED,
    FILL,
    FILL_LATE,
    FILL_TIMEOUT,
    FILLING,
    FOLLOWING,
    GOAL,
    LOW_AT,
    NO_PUMP,
    OFF,
    OVER,
    OVER_AT,
    OVER_PRESSURE,
    PERMISSIVE,
    PHASE,
    PROTECTED,
    PV,
    PV2,
    RATED_AT,
    RATING,
    RUN,
    SENSOR,
    SHOWN,
    SLEEP,
    STAGE,
    STARVED,
    STOPPED_PHASE,
    SUCTION,
    SUCTION_AT,
    SUCTION_BACK,
    SUCTION_IN,
    SUCTION_LIMIT,
    SUCTION_LOW,
    TRIP,
    WAITING,
    WAKE,
    WAKE_TIME,
)
from edge.blocks.booster_sleep import wakes
from edge.blocks.kind import usable
from edge.blocks.motor import BLOCKED, NOT_AUTO
from edge.blocks.pumps import FEEDBACK, PUMP_OPERANDS, ready_pumps
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index

OVER_TIME, RATING_TIME, RATING_SHARE = 3.0, 1.0, 0.9
SUCTION_TIME, SUCTION_MARGIN, SUCTION_RETURN = 5.0, 0.02, 60.0  # s, MPa above the limit, s


def find_phase(
    v: Floats, q: Bits, ops: Index, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float, good: bool, blind: bool, ready: int,
) -> None:  # fmt: skip
    """Where the state machine stands. A dead sensor permits the fallback, so nobody stays dry."""
    enable, permissive = ops[i + ENABLE], ops[i + PERMISSIVE]
    if usable(v, q, enable):
        st[s + ENABLED] = v[enable]
    allowed = limit(v, ops, i, good, blind, par, p, st, s, now)
    raw = ops[i + SUCTION_IN]
    suction = v[raw] if usable(v, q, raw) else st[s + SUCTION]
    starved = is_starved(suction, par, p, st, s, now)
    phase = st[s + PHASE]
    if st[s + ENABLED] == 0.0:
        phase = STOPPED_PHASE
    elif allowed == 0.0 or starved:
        phase = TRIP
    elif phase in (STOPPED_PHASE, TRIP) or ready == 0:
        phase = CHECK
    elif phase == FILL and blind:
        phase = RUN
    st[s + PHASE] = phase
    permitted = usable(v, q, permissive) and v[permissive] != 0.0
    if phase == CHECK and ready > 0 and permitted and (good or blind):
        st[s + PHASE], st[s + STAGE] = RUN, 1.0
        if good and is_empty(st, s):
            st[s + PHASE] = FILL
            begin_fill(par, p, st, s)
    elif phase == SLEEP and wakes(good, blind, par, p, st, s, now):
        st[s + PHASE], st[s + STAGE] = RUN, 1.0


def limit(
    v: Floats, ops: Index, i: int, good: bool, blind: bool,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> float:  # fmt: skip
    """How many pumps may run: over-pressure stops the lag pumps, then the lead.

    Raw pressure: a filter would only delay it. They come back when the pressure falls, or when it
    is lost: then the fallback speed is bounded.
    """
    duty, goal = par[p + DUTY], st[s + GOAL]
    pressure = v[ops[i + PV]] if st[s + SENSOR] == 1.0 else v[ops[i + PV2]]
    allowed = duty if isnan(st[s + ALLOWED]) else min(st[s + ALLOWED], duty)
    over = good and pressure > goal + par[p + OVER]
    rated = good and pressure > RATING_SHARE * par[p + RATING]
    too_long = lasted(st, s + OVER_AT, over, now, OVER_TIME)
    if lasted(st, s + RATED_AT, rated, now, RATING_TIME) or too_long:
        allowed = 1.0 if allowed > 1.0 and st[s + STAGE] > 1.0 else 0.0
        st[s + OVER_AT], st[s + RATED_AT] = nan, nan
    fallen = good and allowed < duty and pressure < goal - WAKE
    if lasted(st, s + LOW_AT, fallen, now, WAKE_TIME) or blind:
        allowed = duty
    st[s + ALLOWED] = allowed
    return float(allowed)


def is_starved(suction: float, par: Floats, p: int, st: Floats, s: int, now: float) -> bool:
    """Suction below its hard limit for 5 s, or unknown; over when it is back for a minute."""
    if isnan(par[p + SUCTION_LIMIT]):
        return False
    low = not suction >= par[p + SUCTION_LIMIT]
    back = suction >= par[p + SUCTION_LIMIT] + SUCTION_MARGIN
    if lasted(st, s + SUCTION_AT, low, now, SUCTION_TIME):
        st[s + STARVED] = 1.0
    if lasted(st, s + SUCTION_BACK, back, now, SUCTION_RETURN):
        st[s + STARVED] = 0.0
    return bool(st[s + STARVED] == 1.0)


def phase_state(
    v: Floats, ops: Index, o: int, r: int, count: int, st: Floats, s: int, control: int
) -> int:
    """What `state` says: the phase, and why. `control` is what RUN is doing."""
    phase = st[s + PHASE]
    if phase == STOPPED_PHASE:
        return OFF
    if phase == TRIP:
        return OVER_PRESSURE if st[s + ALLOWED] == 0.0 else SUCTION_LOW
    if phase == SLEEP:
        return ASLEEP
    if phase == FILL:
        return FILLING if isnan(st[s + FILL_LATE]) else FILL_TIMEOUT
    if phase == RUN:
        return control
    if ready_pumps(v, ops, o + SHOWN, count) > 0:
        return WAITING
    state = NO_PUMP
    for k in range(count):
        pump = v[ops[o + SHOWN + 2 * k]]
        if pump == NOT_AUTO and v[ops[r + k * PUMP_OPERANDS + FEEDBACK]] == 1.0:
            return FOLLOWING
        if pump == BLOCKED:
            state = PROTECTED
    return state
