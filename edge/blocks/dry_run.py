"""Dry-run protection: pumps stop before they turn without water (domain §1.11).

Looks at whatever is there of level, float, suction, flow, power and temperature, each with its own
delay; restarts by itself a few times an hour, then waits for a person. It drives nothing: what it
trips is asked for 0 at slot 5 (`edge/blocks/protection.py`). Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import Any

from edge.blocks.booster_layout import MPA_PER_METRE
from edge.blocks.dry_run_model import DryRun
from edge.blocks.kind import (
    AlarmTemplate,
    Example,
    Kind,
    Published,
    points_of,
    reset_asked,
    usable,
)
from edge.blocks.protection import BAD_DELAY
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, GOOD, NEVER, UNCERTAIN
from edge.image.slots import Slot
from edge.text import Text

(NONE, LEVEL_LOW, LEVEL_LOST, SUCTION_LOW, SUCTION_LOST, NO_FLOW, UNDERLOAD, HOT) = range(8)
CAUSES = {
    NONE: Text("无", "none"),
    LEVEL_LOW: Text("水位超低", "level low"),
    LEVEL_LOST: Text("水位信号丢失", "level signal lost"),
    SUCTION_LOW: Text("进口压力低", "suction pressure low"),
    SUCTION_LOST: Text("进口压力信号丢失", "suction signal lost"),
    NO_FLOW: Text("运转无流量", "turns without flow"),
    UNDERLOAD: Text("功率欠载", "power underload"),
    HOT: Text("温度高", "temperature high"),
}

RISE = 0.3  # m above low_low, where pumps may run again
SPEED_MARGIN = 5.0  # % above the no-flow speed: there flow is due
FLOW_SHARE = 0.10  # of the expected flow
POWER_SHARE = 0.8  # of what a pump takes against a shut valve
DELIVERS = 0.02  # MPa: so near the setpoint water is delivered
COOLED = 5.0  # K below the limit
HOUR = 3600.0

_TRIPPED, _CAUSE, _LOCKED, _RESTARTED = range(4)
(_LEVEL, _FLOAT, _SUCTION, _SPEED, _RUNNING, _FLOW, _POWER, _PRESSURE, _SETPOINT, _TEMPERATURE,
 _RESET) = range(4, 15)  # fmt: skip
(_LOW_LOW, _RESTART_LEVEL, _LEVEL_DELAY, _MIN_SUCTION, _SUCTION_DELAY, _EXPECTED, _S0, _HEAD,
 _CURVE, _FLOW_DELAY, _CLOSED, _POWER_DELAY, _HOTTEST, _HOT_DELAY, _RESTART_DELAY, _RESTARTS,
 _ON_BAD) = range(17)  # fmt: skip
(_WHY, _LOCK, _LOW_AT, _BLIND_AT, _SUCTION_AT, _NO_SUCTION_AT, _FLOW_AT, _POWER_AT, _HOT_AT,
 _BACK_AT, _RING) = range(11)  # fmt: skip

DRY, WET, UNKNOWN = 0.0, 1.0, nan


def lost(q: Bits, index: int) -> bool:
    """Whether an input that was read, or should have been, is bad; not yet read is no fault."""
    bits = q[index] & BAD
    return bool(bits not in (0, NEVER))


def tank(v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, rising: bool) -> float:
    """DRY, WET, or UNKNOWN when neither level nor float can be asked.

    `rising`: pumps stand, and the level must be where they may run again.
    """
    level, switch = ops[o + _LEVEL], ops[o + _FLOAT]
    floats = usable(v, q, switch)
    if floats and v[switch] == 0.0:
        return DRY
    if usable(v, q, level):
        limit = par[p + _LOW_LOW]
        if rising:
            limit = par[p + _RESTART_LEVEL] if not isnan(par[p + _RESTART_LEVEL]) else limit + RISE
        return DRY if v[level] < limit else WET
    return WET if floats else UNKNOWN


def turning(v: Floats, q: Bits, ops: Index, o: int) -> tuple[float, float]:
    """How many pumps turn and at what share of full speed; 0 when none, or nobody knows."""
    speed, running = ops[o + _SPEED], ops[o + _RUNNING]
    count, share = 1.0, 1.0
    if q[running] & BAD != NEVER:
        count = v[running] if usable(v, q, running) else 0.0
    if q[speed] & BAD != NEVER:
        share = v[speed] / 100.0 if usable(v, q, speed) else 0.0
    if q[running] & BAD == NEVER and q[speed] & BAD == NEVER:
        count = 0.0
    return (count, share) if count > 0.0 and share > 0.0 else (0.0, 0.0)


def gain(v: Floats, q: Bits, ops: Index, o: int, k: int) -> float:
    """From suction to the pressure at operand `k`, in metres; without suction: flooded, 0 MPa."""
    suction = ops[o + _SUCTION]
    if not usable(v, q, ops[o + k]):
        return nan
    below = v[suction] if usable(v, q, suction) else 0.0
    return float((v[ops[o + k]] - below) / MPA_PER_METRE)


def due_flow(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, count: float, share: float
) -> float:
    """m³/h that `count` pumps should deliver at `share` of full speed; 0 below the no-flow speed,
    NaN when it cannot be known."""
    least = par[p + _S0]
    if isnan(least):
        head = gain(v, q, ops, o, _SETPOINT)
        least = 100.0 * sqrt(max(head, 0.0) / par[p + _HEAD]) if not isnan(head) else nan
    if isnan(least):
        return nan
    if share * 100.0 <= least + SPEED_MARGIN:
        return 0.0
    if not isnan(par[p + _EXPECTED]):
        return float(count * par[p + _EXPECTED])
    head = gain(v, q, ops, o, _PRESSURE)
    if isnan(head):
        head = gain(v, q, ops, o, _SETPOINT)
    left = par[p + _HEAD] * share * share - head
    return float(count * sqrt(left / par[p + _CURVE])) if left > 0.0 else 0.0


def runs_dry(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, now: float
) -> int:
    """NO_FLOW, UNDERLOAD or NONE: what running pumps show of it."""
    count, share = turning(v, q, ops, o)
    flow, power = ops[o + _FLOW], ops[o + _POWER]
    due = due_flow(v, q, ops, o, par, p, count, share) if count > 0.0 else 0.0
    measured = usable(v, q, flow)
    little = measured and due > 0.0 and v[flow] < FLOW_SHARE * due
    miss = abs(gain(v, q, ops, o, _PRESSURE) - gain(v, q, ops, o, _SETPOINT)) * MPA_PER_METRE
    delivers = measured and due > 0.0 and not little
    delivers = delivers or miss < DELIVERS
    limit = POWER_SHARE * par[p + _CLOSED] * share**3 * count
    light = count > 0.0 and usable(v, q, power) and v[power] < limit and not delivers
    no_flow = lasted(st, s + _FLOW_AT, little, now, par[p + _FLOW_DELAY])
    underload = lasted(st, s + _POWER_AT, light, now, par[p + _POWER_DELAY])
    if no_flow:
        return NO_FLOW
    return UNDERLOAD if underload else NONE


def source_fails(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, now: float
) -> int:
    """What is wrong with the water that the pumps take in, or NONE."""
    suction, trips = ops[o + _SUCTION], par[p + _ON_BAD] == 0.0
    water = tank(v, q, ops, o, par, p, False)
    blind = isnan(water) and (lost(q, ops[o + _LEVEL]) or lost(q, ops[o + _FLOAT]))
    little = usable(v, q, suction) and v[suction] < par[p + _MIN_SUCTION]
    unseen = lost(q, suction) and water != WET
    low = lasted(st, s + _LOW_AT, water == DRY, now, par[p + _LEVEL_DELAY])
    level_lost = lasted(st, s + _BLIND_AT, blind and trips, now, BAD_DELAY)
    weak = lasted(st, s + _SUCTION_AT, little, now, par[p + _SUCTION_DELAY])
    suction_lost = lasted(st, s + _NO_SUCTION_AT, unseen and trips, now, BAD_DELAY)
    if low:
        return LEVEL_LOW
    if level_lost:
        return LEVEL_LOST
    if weak:
        return SUCTION_LOW
    return SUCTION_LOST if suction_lost else NONE


def too_hot(v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, below: float) -> bool:
    """Whether the temperature is known and less than `below` K under its limit."""
    k = ops[o + _TEMPERATURE]
    return usable(v, q, k) and bool(v[k] > par[p + _HOTTEST] - below)


def restored(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, why: int, rising: bool
) -> bool:
    """Whether the pumps may run again, as far as this can be seen while they stand.

    What was given must have been read; `rising` asks for the level of a restart.
    """
    water, ok = tank(v, q, ops, o, par, p, rising), par[p + _ON_BAD] != 0.0
    suction, k = ops[o + _SUCTION], ops[o + _TEMPERATURE]
    given = not isnan(par[p + _LOW_LOW]) or q[ops[o + _FLOAT]] & BAD != NEVER
    blind = isnan(water) and given
    if water == DRY or (blind and not (ok and lost(q, ops[o + _LEVEL]))):
        return False
    if usable(v, q, suction):
        if v[suction] < par[p + _MIN_SUCTION]:
            return False
    elif why == SUCTION_LOW or (lost(q, suction) and water != WET and not ok):
        return False
    if why == HOT and not usable(v, q, k):
        return False
    return not too_hot(v, q, ops, o, par, p, COOLED)


def recent(par: Floats, p: int, st: Floats, s: int, now: float) -> int:
    """How many restarts fell into the last hour; what is older leaves the list."""
    count = 0
    for i in range(int(par[p + _RESTARTS])):
        if st[s + _RING + i] > now - HOUR:
            count += 1
        else:
            st[s + _RING + i] = nan
    return count


def restart(par: Floats, p: int, st: Floats, s: int, now: float, counted: bool) -> None:
    """Let the pumps go; by a person (not `counted`) with a clean sheet."""
    st[s + _WHY], st[s + _LOCK], st[s + _BACK_AT] = NONE, 0.0, nan
    free = -1
    for i in range(int(par[p + _RESTARTS])):
        if not counted:
            st[s + _RING + i] = nan
        elif isnan(st[s + _RING + i]):
            free = i
    if free >= 0:
        st[s + _RING + free] = now


def dry_run_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Trip on the first cause; when all is well again for `restart_delay`, or a person resets, let
    go. A trip when the restarts of the hour are used up is a lockout: only a person ends it."""
    reset = reset_asked(v, ops[o + _RESET])
    if isnan(st[s + _WHY]):
        st[s + _WHY], st[s + _LOCK] = NONE, 0.0
    source = source_fails(v, q, ops, o, par, p, st, s, now)
    running = runs_dry(v, q, ops, o, par, p, st, s, now)
    hot = lasted(st, s + _HOT_AT, too_hot(v, q, ops, o, par, p, 0.0), now, par[p + _HOT_DELAY])
    cause = source
    if cause == NONE:
        cause = running if running != NONE or not hot else HOT
    count = recent(par, p, st, s, now)
    why = int(st[s + _WHY])
    if why == NONE and cause != NONE:
        st[s + _WHY], st[s + _BACK_AT] = cause, nan
        st[s + _LOCK] = 1.0 if count >= par[p + _RESTARTS] else 0.0
    elif why != NONE:
        well = cause == NONE and restored(v, q, ops, o, par, p, why, True)
        waited = lasted(st, s + _BACK_AT, well, now, par[p + _RESTART_DELAY])
        if reset and cause == NONE and restored(v, q, ops, o, par, p, why, False):
            restart(par, p, st, s, now, False)
        elif waited and st[s + _LOCK] != 1.0:
            restart(par, p, st, s, now, True)
        count = recent(par, p, st, s, now)
    publish(v, q, ops, o, st, s, count)


def publish(v: Floats, q: Bits, ops: Index, o: int, st: Floats, s: int, count: int) -> None:
    """Show what was decided; uncertain while the water cannot be seen."""
    blind = lost(q, ops[o + _LEVEL]) or lost(q, ops[o + _SUCTION])
    v[ops[o + _TRIPPED]] = 1.0 if st[s + _WHY] != NONE else 0.0
    v[ops[o + _CAUSE]] = st[s + _WHY]
    v[ops[o + _LOCKED]] = st[s + _LOCK]
    v[ops[o + _RESTARTED]] = count
    for k in range(4):
        q[ops[o + k]] = UNCERTAIN if blind else GOOD


def _publishes(_: DryRun) -> tuple[Published, ...]:
    yes_no = {0: Text("正常", "normal"), 1: Text("动作", "tripped")}
    locked = {0: Text("否", "no"), 1: Text("需人工复位", "needs a reset")}
    return (
        Published("tripped", "", Text("缺水保护动作", "dry-run protection tripped"), yes_no),
        Published("cause", "", Text("缺水保护原因", "cause"), CAUSES),
        Published("lockout", "", Text("缺水保护闭锁", "locked out"), locked),
        Published("restarts", "", Text("一小时内自动重启次数", "restarts within the hour")),
    )


def _alarms(model: DryRun) -> tuple[AlarmTemplate, ...]:
    points = points_of(model.level, model.suction, model.flow, model.power, model.temperature)
    found = [
        AlarmTemplate(
            "{RULE}_DRY_RUN", "{rule}.tripped == 1", 2, Text("缺水保护", "Dry-run protection"),
            (Text("看水箱水位", "look at the tank level"),
             Text("进水阀是否打开", "is the inlet valve open?"),
             Text("清洗过滤器", "clean the strainer")),
            shows=("{rule}.cause", "{rule}.lockout", "{rule}.restarts", *points),
            cause=Text("水泵可能在无水运转", "the pumps would turn without water"),
            consequence=Text(
                f"水泵已停; 水恢复后自动重启, 一小时内最多 {model.restarts} 次, 然后须人工复位",
                "the pumps stand; they restart by themselves when water is back, at most "
                f"{model.restarts} times an hour, then a person resets",
            ),
        ),
    ]  # fmt: skip
    if isinstance(model.level, str):
        found.append(
            AlarmTemplate(
                "{RULE}_LL", f"({model.level}) < {model.low_low}", 2,
                Text("水箱超低水位", "Tank level very low"),
                (Text("检查进水阀、浮球阀", "check the inlet and float valve"),
                 Text("市政供水是否正常", "is the main supply there?"),
                 Text("检查溢流和排空阀", "check overflow and drain valve")),
                on_delay=5.0, off_delay=30.0, shows=points,
            )
        )  # fmt: skip
    return tuple(found)


_PUMP: dict[str, Any] = {"trip": ["pump.run"]}
_TANK: dict[str, Any] = {**_PUMP, "level": "tank.level", "low_low": "0.3 m"}

DRY_RUN = Kind(
    name="dry_run",
    model=DryRun,
    step=dry_run_step,
    text=Text("缺水保护 (干转保护)", "Dry-run protection"),
    every=0.0,
    slot=Slot.PROTECT,
    publishes=_publishes,
    states=lambda model: _RING + model.restarts,
    keeps=lambda model: {
        "dry run": _WHY, "dry-run lockout": _LOCK,
        **{f"dry-run restart {k}": _RING + k for k in range(model.restarts)},
    },
    alarms=_alarms,
    resettable=lambda _: True,
    examples=(
        Example(
            "below LL at once; above LL + 0.3 m for 60 s before the pumps run again",
            _TANK,
            (
                (0.0, {"tank.level": 1.2}, {"tripped": 0}),
                (1.0, {"tank.level": 0.29}, {"tripped": 1, "cause": LEVEL_LOW, "pump.run": 0}),
                (2.0, {"tank.level": 0.59}, {"tripped": 1}),
                (70.0, {"tank.level": 0.61}, {"tripped": 1}),
                (129.9, {}, {"tripped": 1}),
                (130.0, {}, {"tripped": 0, "restarts": 1, "pump.run": nan}),
            ),
        ),
        Example(
            "a lost level counts as low after 10 s, unless the float says there is water",
            {**_TANK, "float_switch": "tank.float"},
            (
                (0.0, {"tank.level": 1.2, "tank.float": 1}, {"tripped": 0}),
                (1.0, {"tank.level": nan}, {"tripped": 0}),
                (60.0, {}, {"tripped": 0}),
                (61.0, {"tank.float": nan}, {"tripped": 0}),
                (70.9, {}, {"tripped": 0}),
                (71.0, {}, {"tripped": 1, "cause": LEVEL_LOST}),
            ),
        ),
        Example(
            "underload at 80 % speed: less than 0.8 x 4 kW x 0.512 for 10 s",
            {**_PUMP, "power": "pump.power", "speed": "pump.speed", "closed_power": "4 kW"},
            (
                (0.0, {"pump.power": 1.639, "pump.speed": 80}, {"tripped": 0}),
                (60.0, {"pump.power": 1.638}, {"tripped": 0}),
                (69.9, {}, {"tripped": 0}),
                (70.0, {}, {"tripped": 1, "cause": UNDERLOAD}),
            ),
        ),
        Example(
            "flow under a tenth of what the curve says at 0.40 MPa, for 20 s above s0 + 5 %",
            {
                **_PUMP, "flow": "pump.flow", "speed": "pump.speed", "pressure": "pump.pressure",
                "setpoint": "0.40 MPa", "shutoff_head": "65 m", "curve": 0.10,
            },
            (
                (0.0, {"pump.flow": 0.5, "pump.speed": 84, "pump.pressure": 0.4}, {"tripped": 0}),
                (60.0, {"pump.speed": 95}, {"tripped": 0}),
                (80.0, {}, {"tripped": 1, "cause": NO_FLOW}),
            ),
        ),
        Example(
            "one restart an hour is allowed here: the second trip waits for a person",
            {**_TANK, "restarts": 1, "restart_delay": "10s"},
            (
                (0.0, {"tank.level": 0.2}, {"tripped": 1, "lockout": 0}),
                (1.0, {"tank.level": 1.0}, {}),
                (11.0, {}, {"tripped": 0, "restarts": 1}),
                (12.0, {"tank.level": 0.2}, {"tripped": 1, "lockout": 1}),
                (13.0, {"tank.level": 1.0}, {}),
                (60.0, {}, {"tripped": 1, "lockout": 1}),
                (61.0, {"reset": 1}, {"tripped": 0, "lockout": 0, "restarts": 0}),
            ),
        ),
    ),
)  # fmt: skip
