"""Open-loop daylight harvesting: lamps add what daylight by calculation lacks (domain §1.6).

The sensor sees daylight only, from a roof or a window, never the lamps; a sensor that sees them
belongs to `daylight`. Called by the kernel; every function here may be compiled with the step.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated

from pydantic import Field

from edge.blocks.kind import (
    Example,
    Input,
    Kind,
    Published,
    Source,
    Target,
    usable,
)
from edge.blocks.lamps import (
    AT_FALLBACK,
    START_WAIT,
    Percent,
    driven,
    publish,
    sensor_lost,
    taken,
)
from edge.blocks.output import RESULT, ask, lost
from edge.blocks.pid import clip
from edge.blocks.ramp import toward
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration, Quantity
from edge.text import Text


class DaylightOpen(Model):
    """`daylight_factor` is the share of the measured daylight that reaches the task, from two
    readings at different weather; `full_output` what the lamps at 100 % give there at night.

    Without `output` the level is only shown, for `occupancy` to combine. `fallback` is the level
    without a sensor: a number or a point such as a schedule's.
    """

    illuminance: Annotated[Source, Input("lx")]
    output: Annotated[str | None, Target("%")] = None
    setpoint: Annotated[Source, Input("lx")] = 150.0
    fallback: Annotated[Source, Input("%")] = 60.0
    full_output: Annotated[float, Quantity("lx"), Field(gt=0)] = 200.0
    daylight_factor: Annotated[float, Field(ge=0.001, le=0.2)] = 0.02
    minimum: Annotated[Percent, Field(ge=1, le=50)] = 10.0
    up: Annotated[float, Field(gt=0, le=100)] = 5.0  # %/s
    down: Annotated[float, Field(gt=0, le=100)] = 1.0  # %/s
    sensor_hold: Duration = 300.0


LIT, HELD, FALLBACK, FOLLOWING, WAITING = range(5)

_STATE, _TARGET, _LUX, _SETPOINT, _FALLBACK = range(RESULT, RESULT + 5)
_FULL, _FACTOR, _MINIMUM, _UP, _DOWN, _SENSOR_HOLD = range(6)
_U, _UT, _BAD_SINCE, _LOST, _WAIT = range(5)


def daylight_open_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """u = clip((E_set - DF·E_out)/E_full, u_min, 1), ramped from what the lamps do."""
    if lost(q, ops, o, st, s + _LOST):
        publish(v, q, ops[o + _STATE], WAITING, 0)
        return  # the request stays as it is
    other = taken(v, q, ops, o, st, s + _LOST, dt)
    state = wanted(v, q, ops, o, par, p, st, s, now)
    if isnan(st[s + _U]) and isnan(other) and driven(ops, o):
        if not lasted(st, s + _WAIT, True, now, START_WAIT):
            publish(v, q, ops[o + _STATE], WAITING, 0)
            return
        other = par[p + _MINIMUM]
    if not isnan(other):
        state = FOLLOWING
        st[s + _U] = other
    elif isnan(st[s + _U]) or not driven(ops, o):
        st[s + _U] = st[s + _UT]
    elif not isnan(st[s + _UT]):
        st[s + _U] = toward(st[s + _U], st[s + _UT], par[p + _UP] * dt, par[p + _DOWN] * dt)
    ask(v, q, ops, o, st[s + _U], q[ops[o + _LUX]])
    publish(v, q, ops[o + _STATE], state, 0)
    publish(v, q, ops[o + _TARGET], st[s + _UT], 0)


def wanted(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """Set the target level and say in which state; without a sensor it stays, then falls back."""
    lux, setpoint = ops[o + _LUX], ops[o + _SETPOINT]
    if usable(v, q, lux) and usable(v, q, setpoint):
        st[s + _BAD_SINCE] = nan
        lacking = v[setpoint] - par[p + _FACTOR] * v[lux]
        st[s + _UT] = clip(100.0 * lacking / par[p + _FULL], par[p + _MINIMUM], 100.0)
        return LIT
    if not lasted(st, s + _BAD_SINCE, True, now, par[p + _SENSOR_HOLD]):
        return HELD
    if usable(v, q, ops[o + _FALLBACK]):
        st[s + _UT] = clip(v[ops[o + _FALLBACK]], 0.0, 100.0)
    return FALLBACK


STATES = {
    LIT: Text("自动调光", "dimming"),
    HELD: Text("照度信号坏, 保持亮度", "sensor bad, level held"),
    FALLBACK: Text("照度信号坏, 后备亮度", "sensor bad, fallback level"),
    FOLLOWING: Text("跟踪: 输出由他人控制", "following: the output is held by another"),
    WAITING: Text("等待输出回读", "waiting for the output's read-back"),
}

DAYLIGHT_OPEN = Kind(
    name="daylight_open",
    model=DaylightOpen,
    step=daylight_open_step,
    text=Text("按室外照度调光(开环)", "daylight harvesting, open loop"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=lambda _: (
        Published("state", "", Text("调光状态", "daylight state"), STATES),
        Published("target", "%", Text("目标亮度", "target level")),
    ),
    states=lambda _: 5,
    alarms=lambda _: (sensor_lost(FALLBACK, AT_FALLBACK),),
    examples=(
        Example(
            "150 lx wanted, 200 lx from the lamps, 1 % of the daylight: domain §1.6",
            {
                "illuminance": "roof.lux",
                "setpoint": "150 lx",
                "full_output": "200 lx",
                "daylight_factor": 0.01,
                "minimum": "10 %",
            },
            (
                (0.0, {"roof.lux": 0.0}, {"target": 75.0, "state": LIT}),
                (1.0, {"roof.lux": 5000.0}, {"target": 50.0}),
                (2.0, {"roof.lux": 12000.0}, {"target": 15.0}),
                (3.0, {"roof.lux": 20000.0}, {"target": 10.0}),
            ),
        ),
        Example(
            "begins with what the lamps do, then 1 %/s down; another hand is followed",
            {"illuminance": "roof.lux", "output": "hall.dimmer", "daylight_factor": 0.01},
            (
                (0.0, {"roof.lux": 5000.0, "hall.dimmer": 60.0}, {"hall.dimmer": 60.0}),
                (1.0, {}, {"hall.dimmer": 59.0, "target": 50.0}),
                (2.0, {}, {"hall.dimmer": 58.0, "state": LIT}),
                (3.0, {"roof.lux": nan}, {"hall.dimmer": 57.0, "state": HELD}),
            ),
        ),
    ),
)  # fmt: skip
