"""Interlocks and permissives (domain §1.18): what stops equipment, what it needs to start.

Not written by people as rules but compiled from `interlocks:` and `permissives:`. One instruction
decides for each of them, one `first_out` marks which came first; one `trip` per protected point
asks at slot 5 for what the first tripped one wants, so that several of them, and rules that protect
(`kind.Trips`), may guard the same pump.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Literal

from edge.blocks.kind import AnyInput, Kind, Published, Target, reset_asked, usable
from edge.blocks.output import ask, present
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, NEVER, UNCERTAIN
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.text import Text

BAD_DELAY = 10.0  # seconds that a bad input must last before it trips: one lost answer is no fault


class Interlock(Model):
    """One entry of `interlocks:`; `delay` is in seconds. While `bypass` is 1 it is out of force."""

    when: AnyInput
    bypass: AnyInput = 0.0
    delay: float
    on_bad: Literal["trip", "hold", "ok"]
    reset: Literal["manual", "auto"]


_TRIPPED, _WHEN, _BYPASS, _RESET_CELL = range(4)
_DELAY, _ON_BAD, _RESET = 0, 1, 2
_LATCHED, _SINCE, _BAD_SINCE, _KNOWN = range(4)
TRIP, HOLD, OK = 0.0, 1.0, 2.0
MANUAL = 0.0


def bypassed(v: Floats, q: Bits, index: int) -> bool:
    """Whether a person has taken it out of force."""
    return usable(v, q, index) and bool(v[index] == 1.0)


def interlock_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Tripped while the condition holds; with `manual` until it is reset after it is over.

    With `on_bad: trip` an input that stays bad for ten seconds (or `delay`, if longer) trips. At
    start nothing was read yet, which is no fault; one that is lost from the start on trips but does
    not latch, for there is nothing that a person should look at once it is read. Timers go on under
    a bypass: when it ends while the condition holds, it trips at once.
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
    if bypassed(v, q, ops[o + _BYPASS]):
        latched, blind = False, False
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
    keeps=lambda _: {"interlock": _LATCHED},
    resettable=lambda _: True,
)


class Permissive(Model):
    """One entry of `permissives:`; `trip` refuses a start when the input is bad."""

    when: AnyInput
    bypass: AnyInput = 0.0
    delay: float
    on_bad: Literal["trip", "hold", "ok"]


_PERMITTED = 0
_PERMIT, _HOLDS_SINCE = 0, 1


def permissive_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Permitted once the condition has held for `delay`, and no longer than it holds.

    What was never read neither permits nor refuses: the output still waits for it.
    """
    k, on_bad = ops[o + _WHEN], par[p + _ON_BAD]
    good = usable(v, q, k)
    unread = q[k] & BAD == NEVER
    holds = lasted(st, s + _HOLDS_SINCE, good and v[k] != 0.0, now, par[p + _DELAY])
    if good:
        st[s + _PERMIT] = 1.0 if holds else 0.0
    elif on_bad != HOLD or isnan(st[s + _PERMIT]):
        st[s + _PERMIT] = 1.0 if on_bad == OK else 0.0
    permit = st[s + _PERMIT] == 1.0 or bypassed(v, q, ops[o + _BYPASS])
    v[ops[o + _PERMITTED]] = 1.0 if permit else 0.0
    bits = NEVER if unread and not permit else UNCERTAIN
    q[ops[o + _PERMITTED]] = 0 if good else bits


PERMISSIVE = Kind(
    name="permissive",
    model=Permissive,
    step=permissive_step,
    text=Text("允许条件", "Permissive"),
    every=0.0,
    slot=Slot.PROTECT,
    publishes=lambda _: (Published("permitted", "", Text("允许启动", "start permitted")),),
    states=lambda _: 2,
)


class Rival(Model):
    """Another protection of the same points."""

    tripped: AnyInput


class FirstOut(Model):
    """Which came first: `tripped` is the one that is marked, among `rivals`."""

    tripped: AnyInput
    rivals: tuple[Rival, ...]


FIRST_WINDOW = 5.0  # seconds in which a trip that is over already still counts as the earlier one
_MARK, _OWN, _RIVALS = range(3)
_WAS, _RIVAL_STATES = 0, 2
NOT_FIRST, FIRST, SIMULTANEOUS = 0.0, 1.0, 2.0


def first_out_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """First when no rival was tripped before it, simultaneous when one tripped in the same scan.

    A trip after another one that still stands is not the first: the equipment stood already.
    """
    mark = FIRST
    for i in range(int(par[p + _COUNT])):
        at = s + _RIVAL_STATES + 2 * i
        stands = v[ops[o + _RIVALS + i]] == 1.0
        if stands and st[at] != 1.0:
            st[at + 1] = now
            mark = SIMULTANEOUS if mark == FIRST else mark
        elif stands or now - st[at + 1] <= FIRST_WINDOW:
            mark = NOT_FIRST
        st[at] = 1.0 if stands else 0.0
    tripped = v[ops[o + _OWN]] == 1.0
    if not tripped:
        st[s + _WAS + 1] = NOT_FIRST
    elif st[s + _WAS] != 1.0:
        st[s + _WAS + 1] = mark
    v[ops[o + _MARK]] = st[s + _WAS + 1]
    q[ops[o + _MARK]] = 0
    st[s + _WAS] = 1.0 if tripped else 0.0


def _marks(model: FirstOut) -> dict[str, int]:
    return {"first-out trip": _WAS, "first-out mark": _WAS + 1} | {
        f"{name} of {rival.tripped}": _RIVAL_STATES + 2 * i + at
        for i, rival in enumerate(model.rivals)
        for at, name in enumerate(("trip", "time of the trip"))
    }


FIRST_OUT = Kind(
    name="first_out",
    model=FirstOut,
    step=first_out_step,
    text=Text("首出判定", "First-out"),
    every=0.0,
    slot=Slot.PROTECT,
    publishes=lambda _: (Published("first_out", "", Text("首出", "first-out")),),
    states=lambda model: _RIVAL_STATES + 2 * len(model.rivals),
    keeps=_marks,
)


class Cause(Model):
    """One interlock or rule that guards a point, and the value it wants there.

    `starting`: it only keeps the point from starting; then `tripped` is its permission.
    """

    tripped: AnyInput
    value: float
    starting: bool = False


class Trip(Model):
    """All that guards one point: interlocks, rules, permissives, in the order of the file."""

    output: Annotated[str, Target()]
    by: tuple[Cause, ...]


_FIRST_CAUSE, _COUNT, _FIRST_VALUE = 4, 0, 1


def trip_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """The first tripped one decides; when none is, the request is withdrawn.

    A missing permission keeps what stands from starting, and leaves alone what runs. Where nobody
    can tell, it does not start.
    """
    value = nan
    runs = present(v, q, ops, o) > 0.0
    for i in range(int(par[p + _COUNT])):
        k, own = ops[o + _FIRST_CAUSE + i], p + _FIRST_VALUE + 2 * i
        starting = par[own + 1] == 1.0
        refused = starting and usable(v, q, k) and v[k] == 0.0 and not runs
        if refused or (not starting and v[k] == 1.0):
            value = par[own]
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
