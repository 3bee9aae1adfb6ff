"""How step functions ask for an output and follow it while somebody else holds it.

The four operands of a target begin at `o`. Nothing here decides who wins: that is the arbiter's.
Called by the step functions of the kinds that drive something.
"""

from __future__ import annotations

from math import isfinite, isnan, nan

from edge.blocks.kind import TARGET_OPERANDS, usable
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, COMM, GOOD, NEVER, RANGE, STALE
from edge.image.slots import Slot

REQUEST, DECIDED, OWNER, ACTUAL = 0, 1, 2, 3  # a target's operands
RESULT = TARGET_OPERANDS  # of kinds with one target, the first published point
NOTES = 0xFFFF ^ BAD
OURS, MIN_TIME = float(Slot.CONTROL), float(Slot.MIN_TIME)
SILENT = COMM | STALE  # the device does not answer; other than a register that cannot be read


def held_by_other(v: Floats, ops: Index, o: int) -> bool:
    """Whether another slot than ours decides what the output does."""
    return bool(v[ops[o + OWNER]] != OURS)


def present(v: Floats, q: Bits, ops: Index, o: int) -> float:
    """What the output does now: what was decided last, else what the device says, else NaN."""
    if v[ops[o + DECIDED]] == v[ops[o + DECIDED]]:
        return float(v[ops[o + DECIDED]])
    if usable(v, q, ops[o + ACTUAL]):
        return float(v[ops[o + ACTUAL]])
    return nan


def lost(q: Bits, ops: Index, o: int, st: Floats, was_lost: int) -> bool:
    """Whether the device of the output does not answer; `st[was_lost]` remembers it."""
    if q[ops[o + ACTUAL]] & SILENT == 0:
        return False
    st[was_lost] = 1.0
    return True


def found_again(v: Floats, q: Bits, ops: Index, o: int, st: Floats, was_lost: int) -> float:
    """What the output does, once, when its device answers again after `lost`; else NaN."""
    if st[was_lost] != 1.0 or not usable(v, q, ops[o + ACTUAL]):
        return nan
    st[was_lost] = 0.0
    return float(v[ops[o + ACTUAL]])


def ask(v: Floats, q: Bits, ops: Index, o: int, value: float, bits: int) -> None:
    """Request `value` (NaN withdraws); notes such as SIMULATED go with it."""
    v[ops[o + REQUEST]] = value
    q[ops[o + REQUEST]] = bits & NOTES


def show(v: Floats, q: Bits, index: int, value: float) -> None:
    """Publish `value`; NaN is bad."""
    v[index] = value
    q[index] = NEVER if isnan(value) else GOOD


def deliver(
    v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int,
    now: float, hold: float, value: float, bits: int,
) -> None:  # fmt: skip
    """Publish a result and request it. A bad one leaves the request for `hold` s, then withdraws.

    For kinds whose operands begin with one target and one published point. `st[s]` is when the
    result became bad.
    """
    flags = bits | (GOOD if isfinite(value) or bits & BAD != 0 else RANGE)
    good = flags & BAD == 0
    v[ops[o + RESULT]] = value if good else nan
    q[ops[o + RESULT]] = flags
    if good:
        st[s] = nan
        ask(v, q, ops, o, value, flags)
        return
    if isnan(st[s]):
        st[s] = now
    if now - st[s] >= hold - 1e-6:
        ask(v, q, ops, o, nan, flags)
