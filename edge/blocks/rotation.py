"""Duty rotation of motors on the mains: told how many are to run, it says which (domain §1.17).

It regulates nothing: `demand` comes from a rule or a contact. Called by the kernel; what a pump is
doing and who comes next are those of `edge/blocks/pumps.py`.
"""

from __future__ import annotations

import dataclasses
from math import isnan, nan
from typing import Annotated, Literal

from pydantic import Field

from edge.blocks.kind import (
    AlarmTemplate,
    Example,
    Input,
    Kind,
    Published,
    Source,
    is_on,
    reset_asked,
    usable,
)
from edge.blocks.motor import FORCED, HOURS, WANTED, available
from edge.blocks.output import ask, show
from edge.blocks.pumps import (
    FULL_SPEED,
    PUMP_OPERANDS,
    PUMP_STATES,
    SPEED,
    Pump,
    adopt_pump,
    command,
    count_hours,
    next_to_start,
    next_to_stop,
    pump_alarms,
    pump_memory,
    pump_points,
    pump_state,
    ready_pumps,
    retry_failed,
    see_outage,
    unlock,
)
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration
from edge.text import Text


class Duty(Pump):
    """`fans.f1` stands for its points `.run`, `.running` and `.fault`; a drive is run at 100 %."""

    names = ("run", "running", "fault")


class Rotation(Model):
    """`demand` is how many are to run: a number, or a contact for one.

    `by: hours` starts the available one with the least running hours, but keeps to the lead until
    it has run 2 h longer; `by: turn` takes the next one at every start. A lead that has run for
    `max_lead_run` gives way: the next one runs beside it for `overlap`. Who fails to start or trips
    is replaced at once and stays out until a person resets it; where fewer are left than asked for,
    a failed start is tried again after `retry`. A bad demand leaves all as it is for `hold`, then
    the requests are withdrawn.
    """

    demand: Annotated[Source, Input("")]
    reset: Annotated[Source | None, Input("")] = None
    pumps: tuple[Duty, ...] = Field(min_length=2, max_length=8)
    by: Literal["hours", "turn"] = "hours"
    max_lead_run: Annotated[Duration, Field(ge=600)] = 86400.0
    overlap: Annotated[Duration, Field(ge=0, le=120)] = 10.0
    start_time: Annotated[Duration, Field(ge=1, le=60)] = 5.0
    retry: Duration = 600.0
    hold: Duration = 30.0


START_WAIT = 30.0  # s for the first feedback of every motor
_RUNNING, _LEADS, _SHORT, _TRIPPED, _SHOWN = range(5)
_DEMAND, _RESET, _RESET_CELL, _INPUTS = range(4)
_N, _BY, _LEAD_RUN, _OVERLAP, _START_TIME, _RETRY, _HOLD = range(7)
_LEAD, _LED_AT, _BAD_SINCE, _SWAP_AT, _WANT, _WAIT, _PUMPS = range(7)


def rotation_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """What runs is adopted at the start; nothing is asked before that is known."""
    count = int(par[p + _N])
    inputs = o + _SHOWN + 2 * count
    r, shown, t = inputs + _INPUTS, o + _SHOWN, s + _PUMPS
    if (dt == 0.0 or isnan(st[s + _WANT])) and not adopt_duty(v, q, ops, r, count, st, s, now):
        return
    demand = ops[inputs + _DEMAND]
    good = usable(v, q, demand)
    if good:
        st[s + _WANT] = min(max(int(v[demand]), 0), count)
    lost = lasted(st, s + _BAD_SINCE, not good, now, par[p + _HOLD])
    reset = reset_asked(v, ops[inputs + _RESET_CELL]) or is_on(v, q, ops[inputs + _RESET])
    for i in range(count):
        each, of = r + i * PUMP_OPERANDS, t + i * PUMP_STATES
        if reset:
            unlock(v, q, ops, each, st, of)
        code = pump_state(v, q, ops, each, st, of, now, par[p + _START_TIME], False)
        count_hours(v, q, ops, each, st, of, code, dt)
        show(v, q, ops[shown + 2 * i], float(code))
        show(v, q, ops[shown + 2 * i + 1], st[of + HOURS])
    want = int(st[s + _WANT])
    see_outage(v, q, ops, r, count, st, t, now)
    out = retry_failed(v, ops, shown, count, st, t, float(want), now, par[p + _RETRY])
    show(v, q, ops[o + _TRIPPED], float(out))
    extra = swap_lead(v, ops, shown, count, want, par, p, st, s, now)
    got = assign(v, q, ops, r, shown, count, want + extra, par[p + _BY] == 1.0, st, s)
    for i in range(count):
        each, of = r + i * PUMP_OPERANDS, t + i * PUMP_STATES
        code = v[ops[shown + 2 * i]]
        if lost:
            ask(v, q, ops, each, nan, 0)
            ask(v, q, ops, each + SPEED, nan, 0)
        else:
            command(v, q, ops, each, st, of, code, FULL_SPEED, 0)
    show(v, q, ops[o + _RUNNING], float(got))
    show(v, q, ops[o + _LEADS], 0.0 if isnan(st[s + _LEAD]) else st[s + _LEAD] + 1.0)
    short = ready_pumps(v, ops, shown, count) < want
    show(v, q, ops[o + _SHORT], 1.0 if short else 0.0)


def adopt_duty(
    v: Floats, q: Bits, ops: Index, r: int, count: int, st: Floats, s: int, now: float
) -> bool:  # fmt: skip
    """Take over what runs; False while that is not known yet. The lead and its time stay."""
    known, running = True, 0
    for i in range(count):
        of = s + _PUMPS + i * PUMP_STATES
        known = adopt_pump(v, q, ops, r + i * PUMP_OPERANDS, st, of) and known
        if st[of + WANTED] == 1.0:
            running += 1
            if isnan(st[s + _LEAD]):
                st[s + _LEAD], st[s + _LED_AT] = i, now
    if not known and not lasted(st, s + _WAIT, True, now, START_WAIT):
        return False
    st[s + _WAIT], st[s + _SWAP_AT], st[s + _WANT] = nan, nan, running
    return True


def swap_lead(
    v: Floats, ops: Index, shown: int, count: int, want: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """One more to run while the lead changes hands; the lead stops when its successor runs."""
    if isnan(st[s + _LEAD]) or want == 0:
        st[s + _LED_AT], st[s + _SWAP_AT] = nan, nan
        return 0
    lead = int(st[s + _LEAD])
    if st[s + _PUMPS + lead * PUMP_STATES + WANTED] != 1.0:
        st[s + _SWAP_AT] = nan
        return 0
    if isnan(st[s + _LED_AT]):
        st[s + _LED_AT] = now
    spare = ready_pumps(v, ops, shown, count) > want
    if not spare or now - st[s + _LED_AT] < par[p + _LEAD_RUN]:
        st[s + _SWAP_AT] = nan
        return 0
    if lasted(st, s + _SWAP_AT, True, now, par[p + _OVERLAP]):
        st[s + _PUMPS + lead * PUMP_STATES + WANTED] = 0.0
        st[s + _LEAD] = runner(count, st, s, lead)
        st[s + _LED_AT], st[s + _SWAP_AT] = now, nan
        return 0
    return 1


def runner(count: int, st: Floats, s: int, lead: int) -> int:
    """The running one with the least hours, `lead` when none runs."""
    best = lead
    for i in range(count):
        of = s + _PUMPS + i * PUMP_STATES
        least = st[s + _PUMPS + best * PUMP_STATES + HOURS]
        if st[of + WANTED] == 1.0 and (best == lead or st[of + HOURS] < least):
            best = i
    return best


def assign(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, count: int, want: int, turn: bool,
    st: Floats, s: int,
) -> int:  # fmt: skip
    """Make `want` of them run, as far as there are any; gives how many do."""
    t, running = s + _PUMPS, 0
    for i in range(count):
        code = v[ops[shown + 2 * i]]
        if not available(code):
            st[t + i * PUMP_STATES + WANTED] = 0.0
        if st[t + i * PUMP_STATES + WANTED] == 1.0 or code == FORCED:
            running += 1
    lead = -1 if isnan(st[s + _LEAD]) else int(st[s + _LEAD])
    led = lead >= 0 and st[t + lead * PUMP_STATES + WANTED] == 1.0
    while running < want:
        i = in_turn(v, ops, shown, count, st, t, lead)
        if not turn:
            i = next_to_start(v, q, ops, r, shown, count, st, t, False, -1 if led else lead, False)
        if i < 0:
            break
        st[t + i * PUMP_STATES + WANTED] = 1.0
        if not led:
            st[s + _LEAD], st[s + _LED_AT], lead, led = i, nan, i, True
        running += 1
    while running > want:
        i = next_to_stop(count, st, t, turn, lead, False)
        if i < 0:
            break
        st[t + i * PUMP_STATES + WANTED] = 0.0
        running -= 1
    return running


def in_turn(
    v: Floats, ops: Index, shown: int, count: int, st: Floats, t: int, last: int
) -> int:  # fmt: skip
    """The next available one after `last` that does not run yet, -1 for none."""
    for k in range(count):
        i = (last + 1 + k) % count
        if st[t + i * PUMP_STATES + WANTED] != 1.0 and available(v[ops[shown + 2 * i]]):
            return i
    return -1


def _publishes(model: Rotation) -> tuple[Published, ...]:
    return (
        Published("running", "", Text("运行台数", "how many run")),
        Published("lead", "", Text("主用机号", "number of the lead")),
        Published("short", "", Text("可用台数不足", "fewer available than asked for")),
        Published("tripped", "", Text("待复位台数", "how many wait for a reset"), told=True),
        *(point for i in range(1, len(model.pumps) + 1) for point in pump_points(i)),
    )


def _alarms(model: Rotation) -> tuple[AlarmTemplate, ...]:
    short = AlarmTemplate(
        "{RULE}_SHORT", "{rule}.short == 1", 2,
        Text("可用水泵不足", "Fewer pumps available than asked for"),
        (Text("查看各泵状态", "look at the state of each pump"),
         Text("查看手停自开关", "look at the hand-off-auto switches")),
        on_delay=10.0, shows=("{rule}.short", "{rule}.running"),
    )  # fmt: skip
    own = [
        dataclasses.replace(a, shows=tuple(x for x in a.shows if not x.endswith(".pressure")))
        for i, pump in enumerate(model.pumps, 1)
        for a in pump_alarms(i, pump.hoa)
    ]
    return (short, *own)


def _pump(name: str) -> dict[str, str]:
    return {w: f"{name}.{w}" for w in ("run", "running", "fault", "hours")}


_THREE = {"demand": "hall.fans", "pumps": [_pump("f1"), _pump("f2"), _pump("f3")]}
_STILL = {f"f{i}.{w}": 0.0 for i in (1, 2, 3) for w in ("run", "running", "fault")}
_HOURS = {"f1.hours": 1205.5, "f2.hours": 1180.0, "f3.hours": 1190.2}

ROTATION = Kind(
    name="rotation",
    model=Rotation,
    step=rotation_step,
    text=Text("轮换运行", "duty rotation"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda model: _PUMPS + PUMP_STATES * len(model.pumps),
    keeps=lambda model: pump_memory(model.pumps, _PUMPS),
    alarms=_alarms,
    resettable=lambda _: True,
    examples=(
        Example(
            "hours 1205.5, 1180.0 and 1190.2: the second leads, then the third, then the first",
            _THREE,
            (
                (0.0, {"hall.fans": 0.0, **_STILL, **_HOURS}, {"running": 0.0}),
                (0.5, {"hall.fans": 1.0}, {"f1.run": 0.0, "f2.run": 1.0, "f3.run": 0.0}),
                (1.0, {"f2.running": 1.0}, {"lead": 2.0, "running": 1.0}),
                (1.5, {"hall.fans": 2.0}, {"f1.run": 0.0, "f3.run": 1.0}),
                (2.0, {"f3.running": 1.0, "hall.fans": 3.0}, {"f1.run": 1.0, "running": 3.0}),
            ),
        ),
        Example(
            "the lead trips: the standby runs at once",
            _THREE,
            (
                (0.0, {"hall.fans": 1.0, **_STILL, **_HOURS}, {"f2.run": 1.0}),
                (0.5, {"f2.running": 1.0}, {"running": 1.0}),
                (1.0, {"f2.fault": 1.0}, {"f2.run": 0.0, "f3.run": 1.0}),
                (1.5, {"f3.running": 1.0, "f2.running": 0.0}, {"pump2": 3.0, "lead": 3.0}),
            ),
        ),
    ),
)
