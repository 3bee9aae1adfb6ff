"""Why did a zone lose pressure: windows, trigger and the decision table of domain §1.12.

Every zone is watched alone and judged together with the others: a lost supply shows in all of them.
The step of `zone_loss`, which brings the model, the texts and the alarms. Called by the kernel.
"""

from __future__ import annotations

from math import floor, inf, isnan, nan, sqrt

from edge.blocks.kind import usable
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import NEVER
from edge.image.quality import SENSOR as SENSOR_FAULT

NORMAL, SENSOR, SUPPLY, BRANCH, VALVE, RESTRICTION, BURST, VALVE_OR_BURST, UNDETERMINED = range(9)

STEP = 0.15  # MPa in one sample: no water does that while flow and header stay
SAME_FLOW, SAME_PRESSURE = 0.05, 0.01  # share of the flow, MPa
STEP_AGE = 3.0  # s: the spike gate shows a step up to two samples after the raw value
DEVIATION, DEVIATION_TIME = 10.0, 5.0  # %, s
NEW_COMMAND = 0.5  # %: less is the noise of a read-back
TRAVEL_SHARE = 1.2
RAISED, BURST_FLOW = 1.2, 1.5  # times the baseline
LOW_TIME = 3.0  # s below the zone's limit
RECOVERED_TIME = 10.0  # s
ACCEPTED = 3600.0  # s after which a supply or an unexplained loss is the new normal

BUCKETS = 11  # ten parts of the window and the one that is being filled

GROUP_POINTS, ZONE_POINTS, ZONE_INPUTS = 2, 5, 6
_VERDICT, _CONFIDENCE, _R, _FALL, _SHOWN_PRESSURE = range(ZONE_POINTS)
_PRESSURE, _RAW, _FLOW, _BASELINE, _COMMAND, _POSITION = range(ZONE_INPUTS)

_DROP, _WINDOW, _SLOW_DROP, _SLOW_WINDOW, _MARGIN, _CONFIRM, _ZONES = range(1, 8)
_CURVE, _KVS, _RANGE, _BRANCH, _LOW, _SIGMA, _TRAVEL, ZONE_PARAMETERS = range(8)

# state of the group, then of each zone
_FAST_AT, _SLOW_AT, _LAST_H, _H_FAST = range(4)
_H_SLOW = _H_FAST + BUCKETS
GROUP_STATES = _H_SLOW + BUCKETS
(_LAST_RAW, _LAST_Q, _STEP_AT, _STEP_Q, _STEP_H, _LOW_AT, _TRIGGER, _REF_P, _REF_H, _EVENT_P,
 _KEPT, _KEPT_CONFIDENCE, _KEPT_R, _KEPT_FALL, _DECIDED, _RECOVER_AT, _C, _TRAVEL_TIME,
 _DEVIATION_AT, _REST, _SLOW_FALL_AT, _IN_PLACE_AT, _FAST) = range(23)  # fmt: skip
_SLOW = _FAST + BUCKETS
ZONE_STATES = _SLOW + BUCKETS


def zone_loss_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Watch every zone; judge those whose trigger is `confirm` seconds old; show the verdicts."""
    count = int(par[p])
    header = o + GROUP_POINTS + ZONE_POINTS * count
    if dt == 0.0:
        forget(count, st, s)
    fast = advance(st, s + _FAST_AT, now, par[p + _WINDOW] / (BUCKETS - 1))
    slow = advance(st, s + _SLOW_AT, now, par[p + _SLOW_WINDOW] / (BUCKETS - 1))
    h = v[ops[header]] if usable(v, q, ops[header]) else nan
    record(st, s + _H_FAST, fast, s + _FAST_AT, h)
    record(st, s + _H_SLOW, slow, s + _SLOW_AT, h)
    for k in range(count):
        i, z = header + 1 + k * ZONE_INPUTS, s + GROUP_STATES + k * ZONE_STATES
        zp = p + _ZONES + k * ZONE_PARAMETERS
        pz = read(v, q, ops, i + _PRESSURE)
        record(st, z + _FAST, fast, s + _FAST_AT, pz)
        record(st, z + _SLOW, slow, s + _SLOW_AT, pz)
        notice_step(v, q, ops, i, st, s, z, now)
        follow_valve(v, q, ops, i, par, zp, st, z, now)
        trigger(pz, par, p, zp, st, s, z, now)
    st[s + _LAST_H] = h
    for k in range(count):
        z = s + GROUP_STATES + k * ZONE_STATES
        if now - st[z + _TRIGGER] >= par[p + _CONFIRM] - ROUNDING:
            judge(v, q, ops, header, par, p, st, s, k, h, now)
    for k in range(count):
        settle_event(v, q, ops, header, par, p, st, s, k, now)
        show_zone(v, q, ops, o, header, par, p, st, s, k, h)
    show_group(v, q, ops, o, par, p, st, s, count)


def read(v: Floats, q: Bits, ops: Index, i: int) -> float:
    """The operand's value, NaN when it may not be used."""
    return float(v[ops[i]]) if usable(v, q, ops[i]) else nan


def forget(count: int, st: Floats, s: int) -> None:
    """After a gap nothing is compared with what was before it; verdicts stay."""
    st[s + _FAST_AT], st[s + _SLOW_AT], st[s + _LAST_H] = nan, nan, nan
    for k in range(count):
        z = s + GROUP_STATES + k * ZONE_STATES
        st[z + _LAST_RAW], st[z + _STEP_AT], st[z + _TRIGGER] = nan, nan, nan
        st[z + _LOW_AT], st[z + _DEVIATION_AT], st[z + _RECOVER_AT] = nan, nan, nan
        st[z + _SLOW_FALL_AT], st[z + _IN_PLACE_AT] = nan, nan


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
    raw = read(v, q, ops, i + _RAW)
    if isnan(raw):
        raw = read(v, q, ops, i + _PRESSURE)
    if st[z + _LAST_RAW] - raw > STEP:
        st[z + _STEP_AT], st[z + _STEP_Q], st[z + _STEP_H] = now, st[z + _LAST_Q], st[s + _LAST_H]
    st[z + _LAST_RAW] = raw
    st[z + _LAST_Q] = read(v, q, ops, i + _FLOW)


def follow_valve(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, zp: int, st: Floats, z: int, now: float
) -> None:  # fmt: skip
    """Expected travel, deviation timer and the position nearest to the command so far."""
    c, f = read(v, q, ops, i + _COMMAND), read(v, q, ops, i + _POSITION)
    if isnan(c) or isnan(f):
        st[z + _DEVIATION_AT], st[z + _REST] = nan, nan
        return
    if isnan(st[z + _C]) or abs(c - st[z + _C]) > NEW_COMMAND:
        st[z + _C] = c
        st[z + _TRAVEL_TIME] = abs(c - f) / 100.0 * par[zp + _TRAVEL]
        st[z + _REST] = f
    # Only towards its command: one that turns back has moved by itself, however new the command.
    if isnan(st[z + _REST]) or abs(f - c) < abs(st[z + _REST] - c):
        st[z + _REST] = f
    if abs(c - f) <= DEVIATION:
        st[z + _DEVIATION_AT] = nan
    elif isnan(st[z + _DEVIATION_AT]):
        st[z + _DEVIATION_AT] = now


def trigger(
    pz: float, par: Floats, p: int, zp: int, st: Floats, s: int, z: int, now: float
) -> None:  # fmt: skip
    """Begin when the pressure fell in a window or stays below the limit; note from where."""
    watched = not st[z + _KEPT] > 0.0 and pz < par[zp + _LOW]
    low = lasted(st, z + _LOW_AT, watched, now, LOW_TIME)
    if isnan(pz) or not isnan(st[z + _TRIGGER]):
        return
    fast, slow = highest(st, z + _FAST), highest(st, z + _SLOW)
    # The slow detector waits for a whole fast window: a fast fall is the other one's.
    much = slow - pz >= par[p + _SLOW_DROP] - 1e-9
    fell = lasted(st, z + _SLOW_FALL_AT, much, now, par[p + _WINDOW])
    if fast - pz >= par[p + _DROP] - 1e-9:
        st[z + _REF_P], st[z + _REF_H] = fast, highest(st, s + _H_FAST)
    elif low or fell:
        st[z + _REF_P], st[z + _REF_H] = slow, highest(st, s + _H_SLOW)
    else:
        return
    st[z + _TRIGGER] = now


def judge(
    v: Floats, q: Bits, ops: Index, header: int,
    par: Floats, p: int, st: Floats, s: int, k: int, h: float, now: float,
) -> None:  # fmt: skip
    """Decide, keep verdict and evidence for the event, and watch on from here.

    A later, further fall may find a cause; it does not replace a cause by ignorance.
    """
    i, z = header + 1 + k * ZONE_INPUTS, s + GROUP_STATES + k * ZONE_STATES
    zp = p + _ZONES + k * ZONE_PARAMETERS
    pz = read(v, q, ops, i + _PRESSURE)
    r = valve_ratio(v, q, ops, i, par, p, zp, pz, h)
    fall = st[z + _REF_P] - pz
    verdict = decide(v, q, ops, header, par, p, st, s, k, h, fall, r, now)
    before = st[z + _KEPT]
    if verdict < VALVE_OR_BURST or not 0.0 < before < VALVE_OR_BURST:
        st[z + _KEPT], st[z + _KEPT_R], st[z + _KEPT_FALL] = verdict, r, fall
        st[z + _KEPT_CONFIDENCE] = confidence(verdict, header_fell(st, z, h, fall))
    fresh = not before > 0.0
    st[z + _EVENT_P] = st[z + _REF_P] if fresh else max(st[z + _EVENT_P], st[z + _REF_P])
    st[z + _DECIDED], st[z + _TRIGGER] = now, nan
    st[z + _RECOVER_AT], st[z + _SLOW_FALL_AT] = nan, nan
    start_over(st, z + _FAST, -inf if isnan(pz) else pz)
    start_over(st, z + _SLOW, -inf if isnan(pz) else pz)


def decide(
    v: Floats, q: Bits, ops: Index, header: int, par: Floats, p: int, st: Floats, s: int,
    k: int, h: float, fall: float, r: float, now: float,
) -> int:  # fmt: skip
    """The table of §1.12 from top to bottom."""
    i, z = header + 1 + k * ZONE_INPUTS, s + GROUP_STATES + k * ZONE_STATES
    zp = p + _ZONES + k * ZONE_PARAMETERS
    flow, baseline = read(v, q, ops, i + _FLOW), read(v, q, ops, i + _BASELINE)
    main = header_fell(st, z, h, fall)
    if is_sensor_step(flow, h, st, z):
        return SENSOR
    common = main or spread(par, p, st, s, k)
    if common and not any_flow_raised(v, q, ops, header, par, p, st, s, k):
        return SUPPLY
    if not main and whole_branch(par, p, st, s, k):
        return BRANCH
    if valve_deviates(v, q, ops, i, st, z, now):
        return VALVE
    if r < 0.5:
        return RESTRICTION
    sigma = par[zp + _SIGMA] if not isnan(par[zp + _SIGMA]) else 0.15 * baseline
    if 0.7 <= r <= 1.4 and flow > BURST_FLOW * baseline and flow > baseline + 3.0 * sigma:
        return BURST
    return VALVE_OR_BURST if isnan(flow) else UNDETERMINED


def is_sensor_step(flow: float, h: float, st: Floats, z: int) -> bool:
    """#1: a step in one sample that neither flow nor header know of."""
    if not st[z + _STEP_AT] >= st[z + _TRIGGER] - STEP_AGE:
        return False
    before = st[z + _STEP_Q]
    same_flow = abs(flow - before) <= SAME_FLOW * before
    return bool(same_flow and abs(h - st[z + _STEP_H]) <= SAME_PRESSURE)


def header_fell(st: Floats, z: int, h: float, fall: float) -> bool:
    """#2: the header fell by half of the zone's fall or more."""
    lost = st[z + _REF_H] - h
    return bool(lost >= 0.5 * fall and lost > SAME_PRESSURE)


def affected(st: Floats, z: int) -> bool:
    """Whether the zone takes part in a common loss: not judged yet, or judged as one."""
    return bool(not isnan(st[z + _TRIGGER]) or st[z + _KEPT] == SUPPLY or st[z + _KEPT] == BRANCH)


def spread(par: Floats, p: int, st: Floats, s: int, k: int) -> bool:
    """#2: at least two zones, and no branch that they have in common."""
    own = par[p + _ZONES + k * ZONE_PARAMETERS + _BRANCH]
    for j in range(int(par[p])):
        other = own == 0.0 or par[p + _ZONES + j * ZONE_PARAMETERS + _BRANCH] != own
        if j != k and other and affected(st, s + GROUP_STATES + j * ZONE_STATES):
            return True
    return False


def whole_branch(par: Floats, p: int, st: Floats, s: int, k: int) -> bool:
    """#3: at least two zones of one branch, and none of its zones is spared."""
    own, zones = par[p + _ZONES + k * ZONE_PARAMETERS + _BRANCH], 0
    for j in range(int(par[p])):
        if par[p + _ZONES + j * ZONE_PARAMETERS + _BRANCH] == own:
            if not affected(st, s + GROUP_STATES + j * ZONE_STATES):
                return False
            zones += 1
    return bool(own > 0.0 and zones >= 2)


def any_flow_raised(
    v: Floats, q: Bits, ops: Index, header: int, par: Floats, p: int, st: Floats, s: int, k: int
) -> bool:  # fmt: skip
    """A lost supply lowers every flow; a large burst drags its neighbours down."""
    for j in range(int(par[p])):
        if j == k or affected(st, s + GROUP_STATES + j * ZONE_STATES):
            i = header + 1 + j * ZONE_INPUTS
            if read(v, q, ops, i + _FLOW) > RAISED * read(v, q, ops, i + _BASELINE):
                return True
    return False


def valve_deviates(
    v: Floats, q: Bits, ops: Index, i: int, st: Floats, z: int, now: float
) -> bool:  # fmt: skip
    """#4: off its command for longer than its travel takes, or moved without a command."""
    f = read(v, q, ops, i + _POSITION)
    allowed = max(DEVIATION_TIME, TRAVEL_SHARE * st[z + _TRAVEL_TIME])
    return bool(now - st[z + _DEVIATION_AT] > allowed or abs(f - st[z + _REST]) > DEVIATION)


def valve_ratio(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, zp: int, pz: float, h: float
) -> float:  # fmt: skip
    """r = Kv_est/Kv(f), Kv_est = Q/√(10·(P_h - P_z)); NaN when the drop is too small to tell."""
    flow, f = read(v, q, ops, i + _FLOW), read(v, q, ops, i + _POSITION)
    if isnan(flow) or isnan(f) or not h - pz >= par[p + _MARGIN]:
        return nan
    share = max(f, 0.0) / 100.0
    kv = par[zp + _KVS] * share
    if par[zp + _CURVE] == 1.0:
        kv = par[zp + _KVS] * par[zp + _RANGE] ** (share - 1.0)
    return flow / sqrt(10.0 * (h - pz)) / kv if kv > 0.0 else nan


def confidence(verdict: int, main: bool) -> float:
    """How sure the verdict is, 0 to 1. Judgement, but for the limits of #7 and #8."""
    if verdict == VALVE:
        return 0.95
    if verdict == SENSOR or (verdict == SUPPLY and main):
        return 0.9
    if verdict == SUPPLY:
        return 0.7
    if verdict == VALVE_OR_BURST:
        return 0.5
    return 0.3 if verdict == UNDETERMINED else 0.8


def settle_event(
    v: Floats, q: Bits, ops: Index, header: int,
    par: Floats, p: int, st: Floats, s: int, k: int, now: float,
) -> None:  # fmt: skip
    """End an event when the pressure is back, or when a loss without a local cause is accepted.

    A valve that is where it should be again is no longer the cause: a loss that stays is judged
    anew.
    """
    z, i = s + GROUP_STATES + k * ZONE_STATES, header + 1 + k * ZONE_INPUTS
    verdict = st[z + _KEPT]
    if not verdict > 0.0:
        st[z + _KEPT] = NORMAL
        return
    pz = read(v, q, ops, i + _PRESSURE)
    back = pz >= st[z + _EVENT_P] - 0.5 * par[p + _DROP]
    over = lasted(st, z + _RECOVER_AT, back, now, RECOVERED_TIME)
    local = verdict == SENSOR or VALVE <= verdict <= BURST
    if over or (not local and now - st[z + _DECIDED] >= ACCEPTED):
        st[z + _KEPT] = NORMAL
    healed = verdict == VALVE and not back and in_place(v, q, ops, i, st, z)
    if lasted(st, z + _IN_PLACE_AT, healed, now, RECOVERED_TIME):
        st[z + _KEPT], st[z + _IN_PLACE_AT] = NORMAL, nan
        st[z + _TRIGGER], st[z + _REF_P] = now, st[z + _EVENT_P]


def in_place(v: Floats, q: Bits, ops: Index, i: int, st: Floats, z: int) -> bool:
    """Whether the valve follows its command."""
    c, f = read(v, q, ops, i + _COMMAND), read(v, q, ops, i + _POSITION)
    return bool(abs(c - f) <= DEVIATION and abs(f - st[z + _REST]) <= DEVIATION)


def show_zone(
    v: Floats, q: Bits, ops: Index, o: int, header: int,
    par: Floats, p: int, st: Floats, s: int, k: int, h: float,
) -> None:  # fmt: skip
    """Verdict, confidence, r, fall, and the pressure, which a SENSOR verdict makes bad."""
    z, i = s + GROUP_STATES + k * ZONE_STATES, header + 1 + k * ZONE_INPUTS
    point, verdict = o + GROUP_POINTS + k * ZONE_POINTS, st[z + _KEPT]
    pressure, source = ops[point + _SHOWN_PRESSURE], ops[i + _PRESSURE]
    event = verdict > 0.0
    pz = read(v, q, ops, i + _PRESSURE)
    zp = p + _ZONES + k * ZONE_PARAMETERS
    r = st[z + _KEPT_R] if event else valve_ratio(v, q, ops, i, par, p, zp, pz, h)
    show(v, q, ops[point + _VERDICT], verdict)
    show(v, q, ops[point + _CONFIDENCE], st[z + _KEPT_CONFIDENCE] if event else 0.0)
    show(v, q, ops[point + _R], r)
    show(v, q, ops[point + _FALL], st[z + _KEPT_FALL] if event else 0.0)
    v[pressure] = v[source]
    q[pressure] = q[source] | SENSOR_FAULT if verdict == SENSOR else q[source]


def show_group(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, count: int
) -> None:  # fmt: skip
    """The common verdict, and the branch when it is one."""
    common, branch = 0.0, 0.0
    for k in range(count):
        verdict = st[s + GROUP_STATES + k * ZONE_STATES + _KEPT]
        if verdict == SUPPLY:
            common = verdict
        elif verdict == BRANCH:
            common = verdict if common == 0.0 else common
            branch = par[p + _ZONES + k * ZONE_PARAMETERS + _BRANCH]
    show(v, q, ops[o], common)
    show(v, q, ops[o + 1], branch)


def show(v: Floats, q: Bits, at: int, value: float) -> None:
    """Write a published point; NaN is nothing known."""
    v[at] = value
    q[at] = NEVER if isnan(value) else 0
