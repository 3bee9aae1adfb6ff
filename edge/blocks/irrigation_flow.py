"""What the meter says of irrigation's zones: learnt flows, broken heads, valves that stay shut.

Several zones at once are compared with the sum of their learnt flows. They run one at a time while
one of them is yet to be learnt, and while a fault is looked for; a zone found right is not
suspected again for half an hour. Called by the step in `irrigation.py`.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.irrigation_layout import (
    ALONE,
    CHECKED_AT,
    FAULT,
    FREED_AT,
    HIGH_AT,
    INPUTS,
    LEAK_AT,
    LEAK_FLOW,
    LEAK_TIME,
    LEAKS,
    LOW_AT,
    METER,
    NOMINAL,
    NORMAL,
    ODD_AT,
    OPEN,
    OPENED,
    OPENED_AT,
    OPERANDS,
    OWN,
    PAR,
    PARALLEL,
    REMAIN,
    SETTLE,
    STATES,
    SUM,
    SUM_TIME,
    ZONES,
)
from edge.blocks.irrigation_shown import BROKEN, NOT_OPEN
from edge.blocks.kind import usable
from edge.blocks.output import OURS, OWNER, present
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index

EXCESS, LACK = 0.3, 0.5  # of the learnt flow of a zone: a broken head, a valve that did not open
HIGH_TIME, LOW_TIME = 5.0, 30.0
LEARN_TIME = 60.0  # s of settled flow until it is known
RIGHT_FOR = 1800.0  # s that a zone which was right on its own is not suspected again
ONE_RESET = 60.0  # s in which a second reset is the same one


def held_by_another(v: Floats, ops: Index, target: int) -> bool:
    """Whether a stronger slot than ours decides about a valve."""
    return v[ops[target + OWNER]] not in (0.0, OURS)


def closed_zones(count: int, st: Floats, s: int) -> int:
    """How many zones are closed because of their flow."""
    closed = 0
    for k in range(count):
        fault = st[s + ZONES + k * STATES + FAULT]
        closed += 1 if fault in (BROKEN, NOT_OPEN) else 0
    return closed


def person_resets(count: int, st: Floats, s: int, now: float) -> None:
    """What is closed may be watered again; where nothing is, all flows are learnt again."""
    if closed_zones(count, st, s) > 0:
        st[s + FREED_AT] = now
    elif not now - st[s + FREED_AT] < ONE_RESET:
        for k in range(count):
            z = s + ZONES + k * STATES
            st[z + NORMAL], st[z + SUM], st[z + SUM_TIME] = nan, 0.0, 0.0


def look_at_flow(
    v: Floats, q: Bits, ops: Index, i: int, now: float, elapsed: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Compare the meter with what the open zones usually take; learn that of one on its own."""
    meter = ops[i + METER]
    known, flow, expected, opened, last = usable(v, q, meter), v[meter], 0.0, 0, -1
    zones, foreign = 0.0, False
    for k in range(count):
        z = s + ZONES + k * STATES
        if isnan(st[z + NORMAL]):
            st[z + NORMAL] = par[p + OWN + k * PAR + NOMINAL]
        target = i + INPUTS + k * OPERANDS
        if present(v, q, ops, target) > 0.5:
            opened, last, zones = opened + 1, k, zones + 2.0**k
            expected += st[z + NORMAL]
            foreign = foreign or st[z + OPEN] != 1.0 or held_by_another(v, ops, target)
    if zones != st[s + OPENED]:
        st[s + OPENED], st[s + OPENED_AT] = zones, now
        st[s + HIGH_AT], st[s + LOW_AT], st[s + ODD_AT] = nan, nan, nan
    empty = known and opened == 0
    leaks = lasted(st, s + LEAK_AT, empty and flow > par[p + LEAK_FLOW], now, par[p + LEAK_TIME])
    settled = known and opened > 0 and now - st[s + OPENED_AT] >= par[p + SETTLE]
    odd = settled and opened > 1 and flow > (1.0 + EXCESS) * expected
    odd = lasted(st, s + ODD_AT, odd, now, HIGH_TIME)
    st[s + LEAKS] = 1.0 if leaks or odd else 0.0
    each = expected / max(opened, 1)
    much = settled and flow > expected + EXCESS * each
    little = settled and flow < expected - LACK * each
    high = lasted(st, s + HIGH_AT, much, now, HIGH_TIME)
    low = lasted(st, s + LOW_AT, little, now, LOW_TIME)
    if not known or foreign:
        st[s + ALONE] = nan
    elif isnan(st[s + ALONE]) and par[p + PARALLEL] > 1.0 and opened > 1:
        st[s + ALONE] = next_unknown(count, st, s, now)
    if (high or low) and opened == 1:
        close_zone(BROKEN if high else NOT_OPEN, st, s, s + ZONES + last * STATES)
    elif (high or low) and not foreign and isnan(st[s + ALONE]):
        st[s + ALONE] = next_suspect(count, st, s, now)
    elif settled and opened == 1:
        learn(flow, elapsed, st, s + ZONES + last * STATES)
    search(settled and opened == 1, last, count, par[p + SETTLE], st, s, now)


def close_zone(fault: float, st: Floats, s: int, z: int) -> None:
    """Nothing more for this zone today; the search for it, if there was one, is over."""
    st[z + FAULT], st[z + OPEN], st[z + REMAIN] = fault, 0.0, 0.0
    st[s + ALONE], st[s + HIGH_AT], st[s + LOW_AT] = nan, nan, nan


def learn(flow: float, elapsed: float, st: Floats, z: int) -> None:
    """The mean of the first minute of settled flow is what a zone of ours usually takes."""
    if not isnan(st[z + NORMAL]) or st[z + OPEN] != 1.0:
        return
    st[z + SUM] += flow * elapsed
    st[z + SUM_TIME] += elapsed
    if st[z + SUM_TIME] >= LEARN_TIME and st[z + SUM] > 0.0:
        st[z + NORMAL] = st[z + SUM] / st[z + SUM_TIME]


def search(
    alone: bool, last: int, count: int, settle: float, st: Floats, s: int, now: float
) -> None:  # fmt: skip
    """Go on to the next zone when the one that runs alone is learnt or right, or no longer runs."""
    if isnan(st[s + ALONE]):
        return
    k = int(st[s + ALONE])
    z, learns = s + ZONES + k * STATES, st[s + ALONE] != k
    learnt = learns and not isnan(st[z + NORMAL])
    enough = settle + (2.0 * LEARN_TIME if learns else LOW_TIME) + ROUNDING
    if alone and last == k and now - st[s + OPENED_AT] >= enough:
        st[z + CHECKED_AT] = now  # right, or without any flow to learn
    if st[z + OPEN] != 1.0 or learnt or now - st[z + CHECKED_AT] < RIGHT_FOR:
        st[s + ALONE] = next_unknown(count, st, s, now)
        if isnan(st[s + ALONE]) and not learns:
            st[s + ALONE] = next_suspect(count, st, s, now)


def next_unknown(count: int, st: Floats, s: int, now: float) -> float:
    """The number of the next open zone whose flow is to be learnt, and a half; NaN for none."""
    for k in range(count):
        z = s + ZONES + k * STATES
        if (
            isnan(st[z + NORMAL])
            and st[z + OPEN] == 1.0
            and not now - st[z + CHECKED_AT] < RIGHT_FOR
        ):
            return k + 0.5
    return nan


def next_suspect(count: int, st: Floats, s: int, now: float) -> float:
    """The first zone of ours that is open and was not found right lately; NaN for none."""
    for k in range(count):
        z = s + ZONES + k * STATES
        if st[z + OPEN] == 1.0 and not now - st[z + CHECKED_AT] < RIGHT_FOR:
            return float(k)
    return nan
