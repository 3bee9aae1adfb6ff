"""A group of pumps that stand in for each other: who is available, who runs, who comes next.

It knows nothing of pressure: the booster says how many should run and how fast. Called by the
booster's step; a pump's operands begin at `r`, its state at `t`.

A pump that tripped or did not start is locked out until a person resets it (domain §1.18). A
correction that keeps it off at its own slot resets the drive; what its fault left goes with it. A
pump that is only believed not to have started, since its feedback is missing, is tried again after
a while where too few others are left: no feedback stops the water.

A trip is a fault of a pump that ran. Fail-safe contacts fall with the mains, and a power cut must
not leave a compound dry until somebody comes: a contact at a pump that stands, or at all pumps
within OUTAGE, keeps them off only as long as it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan, nan
from typing import Annotated, ClassVar

from edge.blocks.kind import (
    TARGET_OPERANDS,
    AlarmTemplate,
    Input,
    Published,
    Source,
    Target,
    is_off,
    is_on,
    usable,
)
from edge.blocks.motor import (
    FAILED_AT,
    FORCED,
    HOURS,
    MIN_TIME,
    MOTOR_STATES,
    NOT_AUTO,
    STATES,
    TRIPPED,
    WANTED,
    ByName,
    adopt_motor,
    available,
    forgive,
    motor_alarms,
    motor_points,
    motor_state,
    turns,
)
from edge.blocks.output import ACTUAL, DECIDED, OURS, OWNER, ask
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.text import Text


class Pump(ByName):
    """`booster.p1` stands for its points `.run`, `.speed`, `.running` and `.fault`.

    `running` is the run feedback, `fault` the trip contact, `hoa` the contact of a hard-wired
    Hand-Off-Auto switch: 1 in AUTO. `hours` is a counter of the drive's own: it raises ours, never
    lowers it. Without `speed` the pump turns at full speed.
    """

    names: ClassVar[tuple[str, ...]] = ("run", "speed", "running", "fault")
    example = "booster.p1"

    run: Annotated[str, Target("")]
    speed: Annotated[str | None, Target("%")] = None
    running: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    hoa: Annotated[Source | None, Input("")] = None
    hours: Annotated[Source | None, Input("h")] = None


CORRECT = float(Slot.CORRECT)
RUN, SPEED, FEEDBACK, FAULT, HOA, COUNTER, PUMP_OPERANDS = 0, TARGET_OPERANDS, 8, 9, 10, 11, 12
HYSTERESIS = 2.0  # h by which the lead must have run longer before another takes its place
FULL_SPEED = 100.0  # % of a pump on the mains
_STATES = STATES | {TRIPPED: Text("故障, 或跳停待复位", "fault, or tripped and waits for a reset")}
# Of a pump, after those of a motor; a lock-out is MAYBE until OUTAGE is over.
LOCKED_OUT, FAULT_AT, PUMP_STATES = MOTOR_STATES, MOTOR_STATES + 1, MOTOR_STATES + 2
MAYBE, OUTAGE = 0.5, 5.0  # s: contacts of one power cut, by the slowest poll
LET_GO = -1e9  # when a contact made that is let go until it opens


def adopt_pump(v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int) -> bool:
    """Take a running pump as running; False while nobody knows whether it does."""
    return adopt_motor(v, q, ops, r, r + FEEDBACK, st, t)


def pump_state(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int,
    now: float, start_time: float, low: bool,
) -> int:  # fmt: skip
    """What the pump is doing, once tripped until a reset; see `motor_state`."""
    driven, owner = v[ops[r + RUN + DECIDED]], v[ops[r + RUN + OWNER]]
    f, out = r + FEEDBACK, locked_out(v, q, ops, r, driven, owner, st, t, now)
    tripped = out or is_on(v, q, ops[r + FAULT])
    return motor_state(v, q, ops, f, driven, owner, st, t, now, start_time, low, tripped, False)


def locked_out(
    v: Floats, q: Bits, ops: Index, r: int, driven: float, owner: float,
    st: Floats, t: int, now: float,
) -> bool:  # fmt: skip
    """Whether a trip keeps the pump out, its contact open again or not; see above."""
    fault = ops[r + FAULT]
    faulty, sound = is_on(v, q, fault), is_off(v, q, fault)
    if faulty and isnan(st[t + FAULT_AT]):
        st[t + FAULT_AT] = now
    elif sound and not is_recent(st, t, now):
        st[t + FAULT_AT] = nan
    ran = driven > 0.5 or is_on(v, q, ops[r + FEEDBACK]) or not isnan(st[t + FAILED_AT])
    if is_off(v, q, ops[r + HOA]):
        return bool(st[t + LOCKED_OUT] > 0.0)
    if faulty and ran and st[t + FAULT_AT] != LET_GO and not st[t + LOCKED_OUT] > 0.0:
        st[t + LOCKED_OUT] = MAYBE
    elif sound and owner == CORRECT and driven < 0.5:
        st[t + LOCKED_OUT] = 0.0
    if st[t + LOCKED_OUT] == MAYBE and not is_recent(st, t, now):
        st[t + LOCKED_OUT] = 1.0
    return bool(st[t + LOCKED_OUT] > 0.0)


def is_recent(st: Floats, t: int, now: float) -> bool:
    """Whether the contact made within OUTAGE, open again or not."""
    return bool(now - st[t + FAULT_AT] < OUTAGE)


def see_outage(
    v: Floats, q: Bits, ops: Index, r: int, n: int, st: Floats, t: int, now: float
) -> None:  # fmt: skip
    """Let go what all pumps lost together. One that had tripped before stays out."""
    recent = 0
    for i in range(n):
        pump = t + i * PUMP_STATES
        if is_recent(st, pump, now):
            recent += 1
        elif is_off(v, q, ops[r + i * PUMP_OPERANDS + FAULT]):
            return
    for i in range(n):
        pump = t + i * PUMP_STATES
        if recent > 1 and is_recent(st, pump, now):
            st[pump + FAULT_AT] = LET_GO
            if st[pump + LOCKED_OUT] == MAYBE:
                st[pump + LOCKED_OUT] = 0.0


def delayed(v: Floats, ops: Index, r: int) -> bool:
    """Whether a minimum off-time or the starts per hour keep the pump from starting."""
    owner, driven = v[ops[r + RUN + OWNER]], v[ops[r + RUN + DECIDED]]
    return bool(owner == MIN_TIME and driven < 0.5)


def unlock(v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int) -> None:
    """A person says that it may run again, which a fault that still stands does not hear."""
    st[t + FAILED_AT] = nan
    if not is_on(v, q, ops[r + FAULT]):
        st[t + LOCKED_OUT] = 0.0


def retry_failed(
    v: Floats, ops: Index, shown: int, n: int, st: Floats, t: int,
    needed: float, now: float, retry: float,
) -> int:  # fmt: skip
    """Forgive starts that failed `retry` seconds ago where fewer pumps than `needed` are left;
    gives how many are locked out."""
    left, out = ready_pumps(v, ops, shown, n), 0
    for i in range(n):
        pump = t + i * PUMP_STATES
        if left < needed:
            forgive(st, pump, now, retry, False)
        out += 1 if st[pump + LOCKED_OUT] > 0.0 or not isnan(st[pump + FAILED_AT]) else 0
    return out


def pump_memory(pumps: Sequence[Pump], first: int) -> dict[str, int]:
    """What is kept of each pump when the list or other options change; `first` is its state."""
    return {
        f"{what} of {pump.run}": first + i * PUMP_STATES + at
        for i, pump in enumerate(pumps)
        for what, at in (("hours", HOURS), ("lockout", LOCKED_OUT), ("failure", FAILED_AT))
    }


def has_drive(ops: Index, r: int) -> bool:
    """Whether the speed of the pump can be set; one without has three absent cells there."""
    return bool(ops[r + SPEED + DECIDED] != ops[r + SPEED + OWNER])


def count_hours(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int, code: int, dt: float
) -> None:
    """Count while the feedback says that it runs; the drive's counter may only raise ours."""
    counter = ops[r + COUNTER]
    st[t + HOURS] += dt / 3600.0 if turns(v, q, ops, r + FEEDBACK, code) else 0.0
    if usable(v, q, counter) and st[t + HOURS] < v[counter] < inf:
        st[t + HOURS] = v[counter]


def next_to_start(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, n: int,
    st: Floats, t: int, fixed: bool, lead: int, drive: bool,
) -> int:  # fmt: skip
    """The available pump to start, -1 for none: one that turns already, else the least hours.

    Pump `lead` (-1: none) is preferred until it has run 2 h longer. With `drive` only a pump whose
    speed can be set, as long as there is one.
    """
    best, least, turning, driven = -1, 0.0, False, False
    for i in range(n):
        pump = t + i * PUMP_STATES
        if st[pump + WANTED] == 1.0 or not available(v[ops[shown + 2 * i]]):
            continue
        running = ops[r + i * PUMP_OPERANDS + FEEDBACK]
        turns = is_on(v, q, running)
        has = not drive or has_drive(ops, r + i * PUMP_OPERANDS)
        hours = 0.0 if fixed else st[pump + HOURS] - (HYSTERESIS if i == lead else 0.0)
        better = hours < least if turns == turning else turns
        if has != driven:
            better = has
        if best < 0 or better:
            best, least, turning, driven = i, hours, turns, has
    return best


def next_to_stop(n: int, st: Floats, t: int, fixed: bool, lead: int, single: bool) -> int:
    """The running pump to stop, -1 for none: the one with the most hours, or the last one.

    The lead goes on unless it has run 2 h longer than the others, and always while it alone can be
    regulated (`single`).
    """
    best, most = -1, 0.0
    for i in range(n):
        pump = t + i * PUMP_STATES
        hours = 0.0 if fixed else st[pump + HOURS]
        if i == lead:
            hours = -1.0 if fixed or single else hours - HYSTERESIS
        if st[pump + WANTED] == 1.0 and (best < 0 or hours >= most):
            best, most = i, hours
    return best


def choose(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, n: int,
    st: Floats, t: int, count: int, fixed: bool, lead: int, single: bool,
) -> int:  # fmt: skip
    """Make `count` pumps run, as far as there are any; gives how many do.

    One whose start is delayed does not count: another takes its place until it runs.
    """
    running = 0
    for i in range(n):
        state = v[ops[shown + 2 * i]]
        if not available(state):
            st[t + i * PUMP_STATES + WANTED] = 0.0
        wanted = st[t + i * PUMP_STATES + WANTED] == 1.0
        if state == FORCED or (wanted and not delayed(v, ops, r + i * PUMP_OPERANDS)):
            running += 1
    led = lead >= 0 and st[t + lead * PUMP_STATES + WANTED] == 1.0
    while running < count:
        i = next_to_start(
            v, q, ops, r, shown, n, st, t, fixed, -1 if led else lead, single and not led
        )
        if i < 0:
            break
        st[t + i * PUMP_STATES + WANTED] = 1.0
        running, led = running + 1, True
    while running > count:
        i = next_to_stop(n, st, t, fixed, lead, single)
        if i < 0:
            break
        st[t + i * PUMP_STATES + WANTED] = 0.0
        running -= 1
    return running


def wanted_pumps(n: int, st: Floats, t: int) -> int:
    """The pumps that are to run, as bits."""
    bits = 0
    for i in range(n):
        if st[t + i * PUMP_STATES + WANTED] == 1.0:
            bits |= 1 << i
    return bits


def leader(
    ops: Index, r: int, n: int, st: Floats, t: int, lead: int, single: bool
) -> int:  # fmt: skip
    """Who leads: as before while it runs, else the running pump with the least hours."""
    if lead >= 0 and st[t + lead * PUMP_STATES + WANTED] == 1.0:
        return lead
    best, least, driven = -1, 0.0, False
    for i in range(n):
        pump = t + i * PUMP_STATES
        if st[pump + WANTED] != 1.0:
            continue
        has = not single or has_drive(ops, r + i * PUMP_OPERANDS)
        better = st[pump + HOURS] < least if has == driven else has
        if best < 0 or better:
            best, least, driven = i, st[pump + HOURS], has
    return lead if best < 0 else best


def ready_pumps(v: Floats, ops: Index, shown: int, n: int) -> int:
    """How many run or could."""
    count = 0
    for i in range(n):
        state = v[ops[shown + 2 * i]]
        count += 1 if available(state) or state == FORCED else 0
    return count


def spare_pumps(v: Floats, ops: Index, shown: int, n: int, st: Floats, t: int) -> int:
    """How many could run besides those that are to run."""
    count = 0
    for i in range(n):
        wanted = st[t + i * PUMP_STATES + WANTED] == 1.0
        count += 1 if available(v[ops[shown + 2 * i]]) and not wanted else 0
    return count


def taken_speed(
    v: Floats, q: Bits, ops: Index, r: int, n: int, st: Floats, t: int, lead: int
) -> float:  # fmt: skip
    """The speed to follow while no running pump takes ours; NaN when one does, or none runs.

    With `lead` not -1 only that pump is regulated.
    """
    speed = nan
    for i in range(n):
        o = r + i * PUMP_OPERANDS
        if st[t + i * PUMP_STATES + WANTED] != 1.0 or (lead >= 0 and i != lead):
            continue
        own = foreign_speed(v, q, ops, o + SPEED)
        if isnan(own):
            return nan
        speed = own if isnan(speed) or own > speed else speed
    return speed


def foreign_speed(v: Floats, q: Bits, ops: Index, o: int) -> float:
    """The speed of a pump that is not ours to set at this moment, NaN when it is or nobody knows.

    Not ours: a stronger slot won, nothing was driven yet, or it comes back from HAND.
    """
    owner, decided, actual = v[ops[o + OWNER]], v[ops[o + DECIDED]], ops[o + ACTUAL]
    if owner == OURS and not isnan(decided):
        return nan
    if 0.0 < owner < OURS and not isnan(decided):
        return float(decided)
    return float(v[actual]) if usable(v, q, actual) else nan


def command(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int,
    state: float, speed: float, bits: int,
) -> None:  # fmt: skip
    """Ask for run and speed; of a pump that is not in AUTO nothing."""
    wanted = st[t + WANTED]
    if state == NOT_AUTO:
        wanted, speed = nan, nan
    elif wanted != 1.0 and state != FORCED:
        speed = 0.0
    ask(v, q, ops, r + RUN, wanted, bits)
    ask(v, q, ops, r + SPEED, speed, bits)


def pump_points(i: int) -> tuple[Published, ...]:
    """What the pump with number `i` shows; the booster's step writes them in this order."""
    return motor_points(f"pump{i}", f"{i}号泵", f"pump {i}", _STATES)


def pump_alarms(i: int, hoa: Source | None) -> tuple[AlarmTemplate, ...]:
    """The alarms of the pump with number `i`; `hoa` is its switch."""
    code = Text("读变频器故障代码", "read the drive's fault code")
    shows = ("{rule}.pressure",)
    return motor_alarms(f"pump{i}", f"{i}号泵", f"pump {i}", hoa, shows, code, code, out=True)
