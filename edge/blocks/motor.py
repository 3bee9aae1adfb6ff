"""A motor that a contactor switches: what it does, whether its start failed, what people see of it.

It knows nothing of water or air: the kinds that run pumps and fans say which motors they want. A
motor's operands begin at `r`, its inputs (feedback, fault, hoa) at `f`, its state at `t`; called by
their steps.

A motor that tripped may run again as soon as its fault contact opens, unlike a pump of a booster or
a rotation (`pumps.py`): what it keeps off is a flood or hot water, which is worse than one that
trips again. Its alarm stays until somebody has seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from edge.blocks.kind import (
    NOTHING,
    TARGET_OPERANDS,
    AlarmTemplate,
    Input,
    Published,
    Source,
    Target,
    is_off,
    usable,
)
from edge.blocks.output import ACTUAL, OURS, ask
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.text import Text


class ByName(Model):
    """What may be written as one name, such as `booster.p1`: it stands for the points `names`."""

    names: ClassVar[tuple[str, ...]] = ("run", "running", "fault")
    example: ClassVar[str] = "pit.p1"

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {name: f"{value}.{name}" for name in cls.names}
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "examples": [cls.example]}, handler(schema)]}


class Driven(Protocol):
    """What a contactor switches: a motor, a cell with its fan."""

    @property
    def run(self) -> str:
        """Its contactor."""


class Motor(ByName):
    """`pit.p1` stands for its points `.run`, `.running` and `.fault`.

    `running` is the run feedback, `fault` the trip contact (overload relay), `hoa` the contact of a
    hard-wired Hand-Off-Auto switch: 1 in AUTO.
    """

    run: Annotated[str, Target("")]
    running: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    hoa: Annotated[Source | None, Input("")] = None


RUN, INPUTS, MOTOR_OPERANDS = 0, TARGET_OPERANDS, 7
STOPPED, STARTING, RUNNING, TRIPPED, FAILED, NOT_AUTO, BLOCKED, FORCED = range(8)

STATES = {
    STOPPED: Text("停止", "stopped"),
    STARTING: Text("启动中", "starting"),
    RUNNING: Text("运行", "running"),
    TRIPPED: Text("故障跳停", "tripped"),
    FAILED: Text("启动失败", "failed to start"),
    NOT_AUTO: Text("非自动", "not in AUTO"),
    BLOCKED: Text("被闭锁", "held off by a stronger slot"),
    FORCED: Text("被强制运行", "held on by a stronger slot"),
}

MIN_TIME, PROTECT = float(Slot.MIN_TIME), float(Slot.PROTECT)
FORGOTTEN = 86400.0  # s out of AUTO: nobody is working there any more
WANTED, NO_FEEDBACK_AT, FAILED_AT, HOURS, MOTOR_STATES = range(5)


def adopt_motor(v: Floats, q: Bits, ops: Index, r: int, f: int, st: Floats, t: int) -> bool:
    """Take a running motor as running; False while nobody knows whether it does."""
    running, actual = ops[f], ops[r + RUN + ACTUAL]
    st[t + NO_FEEDBACK_AT], st[t + WANTED] = nan, 0.0
    if isnan(st[t + HOURS]):
        st[t + HOURS] = 0.0
    if usable(v, q, running):
        st[t + WANTED] = 1.0 if v[running] != 0.0 else 0.0
        return True
    if usable(v, q, actual):
        st[t + WANTED] = 1.0 if v[actual] != 0.0 else 0.0
        return True
    return False


def motor_state(
    v: Floats, q: Bits, ops: Index, f: int, driven: float, owner: float, st: Floats, t: int,
    now: float, start_time: float, low: bool, tripped: bool, urgent: bool,
) -> int:  # fmt: skip
    """What a motor is doing, and whether its start has failed: no feedback in `start_time`.

    Its feedback is at `f`, its hoa after its fault; `driven` and `owner` are of its contactor.
    When the feedback itself is bad the motor is believed, unless the pressure stays `low` for twice
    that time: which is never so when no other pump could take its place. `urgent`: what slot 5
    wants is our own wish.
    """
    running, hoa = ops[f], ops[f + 2]
    wanted = st[t + WANTED] == 1.0
    known = usable(v, q, running)
    runs = v[running] != 0.0 if known else wanted and not low
    missing = wanted and driven > 0.5 and not runs
    if is_off(v, q, hoa):
        st[t + NO_FEEDBACK_AT], st[t + FAILED_AT] = nan, nan
        return NOT_AUTO
    if lasted(st, t + NO_FEEDBACK_AT, missing, now, start_time if known else 2.0 * start_time):
        st[t + FAILED_AT] = now
    if tripped:
        return TRIPPED
    if not isnan(st[t + FAILED_AT]):
        return FAILED
    if 0.0 < owner < OURS and not (urgent and owner == PROTECT and driven > 0.5):
        if driven > 0.5:
            return FORCED
        if owner != MIN_TIME:  # a minimum off-time only delays the start
            return BLOCKED
    if not wanted:
        return STOPPED
    return RUNNING if runs else STARTING


def turns(v: Floats, q: Bits, ops: Index, f: int, state: float) -> bool:
    """Whether the motor turns, by its feedback, else by what is known of it."""
    running = ops[f]
    return bool(v[running] != 0.0) if usable(v, q, running) else state == RUNNING


def available(state: float) -> bool:
    """Whether a pump in this state may be started or go on running by our command."""
    return state <= RUNNING


def forgive(st: Floats, t: int, now: float, retry: float, reset: bool) -> None:
    """A failed start may be tried again after `retry` seconds, or at once after a reset."""
    if reset or now - st[t + FAILED_AT] >= retry:
        st[t + FAILED_AT] = nan


def motor_memory(
    motors: Sequence[Driven], first: int, size: int, *more: tuple[str, int]
) -> dict[str, int]:
    """What is kept of each motor when the list or other options change; the state of the first is
    at `first`, each takes `size` numbers. `more` are numbers of the kind's own, by name."""
    return {
        f"{what} of {motor.run}": first + i * size + at
        for i, motor in enumerate(motors)
        for what, at in (("hours", HOURS), ("failure", FAILED_AT), *more)
    }


def switch_motor(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int, state: float, bits: int
) -> None:  # fmt: skip
    """Ask for what is wanted; of a motor that is not in AUTO nothing."""
    ask(v, q, ops, r + RUN, nan if state == NOT_AUTO else st[t + WANTED], bits)


def motor_points(
    name: str, zh: str, en: str, states: Mapping[int, Text] = STATES
) -> tuple[Published, Published]:
    """The state and the running hours of a motor."""
    return (
        Published(name, "", Text(f"{zh}状态", f"state of {en}"), states),
        Published(f"{name}_hours", "h", Text(f"{zh}运行时间", f"running time of {en}")),
    )


def left_in_hand(name: str, zh: str, en: str, hoa: Source | None) -> tuple[AlarmTemplate, ...]:
    """A hand-off-auto switch that nobody turned back for a day (domain §6.4), where there is one.

    `name` is that of the state among the rule's points.
    """
    if hoa is None:
        return ()
    return (
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_NOT_AUTO", f"{{rule}}.{name} == {NOT_AUTO}", 3,
            Text(f"{zh}离开自动位超过 24 小时", f"{en.capitalize()} out of AUTO for 24 hours"),
            (Text("问清谁切换的, 为什么", "who switched it, and why?"),
             Text("检修完毕即切回自动", "switch it back to AUTO when the work is done")),
            on_delay=FORGOTTEN, shows=(f"{{rule}}.{name}",),
            consequence=Text("控制器不能启停它", "the controller can neither start nor stop it"),
        ),
    )  # fmt: skip


_OUT = Text(
    "该泵停用, 直至有人复位 (edge reset 或面板复位)",
    "it stays out until a person resets it (edge reset, or the panel's button)",
)

_TRIPPED_OUT = Text(
    "运行中跳停的泵停用, 直至有人复位 (edge reset 或面板复位); 停电时各泵同时报故障不算跳停",
    "a pump that tripped in operation stays out until a person resets it (edge reset, or the "
    "panel's button); faults of all pumps at once, as in a power cut, are none",
)
_BREAKER = Text("检查断路器和热继电器", "check breaker and overload relay")
_SHAFT = Text("断电隔离后手盘轴是否灵活", "isolated: does the shaft turn by hand?")
_SHAFT_RESET = Text(
    "断电隔离后手盘轴是否灵活, 再复位", "isolated: does the shaft turn by hand? then reset"
)
_CONTACTOR = Text("检查接触器及其辅助触点", "check the contactor and its auxiliary contact")


def motor_alarms(
    name: str, zh: str, en: str, hoa: Source | None, shows: tuple[str, ...],
    tripped: Text = _BREAKER, failed: Text = _CONTACTOR, *, out: bool = False,
) -> tuple[AlarmTemplate, ...]:  # fmt: skip
    """A motor's trip, its failed start, its switch `hoa` left in hand.

    `name` is that of its state among the rule's points; `tripped` is looked at first after a trip,
    `failed` last after a start that failed. `out`: either keeps it out until a reset.
    """
    shows = (f"{{rule}}.{name}", f"{{rule}}.{name}_hours", *shows)
    return (
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_TRIP", f"{{rule}}.{name} == {TRIPPED}", 2,
            Text(f"{zh}故障跳停", f"{en.capitalize()} tripped"),
            (tripped, Text("查看电流", "look at the current"), _SHAFT_RESET if out else _SHAFT),
            shows=shows, consequence=_TRIPPED_OUT if out else NOTHING,
        ),
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_FAIL_START", f"{{rule}}.{name} == {FAILED}", 2,
            Text(f"{zh}启动失败", f"{en.capitalize()} failed to start"),
            (Text("查看手停自开关", "look at the hand-off-auto switch"), _BREAKER, failed),
            shows=shows, consequence=_OUT if out else NOTHING,
        ),
        *left_in_hand(name, zh, en, hoa),
    )  # fmt: skip
