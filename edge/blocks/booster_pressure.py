"""A booster's pressure: sensors, setpoint, PI control with suction limit, speed without a sensor.

It says how fast the pumps should turn, not how many of them. Called by the booster's step.
"""

from __future__ import annotations

from math import exp, isnan, nan, sqrt

from edge.blocks.booster_layout import (
    BOOST_AT,
    DEADBAND,
    DESIGN_FLOW,
    FALLBACK,
    FALLBACK_SPEED,
    FILTER,
    FLOW,
    FLOW_BAD,
    FLOW_IN,
    FOLLOWING,
    FRICTION,
    GOAL,
    HEAD,
    HELD,
    HOLD,
    HOUR_NEXT,
    HOUR_SUM,
    HOUR_TIME,
    HOURLY,
    HOURS_KEPT,
    HUNTING,
    INTEGRAL,
    KP,
    LEARNT,
    MINIMUM,
    MPA_PER_METRE,
    PF,
    PROPORTIONAL,
    PV,
    PV2,
    RAMPED,
    REGULATING,
    SENSOR,
    SLEEP_BOOST,
    SLEW,
    SP,
    SP_RAMP,
    SUCTION,
    SUCTION_BAD,
    SUCTION_I,
    SUCTION_IN,
    SUCTION_SP,
    TI,
    TURNS,
    WAKE,
    U,
)
from edge.blocks.kind import usable
from edge.blocks.oscillation import gain_factor, hunts
from edge.blocks.pid import clip
from edge.blocks.ramp import toward
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index

BLIND_SPEED = 70.0  # % without sensor, configuration or experience: that of pipe filling
BLIND_LIMIT = 95.0  # %: never full speed blind
LEAST_SPEED = 50.0  # %: cooling of the motor
BELOW_NO_FLOW = 5.0  # % under the no-flow speed s0
SUCTION_FILTER = 2.0  # s
SUCTION_GAIN = 0.5  # of kp: the mains do not store as the network does
REACHED = 0.5  # % that a starting pump may still lack when the integral is let go
HOUR, ENOUGH = 3600.0, 60.0  # s


def measure(
    v: Floats, q: Bits, ops: Index, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> bool:  # fmt: skip
    """Filter the pressure (domain §1.1) and ramp the setpoint; whether control is possible.

    At the start, after a bad pressure and with another sensor the ramp begins at the pressure, so
    nothing jumps.
    """
    read_suction(v, q, ops, i, par, p, st, s, now, dt)
    read_setpoint(v, q, ops, i, par, p, st, s, now)
    sensor = 1.0 if usable(v, q, ops[i + PV]) else 2.0 if usable(v, q, ops[i + PV2]) else 0.0
    if sensor == 0.0 or isnan(st[s + GOAL]):
        st[s + SENSOR] = 0.0
        return False
    x = v[ops[i + PV]] if sensor == 1.0 else v[ops[i + PV2]]
    again = dt == 0.0 or isnan(st[s + PF]) or st[s + SENSOR] != sensor
    st[s + SENSOR] = sensor
    if again:
        st[s + PF], st[s + RAMPED] = x, x
        st[s + INTEGRAL], st[s + SUCTION_I] = st[s + U], st[s + U]
        return True
    tau = par[p + FILTER]
    st[s + PF] += (x - st[s + PF]) * (1.0 if tau <= 0.0 else 1.0 - exp(-dt / tau))
    boost = 0.0 if isnan(st[s + BOOST_AT]) else par[p + SLEEP_BOOST]
    step = par[p + SP_RAMP] * dt
    st[s + RAMPED] = toward(st[s + RAMPED], st[s + GOAL] + boost, step, step)
    return True


def read_setpoint(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, st: Floats, s: int, now: float
) -> None:
    """The setpoint, lower at small flows where pressure is proportional; a bad one stays."""
    sp, flow = ops[i + SP], ops[i + FLOW_IN]
    if usable(v, q, flow):
        st[s + FLOW] = v[flow]
        st[s + FLOW_BAD] = nan
    elif lasted(st, s + FLOW_BAD, True, now, par[p + HOLD]):
        st[s + FLOW] = nan
    if usable(v, q, sp):
        st[s + GOAL] = v[sp] - reduction(
            st[s + FLOW], par[p + FRICTION], par[p + DESIGN_FLOW], par[p + PROPORTIONAL] == 0.0
        )


def reduction(flow: float, friction: float, design: float, quadratic: bool) -> float:
    """By how much the pipes' friction is less than at the design flow; 0 when not known."""
    if isnan(flow) or isnan(friction) or isnan(design):
        return 0.0
    share = clip(flow / design, 0.0, 1.0)
    return friction * (1.0 - (share * share if quadratic else share))


def read_suction(
    v: Floats, q: Bits, ops: Index, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """The suction pressure, filtered; a bad one stays for a while, then nobody knows it.

    Always filtered: the mains answer a flow at once, and without it the loop would chatter.
    """
    suction = ops[i + SUCTION_IN]
    if usable(v, q, suction):
        fresh = dt == 0.0 or isnan(st[s + SUCTION])
        share = 1.0 if fresh else 1.0 - exp(-dt / SUCTION_FILTER)
        before = 0.0 if fresh else st[s + SUCTION]
        st[s + SUCTION], st[s + SUCTION_BAD] = before + (v[suction] - before) * share, nan
    elif lasted(st, s + SUCTION_BAD, True, now, par[p + HOLD]):
        st[s + SUCTION] = nan


def gain(st: Floats, s: int, pressure: float) -> float:
    """What the pumps add to the suction pressure to give `pressure`; unknown suction counts as 0,
    as from a break tank."""
    suction = st[s + SUCTION]
    return pressure if isnan(suction) else max(pressure - suction, 0.0)


def error(par: Floats, p: int, st: Floats, s: int) -> float:
    """Setpoint minus pressure, 0 within the dead band."""
    e = st[s + RAMPED] - st[s + PF]
    return 0.0 if abs(e) < par[p + DEADBAND] else float(e)


def kp_now(par: Floats, p: int, st: Floats, s: int) -> float:
    """The gain in use: what is configured, or less since the loop hunted."""
    return float(par[p + KP] * gain_factor(st, s + HUNTING))


def watch_loop(par: Floats, p: int, st: Floats, s: int, now: float, dt: float) -> None:
    """Halve the gain of a loop that hunts; the speed stays as it is."""
    e, kp, c = st[s + RAMPED] - st[s + PF], par[p + KP], s + HUNTING
    if hunts(e, st[s + RAMPED], 100.0, kp, par[p + DEADBAND], par[p + TI], now, dt, st, c):
        synchronise(par, p, st, s)


def synchronise(par: Floats, p: int, st: Floats, s: int) -> None:
    """Set the integrals so that the next output is the present speed (bumpless, §1.2)."""
    e = error(par, p, st, s)
    st[s + INTEGRAL] = st[s + U] - (0.0 if isnan(e) else kp_now(par, p, st, s) * e)
    st[s + SUCTION_I] = st[s + U]


def begin(par: Floats, p: int, st: Floats, s: int, taken: float, speed: float) -> None:
    """Start from standstill at `speed`, with a setpoint that ramps from the present pressure.

    The integral waits until the pump has had the time to come to its speed. A pump that comes back
    from HAND running goes on at its own speed.
    """
    st[s + U] = speed if isnan(taken) else taken
    st[s + TURNS] = 0.0 if isnan(taken) else taken
    st[s + INTEGRAL], st[s + SUCTION_I], st[s + RAMPED] = st[s + U], st[s + U], st[s + PF]


def start_speed(par: Floats, p: int, st: Floats, s: int) -> float:
    """What holds the present pressure at no flow, as far as the pump curve is known."""
    speed = 100.0 * speed_for(gain(st, s, st[s + PF]), par[p + HEAD])
    lowest = lowest_speed(par, p, st, s)
    return lowest if isnan(speed) else clip(speed, lowest, 100.0)


def set_speed(
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
    good: bool, blind: bool, taken: float,
) -> int:  # fmt: skip
    """The common speed of this step: follow, regulate, hold or fall back."""
    if not isnan(taken):
        st[s + U], st[s + TURNS] = taken, taken
        synchronise(par, p, st, s)
        return FOLLOWING
    slew = par[p + SLEW] * dt
    if good:
        regulate_pressure(par, p, st, s, dt, slew)
        watch_loop(par, p, st, s, now, dt)
        remember_speed(st, s, dt)
        return REGULATING
    if blind:
        st[s + U] = toward(st[s + U], fallback_speed(par, p, st, s), slew, slew)
        return FALLBACK
    return HELD


def regulate_pressure(par: Floats, p: int, st: Floats, s: int, dt: float, slew: float) -> None:
    """One step of the PI law (§1.2); the back-calculation sees the slewed output.

    In a direct-connected set a second loop keeps the suction pressure: the lower speed wins and the
    other loop tracks it.
    """
    kp, ti = kp_now(par, p, st, s), par[p + TI]
    part = kp * error(par, p, st, s)
    u = part + st[s + INTEGRAL]
    limited, other, short = u, u, 0.0
    suction = not isnan(par[p + SUCTION_SP]) and not isnan(st[s + SUCTION])
    if suction:
        short = SUCTION_GAIN * kp * (st[s + SUCTION] - par[p + SUCTION_SP])
        other = short + (st[s + U] if isnan(st[s + SUCTION_I]) else st[s + SUCTION_I])
        limited = min(u, other)
    us = toward(st[s + U], clip(limited, lowest_speed(par, p, st, s), 100.0), slew, slew)
    turns = toward(us if isnan(st[s + TURNS]) else st[s + TURNS], us, slew, 100.0)
    if turns >= us - REACHED:
        turns = us
        st[s + INTEGRAL] += (part + us - u) * dt / ti
        if suction:
            integral = st[s + U] if isnan(st[s + SUCTION_I]) else st[s + SUCTION_I]
            st[s + SUCTION_I] = integral + (short + us - other) * dt / ti
    st[s + TURNS], st[s + U] = turns, us


def remember_speed(st: Floats, s: int, dt: float) -> None:
    """Keep the mean speed of each hour of good pressure, for the time when there is no sensor."""
    if abs(st[s + GOAL] - st[s + PF]) >= 0.5 * WAKE:
        return
    if isnan(st[s + HOUR_TIME]):
        st[s + HOUR_TIME], st[s + HOUR_SUM] = 0.0, 0.0
    st[s + HOUR_TIME] += dt
    st[s + HOUR_SUM] += dt * st[s + U]
    if st[s + HOUR_TIME] >= HOUR:
        k = 0 if isnan(st[s + HOUR_NEXT]) else int(st[s + HOUR_NEXT])
        st[s + HOURLY + k] = st[s + HOUR_SUM] / st[s + HOUR_TIME]
        st[s + HOUR_NEXT] = (k + 1) % HOURS_KEPT
        st[s + HOUR_TIME], st[s + HOUR_SUM] = 0.0, 0.0


def usual_speed(st: Floats, s: int) -> float:
    """The median of the last 24 hours of supply; before the first hour is full, its mean so far."""
    count = 0
    for k in range(HOURS_KEPT):
        count += 0 if isnan(st[s + HOURLY + k]) else 1
    if count == 0:
        enough = st[s + HOUR_TIME] >= ENOUGH
        return float(st[s + HOUR_SUM] / st[s + HOUR_TIME]) if enough else nan
    low, high = nan, nan
    for k in range(count):
        below, equal = 0, 0
        for j in range(count):
            below += 1 if st[s + HOURLY + j] < st[s + HOURLY + k] else 0
            equal += 1 if st[s + HOURLY + j] == st[s + HOURLY + k] else 0
        if below <= (count - 1) // 2 < below + equal:
            low = st[s + HOURLY + k]
        if below <= count // 2 < below + equal:
            high = st[s + HOURLY + k]
    return float(0.5 * (low + high))


def lowest_speed(par: Floats, p: int, st: Floats, s: int) -> float:
    """s_min = max(50 %, s0 - 5 %) with the no-flow speed s0 = √(Hs/H0), or as configured."""
    if not isnan(par[p + MINIMUM]):
        return float(par[p + MINIMUM])
    least = 100.0 * speed_for(gain(st, s, st[s + GOAL]), par[p + HEAD]) - BELOW_NO_FLOW
    return LEAST_SPEED if isnan(least) else clip(least, LEAST_SPEED, 100.0)


def fallback_speed(par: Floats, p: int, st: Floats, s: int) -> float:
    """The speed without a pressure: never above the no-flow speed for the setpoint + 10 %."""
    speed = par[p + FALLBACK_SPEED]
    if isnan(speed):
        usual = usual_speed(st, s)
        speed = BLIND_SPEED if isnan(usual) else usual
    most = 100.0 * speed_for(gain(st, s, 1.1 * st[s + GOAL]), head(par, p, st, s))
    most = BLIND_LIMIT if isnan(most) else min(most, BLIND_LIMIT)
    return float(min(max(speed, lowest_speed(par, p, st, s)), most))


def head(par: Floats, p: int, st: Floats, s: int) -> float:
    """H0 as configured, else as learnt from the lowest speed of a day; NaN when not known.

    What was learnt may be too low, never too high: no reason to forbid a lower speed.
    """
    return float(st[s + LEARNT] if isnan(par[p + HEAD]) else par[p + HEAD])


def speed_for(pressure: float, head: float) -> float:
    """Share of full speed at which a pump holds `pressure` at no flow; NaN when not known."""
    return (
        nan if isnan(pressure) or isnan(head) else sqrt(max(pressure, 0.0) / MPA_PER_METRE / head)
    )
