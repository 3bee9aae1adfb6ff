"""A motor that a contactor switches: what it does, whether its start failed, what people see of it.

It knows nothing of water or air: the kinds that run pumps and fans say which motors they want. A
motor's operands begin at `r`, its inputs at `f`, its state at `t`; called by their steps.

A motor that tripped may run again as soon as its fault contact opens, unlike a pump of a booster or
a rotation: what a motor here keeps off is a flood or hot water, which is worse than one that trips
again. Its alarm stays until somebody has seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from typing import Annotated, Any, Protocol

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from edge.blocks.kind import (
    TARGET_OPERANDS,
    AlarmTemplate,
    Input,
    Source,
    Target,
    usable,
)
from edge.blocks.output import ACTUAL, OURS, ask
from edge.blocks.pumps import (
    BLOCKED,
    FAILED,
    FORCED,
    MIN_TIME,
    NOT_AUTO,
    RUNNING,
    STARTING,
    STOPPED,
    TRIPPED,
    left_in_hand,
)
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.text import Text


class Driven(Protocol):
    """What a contactor switches: a motor, a cell with its fan."""

    @property
    def run(self) -> str:
        """Its contactor."""


class Motor(Model):
    """`pit.p1` stands for its points `.run`, `.running` and `.fault`.

    `running` is the run feedback, `fault` the trip contact (overload relay), `hoa` the contact of a
    hard-wired Hand-Off-Auto switch: 1 in AUTO.
    """

    run: Annotated[str, Target("")]
    running: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    hoa: Annotated[Source | None, Input("")] = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {name: f"{value}.{name}" for name in ("run", "running", "fault")}
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "examples": ["pit.p1"]}, handler(schema)]}


PROTECT = float(Slot.PROTECT)
RUN, INPUTS, MOTOR_OPERANDS = 0, TARGET_OPERANDS, 7
RUNS, FAULT, HOA = range(3)  # of the inputs of a motor
WANTED, NO_FEEDBACK_AT, FAILED_AT, HOURS, MOTOR_STATES = range(5)  # as of a pump


def adopt_motor(v: Floats, q: Bits, ops: Index, r: int, f: int, st: Floats, t: int) -> bool:
    """Take a running motor as running; False while nobody knows whether it does."""
    running, actual = ops[f + RUNS], ops[r + RUN + ACTUAL]
    st[t + NO_FEEDBACK_AT] = nan
    if isnan(st[t + HOURS]):
        st[t + HOURS] = 0.0
    st[t + WANTED] = 0.0
    if usable(v, q, running):
        st[t + WANTED] = 1.0 if v[running] != 0.0 else 0.0
        return True
    if usable(v, q, actual):
        st[t + WANTED] = 1.0 if v[actual] != 0.0 else 0.0
        return True
    return False


def motor_state(
    v: Floats, q: Bits, ops: Index, f: int, driven: float, owner: float, st: Floats, t: int,
    now: float, start_time: float, urgent: bool,
) -> int:  # fmt: skip
    """What the motor is doing, and whether its start has failed: no feedback in `start_time`.

    Its inputs begin at `f`; `driven` and `owner` are those of its contactor. Without a usable
    feedback the motor is believed. `urgent`: what slot 5 wants is our own wish.
    """
    running, fault, hoa = ops[f + RUNS], ops[f + FAULT], ops[f + HOA]
    wanted = st[t + WANTED] == 1.0
    known = usable(v, q, running)
    runs = v[running] != 0.0 if known else wanted
    if usable(v, q, hoa) and v[hoa] == 0.0:
        st[t + NO_FEEDBACK_AT], st[t + FAILED_AT] = nan, nan
        return NOT_AUTO
    if lasted(st, t + NO_FEEDBACK_AT, wanted and driven > 0.5 and not runs, now, start_time):
        st[t + FAILED_AT] = now
    if usable(v, q, fault) and v[fault] != 0.0:
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


def turns(v: Floats, q: Bits, ops: Index, f: int, state: float) -> bool:
    """Whether the motor turns, by its feedback, else by what is known of it."""
    running = ops[f + RUNS]
    return bool(v[running] != 0.0) if usable(v, q, running) else state == RUNNING


def switch_motor(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int, state: float, bits: int
) -> None:  # fmt: skip
    """Ask for what is wanted; of a motor that is not in AUTO nothing."""
    ask(v, q, ops, r + RUN, nan if state == NOT_AUTO else st[t + WANTED], bits)


def motor_alarms(
    name: str, zh: str, en: str, hoa: Source | None, shows: tuple[str, ...]
) -> tuple[AlarmTemplate, ...]:
    """Its trip, its failed start, its switch `hoa` left in hand; `name` is that of its state among
    the rule's points."""
    shows = (f"{{rule}}.{name}", f"{{rule}}.{name}_hours", *shows)
    switch = Text("查看手停自开关", "look at the hand-off-auto switch")
    breaker = Text("检查断路器和热继电器", "check breaker and overload relay")
    contactor = Text("检查接触器及其辅助触点", "check the contactor and its auxiliary contact")
    return (
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_TRIP", f"{{rule}}.{name} == {TRIPPED}", 2,
            Text(f"{zh}故障跳停", f"{en.capitalize()} tripped"),
            (breaker, Text("查看电流", "look at the current"),
             Text("断电隔离后手盘轴是否灵活", "isolated: does the shaft turn by hand?")),
            shows=shows,
        ),
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_FAIL_START", f"{{rule}}.{name} == {FAILED}", 2,
            Text(f"{zh}启动失败", f"{en.capitalize()} failed to start"),
            (switch, breaker, contactor), shows=shows,
        ),
        *left_in_hand(name, zh, en, hoa),
    )  # fmt: skip
