"""Where the values of a `zone_loss` rule lie, and the words of its verdicts (domain §1.12).

The tree of branches is given as numbers that are computed from the model: the parent of each
branch, the branch of each zone, the consumer of each path, and which zone's isolation shuts which
path. Called by the kernel's functions beside it.
"""

from __future__ import annotations

from math import nan

from edge.blocks.kind import TARGET_OPERANDS, usable
from edge.image.image import Bits, Floats, Index

(NORMAL, SENSOR, SUPPLY, BRANCH, VALVE, RESTRICTION, BURST, VALVE_OR_BURST, UNDETERMINED,
 DRAGGED) = range(10)  # fmt: skip

BUCKETS = 11  # ten parts of a window and the one that is being filled

# operands: what is published of the group, of each zone, the isolations; header and reset; zones
GROUP_POINTS, ZONE_POINTS = 2, 5
VERDICT, CONFIDENCE, RATIO, FALL, SHOWN_PRESSURE = range(ZONE_POINTS)
(PRESSURE, RAW, FLOW, BASELINE, COMMAND, POSITION, ISOLATE_POSITION) = range(7)
ZONE_INPUTS = 7
ZONE_OPERANDS = TARGET_OPERANDS + ZONE_INPUTS

(ZONES, PATHS, BRANCHES, DROP, WINDOW, SLOW_DROP, SLOW_WINDOW, MARGIN, CONFIRM, ISOLATE_AFTER,
 ISOLATE_CONFIDENCE, FIRST_ZONE) = range(12)  # fmt: skip
CURVE, KVS, RANGE, LOW, SIGMA, TRAVEL, AUTO, ZONE_PARAMETERS = range(8)

# state of the group, then of each zone, then of each zone's isolation
FAST_AT, SLOW_AT, LAST_H, H_FAST = range(4)
H_SLOW = H_FAST + BUCKETS
GROUP_STATES = H_SLOW + BUCKETS
(LAST_RAW, LAST_Q, STEP_AT, STEP_Q, STEP_H, LOW_AT, TRIGGER, REF_P, REF_H, EVENT_P, EVENT_H,
 KEPT, KEPT_CONFIDENCE, KEPT_R, KEPT_FALL, KEPT_BRANCH, DECIDED, RECOVER_AT, C, TRAVEL_TIME,
 DEVIATION_AT, REST, SLOW_FALL_AT, AGAIN_AT, WAS_OFF, PART, FAST) = range(27)  # fmt: skip
SLOW = FAST + BUCKETS
ZONE_STATES = SLOW + BUCKETS


def read(v: Floats, q: Bits, ops: Index, i: int) -> float:
    """The operand's value, NaN when it may not be used."""
    return float(v[ops[i]]) if usable(v, q, ops[i]) else nan


def isolating(par: Floats, p: int) -> int:
    """How many zones may be shut automatically."""
    count = 0
    for k in range(int(par[p + ZONES])):
        count += int(par[p + FIRST_ZONE + k * ZONE_PARAMETERS + AUTO])
    return count


def header_operand(par: Floats, p: int) -> int:
    """Where the header stands among the operands; the zones' own follow."""
    auto = isolating(par, p)
    return GROUP_POINTS + ZONE_POINTS * int(par[p + ZONES]) + (auto + 1 if auto else 0)


def inputs_of(first: int, k: int) -> int:
    """The first input of zone k, `first` being that of the first zone; its target is before it."""
    return first + k * ZONE_OPERANDS


def state_of(s: int, k: int) -> int:
    """The first state of zone k."""
    return s + GROUP_STATES + k * ZONE_STATES


def parameters_of(p: int, k: int) -> int:
    """The first parameter of zone k."""
    return p + FIRST_ZONE + k * ZONE_PARAMETERS


def derived(par: Floats, p: int) -> int:
    """Where the numbers begin that are computed from the model."""
    return parameters_of(p, int(par[p + ZONES]))


def parent(par: Floats, p: int, branch: int) -> int:
    """The branch that a branch goes off from, -1 for the header."""
    return int(par[derived(par, p) + branch])


def branch_of(par: Floats, p: int, k: int) -> int:
    """The branch that zone k hangs on, -1 for the header."""
    return int(par[derived(par, p) + int(par[p + BRANCHES]) + k])
