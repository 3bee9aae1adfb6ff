"""How a fault is corrected: attempts, what each does, whether it helped, and when to stop (§1.19).

The step of `correction`, which brings the model, the texts and the alarms. One phase after another
in the state; requests are withdrawn by whatever ends an attempt. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import usable
from edge.blocks.output import DECIDED, MIN_TIME, OWNER, ask, present
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import GOOD
from edge.image.slots import Slot

UNDERVOLTAGE, COMMUNICATION, VALVE_POSITION, NO_RESPONSE, PRESSURE_LOW = range(5)
READY, ACTING, CHECKING, CORRECTED, FAILED, WAITING = range(6)

LIMITS = (3.0, 3.0, 3.0, 2.0, 3.0)  # attempts in a day, by cause
PER_HOUR = 2.0  # restarts of a drive
BUDGET = 10.0  # actions in an hour, of all corrections of a controller
HOUR, DAY, WEEK = 3600.0, 86400.0, 604800.0

FAULT_TIME, GONE_TIME = 5.0, 10.0  # s before a fault counts as there, and as gone
SHOWN_TIME = 60.0  # s for which a success stands at least
PULSE = 2.0  # s that a reset or a command sent again stands
RESTART = 30.0  # s from the reset to the restart
RUNS, RUN_WINDOW = 120.0, 150.0  # s that a drive must run, and within which it must have
ANSWERS = 30.0  # s in which a device that got its command again must show it
STROKE, STROKE_TIME = 10.0, 5.0  # %, s: one move of an exercise
APART, LEAST_WINDOW = 1.5, 10.0  # x the expected travel between two attempts, s
HELD_TIME = 2.0  # s for which a position must be right
TRIM, TRIM_WINDOW, TRIM_TIME = 0.01, 600.0, 28800.0  # MPa, s between, s that it stays
WORSE_BY, WORSE_PRESSURE = 2.0, 0.01  # %, MPa

OUTPUT, RUN = 0, 4
STATE, ATTEMPTS, IN_HOUR, IN_WEEK = 8, 9, 10, 11
FAULT, FEEDBACK, RUNNING, PRESSURE, HOA, OTHERS = 12, 13, 14, 15, 16, 17
CAUSE, TRAVEL, TOLERANCE, MOST = range(4)
(_PHASE, _AT, _TRIED, _BEFORE, _PRESSURE_BEFORE, _BASE, _WINDOW, _NEXT, _OK_AT, _FAULT_AT, _GONE_AT,
 _MOVE, _TRIM, _TRIM_UNTIL, _STARTED) = range(15)  # fmt: skip
STARTS, SUCCESSES = 3, 21  # no more attempts in a day, nor successes in a week
_SUCCEEDED = _STARTED + STARTS
STATES = _SUCCEEDED + SUCCESSES

OURS = float(Slot.CORRECT)


def memory(cause: str) -> dict[str, int]:
    """Attempts and successes: no other option may give a fault more of them."""
    rings = {"attempt": (_STARTED, STARTS), "success": (_SUCCEEDED, SUCCESSES)}
    return {
        f"{cause} {name} {k}": first + k
        for name, (first, size) in rings.items()
        for k in range(size)
    }


def correction_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """An attempt that a restart interrupted counts and is not finished."""
    if isnan(st[s + _PHASE]):
        st[s + _PHASE], st[s + _TRIED], st[s + _TRIM] = READY, 0.0, 0.0
    if dt == 0.0:
        give_up(v, q, ops, o, st, s)
        drop_trim(v, q, ops, o, st, s)
        st[s + _FAULT_AT], st[s + _GONE_AT] = nan, nan
    known = inputs_known(v, q, ops, o, par, p)
    fault = known and v[ops[o + FAULT]] != 0.0
    there = lasted(st, s + _FAULT_AT, fault, now, FAULT_TIME)
    gone = lasted(st, s + _GONE_AT, known and not fault, now, GONE_TIME)
    phase = st[s + _PHASE]
    if ACTING <= phase <= CHECKING:
        if not known or outranked(v, q, ops, o):
            give_up(v, q, ops, o, st, s)
        elif phase == ACTING:
            act(v, q, ops, o, par, p, st, s, now)
        else:
            check(v, q, ops, o, par, p, st, s, fault, now)
    else:
        wait(v, q, ops, o, n, par, p, st, s, there, gone, now)
    hold_trim(v, q, ops, o, st, s, now)
    publish(v, q, ops, o, st, s, now)


def inputs_known(v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int) -> bool:
    """Whether everything is known that says whether an attempt helps: else none is made."""
    cause = par[p + CAUSE]
    if not usable(v, q, ops[o + FAULT]):
        return False
    if cause <= COMMUNICATION:
        return usable(v, q, ops[o + RUNNING])
    return usable(v, q, ops[o + (PRESSURE if cause == PRESSURE_LOW else FEEDBACK)])


def outranked(v: Floats, q: Bits, ops: Index, o: int) -> bool:
    """A person, a protection or a hand switch has it: nothing is corrected then."""
    hoa = ops[o + HOA]
    if usable(v, q, hoa) and v[hoa] != 1.0:
        return True
    return stronger(v[ops[o + OUTPUT + OWNER]]) or stronger(v[ops[o + RUN + OWNER]])


def stronger(owner: float) -> bool:
    """A minimum time is nobody's will: it runs out."""
    return bool(0.0 < owner < OURS and owner != MIN_TIME)


def wait(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, there: bool, gone: bool, now: float,
) -> None:  # fmt: skip
    """Between attempts: ready, waiting to be allowed, corrected, or stopped until it is gone."""
    phase, cause = st[s + _PHASE], par[p + CAUSE]
    if gone and phase != CORRECTED:
        st[s + _PHASE], st[s + _TRIED] = READY, 0.0
    if phase == CORRECTED and now - st[s + _AT] >= SHOWN_TIME - ROUNDING:
        st[s + _PHASE], st[s + _TRIED] = READY, 0.0
    if st[s + _PHASE] == FAILED or st[s + _PHASE] == CORRECTED or not there:
        return
    if VALVE_POSITION <= cause <= NO_RESPONSE and in_place(v, q, ops, o, par, p):
        st[s + _PHASE] = READY  # nothing to correct: what the fault still says will pass
    elif recent(st, s + _STARTED, STARTS, now, DAY) >= most(par, p):
        stop(v, q, ops, o, st, s, now)
    elif allowed(v, q, ops, o, n, par, p, st, s, now):
        begin(v, q, ops, o, par, p, st, s, now)
    else:
        st[s + _PHASE] = WAITING


def most(par: Floats, p: int) -> float:
    """Attempts in a day."""
    limit = LIMITS[int(par[p + CAUSE])]
    return limit if isnan(par[p + MOST]) else min(limit, par[p + MOST])


def allowed(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> bool:  # fmt: skip
    """Far enough from the last attempt, within all budgets, and nobody else's at the moment."""
    if outranked(v, q, ops, o) or now < st[s + _NEXT] - ROUNDING:
        return False
    drive = par[p + CAUSE] <= COMMUNICATION
    if drive and recent(st, s + _STARTED, STARTS, now, HOUR) >= PER_HOUR:
        return False
    if not drive and isnan(present(v, q, ops, o + OUTPUT)):
        return False  # nobody asks for anything yet
    spent = 0.0
    for k in range(OTHERS, n):
        spent += v[ops[o + k]]  # NaN while one of them has not run yet: no
    return spent < BUDGET


def recent(st: Floats, ring: int, size: int, now: float, within: float) -> float:
    """How many of the times in the ring lie within so many seconds."""
    count = 0.0
    for k in range(size):
        if now - st[ring + k] < within - ROUNDING:
            count += 1.0
    return count


def note(st: Floats, ring: int, size: int, now: float) -> None:
    """Put a time in the place of the oldest."""
    oldest = 0
    for k in range(1, size):
        if isnan(st[ring + k]) or st[ring + k] < st[ring + oldest]:
            oldest = k
        if isnan(st[ring + oldest]):
            break
    st[ring + oldest] = now


def in_place(v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int) -> bool:
    """Whether the device shows what is asked of it."""
    return bool(deviation(v, ops, o, present(v, q, ops, o + OUTPUT)) <= par[p + TOLERANCE])


def deviation(v: Floats, ops: Index, o: int, asked: float) -> float:
    """How far the device is from what was asked."""
    return abs(float(asked - v[ops[o + FEEDBACK]]))


def begin(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> None:  # fmt: skip
    """Start an attempt: note what was before, by when it must have helped, and that it was made."""
    cause, base = par[p + CAUSE], present(v, q, ops, o + OUTPUT)
    window = RESTART + RUN_WINDOW
    if cause == VALVE_POSITION:
        st[s + _BEFORE] = deviation(v, ops, o, base)
        window = max(APART * st[s + _BEFORE] / 100.0 * par[p + TRAVEL], LEAST_WINDOW)
    elif cause == NO_RESPONSE:
        st[s + _BEFORE] = deviation(v, ops, o, base)
        window = ANSWERS
    elif cause == PRESSURE_LOW:
        window = TRIM_WINDOW
    st[s + _PRESSURE_BEFORE] = nan
    if usable(v, q, ops[o + PRESSURE]):
        st[s + _PRESSURE_BEFORE] = v[ops[o + PRESSURE]]
    if st[s + _TRIM] == 0.0:
        st[s + _BASE] = base
    st[s + _WINDOW], st[s + _NEXT] = window, now + window
    st[s + _PHASE], st[s + _AT], st[s + _MOVE] = ACTING, now, 0.0
    st[s + _TRIED] += 1.0
    st[s + _OK_AT] = nan
    note(st, s + _STARTED, STARTS, now)
    act(v, q, ops, o, par, p, st, s, now)


def act(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> None:  # fmt: skip
    """What an attempt does, by the cause."""
    cause, since = par[p + CAUSE], now - st[s + _AT]
    if cause <= COMMUNICATION:
        reset_drive(v, q, ops, o, st, s, since, now)
    elif cause == PRESSURE_LOW:
        st[s + _TRIM] += TRIM
        st[s + _TRIM_UNTIL] = now + TRIM_TIME
        look(st, s, now)
    elif cause == VALVE_POSITION and st[s + _TRIED] > 1.0 and st[s + _BASE] >= 2.0 * STROKE:
        exercise(v, q, ops, o, par, p, st, s, now)
    elif since < PULSE - ROUNDING:
        ask(v, q, ops, o + OUTPUT, st[s + _BASE], GOOD)  # written anew, though it is the same
    else:
        ask(v, q, ops, o + OUTPUT, nan, GOOD)
        look(st, s, now)


def look(st: Floats, s: int, now: float) -> None:
    """The action is done; from now on it must show."""
    st[s + _PHASE], st[s + _AT] = CHECKING, now


def reset_drive(
    v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int, since: float, now: float
) -> None:  # fmt: skip
    """A pulse on the reset, the drive kept off meanwhile; then whoever wants it may start it."""
    ask(v, q, ops, o + OUTPUT, 1.0 if since < PULSE - ROUNDING else 0.0, GOOD)
    ask(v, q, ops, o + RUN, 0.0, GOOD)
    if since >= RESTART - ROUNDING:
        withdraw(v, q, ops, o)
        look(st, s, now)


def exercise(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> None:  # fmt: skip
    """10 % below what is asked, back, 10 % above, back: never a larger stroke than that.

    Not near its seat: that would shut a throttled supply, or open what people shut.
    """
    move, base = st[s + _MOVE], st[s + _BASE]
    if move >= 3.0:
        ask(v, q, ops, o + OUTPUT, nan, GOOD)
        look(st, s, now)
        return
    goal = base
    if move == 0.0:
        goal = base - STROKE
    elif move == 2.0:
        goal = min(base + STROKE, 100.0)
    ask(v, q, ops, o + OUTPUT, goal, GOOD)
    arrived = abs(v[ops[o + OUTPUT + DECIDED]] - goal) < 1e-6  # its rate may hold it back
    stroke = max(APART * STROKE / 100.0 * par[p + TRAVEL], STROKE_TIME)
    if lasted(st, s + _OK_AT, arrived, now, stroke):
        st[s + _MOVE], st[s + _OK_AT] = move + 1.0, nan


def check(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, fault: bool, now: float,
) -> None:  # fmt: skip
    """Whether it helped: within its window a success, else one attempt more, or the end."""
    cause = par[p + CAUSE]
    if cause <= COMMUNICATION:
        wanted = v[ops[o + RUN + DECIDED]] > 0.0
        fine, needed = not fault and (not wanted or v[ops[o + RUNNING]] != 0.0), RUNS
    elif cause == PRESSURE_LOW:
        fine, needed = not fault, FAULT_TIME
    else:
        fine, needed = in_place(v, q, ops, o, par, p), HELD_TIME
    if lasted(st, s + _OK_AT, fine, now, needed):
        st[s + _PHASE], st[s + _AT] = CORRECTED, now
        note(st, s + _SUCCEEDED, SUCCESSES, now)
    elif now - st[s + _AT] >= st[s + _WINDOW] - ROUNDING and isnan(st[s + _OK_AT]):
        st[s + _NEXT] = now
        st[s + _PHASE] = WAITING
        used = recent(st, s + _STARTED, STARTS, now, DAY)
        if used >= most(par, p) or worse(v, q, ops, o, par, p, st, s):
            stop(v, q, ops, o, st, s, now)


def worse(v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int) -> bool:
    """Whether the attempt left the measured variable worse than it found it."""
    cause, pressure = par[p + CAUSE], ops[o + PRESSURE]
    if usable(v, q, pressure) and v[pressure] < st[s + _PRESSURE_BEFORE] - WORSE_PRESSURE:
        return True
    if not VALVE_POSITION <= cause <= NO_RESPONSE:
        return False
    return bool(deviation(v, ops, o, st[s + _BASE]) > st[s + _BEFORE] + WORSE_BY)


def stop(
    v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int, now: float
) -> None:  # fmt: skip
    """People only, from here until the fault is gone."""
    st[s + _PHASE], st[s + _AT] = FAILED, now
    withdraw(v, q, ops, o)
    drop_trim(v, q, ops, o, st, s)


def give_up(v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int) -> None:
    """End an attempt without a verdict; it counts."""
    withdraw(v, q, ops, o)
    if st[s + _PHASE] == ACTING or st[s + _PHASE] == CHECKING:
        st[s + _PHASE] = WAITING


def withdraw(v: Floats, q: Bits, ops: Index, o: int) -> None:
    """Ask for nothing."""
    ask(v, q, ops, o + OUTPUT, nan, GOOD)
    ask(v, q, ops, o + RUN, nan, GOOD)


def hold_trim(
    v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int, now: float
) -> None:  # fmt: skip
    """A setpoint that was raised stays so for a shift, then whoever owns it has it back."""
    if st[s + _TRIM] == 0.0:
        return
    if now >= st[s + _TRIM_UNTIL] - ROUNDING:
        drop_trim(v, q, ops, o, st, s)
    else:
        ask(v, q, ops, o + OUTPUT, st[s + _BASE] + st[s + _TRIM], GOOD)


def drop_trim(v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int) -> None:
    """Let the setpoint go."""
    if st[s + _TRIM] != 0.0:
        st[s + _TRIM] = 0.0
        ask(v, q, ops, o + OUTPUT, nan, GOOD)


def publish(v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int, now: float) -> None:
    """State, attempts in a day and in an hour, successes in a week."""
    v[ops[o + STATE]] = st[s + _PHASE]
    v[ops[o + ATTEMPTS]] = recent(st, s + _STARTED, STARTS, now, DAY)
    v[ops[o + IN_HOUR]] = recent(st, s + _STARTED, STARTS, now, HOUR)
    v[ops[o + IN_WEEK]] = recent(st, s + _SUCCEEDED, SUCCESSES, now, WEEK)
    for k in range(STATE, IN_WEEK + 1):
        q[ops[o + k]] = GOOD
