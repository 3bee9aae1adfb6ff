"""Cooling-tower fans: leaving water on a setpoint that follows the wet bulb (domain §1.16).

Fans on drives share one speed (many slow fans need less than few fast ones); others are switched in
stages. Basin make-up and heater too. Vibration is `tower_guard.py`'s. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import Example, Kind, is_off, is_on, usable
from edge.blocks.motor import (
    HOURS,
    NOT_AUTO,
    RUNNING,
    WANTED,
    adopt_motor,
    available,
    forgive,
    motor_memory,
    motor_state,
    turns,
)
from edge.blocks.output import ACTUAL, DECIDED, OURS, OWNER, ask, present, show
from edge.blocks.pid import clip
from edge.blocks.ramp import toward
from edge.blocks.timing import ROUNDING, lasted
from edge.blocks.tower_model import CoolingTower
from edge.blocks.tower_shown import (
    FALLBACK,
    FREEZE,
    FREEZE_BLIND,
    HELD,
    IDLE,
    NO_FAN,
    OFF,
    REGULATING,
    SHOWN,
    STAGED,
    WAITING,
    tower_alarms,
    tower_points,
)
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, NEVER
from edge.image.slots import Slot
from edge.text import Text

_MAKEUP, _HEATER, _RESULTS = 0, 4, 8
_STATE, _SETPOINT, _SPEED, _STAGE, _RUNNING, _PERMITTED = range(SHOWN)
_LEAVING, _WET, _ENABLE, _BASIN, _BASIN_T, _RESET, _INPUTS = range(7)
(_N, _BANDS, _SP_MIN, _APPROACH, _SP, _KP, _TI, _LEAST, _SLEW, _HYST, _STAGE_TIME, _UP_DELAY,
 _COAST, _FREEZE, _FALLBACK, _HOLD, _START_TIME, _RETRY, _LOW, _HIGH_LEVEL, _STOP, _HEAT,
 _OWN) = range(23)  # fmt: skip
_RUN, _VFD, _FAST, _MOTOR, _CELL = 0, 4, 8, 12, 15  # operands of a cell
(_U, _I, _GOAL, _BAD_SINCE, _WET_BAD, _CHANGED, _STG, _COLD, _FILLS, _HEATS, _WAIT,
 _ASKED, _WATER, _LEVEL_BAD, _COLD_BAD, _CELLS) = range(16)  # fmt: skip
_LEVEL, _FREE_AT, _HAD, _CELL_STATES = 4, 5, 6, 7  # of a cell, after those of a motor
THAWED = 2.0  # K above `freeze` until the fans may run again
STEP = 0.5  # % of speed: less is not asked for, drives wear out by writes too
START_WAIT = 30.0  # s for the first feedback of every fan


def cooling_tower_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Look at water and fans, regulate or stage, ask.

    What turns is adopted at its speed. A bad leaving temperature holds the fans for `hold`, then
    drives run at the fallback speed, those that stood too, and stages stay; against freezing it is
    taken for the wet bulb + approach. A bad wet bulb keeps the setpoint for so long.
    """
    count = int(par[p + _N])
    shown = o + _RESULTS + SHOWN
    i = shown + 2 * count
    r, t = i + _INPUTS, s + _CELLS
    restart = dt == 0.0 or isnan(st[s + _U])
    if restart and not adopt_tower(v, q, ops, r, count, par, p, st, s, now):
        st[s + _U] = nan  # adopt in the next run, too
        show(v, q, ops[o + _RESULTS + _STATE], float(WAITING))
        return
    free = watch_fans(v, q, ops, i, shown, count, par, p, st, s, now, dt)
    goal = aim_at(v, q, ops, i, par, p, st, s, now)
    good = usable(v, q, ops[i + _LEAVING])
    water = v[ops[i + _LEAVING]]
    off = is_off(v, q, ops[i + _ENABLE])
    blind = lasted(st, s + _BAD_SINCE, not good, now, par[p + _HOLD])
    wet = ops[i + _WET]
    if good or (blind and usable(v, q, wet)):
        thaw = par[p + _FREEZE] + (THAWED if st[s + _COLD] == 1.0 else 0.0)
        likely = water if good else v[wet] + par[p + _APPROACH]
        st[s + _COLD] = 1.0 if likely < thaw else 0.0
    drives = ops[r + _VFD + ACTUAL] != ops[r + _VFD + DECIDED]
    stages = count * (1 if ops[r + _FAST + ACTUAL] == ops[r + _FAST + DECIDED] else 2)
    error = water - goal if good else nan
    if off or st[s + _COLD] == 1.0:
        stop_all(st, s, count, par, p, now)
        state = OFF if off else FREEZE if good else FREEZE_BLIND
    elif free == 0:
        stop_all(st, s, count, par, p, now)
        state = NO_FAN
    elif drives:
        state = regulate_fans(v, q, ops, r, shown, count, error, blind, par, p, st, s, now, dt)
    else:
        state = stage_fans(v, ops, shown, count, stages, error, par, p, st, s, now)
    speed = st[s + _U]
    if not abs(speed - st[s + _ASKED]) < STEP or speed in (par[p + _LEAST], 100.0):
        st[s + _ASKED] = speed
    for k in range(count):
        cell, m = r + k * _CELL, t + k * _CELL_STATES
        command_fan(v, q, ops, cell, drives, v[ops[shown + 2 * k]], par, p, st, s, m, now)
    basin(v, q, ops, o, i, par, p, st, s, now)
    publish_tower(v, q, ops, o, shown, count, state, drives, st, s)


def adopt_tower(
    v: Floats, q: Bits, ops: Index, r: int, count: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> bool:  # fmt: skip
    """Take over what turns, at the speed it reads back; False while that is not known yet."""
    known, speed, stage = True, nan, 0.0
    for k in range(count):
        m, cell = s + _CELLS + k * _CELL_STATES, r + k * _CELL
        known = adopt_motor(v, q, ops, cell, cell + _MOTOR, st, m) and known
        fast = present(v, q, ops, cell + _FAST) > 0.5
        st[m + _LEVEL] = 2.0 if fast else st[m + WANTED]
        st[m + _HAD], st[m + _FREE_AT] = st[m + _LEVEL], now
        stage += st[m + _LEVEL]
        own = present(v, q, ops, cell + _VFD)
        if st[m + WANTED] == 1.0 and own > 0.0:
            speed = own if isnan(speed) else max(speed, own)
    if not known and not lasted(st, s + _WAIT, True, now, START_WAIT):
        return False
    st[s + _WAIT], st[s + _BAD_SINCE], st[s + _WET_BAD] = nan, nan, nan
    st[s + _LEVEL_BAD], st[s + _COLD_BAD] = nan, nan  # nobody looked meanwhile
    if isnan(speed) and stage > 0.0:
        speed = par[p + _LEAST]  # turns, and nobody knows how fast
    st[s + _U] = 0.0 if isnan(speed) else clip(speed, par[p + _LEAST], 100.0)
    st[s + _I], st[s + _STG] = nan, stage
    if isnan(st[s + _CHANGED]):
        st[s + _CHANGED] = now - par[p + _STAGE_TIME] if stage == 0.0 else now
    st[s + _COLD] = 0.0 if isnan(st[s + _COLD]) else st[s + _COLD]
    return True


def watch_fans(
    v: Floats, q: Bits, ops: Index, i: int, shown: int, count: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> int:  # fmt: skip
    """Bring state and hours of each fan up to date; gives how many are available."""
    free = 0
    reset = is_on(v, q, ops[i + _RESET])
    for k in range(count):
        cell, m = i + _INPUTS + k * _CELL, s + _CELLS + k * _CELL_STATES
        forgive(st, m, now, par[p + _RETRY], reset)
        driven, owner = v[ops[cell + _RUN + DECIDED]], v[ops[cell + _RUN + OWNER]]
        if v[ops[cell + _FAST + DECIDED]] > 0.5:
            driven, owner = 1.0, v[ops[cell + _FAST + OWNER]]
        f = cell + _MOTOR
        start = par[p + _START_TIME]
        trip = is_on(v, q, ops[f + 1])
        code = motor_state(v, q, ops, f, driven, owner, st, m, now, start, False, trip, False)
        st[m + HOURS] += dt / 3600.0 if turns(v, q, ops, f, code) else 0.0
        free += 1 if available(code) else 0
        show(v, q, ops[shown + 2 * k], float(code))
        show(v, q, ops[shown + 2 * k + 1], st[m + HOURS])
    return free


def aim_at(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, st: Floats, s: int, now: float
) -> float:  # fmt: skip
    """SP = max(SP_min, wet bulb + approach)."""
    wet = ops[i + _WET]
    if usable(v, q, wet):
        st[s + _WET_BAD] = nan
        st[s + _GOAL] = max(par[p + _SP_MIN], v[wet] + par[p + _APPROACH])
    elif lasted(st, s + _WET_BAD, True, now, par[p + _HOLD]) or isnan(st[s + _GOAL]):
        st[s + _GOAL] = par[p + _SP]
    return float(st[s + _GOAL])


def stop_all(st: Floats, s: int, count: int, par: Floats, p: int, now: float) -> None:
    """Every fan off; the next start is a start."""
    if st[s + _U] > 0.0 or st[s + _STG] > 0.0:
        st[s + _CHANGED] = now
    st[s + _U], st[s + _I], st[s + _STG] = 0.0, nan, 0.0
    for k in range(count):
        m = s + _CELLS + k * _CELL_STATES
        st[m + WANTED], st[m + _LEVEL] = 0.0, 0.0


def regulate_fans(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, count: int, error: float, blind: bool,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> int:  # fmt: skip
    """All available fans at one speed; on and off no more often than every `stage_time`."""
    rested = now - st[s + _CHANGED] >= par[p + _STAGE_TIME] - ROUNDING
    least, speed, state = par[p + _LEAST], st[s + _U], REGULATING
    taken = taken_over(v, q, ops, r, shown, count, st, s)
    if not isnan(taken):
        speed, st[s + _I] = taken, nan
    elif speed <= 0.0:
        if rested and (blind or error >= 0.5 * par[p + _HYST]):
            speed, st[s + _I], st[s + _CHANGED] = least, nan, now
        if isnan(error):
            state = FALLBACK if blind else HELD
        elif speed <= 0.0:
            state = IDLE
    elif isnan(error):
        state = FALLBACK if blind else HELD
        if blind:
            speed = toward(
                speed, max(par[p + _FALLBACK], least), par[p + _SLEW] * dt, par[p + _SLEW] * dt
            )
        st[s + _I] = nan
    elif isnan(st[s + _I]):
        st[s + _I] = speed - par[p + _KP] * error
    else:
        u = par[p + _KP] * error + st[s + _I]
        most = par[p + _SLEW] * dt
        speed = toward(speed, clip(u, least, 100.0), most, most)
        st[s + _I] += (par[p + _KP] * error + speed - u) * dt / par[p + _TI]
        if speed <= least and error <= -par[p + _HYST] and rested:
            speed, st[s + _I], st[s + _CHANGED] = 0.0, nan, now
            state = IDLE
    st[s + _U] = speed
    for k in range(count):
        m = s + _CELLS + k * _CELL_STATES
        runs = speed > 0.0 and available(v[ops[shown + 2 * k]])
        st[m + WANTED] = 1.0 if runs else 0.0
        st[m + _LEVEL] = st[m + WANTED]
    return state


def taken_over(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, count: int, st: Floats, s: int
) -> float:  # fmt: skip
    """The speed to follow while no running fan takes ours; NaN when one does, or none runs."""
    speed = nan
    for k in range(count):
        cell, m = r + k * _CELL + _VFD, s + _CELLS + k * _CELL_STATES
        if st[m + WANTED] != 1.0 or not available(v[ops[shown + 2 * k]]):
            continue
        owner, decided = v[ops[cell + OWNER]], v[ops[cell + DECIDED]]
        if not (0.0 < owner < OURS) or isnan(decided):
            return nan
        speed = decided if isnan(speed) or decided > speed else speed
    return speed


def stage_fans(
    v: Floats, ops: Index, shown: int, count: int, stages: int, error: float,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """One stage up above +½ hysteresis, one down below -½, `stage_time` between any two.

    Every fan at low speed comes before the first at high speed; the fan with the least hours goes
    first, the one with the most stops first.
    """
    rested = now - st[s + _CHANGED] >= par[p + _STAGE_TIME] - ROUNDING
    have = 0.0
    for k in range(count):
        m = s + _CELLS + k * _CELL_STATES
        if not available(v[ops[shown + 2 * k]]):
            st[m + _LEVEL] = 0.0
        have += st[m + _LEVEL]
    step = 0
    if rested and error >= 0.5 * par[p + _HYST] and have < stages:
        step = 1
    elif rested and error <= -0.5 * par[p + _HYST] and have > 0.0:
        step = -1
    if step != 0:
        k = next_fan(v, ops, shown, count, step, stages // count, st, s)
        if k >= 0:
            st[s + _CELLS + k * _CELL_STATES + _LEVEL] += step
            st[s + _CHANGED], have = now, have + step
    for k in range(count):
        m = s + _CELLS + k * _CELL_STATES
        st[m + WANTED] = 1.0 if st[m + _LEVEL] > 0.0 else 0.0
    st[s + _STG] = have
    if isnan(error):
        return HELD
    return STAGED if have > 0.0 else IDLE


def next_fan(
    v: Floats, ops: Index, shown: int, count: int, step: int, most: int, st: Floats, s: int
) -> int:  # fmt: skip
    """The fan to bring up (lowest level, then least hours) or down (highest, most), -1 for none."""
    best = -1
    for k in range(count):
        m, b = s + _CELLS + k * _CELL_STATES, s + _CELLS + max(best, 0) * _CELL_STATES
        level = st[m + _LEVEL] + step
        if not available(v[ops[shown + 2 * k]]) or level < 0.0 or level > most:
            continue
        ahead = step * (st[b + _LEVEL] - st[m + _LEVEL])
        if ahead == 0.0:
            ahead = step * (st[b + HOURS] - st[m + HOURS])
        if best < 0 or ahead > 0.0:
            best = k
    return best


def command_fan(
    v: Floats, q: Bits, ops: Index, cell: int, drives: bool, state: float,
    par: Floats, p: int, st: Floats, s: int, m: int, now: float,
) -> None:  # fmt: skip
    """Ask for run and speed, or for one of two contactors: never both, with a pause between."""
    if state == NOT_AUTO:
        ask(v, q, ops, cell + _RUN, nan, 0)
        ask(v, q, ops, cell + _VFD, nan, 0)
        ask(v, q, ops, cell + _FAST, nan, 0)
        st[m + _FREE_AT], st[m + _HAD] = now, 0.0
        return
    level = st[m + _LEVEL]
    if level != st[m + _HAD] and st[m + _HAD] > 0.0 and level > 0.0:
        pause = par[p + _UP_DELAY] if level > st[m + _HAD] else par[p + _COAST]
        st[m + _FREE_AT] = now + pause
    st[m + _HAD] = level
    low, fast = present(v, q, ops, cell + _RUN) > 0.5, present(v, q, ops, cell + _FAST) > 0.5
    waits = now < st[m + _FREE_AT] - ROUNDING
    ask(v, q, ops, cell + _RUN, 1.0 if level == 1.0 and not waits and not fast else 0.0, 0)
    ask(v, q, ops, cell + _FAST, 1.0 if level == 2.0 and not waits and not low else 0.0, 0)
    if drives:
        own = skipped(st[s + _ASKED], par, p) if st[m + WANTED] == 1.0 else 0.0
        ask(v, q, ops, cell + _VFD, own, 0)


def skipped(speed: float, par: Floats, p: int) -> float:
    """`speed`, or the nearer edge of the band that it lies in."""
    at = p + _OWN
    for k in range(int(par[p + _BANDS])):
        low, high = par[at + 2 * k], par[at + 2 * k + 1]
        if low < speed < high:
            return float(low if speed < 0.5 * (low + high) else high)
    return speed


def basin(
    v: Floats, q: Bits, ops: Index, o: int, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> None:  # fmt: skip
    """Make-up between two levels, the heater below 4 °C and only under water, the permissive.

    Valve and heater begin as they stand. A bad input leaves them for `hold`, then they are
    withdrawn and a pump is not permitted: a single lost answer stops nothing.
    """
    level, cold = ops[i + _BASIN], ops[i + _BASIN_T]
    dark = lost_for(v, q, level, par, p, st, s + _LEVEL_BAD, now)
    if usable(v, q, level):
        height = v[level]
        if height < par[p + _STOP]:
            st[s + _WATER] = 0.0
        elif height >= par[p + _LOW] or isnan(st[s + _WATER]):
            st[s + _WATER] = 1.0
        fills = present(v, q, ops, o + _MAKEUP) > 0.5 if isnan(st[s + _FILLS]) else False
        fills = fills or st[s + _FILLS] == 1.0 or height < par[p + _LOW]
        st[s + _FILLS] = 1.0 if fills and height < par[p + _HIGH_LEVEL] else 0.0
    elif dark:
        st[s + _WATER], st[s + _FILLS] = 0.0, nan
    if usable(v, q, cold):
        heats = present(v, q, ops, o + _HEATER) > 0.5 if isnan(st[s + _HEATS]) else False
        limit = par[p + _HEAT] + (THAWED if heats or st[s + _HEATS] == 1.0 else 0.0)
        st[s + _HEATS] = 1.0 if v[cold] < limit else 0.0
    elif lost_for(v, q, cold, par, p, st, s + _COLD_BAD, now):
        st[s + _HEATS] = nan
    wet = st[s + _WATER] != 0.0  # without a level nobody asks for it
    ask(v, q, ops, o + _MAKEUP, st[s + _FILLS], q[level])
    ask(v, q, ops, o + _HEATER, st[s + _HEATS] if wet else 0.0, q[cold])
    show(v, q, ops[o + _RESULTS + _PERMITTED], 1.0 if wet else 0.0)


def lost_for(
    v: Floats, q: Bits, k: int, par: Floats, p: int, st: Floats, timer: int, now: float
) -> bool:  # fmt: skip
    """Whether an input has been bad for `hold`; one that was never read is not."""
    bad = not usable(v, q, k) and q[k] & BAD != NEVER
    return lasted(st, timer, bad, now, par[p + _HOLD])


def publish_tower(
    v: Floats, q: Bits, ops: Index, o: int, shown: int, count: int, state: int, drives: bool,
    st: Floats, s: int,
) -> None:  # fmt: skip
    """State, setpoint, common speed, stage, and how many fans run."""
    running = 0
    for k in range(count):
        running += 1 if v[ops[shown + 2 * k]] == RUNNING else 0
    show(v, q, ops[o + _RESULTS + _STATE], float(state))
    show(v, q, ops[o + _RESULTS + _SETPOINT], st[s + _GOAL])
    show(v, q, ops[o + _RESULTS + _SPEED], st[s + _U])
    show(v, q, ops[o + _RESULTS + _STAGE], st[s + _STG])
    show(v, q, ops[o + _RESULTS + _RUNNING], float(running))


_VFD_CELLS = [{"run": f"ct.f{i}", "speed": f"ct.s{i}", "running": f"ct.r{i}"} for i in (1, 2)]
_STILL = {f"ct.{name}{i}": 0.0 for name in "fsr" for i in (1, 2)}

COOLING_TOWER = Kind(
    name="cooling_tower",
    model=CoolingTower,
    step=cooling_tower_step,
    text=Text("冷却塔风机", "cooling-tower fans"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=tower_points,
    states=lambda model: _CELLS + _CELL_STATES * len(model.cells),
    keeps=lambda model: motor_memory(model.cells, _CELLS, _CELL_STATES),
    alarms=tower_alarms,
    examples=(
        Example(
            "wet bulb 26 °C: the setpoint is 30 °C; at 33 °C both fans start at one speed",
            {"leaving": "ct.leaving", "wet_bulb": "ct.wet", "cells": _VFD_CELLS},
            (
                (0.0, {**_STILL, "ct.leaving": 33.0, "ct.wet": 26.0},
                 {"setpoint": 30.0, "ct.f1": 1.0, "ct.f2": 1.0, "ct.s1": 30.0, "ct.s2": 30.0}),
                (0.5, {"ct.r1": 1.0, "ct.r2": 1.0}, {"ct.s1": 30.0, "ct.s2": 30.0}),
                (1.0, {}, {"ct.s1": 30.0, "ct.s2": 30.0, "state": REGULATING}),
                (1.5, {"ct.leaving": 34.0}, {"ct.s1": 30.5, "ct.s2": 30.5}),
                (2.0, {"ct.leaving": 4.9}, {"ct.f1": 0.0, "ct.s2": 0.0, "state": FREEZE}),
            ),
            tolerance=0.2,
        ),
    ),
)  # fmt: skip
