"""What the kinds that drive lamps share: whose the output is, and how a level begins.

Not a kind itself. Called by the step functions of daylight, photocell and occupancy.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated

from edge.blocks.kind import AlarmTemplate, usable
from edge.blocks.output import (
    ACTUAL,
    DECIDED,
    MIN_TIME,
    OWNER,
    found_again,
    held_by_other,
    present,
)
from edge.image.image import Bits, Floats, Index
from edge.image.quality import NEVER, OVERRIDDEN
from edge.schema.units import Quantity
from edge.text import Text

Percent = Annotated[float, Quantity("%")]

AT_FALLBACK = Text("按后备亮度照明, 不节能", "lit at the fallback level, no saving")
START_WAIT = 30.0  # s for the first read-back; an output that has none starts without


def driven(ops: Index, o: int) -> bool:
    """Whether the optional target whose operands begin at `o` was given."""
    return bool(ops[o + DECIDED] != ops[o + ACTUAL])


def taken(v: Floats, q: Bits, ops: Index, o: int, st: Floats, was_lost: int, dt: float) -> float:
    """The level to take over because the output is not ours at this moment; NaN when it is.

    A minimum time is nobody's will: what it delays comes when it has run out.
    """
    actual, back = ops[o + ACTUAL], found_again(v, q, ops, o, st, was_lost)
    if not isnan(back):
        return back
    if usable(v, q, actual) and q[actual] & OVERRIDDEN != 0:
        return float(v[actual])
    other = held_by_other(v, ops, o) and v[ops[o + OWNER]] != MIN_TIME
    if dt == 0.0 or other or isnan(v[ops[o + DECIDED]]):
        return present(v, q, ops, o)
    return nan


def sensor_lost(state: int, consequence: Text, shows: tuple[str, ...] = ()) -> AlarmTemplate:
    """The alarm of a rule that is in its fallback `state` because it has no illuminance."""
    return AlarmTemplate(
        id="{RULE}_LUX_SENSOR_LOST",
        when=f"{{rule}}.state == {state}",
        priority=3,
        text=Text("照度信号丢失", "Illuminance signal lost"),
        consequence=consequence,
        checks=(
            Text("检查传感器电源与通信", "check the sensor's power and bus"),
            Text("核对地址与接线", "check its address and wiring"),
        ),
        shows=shows,
    )


def publish(v: Floats, q: Bits, k: int, value: float, bits: int) -> None:
    """A result with its quality; NaN is bad whatever the bits say."""
    v[k] = value
    q[k] = bits | NEVER if isnan(value) else bits
