"""Why did a zone lose pressure: the decision table of domain §1.12.

Every zone is watched alone (`zone_trigger`) and judged together with the others: a lost supply
shows in all of them, a lost branch in all on it, and a large burst drags its neighbours down.
Called by the kernel.
"""

from __future__ import annotations

from math import inf, isnan, nan, sqrt

from edge.blocks.zone_layout import (
    BASELINE,
    BRANCH,
    BURST,
    CURVE,
    DECIDED,
    DEVIATION_AT,
    DRAGGED,
    EVENT_H,
    EVENT_P,
    FAST,
    FLOW,
    KEPT,
    KEPT_BRANCH,
    KEPT_CONFIDENCE,
    KEPT_FALL,
    KEPT_R,
    KVS,
    MARGIN,
    PART,
    POSITION,
    PRESSURE,
    RANGE,
    RECOVER_AT,
    REF_H,
    REF_P,
    REST,
    RESTRICTION,
    SENSOR,
    SIGMA,
    SLOW,
    SLOW_FALL_AT,
    STEP_AT,
    STEP_H,
    STEP_Q,
    SUPPLY,
    TRAVEL_TIME,
    TRIGGER,
    UNDETERMINED,
    VALVE,
    VALVE_OR_BURST,
    WAS_OFF,
    ZONES,
    branch_of,
    inputs_of,
    parameters_of,
    read,
    state_of,
)
from edge.blocks.zone_tree import beneath, lost_branch, share_a_branch, spread
from edge.blocks.zone_trigger import DEVIATION, start_over
from edge.image.image import Bits, Floats, Index

SAME_FLOW, SAME_PRESSURE = 0.05, 0.01  # share of the flow, MPa
STEP_AGE = 3.0  # s: the spike gate shows a step up to two samples after the raw value
DEVIATION_TIME, TRAVEL_SHARE = 5.0, 1.2  # s
RAISED, BURST_FLOW = 1.2, 1.5  # times the baseline
WAVE = 60.0  # s in which a common loss, or a burst, reaches all that it will reach


def mark_affected(
    v: Floats, q: Bits, ops: Index, first: int,
    par: Floats, p: int, st: Floats, s: int, h: float, now: float,
) -> None:  # fmt: skip
    """Note who takes part in what goes on now, before anybody is judged: the order of zones in the
    site must not decide. An event that has long been told is no part of a new one."""
    for k in range(int(par[p + ZONES])):
        z = state_of(s, k)
        kept = st[z + KEPT]
        common = kept in (SUPPLY, BRANCH, BURST, DRAGGED)
        recent = common and now - st[z + DECIDED] <= WAVE
        flow = read(v, q, ops, inputs_of(first, k) + FLOW)
        pending = not isnan(st[z + TRIGGER]) and not is_sensor_step(flow, h, st, z)
        st[z + PART] = 1.0 if pending or recent else 0.0


def judge(
    v: Floats, q: Bits, ops: Index, first: int,
    par: Floats, p: int, st: Floats, s: int, k: int, h: float, now: float,
) -> None:  # fmt: skip
    """Decide, keep verdict and evidence for the event, and watch on from here.

    A later, further fall may find a cause; it does not replace a cause by ignorance.
    """
    i, z, zp = inputs_of(first, k), state_of(s, k), parameters_of(p, k)
    pz = read(v, q, ops, i + PRESSURE)
    r = valve_ratio(v, q, ops, i, par, p, zp, pz, h)
    fall = st[z + REF_P] - pz
    verdict = decide(v, q, ops, first, par, p, st, s, k, h, fall, r, now)
    before = st[z + KEPT]
    if is_cause(verdict) or not (before > 0.0 and is_cause(before)):
        st[z + KEPT_CONFIDENCE] = confidence(verdict, header_fell(st, z, h, fall), r)
        st[z + KEPT], st[z + KEPT_R], st[z + KEPT_FALL] = verdict, r, fall
        st[z + KEPT_BRANCH] = lost_branch(par, p, st, s, k) if verdict == BRANCH else -1.0
    if before > 0.0:
        st[z + EVENT_P] = max(st[z + EVENT_P], st[z + REF_P])
    else:
        st[z + EVENT_P], st[z + EVENT_H] = st[z + REF_P], st[z + REF_H]
    st[z + WAS_OFF] = 1.0 if valve_deviates(v, q, ops, i, st, z, now) else 0.0
    st[z + DECIDED], st[z + TRIGGER] = now, nan
    st[z + RECOVER_AT], st[z + SLOW_FALL_AT] = nan, nan
    start_over(st, z + FAST, -inf if isnan(pz) else pz)
    start_over(st, z + SLOW, -inf if isnan(pz) else pz)


def is_cause(verdict: float) -> bool:
    """Whether a verdict names one."""
    return bool(verdict < VALVE_OR_BURST or verdict == DRAGGED)


def decide(
    v: Floats, q: Bits, ops: Index, first: int, par: Floats, p: int, st: Floats, s: int,
    k: int, h: float, fall: float, r: float, now: float,
) -> int:  # fmt: skip
    """The table of §1.12 from top to bottom.

    Its rule about flows in #2 holds for #3 too: a burst behind a branch is no lost branch. Who is
    dragged down by one has no cause of its own. And where a pipe lies between header and valve, or
    others are dragged down, r is too low by what that pipe takes: there the flow alone tells.
    """
    i, z, zp = inputs_of(first, k), state_of(s, k), parameters_of(p, k)
    flow = read(v, q, ops, i + FLOW)
    main = header_fell(st, z, h, fall)
    if is_sensor_step(flow, h, st, z):
        return SENSOR
    common, branch = main or spread(par, p, st, s, k), lost_branch(par, p, st, s, k)
    if common and not any_flow_raised(v, q, ops, first, par, p, st, s, k, -1):
        return SUPPLY
    lost = not main and branch >= 0
    if lost and not any_flow_raised(v, q, ops, first, par, p, st, s, k, branch):
        return BRANCH
    if valve_deviates(v, q, ops, i, st, z, now):
        return VALVE
    if dragged(v, q, ops, first, par, p, st, s, k, common):
        return DRAGGED
    burst = bursts(v, q, ops, i, par, zp)
    piped = common or branch_of(par, p, k) >= 0
    if r < 0.5 and not (burst and piped):
        return RESTRICTION
    if burst and (r >= 0.7 or piped) and not r > 1.4:
        return BURST
    return VALVE_OR_BURST if isnan(flow) else UNDETERMINED


def is_sensor_step(flow: float, h: float, st: Floats, z: int) -> bool:
    """#1: a step in one sample that neither flow nor header know of."""
    if not st[z + STEP_AT] >= st[z + TRIGGER] - STEP_AGE:
        return False
    before = st[z + STEP_Q]
    same_flow = abs(flow - before) <= SAME_FLOW * before
    return bool(same_flow and abs(h - st[z + STEP_H]) <= SAME_PRESSURE)


def header_fell(st: Floats, z: int, h: float, fall: float) -> bool:
    """#2: the header fell by half of the zone's fall or more."""
    lost = st[z + REF_H] - h
    return bool(lost >= 0.5 * fall and lost > SAME_PRESSURE)


def any_flow_raised(
    v: Floats, q: Bits, ops: Index, first: int, par: Floats, p: int, st: Floats, s: int, k: int,
    branch: int,
) -> bool:  # fmt: skip
    """Whether an affected zone (beneath `branch` unless that is -1) takes clearly more than usual:
    a lost supply lowers every flow; a large burst drags its neighbours down."""
    for j in range(int(par[p + ZONES])):
        here = branch < 0 or beneath(par, p, j, branch)
        if here and (j == k or st[state_of(s, j) + PART] == 1.0):
            i = inputs_of(first, j)
            if read(v, q, ops, i + FLOW) > RAISED * read(v, q, ops, i + BASELINE):
                return True
    return False


def bursts(v: Floats, q: Bits, ops: Index, i: int, par: Floats, zp: int) -> bool:
    """#6: far more flow than is usual at this hour."""
    flow, baseline = read(v, q, ops, i + FLOW), read(v, q, ops, i + BASELINE)
    sigma = par[zp + SIGMA] if not isnan(par[zp + SIGMA]) else 0.15 * baseline
    return bool(flow > BURST_FLOW * baseline and flow > baseline + 3.0 * sigma)


def dragged(
    v: Floats, q: Bits, ops: Index, first: int, par: Floats, p: int, st: Floats, s: int,
    k: int, common: bool,
) -> bool:  # fmt: skip
    """Whether another zone's burst takes this one's pressure, through header or branch, while its
    own flow is not raised."""
    i = inputs_of(first, k)
    if not read(v, q, ops, i + FLOW) <= RAISED * read(v, q, ops, i + BASELINE):
        return False
    for j in range(int(par[p + ZONES])):
        if j == k or not (common or share_a_branch(par, p, j, k)):
            continue
        other, kept = inputs_of(first, j), st[state_of(s, j) + KEPT]
        part = st[state_of(s, j) + PART] == 1.0 or kept == BURST
        if part and bursts(v, q, ops, other, par, parameters_of(p, j)):
            return True
    return False


def valve_deviates(
    v: Floats, q: Bits, ops: Index, i: int, st: Floats, z: int, now: float
) -> bool:  # fmt: skip
    """#4: off its command for longer than its travel takes, or moved without a command."""
    f = read(v, q, ops, i + POSITION)
    allowed = max(DEVIATION_TIME, TRAVEL_SHARE * st[z + TRAVEL_TIME])
    return bool(now - st[z + DEVIATION_AT] > allowed or abs(f - st[z + REST]) > DEVIATION)


def valve_ratio(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, zp: int, pz: float, h: float
) -> float:  # fmt: skip
    """r = Kv_est/Kv(f), Kv_est = Q/√(10·(P_h - P_z)); NaN when the drop is too small to tell."""
    flow, f = read(v, q, ops, i + FLOW), read(v, q, ops, i + POSITION)
    if isnan(flow) or isnan(f) or not h - pz >= par[p + MARGIN]:
        return nan
    share = max(f, 0.0) / 100.0
    kv = par[zp + KVS] * share
    if par[zp + CURVE] == 1.0:
        kv = par[zp + KVS] * par[zp + RANGE] ** (share - 1.0)
    return flow / sqrt(10.0 * (h - pz)) / kv if kv > 0.0 else nan


def confidence(verdict: int, main: bool, r: float) -> float:
    """How sure the verdict is, 0 to 1. Judgement, but for the limits of #7 and #8."""
    if verdict == VALVE:
        return 0.95
    if verdict == SENSOR or (verdict == SUPPLY and main):
        return 0.9
    if verdict in (SUPPLY, DRAGGED):
        return 0.7
    if verdict == BURST and not r >= 0.7:
        return 0.6  # by the flow alone
    if verdict == VALVE_OR_BURST:
        return 0.5
    return 0.3 if verdict == UNDETERMINED else 0.8
