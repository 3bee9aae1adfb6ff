"""Ramp, a rate limiter: the result follows the input no faster than it may (domain §1.3).

Against water hammer, thermal shock and light that jumps. Per rule; the hard limit of an actuator is
`rate` of its output.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import AnyInput, Example, Kind, Published, Target, usable
from edge.blocks.logic import Unit
from edge.blocks.output import deliver, found_again, held_by_other, lost, present
from edge.blocks.water_hammer import refuse_fast
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Rate = Annotated[float, Field(gt=0)]


class Ramp(Model):
    """`up` and `down` are the greatest changes per second, in the unit of the input.

    For a valve (`unit: "%"`) `pipe_length` is the length in metres of the pipe whose water it
    stops: a full stroke faster than 4·2L/a (wave speed a = 1000 m/s) is refused. Usual: valves 2 %
    per second, lamps 5 up and 1 down, pump speed 10 %, a pressure setpoint 0.02 MPa.
    """

    input: AnyInput
    up: Rate
    down: Rate
    unit: Unit = ""
    output: Annotated[str | None, Target()] = None
    hold: Duration = 30.0
    pipe_length: Annotated[float, Quantity("m"), Field(gt=0, le=50_000)] | None = None

    @model_validator(mode="after")
    def _no_hammer(self) -> Self:
        if self.pipe_length is not None and self.unit != "%":
            raise Refusal(
                Text(
                    'pipe_length 只用于阀门: 请写 unit: "%"',
                    'pipe_length is for valves: write unit: "%"',
                )
            )
        for rate in (self.up, self.down):
            refuse_fast(100.0 / rate, self.pipe_length)
        return self


_INPUT = 5
_UP, _DOWN, _HOLD = 0, 1, 2
_BAD_SINCE, _Y, _LOST = 0, 1, 2


def toward(y: float, x: float, up: float, down: float) -> float:
    """`x`, or as near to it as one step from `y` by at most `up` or `down` comes."""
    change = x - y
    if change > up:
        return y + up
    if change < -down:
        return y - down
    return x


def ramp_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Begins with what the output does, follows it while another slot holds it; holds when bad.

    While the device of the output is silent it stands; then it goes on from what that does.
    """
    k = ops[o + _INPUT]
    if not isnan(st[s + _Y]) and lost(q, ops, o, st, s + _LOST):
        return
    back = found_again(v, q, ops, o, st, s + _LOST)
    if not usable(v, q, k):
        deliver(v, q, ops, o, st, s + _BAD_SINCE, now, par[p + _HOLD], nan, q[k])
        return
    y = nan if dt == 0.0 else st[s + _Y]
    if (isnan(y) or held_by_other(v, ops, o)) and not isnan(present(v, q, ops, o)):
        y = present(v, q, ops, o)
    y = y if isnan(back) else back
    y = v[k] if isnan(y) else toward(y, v[k], par[p + _UP] * dt, par[p + _DOWN] * dt)
    st[s + _Y] = y
    deliver(v, q, ops, o, st, s + _BAD_SINCE, now, par[p + _HOLD], y, q[k])


RAMP = Kind(
    name="ramp",
    model=Ramp,
    step=ramp_step,
    text=Text("斜坡(变化率限制)", "Ramp, a rate limiter"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=lambda model: (Published("", model.unit, Text("斜坡输出", "ramped value")),),
    states=lambda _: 3,
    examples=(
        Example(
            "lamps: 5 %/s up, 1 %/s down, from what the dimmer shows",
            {"input": "hall.wanted", "up": 5.0, "down": 1.0, "unit": "%", "output": "hall.dimmer"},
            (
                (0.0, {"hall.wanted": 60.0, "hall.dimmer": 50.0}, {"": 50.0, "hall.dimmer": 50.0}),
                (0.5, {}, {"": 52.5}),
                (1.0, {}, {"": 55.0, "hall.dimmer": 55.0}),
                (1.5, {"hall.wanted": 20.0}, {"": 54.5}),
                (2.5, {}, {"": 53.5}),
                (3.0, {"hall.wanted": 53.2}, {"": 53.2}),
            ),
        ),
    ),
)
