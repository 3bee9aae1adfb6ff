"""The plain kinds: a named value, a two-point switch with hysteresis, a linear scale.

Their inputs are expressions, so whatever logic stands before them needs no block of its own.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from edge.blocks.kind import AnyInput, Example, Kind, Published, Target, usable
from edge.blocks.operators import conclude
from edge.blocks.output import MIN_TIME, OWNER, deliver, held_by_other, present
from edge.blocks.timing import switch
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, canonical
from edge.text import Text

Unit = Annotated[str, AfterValidator(canonical)]
"""A field that names the unit of a result."""

BAD_NUMBER = float("nan")


class Value(Model):
    """A virtual point: the rule's id is the point's."""

    value: AnyInput
    unit: Unit = ""


def value_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """The expression's result under a name; bad as it is."""
    conclude(v, q, ops, o, v[ops[o + 1]], q[ops[o + 1]])


VALUE = Kind(
    name="value",
    model=Value,
    step=value_step,
    text=Text("虚拟点", "Virtual point"),
    every=0.0,
    slot=Slot.CONTROL,
    publishes=lambda model: (Published("", model.unit, Text("计算值", "computed value")),),
    states=lambda _: 0,
    examples=(
        Example(
            "a good false decides `and`, a bad operand does not",
            {"value": "tank.low and pump.run"},
            (
                (0.0, {"tank.low": 1, "pump.run": 1}, {"": 1}),
                (0.1, {"tank.low": BAD_NUMBER}, {"": BAD_NUMBER}),
                (0.2, {"pump.run": 0}, {"": 0}),
            ),
        ),
    ),
)


class Hysteresis(Model):
    """On at `on_at`, off at `off_at`, each after its delay; low-acting when `on_at` is the lower.

    Minimum times and starts per hour belong to the output, not to the rule.
    """

    input: AnyInput
    on_at: AnyInput
    off_at: AnyInput
    on_delay: Duration = 0.0
    off_delay: Duration = 0.0
    output: Annotated[str | None, Target("")] = None
    hold: Duration = 30.0


_INPUT, _ON_AT, _OFF_AT = 5, 6, 7
_ON_DELAY, _OFF_DELAY, _HOLD = 0, 1, 2
_BAD_SINCE, _STATE = 0, 1


def hysteresis_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Domain §1.4. Begins with what the output does now; a bad input stops both timers.

    Between the thresholds a switch by somebody else stays: a minimum time is nobody's.
    """
    x, on_at, off_at = v[ops[o + _INPUT]], v[ops[o + _ON_AT]], v[ops[o + _OFF_AT]]
    bits = q[ops[o + _INPUT]] | q[ops[o + _ON_AT]] | q[ops[o + _OFF_AT]]
    good = usable(v, q, ops[o + _INPUT])
    good = good and usable(v, q, ops[o + _ON_AT]) and usable(v, q, ops[o + _OFF_AT])
    high = on_at >= off_at
    rise = good and (x >= on_at if high else x <= on_at)
    fall = good and not rise and (x <= off_at if high else x >= off_at)
    other = held_by_other(v, ops, o) and v[ops[o + OWNER]] != MIN_TIME
    follows = dt == 0.0 or (other and not rise and not fall)
    if follows and not isnan(present(v, q, ops, o)):
        st[s + _STATE] = 1.0 if present(v, q, ops, o) > 0.0 else 0.0
    state = switch(st, s + _STATE, rise, fall, now, par[p + _ON_DELAY], par[p + _OFF_DELAY])
    result = 1.0 if state else 0.0
    deliver(v, q, ops, o, st, s + _BAD_SINCE, now, par[p + _HOLD], result if good else nan, bits)


HYSTERESIS = Kind(
    name="hysteresis",
    model=Hysteresis,
    step=hysteresis_step,
    text=Text("回差开关(两位控制)", "On/off switch with hysteresis"),
    every=0.0,
    slot=Slot.CONTROL,
    publishes=lambda _: (Published("", "", Text("开关状态", "switch state")),),
    states=lambda _: 4,
    examples=(
        Example(
            "high-acting: on at 0.9 m, off at 0.4 m, each for 2 s",
            {
                "input": "sump.level", "on_at": "0.90 m", "off_at": "0.40 m",
                "on_delay": "2s", "off_delay": "2s", "output": "sump.pump",
            },
            (
                (0.0, {"sump.level": 0.5}, {"": 0, "sump.pump": 0}),
                (1.0, {"sump.level": 0.9}, {"": 0}),
                (3.0, {"sump.level": 0.95}, {"": 1, "sump.pump": 1}),
                (4.0, {"sump.level": 0.41}, {"": 1}),
                (5.0, {"sump.level": 0.40}, {"": 1}),
                (7.0, {"sump.level": 0.38}, {"": 0, "sump.pump": 0}),
            ),
        ),
        Example(
            "low-acting: lamps on below 30 lx, off above 60 lx; between the two nothing changes",
            {"input": "yard.lux", "on_at": "30 lx", "off_at": "60 lx"},
            (
                (0.0, {"yard.lux": 45}, {"": 0}),
                (1.0, {"yard.lux": 30}, {"": 1}),
                (2.0, {"yard.lux": 59}, {"": 1}),
                (3.0, {"yard.lux": 60}, {"": 0}),
            ),
        ),
    ),
)  # fmt: skip


class Scale(Model):
    """A straight line from `input_low`…`input_high` to `low`…`high`, clamped unless told not to."""

    input: AnyInput
    input_low: float
    input_high: float
    low: float
    high: float
    clamp: bool = True
    unit: Unit = ""
    output: Annotated[str | None, Target()] = None
    hold: Duration = 30.0

    @model_validator(mode="after")
    def _has_a_span(self) -> Self:
        if self.input_low == self.input_high:
            raise Refusal(
                Text("input_low 与 input_high 不能相等", "input_low and input_high must differ")
            )
        return self


_FROM, _TO, _LOW, _HIGH, _CLAMP, _SCALE_HOLD = 0, 1, 2, 3, 4, 5


def scale_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """A bad input makes the result bad."""
    low, high = par[p + _LOW], par[p + _HIGH]
    share = (v[ops[o + _INPUT]] - par[p + _FROM]) / (par[p + _TO] - par[p + _FROM])
    if par[p + _CLAMP] != 0.0:
        share = 0.0 if share < 0.0 else 1.0 if share > 1.0 else share
    result = low + share * (high - low)
    deliver(v, q, ops, o, st, s, now, par[p + _SCALE_HOLD], result, q[ops[o + _INPUT]])


SCALE = Kind(
    name="scale",
    model=Scale,
    step=scale_step,
    text=Text("线性换算", "Linear scale"),
    every=0.0,
    slot=Slot.CONTROL,
    publishes=lambda model: (Published("", model.unit, Text("换算结果", "scaled value")),),
    states=lambda _: 1,
    examples=(
        Example(
            "4-20 mA to 0-1.6 MPa",
            {"input": "ai.1", "input_low": 4.0, "input_high": 20.0, "low": 0.0, "high": 1.6,
             "unit": "MPa"},
            (
                (0.0, {"ai.1": 12.0}, {"": 0.8}),
                (0.1, {"ai.1": 3.9}, {"": 0.0}),
                (0.2, {"ai.1": 20.5}, {"": 1.6}),
                (0.3, {"ai.1": BAD_NUMBER}, {"": BAD_NUMBER}),
            ),
        ),
    ),
)  # fmt: skip
