"""Irrigation: zones in turn within a window of the night, as long as the day's evaporation asks.

Here: duration, order, cycle and soak (domain §1.15); the flow checks stand in `irrigation_flow.py`.
The window is wall time and comes
as an agenda: without a trusted clock nothing is watered. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.irrigation_flow import (
    closed_zones,
    held_by_another,
    look_at_flow,
    person_resets,
)
from edge.blocks.irrigation_layout import (
    ACTIVE,
    AGENDA,
    ALONE,
    AREA,
    AT,
    CYCLE,
    DAY,
    DAY_AT,
    DURATION,
    EFFICIENCY,
    ET0,
    FAULT,
    INPUTS,
    KC,
    LEAK,
    LEAKS,
    LEARNT,
    LEFT,
    LONGEST,
    MASTER,
    MOISTURE,
    NORMAL,
    OPEN,
    OPERANDS,
    OVER_LIMIT,
    OVERLAP,
    OWN,
    PAR,
    PARALLEL,
    PAUSED,
    PLAN,
    PLANNED,
    PUMP,
    PUMP_AT,
    RAINED,
    RATE,
    REASON,
    REMAIN,
    RESET,
    RESET_CELL,
    RESULTS,
    SOAK,
    SOAKED_AT,
    SOIL_LIMIT,
    STATE,
    STATES,
    SUM,
    SUM_TIME,
    TIME,
    TODAY,
    TRIPPED,
    VOLUME,
    WHY,
    ZONE,
    ZONES,
    N,
)
from edge.blocks.irrigation_model import Irrigation
from edge.blocks.irrigation_shown import (
    BROKEN,
    COMPLETE,
    DONE,
    HELD_BACK,
    IDLE,
    LEFT_OUT,
    NO_CLOCK,
    NO_DEMAND,
    NONE,
    OVER,
    PER_ZONE,
    RAIN,
    RESTING,
    SHOWN,
    SKIPPED,
    SOAKING,
    SOIL,
    TOO_LATE,
    UNDER_WAY,
    UNKNOWN_DEMAND,
    WAITING,
    WATERING,
    WIND,
    irrigation_alarms,
    irrigation_points,
)
from edge.blocks.irrigation_weather import agenda, pause, weather
from edge.blocks.kind import (
    Example,
    Kind,
    Urge,
    is_on,
    reset_asked,
    usable,
)
from edge.blocks.output import OURS, OWNER, ask, present, show
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.text import Text

RAIN_SHARE = 0.8  # of the rain that the roots get
LONG_DAY = 86400.0  # s after which the daily limit begins anew although nobody knows the date


def irrigation_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Begin once a day in the window, water zone after zone, look at the flow, ask.

    What was owed is kept over a restart; what was open meanwhile has had its water. A bad rain,
    wind, air or soil signal skips nothing; without evaporation the zone gets its `duration`, else
    what it got last. A person's reset frees the zones that were closed for their flow; while none
    is, it has all flows learnt again, as after maintenance.
    """
    count = int(par[p + N])
    i = o + RESULTS + SHOWN + PER_ZONE * count
    elapsed = 0.0 if isnan(st[s + AT]) else max(now - st[s + AT], 0.0)
    st[s + AT] = now
    cell = ops[i + AGENDA]
    clock = usable(v, q, cell)
    today = float(int(v[cell])) if clock else nan
    window = clock and v[cell] - today > 0.25
    over = today != st[s + DAY] if clock else now - st[s + DAY_AT] >= LONG_DAY
    if isnan(st[s + ACTIVE]) or over:
        new_day(today, count, st, s)
        st[s + DAY_AT] = now
    reset = is_on(v, q, ops[i + RESET])
    if reset_asked(v, ops[i + RESET_CELL]):
        person_resets(count, st, s, now)
        reset = True
    spend(v, q, ops, i, elapsed, count, reset, par, p, st, s)
    why = weather(v, q, ops, i, par, p)
    if window and st[s + ACTIVE] == 0.0:
        begin(v, q, ops, i, why, count, par, p, st, s)
    elif st[s + ACTIVE] == 1.0 and (not window or why != NONE):
        late = WIND if st[s + PAUSED] == 1.0 else TOO_LATE
        leave(why if why != NONE else (late if clock else NONE), count, st, s)
    pause(v, q, ops, i, now, dt, count, par, p, st, s)
    run_zones(v, q, ops, i, now, elapsed, count, par, p, st, s)
    look_at_flow(v, q, ops, i, now, elapsed, count, par, p, st, s)
    drive(v, q, ops, o, i, now, count, par, p, st, s)
    publish(v, q, ops, o, count, clock, par, p, st, s)


def new_day(today: float, count: int, st: Floats, s: int) -> None:
    """Forget what was watered and what was found: each day begins anew."""
    st[s + DAY], st[s + ACTIVE], st[s + WHY], st[s + PLANNED] = today, 0.0, NONE, nan
    st[s + ALONE] = nan
    for k in range(count):
        z = s + ZONES + k * STATES
        st[z + REMAIN], st[z + FAULT], st[z + TODAY], st[z + OPEN] = 0.0, nan, 0.0, 0.0
        st[z + PLAN] = 0.0 if isnan(st[z + PLAN]) else st[z + PLAN]


def begin(
    v: Floats, q: Bits, ops: Index, i: int, why: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """The day's plan: t = 60·G/PR minutes, G = max(0, ET0·Kc - 0.8·rain)/efficiency."""
    st[s + ACTIVE], st[s + WHY] = 1.0, why
    et0, rain = ops[i + ET0], ops[i + RAINED]
    fallen = v[rain] if usable(v, q, rain) else 0.0
    st[s + PLANNED], demand, known = 0.0, False, False
    for k in range(count):
        z, m = s + ZONES + k * STATES, p + OWN + k * PAR
        st[z + SOAKED_AT], st[z + LEFT] = nan, par[m + CYCLE]
        if usable(v, q, et0):
            gross = max(0.0, v[et0] * par[m + KC] - RAIN_SHARE * fallen) / par[m + EFFICIENCY]
            st[z + PLAN] = 3600.0 * 1000.0 * gross / par[m + RATE]
            known = True
        elif not isnan(par[m + DURATION]):
            st[z + PLAN] = par[m + DURATION]
            known = True
        known = known or st[z + PLAN] > 0.0
        st[s + PLANNED] += st[z + PLAN] / 3600.0 * par[m + RATE] / 1000.0 * par[m + AREA]
        st[z + REMAIN] = min(st[z + PLAN], par[p + LONGEST] - st[z + TODAY])
        soil = ops[i + INPUTS + k * OPERANDS + MOISTURE]
        if usable(v, q, soil) and v[soil] >= par[m + SOIL_LIMIT]:
            st[z + REMAIN], st[z + FAULT] = 0.0, SKIPPED
        if not isnan(st[z + FAULT]):
            st[z + REMAIN] = 0.0  # somebody who watered by hand found it broken
        demand = demand or st[z + REMAIN] > 0.0
    if why == NONE and not demand:
        every = count > 0
        for k in range(count):
            every = every and st[s + ZONES + k * STATES + FAULT] == SKIPPED
        st[s + WHY] = SOIL if every else (NO_DEMAND if known else UNKNOWN_DEMAND)
    if st[s + WHY] != NONE:
        leave(st[s + WHY], count, st, s)


def leave(why: float, count: int, st: Floats, s: int) -> None:
    """Enough for today; `why` says what kept the rest from being watered."""
    owed = False
    for k in range(count):
        z = s + ZONES + k * STATES
        owed = owed or st[z + REMAIN] > 0.0
        st[z + REMAIN], st[z + OPEN] = 0.0, 0.0
    if owed or why != TOO_LATE:
        st[s + WHY] = why
    st[s + ACTIVE] = 2.0


def spend(
    v: Floats, q: Bits, ops: Index, i: int, elapsed: float, count: int, reset: bool,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Count the water that open valves gave, whoever opened them."""
    for k in range(count):
        z, target = s + ZONES + k * STATES, i + INPUTS + k * OPERANDS
        if reset:
            st[z + FAULT] = nan
        if present(v, q, ops, target) > 0.5:
            st[z + TODAY] = (0.0 if isnan(st[z + TODAY]) else st[z + TODAY]) + elapsed
            if st[z + OPEN] == 1.0:
                st[z + REMAIN] -= elapsed
                st[z + LEFT] -= elapsed


def run_zones(
    v: Floats, q: Bits, ops: Index, i: int, now: float, elapsed: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Close what has had its share, open the next one `overlap` before.

    A zone that somebody stronger holds shut lets the others pass and waits for its turn: counted as
    open, it would have the pump work against a shut valve until the window ends.
    """
    running, owed, waits = 0, False, st[s + PAUSED] == 1.0 or not isnan(st[s + ALONE])
    for k in range(count):
        z, m = s + ZONES + k * STATES, p + OWN + k * PAR
        if st[z + OPEN] != 1.0 or shut(v, q, ops, i + INPUTS + k * OPERANDS):
            st[z + OPEN] = 0.0
            continue
        over = st[z + TODAY] >= par[p + LONGEST] - ROUNDING
        if st[z + REMAIN] <= ROUNDING or over or not isnan(st[z + FAULT]):
            st[z + OPEN], st[z + REMAIN] = 0.0, 0.0
        elif st[z + LEFT] <= ROUNDING:
            st[z + OPEN], st[z + SOAKED_AT], st[z + LEFT] = 0.0, now, par[m + CYCLE]
        elif st[z + REMAIN] > par[p + OVERLAP] and not st[z + LEFT] <= par[p + OVERLAP]:
            running += 1
    for k in range(count):
        z, m = s + ZONES + k * STATES, p + OWN + k * PAR
        if st[s + ACTIVE] != 1.0 or not st[z + REMAIN] > ROUNDING:
            continue
        owed = True
        soaked = not now - st[z + SOAKED_AT] < par[m + SOAK]
        soaked = soaked and not shut(v, q, ops, i + INPUTS + k * OPERANDS)
        free = not waits and running < par[p + PARALLEL]
        if st[z + OPEN] != 1.0 and soaked and free:
            st[z + OPEN], st[z + SUM], st[z + SUM_TIME] = 1.0, 0.0, 0.0
            running += 1
    if st[s + ACTIVE] == 1.0 and not owed:
        st[s + ACTIVE] = 2.0


def shut(v: Floats, q: Bits, ops: Index, target: int) -> bool:
    """Whether a person, a protection or a minimum time keeps the valve shut."""
    return bool(0.0 < v[ops[target + OWNER]] < OURS and present(v, q, ops, target) <= 0.5)


def drive(
    v: Floats, q: Bits, ops: Index, o: int, i: int, now: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Valves first, the pump `overlap` after; at the end the pump stops that much before them.

    Zones run one at a time while their flow is learnt or a fault is looked for. Master valve and
    pump follow a zone that somebody else opened, too; no pump works against a master valve that is
    held shut.
    """
    opened, owed, withheld = False, 0.0, par[p + OVERLAP]
    for k in range(count):
        z, target = s + ZONES + k * STATES, i + INPUTS + k * OPERANDS
        own = st[z + OPEN] == 1.0 and (isnan(st[s + ALONE]) or int(st[s + ALONE]) == k)
        ask(v, q, ops, target, 1.0 if own else 0.0, 0)
        owed = max(owed, st[z + REMAIN]) if st[z + REMAIN] > 0.0 else owed
        if held_by_another(v, ops, target) and present(v, q, ops, target) > 0.5:
            opened, owed = True, 1e9
        opened = opened or own
    ready = lasted(st, s + PUMP_AT, opened and not shut(v, q, ops, o + MASTER), now, withheld)
    ask(v, q, ops, o + MASTER, 1.0 if opened else 0.0, 0)
    ask(v, q, ops, o + PUMP, 1.0 if ready and owed > withheld else 0.0, 0)


def publish(
    v: Floats, q: Bits, ops: Index, o: int, count: int, clock: bool,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """State, reason, leak and the water planned; of each zone state, time, usual flow, limit."""
    active, leak = st[s + ACTIVE], st[s + LEAKS]
    for k in range(count):
        z, shown = s + ZONES + k * STATES, o + RESULTS + SHOWN + PER_ZONE * k
        over = st[z + TODAY] >= par[p + LONGEST] - ROUNDING
        state = float(IDLE)
        if not isnan(st[z + FAULT]):
            state = st[z + FAULT]
        elif over:
            state = float(OVER)
        elif st[z + OPEN] == 1.0:
            state = float(WATERING)
        elif st[z + REMAIN] > 0.0:
            state = float(WAITING if isnan(st[z + SOAKED_AT]) else SOAKING)
        elif active == 2.0 and st[z + TODAY] > 0.0:
            state = float(DONE)
        leak = 1.0 if state == BROKEN else leak
        show(v, q, ops[shown + ZONE], state)
        show(v, q, ops[shown + TIME], st[z + PLAN])
        show(v, q, ops[shown + LEARNT], st[z + NORMAL])
        show(v, q, ops[shown + OVER_LIMIT], 1.0 if over else 0.0)
    state = float(RESTING)
    if not clock:
        state = float(NO_CLOCK)
    elif active == 1.0:
        state = float(HELD_BACK if st[s + PAUSED] == 1.0 else UNDER_WAY)
    elif active == 2.0:
        state = float(LEFT_OUT if st[s + WHY] != NONE else COMPLETE)
    show(v, q, ops[o + RESULTS + STATE], state)
    show(v, q, ops[o + RESULTS + REASON], st[s + WHY])
    show(v, q, ops[o + RESULTS + LEAK], leak)
    show(v, q, ops[o + RESULTS + VOLUME], st[s + PLANNED])
    show(v, q, ops[o + RESULTS + TRIPPED], 1.0 if closed_zones(count, st, s) > 0 else 0.0)


def _memory(model: Irrigation) -> dict[str, int]:
    """The day, while its zones are the same, and of each zone its water, its fault, its flow."""
    valves = [zone.valve for zone in model.zones]
    day = {"day": DAY, "begin of the day": DAY_AT, "active": ACTIVE, "reason": WHY,
           "planned": PLANNED}  # fmt: skip
    zone = {"owed": REMAIN, "fault": FAULT, "today": TODAY, "plan": PLAN, "flow": NORMAL,
            "cycle": LEFT}  # fmt: skip
    return {f"irrigation {name} of {valves}": at for name, at in day.items()} | {
        f"irrigation {name} of {valve}": ZONES + k * STATES + at
        for k, valve in enumerate(valves)
        for name, at in zone.items()
    }


_DAY_1, _NIGHT = 738000.0, 738000.5
_BED = {
    "et0": "weather.et0", "rain": "weather.rain", "master": "bed.master",
    "zones": [{"valve": "bed.v1", "area": 300.0}],
}  # fmt: skip
_DRY_DAY = {"weather.et0": 0.0052, "weather.rain": 0.002, "bed.v1": 0.0, "bed.master": 0.0}

IRRIGATION = Kind(
    name="irrigation",
    model=Irrigation,
    step=irrigation_step,
    text=Text("自动喷灌", "irrigation"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=irrigation_points,
    states=lambda model: ZONES + STATES * len(model.zones),
    keeps=_memory,
    alarms=irrigation_alarms,
    urges=lambda model: tuple(
        Urge(zone.valve, f"zone{i}_over", 0.0) for i, zone in enumerate(model.zones, 1)
    ),
    agenda=agenda,
    resettable=lambda _: True,
    examples=(
        Example(
            "ET0 5.2 mm, Kc 0.8, rain 2.0 mm, efficiency 0.75, 12 mm/h: 17.07 min, 1.024 m³ on "
            "300 m²",
            _BED,
            (
                (0.0, {**_DRY_DAY, "agenda": _DAY_1}, {"bed.v1": 0.0, "state": RESTING}),
                (
                    1.0,
                    {"agenda": _NIGHT},
                    {"bed.v1": 1.0, "bed.master": 1.0, "zone1_time": 1024.0, "volume": 1.024},
                ),
                (1024.0, {}, {"bed.v1": 1.0, "zone1": WATERING}),
                (1025.0, {}, {"bed.v1": 0.0, "bed.master": 0.0, "zone1": DONE, "state": COMPLETE}),
            ),
            tolerance=1e-6,
        ),
        Example(
            "rain of 5 mm in 24 h: skipped, with the reason; a lost clock: nothing is watered",
            _BED,
            (
                (0.0, {**_DRY_DAY, "weather.rain": 0.006, "agenda": _NIGHT},
                 {"bed.v1": 0.0, "state": LEFT_OUT, "reason": RAIN}),
                (60.0, {"agenda": nan, "weather.rain": 0.0}, {"bed.v1": 0.0, "state": NO_CLOCK}),
            ),
        ),
    ),
)  # fmt: skip
