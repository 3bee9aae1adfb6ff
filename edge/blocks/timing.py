"""Time: what "for t seconds" means everywhere, and the on/off delay.

Timers count site time: they survive a restart as they are and a wall-clock step does not touch
them. The step functions of other families use `lasted`.
"""

from __future__ import annotations

from math import nan
from typing import Annotated

from edge.blocks.kind import AnyInput, Example, Kind, Published, Target, usable
from edge.blocks.output import deliver
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration
from edge.text import Text

ROUNDING = 1e-6  # seconds: sums of scan times must not miss a limit by their last bit


def lasted(st: Floats, s: int, condition: bool, now: float, delay: float) -> bool:
    """Whether `condition` has held for `delay` seconds; `st[s]` is when it began, NaN if not.

    It begins with the first scan on which it is true, and is over with the first on which it is
    not. (domain §0.2)
    """
    if not condition:
        st[s] = nan
        return False
    if st[s] != st[s]:
        st[s] = now
    return bool(now - st[s] >= delay - ROUNDING)


def switch(st: Floats, s: int, rise: bool, fall: bool, now: float, on: float, off: float) -> bool:
    """A state that follows `rise` after `on` seconds and `fall` after `off` seconds.

    `st[s]` is the state (NaN: off), `st[s + 1]` and `st[s + 2]` the two timers.
    """
    state = bool(st[s] == 1.0)
    rises = lasted(st, s + 1, rise and not state, now, on)
    falls = lasted(st, s + 2, fall and state, now, off)
    if rises or falls:
        state = rises
        st[s + 1], st[s + 2] = nan, nan
    st[s] = 1.0 if state else 0.0
    return state


class Delay(Model):
    """True after the input was true for `on_delay`, false after it was false for `off_delay`."""

    input: AnyInput
    on_delay: Duration = 0.0
    off_delay: Duration = 0.0
    output: Annotated[str | None, Target("")] = None
    hold: Duration = 30.0


_RESULT, _INPUT = 4, 5
_ON, _OFF, _HOLD = 0, 1, 2
_BAD_SINCE, _STATE = 0, 1


def delay_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """While the input is bad both timers stand at nothing and the result is bad."""
    k = ops[o + _INPUT]
    good = usable(v, q, k)
    on = good and v[k] != 0.0
    off = good and v[k] == 0.0
    state = switch(st, s + _STATE, on, off, now, par[p + _ON], par[p + _OFF])
    value = 1.0 if state else 0.0
    deliver(v, q, ops, o, st, s + _BAD_SINCE, now, par[p + _HOLD], value if good else nan, q[k])


DELAY = Kind(
    name="delay",
    model=Delay,
    step=delay_step,
    text=Text("延时接通、延时断开", "On delay and off delay"),
    every=0.0,
    slot=Slot.CONTROL,
    publishes=lambda _: (Published("", "", Text("延时结果", "delayed result")),),
    states=lambda _: 4,
    examples=(
        Example(
            "on after 2 s, off after 1 s; a short pulse does nothing",
            {"input": "float.switch", "on_delay": "2s", "off_delay": "1s"},
            (
                (0.0, {"float.switch": 1}, {"": 0}),
                (1.0, {"float.switch": 0}, {"": 0}),
                (2.0, {"float.switch": 1}, {"": 0}),
                (3.9, {}, {"": 0}),
                (4.0, {}, {"": 1}),
                (5.0, {"float.switch": 0}, {"": 1}),
                (6.0, {}, {"": 0}),
            ),
        ),
        Example(
            "a bad input makes the result bad; a driven output is held for 30 s, then released",
            {"input": "float.switch", "output": "pump.run"},
            (
                (0.0, {"float.switch": 1}, {"": 1, "pump.run": 1}),
                (1.0, {"float.switch": float("nan")}, {"": float("nan"), "pump.run": 1}),
                (30.9, {}, {"pump.run": 1}),
                (31.0, {}, {"pump.run": float("nan")}),
                (32.0, {"float.switch": 1}, {"": 1, "pump.run": 1}),
            ),
        ),
    ),
)
