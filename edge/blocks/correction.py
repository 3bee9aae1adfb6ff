"""Bounded automatic correction of minor faults, with reversible actions only (domain §1.19).

Model, texts and alarms of the kind; what an attempt does is `correct`. A row of the table is a
cause: it brings the action, the proof and the limits. What only people may answer is no cause, and
what others answer neither: a pump that does not start is replaced by its `booster` or `rotation`, a
silent device is asked again by its bus, and `daylight` has its own way with a dead sensor.
"""

from __future__ import annotations

from math import nan
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edge.blocks.correct import (
    ACTING,
    CHECKING,
    CORRECTED,
    FAILED,
    READY,
    STATES,
    WAITING,
    correction_step,
    memory,
)
from edge.blocks.kind import AlarmTemplate, Example, Input, Kind, Published, Source, Target
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration
from edge.text import Text

PEOPLE_ONLY = {
    "overload": Text("过载跳闸", "an overload trip"),
    "earth_fault": Text("接地故障", "an earth fault"),
    "over_temperature": Text("超温", "over-temperature"),
    "flood": Text("水淹", "a flood"),
    "fire": Text("火警", "a fire"),
}
RECURRING = 3  # successes in a week


def _for_machines(value: Any) -> Any:
    if isinstance(value, str) and value in PEOPLE_ONLY:
        raise Refusal(
            Text(
                "{what}不作自动处置, 只能由人处理; 请改用报警",
                "{what} is never corrected automatically, only by people; raise an alarm instead",
            ).format(what=PEOPLE_ONLY[value])
        )
    return value


Cause = Annotated[
    Literal["undervoltage", "communication", "valve_position", "no_response", "pressure_low"],
    BeforeValidator(_for_machines),
]

# What each cause needs beside `fault` and `output`: the proof that an attempt helped.
NEEDS = {
    "undervoltage": ("run", "running"),
    "communication": ("run", "running"),
    "valve_position": ("feedback",),
    "no_response": ("feedback",),
    "pressure_low": ("pressure",),
}


class Correction(Model):
    """While `fault` holds for 5 s, attempts at slot 10; people, protections and minimum times win.

    `undervoltage`, `communication` (resettable trips of a converter; let `fault` ask for their
    codes only): `output` is its reset, pulsed for 2 s; `run` is kept off and given back after 30 s;
    proof: no fault, and `running` while wanted, for 120 s. 2 in an hour, 3 in a day.

    `valve_position`: the command is sent again; from the second attempt on 10 % down, back, up,
    back, unless it is asked for less than 20 %. Proof: `feedback` within `tolerance` of the command
    in 1.5 x the expected travel. 3 a day.

    `no_response` (a lighting controller): the command is sent again. Proof: `feedback` within
    `tolerance` in 30 s. 2 in a day.

    `pressure_low` (its cause known, neither valve nor burst): `output` is a pressure setpoint,
    raised by 0.01 MPa, up to 0.03, 10 min apart, for 8 h. Proof: the fault is gone. 3 in a day.

    `attempts` may only lower the limit. All corrections of a controller share 10 actions an hour.
    An attempt that leaves `pressure`, or the deviation, worse than before is the last one. No
    attempt while an input is bad, or while `hoa`, the contact of a hand switch, is not in AUTO.
    """

    cause: Cause
    fault: Annotated[Source, Input("")]
    output: Annotated[str, Target()]
    run: Annotated[str | None, Target("")] = None
    feedback: Annotated[Source | None, Input("%")] = None
    running: Annotated[Source | None, Input("")] = None
    pressure: Annotated[Source | None, Input("MPa")] = None
    hoa: Annotated[Source | None, Input("")] = None
    travel: Annotated[Duration, Field(gt=0, le=600)] = 50.0
    tolerance: Annotated[float, Field(gt=0, le=10)] = 5.0
    attempts: Annotated[int, Field(ge=1, le=3)] | None = None

    @model_validator(mode="after")
    def _provable(self) -> Self:
        missing = [name for name in NEEDS[self.cause] if getattr(self, name) is None]
        if missing:
            raise Refusal(
                Text(
                    f"{self.cause} 的处置缺少 {missing[0]}: 没有它就无法验证处置是否有效",
                    f"the correction of {self.cause} needs {missing[0]}: without it nobody can "
                    "tell whether it helped",
                )
            )
        return self


LABELS = {
    READY: Text("待命", "ready"),
    ACTING: Text("处置中", "acting"),
    CHECKING: Text("验证中", "checking"),
    CORRECTED: Text("已自愈", "self-corrected"),
    FAILED: Text("自动处置失败", "automatic correction failed"),
    WAITING: Text("等待", "waiting"),
}

_CHECKS = {
    "undervoltage": (
        Text("查电源电压和变频器故障码", "look at the supply voltage and the converter's code"),
        Text("现场查看水泵能否盘动(先断电)", "see whether the shaft turns by hand (isolated)"),
    ),
    "communication": (
        Text("查变频器通信线和端子", "look at the converter's bus cable and terminals"),
        Text("查变频器通信超时设置", "look at its communication time-out"),
    ),
    "valve_position": (
        Text("检查执行器电源", "check the actuator's power"),
        Text("查看手动手柄是否被操作", "see whether the hand lever was used"),
        Text("检查阀杆与联轴器是否卡滞或脱开", "check stem and coupling for jamming or play"),
    ),
    "no_response": (
        Text("查控制器电源和指示灯", "look at the controller's power and lamps"),
        Text("查总线接线与地址", "look at bus wiring and address"),
    ),
    "pressure_low": (
        Text("查看水泵和进水压力", "look at pumps and inlet pressure"),
        Text("查看过滤器和阀门", "look at strainers and valves"),
        Text("沿线查漏", "walk the line for leaks"),
    ),
}


def _publishes(model: Correction) -> tuple[Published, ...]:
    return (
        Published("state", "", Text("自动处置状态", "state of the correction"), LABELS),
        Published("attempts", "", Text("24 小时内处置次数", "attempts in 24 h")),
        Published("hour", "", Text("1 小时内处置次数", "attempts in an hour")),
        Published("week", "", Text("7 天内自愈次数", "self-corrected in 7 days")),
    )


def _alarms(model: Correction) -> tuple[AlarmTemplate, ...]:
    points = [model.output, model.feedback, model.running, model.pressure]
    shows = tuple(p for p in points if isinstance(p, str) and p.replace(".", "_").isidentifier())
    shows += tuple(f"{{rule}}.{p.name}" for p in _publishes(model))
    checks = _CHECKS[model.cause]
    return (
        AlarmTemplate(
            "{RULE}_FAILED", f"{{rule}}.state == {FAILED}", 2,
            Text("{name}: 自动处置失败", "{name}: automatic correction failed"), checks,
            shows=shows,
            consequence=Text("不再自动尝试, 等待人工处理", "no more attempts: people must act"),
        ),
        AlarmTemplate(
            "{RULE}_CORRECTED", f"{{rule}}.state == {CORRECTED}", 3,
            Text("{name}: 已自愈", "{name}: self-corrected"), checks, shows=shows,
        ),
        AlarmTemplate(
            "{RULE}_RECURRING", f"{{rule}}.week >= {RECURRING}", 2,
            Text("{name}: 反复自愈, 请查根源", "{name}: keeps recurring, find the root"), checks,
            shows=shows,
        ),
    )  # fmt: skip


CORRECTION = Kind(
    name="correction",
    model=Correction,
    step=correction_step,
    text=Text("轻微故障自动处置", "bounded automatic correction"),
    every=0.5,
    slot=Slot.CORRECT,
    publishes=_publishes,
    states=lambda _: STATES,
    keeps=lambda model: {f"{n} of {model.output}": at for n, at in memory(model.cause).items()},
    alarms=_alarms,
    positions=lambda model: (
        {model.output: model.feedback} if model.cause == "valve_position" else {}
    ),
    explains=lambda model: {
        model.output: " or ".join(f"{{rule}}.state == {s}" for s in (ACTING, CHECKING, CORRECTED))
    },
    audited=lambda _: ("state",),
    shared="hour",
    examples=(
        Example(
            "lamps that did not answer get their level again, and do",
            {"cause": "no_response", "fault": "hall.lost", "output": "hall.dimmer",
             "feedback": "hall.level"},
            (
                (0.0, {"hall.dimmer": 60.0, "hall.lost": 0.0, "hall.level": 60.0},
                 {"state": READY, "hall.dimmer": nan}),
                (0.5, {"hall.lost": 1.0, "hall.level": 0.0}, {"state": READY}),
                (1.0, {}, {}), (2.0, {}, {}), (3.0, {}, {}), (4.0, {}, {}), (5.0, {}, {}),
                (5.5, {}, {"state": ACTING, "attempts": 1, "hall.dimmer": 60.0}),
                (6.5, {}, {"hall.dimmer": 60.0}),
                (7.5, {"hall.level": 60.0}, {"state": CHECKING, "hall.dimmer": nan}),
                (8.5, {"hall.lost": 0.0}, {"state": CHECKING}),
                (9.5, {}, {"state": CHECKING}),
                (10.5, {}, {"state": CORRECTED, "week": 1, "hour": 1}),
            ),
        ),
        Example(
            "nobody asks the lamps for anything: there is nothing to send again",
            {"cause": "no_response", "fault": "hall.lost", "output": "hall.dimmer",
             "feedback": "hall.level"},
            (
                (0.0, {"hall.lost": 1.0, "hall.level": 0.0}, {"state": READY}),
                (1.0, {}, {}), (2.0, {}, {}), (3.0, {}, {}), (4.0, {}, {}),
                (5.0, {}, {"state": WAITING, "attempts": 0, "hall.dimmer": nan}),
            ),
        ),
    ),
)  # fmt: skip
