"""PI(D) control of one output (domain §1.2): back-calculation, bumpless, setpoint ramp, slew.

`regulate` is the bare law without any image, for kinds that bring their own controller.
"""

from __future__ import annotations

from math import exp, isnan, nan
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import AlarmTemplate, AnyInput, Example, Kind, Target, reset_asked, usable
from edge.blocks.oscillation import (
    OSCILLATION_STATES,
    gain_factor,
    gain_point,
    hunting_alarm,
    hunts,
    look_anew,
    tune_anew,
)
from edge.blocks.output import DECIDED, ask, found_again, held_by_other, lost, present, show
from edge.blocks.ramp import toward
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration
from edge.text import Text

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Time = Annotated[Duration, Field(gt=0)]


class Pid(Model):
    """`kp` is output per input unit; `low`, `high`, `slew` (per second) are in the output's unit.

    `deadband` and `setpoint_ramp` (per second) are in the input's unit. `reverse` action: a value
    below its setpoint raises the output; `direct`: it lowers it. A loop that hunts gets half its
    `kp`, at most twice, until it is reset (`edge reset`) or its options change.
    """

    output: Annotated[str, Target()]
    input: AnyInput
    setpoint: AnyInput
    kp: Positive
    ti: Time
    td: Duration = 0.0
    low: float = 0.0
    high: float = 100.0
    action: Literal["reverse", "direct"] = "reverse"
    deadband: NotNegative = 0.0
    setpoint_ramp: Positive | None = None
    slew: Positive | None = None
    tracking_time: Time | None = None
    hold: Duration = 30.0

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.low >= self.high:
            raise Refusal(Text("low 必须小于 high", "low must be below high"))
        return self


_GAIN, _PV, _SP, _RESET = 4, 5, 6, 7
_KP, _TI, _TD, _LOW, _HIGH, _ACTION, _DEADBAND, _SP_RAMP, _SLEW, _TT, _HOLD = range(11)
_I, _LAST, _SETPOINT, _FILTERED, _BAD_SINCE, _HELD, _LOST, _HUNTING = range(8)
DERIVATIVE_FILTER = 0.1  # of Td: the usual N = 10


def clip(x: float, low: float, high: float) -> float:
    """`x` within its limits."""
    return low if x < low else high if x > high else x


def pid_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """A bad input or setpoint holds the output for `hold`, then withdraws; both return bumpless.

    While the device of the output is silent nothing is integrated: what it does then is taken over.
    A loop that hunts is detuned (`oscillation.py`).
    """
    if reset_asked(v, ops[o + _RESET]):
        tune_anew(st, s + _HUNTING)
        st[s + _HELD] = 1.0  # the output stays as it is, whatever the error is now
    show(v, q, ops[o + _GAIN], gain_factor(st, s + _HUNTING))
    if not isnan(st[s + _I]) and lost(q, ops, o, st, s + _LOST):
        st[s + _HELD] = 1.0
        return
    back = found_again(v, q, ops, o, st, s + _LOST)
    if not isnan(back):
        st[s + _LAST] = back
    pv, sp = ops[o + _PV], ops[o + _SP]
    bits = q[pv] | q[sp]
    if not (usable(v, q, pv) and usable(v, q, sp)):
        st[s + _HELD] = 1.0
        if lasted(st, s + _BAD_SINCE, True, now, par[p + _HOLD]):
            ask(v, q, ops, o, nan, bits)
        return
    st[s + _BAD_SINCE] = nan
    setpoint = approached(v[pv], v[sp], par, p, st, s, dt)
    error = setpoint - v[pv]
    if par[p + _ACTION] == 1.0:
        error = -error
    if abs(error) < par[p + _DEADBAND]:
        error = 0.0
    slope = derivative(v[pv], par, p, st, s, dt)

    if dt == 0.0 or st[s + _HELD] == 1.0 or isnan(st[s + _I]) or held_by_other(v, ops, o):
        us = follow(v, q, ops, o, par, p, st, s, kp_now(par, p, st, s) * error)
        look_anew(st, s + _HUNTING)
    else:
        track(v, ops, o, par, p, st, s, dt)
        us = regulate(error, slope, par, p, st, s, dt)
        watch_loop(setpoint - v[pv], setpoint, error, us, par, p, st, s, now, dt)
    st[s + _HELD] = 0.0
    st[s + _LAST] = us
    ask(v, q, ops, o, us, bits)


def kp_now(par: Floats, p: int, st: Floats, s: int) -> float:
    """The gain in use: what is configured, or less since the loop hunted."""
    return float(par[p + _KP] * gain_factor(st, s + _HUNTING))


def watch_loop(
    miss: float, setpoint: float, error: float, us: float,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Halve the gain of a loop that hunts; the output stays as it is."""
    span, c = par[p + _HIGH] - par[p + _LOW], s + _HUNTING
    if hunts(miss, setpoint, span, par[p + _KP], par[p + _DEADBAND], par[p + _TI], now, dt, st, c):
        st[s + _I] = us - kp_now(par, p, st, s) * error


def approached(pv: float, sp: float, par: Floats, p: int, st: Floats, s: int, dt: float) -> float:
    """The setpoint on its ramp, which begins at the measured value."""
    if isnan(par[p + _SP_RAMP]):
        return sp
    start = pv if dt == 0.0 or isnan(st[s + _SETPOINT]) else st[s + _SETPOINT]
    st[s + _SETPOINT] = toward(start, sp, par[p + _SP_RAMP] * dt, par[p + _SP_RAMP] * dt)
    return float(st[s + _SETPOINT])


def derivative(pv: float, par: Floats, p: int, st: Floats, s: int, dt: float) -> float:
    """The D part, in output units: of the filtered measured value, so a setpoint never kicks."""
    td = par[p + _TD]
    before = st[s + _FILTERED]
    if td <= 0.0 or dt == 0.0 or isnan(before):
        st[s + _FILTERED] = pv
        return 0.0
    step = (pv - before) * (1.0 - exp(-dt / (DERIVATIVE_FILTER * td)))
    st[s + _FILTERED] = before + step
    sign = 1.0 if par[p + _ACTION] == 1.0 else -1.0
    return float(sign * kp_now(par, p, st, s) * td * step / dt)


def follow(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, part: float
) -> float:
    """Take over from what the output does: the integral is what the P part leaves to be said."""
    start = st[s + _LAST]
    if st[s + _HELD] != 1.0 or isnan(start) or held_by_other(v, ops, o):
        start = present(v, q, ops, o)
    us = clip(par[p + _LOW] if isnan(start) else start, par[p + _LOW], par[p + _HIGH])
    st[s + _I] = us - part
    return us


def track(
    v: Floats, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, dt: float
) -> None:  # fmt: skip
    """Let the integral follow what went out where that is not what was asked: a bound or a rate of
    the output is saturation like the loop's own limits."""
    decided = v[ops[o + DECIDED]]
    if not isnan(decided):
        st[s + _I] += (decided - st[s + _LAST]) * min(dt / tracking(par, p), 1.0)


def tracking(par: Floats, p: int) -> float:
    """Tt: Ti unless the site says otherwise."""
    return float(par[p + _TI] if isnan(par[p + _TT]) else par[p + _TT])


def regulate(
    error: float, slope: float, par: Floats, p: int, st: Floats, s: int, dt: float
) -> float:
    """One step of the law: e, u, us, then the integral with the I before its update in u."""
    kp, ti = kp_now(par, p, st, s), par[p + _TI]
    integral = st[s + _I]
    u = kp * error + integral + slope
    us = clip(u, par[p + _LOW], par[p + _HIGH])
    if not isnan(par[p + _SLEW]):
        us = toward(st[s + _LAST], us, par[p + _SLEW] * dt, par[p + _SLEW] * dt)
    st[s + _I] = integral + kp / ti * error * dt + (us - u) * dt / tracking(par, p)
    return us


def _alarms(model: Pid) -> tuple[AlarmTemplate, ...]:
    return (hunting_alarm((model.output,)),)


# domain §1.2: pressure over time, and the output with the I before its update
_PRESSURE = (400, 395, 390, 385, 380, 380, 370, 340, 340, 340, 390, 400, 405)
_SPEED = (
    85.0, 87.0, 89.167, 91.5, 94.0, 94.667, 99.333, 100.0, 100.0, 100.0, 95.014, 91.347, 89.347,
)  # fmt: skip

PID = Kind(
    name="pid",
    model=Pid,
    step=pid_step,
    text=Text("PI(D) 调节", "PI(D) control"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=lambda _: (gain_point(),),
    states=lambda _: _HUNTING + OSCILLATION_STATES,
    alarms=_alarms,
    resettable=lambda _: True,
    examples=(
        Example(
            "the vector of domain §1.2: leaves saturation at once",
            {"input": "booster.pressure", "setpoint": "0.400 MPa", "output": "booster.speed",
             "kp": 400.0, "ti": "6s", "low": 70.0, "high": 100.0},
            tuple(
                (
                    0.5 * k,
                    {"booster.pressure": kpa / 1000} | ({"booster.speed": 85.0} if k == 0 else {}),
                    {"booster.speed": speed},
                )
                for k, (kpa, speed) in enumerate(zip(_PRESSURE, _SPEED, strict=True))
            ),
            tolerance=5.1e-4,
        ),
        Example(
            "a bad input holds the output for 30 s, then releases it; the return is bumpless",
            {"input": "booster.pressure", "setpoint": 0.4, "output": "booster.speed",
             "kp": 400.0, "ti": "6s", "low": 70.0, "high": 100.0},
            (
                (0.0, {"booster.pressure": 0.4, "booster.speed": 85.0}, {"booster.speed": 85.0}),
                (0.5, {"booster.pressure": float("nan")}, {"booster.speed": 85.0}),
                (1.0, {"booster.pressure": 0.38}, {"booster.speed": 85.0}),
                (1.5, {"booster.pressure": float("nan")}, {"booster.speed": 85.0}),
                (31.4, {}, {"booster.speed": 85.0}),
                (32.0, {}, {"booster.speed": float("nan")}),
            ),
        ),
    ),
)  # fmt: skip
