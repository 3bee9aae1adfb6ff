"""Sump: pumps that empty a pit, in turns, by level and by a float of its own (domain §1.14).

Here: who runs and why. Flood protection goes past minimum off-times at slot 5 (`Urge`). Which level
signal counts is decided in `sump_signals.py`, what the pit and its pumps can do is estimated in
`sump_watch.py`. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import Example, Kind, Urge, is_on, usable
from edge.blocks.motor import (
    FAILED,
    FORCED,
    HOURS,
    INPUTS,
    MIN_TIME,
    MOTOR_OPERANDS,
    NOT_AUTO,
    PROTECT,
    RUN,
    RUNNING,
    STARTING,
    STOPPED,
    TRIPPED,
    WANTED,
    adopt_motor,
    available,
    forgive,
    motor_state,
    switch_motor,
    turns,
)
from edge.blocks.output import DECIDED, OWNER, ask, show
from edge.blocks.sump_model import Sump, advice
from edge.blocks.sump_signals import (
    SIGNAL_STATES,
    WRONG,
    contradicted,
    float_doubted,
    forget_signals,
    hangs_free,
)
from edge.blocks.sump_watch import (
    CAPACITY,
    CONTRADICTED,
    EXERCISING,
    FLOODED,
    IDLE,
    INFLOW,
    PER_PUMP,
    PUMP_STATES,
    PUMPING,
    SHOWN,
    TESTING,
    WAITING,
    WINDOW_STATES,
    estimate,
    pit_memory,
    pit_state,
    sump_alarms,
    sump_points,
)
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.text import Text

START_WAIT = 30.0  # s for the first feedback of every pump
RISE_WINDOW = 30.0  # s over which a rise is measured
TEST_LEAST, TEST_PATIENCE = 3.0, 300.0  # s that a pump runs in a test, s that it may be delayed

(_STATE, _FLOOD, _DISAGREE, _NOT_EMPTYING, _RUNNING, _INFLOW, _READINESS) = range(SHOWN)
(_PUMP, _HOURS, _CAPACITY, _TESTED, _URGENT) = range(PER_PUMP)
_LEVEL, _FLOAT, _TEST, _RESET, _INPUTS = range(5)
(_N, _AREA, _RATED, _STOP, _LEAD, _LAG, _HH, _SPILL, _RISING_RATE, _RISING_TIME, _START_TIME,
 _RETRY, _LONGEST, _EXERCISE, _EXERCISE_AFTER, _FLOAT_RUN, _HOLD) = range(17)  # fmt: skip
# State of the pit; those of the estimates and of the two signals follow.
(_WANT, _FIRST, _BAD_SINCE, _FLOATED_AT, _FULL_AT, _STUCK, _STARTED_AT, _RISE_T, _RISE_H,
 _EXERCISED, _EXERCISED_AT, _TEST_OF, _TEST_AT, _TEST_SEEN, _READY, _WAIT,
 _WINDOW) = range(17)  # fmt: skip
_SIGNALS = _WINDOW + WINDOW_STATES
_PUMPS = _SIGNALS + SIGNAL_STATES
# State of a pump: that of a motor, then
_RAN_AT, _URGED, _RESULT = 4, 5, 6  # and its capacity, see `estimate`
UNTESTED, PASSED, NOT_PASSED = 0.0, 1.0, 2.0
NOT_TESTED, UNDER_TEST, READY, NOT_READY = 0.0, 1.0, 2.0, 3.0


def sump_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Look at the pit and the pumps, decide how many run and which, ask.

    What runs is adopted at the start. A bad level leaves the pumps as they are for `hold`; then the
    float alone decides, and where there is none the requests are withdrawn.
    """
    count = int(par[p + _N])
    inputs = o + SHOWN + PER_PUMP * count
    r, level = inputs + _INPUTS, ops[inputs + _LEVEL]
    restart = dt == 0.0 or isnan(st[s + _WANT])
    if restart and not adopt_pit(v, q, ops, r, count, st, s, now):
        st[s + _WANT] = nan  # adopt in the next run, too
        v[ops[o + _STATE]], q[ops[o + _STATE]] = WAITING, 0
        return
    turning = watch_pumps(v, q, ops, o, inputs, par, p, st, s, now, dt)
    switch, high = ops[inputs + _FLOAT], par[p + _HH]
    doubted = float_doubted(
        v, q, level, switch, turning, par[p + _STOP], high, par[p + _FLOAT_RUN], par[p + _RETRY],
        st, s + _SIGNALS, now,
    )  # fmt: skip
    suspect = contradicted(v, q, level, switch, high, st, s + _SIGNALS, now) and not doubted
    believed = usable(v, q, level) and not suspect
    height = v[level] if believed else nan
    estimate(height, par[p + _AREA], turning, count, st, s + _WINDOW, s + _PUMPS, now)
    flood = is_on(v, q, switch) or bool(height >= high)
    if is_on(v, q, switch):
        st[s + _FLOATED_AT] = now
    drain = flood and not doubted
    drain = drain or (not believed and now - st[s + _FLOATED_AT] < par[p + _FLOAT_RUN])
    lost = lasted(st, s + _BAD_SINCE, not believed, now, par[p + _HOLD]) or suspect
    want = wanted_pumps(height, drain, lost, count, par, p, st, s, now)
    stuck(height, want, count, par, p, st, s, now)
    got = choose_pumps(v, ops, o, want, count, st, s)
    extra = test_pumps(v, q, ops, o, inputs, believed, par, p, st, s, now)
    if extra == 0:
        extra = exercise(v, ops, o, height, want, count, par, p, st, s, now)
    floatless = not usable(v, q, switch)
    ask_pumps(v, q, ops, o, r, q[level], height, drain, lost and floatless, par, p, st, s)
    state = pit_state(want, got, extra, flood, believed, suspect, doubted, lost, floatless)
    seen = 0.0 if believed or not floatless else nan  # unseen, a flood neither comes nor goes
    publish_pit(v, q, ops, o, st, s, state, 1.0 if flood else seen, turning, count)


def adopt_pit(
    v: Floats, q: Bits, ops: Index, r: int, count: int, st: Floats, s: int, now: float
) -> bool:  # fmt: skip
    """Take over what runs; False while that is not known yet. Turns and timers stay as kept."""
    known, running = True, 0
    for i in range(count):
        t, m = s + _PUMPS + i * PUMP_STATES, r + i * MOTOR_OPERANDS
        known = adopt_motor(v, q, ops, m, m + INPUTS, st, t) and known
        if st[t + WANTED] == 1.0:
            running += 1
            if isnan(st[s + _FIRST]):
                st[s + _FIRST] = i
        st[t + _RAN_AT] = now if isnan(st[t + _RAN_AT]) else st[t + _RAN_AT]
        st[t + _URGED] = 0.0 if isnan(st[t + _URGED]) else st[t + _URGED]
        st[t + _RESULT] = UNTESTED if isnan(st[t + _RESULT]) else st[t + _RESULT]
    if not known and not lasted(st, s + _WAIT, True, now, START_WAIT):
        return False
    st[s + _WAIT], st[s + _BAD_SINCE] = nan, nan
    forget_signals(st, s + _SIGNALS)
    st[s + _FULL_AT], st[s + _RISE_T] = nan, nan  # nobody looked meanwhile
    st[s + _WANT], st[s + _STARTED_AT], st[s + _EXERCISED] = running, now, nan
    st[s + _STUCK] = 0.0 if isnan(st[s + _STUCK]) else st[s + _STUCK]
    if isnan(st[s + _READY]) or st[s + _READY] == UNDER_TEST:
        st[s + _READY], st[s + _TEST_OF] = NOT_TESTED, nan
    st[s + _TEST_SEEN] = 1.0  # a test that was asked for before is not begun by the start
    return True


def watch_pumps(
    v: Floats, q: Bits, ops: Index, o: int, inputs: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> int:  # fmt: skip
    """Bring state and running hours up to date; gives which pumps turn, as bits."""
    turning = 0
    reset = is_on(v, q, ops[inputs + _RESET])
    for i in range(int(par[p + _N])):
        r, t = inputs + _INPUTS + i * MOTOR_OPERANDS, s + _PUMPS + i * PUMP_STATES
        shown = o + SHOWN + PER_PUMP * i
        forgive(st, t, now, par[p + _RETRY], reset)
        urged = st[t + _URGED] == 1.0
        driven, owner = v[ops[r + RUN + DECIDED]], v[ops[r + RUN + OWNER]]
        code = motor_state(
            v, q, ops, r + INPUTS, driven, owner, st, t, now, par[p + _START_TIME],
            False, is_on(v, q, ops[r + INPUTS + 1]), urged,
        )  # fmt: skip
        if turns(v, q, ops, r + INPUTS, code):
            turning += 1 << i
            st[t + HOURS] += dt / 3600.0
            st[t + _RAN_AT] = now
        v[ops[shown + _PUMP]], q[ops[shown + _PUMP]] = code, 0
        v[ops[shown + _HOURS]], q[ops[shown + _HOURS]] = st[t + HOURS], 0
    return turning


def wanted_pumps(
    height: float, drain: bool, lost: bool, count: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """How many pumps the pit wants: none at `stop`, and until then never fewer than before.

    `height` is NaN when it is not believed: then what runs goes on until it is `lost`.
    """
    want = int(st[s + _WANT])
    rising = rises(height, par, p, st, s, now)
    if height <= par[p + _STOP] or (isnan(height) and lost):
        want = 0
    elif height >= par[p + _LAG]:
        want = max(want, 2)
    elif height >= par[p + _LEAD]:
        want = max(want, 1)
    if rising and want > 0:
        want += 1
    want = count if drain else min(want, count)
    if want > st[s + _WANT]:
        if st[s + _WANT] == 0.0:
            st[s + _FIRST] += 1.0  # the next in turn; `choose_pumps` skips who is not available
        st[s + _STARTED_AT], st[s + _RISE_T] = now, nan
    st[s + _WANT] = want
    return want


def rises(height: float, par: Floats, p: int, st: Floats, s: int, now: float) -> bool:
    """Whether the level still rises `rising_time` after the last start, over the last 30 s."""
    if isnan(height) or st[s + _WANT] == 0.0 or isnan(st[s + _RISE_T]):
        st[s + _RISE_T], st[s + _RISE_H] = now, height
        return False
    elapsed = now - st[s + _RISE_T]
    if elapsed < RISE_WINDOW - ROUNDING:
        return False
    rate = 60.0 * (height - st[s + _RISE_H]) / elapsed
    st[s + _RISE_T], st[s + _RISE_H] = now, height
    late = now - st[s + _STARTED_AT] >= par[p + _RISING_TIME] - ROUNDING  # never of NaN: off
    return bool(late and rate > par[p + _RISING_RATE])


def stuck(
    height: float, want: int, count: int, par: Floats, p: int, st: Floats, s: int, now: float
) -> None:  # fmt: skip
    """A pump that runs for long and does not empty the pit: tell of it, let the next one try."""
    if height <= par[p + _STOP]:
        st[s + _STUCK] = 0.0
    running = want > 0 and height < par[p + _LEAD]
    if lasted(st, s + _FULL_AT, running, now, par[p + _LONGEST]):
        st[s + _STUCK], st[s + _FULL_AT] = 1.0, nan
        st[s + _FIRST] += 1.0
        for i in range(count):
            st[s + _PUMPS + i * PUMP_STATES + WANTED] = 0.0


def choose_pumps(
    v: Floats, ops: Index, o: int, want: int, count: int, st: Floats, s: int
) -> int:  # fmt: skip
    """Let `want` pumps run: those that do, then in turn from the lead on; gives how many do."""
    got, first = 0, -1
    for i in range(count):
        t, state = s + _PUMPS + i * PUMP_STATES, v[ops[o + SHOWN + PER_PUMP * i]]
        keep = st[t + WANTED] == 1.0 and available(state) and got < want
        st[t + WANTED] = 1.0 if keep else 0.0
        got += 1 if keep or state == FORCED else 0
    start = 0 if isnan(st[s + _FIRST]) else int(st[s + _FIRST]) % count
    for k in range(count):
        i = (start + k) % count
        t, state = s + _PUMPS + i * PUMP_STATES, v[ops[o + SHOWN + PER_PUMP * i]]
        if not available(state):
            continue
        first = i if first < 0 else first
        if got < want and st[t + WANTED] != 1.0:
            st[t + WANTED] = 1.0
            got += 1
    if want > 0 and first >= 0:
        st[s + _FIRST] = first
    return got


def test_pumps(
    v: Floats, q: Bits, ops: Index, o: int, inputs: int, believed: bool,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """The readiness test before the rains: each pump in turn must start and report that it runs.

    Ready when all did, the level is believed and the float, where there is one, hangs free.
    """
    asked, count = ops[inputs + _TEST], int(par[p + _N])
    on = is_on(v, q, asked)
    if on and st[s + _TEST_SEEN] == 0.0 and isnan(st[s + _TEST_OF]):
        st[s + _TEST_OF], st[s + _TEST_AT], st[s + _READY] = 0.0, nan, UNDER_TEST
        for i in range(count):
            st[s + _PUMPS + i * PUMP_STATES + _RESULT] = UNTESTED
    st[s + _TEST_SEEN] = 1.0 if on else 0.0
    if isnan(st[s + _TEST_OF]):
        return 0
    i = int(st[s + _TEST_OF])
    if i < count:
        st[s + _TEST_AT] = now if isnan(st[s + _TEST_AT]) else st[s + _TEST_AT]
        t, state = s + _PUMPS + i * PUMP_STATES, v[ops[o + SHOWN + PER_PUMP * i]]
        elapsed = now - st[s + _TEST_AT]
        result = UNTESTED
        if not available(state) or elapsed >= TEST_PATIENCE:
            result = NOT_PASSED
        elif state == RUNNING and elapsed >= max(par[p + _EXERCISE], TEST_LEAST) - ROUNDING:
            result = PASSED
        if result == UNTESTED:
            st[t + WANTED] = 1.0
            return TESTING
        st[t + _RESULT], st[s + _TEST_OF], st[s + _TEST_AT] = result, i + 1.0, nan
        return TESTING
    ready = believed and hangs_free(v, q, ops[inputs + _FLOAT])
    for k in range(count):
        ready = ready and st[s + _PUMPS + k * PUMP_STATES + _RESULT] == PASSED
    st[s + _TEST_OF], st[s + _READY] = nan, READY if ready else NOT_READY
    return 0


def exercise(
    v: Floats, ops: Index, o: int, height: float, want: int, count: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """Turn a pump that has stood for a week: seals and bearings stick. Only in a quiet pit."""
    if want > 0 or not height < par[p + _LEAD] or par[p + _EXERCISE] <= 0.0:
        st[s + _EXERCISED] = nan
        return 0
    if isnan(st[s + _EXERCISED]):
        for i in range(count):
            t, state = s + _PUMPS + i * PUMP_STATES, v[ops[o + SHOWN + PER_PUMP * i]]
            if state == STOPPED and now - st[t + _RAN_AT] >= par[p + _EXERCISE_AFTER]:
                st[s + _EXERCISED], st[s + _EXERCISED_AT], st[t + _RAN_AT] = i, now, now
                break
    if isnan(st[s + _EXERCISED]):
        return 0
    if now - st[s + _EXERCISED_AT] >= par[p + _EXERCISE] - ROUNDING:
        st[s + _EXERCISED] = nan
        return 0
    st[s + _PUMPS + int(st[s + _EXERCISED]) * PUMP_STATES + WANTED] = 1.0
    return EXERCISING


def ask_pumps(
    v: Floats, q: Bits, ops: Index, o: int, r: int, bits: int, height: float, drain: bool,
    withdrawn: bool, par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Ask, and say for which pump the flood protection asks at slot 5.

    In a flood for every pump that may turn; above `start_lag` for one that a minimum off-time or
    the starts per hour keep waiting, until it runs.
    """
    for i in range(int(par[p + _N])):
        motor, t = r + i * MOTOR_OPERANDS, s + _PUMPS + i * PUMP_STATES
        shown = o + SHOWN + PER_PUMP * i
        state = v[ops[shown + _PUMP]]
        waits = v[ops[motor + OWNER]] == MIN_TIME and v[ops[motor + DECIDED]] < 0.5
        waits = waits and st[t + WANTED] == 1.0 and height >= par[p + _LAG]
        urgent = (drain or waits) and state not in (NOT_AUTO, TRIPPED)
        if urgent or v[ops[motor + OWNER]] != PROTECT:  # slot 5 lets go a scan after we do
            st[t + _URGED] = 1.0 if urgent else 0.0
        show(v, q, ops[shown + _CAPACITY], st[t + CAPACITY])
        show(v, q, ops[shown + _TESTED], st[t + _RESULT])
        show(v, q, ops[shown + _URGENT], 1.0 if urgent else 0.0)
        if withdrawn and st[t + WANTED] != 1.0:
            ask(v, q, ops, motor + RUN, nan, bits)
        else:
            switch_motor(v, q, ops, motor, st, t, state, bits)


def publish_pit(
    v: Floats, q: Bits, ops: Index, o: int,
    st: Floats, s: int, state: int, flood: float, turning: int, count: int,
) -> None:  # fmt: skip
    """State, flood, contradiction, blockage, the number that turn, inflow, readiness."""
    running = 0
    for i in range(count):
        running += (turning >> i) & 1
    show(v, q, ops[o + _STATE], float(state))
    show(v, q, ops[o + _FLOOD], flood)
    show(v, q, ops[o + _DISAGREE], st[s + _SIGNALS + WRONG])
    show(v, q, ops[o + _NOT_EMPTYING], st[s + _STUCK])
    show(v, q, ops[o + _RUNNING], float(running))
    show(v, q, ops[o + _INFLOW], st[s + _WINDOW + INFLOW])
    show(v, q, ops[o + _READINESS], st[s + _READY])


_OPTIONS = {"level": "pit.level", "float_switch": "pit.float", "pumps": ["p.a", "p.b"], "area": 2.0}
_QUIET = {
    "pit.level": 0.5, "pit.float": 0.0, "p.a.run": 0.0, "p.b.run": 0.0, "p.a.running": 0.0,
    "p.b.running": 0.0, "p.a.fault": 0.0, "p.b.fault": 0.0,
}  # fmt: skip

SUMP = Kind(
    name="sump",
    model=Sump,
    step=sump_step,
    text=Text("集水坑排水", "sump drainage"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=sump_points,
    states=lambda model: _PUMPS + PUMP_STATES * len(model.pumps),
    keeps=lambda model: pit_memory(model, _PUMPS, _WINDOW, _READY, _RAN_AT, _RESULT),
    alarms=sump_alarms,
    advice=advice,
    urges=lambda model: tuple(
        Urge(pump.run, f"pump{i}_urgent") for i, pump in enumerate(model.pumps, 1)
    ),
    examples=(
        Example(
            "pumps take turns: the second start is pump 2's; above start_lag both run",
            _OPTIONS,
            (
                (0.0, _QUIET, {"p.a.run": 0.0, "p.b.run": 0.0, "state": IDLE}),
                (0.5, {"pit.level": 0.9}, {"p.a.run": 1.0, "p.b.run": 0.0, "state": PUMPING}),
                (1.0, {"p.a.running": 1.0, "pit.level": 0.41}, {"p.a.run": 1.0, "pump1": RUNNING}),
                (1.5, {"pit.level": 0.4}, {"p.a.run": 0.0, "state": IDLE}),
                (2.0, {"p.a.running": 0.0, "pit.level": 0.9}, {"p.a.run": 0.0, "p.b.run": 1.0}),
                (2.5, {"pit.level": 1.1, "p.b.running": 1.0}, {"p.a.run": 1.0, "p.b.run": 1.0}),
            ),
        ),
        Example(
            "a frozen transmitter: the float starts every pump, at slot 5 too",
            _OPTIONS,
            (
                (0.0, {**_QUIET, "pit.level": 0.6}, {"p.a.run": 0.0, "state": IDLE}),
                (0.5, {"pit.float": 1.0},
                 {"p.a.run": 1.0, "p.b.run": 1.0, "pump1_urgent": 1.0, "state": FLOODED}),
                (1.5, {"p.a.running": 1.0, "p.b.running": 1.0}, {"disagree": 0.0, "running": 2.0}),
                *((t + 0.5, {}, {"disagree": 0.0}) for t in range(2, 30)),
                (30.5, {}, {"disagree": 1.0}),
                (31.0, {"pit.float": 0.0}, {"p.a.run": 1.0, "pump1_urgent": 1.0, "flood": 0.0}),
                (149.9, {}, {"p.a.run": 1.0}),
                (150.5, {}, {"p.a.run": 0.0, "pump1_urgent": 0.0, "state": CONTRADICTED}),
                (151.0, {"pit.level": 0.7}, {"state": IDLE}),
                (181.5, {}, {"disagree": 0.0}),
            ),
        ),
        Example(
            "a lead that gives no feedback for 5 s is replaced",
            _OPTIONS,
            (
                (0.0, _QUIET, {"p.a.run": 0.0}),
                (0.5, {"pit.level": 0.95}, {"p.a.run": 1.0, "pump1": STOPPED}),
                (1.0, {}, {"pump1": STARTING}),
                *((float(t), {}, {"pump1": STARTING}) for t in range(2, 6)),
                (6.0, {}, {"pump1": FAILED, "p.a.run": 0.0, "p.b.run": 1.0}),
            ),
        ),
    ),
)  # fmt: skip
