"""Constant-pressure booster set: one group of equal pumps on a common speed (domain §1.10).

Here: PI control, standby cut-in, lost sensor, over-pressure. Not here: staging by load, sleep and
pipe filling; `duty` pumps run as long as there is pressure to keep. Called by the kernel.
"""

from __future__ import annotations

from math import exp, isnan, nan, sqrt
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import AlarmTemplate, Example, Input, Kind, Published, Source, usable
from edge.blocks.output import ACTUAL
from edge.blocks.pid import clip
from edge.blocks.pumps import (
    FEEDBACK,
    FORCED,
    HOURS,
    NOT_AUTO,
    PUMP_OPERANDS,
    PUMP_STATES,
    RUNNING,
    SPEED,
    TRIPPED,
    WANTED,
    Pump,
    adopt_pump,
    choose,
    command,
    forgive,
    pump_alarms,
    pump_points,
    pump_state,
    taken_speed,
)
from edge.blocks.ramp import toward
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import NEVER
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Percent = Annotated[float, Quantity("%"), Field(gt=0, le=100)]
Pressure = Annotated[float, Quantity("MPa"), Field(gt=0)]


class Booster(Model):
    """`kp` is % of speed per MPa, `setpoint_ramp` MPa/s, `slew` %/s. `shutoff_head` is H0: what one
    pump lifts at full speed against a shut valve; with it the lowest speed and the cap of the
    fallback speed follow from the setpoint. `fallback_speed` left out: the usual speed of the last
    hours. `rating` is the pipes' pressure class. Set `filter` to 0 when the input is filtered.
    """

    pressure: Annotated[Source, Input("MPa")]
    setpoint: Annotated[Source, Input("MPa")]
    reset: Annotated[Source | None, Input("")] = None
    pumps: tuple[Pump, ...] = Field(min_length=1, max_length=8)
    duty: Annotated[int, Field(ge=1, le=8)] = 1
    lead: Literal["least_runtime", "fixed"] = "least_runtime"
    kp: Annotated[float, Field(ge=10, le=2000)] = 400.0
    ti: Annotated[Duration, Field(ge=1, le=600)] = 6.0
    setpoint_ramp: Annotated[float, Field(gt=0, le=1)] = 0.02
    deadband: Annotated[float, Quantity("MPa", difference=True), Field(ge=0, le=0.05)] = 0.002
    slew: Annotated[float, Field(gt=0, le=100)] = 10.0
    filter: Annotated[Duration, Field(le=60)] = 2.0
    minimum_speed: Percent | None = None
    shutoff_head: Annotated[float, Quantity("m"), Field(gt=0)] | None = None
    fallback_speed: Annotated[float, Quantity("%"), Field(gt=0, le=95)] | None = None
    sensor_hold: Duration = 30.0
    start_time: Annotated[Duration, Field(ge=1, le=60)] = 5.0
    retry: Duration = 600.0
    over_pressure: Pressure = 0.10
    rating: Pressure | None = None

    @model_validator(mode="after")
    def _enough_pumps(self) -> Self:
        if self.duty > len(self.pumps):
            raise Refusal(
                Text(
                    f"duty 为 {self.duty}, 但只有 {len(self.pumps)} 台泵",
                    f"duty is {self.duty}, but there are only {len(self.pumps)} pumps",
                )
            )
        return self


(REGULATING, HELD, FALLBACK, OVER_PRESSURE, NO_PUMP, FOLLOWING, WAITING) = range(1, 8)

MPA_PER_METRE = 0.00980665
BLIND_SPEED = 70.0  # % without sensor, configuration or experience: that of pipe filling
BLIND_LIMIT = 95.0  # %: never full speed blind
LEAST_SPEED = 50.0  # %: cooling of the motor
BELOW_NO_FLOW = 5.0  # % under the no-flow speed s0
LEARNING = 6 * 3600.0  # s, time constant of the usual speed
LOW = 0.05  # MPa below the setpoint: supply pressure low
WAKE, WAKE_TIME = 0.03, 2.0  # MPa below the setpoint, s: start again after over-pressure
OVER_TIME, RATING_TIME, RATING_SHARE = 3.0, 1.0, 0.9
START_WAIT = 30.0  # s for the first feedback of every pump

_STATE, _SPEED, _PRESSURE, _SETPOINT, _COUNT, _SHOWN = range(6)
_PV, _SP, _RESET, _INPUTS = range(4)
(_N, _DUTY, _LEAD, _KP, _TI, _SP_RAMP, _DEADBAND, _SLEW, _FILTER, _MINIMUM, _HEAD, _FALLBACK,
 _HOLD, _START_TIME, _RETRY, _OVER, _RATING) = range(17)  # fmt: skip
(_I, _U, _RAMPED, _GOAL, _PF, _BAD_SINCE, _OVER_AT, _RATED_AT, _LOW_AT, _ALLOWED, _USUAL, _WAIT,
 _PUMPS) = range(13)  # fmt: skip


def booster_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Measure, look at the pumps, choose who runs, regulate, ask.

    What runs is adopted at the start, with the speed that it reads back. A bad pressure holds the
    speed, then the fallback speed applies; a bad setpoint leaves the last one.
    """
    count = int(par[p + _N])
    inputs = o + _SHOWN + 2 * count
    r, t, shown = inputs + _INPUTS, s + _PUMPS, o + _SHOWN
    pv = ops[inputs + _PV]
    good = measure(v, q, ops, inputs, par, p, st, s, dt)
    blind = lasted(st, s + _BAD_SINCE, not good, now, par[p + _HOLD])
    restart = dt == 0.0 or isnan(st[s + _U])
    if restart and not adopt(v, q, ops, r, count, par, p, st, s, now):
        v[ops[o + _STATE]], q[ops[o + _STATE]] = WAITING, 0
        return
    before = watch(v, q, ops, o, inputs, par, p, st, s, now, dt, good)
    allowed = limit(v[pv], good, blind, par, p, st, s, now)
    running = choose(v, q, ops, r, shown, count, st, t, allowed, par[p + _LEAD] == 1.0)
    taken = taken_speed(v, q, ops, r, count, st, t)
    if restart:
        synchronise(par, p, st, s)
        state = REGULATING if good else HELD
    elif before == 0 or running == 0:
        begin(par, p, st, s, taken)
        state = REGULATING if good else HELD
    else:
        state = set_speed(par, p, st, s, dt, good, blind, taken)
    if running == 0:
        state = idle_state(v, ops, shown, r, count, allowed)
    for i in range(count):
        pump, own = t + i * PUMP_STATES, v[ops[shown + 2 * i]]
        command(v, q, ops, r + i * PUMP_OPERANDS, st, pump, own, st[s + _U], q[pv])
    publish(v, q, ops, o, st, s, state, running, q[pv], good)


def measure(
    v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int, st: Floats, s: int, dt: float
) -> bool:  # fmt: skip
    """Filter the pressure (domain §1.1) and ramp the setpoint; whether control is possible.

    At the start and after a bad pressure the ramp begins at the pressure, so nothing jumps.
    """
    pv, sp = ops[i + _PV], ops[i + _SP]
    if usable(v, q, sp):
        st[s + _GOAL] = v[sp]
    if not usable(v, q, pv) or isnan(st[s + _GOAL]):
        return False
    tau = par[p + _FILTER]
    again = dt == 0.0 or isnan(st[s + _PF]) or not isnan(st[s + _BAD_SINCE])
    if again:
        st[s + _PF], st[s + _RAMPED], st[s + _I] = v[pv], v[pv], st[s + _U]
        return True
    st[s + _PF] += (v[pv] - st[s + _PF]) * (1.0 if tau <= 0.0 else 1.0 - exp(-dt / tau))
    step = par[p + _SP_RAMP] * dt
    st[s + _RAMPED] = toward(st[s + _RAMPED], st[s + _GOAL], step, step)
    return True


def adopt(
    v: Floats, q: Bits, ops: Index, r: int, count: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> bool:  # fmt: skip
    """Take over what runs, at the speed it reads back; False while that is not known yet."""
    known, speed = True, nan
    for i in range(count):
        pump, o = s + _PUMPS + i * PUMP_STATES, r + i * PUMP_OPERANDS
        known = adopt_pump(v, q, ops, o, st, pump) and known
        actual = ops[o + SPEED + ACTUAL]
        if st[pump + WANTED] == 1.0 and usable(v, q, actual):
            speed = v[actual] if isnan(speed) else max(speed, v[actual])
    if not known and not lasted(st, s + _WAIT, True, now, START_WAIT):
        return False
    st[s + _U] = lowest_speed(par, p, st, s) if isnan(speed) else clip(speed, 0.0, 100.0)
    return True


def watch(
    v: Floats, q: Bits, ops: Index, o: int, i: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float, good: bool,
) -> int:  # fmt: skip
    """Bring state and running hours of each pump up to date; gives how many were to run."""
    count, wanted = int(par[p + _N]), 0
    reset = usable(v, q, ops[i + _RESET]) and v[ops[i + _RESET]] != 0.0
    low = good and st[s + _PF] < st[s + _GOAL] - LOW
    for k in range(count):
        r, t = i + _INPUTS + k * PUMP_OPERANDS, s + _PUMPS + k * PUMP_STATES
        state, hours = ops[o + _SHOWN + 2 * k], ops[o + _SHOWN + 2 * k + 1]
        forgive(st, t, now, par[p + _RETRY], reset)
        code = pump_state(v, q, ops, r, st, t, now, par[p + _START_TIME], low)
        feedback = ops[r + FEEDBACK]
        turns = v[feedback] != 0.0 if usable(v, q, feedback) else code == RUNNING
        st[t + HOURS] += dt / 3600.0 if turns else 0.0
        v[state], q[state] = code, 0
        v[hours], q[hours] = st[t + HOURS], 0
        wanted += 1 if st[t + WANTED] == 1.0 or code == FORCED else 0
    return wanted


def limit(
    pressure: float, good: bool, blind: bool, par: Floats, p: int, st: Floats, s: int, now: float
) -> int:  # fmt: skip
    """How many pumps may run: over-pressure stops the lag pumps, then the lead.

    Raw pressure: a filter would only delay it. They come back when the pressure falls, or when it
    is lost: then the fallback speed is bounded.
    """
    duty, goal = par[p + _DUTY], st[s + _GOAL]
    allowed = duty if isnan(st[s + _ALLOWED]) else st[s + _ALLOWED]
    over = good and pressure > goal + par[p + _OVER]
    rated = good and pressure > RATING_SHARE * par[p + _RATING]
    too_long = lasted(st, s + _OVER_AT, over, now, OVER_TIME)
    if lasted(st, s + _RATED_AT, rated, now, RATING_TIME) or too_long:
        allowed = 1.0 if allowed > 1.0 else 0.0
        st[s + _OVER_AT], st[s + _RATED_AT] = nan, nan
    fallen = good and allowed < duty and pressure < goal - WAKE
    if lasted(st, s + _LOW_AT, fallen, now, WAKE_TIME) or blind:
        allowed = duty
    st[s + _ALLOWED] = allowed
    return int(allowed)


def error(par: Floats, p: int, st: Floats, s: int) -> float:
    """Setpoint minus pressure, 0 within the dead band."""
    e = st[s + _RAMPED] - st[s + _PF]
    return 0.0 if abs(e) < par[p + _DEADBAND] else float(e)


def synchronise(par: Floats, p: int, st: Floats, s: int) -> None:
    """Set the integral so that the next output is the present speed (bumpless, §1.2)."""
    e = error(par, p, st, s)
    st[s + _I] = st[s + _U] - (0.0 if isnan(e) else par[p + _KP] * e)


def begin(par: Floats, p: int, st: Floats, s: int, taken: float) -> None:
    """Start from standstill: lowest speed, and a setpoint that ramps from the present pressure.

    A pump that comes back from HAND running goes on at its own speed.
    """
    st[s + _U] = lowest_speed(par, p, st, s) if isnan(taken) else taken
    st[s + _I], st[s + _RAMPED] = st[s + _U], st[s + _PF]


def set_speed(
    par: Floats, p: int, st: Floats, s: int, dt: float, good: bool, blind: bool, taken: float
) -> int:  # fmt: skip
    """The common speed of this step: follow, regulate, hold or fall back."""
    if not isnan(taken):
        st[s + _U] = taken
        synchronise(par, p, st, s)
        return FOLLOWING
    slew = par[p + _SLEW] * dt
    if good:
        regulate_pressure(par, p, st, s, dt, slew)
        return REGULATING
    if blind:
        st[s + _U] = toward(st[s + _U], fallback_speed(par, p, st, s), slew, slew)
        return FALLBACK
    return HELD


def regulate_pressure(par: Floats, p: int, st: Floats, s: int, dt: float, slew: float) -> None:
    """One step of the PI law (§1.2); the back-calculation sees the slewed output."""
    e = error(par, p, st, s)
    u = par[p + _KP] * e + st[s + _I]
    us = toward(st[s + _U], clip(u, lowest_speed(par, p, st, s), 100.0), slew, slew)
    st[s + _I] += (par[p + _KP] * e + us - u) * dt / par[p + _TI]
    st[s + _U] = us
    if abs(st[s + _GOAL] - st[s + _PF]) < 0.5 * WAKE:
        usual = us if isnan(st[s + _USUAL]) else st[s + _USUAL]
        st[s + _USUAL] = usual + (us - usual) * dt / LEARNING


def lowest_speed(par: Floats, p: int, st: Floats, s: int) -> float:
    """s_min = max(50 %, s0 - 5 %) with the no-flow speed s0 = √(Hs/H0), or as configured."""
    if not isnan(par[p + _MINIMUM]):
        return float(par[p + _MINIMUM])
    least = 100.0 * speed_for(st[s + _GOAL], par[p + _HEAD]) - BELOW_NO_FLOW
    return LEAST_SPEED if isnan(least) else max(LEAST_SPEED, least)


def fallback_speed(par: Floats, p: int, st: Floats, s: int) -> float:
    """The speed without a pressure: never above the no-flow speed for the setpoint + 10 %."""
    speed = par[p + _FALLBACK]
    if isnan(speed):
        speed = BLIND_SPEED if isnan(st[s + _USUAL]) else st[s + _USUAL]
    most = 100.0 * speed_for(1.1 * st[s + _GOAL], par[p + _HEAD])
    most = BLIND_LIMIT if isnan(most) else min(most, BLIND_LIMIT)
    return float(min(max(speed, lowest_speed(par, p, st, s)), most))


def speed_for(pressure: float, head: float) -> float:
    """Share of full speed at which a pump holds `pressure` at no flow; NaN when not known."""
    return (
        nan if isnan(pressure) or isnan(head) else sqrt(max(pressure, 0.0) / MPA_PER_METRE / head)
    )


def idle_state(v: Floats, ops: Index, shown: int, r: int, count: int, allowed: int) -> int:
    """Why no pump of ours runs."""
    if allowed == 0:
        return OVER_PRESSURE
    for i in range(count):
        if v[ops[shown + 2 * i]] == NOT_AUTO and v[ops[r + i * PUMP_OPERANDS + FEEDBACK]] == 1.0:
            return FOLLOWING
    return NO_PUMP


def publish(
    v: Floats, q: Bits, ops: Index, o: int,
    st: Floats, s: int, state: int, running: int, bits: int, good: bool,
) -> None:  # fmt: skip
    """State, speed, pressure, setpoint and the number of running pumps."""
    v[ops[o + _STATE]], q[ops[o + _STATE]] = state, 0
    v[ops[o + _SPEED]], q[ops[o + _SPEED]] = st[s + _U] if running > 0 else 0.0, 0
    v[ops[o + _PRESSURE]] = st[s + _PF] if good else nan
    q[ops[o + _PRESSURE]] = bits if good else bits | NEVER
    v[ops[o + _SETPOINT]] = st[s + _RAMPED]
    q[ops[o + _SETPOINT]] = NEVER if isnan(st[s + _RAMPED]) else 0
    v[ops[o + _COUNT]], q[ops[o + _COUNT]] = running, 0


STATES = {
    REGULATING: Text("恒压调节", "regulating"),
    HELD: Text("压力信号坏, 保持转速", "pressure bad, speed held"),
    FALLBACK: Text("压力信号坏, 后备转速", "pressure bad, fallback speed"),
    OVER_PRESSURE: Text("超压停泵", "stopped by over-pressure"),
    NO_PUMP: Text("无可用水泵", "no pump available"),
    FOLLOWING: Text("跟踪: 由他人控制", "following: controlled by another"),
    WAITING: Text("等待水泵回读", "waiting for the pumps' read-back"),
}


def numbers(model: Booster) -> range:
    """Pumps count from 1, as on the cabinet door."""
    return range(1, len(model.pumps) + 1)


def _publishes(model: Booster) -> tuple[Published, ...]:
    group = (
        Published("state", "", Text("供水状态", "state"), STATES),
        Published("speed", "%", Text("公共转速给定", "common speed reference")),
        Published("pressure", "MPa", Text("出口压力(滤波)", "discharge pressure, filtered")),
        Published("setpoint", "MPa", Text("当前设定值", "setpoint in force")),
        Published("running", "", Text("运行台数", "pumps running")),
    )
    return group + tuple(point for i in numbers(model) for point in pump_points(i))


_TANK = Text("查看进水压力和水箱水位", "look at suction pressure and tank level")
_BURST = Text("查有无爆管或大用水", "look for a burst or a large demand")
_POWER = Text("检查电源", "check the power")


def _alarms(model: Booster) -> tuple[AlarmTemplate, ...]:
    pressures = ("{rule}.pressure", "{rule}.setpoint", "{rule}.speed", "{rule}.running")
    no_pump = f"{{rule}}.state == {NO_PUMP}"
    group = (
        AlarmTemplate(
            "{RULE}_P_LOW", f"{{rule}}.pressure < {{rule}}.setpoint - {LOW}", 2,
            Text("供水压力低", "Supply pressure low"),
            (Text("水泵是否运行", "are the pumps running?"), _TANK, _BURST),
            on_delay=10.0, off_delay=30.0, suppressed_by=no_pump, shows=pressures,
        ),
        AlarmTemplate(
            "{RULE}_P_HIGH", f"{{rule}}.pressure > {{rule}}.setpoint + {model.over_pressure}", 2,
            Text("供水超压", "Supply pressure high"),
            (Text("检查减压阀和压力传感器", "check relief valve and sensor"),
             Text("转速是否卡住", "is the speed stuck?"),
             Text("检查止回阀", "check the check valves")),
            on_delay=3.0, off_delay=10.0, shows=pressures,
        ),
        AlarmTemplate(
            "{RULE}_PRESSURE_LOST", f"{{rule}}.state == {HELD} or {{rule}}.state == {FALLBACK}", 2,
            Text("出口压力信号丢失", "Discharge pressure signal lost"),
            (Text("检查压力传感器及其电源", "check the sensor and its supply"),
             Text("检查通信与接线", "check bus and wiring"),
             Text("看就地压力表, 必要时切手动", "read the local gauge; go to HAND if needed")),
            on_delay=10.0, shows=pressures,
            consequence=Text("先保持转速, 30 秒后按后备转速供水",
                             "the speed is held, after 30 s the fallback speed applies"),
        ),
        AlarmTemplate(
            "{RULE}_NO_PUMP_AVAILABLE", no_pump, 1, Text("无可用水泵", "No pump available"),
            (_POWER, Text("能否复位", "is a reset possible?"),
             Text("通知住户停水", "notify the residents")),
            on_delay=1.0, shows=pressures, consequence=Text("停水", "no water"),
        ),
    )  # fmt: skip
    return group + tuple(alarm for i in numbers(model) for alarm in pump_alarms(i))


_PUMP_OPTIONS = {"pressure": "booster.pressure", "setpoint": "0.40 MPa", "filter": "0s"}

BOOSTER = Kind(
    name="booster",
    model=Booster,
    step=booster_step,
    text=Text("恒压变频供水", "constant-pressure booster set"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda model: _PUMPS + PUMP_STATES * len(model.pumps),
    alarms=_alarms,
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
    ),
)  # fmt: skip
