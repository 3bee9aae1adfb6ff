"""How many pumps of a booster run: thresholds derived from the pump curve, rotation of the lead.

With H = H0·s² - a·Q² and equal pumps every threshold depends on H0 alone: `a` cancels. Called by
the booster's step.
"""

from __future__ import annotations

from math import isnan, nan, sqrt

from edge.blocks.booster_layout import (
    BOOST_AT,
    DAY_AT,
    DAY_HEAD,
    DESTAGE_SPEED,
    DOWN_AT,
    GOAL,
    HEAD,
    LEAD_RUN,
    LEADER,
    LEARNT,
    LOCKED,
    MAX_LEAD_RUN,
    MPA_PER_METRE,
    PF,
    QUIET_AT,
    RAMPED,
    S_HI,
    SHOWN,
    STAGE,
    STAGE_DOWN,
    STAGE_LOCK,
    STAGE_UP,
    STEADY_AT,
    SWAP,
    SWAP_AT,
    UP_AT,
    U,
)
from edge.blocks.booster_pressure import gain, head, speed_for, synchronise
from edge.blocks.motor import RUNNING, WANTED
from edge.blocks.pumps import PUMP_OPERANDS, PUMP_STATES, has_drive, next_to_start
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index

STAGE_ERROR = 0.01  # MPa under the setpoint that calls for another pump
CALM = 0.02  # MPa around the setpoint within which one may stop
MARGIN = 1.0  # % under the destage speed
AT_SETPOINT, STEADY = 0.005, 60.0  # MPa, s: a speed to learn from
DAY = 86400.0
OVERLAP = 10.0  # s, make before break


def no_flow_speed(par: Floats, p: int, st: Floats, s: int) -> float:
    """s0 in %: below it a pump delivers nothing at the setpoint; NaN when not known."""
    return 100.0 * speed_for(gain(st, s, st[s + GOAL]), head(par, p, st, s))


def destage_speed(n: int, s0: float, single: bool) -> float:
    """The speed of `n` pumps, in %, at which `n - 1` at 95 % deliver as much; no margin yet.

    √((Hs + a·((n-1)·q1/n)²)/H0) with a·q1² = H0·s_hi² - Hs. With fixed-speed lag pumps one of them
    is too many when the leading one has nothing left to do.
    """
    if single:
        return s0
    part = (n - 1.0) / n
    return sqrt(s0 * s0 + part * part * max(S_HI * S_HI - s0 * s0, 0.0))


def limit_speed(n: int, par: Floats, p: int, st: Floats, s: int, single: bool) -> float:
    """The speed at or below which one of `n` pumps stops; NaN when there is none yet."""
    if n < 2:
        return nan
    s0 = no_flow_speed(par, p, st, s)
    if isnan(s0) or s0 >= S_HI:
        return float(par[p + DESTAGE_SPEED])
    return destage_speed(n, s0, single) - (0.0 if single else MARGIN)


def preload(n: int, speed: float, s0: float, single: bool) -> float:
    """The speed at which `n - 1` pumps deliver what `n` did: no bump when one stops.

    `s0` is the no-flow speed at the present pressure. √((P + a·(Q/(n-1))²)/H0), where a·Q² is what
    the present speed leaves above s0.
    """
    if isnan(s0) or speed <= s0:
        return speed
    flow = sqrt(speed * speed - s0 * s0)  # of one pump, in % of what would cost H0
    if single:
        flow += sqrt(max(10000.0 - s0 * s0, 0.0))
    else:
        flow *= n / (n - 1.0)
    return min(sqrt(s0 * s0 + flow * flow), 100.0)


def stage(
    n: int, most: int, par: Floats, p: int, st: Floats, s: int, now: float, single: bool
) -> None:
    """Ask for one pump more or fewer than the `n` that run, `most` at the most."""
    e = st[s + RAMPED] - st[s + PF]
    if now - st[s + LOCKED] < par[p + STAGE_LOCK]:
        st[s + UP_AT], st[s + DOWN_AT] = nan, nan
        return
    high = n < most and st[s + U] >= S_HI and e > STAGE_ERROR
    low = n > 1 and st[s + U] <= limit_speed(n, par, p, st, s, single) and e < CALM
    low = low and (single or e > -CALM)  # a fixed pump too many may hold the pressure up
    if lasted(st, s + UP_AT, high, now, par[p + STAGE_UP]):
        st[s + STAGE] = n + 1.0
    elif lasted(st, s + DOWN_AT, low, now, par[p + STAGE_DOWN]):
        st[s + STAGE] = n - 1.0
        unload(n, par, p, st, s, single)


def unload(n: int, par: Floats, p: int, st: Floats, s: int, single: bool) -> None:
    """One of `n` pumps stops: set the speed that carries the flow on."""
    s0 = 100.0 * speed_for(gain(st, s, st[s + PF]), head(par, p, st, s))
    st[s + U] = preload(n, st[s + U], s0, single)
    synchronise(par, p, st, s)
    st[s + UP_AT], st[s + DOWN_AT] = nan, nan


def started(st: Floats, s: int, now: float) -> None:
    """A pump was just started: give it time before anybody looks at the load."""
    st[s + LOCKED] = now
    st[s + UP_AT], st[s + DOWN_AT] = nan, nan


def begin_timers(st: Floats, s: int, locked: float) -> None:
    """Whatever must last begins anew: the load was not seen, or not ours, for a while."""
    started(st, s, locked)
    st[s + QUIET_AT], st[s + BOOST_AT], st[s + STEADY_AT], st[s + SWAP_AT] = nan, nan, nan, nan


def learn_head(par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """Without H0: the lowest speed that holds the setpoint for a minute, at night, is s0.

    Kept as the head it stands for, so that it goes with the setpoint; each day replaces the last.
    """
    if not isnan(par[p + HEAD]):
        return
    if isnan(st[s + DAY_AT]):
        st[s + DAY_AT] = now
    calm = abs(st[s + GOAL] - st[s + PF]) < AT_SETPOINT
    if lasted(st, s + STEADY_AT, calm, now, STEADY) and st[s + U] > 0.0:
        share = st[s + U] / 100.0
        seen = gain(st, s, st[s + PF]) / MPA_PER_METRE / (share * share)
        st[s + DAY_HEAD] = seen if isnan(st[s + DAY_HEAD]) else max(st[s + DAY_HEAD], seen)
    if now - st[s + DAY_AT] >= DAY:
        if not isnan(st[s + DAY_HEAD]):
            st[s + LEARNT] = st[s + DAY_HEAD]
        st[s + DAY_AT], st[s + DAY_HEAD] = now, nan


def rotate(
    v: Floats, q: Bits, ops: Index, o: int, r: int, n: int,
    par: Floats, p: int, st: Floats, s: int, t: int, now: float, dt: float, single: bool,
) -> None:  # fmt: skip
    """After `max_lead_run` another pump takes the lead: it starts first, 10 s later the old one
    stops. Only while one pump is enough and the pressure is calm; where one pump is regulated,
    only to another that can be."""
    if not isnan(st[s + SWAP]):
        change_over(v, ops, o, par, p, st, s, t, now, single)
        return
    lead = int(st[s + LEADER])
    st[s + LEAD_RUN] += dt if st[t + lead * PUMP_STATES + WANTED] == 1.0 else 0.0
    calm = abs(st[s + RAMPED] - st[s + PF]) < CALM and st[s + U] < S_HI
    if st[s + STAGE] != 1.0 or not calm or st[s + LEAD_RUN] < par[p + MAX_LEAD_RUN]:
        return
    st[s + LEAD_RUN] = 0.0
    other = next_to_start(v, q, ops, r, o + SHOWN, n, st, t, False, -1, single)
    if other >= 0 and not (single and not has_drive(ops, r + other * PUMP_OPERANDS)):
        st[t + other * PUMP_STATES + WANTED] = 1.0
        st[s + SWAP], st[s + SWAP_AT] = other, nan
        started(st, s, now)


def change_over(
    v: Floats, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, t: int, now: float, single: bool,
) -> None:  # fmt: skip
    """Break when the new pump has run for 10 s; give up when it does not."""
    other, lead = int(st[s + SWAP]), int(st[s + LEADER])
    state = v[ops[o + SHOWN + 2 * other]]
    if st[t + other * PUMP_STATES + WANTED] != 1.0:
        st[s + SWAP] = nan
    elif lasted(st, s + SWAP_AT, state == RUNNING, now, OVERLAP):
        if st[t + lead * PUMP_STATES + WANTED] == 1.0:
            unload(2, par, p, st, s, False)
        st[t + lead * PUMP_STATES + WANTED] = 0.0
        st[s + LEADER], st[s + LEAD_RUN], st[s + SWAP] = other, 0.0, nan
