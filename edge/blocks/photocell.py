"""Lamps switched by daylight: on when it is dark for long enough, off when bright (domain §1.6).

For outdoor lighting. It needs no clock: what goes by the clock may only narrow or dim it, and is
disregarded while the clock is not trusted. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import (
    TARGET_OPERANDS,
    Example,
    Input,
    Kind,
    Published,
    Source,
    Target,
    usable,
)
from edge.blocks.lamps import START_WAIT, driven, publish, sensor_lost, taken
from edge.blocks.output import ask, held_by_other, lost, present
from edge.blocks.pid import clip
from edge.blocks.ramp import toward
from edge.blocks.timing import lasted, switch
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

LEAST_RATIO = 1.5  # off_above to on_below: less, and the lamps' own light switches them off


class Photocell(Model):
    """`output` is a contactor, `dimmer` a level; one of them or both.

    On below `on_below` for `on_delay`, off above `off_above` for `off_delay`. `level` is the level
    while on, `allowed` a condition without which the lamps stay off; both may be schedules, and
    while those know no time the level is 100 % and everything is allowed. Without a sensor
    `fallback` says whether the lamps are on; when that is bad too, they are.
    """

    illuminance: Annotated[Source, Input("lx")]
    output: Annotated[str | None, Target("")] = None
    dimmer: Annotated[str | None, Target("%")] = None
    level: Annotated[Source, Input("%")] = 100.0
    allowed: Annotated[Source, Input("")] = 1.0
    fallback: Annotated[Source, Input("")] = 1.0
    on_below: Annotated[float, Quantity("lx"), Field(gt=0, le=1000)] = 30.0
    off_above: Annotated[float, Quantity("lx"), Field(gt=0, le=5000)] = 60.0
    on_delay: Annotated[Duration, Field(le=3600)] = 120.0
    off_delay: Annotated[Duration, Field(le=3600)] = 120.0
    up: Annotated[float, Field(gt=0, le=100)] = 5.0  # %/s, of the dimmer
    down: Annotated[float, Field(gt=0, le=100)] = 1.0  # %/s
    sensor_hold: Duration = 300.0

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.off_above < LEAST_RATIO * self.on_below:
            raise Refusal(
                Text(
                    f"off_above 至少为 on_below 的 {LEAST_RATIO:g} 倍, 否则灯光会把自己关掉",
                    f"off_above must be at least {LEAST_RATIO:g} times on_below, "
                    "or the lamps switch themselves off",
                )
            )
        if self.output is None and self.dimmer is None:
            raise Refusal(Text("要有 output 或 dimmer", "needs an output or a dimmer"))
        return self


OFF, ON, BLOCKED, HELD, FALLBACK, FOLLOWING, WAITING = range(7)

_DIMMER = TARGET_OPERANDS
_STATE, _LUX, _LEVEL, _ALLOWED, _FALLBACK = range(2 * TARGET_OPERANDS, 2 * TARGET_OPERANDS + 5)
_ON_BELOW, _OFF_ABOVE, _ON_DELAY, _OFF_DELAY, _UP, _DOWN, _SENSOR_HOLD = range(7)
_LIT, _DARK, _BRIGHT, _U, _BAD_SINCE, _LOST, _WAIT = range(7)


def photocell_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Begins with what the lamps do; a switch by somebody else stays until the light changes."""
    first = o if driven(ops, o) else o + _DIMMER
    if lost(q, ops, first, st, s + _LOST):
        publish(v, q, ops[o + _STATE], WAITING, 0)
        return  # the requests stay as they are
    other = taken(v, q, ops, first, st, s + _LOST, dt)
    lux = ops[o + _LUX]
    if isnan(st[s + _LIT]) and isnan(other):
        if not lasted(st, s + _WAIT, True, now, START_WAIT):
            publish(v, q, ops[o + _STATE], WAITING, 0)
            return
        other = 0.0 if usable(v, q, lux) and v[lux] >= par[p + _ON_BELOW] else 1.0
    if not isnan(other):
        st[s + _LIT] = 1.0 if other > 0.0 else 0.0
        st[s + _DARK], st[s + _BRIGHT] = nan, nan
        dimmed = present(v, q, ops, o + _DIMMER)
        st[s + _U] = 100.0 * st[s + _LIT] if isnan(dimmed) else dimmed
        lit, state = st[s + _LIT] == 1.0, FOLLOWING
    else:
        state = decide(v, q, ops, o, par, p, st, s, now)
        lit = st[s + _LIT] == 1.0 and state != BLOCKED
        dim(v, q, ops, o, par, p, st, s, dt, lit)
    ask(v, q, ops, o, 1.0 if lit else 0.0, q[lux])
    ask(v, q, ops, o + _DIMMER, st[s + _U], q[lux])
    publish(v, q, ops[o + _STATE], state, 0)


def decide(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """Whether the lamps should be lit, kept in `st`, and the state to show."""
    lux, state = ops[o + _LUX], OFF
    if usable(v, q, lux):
        st[s + _BAD_SINCE] = nan
        dark, bright = v[lux] < par[p + _ON_BELOW], v[lux] > par[p + _OFF_ABOVE]
        on = switch(st, s + _LIT, dark, bright, now, par[p + _ON_DELAY], par[p + _OFF_DELAY])
        state = ON if on else OFF
    elif not lasted(st, s + _BAD_SINCE, True, now, par[p + _SENSOR_HOLD]):
        state = HELD
    else:
        said = ops[o + _FALLBACK]
        st[s + _LIT] = 1.0 if not usable(v, q, said) or v[said] != 0.0 else 0.0
        state = FALLBACK
    if state >= HELD:
        st[s + _DARK], st[s + _BRIGHT] = nan, nan
    allowed = ops[o + _ALLOWED]
    if st[s + _LIT] == 1.0 and usable(v, q, allowed) and v[allowed] == 0.0:
        return BLOCKED
    return state


def dim(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, dt: float, lit: bool,
) -> None:  # fmt: skip
    """Ramp the dimmer to the level; off is at once. In another hand it is followed."""
    dimmed = present(v, q, ops, o + _DIMMER)
    if held_by_other(v, ops, o + _DIMMER) and not isnan(dimmed):
        st[s + _U] = dimmed
    if not lit:
        st[s + _U] = 0.0
        return
    level = v[ops[o + _LEVEL]] if usable(v, q, ops[o + _LEVEL]) else 100.0
    level = clip(level, 0.0, 100.0)
    st[s + _U] = toward(st[s + _U], level, par[p + _UP] * dt, par[p + _DOWN] * dt)


STATES = {
    OFF: Text("关: 天亮", "off: bright enough"),
    ON: Text("开: 天暗", "on: dark"),
    BLOCKED: Text("关: 时段不允许", "off: not allowed now"),
    HELD: Text("照度信号坏, 保持", "sensor bad, held"),
    FALLBACK: Text("照度信号坏, 按后备条件", "sensor bad, as the fallback says"),
    FOLLOWING: Text("跟踪: 输出由他人控制", "following: the output is held by another"),
    WAITING: Text("等待输出回读", "waiting for the output's read-back"),
}

AS_THE_FALLBACK_SAYS = Text("按后备条件开关灯", "lamps are switched as the fallback says")

PHOTOCELL = Kind(
    name="photocell",
    model=Photocell,
    step=photocell_step,
    text=Text("光控开关灯", "lamps switched by daylight"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=lambda _: (Published("state", "", Text("光控状态", "photocell state"), STATES),),
    states=lambda _: 7,
    alarms=lambda _: (sensor_lost(FALLBACK, AS_THE_FALLBACK_SAYS),),
    examples=(
        Example(
            "on after 2 s below 30 lx, off after 2 s above 60 lx, as it was in between",
            {
                "illuminance": "yard.lux", "output": "yard.lamps",
                "on_delay": "2s", "off_delay": "2s",
            },
            (
                (0.0, {"yard.lux": 29.0, "yard.lamps": 0.0}, {"yard.lamps": 0.0}),
                (1.0, {}, {"yard.lamps": 0.0, "state": OFF}),
                (2.0, {}, {"yard.lamps": 0.0}),
                (3.0, {}, {"yard.lamps": 1.0, "state": ON}),
                (4.0, {"yard.lux": 45.0}, {"yard.lamps": 1.0}),
                (5.0, {"yard.lux": 61.0}, {"yard.lamps": 1.0}),
                (6.0, {}, {"yard.lamps": 1.0}),
                (7.0, {}, {"yard.lamps": 0.0, "state": OFF}),
            ),
        ),
        Example(
            "by the clock it is dimmed; without the clock it burns at 100 %",
            {
                "illuminance": "yard.lux", "dimmer": "yard.level", "level": "night.level",
                "on_delay": "2s", "up": 50.0, "down": 25.0,
            },
            (
                (0.0, {"yard.lux": 5.0, "yard.level": 0.0, "night.level": 50.0}, {}),
                (1.0, {}, {"yard.level": 0.0, "state": OFF}),
                (2.0, {}, {"yard.level": 0.0}),
                (3.0, {}, {"yard.level": 50.0, "state": ON}),
                (4.0, {"night.level": nan}, {"yard.level": 100.0, "state": ON}),
                (5.0, {"night.level": 50.0}, {"yard.level": 75.0}),
                (6.0, {"yard.lux": 2000.0}, {"yard.level": 50.0}),
            ),
        ),
    ),
)  # fmt: skip
