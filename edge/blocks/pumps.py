"""A group of pumps that stand in for each other: who is available, who runs, who comes next.

It knows nothing of pressure: the booster says how many should run and how fast. Called by the
booster's step; a pump's operands begin at `r`, its state at `t`.
"""

from __future__ import annotations

from math import inf, isnan, nan
from typing import Annotated, Any, ClassVar

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from edge.blocks.kind import (
    TARGET_OPERANDS,
    AlarmTemplate,
    Input,
    Published,
    Source,
    Target,
    is_off,
    is_on,
    usable,
)
from edge.blocks.output import ACTUAL, DECIDED, OURS, OWNER, ask
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


class Pump(ByName):
    """`booster.p1` stands for its points `.run`, `.speed`, `.running` and `.fault`.

    `running` is the run feedback, `fault` the trip contact, `hoa` the contact of a hard-wired
    Hand-Off-Auto switch: 1 in AUTO. `hours` is a counter of the drive's own: it raises ours, never
    lowers it. Without `speed` the pump turns at full speed.
    """

    names: ClassVar[tuple[str, ...]] = ("run", "speed", "running", "fault")
    example = "booster.p1"

    run: Annotated[str, Target("")]
    speed: Annotated[str | None, Target("%")] = None
    running: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    hoa: Annotated[Source | None, Input("")] = None
    hours: Annotated[Source | None, Input("h")] = None


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
RUN, SPEED, FEEDBACK, FAULT, HOA, COUNTER, PUMP_OPERANDS = 0, TARGET_OPERANDS, 8, 9, 10, 11, 12
HYSTERESIS = 2.0  # h by which the lead must have run longer before another takes its place
FORGOTTEN = 86400.0  # s out of AUTO: nobody is working there any more
FULL_SPEED = 100.0  # % of a pump on the mains
WANTED, NO_FEEDBACK_AT, FAILED_AT, HOURS, PUMP_STATES = range(5)


def adopt_pump(v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int) -> bool:
    """Take a running pump as running; False while nobody knows whether it does."""
    return adopt_motor(v, q, ops, r, r + FEEDBACK, st, t)


def adopt_motor(v: Floats, q: Bits, ops: Index, r: int, f: int, st: Floats, t: int) -> bool:
    """The same of any motor, whose inputs begin at `f` with its feedback."""
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


def pump_state(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int,
    now: float, start_time: float, low: bool,
) -> int:  # fmt: skip
    """What the pump is doing; see `motor_state`."""
    driven, owner = v[ops[r + RUN + DECIDED]], v[ops[r + RUN + OWNER]]
    f = r + FEEDBACK
    return motor_state(v, q, ops, f, driven, owner, st, t, now, start_time, low, False)


def motor_state(
    v: Floats, q: Bits, ops: Index, f: int, driven: float, owner: float, st: Floats, t: int,
    now: float, start_time: float, low: bool, urgent: bool,
) -> int:  # fmt: skip
    """What a motor is doing, and whether its start has failed: no feedback in `start_time`.

    Its inputs begin at `f`: feedback, fault, hoa; `driven` and `owner` are those of its contactor.
    When the feedback itself is bad the motor is believed, unless the pressure stays `low` for twice
    that time: which is never so when no other pump could take its place. `urgent`: what slot 5
    wants is our own wish.
    """
    running, fault, hoa = ops[f], ops[f + FAULT - FEEDBACK], ops[f + HOA - FEEDBACK]
    wanted = st[t + WANTED] == 1.0
    known = usable(v, q, running)
    runs = v[running] != 0.0 if known else wanted and not low
    missing = wanted and driven > 0.5 and not runs
    if is_off(v, q, hoa):
        st[t + NO_FEEDBACK_AT], st[t + FAILED_AT] = nan, nan
        return NOT_AUTO
    if lasted(st, t + NO_FEEDBACK_AT, missing, now, start_time if known else 2.0 * start_time):
        st[t + FAILED_AT] = now
    if is_on(v, q, fault):
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


def delayed(v: Floats, ops: Index, r: int) -> bool:
    """Whether a minimum off-time or the starts per hour keep the pump from starting."""
    owner, driven = v[ops[r + RUN + OWNER]], v[ops[r + RUN + DECIDED]]
    return bool(owner == MIN_TIME and driven < 0.5)


def forgive(st: Floats, t: int, now: float, retry: float, reset: bool) -> None:
    """A failed start may be tried again after `retry` seconds, or at once after a reset."""
    if reset or now - st[t + FAILED_AT] >= retry:
        st[t + FAILED_AT] = nan


def has_drive(ops: Index, r: int) -> bool:
    """Whether the speed of the pump can be set; one without has three absent cells there."""
    return bool(ops[r + SPEED + DECIDED] != ops[r + SPEED + OWNER])


def count_hours(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int, code: int, dt: float
) -> None:
    """Count while the feedback says that it runs; the drive's counter may only raise ours."""
    counter = ops[r + COUNTER]
    st[t + HOURS] += dt / 3600.0 if turns(v, q, ops, r + FEEDBACK, code) else 0.0
    if usable(v, q, counter) and st[t + HOURS] < v[counter] < inf:
        st[t + HOURS] = v[counter]


def next_to_start(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, n: int,
    st: Floats, t: int, fixed: bool, lead: int, drive: bool,
) -> int:  # fmt: skip
    """The available pump to start, -1 for none: one that turns already, else the least hours.

    Pump `lead` (-1: none) is preferred until it has run 2 h longer. With `drive` only a pump whose
    speed can be set, as long as there is one.
    """
    best, least, turning, driven = -1, 0.0, False, False
    for i in range(n):
        pump = t + i * PUMP_STATES
        if st[pump + WANTED] == 1.0 or not available(v[ops[shown + 2 * i]]):
            continue
        running = ops[r + i * PUMP_OPERANDS + FEEDBACK]
        turns = is_on(v, q, running)
        has = not drive or has_drive(ops, r + i * PUMP_OPERANDS)
        hours = 0.0 if fixed else st[pump + HOURS] - (HYSTERESIS if i == lead else 0.0)
        better = hours < least if turns == turning else turns
        if has != driven:
            better = has
        if best < 0 or better:
            best, least, turning, driven = i, hours, turns, has
    return best


def next_to_stop(n: int, st: Floats, t: int, fixed: bool, lead: int, single: bool) -> int:
    """The running pump to stop, -1 for none: the one with the most hours, or the last one.

    The lead goes on unless it has run 2 h longer than the others, and always while it alone can be
    regulated (`single`).
    """
    best, most = -1, 0.0
    for i in range(n):
        pump = t + i * PUMP_STATES
        hours = 0.0 if fixed else st[pump + HOURS]
        if i == lead:
            hours = -1.0 if fixed or single else hours - HYSTERESIS
        if st[pump + WANTED] == 1.0 and (best < 0 or hours >= most):
            best, most = i, hours
    return best


def choose(
    v: Floats, q: Bits, ops: Index, r: int, shown: int, n: int,
    st: Floats, t: int, count: int, fixed: bool, lead: int, single: bool,
) -> int:  # fmt: skip
    """Make `count` pumps run, as far as there are any; gives how many do.

    One whose start is delayed does not count: another takes its place until it runs.
    """
    running = 0
    for i in range(n):
        state = v[ops[shown + 2 * i]]
        if not available(state):
            st[t + i * PUMP_STATES + WANTED] = 0.0
        wanted = st[t + i * PUMP_STATES + WANTED] == 1.0
        if state == FORCED or (wanted and not delayed(v, ops, r + i * PUMP_OPERANDS)):
            running += 1
    led = lead >= 0 and st[t + lead * PUMP_STATES + WANTED] == 1.0
    while running < count:
        i = next_to_start(
            v, q, ops, r, shown, n, st, t, fixed, -1 if led else lead, single and not led
        )
        if i < 0:
            break
        st[t + i * PUMP_STATES + WANTED] = 1.0
        running, led = running + 1, True
    while running > count:
        i = next_to_stop(n, st, t, fixed, lead, single)
        if i < 0:
            break
        st[t + i * PUMP_STATES + WANTED] = 0.0
        running -= 1
    return running


def wanted_pumps(n: int, st: Floats, t: int) -> int:
    """The pumps that are to run, as bits."""
    bits = 0
    for i in range(n):
        if st[t + i * PUMP_STATES + WANTED] == 1.0:
            bits |= 1 << i
    return bits


def leader(
    ops: Index, r: int, n: int, st: Floats, t: int, lead: int, single: bool
) -> int:  # fmt: skip
    """Who leads: as before while it runs, else the running pump with the least hours."""
    if lead >= 0 and st[t + lead * PUMP_STATES + WANTED] == 1.0:
        return lead
    best, least, driven = -1, 0.0, False
    for i in range(n):
        pump = t + i * PUMP_STATES
        if st[pump + WANTED] != 1.0:
            continue
        has = not single or has_drive(ops, r + i * PUMP_OPERANDS)
        better = st[pump + HOURS] < least if has == driven else has
        if best < 0 or better:
            best, least, driven = i, st[pump + HOURS], has
    return lead if best < 0 else best


def ready_pumps(v: Floats, ops: Index, shown: int, n: int) -> int:
    """How many run or could."""
    count = 0
    for i in range(n):
        state = v[ops[shown + 2 * i]]
        count += 1 if available(state) or state == FORCED else 0
    return count


def spare_pumps(v: Floats, ops: Index, shown: int, n: int, st: Floats, t: int) -> int:
    """How many could run besides those that are to run."""
    count = 0
    for i in range(n):
        wanted = st[t + i * PUMP_STATES + WANTED] == 1.0
        count += 1 if available(v[ops[shown + 2 * i]]) and not wanted else 0
    return count


def taken_speed(
    v: Floats, q: Bits, ops: Index, r: int, n: int, st: Floats, t: int, lead: int
) -> float:  # fmt: skip
    """The speed to follow while no running pump takes ours; NaN when one does, or none runs.

    With `lead` not -1 only that pump is regulated.
    """
    speed = nan
    for i in range(n):
        o = r + i * PUMP_OPERANDS
        if st[t + i * PUMP_STATES + WANTED] != 1.0 or (lead >= 0 and i != lead):
            continue
        own = foreign_speed(v, q, ops, o + SPEED)
        if isnan(own):
            return nan
        speed = own if isnan(speed) or own > speed else speed
    return speed


def foreign_speed(v: Floats, q: Bits, ops: Index, o: int) -> float:
    """The speed of a pump that is not ours to set at this moment, NaN when it is or nobody knows.

    Not ours: a stronger slot won, nothing was driven yet, or it comes back from HAND.
    """
    owner, decided, actual = v[ops[o + OWNER]], v[ops[o + DECIDED]], ops[o + ACTUAL]
    if owner == OURS and not isnan(decided):
        return nan
    if 0.0 < owner < OURS and not isnan(decided):
        return float(decided)
    return float(v[actual]) if usable(v, q, actual) else nan


def command(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int,
    state: float, speed: float, bits: int,
) -> None:  # fmt: skip
    """Ask for run and speed; of a pump that is not in AUTO nothing."""
    wanted = st[t + WANTED]
    if state == NOT_AUTO:
        wanted, speed = nan, nan
    elif wanted != 1.0 and state != FORCED:
        speed = 0.0
    ask(v, q, ops, r + RUN, wanted, bits)
    ask(v, q, ops, r + SPEED, speed, bits)


def motor_points(name: str, zh: str, en: str) -> tuple[Published, Published]:
    """The state and the running hours of a motor."""
    return (
        Published(name, "", Text(f"{zh}状态", f"state of {en}"), STATES),
        Published(f"{name}_hours", "h", Text(f"{zh}运行时间", f"running time of {en}")),
    )


def pump_points(i: int) -> tuple[Published, ...]:
    """What the pump with number `i` shows; the booster's step writes them in this order."""
    return motor_points(f"pump{i}", f"{i}号泵", f"pump {i}")


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


def pump_alarms(i: int, hoa: Source | None) -> tuple[AlarmTemplate, ...]:
    """The alarms of the pump with number `i`; `hoa` is its switch."""
    code = Text("读变频器故障代码", "read the drive's fault code")
    shows = ("{rule}.pressure",)
    return motor_alarms(f"pump{i}", f"{i}号泵", f"pump {i}", hoa, shows, code, code)


_BREAKER = Text("检查断路器和热继电器", "check breaker and overload relay")
_CONTACTOR = Text("检查接触器及其辅助触点", "check the contactor and its auxiliary contact")


def motor_alarms(
    name: str, zh: str, en: str, hoa: Source | None, shows: tuple[str, ...],
    tripped: Text = _BREAKER, failed: Text = _CONTACTOR,
) -> tuple[AlarmTemplate, ...]:  # fmt: skip
    """A motor's trip, its failed start, its switch `hoa` left in hand.

    `name` is that of its state among the rule's points; `tripped` is looked at first after a trip,
    `failed` last after a start that failed.
    """
    shows = (f"{{rule}}.{name}", f"{{rule}}.{name}_hours", *shows)
    return (
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_TRIP", f"{{rule}}.{name} == {TRIPPED}", 2,
            Text(f"{zh}故障跳停", f"{en.capitalize()} tripped"),
            (tripped, Text("查看电流", "look at the current"),
             Text("断电隔离后手盘轴是否灵活", "isolated: does the shaft turn by hand?")),
            shows=shows,
        ),
        AlarmTemplate(
            f"{{RULE}}_{name.upper()}_FAIL_START", f"{{rule}}.{name} == {FAILED}", 2,
            Text(f"{zh}启动失败", f"{en.capitalize()} failed to start"),
            (Text("查看手停自开关", "look at the hand-off-auto switch"), _BREAKER, failed),
            shows=shows,
        ),
        *left_in_hand(name, zh, en, hoa),
    )  # fmt: skip
