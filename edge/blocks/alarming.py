"""Alarm conditions (domain §2.2): limits with deadband, and boolean ones, both with delays.

Compiled from `alarms:`, not written as rules. They say whether an alarm is active; what follows
from that (acknowledge, latch, sound) is `edge/scan/alarms.py`. A bad input never raises an alarm
and never clears one: it is UNCERTAIN then.
"""

from __future__ import annotations

from edge.blocks.kind import AnyInput, Kind, Published, usable
from edge.blocks.timing import switch
from edge.image.image import Bits, Floats, Index
from edge.image.quality import UNCERTAIN
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.text import Text

_ACTIVE, _INPUT = 0, 1
_ACTIVE_TEXT = Text("报警条件", "alarm condition")


class Limit(Model):
    """Active above `above` or below `below` (None: no such limit); delays in seconds."""

    input: AnyInput
    above: float | None
    below: float | None
    deadband: float
    on_delay: float
    off_delay: float


_ABOVE, _BELOW, _DEADBAND, _ON, _OFF = 0, 1, 2, 3, 4


def limit_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Strict comparators, as in BACnet OUT_OF_RANGE; between the two thresholds nothing changes."""
    k = ops[o + _INPUT]
    x, above, below, deadband = v[k], par[p + _ABOVE], par[p + _BELOW], par[p + _DEADBAND]
    good = usable(v, q, k)
    rise = good and (x > above or x < below)
    inside = not (x >= above - deadband or x <= below + deadband)  # a limit that is NaN is not hit
    active = switch(st, s, rise, good and inside, now, par[p + _ON], par[p + _OFF])
    v[ops[o + _ACTIVE]] = 1.0 if active else 0.0
    q[ops[o + _ACTIVE]] = 0 if good else UNCERTAIN


LIMIT = Kind(
    name="limit",
    model=Limit,
    step=limit_step,
    text=Text("限值报警", "Limit alarm"),
    every=0.0,
    slot=Slot.DEFAULT,
    publishes=lambda _: (Published("", "", _ACTIVE_TEXT),),
    states=lambda _: 3,
)


class Condition(Model):
    """Active while `input` is true; delays in seconds."""

    input: AnyInput
    on_delay: float
    off_delay: float


_CONDITION_ON, _CONDITION_OFF = 0, 1


def condition_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """True raises, false clears, bad does neither."""
    k = ops[o + _INPUT]
    good = usable(v, q, k)
    true, false = good and v[k] != 0.0, good and v[k] == 0.0
    active = switch(st, s, true, false, now, par[p + _CONDITION_ON], par[p + _CONDITION_OFF])
    v[ops[o + _ACTIVE]] = 1.0 if active else 0.0
    q[ops[o + _ACTIVE]] = 0 if good else UNCERTAIN


CONDITION = Kind(
    name="condition",
    model=Condition,
    step=condition_step,
    text=Text("条件报警", "Conditional alarm"),
    every=0.0,
    slot=Slot.DEFAULT,
    publishes=lambda _: (Published("", "", _ACTIVE_TEXT),),
    states=lambda _: 3,
)
