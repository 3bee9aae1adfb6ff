"""A lift's dry contacts: somebody trapped, fault, power, levelling (domain §1.21).

It watches and never commands a lift: it has no outputs. Called by the kernel.
"""

from __future__ import annotations

from typing import Annotated

from edge.blocks.kind import (
    AlarmTemplate,
    Example,
    Input,
    Kind,
    Published,
    Source,
    is_off,
    is_on,
    usable,
)
from edge.blocks.output import show
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.text import Text


class Lift(Model):
    """Contacts are 1 when it is so; of one that opens write `not lift.contact`.

    `trapped` raises the alarm without delay and latches it; when its wire or device is lost, that
    is told too. `power` is 1 while there is power, `levelling` 1 while the car stands beside its
    floor.
    """

    trapped: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    power: Annotated[Source | None, Input("")] = None
    levelling: Annotated[Source | None, Input("")] = None


_TRAPPED, _BLIND, _FAULT, _NO_POWER, _LEVELLING, _SHOWN = range(6)


def lift_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Each contact as it is read; a bad one says nothing, of `trapped` that it is not read."""
    trapped, fault, power, levelling = o + _SHOWN, o + _SHOWN + 1, o + _SHOWN + 2, o + _SHOWN + 3
    show(v, q, ops[o + _TRAPPED], contact(v, q, ops[trapped]))
    show(v, q, ops[o + _BLIND], 0.0 if usable(v, q, ops[trapped]) else 1.0)
    show(v, q, ops[o + _FAULT], contact(v, q, ops[fault]))
    show(v, q, ops[o + _NO_POWER], 1.0 if is_off(v, q, ops[power]) else 0.0)
    show(v, q, ops[o + _LEVELLING], contact(v, q, ops[levelling]))


def contact(v: Floats, q: Bits, index: int) -> float:
    """1 for a contact that is read as made, else 0."""
    return 1.0 if is_on(v, q, index) else 0.0


def _publishes(_: Lift) -> tuple[Published, ...]:
    return (
        Published("trapped", "", Text("困人", "somebody is trapped")),
        Published("blind", "", Text("困人触点无信号", "the trapped contact is not read")),
        Published("fault", "", Text("电梯故障", "lift fault")),
        Published("no_power", "", Text("电梯断电", "lift without power")),
        Published("levelling", "", Text("平层异常", "car beside its floor")),
    )


def _alarms(_: Lift) -> tuple[AlarmTemplate, ...]:
    company = Text("通知电梯维保单位", "call the maintenance company")
    power = Text("检查电源", "check the power")
    return (
        AlarmTemplate(
            "{RULE}_TRAPPED", "{rule}.trapped == 1", 1, Text("电梯困人", "Somebody is trapped"),
            (Text("与乘客通话安抚", "talk to the passenger"), company,
             Text("派人到现场, 不要自行撬门", "send somebody there; force no door")),
            latch=True, shows=("{rule}.trapped", "{rule}.no_power", "{rule}.levelling"),
        ),
        AlarmTemplate(
            "{RULE}_BLIND", "{rule}.blind == 1", 2,
            Text("电梯困人触点无信号", "The trapped contact is not read"),
            (Text("检查触点接线和采集设备", "check wiring and device"),), on_delay=60.0,
            consequence=Text("此时困人不会报警", "nobody would be told of a trapped passenger"),
        ),
        AlarmTemplate(
            "{RULE}_FAULT", "{rule}.fault == 1", 2, Text("电梯故障", "Lift fault"),
            (company, power), on_delay=10.0, shows=("{rule}.fault",),
        ),
        AlarmTemplate(
            "{RULE}_NO_POWER", "{rule}.no_power == 1", 2, Text("电梯断电", "Lift without power"),
            (power, Text("确认轿厢内无人", "make sure that nobody is in the car")),
            on_delay=5.0, shows=("{rule}.no_power",),
        ),
        AlarmTemplate(
            "{RULE}_LEVELLING", "{rule}.levelling == 1", 2,
            Text("电梯平层异常", "The lift stands beside its floor"), (company,),
            on_delay=30.0, shows=("{rule}.levelling",),
        ),
    )  # fmt: skip


LIFT = Kind(
    name="lift",
    model=Lift,
    step=lift_step,
    text=Text("电梯监视", "lift contacts"),
    every=0.0,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda _: 0,
    alarms=_alarms,
    examples=(
        Example(
            "trapped at once; a lost contact is told, and is nobody trapped",
            {"trapped": "lift.trapped", "power": "lift.power"},
            (
                (0.0, {"lift.trapped": 0.0, "lift.power": 1.0}, {"trapped": 0.0, "no_power": 0.0}),
                (0.1, {"lift.trapped": 1.0}, {"trapped": 1.0}),
                (0.2, {"lift.power": 0.0}, {"trapped": 1.0, "no_power": 1.0}),
                (0.3, {"lift.trapped": float("nan")}, {"trapped": 0.0, "blind": 1.0}),
            ),
        ),
    ),
)
