"""Closed-loop daylight harvesting: lamps add what daylight lacks at the sensor (domain §1.7).

An integral controller in the light-output domain; no P term, since sensor and lamps are an
algebraic loop that would flicker. The block ramps the output itself. All levels are percentages of
full output. Called by the kernel; every function here may be compiled with the step.
"""

from __future__ import annotations

from math import exp, isnan, nan
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.daylight_care import (
    LEARNT,
    WEAK,
    detuned,
    end_test,
    found,
    full_output,
    night,
    night_test,
    unfound,
    watch_step,
)
from edge.blocks.daylight_care import STATES as STATES_OF_CARE
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
from edge.blocks.lamps import AT_FALLBACK, START_WAIT, Percent, publish, sensor_lost, taken
from edge.blocks.output import RESULT, ask, lost
from edge.blocks.pid import clip
from edge.blocks.ramp import toward
from edge.blocks.schedule import ClockTime
from edge.blocks.timing import ROUNDING, lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import NEVER
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text


class Daylight(Model):
    """`full_output` is what the lamps at 100 % give at the sensor at night, `minimum` the lowest
    level that is still light. `fallback` is the level without a sensor: a number or a point such as
    a schedule's. `gain` is stable below 2 · full_output / (what the lamps really give): keep it
    at 0.5 or less; when the level hunts all the same, it is halved until the options change.

    Once a month, in the hour from `night_test` on, the lamps burn at 100 % for 30 s while it is
    dark and `occupied` (left out: nobody) is off: what they give then is shown and counted with.

    Where another rule has the last word, as occupancy does, `output` is a setpoint that it reads
    and `lamps` the point that it drives: the loop then counts with what the lamps really give, and
    neither winds up while they are dimmed nor tests them at night.
    """

    illuminance: Annotated[Source, Input("lx")]
    output: Annotated[str, Target("%")]
    setpoint: Annotated[Source, Input("lx")] = 150.0
    fallback: Annotated[Source, Input("%")] = 60.0
    occupied: Annotated[Source | None, Input("")] = None
    lamps: Annotated[Source | None, Input("%")] = None
    full_output: Annotated[float, Quantity("lx"), Field(gt=0)] = 200.0
    minimum: Annotated[Percent, Field(ge=1, le=50)] = 10.0
    gain: Annotated[float, Field(ge=0.05, le=1)] = 0.3
    cycle: Annotated[Duration, Field(ge=1, le=300)] = 10.0
    filter: Annotated[Duration, Field(ge=0, le=300)] = 10.0
    deadband: Annotated[Percent, Field(ge=2, le=20)] = 5.0
    up: Annotated[float, Field(gt=0, le=100)] = 5.0  # %/s
    down: Annotated[float, Field(gt=0, le=100)] = 1.0  # %/s
    off_ratio: Annotated[float, Field(ge=1.1, le=5)] = 1.3
    off_hold: Annotated[Duration, Field(le=7200)] = 600.0
    on_ratio: Annotated[float, Field(ge=0.5, le=1.5)] = 1.05
    on_hold: Annotated[Duration, Field(le=7200)] = 30.0
    sensor_hold: Duration = 300.0
    response_time: Annotated[Duration, Field(ge=5, le=300)] = 60.0
    night_test: ClockTime | Literal["never"] = "03:00"

    @model_validator(mode="after")
    def _slow_enough(self) -> Self:
        if self.cycle < self.filter:
            raise Refusal(
                Text(
                    "cycle 不得短于 filter, 否则回路会振荡",
                    "cycle must not be shorter than filter, or the loop hunts",
                )
            )
        if self.on_ratio >= self.off_ratio:
            raise Refusal(
                Text("on_ratio 必须小于 off_ratio", "on_ratio must be less than off_ratio")
            )
        asked = "night_test" in self.model_fields_set and self.night_test != "never"
        if self.lamps is not None and asked:
            raise Refusal(
                Text(
                    "灯由另一规则驱动 (lamps) 时无法夜间测灯; 请去掉 night_test",
                    "lamps that another rule drives cannot be tested at night; drop night_test",
                )
            )
        return self


OFF, LIT, HELD, FALLBACK, NO_RESPONSE, FOLLOWING, WAITING, TESTING = range(8)

LONGEST_OFF_HOLD = 7200.0  # s: slow clouds double the hold up to this
RELIGHT = 1800.0  # s: off for less than this was too early
MOVED = 30.0  # %: after such a change of level the reading must have changed too
RESPONSE = 0.03  # of full_output: a tenth of what 30 % of the lamps give
FAR = 0.15  # of the setpoint: nearer than this a constant reading is the loop's success

(_STATE, _LEVEL, _SEEN, _GAIN_NOW, _FOUND, _LUX, _SETPOINT, _FALLBACK, _OCCUPIED,
 _LAMPS, _NIGHT) = range(RESULT, RESULT + 11)  # fmt: skip
(_FULL, _MINIMUM, _GAIN, _CYCLE, _FILTER, _DEADBAND, _UP, _DOWN, _OFF_RATIO, _OFF_HOLD, _ON_RATIO,
 _ON_HOLD, _SENSOR_HOLD, _RESPONSE_TIME) = range(14)  # fmt: skip
(_EF, _UT, _U, _NEXT, _BRIGHT, _DARK, _HOLD_NOW, _OFF_AT, _BAD_SINCE, _REF_U, _REF_LOW, _REF_HIGH,
 _MOVED_AT, _STUCK, _LOST, _WAIT, _CARE) = range(17)  # fmt: skip


def daylight_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Every cycle the target, then off and on; then the ramp, then the filter.

    A bad sensor holds the level for `sensor_hold`, then the fallback level applies, as it does at
    once when the sensor does not respond. What the output does is adopted at the start, while
    somebody else holds it, and after its device was lost.
    """
    q[ops[o + _STATE]] = 0
    lamps = ops[o + _LAMPS]
    unseen = q[lamps] != NEVER and not usable(v, q, lamps)
    if lost(q, ops, o, st, s + _LOST) or unseen:
        v[ops[o + _STATE]] = WAITING
        return  # the request stays as it is
    other = taken(v, q, ops, o, st, s + _LOST, dt)
    if isnan(st[s + _U]) and isnan(other):
        if not lasted(st, s + _WAIT, True, now, START_WAIT):
            v[ops[o + _STATE]] = WAITING
            return
        other = par[p + _MINIMUM]
    good = usable(v, q, ops[o + _LUX]) and usable(v, q, ops[o + _SETPOINT])
    if not isnan(other):
        v[ops[o + _STATE]] = FOLLOWING
        adopt(other, par, p, st, s, now)
    else:
        v[ops[o + _STATE]] = automatic(v, q, ops, o, par, p, st, s, now, good)
        st[s + _U] = toward(st[s + _U], st[s + _UT], par[p + _UP] * dt, par[p + _DOWN] * dt)
    testing = v[ops[o + _STATE]] == TESTING
    seen = counted(v[ops[o + _LUX]], burning(v, q, lamps, st, s), par, p, st, s)
    sense(seen if good and not testing else nan, par, p, st, s, dt)
    ask(v, q, ops, o, st[s + _U], q[ops[o + _LUX]])
    v[ops[o + _LEVEL]] = st[s + _UT]
    q[ops[o + _LEVEL]] = 0
    v[ops[o + _SEEN]] = st[s + _EF]
    q[ops[o + _SEEN]] = q[ops[o + _LUX]] if good else q[ops[o + _LUX]] | NEVER
    publish(v, q, ops[o + _GAIN_NOW], par[p + _GAIN] * detuned(st, s + _CARE), 0)
    publish(v, q, ops[o + _FOUND], found(st, s + _CARE), 0)


def burning(v: Floats, q: Bits, lamps: int, st: Floats, s: int) -> float:
    """The level of the lamps: ours, unless another rule drives them."""
    return float(v[lamps]) if usable(v, q, lamps) else float(st[s + _U])


def counted(lux: float, lit: float, par: Floats, p: int, st: Floats, s: int) -> float:
    """What the sensor would see if the lamps burnt at our level instead of at `lit`."""
    return float(lux + (st[s + _U] - lit) / 100.0 * full_output(par[p + _FULL], st, s + _CARE))


def adopt(level: float, par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """Go on from `level`; the hold timers begin anew."""
    st[s + _U] = level
    st[s + _UT] = level
    end_test(st, s + _CARE)
    settle(par, p, st, s, now)


def settle(par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """Give the loop a whole cycle before it acts, and forget what its timers saw."""
    st[s + _NEXT] = now + par[p + _CYCLE]
    st[s + _BRIGHT], st[s + _DARK] = nan, nan
    st[s + _REF_U], st[s + _MOVED_AT] = nan, nan
    if isnan(st[s + _HOLD_NOW]):
        st[s + _HOLD_NOW] = par[p + _OFF_HOLD]


def automatic(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float, good: bool,
) -> float:  # fmt: skip
    """Set the target level and say in which state."""
    level = v[ops[o + _FALLBACK]] if usable(v, q, ops[o + _FALLBACK]) else st[s + _UT]
    if not good:
        before = end_test(st, s + _CARE)
        if not isnan(before):
            st[s + _U], st[s + _UT] = before, before
        if not lasted(st, s + _BAD_SINCE, True, now, par[p + _SENSOR_HOLD]):
            return HELD
        st[s + _UT] = clip(level, 0.0, 100.0)
        return FALLBACK
    lux, setpoint = v[ops[o + _LUX]], v[ops[o + _SETPOINT]]
    lit = burning(v, q, ops[o + _LAMPS], st, s)
    if not isnan(st[s + _BAD_SINCE]):
        st[s + _BAD_SINCE] = nan
        resume(counted(lux, lit, par, p, st, s), par, p, st, s, now)
    if not responds(lux, lit, setpoint, par, p, st, s, now):
        end_test(st, s + _CARE)
        st[s + _UT] = clip(level, 0.0, 100.0)
        return NO_RESPONSE
    if tested(v, q, ops, o, par, p, st, s, now):
        return TESTING
    if now >= st[s + _NEXT] - ROUNDING:
        st[s + _NEXT] = max(st[s + _NEXT], now - 0.5 * par[p + _CYCLE]) + par[p + _CYCLE]
        aim(setpoint, par, p, st, s, now)
        switch_off_and_on(setpoint, par, p, st, s, now)
    return LIT if st[s + _UT] > 0.0 else OFF


def resume(lux: float, par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """The sensor is back: go on from the present level and the present reading."""
    st[s + _EF] = lux
    st[s + _UT] = st[s + _U]
    settle(par, p, st, s, now)


def tested(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> bool:  # fmt: skip
    """Whether a night test holds the level; a reading that it leaves alone is a dead sensor."""
    there, cell, lux = ops[o + _OCCUPIED], ops[o + _NIGHT], v[ops[o + _LUX]]
    free = q[there] == NEVER or (usable(v, q, there) and v[there] == 0.0)
    month = v[cell] if usable(v, q, cell) else nan
    before = found(st, s + _CARE)
    level = night_test(month, free, lux, st[s + _U], now, st, s + _CARE)
    if isnan(level):
        return False
    st[s + _U], st[s + _UT] = level, level
    settle(par, p, st, s, now)
    measured = found(st, s + _CARE)
    if measured != before and measured < RESPONSE * par[p + _FULL]:
        st[s + _STUCK] = lux
        unfound(before, st, s + _CARE)
    return True


def aim(setpoint: float, par: Floats, p: int, st: Floats, s: int, now: float) -> None:
    """ut = clip(ut + k·(E_set - E_f)/E_full, u_min, 1), outside the dead band and lit."""
    error = setpoint - st[s + _EF]
    if st[s + _UT] > 0.0 and abs(error) > par[p + _DEADBAND] / 100.0 * setpoint:
        gain = par[p + _GAIN] * detuned(st, s + _CARE)
        step = 100.0 * gain * error / full_output(par[p + _FULL], st, s + _CARE)
        before = st[s + _UT]
        st[s + _UT] = clip(before + step, par[p + _MINIMUM], 100.0)
        moved = st[s + _UT] - before
        watch_step(moved, setpoint, par[p + _CYCLE], now, st, s + _CARE)


def switch_off_and_on(
    setpoint: float, par: Floats, p: int, st: Floats, s: int, now: float
) -> None:  # fmt: skip
    """Off when the minimum is too bright for long; on when it is too dark. Off is at once."""
    lit = st[s + _UT] > 0.0
    bright = lit and st[s + _UT] <= par[p + _MINIMUM]
    bright = bright and st[s + _EF] > par[p + _OFF_RATIO] * setpoint
    if lasted(st, s + _BRIGHT, bright, now, st[s + _HOLD_NOW]):
        st[s + _UT], st[s + _U] = 0.0, 0.0
        st[s + _OFF_AT], st[s + _BRIGHT] = now, nan
    dark = not lit and st[s + _EF] < par[p + _ON_RATIO] * setpoint
    if lasted(st, s + _DARK, dark, now, par[p + _ON_HOLD]):
        st[s + _UT], st[s + _DARK] = par[p + _MINIMUM], nan
        early = now - st[s + _OFF_AT] < RELIGHT
        doubled = min(2.0 * st[s + _HOLD_NOW], max(LONGEST_OFF_HOLD, par[p + _OFF_HOLD]))
        st[s + _HOLD_NOW] = doubled if early else par[p + _OFF_HOLD]


def responds(
    lux: float, lit: float, setpoint: float,
    par: Floats, p: int, st: Floats, s: int, now: float,
) -> bool:  # fmt: skip
    """Whether the reading answers the lamps: a covered or frozen sensor does not.

    Not so when the level moved by more than 30 % and `response_time` later the reading, far from
    its setpoint, is still the same. It is believed again as soon as it moves.
    """
    enough = RESPONSE * par[p + _FULL]
    if not isnan(st[s + _STUCK]):
        if abs(lux - st[s + _STUCK]) <= enough:
            return False
        st[s + _STUCK] = nan
        resume(counted(lux, lit, par, p, st, s), par, p, st, s, now)
    low, high = min(st[s + _REF_LOW], lux), max(st[s + _REF_HIGH], lux)
    far = abs(setpoint - lux) > FAR * setpoint
    if isnan(st[s + _REF_U]) or not far or high - low > enough:
        st[s + _REF_U], st[s + _MOVED_AT] = lit, nan
        low, high = lux, lux
    st[s + _REF_LOW], st[s + _REF_HIGH] = low, high
    moved = abs(lit - st[s + _REF_U]) > MOVED
    if lasted(st, s + _MOVED_AT, moved, now, par[p + _RESPONSE_TIME]):
        st[s + _STUCK] = lux
        return False
    return True


def sense(lux: float, par: Floats, p: int, st: Floats, s: int, dt: float) -> None:
    """E_f = EMA(E, tau), starting at the present reading; a bad one (NaN) leaves it."""
    if isnan(lux):
        return
    if isnan(st[s + _EF]) or dt == 0.0 or par[p + _FILTER] <= 0.0:
        st[s + _EF] = lux
    else:
        st[s + _EF] += (lux - st[s + _EF]) * (1.0 - exp(-dt / par[p + _FILTER]))


STATES = {
    OFF: Text("关灯", "off: daylight is enough"),
    LIT: Text("自动调光", "dimming"),
    HELD: Text("照度信号坏, 保持亮度", "sensor bad, level held"),
    FALLBACK: Text("照度信号坏, 后备亮度", "sensor bad, fallback level"),
    NO_RESPONSE: Text("照度计无响应, 后备亮度", "sensor does not respond, fallback level"),
    FOLLOWING: Text("跟踪: 输出由他人控制", "following: the output is held by another"),
    WAITING: Text("等待输出回读", "waiting for the output's read-back"),
    TESTING: Text("夜间测灯", "measuring the lamps at night"),
}


def _publishes(model: Daylight) -> tuple[Published, ...]:
    return (
        Published("state", "", Text("调光状态", "daylight state"), STATES),
        Published("target", "%", Text("目标亮度", "target level")),
        Published("lux", "lx", Text("滤波照度", "filtered illuminance")),
        Published("gain", "", Text("当前增益", "present gain")),
        Published("full_output_found", "lx", Text("实测满亮照度", "full output as measured")),
    )


def _alarms(model: Daylight) -> tuple[AlarmTemplate, ...]:
    shows = ("{rule}.lux", "{rule}.target", "{rule}.state")
    return (
        AlarmTemplate(
            id="{RULE}_LUX_SENSOR_NO_RESPONSE",
            when=f"{{rule}}.state == {NO_RESPONSE}",
            priority=3,
            text=Text("照度计无响应", "Illuminance sensor does not respond"),
            cause=Text(
                "灯光变化超过 30 % 而照度读数不变",
                "the lamps changed by more than 30 % and the reading did not",
            ),
            consequence=AT_FALLBACK,
            checks=(
                Text("擦净照度计", "clean the sensor"),
                Text("查看有无遮挡", "look for an obstruction"),
                Text("核对地址与接线", "check its address and wiring"),
            ),
            shows=shows,
        ),
        sensor_lost(FALLBACK, AT_FALLBACK, shows),
        AlarmTemplate(
            id="{RULE}_OSCILLATING",
            when=f"{{rule}}.gain < {model.gain!r}",
            priority=4,
            text=Text("调光振荡, 增益已减小", "Dimming hunted, its gain was reduced"),
            cause=Text(
                "full_output 远小于灯具实际照度, 或 gain 过大",
                "full_output is far below what the lamps give, or gain is too high",
            ),
            consequence=Text("调光变慢", "dimming is slower"),
            checks=(
                Text("夜间核对 full_output", "compare full_output with a reading at night"),
                Text("减小 gain 并重新载入", "lower gain and reload"),
            ),
            shows=("{rule}.gain", *shows),
        ),
        AlarmTemplate(
            id="{RULE}_LAMPS_WEAK",
            when=f"{{rule}}.full_output_found < {WEAK * model.full_output:g}",
            priority=4,
            text=Text("灯具光衰: 清洁或更换灯具", "Lamps have faded: clean or replace them"),
            cause=Text(
                f"夜间实测低于调试值的 {100 * WEAK:g} %",
                f"they give less than {100 * WEAK:g} % of what they gave at commissioning",
            ),
            consequence=Text("照度不足或用电增加", "too dark, or more energy for the same light"),
            checks=(
                Text("清洁灯具和照度计", "clean the luminaires and the sensor"),
                Text("更换老化或损坏的灯具", "replace lamps that are old or broken"),
            ),
            shows=("{rule}.full_output_found", *shows),
        ),
    )


DAYLIGHT = Kind(
    name="daylight",
    model=Daylight,
    step=daylight_step,
    text=Text("恒照度调光(闭环)", "daylight harvesting, closed loop"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda _: 16 + STATES_OF_CARE,
    keeps=lambda model: {f"{name} of {model.output}": _CARE + at for name, at in LEARNT.items()},
    alarms=_alarms,
    agenda=lambda model, place, wall: night(
        model.night_test if model.lamps is None else "never", place, wall
    ),
    examples=(
        Example(
            "the level found is kept for a cycle; 20 lx too dark add 3 %",
            {"illuminance": "lobby.lux", "output": "lobby.dimmer", "setpoint": "150 lx"},
            (
                (0.0, {"lobby.lux": 130.0, "lobby.dimmer": 50.0}, {"lobby.dimmer": 50.0}),
                (2.5, {}, {"lobby.dimmer": 50.0, "target": 50.0, "state": LIT}),
                (5.0, {}, {"lobby.dimmer": 50.0}),
                (7.5, {}, {"lobby.dimmer": 50.0}),
                (10.0, {}, {"lobby.dimmer": 53.0, "target": 53.0, "lux": 130.0}),
            ),
        ),
    ),
)
