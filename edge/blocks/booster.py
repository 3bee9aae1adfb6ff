"""Constant-pressure booster set: OFF, CHECK, FILL, RUN, SLEEP, TRIP, MANUAL (domain §1.10).

The step and its phases; speed, staging, sleep and filling are modules of their own beside this
one, the pumps are `pumps.py`. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.booster_alarms import alarms, published
from edge.blocks.booster_fill import fill
from edge.blocks.booster_layout import (
    ALLOWED,
    ASLEEP,
    BAD_SINCE,
    CHECK,
    COUNT,
    DESTAGE,
    DUTY,
    FALLBACK,
    FILL,
    FILL_ALL,
    FILL_READY,
    FILL_STILL,
    FILL_TIMEOUT,
    FILLING,
    FLOW_BAD,
    FOLLOWING,
    GAIN_SHOWN,
    GOAL,
    HELD,
    HOLD,
    HUNTING,
    INPUT_COUNT,
    LEAD,
    LEAD_RUN,
    LEADER,
    LOCKED,
    LOCKOUTS,
    LOW,
    LOW_AT,
    MODE,
    NO_FLOW,
    NO_PUMP,
    OFF,
    OVER_AT,
    OVER_PRESSURE,
    PF,
    PHASE,
    PRESSURE,
    PROTECTED,
    PROTECTION,
    PUMPS,
    PV,
    PV2,
    RAMPED,
    RATED_AT,
    REGULATING,
    RESET,
    RESET_CELL,
    RETRY,
    RUN,
    SENSOR,
    SENSOR_USED,
    SETPOINT,
    SHOWN,
    SINGLE_VFD,
    SLEEP,
    SLEEP_AFTER,
    SLEEP_OFF,
    SLEEP_WHY,
    SPEED_REF,
    STAGE,
    START_TIME,
    STATE,
    SUCTION_AT,
    SUCTION_BACK,
    SUCTION_BAD,
    SUCTION_LOW,
    SWAP,
    TRIP,
    TURNS,
    WAIT,
    WAITING,
    WAKE_AT,
    WAKES_SHOWN,
    N,
    U,
)
from edge.blocks.booster_model import Booster, advice, memory
from edge.blocks.booster_phase import find_phase, phase_state
from edge.blocks.booster_pressure import (
    begin,
    lowest_speed,
    measure,
    set_speed,
    start_speed,
    synchronise,
)
from edge.blocks.booster_sleep import fall_asleep, falls_asleep, wakes_in_hour
from edge.blocks.booster_staging import (
    begin_timers,
    learn_head,
    limit_speed,
    no_flow_speed,
    rotate,
    stage,
    started,
)
from edge.blocks.kind import Example, Kind, Urge, reset_asked, usable
from edge.blocks.motor import FORCED, HOURS, RUNNING, STOPPED, TRIPPED, WANTED
from edge.blocks.oscillation import gain_factor, tune_anew
from edge.blocks.output import ACTUAL
from edge.blocks.pid import clip
from edge.blocks.pumps import (
    FULL_SPEED,
    PUMP_OPERANDS,
    PUMP_STATES,
    SPEED,
    adopt_pump,
    choose,
    command,
    count_hours,
    leader,
    pump_state,
    ready_pumps,
    retry_failed,
    see_outage,
    spare_pumps,
    taken_speed,
    unlock,
    wanted_pumps,
)
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import NEVER
from edge.image.slots import Slot
from edge.text import Text

__all__ = [
    "ASLEEP", "BOOSTER", "FALLBACK", "FILLING", "FILL_TIMEOUT", "FOLLOWING", "HELD", "NO_PUMP",
    "OFF", "OVER_PRESSURE", "PROTECTED", "REGULATING", "SUCTION_LOW", "WAITING", "Booster",
]  # fmt: skip

START_WAIT = 30.0  # s for the first feedback of every pump


def booster_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Measure, look at the pumps, find the phase, choose who runs, set the speed, ask.

    What runs is adopted at the start, with the speed that it reads back. A bad pressure holds the
    speed, then the fallback speed applies; a bad setpoint leaves the last one.
    """
    count = int(par[p + N])
    i = o + SHOWN + 2 * count
    r, t = i + INPUT_COUNT, s + PUMPS
    if dt == 0.0:
        forget_timers(st, s)
    good = measure(v, q, ops, i, par, p, st, s, now, dt)
    blind = lasted(st, s + BAD_SINCE, not good, now, par[p + HOLD])
    restart = dt == 0.0 or isnan(st[s + U])
    if restart and not adopt(v, q, ops, r, count, par, p, st, s, now):
        st[s + U] = nan  # adopt in the next run, too
        v[ops[o + STATE]], q[ops[o + STATE]] = WAITING, 0
        return
    before = watch(v, q, ops, o, i, par, p, st, s, now, dt, good)
    single = par[p + MODE] == SINGLE_VFD
    only = int(st[s + LEADER]) if single else -1
    regulated = good and isnan(taken_speed(v, q, ops, r, count, st, t, only))
    ready = ready_pumps(v, ops, o + SHOWN, count)
    find_phase(v, q, ops, i, par, p, st, s, now, good, blind, ready)
    if st[s + PHASE] == FILL and good:
        if fill(before, min(ready, int(st[s + ALLOWED])), par, p, st, s, now, dt):
            st[s + PHASE], st[s + TURNS] = RUN, st[s + U]
    elif st[s + PHASE] == RUN and regulated and not restart:
        follow_load(v, q, ops, o, r, par, p, st, s, now, dt, before, single)
    else:
        begin_timers(st, s, st[s + LOCKED])
    running = choose_pumps(v, q, ops, o, r, par, p, st, s, now, single)
    only = int(st[s + LEADER]) if single else -1
    taken = taken_speed(v, q, ops, r, count, st, t, only)
    state = REGULATING if good else HELD
    if restart and before > 0:
        synchronise(par, p, st, s)
    elif st[s + PHASE] == RUN and before == 0:
        begin(par, p, st, s, taken, start_speed(par, p, st, s))
    elif st[s + PHASE] == RUN:
        state = set_speed(par, p, st, s, now, dt, good, blind, taken)
    ask_pumps(v, q, ops, o, r, par, p, st, s, only)
    publish(v, q, ops, o, i, par, p, st, s, now, phase_state(v, ops, o, r, count, st, s, state),
            running, good)  # fmt: skip


def forget_timers(st: Floats, s: int) -> None:
    """After a gap whatever must last begins anew: nobody looked meanwhile."""
    st[s + BAD_SINCE], st[s + FLOW_BAD], st[s + SUCTION_BAD] = nan, nan, nan
    st[s + SUCTION_AT], st[s + SUCTION_BACK], st[s + WAKE_AT] = nan, nan, nan
    st[s + OVER_AT], st[s + RATED_AT], st[s + LOW_AT] = nan, nan, nan
    st[s + FILL_STILL], st[s + FILL_READY], st[s + FILL_ALL] = nan, nan, nan


def adopt(
    v: Floats, q: Bits, ops: Index, r: int, count: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> bool:  # fmt: skip
    """Take over what runs, at the speed it reads back; False while that is not known yet."""
    known, speed, running = True, nan, 0
    for k in range(count):
        pump, o = s + PUMPS + k * PUMP_STATES, r + k * PUMP_OPERANDS
        known = adopt_pump(v, q, ops, o, st, pump) and known
        actual = ops[o + SPEED + ACTUAL]
        if st[pump + WANTED] == 1.0:
            running += 1
            if usable(v, q, actual):
                speed = v[actual] if isnan(speed) else max(speed, v[actual])
    if not known and not lasted(st, s + WAIT, True, now, START_WAIT):
        return False
    st[s + WAIT] = nan
    st[s + U] = lowest_speed(par, p, st, s) if isnan(speed) else clip(speed, 0.0, 100.0)
    st[s + TURNS], st[s + SWAP] = st[s + U], nan
    begin_timers(st, s, now)
    if isnan(st[s + LEADER]):
        st[s + LEADER], st[s + LEAD_RUN] = -1.0, 0.0
    if running > 0:
        st[s + STAGE] = min(float(running), par[p + DUTY])
        if st[s + PHASE] != FILL:
            st[s + PHASE] = RUN
    elif st[s + PHASE] != SLEEP:
        st[s + PHASE] = CHECK
    return True


def watch(
    v: Floats, q: Bits, ops: Index, o: int, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float, good: bool,
) -> int:  # fmt: skip
    """Bring state and running hours of each pump up to date; gives how many were to run."""
    wanted = 0
    reset = reset_asked(v, ops[i + RESET_CELL])
    reset = reset or (usable(v, q, ops[i + RESET]) and v[ops[i + RESET]] != 0.0)
    if reset and gain_factor(st, s + HUNTING) < 1.0:
        tune_anew(st, s + HUNTING)
        synchronise(par, p, st, s)
    low = good and st[s + PF] < st[s + GOAL] - LOW
    low = low and spare_pumps(v, ops, o + SHOWN, int(par[p + N]), st, s + PUMPS) > 0
    for k in range(int(par[p + N])):
        r, t = i + INPUT_COUNT + k * PUMP_OPERANDS, s + PUMPS + k * PUMP_STATES
        state, hours = ops[o + SHOWN + 2 * k], ops[o + SHOWN + 2 * k + 1]
        if reset:
            unlock(v, q, ops, r, st, t)
        code = pump_state(v, q, ops, r, st, t, now, par[p + START_TIME], low)
        count_hours(v, q, ops, r, st, t, code, dt)
        v[state], q[state] = code, 0
        v[hours], q[hours] = st[t + HOURS], 0
        wanted += 1 if st[t + WANTED] == 1.0 or code == FORCED else 0
    see_outage(v, q, ops, i + INPUT_COUNT, int(par[p + N]), st, s + PUMPS, now)
    out = retry_failed(
        v, ops, o + SHOWN, int(par[p + N]), st, s + PUMPS, par[p + DUTY], now, par[p + RETRY]
    )
    show(v, q, ops[o + LOCKOUTS], float(out))
    return wanted


def follow_load(
    v: Floats, q: Bits, ops: Index, o: int, r: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float, running: int, single: bool,
) -> None:  # fmt: skip
    """In RUN with pressure and speed in our hands: more or fewer pumps, another lead, sleep."""
    t, count, most = s + PUMPS, int(par[p + N]), int(st[s + ALLOWED])
    st[s + STAGE] = min(st[s + STAGE], float(most))
    if not single:
        learn_head(par, p, st, s, now)
    lead = int(st[s + LEADER])
    if lead < 0 or running == 0:
        return
    if isnan(st[s + SWAP]):
        stage(running, most, par, p, st, s, now, single)
    rotate(v, q, ops, o, r, count, par, p, st, s, t, now, dt, single)
    ours = st[t + lead * PUMP_STATES + WANTED] == 1.0
    alone = running == 1 and st[s + STAGE] == 1.0 and isnan(st[s + SWAP]) and ours
    if falls_asleep(alone, par, p, st, s, now):
        st[s + PHASE] = SLEEP
        fall_asleep(st, s, now)


def choose_pumps(
    v: Floats, q: Bits, ops: Index, o: int, r: int,
    par: Floats, p: int, st: Floats, s: int, now: float, single: bool,
) -> int:  # fmt: skip
    """Start and stop pumps for the phase and the stage; gives how many run."""
    count, t, lead = int(par[p + N]), s + PUMPS, int(st[s + LEADER])
    active = st[s + PHASE] == RUN or st[s + PHASE] == FILL
    if not active:
        st[s + SWAP] = nan
    wanted = int(min(st[s + STAGE], st[s + ALLOWED])) if active else 0
    extra = 0 if isnan(st[s + SWAP]) else 1
    fixed = par[p + LEAD] == 1.0
    before = wanted_pumps(count, st, t)
    running = choose(v, q, ops, r, o + SHOWN, count, st, t, wanted + extra, fixed, lead, single)
    after = wanted_pumps(count, st, t)
    if after & ~before != 0:
        started(st, s, now)
    if active and running < wanted:
        st[s + STAGE] = max(1.0, float(running))
    leads = leader(ops, r, count, st, t, lead, single)
    if leads != lead:
        st[s + LEADER], st[s + LEAD_RUN] = float(leads), 0.0
    return running


def ask_pumps(
    v: Floats, q: Bits, ops: Index, o: int, r: int,
    par: Floats, p: int, st: Floats, s: int, only: int,
) -> None:  # fmt: skip
    """Ask each pump for run and speed; in `single_vfd` all but the lead, and the one that takes
    the lead over, turn at full speed."""
    sensor = ops[r - INPUT_COUNT + (PV2 if st[s + SENSOR] == 2.0 else PV)]
    for k in range(int(par[p + N])):
        own = v[ops[o + SHOWN + 2 * k]]
        speed = st[s + U] if only < 0 or k == only or k == st[s + SWAP] else FULL_SPEED
        command(
            v, q, ops, r + k * PUMP_OPERANDS, st, s + PUMPS + k * PUMP_STATES, own, speed, q[sensor]
        )


def publish(
    v: Floats, q: Bits, ops: Index, o: int, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float, state: int, running: int, good: bool,
) -> None:  # fmt: skip
    """The points of the group, in the order of the layout."""
    sensor = ops[i + (PV2 if st[s + SENSOR] == 2.0 else PV)]
    s0 = no_flow_speed(par, p, st, s)
    lower = limit_speed(running, par, p, st, s, par[p + MODE] == SINGLE_VFD)
    why = st[s + SLEEP_WHY] if now < st[s + SLEEP_AFTER] else 0.0
    show(v, q, ops[o + STATE], state)
    show(v, q, ops[o + SPEED_REF], st[s + U] if running > 0 else 0.0)
    show(v, q, ops[o + PRESSURE], st[s + PF] if good else nan)
    q[ops[o + PRESSURE]] |= q[sensor]
    show(v, q, ops[o + SETPOINT], st[s + RAMPED])
    show(v, q, ops[o + COUNT], running)
    show(v, q, ops[o + SENSOR_USED], st[s + SENSOR])
    show(v, q, ops[o + NO_FLOW], s0)
    show(v, q, ops[o + DESTAGE], lower)
    show(v, q, ops[o + WAKES_SHOWN], wakes_in_hour(st, s, now))
    show(v, q, ops[o + SLEEP_OFF], why)
    show(v, q, ops[o + GAIN_SHOWN], gain_factor(st, s + HUNTING))
    show(v, q, ops[o + PROTECTION], 1.0 if st[s + PHASE] == TRIP else 0.0)


def show(v: Floats, q: Bits, at: int, value: float) -> None:
    """Publish a number; NaN is nothing that anybody knows."""
    v[at], q[at] = value, NEVER if isnan(value) else 0


_PUMP_OPTIONS = {"pressure": "booster.pressure", "setpoint": "0.40 MPa", "filter": "0s"}

BOOSTER = Kind(
    name="booster",
    model=Booster,
    step=booster_step,
    text=Text("恒压变频供水", "constant-pressure booster set"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=published,
    states=lambda model: PUMPS + PUMP_STATES * len(model.pumps),
    keeps=memory,
    alarms=alarms,
    resettable=lambda _: True,
    urges=lambda model: tuple(Urge(pump.run, "protection", 0.0) for pump in model.pumps),
    advice=advice,
    examples=(
        Example(
            "pump 1 is adopted at its speed; when it trips, pump 2 starts in the same step",
            {**_PUMP_OPTIONS, "pumps": ["b.p1", "b.p2"]},
            (
                (
                    0.0,
                    {"booster.pressure": 0.4, "b.p1.run": 1.0, "b.p1.speed": 82.0, "b.p2.run": 0.0,
                     "b.p2.speed": 0.0, "b.p1.running": 1.0, "b.p2.running": 0.0,
                     "b.p1.fault": 0.0, "b.p2.fault": 0.0},
                    {"b.p1.run": 1.0, "b.p1.speed": 82.0, "b.p2.run": 0.0, "speed": 82.0,
                     "running": 1.0},
                ),
                (0.5, {}, {"b.p1.run": 1.0, "b.p1.speed": 82.0, "state": REGULATING}),
                (1.0, {"b.p1.fault": 1.0, "b.p1.running": 0.0},
                 {"b.p1.run": 0.0, "b.p2.run": 1.0, "b.p2.speed": 82.0, "pump1": TRIPPED}),
                (1.5, {"b.p2.running": 1.0}, {"pump2": RUNNING, "running": 1.0}),
            ),
        ),
        Example(
            "of three pumps the one with the fewest hours starts (domain §1.17)",
            {**_PUMP_OPTIONS, "pumps": [
                {"run": f"b.p{i}.run", "speed": f"b.p{i}.speed", "running": f"b.p{i}.running",
                 "hours": f"b.p{i}.hours"} for i in (1, 2, 3)
            ]},
            (
                (
                    0.0,
                    {"booster.pressure": 0.4, "b.p1.running": 0.0, "b.p2.running": 0.0,
                     "b.p3.running": 0.0, "b.p1.hours": 1205.5, "b.p2.hours": 1180.0,
                     "b.p3.hours": 1190.2},
                    {"b.p1.run": 0.0, "b.p2.run": 1.0, "b.p3.run": 0.0, "pump2": STOPPED,
                     "running": 1.0},
                ),
                (0.5, {"b.p2.running": 1.0}, {"pump2": RUNNING, "pump1_hours": 1205.5}),
            ),
        ),
        Example(
            "proportional pressure (domain §1.10): 0.3438 MPa at 6 m³/h, 0.355 at 12",
            {**_PUMP_OPTIONS, "pumps": ["b.p1"], "flow": "booster.flow", "friction": "0.06 MPa",
             "design_flow": "24 m³/h"},
            (
                (0.0, {"booster.pressure": 0.34, "booster.flow": 6.0, "b.p1.run": 1.0,
                       "b.p1.speed": 80.0, "b.p1.running": 1.0, "b.p1.fault": 0.0},
                 {"setpoint": 0.34}),
                (0.5, {}, {"setpoint": 0.34375}),
                (1.0, {"booster.flow": 12.0}, {"setpoint": 0.35375}),
                (1.5, {}, {"setpoint": 0.355}),
            ),
        ),
    ),
)  # fmt: skip
