"""Irrigation: zones in turn within a window of the night, as long as the day's evaporation asks.

Here: duration, order, cycle and soak, flow checks (domain §1.15). The window is wall time and comes
as an agenda: without a trusted clock nothing is watered. Called by the kernel.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from math import isnan, nan
from zoneinfo import ZoneInfo

from edge.blocks.irrigation_model import Irrigation, seconds_of
from edge.blocks.irrigation_shown import (
    BROKEN,
    COMPLETE,
    DONE,
    FROST,
    IDLE,
    LEFT_OUT,
    NO_CLOCK,
    NO_DEMAND,
    NONE,
    NOT_OPEN,
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
from edge.blocks.kind import (
    TARGET_OPERANDS,
    Agenda,
    Example,
    Kind,
    Place,
    Urge,
    usable,
)
from edge.blocks.output import OURS, OWNER, ask, present, show
from edge.blocks.schedule import local_time
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.text import Text

_STATE, _REASON, _LEAK, _VOLUME = range(SHOWN)
_ZONE, _TIME, _LEARNT, _OVER_LIMIT = range(PER_ZONE)
_MASTER, _PUMP, _RESULTS = 0, TARGET_OPERANDS, 2 * TARGET_OPERANDS
_ET0, _RAIN, _WIND, _AIR, _FLOW, _RESET, _AGENDA, _INPUTS = range(8)
(_N, _PARALLEL, _OVERLAP, _RAIN_LIMIT, _WIND_LIMIT, _FROST, _LONGEST, _SETTLE, _LEAK_FLOW,
 _LEAK_TIME, _OWN) = range(11)  # fmt: skip
_RATE, _KC, _EFFICIENCY, _AREA, _DURATION, _CYCLE, _SOAK, _NOMINAL, _SOIL_LIMIT, _PAR = range(10)
_SOIL, _OPERANDS = TARGET_OPERANDS, TARGET_OPERANDS + 1  # of a zone
(_DAY, _ACTIVE, _WHY, _AT, _LEAK_AT, _LEAKS, _OPENED_AT, _PUMP_AT, _HIGH_AT, _LOW_AT, _PLANNED,
 _DAY_AT, _ZONES) = range(13)  # fmt: skip
(_REMAIN, _LEFT, _SOAKED_AT, _OPEN, _FAULT, _TODAY, _PLAN, _NORMAL, _SUM, _SUM_TIME,
 _STATES) = range(11)  # fmt: skip
HIGH, LOW = 1.3, 0.5  # of the learnt flow: a broken head, a valve that did not open
HIGH_TIME, LOW_TIME = 5.0, 30.0
LEARN_TIME = 60.0  # s of settled flow until it is known
RAIN_SHARE = 0.8  # of the rain that the roots get
LONG_DAY = 86400.0  # s after which the daily limit begins anew although nobody knows the date


def irrigation_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Begin once a day in the window, water zone after zone, look at the flow, ask.

    What was owed is kept over a restart; what was open meanwhile has had its water. A bad rain,
    wind, air or soil signal skips nothing; without evaporation the zone gets its `duration`, else
    what it got last.
    """
    count = int(par[p + _N])
    i = o + _RESULTS + SHOWN + PER_ZONE * count
    elapsed = 0.0 if isnan(st[s + _AT]) else max(now - st[s + _AT], 0.0)
    st[s + _AT] = now
    cell = ops[i + _AGENDA]
    clock = usable(v, q, cell)
    today = float(int(v[cell])) if clock else nan
    window = clock and v[cell] - today > 0.25
    over = today != st[s + _DAY] if clock else now - st[s + _DAY_AT] >= LONG_DAY
    if isnan(st[s + _ACTIVE]) or over:
        new_day(today, count, st, s)
        st[s + _DAY_AT] = now
    reset = usable(v, q, ops[i + _RESET]) and v[ops[i + _RESET]] != 0.0
    spend(v, q, ops, i, elapsed, count, reset, par, p, st, s)
    why = weather(v, q, ops, i, par, p)
    if window and st[s + _ACTIVE] == 0.0:
        begin(v, q, ops, i, why, count, par, p, st, s)
    elif st[s + _ACTIVE] == 1.0 and (not window or why != NONE):
        leave(why if why != NONE else (TOO_LATE if clock else NONE), count, st, s)
    run_zones(v, q, ops, i, now, elapsed, count, par, p, st, s)
    look_at_flow(v, q, ops, i, now, elapsed, count, par, p, st, s)
    drive(v, q, ops, o, i, now, count, par, p, st, s)
    publish(v, q, ops, o, count, clock, par, p, st, s)


def new_day(today: float, count: int, st: Floats, s: int) -> None:
    """Forget what was watered and what was found: each day begins anew."""
    st[s + _DAY], st[s + _ACTIVE], st[s + _WHY], st[s + _PLANNED] = today, 0.0, NONE, nan
    for k in range(count):
        z = s + _ZONES + k * _STATES
        st[z + _REMAIN], st[z + _FAULT], st[z + _TODAY], st[z + _OPEN] = 0.0, nan, 0.0, 0.0
        st[z + _PLAN] = 0.0 if isnan(st[z + _PLAN]) else st[z + _PLAN]


def weather(v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int) -> float:
    """Why nothing may be watered now."""
    rain, wind, air = ops[i + _RAIN], ops[i + _WIND], ops[i + _AIR]
    if usable(v, q, rain) and v[rain] >= par[p + _RAIN_LIMIT] - 1e-9:
        return RAIN
    if usable(v, q, air) and v[air] < par[p + _FROST]:
        return FROST
    if usable(v, q, wind) and v[wind] > par[p + _WIND_LIMIT]:
        return WIND
    return NONE


def begin(
    v: Floats, q: Bits, ops: Index, i: int, why: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """The day's plan: t = 60·G/PR minutes, G = max(0, ET0·Kc - 0.8·rain)/efficiency."""
    st[s + _ACTIVE], st[s + _WHY] = 1.0, why
    et0, rain = ops[i + _ET0], ops[i + _RAIN]
    fallen = v[rain] if usable(v, q, rain) else 0.0
    st[s + _PLANNED], demand, known = 0.0, False, False
    for k in range(count):
        z, m = s + _ZONES + k * _STATES, p + _OWN + k * _PAR
        st[z + _SOAKED_AT], st[z + _LEFT] = nan, par[m + _CYCLE]
        if usable(v, q, et0):
            gross = max(0.0, v[et0] * par[m + _KC] - RAIN_SHARE * fallen) / par[m + _EFFICIENCY]
            st[z + _PLAN] = 3600.0 * 1000.0 * gross / par[m + _RATE]
            known = True
        elif not isnan(par[m + _DURATION]):
            st[z + _PLAN] = par[m + _DURATION]
            known = True
        known = known or st[z + _PLAN] > 0.0
        st[s + _PLANNED] += st[z + _PLAN] / 3600.0 * par[m + _RATE] / 1000.0 * par[m + _AREA]
        st[z + _REMAIN] = min(st[z + _PLAN], par[p + _LONGEST] - st[z + _TODAY])
        soil = ops[i + _INPUTS + k * _OPERANDS + _SOIL]
        if usable(v, q, soil) and v[soil] >= par[m + _SOIL_LIMIT]:
            st[z + _REMAIN], st[z + _FAULT] = 0.0, SKIPPED
        if not isnan(st[z + _FAULT]):
            st[z + _REMAIN] = 0.0  # somebody who watered by hand found it broken
        demand = demand or st[z + _REMAIN] > 0.0
    if why == NONE and not demand:
        every = count > 0
        for k in range(count):
            every = every and st[s + _ZONES + k * _STATES + _FAULT] == SKIPPED
        st[s + _WHY] = SOIL if every else (NO_DEMAND if known else UNKNOWN_DEMAND)
    if st[s + _WHY] != NONE:
        leave(st[s + _WHY], count, st, s)


def leave(why: float, count: int, st: Floats, s: int) -> None:
    """Enough for today; `why` says what kept the rest from being watered."""
    owed = False
    for k in range(count):
        z = s + _ZONES + k * _STATES
        owed = owed or st[z + _REMAIN] > 0.0
        st[z + _REMAIN], st[z + _OPEN] = 0.0, 0.0
    if owed or why != TOO_LATE:
        st[s + _WHY] = why
    st[s + _ACTIVE] = 2.0


def spend(
    v: Floats, q: Bits, ops: Index, i: int, elapsed: float, count: int, reset: bool,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Count the water that open valves gave, whoever opened them."""
    for k in range(count):
        z, target = s + _ZONES + k * _STATES, i + _INPUTS + k * _OPERANDS
        if reset:
            st[z + _FAULT] = nan
        if present(v, q, ops, target) > 0.5:
            st[z + _TODAY] = (0.0 if isnan(st[z + _TODAY]) else st[z + _TODAY]) + elapsed
            if st[z + _OPEN] == 1.0:
                st[z + _REMAIN] -= elapsed
                st[z + _LEFT] -= elapsed


def run_zones(
    v: Floats, q: Bits, ops: Index, i: int, now: float, elapsed: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Close what has had its share, open the next one `overlap` before.

    A zone that somebody stronger holds shut lets the others pass and waits for its turn: counted as
    open, it would have the pump work against a shut valve until the window ends.
    """
    running, owed = 0, False
    for k in range(count):
        z, m = s + _ZONES + k * _STATES, p + _OWN + k * _PAR
        if st[z + _OPEN] != 1.0 or shut(v, q, ops, i + _INPUTS + k * _OPERANDS):
            st[z + _OPEN] = 0.0
            continue
        over = st[z + _TODAY] >= par[p + _LONGEST] - ROUNDING
        if st[z + _REMAIN] <= ROUNDING or over or not isnan(st[z + _FAULT]):
            st[z + _OPEN], st[z + _REMAIN] = 0.0, 0.0
        elif st[z + _LEFT] <= ROUNDING:
            st[z + _OPEN], st[z + _SOAKED_AT], st[z + _LEFT] = 0.0, now, par[m + _CYCLE]
        elif st[z + _REMAIN] > par[p + _OVERLAP] and not st[z + _LEFT] <= par[p + _OVERLAP]:
            running += 1
    for k in range(count):
        z, m = s + _ZONES + k * _STATES, p + _OWN + k * _PAR
        if st[s + _ACTIVE] != 1.0 or not st[z + _REMAIN] > ROUNDING:
            continue
        owed = True
        soaked = not now - st[z + _SOAKED_AT] < par[m + _SOAK]
        soaked = soaked and not shut(v, q, ops, i + _INPUTS + k * _OPERANDS)
        if st[z + _OPEN] != 1.0 and soaked and running < par[p + _PARALLEL]:
            st[z + _OPEN], st[s + _OPENED_AT] = 1.0, now
            st[z + _SUM], st[z + _SUM_TIME] = 0.0, 0.0
            running += 1
    if st[s + _ACTIVE] == 1.0 and not owed:
        st[s + _ACTIVE] = 2.0


def shut(v: Floats, q: Bits, ops: Index, target: int) -> bool:
    """Whether a person, a protection or a minimum time keeps the valve shut."""
    return bool(0.0 < v[ops[target + OWNER]] < OURS and present(v, q, ops, target) <= 0.5)


def look_at_flow(
    v: Floats, q: Bits, ops: Index, i: int, now: float, elapsed: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Compare the meter with what the open zones usually take; learn that of one on its own."""
    meter = ops[i + _FLOW]
    known = usable(v, q, meter)
    flow, expected, opened, last = v[meter], 0.0, 0, -1
    for k in range(count):
        z, target = s + _ZONES + k * _STATES, i + _INPUTS + k * _OPERANDS
        if isnan(st[z + _NORMAL]):
            st[z + _NORMAL] = par[p + _OWN + k * _PAR + _NOMINAL]
        if present(v, q, ops, target) > 0.5:
            opened, last = opened + 1, k
            expected += st[z + _NORMAL]
    closed = known and opened == 0 and flow > par[p + _LEAK_FLOW]
    leaks = lasted(st, s + _LEAK_AT, closed, now, par[p + _LEAK_TIME])
    st[s + _LEAKS] = 1.0 if leaks else 0.0
    if not known or opened == 0:
        st[s + _HIGH_AT], st[s + _LOW_AT] = nan, nan
        st[s + _OPENED_AT] = now if opened == 0 else st[s + _OPENED_AT]
        return
    settled = now - st[s + _OPENED_AT] >= par[p + _SETTLE]
    high = lasted(st, s + _HIGH_AT, settled and flow > HIGH * expected, now, HIGH_TIME)
    low = lasted(st, s + _LOW_AT, settled and flow < LOW * expected, now, LOW_TIME)
    z = s + _ZONES + last * _STATES
    if high or low:
        st[z + _FAULT] = BROKEN if high else NOT_OPEN
        st[z + _OPEN], st[z + _REMAIN] = 0.0, 0.0
        st[s + _HIGH_AT], st[s + _LOW_AT], st[s + _OPENED_AT] = nan, nan, now
    elif settled and opened == 1 and isnan(st[z + _NORMAL]) and st[z + _OPEN] == 1.0:
        st[z + _SUM] += flow * elapsed
        st[z + _SUM_TIME] += elapsed
        if st[z + _SUM_TIME] >= LEARN_TIME and st[z + _SUM] > 0.0:
            st[z + _NORMAL] = st[z + _SUM] / st[z + _SUM_TIME]


def drive(
    v: Floats, q: Bits, ops: Index, o: int, i: int, now: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """Valves first, the pump `overlap` after; at the end the pump stops that much before them.

    Master valve and pump follow a zone that somebody else opened, too; no pump works against a
    master valve that is held shut.
    """
    opened, owed, withheld = False, 0.0, par[p + _OVERLAP]
    for k in range(count):
        z, target = s + _ZONES + k * _STATES, i + _INPUTS + k * _OPERANDS
        own = st[z + _OPEN] == 1.0
        ask(v, q, ops, target, 1.0 if own else 0.0, 0)
        owed = max(owed, st[z + _REMAIN]) if st[z + _REMAIN] > 0.0 else owed
        held = v[ops[target + OWNER]] not in (0.0, OURS)
        if held and present(v, q, ops, target) > 0.5:
            opened, owed = True, 1e9
        opened = opened or own
    ready = lasted(st, s + _PUMP_AT, opened and not shut(v, q, ops, o + _MASTER), now, withheld)
    ask(v, q, ops, o + _MASTER, 1.0 if opened else 0.0, 0)
    ask(v, q, ops, o + _PUMP, 1.0 if ready and owed > withheld else 0.0, 0)


def publish(
    v: Floats, q: Bits, ops: Index, o: int, count: int, clock: bool,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """State, reason, leak and the water planned; of each zone state, time, usual flow, limit."""
    active, leak = st[s + _ACTIVE], st[s + _LEAKS]
    for k in range(count):
        z, shown = s + _ZONES + k * _STATES, o + _RESULTS + SHOWN + PER_ZONE * k
        over = st[z + _TODAY] >= par[p + _LONGEST] - ROUNDING
        state = float(IDLE)
        if not isnan(st[z + _FAULT]):
            state = st[z + _FAULT]
        elif over:
            state = float(OVER)
        elif st[z + _OPEN] == 1.0:
            state = float(WATERING)
        elif st[z + _REMAIN] > 0.0:
            state = float(WAITING if isnan(st[z + _SOAKED_AT]) else SOAKING)
        elif active == 2.0 and st[z + _TODAY] > 0.0:
            state = float(DONE)
        leak = 1.0 if state == BROKEN else leak
        show(v, q, ops[shown + _ZONE], state)
        show(v, q, ops[shown + _TIME], st[z + _PLAN])
        show(v, q, ops[shown + _LEARNT], st[z + _NORMAL])
        show(v, q, ops[shown + _OVER_LIMIT], 1.0 if over else 0.0)
    state = float(RESTING)
    if not clock:
        state = float(NO_CLOCK)
    elif active == 1.0:
        state = float(UNDER_WAY)
    elif active == 2.0:
        state = float(LEFT_OUT if st[s + _WHY] != NONE else COMPLETE)
    show(v, q, ops[o + _RESULTS + _STATE], state)
    show(v, q, ops[o + _RESULTS + _REASON], st[s + _WHY])
    show(v, q, ops[o + _RESULTS + _LEAK], leak)
    show(v, q, ops[o + _RESULTS + _VOLUME], st[s + _PLANNED])


def agenda(model: Irrigation, place: Place, wall: float) -> Agenda:
    """The number of the day, and a half more within its window."""
    day: date = datetime.fromtimestamp(wall, ZoneInfo(place.timezone)).date()
    moments = [
        (local_time(day, seconds_of(model.begin), place.timezone), 0.5),
        (local_time(day, seconds_of(model.end), place.timezone), 0.0),
    ]
    passed = [part for at, part in moments if at <= wall]
    midnight = local_time(day + timedelta(1), 0.0, place.timezone)
    until = min([at for at, _ in moments if at > wall], default=midnight)
    return Agenda(day.toordinal() + (passed[-1] if passed else 0.0), until)


def _memory(model: Irrigation) -> dict[str, int]:
    """The day, while its zones are the same, and of each zone its water, its fault, its flow."""
    valves = [zone.valve for zone in model.zones]
    day = {"day": _DAY, "begin of the day": _DAY_AT, "active": _ACTIVE, "reason": _WHY,
           "planned": _PLANNED}  # fmt: skip
    zone = {"owed": _REMAIN, "fault": _FAULT, "today": _TODAY, "plan": _PLAN, "flow": _NORMAL,
            "cycle": _LEFT}  # fmt: skip
    return {f"irrigation {name} of {valves}": at for name, at in day.items()} | {
        f"irrigation {name} of {valve}": _ZONES + k * _STATES + at
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
    states=lambda model: _ZONES + _STATES * len(model.zones),
    keeps=_memory,
    alarms=irrigation_alarms,
    urges=lambda model: tuple(
        Urge(zone.valve, f"zone{i}_over", 0.0) for i, zone in enumerate(model.zones, 1)
    ),
    agenda=agenda,
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
