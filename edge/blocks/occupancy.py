"""Lighting by presence: full while somebody is there, dimmed after, a floor always (domain §1.8).

Emergency and evacuation luminaires (应急疏散照明) are no business of this controller. A light that
a person or a fire panel must be able to force above everything else is an interlock with
`value: 100`. Called by the kernel; every function here may be compiled with the step.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import (
    AlarmTemplate,
    Example,
    Input,
    Kind,
    Published,
    Source,
    Target,
    usable,
)
from edge.blocks.lamps import START_WAIT, Percent, driven, publish, taken
from edge.blocks.output import RESULT, ask, lost
from edge.blocks.pid import clip
from edge.blocks.ramp import toward
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, NEVER
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration
from edge.text import Text

LOWEST_FLOOR = 10.0  # %: in garages and stairs it is never darker


class Occupancy(Model):
    """`motion` and `neighbours` are conditions such as `lane1.pir or lane2.pir`; neighbours are the
    sensors of the lanes beside, which brighten this one to `neighbour_level`.

    Level: the greatest of `floor_level` and of what presence leaves of `daylight` (100 % without).
    `schedule` is the highest level allowed; it can only narrow. `panic` forces 100 %. A bad sensor
    means presence, a bad panic signal panic; without the time the schedule allows everything. On
    top of a closed loop `daylight` is the setpoint that the loop drives, whose `lamps` are ours.
    """

    motion: Annotated[Source, Input("")]
    output: Annotated[str | None, Target("%")] = None
    neighbours: Annotated[Source | None, Input("")] = None
    daylight: Annotated[Source | None, Input("%")] = None
    schedule: Annotated[Source | None, Input("%")] = None
    panic: Annotated[Source | None, Input("")] = None
    area: Literal["garage", "stairs", "other"] = "garage"
    hold: Annotated[Duration, Field(ge=1, le=7200)] = 300.0
    grace: Annotated[Duration, Field(le=3600)] = 60.0
    dim_level: Annotated[Percent, Field(ge=0, le=100)] = 30.0
    floor_level: Annotated[Percent, Field(ge=0, le=100)] = 20.0
    neighbour_level: Annotated[Percent, Field(ge=0, le=100)] = 60.0
    up: Annotated[float, Field(gt=0, le=200)] = 50.0  # %/s
    down: Annotated[float, Field(gt=0, le=200)] = 5.0  # %/s

    @model_validator(mode="after")
    def _never_dark(self) -> Self:
        if self.area != "other" and self.floor_level < LOWEST_FLOOR:
            raise Refusal(
                Text(
                    f"车库和楼梯的 floor_level 不得低于 {LOWEST_FLOOR:g} %; "
                    "其他场所请写 area: other",
                    f"floor_level in garages and stairs is at least {LOWEST_FLOOR:g} %; "
                    "elsewhere write area: other",
                )
            )
        return self


VACANT, OCCUPIED, HOLD, GRACE, NEIGHBOUR, SENSOR_BAD, PANIC, FOLLOWING, WAITING = range(9)
SENSORS_GOOD, MOTION_BAD, NEIGHBOUR_BAD, PANIC_BAD = range(4)
BAD_TIME = 60.0  # s until a bad signal is told

(_STATE, _TARGET, _PRESENCE, _SENSOR, _MOTION, _NEAR, _DAYLIGHT, _SCHEDULE,
 _PANIC) = range(RESULT, RESULT + 9)  # fmt: skip
_AREA, _HOLD_TIME, _GRACE_TIME, _DIM, _FLOOR, _NEAR_LEVEL, _UP, _DOWN = range(8)
_U, _SEEN_AT, _NEAR_AT, _LOST, _WAIT = range(5)


def occupancy_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Presence goes on being watched while somebody else holds the output."""
    other = taken(v, q, ops, o, st, s + _LOST, dt)
    if isnan(st[s + _U]):
        begin(other, par, p, st, s, now)
    state = presence(v, q, ops, o, par, p, st, s, now)
    level = combined(v, q, ops, o, par, p, st, s, now, state)
    publish(v, q, ops[o + _TARGET], level, 0)
    here = state in (OCCUPIED, HOLD, SENSOR_BAD, PANIC)
    publish(v, q, ops[o + _PRESENCE], 1.0 if here else 0.0, 0)
    publish(v, q, ops[o + _SENSOR], bad_sensor(v, q, ops, o), 0)
    if lost(q, ops, o, st, s + _LOST):
        publish(v, q, ops[o + _STATE], WAITING, 0)
        return  # the request stays as it is
    if isnan(st[s + _U]) and isnan(other) and driven(ops, o):
        if not lasted(st, s + _WAIT, True, now, START_WAIT):
            publish(v, q, ops[o + _STATE], WAITING, 0)
            return
        st[s + _U] = level
    if not isnan(other):
        st[s + _U] = other
        state = FOLLOWING
    elif state == PANIC or isnan(st[s + _U]):
        st[s + _U] = level
    else:
        st[s + _U] = toward(st[s + _U], level, par[p + _UP] * dt, par[p + _DOWN] * dt)
    ask(v, q, ops, o, st[s + _U], q[ops[o + _MOTION]])
    publish(v, q, ops[o + _STATE], state, 0)


def begin(level: float, par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """Lamps that are found bright are taken as lit for somebody who was just seen."""
    dimmed = max(par[p + _DIM], par[p + _FLOOR], par[p + _NEAR_LEVEL])
    if not isnan(level) and level > dimmed and isnan(st[s + _SEEN_AT]):
        st[s + _SEEN_AT] = now


def signal(v: Floats, q: Bits, k: int) -> bool:
    """Whether a condition holds or cannot be known; one that was left out does not hold."""
    if q[k] == NEVER:
        return False
    return bool(not usable(v, q, k) or v[k] != 0.0)


def bad_sensor(v: Floats, q: Bits, ops: Index, o: int) -> float:
    """Which signal cannot be read, the one that matters most first; never one that was left out."""
    panic, near = ops[o + _PANIC], ops[o + _NEAR]
    if q[panic] != NEVER and not usable(v, q, panic):
        return float(PANIC_BAD)
    if not usable(v, q, ops[o + _MOTION]):
        return float(MOTION_BAD)
    if q[near] != NEVER and not usable(v, q, near):
        return float(NEIGHBOUR_BAD)
    return float(SENSORS_GOOD)


def presence(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> int:  # fmt: skip
    """VACANT → OCCUPIED → HOLD (retriggerable) → GRACE → VACANT; and what stands above that."""
    motion = ops[o + _MOTION]
    if signal(v, q, ops[o + _NEAR]):
        st[s + _NEAR_AT] = now
    moved = not usable(v, q, motion) or v[motion] != 0.0
    if moved and q[motion] & BAD != NEVER:  # else a start would be a presence, hold time and all
        st[s + _SEEN_AT] = now
    if signal(v, q, ops[o + _PANIC]):
        return PANIC
    if moved:
        return OCCUPIED if usable(v, q, motion) else SENSOR_BAD
    since = now - st[s + _SEEN_AT] + ROUNDING
    if since < par[p + _HOLD_TIME]:
        return HOLD
    if since < par[p + _HOLD_TIME] + par[p + _GRACE_TIME]:
        return GRACE
    if now - st[s + _NEAR_AT] + ROUNDING < par[p + _HOLD_TIME]:
        return NEIGHBOUR
    return VACANT


def combined(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float, state: int,
) -> float:  # fmt: skip
    """u = max(floor, factor · daylight), not above the schedule; 100 % in a panic."""
    if state == PANIC:
        return 100.0
    factor = 0.0
    if state in (OCCUPIED, HOLD, SENSOR_BAD):
        factor = 1.0
    elif state == GRACE:
        factor = par[p + _DIM] / 100.0
    if now - st[s + _NEAR_AT] + ROUNDING < par[p + _HOLD_TIME]:
        factor = max(factor, par[p + _NEAR_LEVEL] / 100.0)
    daylight, schedule = ops[o + _DAYLIGHT], ops[o + _SCHEDULE]
    level = factor * (clip(v[daylight], 0.0, 100.0) if usable(v, q, daylight) else 100.0)
    if usable(v, q, schedule):
        level = min(level, clip(v[schedule], 0.0, 100.0))
    return float(max(level, par[p + _FLOOR]))


STATES = {
    VACANT: Text("无人", "vacant"),
    OCCUPIED: Text("有人", "occupied"),
    HOLD: Text("有人, 保持中", "occupied, holding"),
    GRACE: Text("渐暗过渡", "dimmed before vacant"),
    NEIGHBOUR: Text("邻区有人, 预亮", "lit for a neighbour"),
    SENSOR_BAD: Text("感应器故障, 按有人", "sensor bad, taken as occupied"),
    PANIC: Text("强制全亮", "forced to full light"),
    FOLLOWING: Text("跟踪: 输出由他人控制", "following: the output is held by another"),
    WAITING: Text("等待输出回读", "waiting for the output's read-back"),
}

SENSORS = {
    SENSORS_GOOD: Text("正常", "good"),
    MOTION_BAD: Text("人感信号坏, 按有人", "presence bad, taken as occupied"),
    NEIGHBOUR_BAD: Text("邻区人感信号坏, 按有人", "neighbours bad, taken as occupied"),
    PANIC_BAD: Text("强制信号坏, 全亮", "panic signal bad, full light"),
}


def _alarms(_: Occupancy) -> tuple[AlarmTemplate, ...]:
    return (
        AlarmTemplate(
            "{RULE}_PRESENCE_SENSOR_LOST", "{rule}.sensor > 0", 3,
            Text("人感信号丢失", "Presence signal lost"),
            (Text("检查感应器电源与通信", "check the sensor's power and bus"),
             Text("核对地址与接线", "check its address and wiring")),
            on_delay=BAD_TIME, shows=("{rule}.sensor", "{rule}.state", "{rule}.target"),
            consequence=Text("一直按有人照明, 不节能", "lit as if somebody were there, no saving"),
        ),
    )  # fmt: skip


_LANE = {"motion": "lane.pir", "output": "lane.level", "up": 100.0, "down": 100.0}

OCCUPANCY = Kind(
    name="occupancy",
    model=Occupancy,
    step=occupancy_step,
    text=Text("人来灯亮、人走灯暗", "lighting by presence"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=lambda _: (
        Published("state", "", Text("感应状态", "presence state"), STATES),
        Published("target", "%", Text("目标亮度", "target level")),
        Published(
            "occupied", "", Text("有人", "occupied"),
            {0: Text("无人", "vacant"), 1: Text("有人", "occupied")},
        ),
        Published("sensor", "", Text("感应信号", "signals"), SENSORS),
    ),
    alarms=_alarms,
    states=lambda _: 5,
    examples=(
        Example(
            "full while occupied and for the hold time, then dimmed, then the floor",
            {**_LANE, "hold": "2s", "grace": "1s", "dim_level": "50 %", "floor_level": "20 %"},
            (
                (0.0, {"lane.pir": 1.0, "lane.level": 20.0}, {"lane.level": 20.0}),
                (1.0, {}, {"lane.level": 100.0, "state": OCCUPIED, "occupied": 1.0}),
                (2.0, {"lane.pir": 0.0}, {"lane.level": 100.0, "state": HOLD}),
                (3.0, {}, {"lane.level": 50.0, "state": GRACE, "occupied": 0.0}),
                (4.0, {}, {"lane.level": 20.0, "state": VACANT}),
            ),
        ),
        Example(
            "a neighbour's sensor brightens to 60 %; a bad own one means presence",
            {**_LANE, "neighbours": "next.pir", "hold": "2s"},
            (
                (0.0, {"lane.pir": 0.0, "next.pir": 1.0, "lane.level": 20.0}, {}),
                (1.0, {"next.pir": 0.0}, {"lane.level": 60.0, "state": NEIGHBOUR}),
                (2.0, {}, {"lane.level": 20.0, "state": VACANT}),
                (3.0, {"lane.pir": nan}, {"lane.level": 100.0, "state": SENSOR_BAD}),
            ),
        ),
    ),
)  # fmt: skip
