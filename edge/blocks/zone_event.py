"""The course of a pressure loss after its verdict: what ends it, what is judged anew and shown.

The step of `zone_loss`, whose model, texts and alarms are beside it. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.isolate import isolate, latched
from edge.blocks.kind import TARGET_OPERANDS, reset_asked
from edge.blocks.output import show
from edge.blocks.timing import ROUNDING, lasted
from edge.blocks.zone_layout import (
    AGAIN_AT,
    BRANCH,
    BUCKETS,
    BURST,
    COMMAND,
    CONFIDENCE,
    CONFIRM,
    DECIDED,
    DRAGGED,
    DROP,
    EVENT_H,
    EVENT_P,
    FALL,
    FAST,
    FAST_AT,
    GROUP_POINTS,
    H_FAST,
    H_SLOW,
    KEPT,
    KEPT_BRANCH,
    KEPT_CONFIDENCE,
    KEPT_FALL,
    KEPT_R,
    LAST_H,
    NORMAL,
    POSITION,
    PRESSURE,
    RATIO,
    RECOVER_AT,
    REF_H,
    REF_P,
    REST,
    SENSOR,
    SHOWN_PRESSURE,
    SLOW,
    SLOW_AT,
    SLOW_WINDOW,
    SUPPLY,
    TRIGGER,
    VALVE,
    VERDICT,
    WAS_OFF,
    WINDOW,
    ZONE_POINTS,
    ZONES,
    header_operand,
    inputs_of,
    isolating,
    parameters_of,
    parent,
    read,
    state_of,
)
from edge.blocks.zone_trigger import (
    DEVIATION,
    advance,
    follow_valve,
    forget,
    notice_step,
    record,
    trigger,
)
from edge.blocks.zone_verdict import (
    confidence,
    judge,
    mark_affected,
    valve_deviates,
    valve_ratio,
)
from edge.image.image import Bits, Floats, Index
from edge.image.quality import SENSOR as SENSOR_FAULT

RECOVERED_TIME = 10.0  # s
ACCEPTED = 3600.0  # s after which a supply or an unexplained loss is the new normal


def zone_loss_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Watch every zone; judge those whose trigger is `confirm` seconds old; show the verdicts."""
    count = int(par[p + ZONES])
    auto = isolating(par, p) > 0
    header = o + header_operand(par, p)
    first = header + 1 + (1 if auto else 0) + TARGET_OPERANDS
    if dt == 0.0:
        forget(count, st, s)
    fast = advance(st, s + FAST_AT, now, par[p + WINDOW] / (BUCKETS - 1))
    slow = advance(st, s + SLOW_AT, now, par[p + SLOW_WINDOW] / (BUCKETS - 1))
    h = read(v, q, ops, header)
    record(st, s + H_FAST, fast, s + FAST_AT, h)
    record(st, s + H_SLOW, slow, s + SLOW_AT, h)
    for k in range(count):
        i, z, zp = inputs_of(first, k), state_of(s, k), parameters_of(p, k)
        pz = read(v, q, ops, i + PRESSURE)
        record(st, z + FAST, fast, s + FAST_AT, pz)
        record(st, z + SLOW, slow, s + SLOW_AT, pz)
        notice_step(v, q, ops, i, st, s, z, now)
        follow_valve(v, q, ops, i, par, zp, st, z, now)
        if not latched(par, p, st, s, k):  # a zone that is being shut falls, and that is known
            trigger(pz, h, par, p, zp, st, s, z, now)
    st[s + LAST_H] = h
    mark_affected(v, q, ops, first, par, p, st, s, h, now)
    for k in range(count):
        if now - st[state_of(s, k) + TRIGGER] >= par[p + CONFIRM] - ROUNDING:
            judge(v, q, ops, first, par, p, st, s, k, h, now)
    reset = auto and reset_asked(v, ops[header + 1])
    for k in range(count):
        settle_event(v, q, ops, first, par, p, st, s, k, h, now)
        show_zone(v, q, ops, o, first, par, p, st, s, k, h)
        isolate(v, q, ops, o, first, par, p, st, s, k, reset, now, dt)
    show_group(v, q, ops, o, par, p, st, s, count)


def settle_event(
    v: Floats, q: Bits, ops: Index, first: int,
    par: Floats, p: int, st: Floats, s: int, k: int, h: float, now: float,
) -> None:  # fmt: skip
    """End an event when the pressure is back, or when a loss without a local cause is accepted.

    What no longer explains a loss that stays is judged anew.
    """
    z, i = state_of(s, k), inputs_of(first, k)
    verdict = st[z + KEPT]
    if not verdict > 0.0:
        st[z + KEPT] = NORMAL
        return
    pz = read(v, q, ops, i + PRESSURE)
    back = pz >= st[z + EVENT_P] - 0.5 * par[p + DROP]
    over = lasted(st, z + RECOVER_AT, back, now, RECOVERED_TIME)
    local = verdict == SENSOR or VALVE <= verdict <= BURST
    if over or (not local and now - st[z + DECIDED] >= ACCEPTED):
        st[z + KEPT] = NORMAL
    stale = not back and explains_nothing(v, q, ops, i, par, p, st, s, z, h)
    if lasted(st, z + AGAIN_AT, stale, now, RECOVERED_TIME):
        st[z + KEPT], st[z + AGAIN_AT] = NORMAL, nan
        st[z + TRIGGER] = now
        st[z + REF_P], st[z + REF_H] = st[z + EVENT_P], st[z + EVENT_H]
    elif not local:
        notice_deviation(v, q, ops, i, par, p, st, z, k, pz, h, now)


def explains_nothing(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, st: Floats, s: int, z: int,
    h: float,
) -> bool:  # fmt: skip
    """Whether the cause that was told is over: the valve is where it should be, the supply is back,
    nobody bursts any more."""
    verdict = st[z + KEPT]
    if verdict == VALVE:
        return in_place(v, q, ops, i, st, z)
    if verdict == SUPPLY:
        header_back = h >= st[z + EVENT_H] - 0.5 * par[p + DROP]
        return bool(header_back and st[z + KEPT_CONFIDENCE] > 0.8)  # it was the header
    if verdict == DRAGGED:
        return not anybody_bursts(par, p, st, s)
    return False


def anybody_bursts(par: Floats, p: int, st: Floats, s: int) -> bool:
    """Whether a burst stands in any zone."""
    bursting = False
    for j in range(int(par[p + ZONES])):
        bursting = bursting or st[state_of(s, j) + KEPT] == BURST
    return bursting


def in_place(v: Floats, q: Bits, ops: Index, i: int, st: Floats, z: int) -> bool:
    """Whether the valve follows its command."""
    c, f = read(v, q, ops, i + COMMAND), read(v, q, ops, i + POSITION)
    return bool(abs(c - f) <= DEVIATION and abs(f - st[z + REST]) <= DEVIATION)


def notice_deviation(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, st: Floats, z: int, k: int,
    pz: float, h: float, now: float,
) -> None:  # fmt: skip
    """A valve that leaves its command while a loss from outside stands: a fault of its own, told
    although the pressure cannot fall for it once more."""
    deviates = valve_deviates(v, q, ops, i, st, z, now)
    if deviates and st[z + WAS_OFF] == 0.0 and isnan(st[z + TRIGGER]):
        st[z + KEPT], st[z + KEPT_BRANCH], st[z + DECIDED] = VALVE, -1.0, now
        st[z + KEPT_R] = valve_ratio(v, q, ops, i, par, p, parameters_of(p, k), pz, h)
        st[z + KEPT_FALL] = st[z + EVENT_P] - pz
        st[z + KEPT_CONFIDENCE] = confidence(VALVE, False, nan)
    st[z + WAS_OFF] = 1.0 if deviates else 0.0


def show_zone(
    v: Floats, q: Bits, ops: Index, o: int, first: int,
    par: Floats, p: int, st: Floats, s: int, k: int, h: float,
) -> None:  # fmt: skip
    """Verdict, confidence, r, fall, and the pressure, which a SENSOR verdict makes bad."""
    z, i = state_of(s, k), inputs_of(first, k)
    point, verdict = o + GROUP_POINTS + k * ZONE_POINTS, st[z + KEPT]
    pressure, source = ops[point + SHOWN_PRESSURE], ops[i + PRESSURE]
    event = verdict > 0.0
    pz = read(v, q, ops, i + PRESSURE)
    r = valve_ratio(v, q, ops, i, par, p, parameters_of(p, k), pz, h)
    show(v, q, ops[point + VERDICT], verdict)
    show(v, q, ops[point + CONFIDENCE], st[z + KEPT_CONFIDENCE] if event else 0.0)
    show(v, q, ops[point + RATIO], st[z + KEPT_R] if event else r)
    show(v, q, ops[point + FALL], st[z + KEPT_FALL] if event else 0.0)
    v[pressure] = v[source]
    q[pressure] = q[source] | SENSOR_FAULT if verdict == SENSOR else q[source]


def show_group(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, count: int
) -> None:  # fmt: skip
    """The common verdict, and the branch when it is one: of several the one nearest the header."""
    common, branch, depth = 0.0, -1, 0
    for k in range(count):
        z = state_of(s, k)
        if st[z + KEPT] == SUPPLY:
            common = SUPPLY
        elif st[z + KEPT] == BRANCH:
            common = BRANCH if common == 0.0 else common
            own, above = 0, int(st[z + KEPT_BRANCH])
            while above >= 0:
                own, above = own + 1, parent(par, p, above)
            if branch < 0 or own < depth:
                branch, depth = int(st[z + KEPT_BRANCH]), own
    show(v, q, ops[o], common)
    show(v, q, ops[o + 1], branch + 1.0)
