"""When a zone lost pressure: windows, sensor steps, the valve's course, the trigger (domain §1.12).

Why it did is `zone_verdict`. Called by the kernel.
"""

from __future__ import annotations

from math import floor, inf, isnan, nan

from edge.blocks.timing import ROUNDING, lasted
from edge.blocks.zone_layout import (
    AGAIN_AT,
    BUCKETS,
    COMMAND,
    DEVIATION_AT,
    DROP,
    FAST,
    FAST_AT,
    FLOW,
    H_FAST,
    H_SLOW,
    KEPT,
    KEPT_BRANCH,
    LAST_H,
    LAST_Q,
    LAST_RAW,
    LOW,
    LOW_AT,
    POSITION,
    PRESSURE,
    RAW,
    RECOVER_AT,
    REF_H,
    REF_P,
    REST,
    SLOW,
    SLOW_AT,
    SLOW_DROP,
    SLOW_FALL_AT,
    STEP_AT,
    STEP_H,
    STEP_Q,
    TRAVEL,
    TRAVEL_TIME,
    TRIGGER,
    WINDOW,
    C,
    read,
    state_of,
)
from edge.image.image import Bits, Floats, Index

STEP = 0.15  # MPa in one sample: no water does that while flow and header stay
DEVIATION = 10.0  # %
NEW_COMMAND = 0.5  # %: less is the noise of a read-back
LOW_TIME = 3.0  # s below the zone's limit
SLEEP_SWING = 0.05  # MPa: what a booster set raises before it sleeps and loses until it wakes


def forget(count: int, st: Floats, s: int) -> None:
    """After a gap nothing is compared with what was before it; verdicts stay."""
    st[s + FAST_AT], st[s + SLOW_AT], st[s + LAST_H] = nan, nan, nan
    for k in range(count):
        z = state_of(s, k)
        st[z + LAST_RAW], st[z + STEP_AT], st[z + TRIGGER] = nan, nan, nan
        st[z + LOW_AT], st[z + DEVIATION_AT], st[z + RECOVER_AT] = nan, nan, nan
        st[z + SLOW_FALL_AT], st[z + AGAIN_AT] = nan, nan
        if isnan(st[z + KEPT_BRANCH]):  # of a verdict that was kept under another tree
            st[z + KEPT_BRANCH] = -1.0


def advance(st: Floats, at: int, now: float, width: float) -> int:
    """Move a window on to `now`; gives how many of its buckets begin anew."""
    bucket = floor(now / width + ROUNDING)
    passed = bucket - st[at]
    st[at] = bucket
    return int(passed) if 0.0 <= passed < BUCKETS else BUCKETS


def record(st: Floats, ring: int, new: int, at: int, value: float) -> None:
    """Keep the highest value of the present bucket; the `new` last buckets are emptied first."""
    bucket = int(st[at])
    for k in range(new):
        st[ring + (bucket - k) % BUCKETS] = -inf
    here = ring + bucket % BUCKETS
    st[here] = max(st[here], value)


def highest(st: Floats, ring: int) -> float:
    """The highest value in the window, NaN when there was none."""
    best = st[ring]
    for k in range(1, BUCKETS):
        best = max(best, st[ring + k])
    return nan if best == -inf else float(best)


def start_over(st: Floats, ring: int, value: float) -> None:
    """Empty a window down to the present value."""
    for k in range(BUCKETS):
        st[ring + k] = value


def notice_step(
    v: Floats, q: Bits, ops: Index, i: int, st: Floats, s: int, z: int, now: float
) -> None:  # fmt: skip
    """Remember flow and header from before the raw pressure fell by a step."""
    raw = read(v, q, ops, i + RAW)
    if isnan(raw):
        raw = read(v, q, ops, i + PRESSURE)
    if st[z + LAST_RAW] - raw > STEP:
        st[z + STEP_AT], st[z + STEP_Q], st[z + STEP_H] = now, st[z + LAST_Q], st[s + LAST_H]
    st[z + LAST_RAW] = raw
    st[z + LAST_Q] = read(v, q, ops, i + FLOW)


def follow_valve(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, zp: int, st: Floats, z: int, now: float
) -> None:  # fmt: skip
    """Expected travel, deviation timer and the position nearest to the command so far."""
    c, f = read(v, q, ops, i + COMMAND), read(v, q, ops, i + POSITION)
    if isnan(c) or isnan(f):
        st[z + DEVIATION_AT], st[z + REST] = nan, nan
        return
    if isnan(st[z + C]) or abs(c - st[z + C]) > NEW_COMMAND:
        st[z + C] = c
        st[z + TRAVEL_TIME] = abs(c - f) / 100.0 * par[zp + TRAVEL]
        st[z + REST] = f
    # Only towards its command: one that turns back has moved by itself, however new the command.
    if isnan(st[z + REST]) or abs(f - c) < abs(st[z + REST] - c):
        st[z + REST] = f
    if abs(c - f) <= DEVIATION:
        st[z + DEVIATION_AT] = nan
    elif isnan(st[z + DEVIATION_AT]):
        st[z + DEVIATION_AT] = now


def trigger(
    pz: float, h: float, par: Floats, p: int, zp: int, st: Floats, s: int, z: int, now: float
) -> None:  # fmt: skip
    """Begin when the pressure fell in a window or stays below the limit; note from where."""
    watched = not st[z + KEPT] > 0.0 and pz < par[zp + LOW]
    low = lasted(st, z + LOW_AT, watched, now, LOW_TIME)
    if isnan(pz) or not isnan(st[z + TRIGGER]):
        return
    fast, slow = highest(st, z + FAST), highest(st, z + SLOW)
    # The slow detector waits for a whole fast window: a fast fall is the other one's.
    much = fell_slowly(slow - pz, highest(st, s + H_SLOW) - h, par[p + SLOW_DROP])
    fell = lasted(st, z + SLOW_FALL_AT, much, now, par[p + WINDOW])
    if fast - pz >= par[p + DROP] - 1e-9:
        st[z + REF_P], st[z + REF_H] = fast, highest(st, s + H_FAST)
    elif low or fell:
        st[z + REF_P], st[z + REF_H] = slow, highest(st, s + H_SLOW)
    else:
        return
    st[z + TRIGGER] = now


def fell_slowly(fall: float, header_fall: float, limit: float) -> bool:
    """Whether a slow fall is a loss. A set that sleeps lets the header fall, and every zone with
    it: of a fall that the header shares, only what exceeds that counts.
    """
    shared = 0.0 if isnan(header_fall) else max(header_fall, 0.0)
    return bool(fall >= limit + min(shared, SLEEP_SWING) - 1e-9)
