"""Interlocks (domain §1.18): a condition trips, the points it names are asked for a safe value.

Not written by people as rules but compiled from `interlocks:`. One `interlock` decides for each of
them; one `trip` per protected point asks at slot 5 for what the first tripped one wants, so that
several interlocks, and rules that protect (`kind.Trips`), may guard the same pump.
"""

from __future__ import annotations

from math import nan
from typing import Annotated, Literal

from edge.blocks.kind import AnyInput, Kind, Published, Target, reset_asked, usable
from edge.blocks.output import ask
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, NEVER, UNCERTAIN
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.text import Text

BAD_DELAY = 10.0  # seconds that a bad input must last before it trips: one lost answer is no fault


class Interlock(Model):
    """One entry of `interlocks:`; `delay` is in seconds."""

    when: AnyInput
    delay: float
    on_bad: Literal["trip", "hold", "ok"]
    reset: Literal["manual", "auto"]


_TRIPPED, _WHEN, _RESET_CELL = range(3)
_DELAY, _ON_BAD, _RESET = 0, 1, 2
_LATCHED, _SINCE, _BAD_SINCE, _KNOWN = range(4)
TRIP, HOLD, OK = 0.0, 1.0, 2.0
MANUAL = 0.0


def interlock_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Tripped while the condition holds; with `manual` until it is reset after it is over.

    With `on_bad: trip` an input that stays bad for ten seconds (or `delay`, if longer) trips. At
    start nothing was read yet, which is no fault; one that is lost from the start on trips but does
    not latch, for there is nothing that a person should look at once it is read.
    """
    k = ops[o + _WHEN]
    good = usable(v, q, k)
    reset = reset_asked(v, ops[o + _RESET_CELL])
    latched = bool(st[s + _LATCHED] == 1.0)
    wrong = lasted(st, s + _SINCE, good and v[k] != 0.0, now, par[p + _DELAY])
    patience = par[p + _DELAY] if par[p + _DELAY] > BAD_DELAY else BAD_DELAY
    unread = q[k] & BAD == NEVER  # so are all inputs in the first scan
    if good or unread:
        st[s + _KNOWN] = 1.0 if good else 0.0
    lost = not good and not unread
    blind = lasted(st, s + _BAD_SINCE, lost, now, patience) and par[p + _ON_BAD] == TRIP
    if wrong or (blind and st[s + _KNOWN] == 1.0):
        latched = True
    elif latched and (par[p + _RESET] != MANUAL or reset):
        over = good and v[k] == 0.0
        latched = not (over or (not good and par[p + _ON_BAD] == OK))
    st[s + _LATCHED] = 1.0 if latched else 0.0
    v[ops[o + _TRIPPED]] = 1.0 if latched or blind else 0.0
    q[ops[o + _TRIPPED]] = 0 if good else UNCERTAIN


INTERLOCK = Kind(
    name="interlock",
    model=Interlock,
    step=interlock_step,
    text=Text("联锁", "Interlock"),
    every=0.0,
    slot=Slot.PROTECT,
    publishes=lambda _: (Published("tripped", "", Text("联锁动作", "interlock tripped")),),
    states=lambda _: 4,
    resettable=True,
)


class Cause(Model):
    """One interlock or rule that guards a point, and the value it wants there."""

    tripped: AnyInput
    value: float


class Trip(Model):
    """All that guards one point: interlocks, then rules, in the order of the file."""

    output: Annotated[str, Target()]
    by: tuple[Cause, ...]


_FIRST_CAUSE, _COUNT, _FIRST_VALUE = 4, 0, 1


def trip_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """The first tripped one decides; when none is, the request is withdrawn."""
    value = nan
    for i in range(int(par[p + _COUNT])):
        if v[ops[o + _FIRST_CAUSE + i]] == 1.0:
            value = par[p + _FIRST_VALUE + i]
            break
    ask(v, q, ops, o, value, 0)


TRIP_KIND = Kind(
    name="trip",
    model=Trip,
    step=trip_step,
    text=Text("联锁输出", "Interlocked output"),
    every=0.0,
    slot=Slot.PROTECT,
    publishes=lambda _: (),
    states=lambda _: 0,
)
