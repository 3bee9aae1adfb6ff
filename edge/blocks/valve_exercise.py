"""Exercise of a valve against seizing (防卡滞), once a month at night (domain §1.13).

10 % down, back, 10 % up, back, at the slot of maintenance; whether position and water reacted is
told. Why a valve does not follow in service is the question of `valve`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from math import inf, isnan, nan
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from edge.blocks.kind import (
    Agenda,
    AlarmTemplate,
    Example,
    Input,
    Kind,
    Place,
    Published,
    Source,
    Target,
    usable,
)
from edge.blocks.output import DECIDED, OWNER, ask
from edge.blocks.schedule import local_time
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import GOOD, NEVER
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration, Quantity
from edge.text import Text

NEVER_YET, EXERCISING, REACTED, STUCK, NO_WATER, NO_MARGIN, NOT_FREE, SHUT = range(8)

HOUR = 3  # local time at which it begins
WAITS = 3600.0  # s after it for which the valve may become free
STROKE, STROKE_TIME, SLOWNESS = 10.0, 5.0, 1.5  # %, s, x the expected travel
SHUT_BELOW = 2.0 * STROKE  # %: a stroke less would shut it, one more open what people shut
MOVED = 5.0  # % that the position must follow of 10
WATER_FLOW, WATER_PRESSURE = 0.01, 0.001  # share of the flow, MPa: the least reaction


class ValveExercise(Model):
    """On `day` of each month at 03:00, if `upstream` is at least `margin` above `pressure`.

    Nothing moves while a stronger slot, a person among them, holds the valve or an input is bad;
    the exercise waits an hour for that. It never strokes more than 10 % from where the valve is
    held, and gives it back there; a valve held below 20 % is left alone. `flow` and the pressures
    tell whether the plug moved with the position. Not for fire lines: they are refused.
    """

    output: Annotated[str, Target("%")]
    position: Annotated[Source, Input("%")]
    upstream: Annotated[Source, Input("MPa")]
    pressure: Annotated[Source, Input("MPa")]
    flow: Annotated[Source | None, Input("m³/h")] = None
    hoa: Annotated[Source | None, Input("")] = None
    travel: Annotated[Duration, Field(gt=0, le=600)] = 50.0
    margin: Annotated[float, Quantity("MPa", difference=True), Field(ge=0.05, le=1)] = 0.05
    day: Annotated[int, Field(ge=1, le=28)] = 1


_RESULT, _POSITION_MOVED, _PRESSURE_MOVED, _FLOW_MOVED = range(4, 8)
_POSITION, _UPSTREAM, _PRESSURE, _FLOW, _HOA, _AGENDA = range(8, 14)
_TRAVEL, _MARGIN = range(2)
(_STATE, _DONE, _MOVE, _BASE, _ARRIVED, _FROM_POSITION, _FROM_PRESSURE, _FROM_FLOW, _BY_POSITION,
 _BY_PRESSURE, _BY_FLOW) = range(11)  # fmt: skip
_OURS = float(Slot.MAINTAIN)


def valve_exercise_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Begin when the agenda's day is a new one; a restart ends an exercise where it stands."""
    if isnan(st[s + _STATE]):
        st[s + _STATE] = NEVER_YET
    if dt == 0.0 and st[s + _STATE] == EXERCISING:
        end(v, q, ops, o, st, s, NOT_FREE)
    due = v[ops[o + _AGENDA]] if usable(v, q, ops[o + _AGENDA]) else nan
    if st[s + _STATE] == EXERCISING:
        if not free(v, q, ops, o):
            end(v, q, ops, o, st, s, NOT_FREE)
        else:
            stroke(v, q, ops, o, par, p, st, s, now)
    elif not isnan(due) and due != st[s + _DONE]:
        try_to_begin(v, q, ops, o, par, p, st, s, due)
    show(v, q, ops, o, st, s)


def free(v: Floats, q: Bits, ops: Index, o: int) -> bool:
    """Whether everything is known and nobody stronger holds the valve."""
    for k in range(_POSITION, _FLOW):
        if not usable(v, q, ops[o + k]):
            return False
    hoa, owner = ops[o + _HOA], v[ops[o + OWNER]]
    return bool(owner >= _OURS and not (usable(v, q, hoa) and v[hoa] != 1.0))


def try_to_begin(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, due: float,
) -> None:  # fmt: skip
    """Adopt where the valve is held, or say why not; while the day lasts it is tried again."""
    if not free(v, q, ops, o) or isnan(v[ops[o + DECIDED]]):
        st[s + _STATE] = NOT_FREE
        return
    if v[ops[o + _UPSTREAM]] - v[ops[o + _PRESSURE]] <= par[p + _MARGIN]:
        st[s + _STATE] = NO_MARGIN
        return
    if v[ops[o + DECIDED]] < SHUT_BELOW:
        st[s + _STATE] = SHUT
        return
    st[s + _STATE], st[s + _DONE] = EXERCISING, due
    st[s + _MOVE], st[s + _BASE], st[s + _ARRIVED] = 0.0, v[ops[o + DECIDED]], nan
    st[s + _FROM_POSITION] = v[ops[o + _POSITION]]
    st[s + _FROM_PRESSURE] = v[ops[o + _PRESSURE]]
    st[s + _FROM_FLOW] = v[ops[o + _FLOW]] if usable(v, q, ops[o + _FLOW]) else nan
    st[s + _BY_POSITION], st[s + _BY_PRESSURE], st[s + _BY_FLOW] = 0.0, 0.0, 0.0


def stroke(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> None:  # fmt: skip
    """One move after the other, each given its time once the output has come there."""
    move, base = st[s + _MOVE], st[s + _BASE]
    goal = base
    if move == 0.0:
        goal = base - STROKE
    elif move == 2.0:
        goal = min(base + STROKE, 100.0)
    ask(v, q, ops, o, goal, GOOD)
    st[s + _BY_POSITION] = furthest(v, q, ops[o + _POSITION], st, s + _FROM_POSITION)
    st[s + _BY_PRESSURE] = furthest(v, q, ops[o + _PRESSURE], st, s + _FROM_PRESSURE)
    st[s + _BY_FLOW] = furthest(v, q, ops[o + _FLOW], st, s + _FROM_FLOW)
    there = abs(v[ops[o + DECIDED]] - goal) < 1e-6
    time = max(SLOWNESS * STROKE / 100.0 * par[p + _TRAVEL], STROKE_TIME)
    if lasted(st, s + _ARRIVED, there, now, time):
        st[s + _MOVE], st[s + _ARRIVED] = move + 1.0, nan
        if move >= 3.0:
            end(v, q, ops, o, st, s, verdict(st, s))


def furthest(v: Floats, q: Bits, at: int, st: Floats, start: int) -> float:
    """The greatest departure so far from where it was at the start; it stands 5 places later."""
    seen = st[start + _BY_POSITION - _FROM_POSITION]
    if not usable(v, q, at) or isnan(st[start]):
        return float(seen)
    return float(max(seen, abs(v[at] - st[start])))


def verdict(st: Floats, s: int) -> float:
    """Did the position follow, and the water with it?"""
    if st[s + _BY_POSITION] < MOVED:
        return STUCK
    flow = st[s + _BY_FLOW] >= WATER_FLOW * abs(st[s + _FROM_FLOW])
    return REACTED if flow or st[s + _BY_PRESSURE] >= WATER_PRESSURE else NO_WATER


def end(v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int, state: float) -> None:
    """Give the valve back to whoever held it."""
    st[s + _STATE] = state
    ask(v, q, ops, o, nan, GOOD)


def show(v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int) -> None:
    """The result, and by how much position, pressure and flow moved in the last exercise."""
    v[ops[o + _RESULT]] = st[s + _STATE]
    q[ops[o + _RESULT]] = GOOD
    for k in range(3):
        v[ops[o + _POSITION_MOVED + k]] = st[s + _BY_POSITION + k]
        q[ops[o + _POSITION_MOVED + k]] = NEVER if isnan(st[s + _BY_POSITION + k]) else GOOD


def agenda(model: ValveExercise, place: Place, wall: float) -> Agenda:
    """From 03:00 on the day of each month, for an hour: the number of that day."""
    today = datetime.fromtimestamp(wall, ZoneInfo(place.timezone)).date()
    for month in (today.replace(day=1), _next_month(today)):
        day = month.replace(day=model.day)
        begins = local_time(day, HOUR * 3600.0, place.timezone)
        if wall < begins:
            return Agenda(nan, begins)
        if wall < begins + WAITS:
            return Agenda(float(day.toordinal()), begins + WAITS)
    return Agenda(nan, inf)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


STATES = {
    NEVER_YET: Text("尚未进行", "not yet"),
    EXERCISING: Text("进行中", "exercising"),
    REACTED: Text("正常", "reacted"),
    STUCK: Text("阀位未动作", "the position did not follow"),
    NO_WATER: Text("阀位动作而水力无反应", "the position followed, the water did not react"),
    NO_MARGIN: Text("压差不足, 未进行", "left out: not enough pressure margin"),
    NOT_FREE: Text("阀门被占用或信号无效, 未完成", "left out: held by others, or an input is bad"),
    SHUT: Text("阀门关闭或接近关闭, 未进行", "left out: the valve is shut or nearly so"),
}


def _publishes(model: ValveExercise) -> tuple[Published, ...]:
    return (
        Published("state", "", Text("防卡滞结果", "result of the exercise"), STATES),
        Published("position_moved", "%", Text("阀位变化", "movement of the position")),
        Published("pressure_moved", "MPa", Text("压力变化", "reaction of the pressure")),
        Published("flow_moved", "m³/h", Text("流量变化", "reaction of the flow")),
    )


def _alarms(model: ValveExercise) -> tuple[AlarmTemplate, ...]:
    return (
        AlarmTemplate(
            id="{RULE}_STUCK",
            when=f"{{rule}}.state == {STUCK} or {{rule}}.state == {NO_WATER}",
            priority=3,
            text=Text(
                "{name}: 防卡滞试验无反应", "{name}: the valve did not react to its exercise"
            ),
            checks=(
                Text("检查执行器电源", "check the actuator's power"),
                Text(
                    "检查阀杆与联轴器是否卡滞或脱开", "check stem and coupling for jamming or play"
                ),
                Text("手动全行程试动一次", "stroke it by hand once"),
            ),
            shows=tuple(f"{{rule}}.{p.name}" for p in _publishes(model)),
            consequence=Text("需要时可能关不动", "it may not move when it is needed"),
        ),
    )


_BASIC: dict[str, Any] = {
    "output": "v1.position", "position": "v1.feedback", "upstream": "header.pressure",
    "pressure": "zone1.pressure", "flow": "zone1.flow", "travel": "20s",
}  # fmt: skip

VALVE_EXERCISE = Kind(
    name="valve_exercise",
    model=ValveExercise,
    step=valve_exercise_step,
    text=Text("阀门防卡滞", "valve exercise"),
    every=0.5,
    slot=Slot.MAINTAIN,
    publishes=_publishes,
    states=lambda _: 11,
    keeps=lambda _: {
        "exercise": _STATE, "day of the exercise": _DONE, "by position": _BY_POSITION,
        "by pressure": _BY_PRESSURE, "by flow": _BY_FLOW,
    },
    alarms=_alarms,
    agenda=agenda,
    audited=lambda _: ("state",),
    positions=lambda model: {model.output: model.position},
    explains=lambda model: {model.output: f"{{rule}}.state == {EXERCISING}"},
    examples=(
        Example(
            "without a margin of 0.05 MPa nothing is moved",
            _BASIC,
            (
                (
                    0.0,
                    {"v1.position": 80.0, "v1.feedback": 80.0, "header.pressure": 0.41,
                     "zone1.pressure": 0.40, "zone1.flow": 6.0, "agenda": nan},
                    {"state": NEVER_YET, "v1.position": nan},
                ),
                (0.5, {"agenda": 739000.0}, {"state": NOT_FREE, "v1.position": nan}),
            ),
        ),
    ),
)  # fmt: skip
