"""Dimming outputs: a DALI arc level or a 0-10 V signal from a level in percent (domain §1.9).

Not the bus: a gateway speaks DALI. The curve is the product: an arc level taken as linear gives
3 % of the light at half of its range. Called by the kernel.
"""

from __future__ import annotations

from math import floor, isnan, log10, nan, sqrt
from typing import Annotated, Literal

from pydantic import Field

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
from edge.blocks.lamps import publish
from edge.blocks.output import ask, deliver
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration, Quantity
from edge.text import Text

BRIGHTEST = 254.0  # 255 is MASK, "keep the level": it is never a level
DECADES = 253.0 / 3.0  # levels per factor of ten of light; level 1 is 0.1 %


def arc_level(percent: float) -> float:
    """n = round(1 + 253/3·(1 + log10 p)), 0 for off; at least 1 when there should be light."""
    if isnan(percent) or percent <= 0.0:
        return 0.0
    n = floor(1.0 + DECADES * (1.0 + log10(min(percent, 100.0))) + 0.5)
    return float(min(max(n, 1.0), BRIGHTEST))


def arc_percent(level: float) -> float:
    """The light of an arc level in percent; NaN for 255 and what is no level."""
    if isnan(level) or level < 0.0 or level > BRIGHTEST:
        return nan
    return float(10.0 ** ((level - 1.0) / DECADES - 1.0)) if level >= 1.0 else 0.0


def linear_level(percent: float) -> float:
    """The arc level of a gear that is set to the linear curve."""
    if isnan(percent) or percent <= 0.0:
        return 0.0
    return float(min(max(floor(BRIGHTEST * min(percent, 100.0) / 100.0 + 0.5), 1.0), BRIGHTEST))


def linear_percent(level: float) -> float:
    """The light of a gear that is set to the linear curve."""
    return nan if isnan(level) or level < 0.0 or level > BRIGHTEST else level / BRIGHTEST * 100.0


def fade_time(code: int) -> float:
    """Seconds of a fade code: 0.5·√(2ⁿ) for 1 to 15, 0 for none."""
    return 0.5 * sqrt(2.0**code) if code > 0 else 0.0


def fade_code(seconds: float) -> float:
    """The code whose time is nearest to `seconds`."""
    best = 0
    for code in range(1, 16):
        if abs(fade_time(code) - seconds) < abs(fade_time(best) - seconds):
            best = code
    return float(best)


class Dali(Model):
    """`level` in percent becomes the arc level that a gateway's register takes, 0 to 254.

    `actual` is the arc level that the gateway reports, shown as percent. `curve` is what the gear
    is set to: logarithmic unless it was changed to linear. `fade` is shown as the fade code to set
    at the gear. A point with `curve: dali` needs no such rule: it is light in % by itself.
    """

    level: Annotated[Source, Input("%")]
    output: Annotated[str, Target("")]
    actual: Annotated[Source | None, Input("")] = None
    curve: Literal["logarithmic", "linear"] = "logarithmic"
    fade: Annotated[Duration, Field(le=90.6)] = 0.7
    hold: Duration = 30.0


_SHOWN, _FADE_CODE, _LEVEL, _ACTUAL = range(TARGET_OPERANDS + 1, TARGET_OPERANDS + 5)
_CURVE, _FADE, _HOLD = range(3)


def dali_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """A bad level leaves the request for `hold`, then withdraws it."""
    k, read = ops[o + _LEVEL], ops[o + _ACTUAL]
    linear = par[p + _CURVE] == 1.0
    level = linear_level(v[k]) if linear else arc_level(v[k])
    deliver(v, q, ops, o, st, s, now, par[p + _HOLD], level if usable(v, q, k) else nan, q[k])
    light = linear_percent(v[read]) if linear else arc_percent(v[read])
    publish(v, q, ops[o + _SHOWN], light if usable(v, q, read) else nan, q[read])
    publish(v, q, ops[o + _FADE_CODE], fade_code(par[p + _FADE]), 0)


DALI = Kind(
    name="dali",
    model=Dali,
    step=dali_step,
    text=Text("DALI 调光输出", "DALI dimming output"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=lambda _: (
        Published("", "", Text("DALI 电平", "DALI arc level")),
        Published("actual", "%", Text("实际亮度", "actual light")),
        Published("fade_code", "", Text("渐变时间代码", "fade code")),
    ),
    states=lambda _: 1,
    examples=(
        Example(
            "half of the light is level 229, and level 126 is 3 % of it",
            {"level": "lane.level", "output": "gateway.group1", "actual": "gateway.level1"},
            (
                (0.0, {"lane.level": 50.0, "gateway.group1": 0.0, "gateway.level1": 126.0},
                 {"gateway.group1": 229.0, "actual": 3.04, "fade_code": 1.0}),
                (0.5, {"lane.level": 100.0, "gateway.level1": 255.0},
                 {"gateway.group1": 254.0, "actual": nan}),
                (1.0, {"lane.level": 0.0}, {"gateway.group1": 0.0}),
                (1.5, {"lane.level": nan}, {"gateway.group1": 0.0}),
                (31.5, {}, {"gateway.group1": nan}),
            ),
            tolerance=0.01,
        ),
    ),
)  # fmt: skip


class AnalogDimmer(Model):
    """`level` in percent becomes 0-10 V: 10 V is 100 %. Below `off_below` the relay cuts the lamps
    off, since a 0-10 V input never darkens them wholly."""

    level: Annotated[Source, Input("%")]
    output: Annotated[str, Target("V")]
    relay: Annotated[str | None, Target("")] = None
    off_below: Annotated[float, Quantity("V"), Field(ge=0, le=5)] = 1.0
    hold: Duration = 30.0


_RELAY = TARGET_OPERANDS
_VOLTS, _PERCENT = 2 * TARGET_OPERANDS, 2 * TARGET_OPERANDS + 1
_OFF_BELOW, _KEEP = 0, 1


def analog_dimmer_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """A bad level leaves both requests for `hold`, then withdraws them."""
    k = ops[o + _PERCENT]
    volts, on = nan, nan
    if usable(v, q, k):
        volts = min(max(v[k] / 10.0, 0.0), 10.0)
        on = 1.0 if volts >= par[p + _OFF_BELOW] and volts > 0.0 else 0.0
        volts = volts if on == 1.0 else 0.0
    if not lasted(st, s, isnan(volts), now, par[p + _KEEP]) and isnan(volts):
        publish(v, q, ops[o + _VOLTS], nan, q[k])
        return
    ask(v, q, ops, o, volts, q[k])
    ask(v, q, ops, o + _RELAY, on, q[k])
    publish(v, q, ops[o + _VOLTS], volts, q[k])


ANALOG_DIMMER = Kind(
    name="analog_dimmer",
    model=AnalogDimmer,
    step=analog_dimmer_step,
    text=Text("0-10 V 调光输出", "0-10 V dimming output"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=lambda _: (Published("", "V", Text("调光电压", "dimming voltage")),),
    states=lambda _: 1,
    examples=(
        Example(
            "35 % is 3.5 V; below 1 V the relay switches off",
            {"level": "hall.level", "output": "hall.volts", "relay": "hall.relay"},
            (
                (0.0, {"hall.level": 35.0, "hall.volts": 0.0, "hall.relay": 0.0},
                 {"hall.volts": 3.5, "hall.relay": 1.0, "": 3.5}),
                (0.5, {"hall.level": 9.9}, {"hall.volts": 0.0, "hall.relay": 0.0}),
                (1.0, {"hall.level": nan}, {"hall.volts": 0.0, "": nan}),
                (31.0, {}, {"hall.volts": nan, "hall.relay": nan}),
            ),
        ),
    ),
)  # fmt: skip
