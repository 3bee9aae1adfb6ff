"""Supervision of a valve actuator: does the position follow the command (domain §1.13).

It drives nothing: whoever commands the valve may be a rule, a person or a remote system. Why a zone
lost pressure is the question of `zone_loss`, whose verdict suppresses the alarms here.
"""

from __future__ import annotations

from math import isfinite, isnan, nan
from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import AlarmTemplate, Example, Input, Kind, Published, Source, usable
from edge.blocks.timing import ROUNDING
from edge.blocks.water_hammer import refuse_fast
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, NEVER
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration, Quantity
from edge.text import Text

OK, MOVING, NOT_MOVING, POSITION_ERROR, UNCOMMANDED_MOVE, END_NOT_REACHED, NO_FEEDBACK, IN_HAND = (
    range(8)
)


class Valve(Model):
    """`travel` is the time of a full stroke as measured at commissioning, `closing` the other way.

    A `zone_loss` rule with the same `command` suppresses the alarms of this rule while it has a
    verdict on the valve's zone; `suppressed_by` is an expression that does so too. `pipe_length`
    is that of the pipe whose water it stops: a full stroke faster than 4·2L/a is refused, of the
    actuator as of the command's `rate`. While `hoa` is not in AUTO nothing is claimed. While
    `position`, a point, is bad, no automatic request moves the valve further than 10 % from where
    it was last seen.
    """

    command: Annotated[Source, Input("%")]
    position: Annotated[Source, Input("%")]
    travel: Annotated[Duration, Field(gt=0, le=600)] = 50.0
    closing: Annotated[Duration, Field(gt=0, le=600)] | None = None
    pipe_length: Annotated[float, Quantity("m"), Field(gt=0, le=50_000)] | None = None
    hoa: Annotated[Source | None, Input("")] = None
    suppressed_by: str = ""

    @model_validator(mode="after")
    def _no_hammer(self) -> Self:
        for stroke in (self.travel, self.closing or self.travel):
            refuse_fast(stroke, self.pipe_length)
        return self


STEADY = 60.0  # s for which a command must stand before a movement counts as uncommanded
NEW_COMMAND = 0.5  # %: a smaller change of the command is the noise of its read-back
FIRST_MOVE, TOLERANCE, CLOSED = 2.0, 5.0, 3.0  # %
MEASURED, ARRIVED, RESTS = 20.0, 2.0, 2.0  # %, %, s: strokes that tell the travel time
_STATE, _DEVIATION, _TRAVELLED, _C, _F, _HOA = range(6)
_TRAVEL, _CLOSING = 0, 1
(_COMMAND, _START, _MOVE_DUE, _DUE, _STEADY_AT, _REST, _LEFT, _LEFT_AT, _LAST, _LAST_AT,
 _FULL) = range(11)  # fmt: skip
VALVE_STATES = 11


def valve_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Publish the state and command minus position; a bad input is NO_FEEDBACK."""
    state, deviation = ops[o + _STATE], ops[o + _DEVIATION]
    c, f, hoa = ops[o + _C], ops[o + _F], ops[o + _HOA]
    q[state] = 0
    v[ops[o + _TRAVELLED]] = st[s + _FULL]
    q[ops[o + _TRAVELLED]] = NEVER if isnan(st[s + _FULL]) else 0
    if usable(v, q, hoa) and v[hoa] != 1.0:
        v[state], v[deviation] = IN_HAND, v[c] - v[f]
        q[deviation] = q[c] | q[f] | (0 if isfinite(v[deviation]) else NEVER)
        st[s + _STEADY_AT], st[s + _COMMAND], st[s + _LEFT] = nan, nan, nan  # begin anew
        return
    if not (usable(v, q, c) and usable(v, q, f)):
        v[state] = NO_FEEDBACK
        v[deviation] = nan
        q[deviation] = q[c] & BAD | q[f] & BAD | NEVER
        st[s + _STEADY_AT] = nan  # what moved unseen is not an uncommanded move
        st[s + _LEFT] = nan
        return
    v[deviation] = v[c] - v[f]
    q[deviation] = q[c] | q[f]
    expect(v[c], v[f], par, p, st, s, now)
    v[state] = supervised(v[c], v[f], st, s, now)
    measure(v[c], v[f], st, s, now)


def expect(
    c: float, f: float, par: Floats, p: int, st: Floats, s: int, now: float
) -> None:  # fmt: skip
    """Note a new command and by when it must show.

    A command on top of an unfinished one extends its time and does not restart it: else a jammed
    valve under a controller that moves it every second would never be late.
    """
    before = st[s + _COMMAND]
    if not isnan(before) and abs(c - before) <= NEW_COMMAND and not isnan(st[s + _STEADY_AT]):
        return
    st[s + _STEADY_AT] = now
    if isnan(before) or abs(before - f) <= TOLERANCE:
        time = travel_time(c - f, par, p)
        st[s + _START] = f
        st[s + _LEFT], st[s + _LEFT_AT], st[s + _LAST], st[s + _LAST_AT] = f, now, f, now
        st[s + _MOVE_DUE] = now + max(0.3 * time, 5.0)
        st[s + _DUE] = now + 1.3 * time + 5.0
    elif abs(c - before) > NEW_COMMAND:
        st[s + _DUE] += 1.3 * travel_time(c - before, par, p)
    st[s + _COMMAND] = c


def travel_time(stroke: float, par: Floats, p: int) -> float:
    """Seconds for `stroke` percent, upwards when positive."""
    full = par[p + _CLOSING] if stroke < 0.0 and not isnan(par[p + _CLOSING]) else par[p + _TRAVEL]
    return float(abs(stroke) / 100.0 * full)


def measure(c: float, f: float, st: Floats, s: int, now: float) -> None:
    """The time of a full stroke, from strokes of 20 % and more: command to arrival (§3.6)."""
    if isnan(st[s + _LEFT]):
        return
    if abs(f - st[s + _LAST]) > NEW_COMMAND:
        st[s + _LAST], st[s + _LAST_AT] = f, now
    if abs(c - f) > ARRIVED or now - max(st[s + _LAST_AT], st[s + _STEADY_AT]) < RESTS - ROUNDING:
        return
    stroke = abs(f - st[s + _LEFT])
    if stroke >= MEASURED:
        st[s + _FULL] = (st[s + _LAST_AT] - st[s + _LEFT_AT]) / stroke * 100.0
    st[s + _LEFT] = nan


def supervised(c: float, f: float, st: Floats, s: int, now: float) -> float:
    """The state code; of several the one that says most."""
    late = now >= st[s + _DUE] - ROUNDING
    if late and now - st[s + _STEADY_AT] >= STEADY - ROUNDING:
        if abs(f - c) < abs(st[s + _REST] - c):
            st[s + _REST] = f  # a late arrival is what was asked
        if abs(f - st[s + _REST]) > TOLERANCE:
            return UNCOMMANDED_MOVE
    else:
        st[s + _REST] = f
    if late and c <= NEW_COMMAND and f > CLOSED:
        return END_NOT_REACHED
    if late and abs(c - f) > TOLERANCE:
        return POSITION_ERROR
    asked = abs(c - st[s + _START]) > TOLERANCE and abs(c - f) > TOLERANCE
    if asked and now >= st[s + _MOVE_DUE] - ROUNDING and abs(f - st[s + _START]) < FIRST_MOVE:
        return NOT_MOVING
    return MOVING if abs(c - f) > FIRST_MOVE and not late else OK


STATES = {
    OK: Text("正常", "in position"),
    MOVING: Text("动作中", "moving"),
    NOT_MOVING: Text("不动作", "not moving"),
    POSITION_ERROR: Text("阀位偏差", "position error"),
    UNCOMMANDED_MOVE: Text("无指令动作", "moved without a command"),
    END_NOT_REACHED: Text("关不到位", "does not close"),
    NO_FEEDBACK: Text("阀位反馈丢失", "feedback lost"),
    IN_HAND: Text("手动", "in hand"),
}

_POWER = Text("检查执行器电源", "check the actuator's power")
_LEVER = Text("查看手动手柄是否被操作", "see whether the hand lever was used")
_STEM = Text("检查阀杆与联轴器是否卡滞或脱开", "check stem and coupling for jamming or play")
_SEAT = Text("检查阀座有无异物", "look for debris on the seat")
_WHO = Text("查问现场有无人员操作", "ask whether somebody works on site")
_WIRE = Text("检查反馈接线与通信地址", "check feedback wiring and bus address")


def _publishes(model: Valve) -> tuple[Published, ...]:
    return (
        Published("state", "", Text("阀门监督状态", "valve supervision"), STATES),
        Published("deviation", "%", Text("阀位偏差", "command minus position")),
        Published("travelled", "s", Text("实测全行程时间", "measured time of a full stroke")),
    )


def _alarms(model: Valve) -> tuple[AlarmTemplate, ...]:
    # The delay leaves zone_loss the time to find the cause and to suppress what follows from it.
    rows = (
        ("NOT_MOVING", NOT_MOVING, 3, 0.0, Text("阀门不动作", "Valve does not move"),
         (_POWER, _LEVER, _STEM)),
        ("POSITION_ERROR", POSITION_ERROR, 3, 10.0, Text("阀位偏差", "Valve position error"),
         (_POWER, _LEVER, _STEM)),
        ("UNCOMMANDED_MOVE", UNCOMMANDED_MOVE, 2, 10.0,
         Text("阀门无指令动作", "Valve moved without a command"), (_LEVER, _WHO, _POWER)),
        ("END_NOT_REACHED", END_NOT_REACHED, 3, 10.0,
         Text("阀门关不到位", "Valve does not close"), (_SEAT, _STEM, _POWER)),
        ("NO_FEEDBACK", NO_FEEDBACK, 3, 30.0,
         Text("阀位反馈丢失", "Valve feedback lost"), (_WIRE, _POWER)),
    )  # fmt: skip
    return tuple(
        AlarmTemplate(
            id=f"{{RULE}}_{name}",
            when=f"{{rule}}.state == {code}",
            priority=priority,
            text=text,
            checks=checks,
            on_delay=delay,
            off_delay=5.0,
            suppressed_by=model.suppressed_by,
            about=str(model.command),
            shows=("{rule}.state", "{rule}.deviation"),
        )
        for name, code, priority, delay, text, checks in rows
    )


VALVE = Kind(
    name="valve",
    model=Valve,
    step=valve_step,
    text=Text("阀门执行器监督", "valve actuator supervision"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda _: VALVE_STATES,
    keeps=lambda model: {f"full stroke of {model.position}": _FULL},
    alarms=_alarms,
    positions=lambda model: {str(model.command): model.position},
    explains=lambda model: {str(model.command): f"{{rule}}.state != {OK}"},
    examples=(
        Example(
            "from 20 to 80 % in 50 s a stroke: no movement for 9 s, an error after 44 s",
            {"command": "v3.command", "position": "v3.position", "travel": "50s"},
            (
                (0.0, {"v3.command": 20.0, "v3.position": 20.0}, {"state": OK, "deviation": 0.0}),
                (100.0, {"v3.command": 80.0}, {"state": MOVING, "deviation": 60.0}),
                (108.5, {}, {"state": MOVING}),
                (109.0, {}, {"state": NOT_MOVING}),
                (143.5, {}, {"state": NOT_MOVING}),
                (144.0, {}, {"state": POSITION_ERROR}),
                (150.0, {"v3.position": 79.0}, {"state": OK, "deviation": 1.0}),
                (170.0, {"v3.position": 73.0}, {"state": UNCOMMANDED_MOVE}),
                (171.0, {"v3.position": nan}, {"state": NO_FEEDBACK, "deviation": nan}),
            ),
        ),
    ),
)  # fmt: skip
