"""Signal conditioning (domain §1.1): range, spike gate, filter, flat line and vote, in this order.

Makes one trustworthy value of up to three sensors, with a quality that says how trustworthy. Scale
and word order are the profile's business, before this.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import exp, isnan, nan
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import AnyInput, Example, Input, Kind, Published, Source, usable
from edge.blocks.logic import Unit
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, HELD, NEVER, RANGE, SENSOR, UNCERTAIN
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, canonical
from edge.text import Text

FLATLINE = "10min"  # while the device runs
FILTERS = {"MPa": "2s", "lx": "10s", "m": "5s", "°C": "30s"}
"""By the quantity: pressure, light, level, temperature (domain §1.1)."""
_SENSORS = {"single": (1, 1), "median3": (3, 3), "max": (2, 3), "min": (2, 3), "avg2": (2, 2)}


class Conditioning(Model):
    """`low` and `high` are physically possible; their difference is the span.

    `spike` is the greatest believable step per sample, in percent of the span: up to two samples
    beyond it are replaced by the last good one. `every` should be the poll period of the inputs.
    `flatline`: a sensor that moved less than 0.01 % of the span for so long, while `running` is
    true (or not given), is at fault; 10 min where `running` is given, else it must be asked for.
    `filter` left out follows from `unit`: 2 s of a pressure, 10 s of light, 5 s of a level, 30 s of
    a temperature, none of anything else; `0s` is none.
    """

    input: AnyInput
    second: Annotated[Source | None, Input()] = None
    third: Annotated[Source | None, Input()] = None
    running: Annotated[Source | None, Input()] = None
    low: float
    high: float
    spike: Annotated[float, Field(gt=0, le=100)] = 20.0
    filter: Annotated[Duration, Field(le=600)] | None = None
    flatline: Duration | None = None
    vote: Literal["single", "median3", "max", "min", "avg2"] = "single"
    every: Annotated[Duration, Field(gt=0)] = 1.0
    unit: Unit = ""

    @model_validator(mode="before")
    @classmethod
    def _watched_while_it_runs(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("running") is not None:
            return {"flatline": FLATLINE, **given}
        return given

    @model_validator(mode="before")
    @classmethod
    def _filtered_as_its_quantity(cls, given: Any) -> Any:
        unit = given.get("unit") if isinstance(given, Mapping) else None
        if not isinstance(unit, str):
            return given
        with suppress(Refusal):  # a wrong unit is told of as such
            if (usual := FILTERS.get(canonical(unit))) is not None:
                return {"filter": usual, **given}
        return given

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.low >= self.high:
            raise Refusal(Text("low 必须小于 high", "low must be below high"))
        least, most = _SENSORS[self.vote]
        given = 1 + (self.second is not None) + (self.third is not None)
        if not least <= given <= most or (self.second is None and self.third is not None):
            count = str(least) if least == most else f"{least}-{most}"
            raise Refusal(
                Text(
                    f"vote: {self.vote} 需要 {count} 个传感器, 现有 {given} 个 "
                    "(input, second, third)",
                    f"vote: {self.vote} takes {count} sensors and there are {given} "
                    "(input, second, third)",
                )
            )
        return self


_INPUT, _RUNNING = 1, 4
_LOW, _HIGH, _SPIKE, _FILTER, _FLATLINE, _VOTE, _EVERY = range(7)
SINGLE, MEDIAN3, MAX, MIN, AVG2 = range(5)
_Y, _RAW, _REJECTED, _AT, _REFERENCE, _FLAT_SINCE, CHANNEL = range(7)
SPIKES = 2.0  # samples in a row that may be spikes; the next one is a step
FLAT = 1e-4  # of the span
DISAGREE = 0.05  # of the span


def conditioning_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Sensors that are bad do not vote; the result is UNCERTAIN as soon as it rests on too few."""
    running = ops[o + _RUNNING]
    runs = not usable(v, q, running) or v[running] != 0.0
    count, notes, bad, missing = 0, 0, 0, False
    a, b, c = nan, nan, nan
    sensors = 1 if par[p + _VOTE] == SINGLE else 2 if par[p + _VOTE] == AVG2 else 3
    for i in range(sensors):
        k = ops[o + _INPUT + i]
        channel = s + CHANNEL * i
        bits = channel_step(v[k], q[k], runs, par, p, st, channel, now)
        if bits & BAD != 0:
            bad |= bits
            missing = missing or i < 2 or bits != NEVER  # a third one left out is never heard of
            continue
        notes |= bits
        count += 1
        if count == 1:
            a = st[channel + _Y]
        elif count == 2:
            b = st[channel + _Y]
        else:
            c = st[channel + _Y]
    if count == 0:
        v[ops[o]], q[ops[o]] = nan, bad
        return
    v[ops[o]] = voted(par[p + _VOTE], count, a, b, c)
    q[ops[o]] = notes | doubt(par[p + _VOTE], count, abs(a - b), par, p, missing)


def channel_step(
    x: float, bits: int, runs: bool, par: Floats, p: int, st: Floats, s: int, now: float
) -> int:
    """One sensor through range, spike gate, filter and flat line; returns its quality bits."""
    span = par[p + _HIGH] - par[p + _LOW]
    if bits & BAD != 0:
        return bits
    if not par[p + _LOW] <= x <= par[p + _HIGH]:
        return bits | RANGE
    gap = now - st[s + _AT]
    fresh = not gap <= 3.0 * par[p + _EVERY]
    st[s + _AT] = now
    jumped = not fresh and abs(x - st[s + _RAW]) > par[p + _SPIKE] / 100.0 * span
    if jumped and st[s + _REJECTED] < SPIKES:
        st[s + _REJECTED] += 1.0
        return bits | HELD
    st[s + _REJECTED] = 0.0
    st[s + _RAW] = x
    if fresh or not par[p + _FILTER] > 0.0:
        st[s + _Y] = x
    else:
        st[s + _Y] += (x - st[s + _Y]) * (1.0 - exp(-gap / par[p + _FILTER]))
    if is_flat(x, runs, FLAT * span, par[p + _FLATLINE], st, s, now):
        return bits | SENSOR
    return bits


def is_flat(
    x: float, runs: bool, least: float, limit: float, st: Floats, s: int, now: float
) -> bool:
    """Whether the raw value has stayed within `least` for `limit` seconds (NaN: never asked)."""
    if isnan(limit):
        return False
    still = runs and abs(x - st[s + _REFERENCE]) < least
    if not still:
        st[s + _REFERENCE] = x
    return lasted(st, s + _FLAT_SINCE, still, now, limit)


def voted(vote: float, count: int, a: float, b: float, c: float) -> float:
    """The value that `count` good sensors agree on."""
    if count == 1:
        return a
    low, high = (a, b) if a < b else (b, a)
    if vote in (MAX, MIN):
        if count == 3:
            low, high = min(low, c), max(high, c)
        return high if vote == MAX else low
    if count == 3:
        return low if c < low else high if c > high else c
    return 0.5 * (a + b)


def doubt(vote: float, count: int, apart: float, par: Floats, p: int, missing: bool) -> int:
    """UNCERTAIN when a sensor is missing, or when two that are averaged disagree by 5 % of span."""
    if vote == SINGLE:
        return 0
    if count == 2 and vote in (MEDIAN3, AVG2):
        return UNCERTAIN if apart > DISAGREE * (par[p + _HIGH] - par[p + _LOW]) else 0
    return UNCERTAIN if missing else 0


NAN = float("nan")
_PRESSURE = {"low": 0.0, "high": 1.0, "every": "1s"}

CONDITIONING = Kind(
    name="conditioning",
    model=Conditioning,
    step=conditioning_step,
    text=Text("信号调理", "Signal conditioning"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=lambda model: (Published("", model.unit, Text("调理后的值", "conditioned value")),),
    states=lambda _: 3 * CHANNEL,
    examples=(
        Example(
            "a spike of up to two samples is replaced, a step is believed with the third",
            {"input": "p.raw", **_PRESSURE},
            (
                (0.0, {"p.raw": 0.40}, {"": 0.40}),
                (1.0, {"p.raw": 0.90}, {"": 0.40}),
                (2.0, {"p.raw": 0.41}, {"": 0.41}),
                (3.0, {"p.raw": 0.10}, {"": 0.41}),
                (4.0, {"p.raw": 0.11}, {"": 0.41}),
                (5.0, {"p.raw": 0.12}, {"": 0.12}),
            ),
        ),
        Example(
            "first-order filter, exact for any dt; the first sample is taken as it is",
            {"input": "p.raw", "filter": "2s", **_PRESSURE},
            (
                (0.0, {"p.raw": 0.40}, {"": 0.40}),
                (1.0, {"p.raw": 0.50}, {"": 0.5 - 0.1 * 2.718281828459045**-0.5}),
                (2.0, {}, {"": 0.5 - 0.1 * 2.718281828459045**-1.0}),
                (4.0, {}, {"": 0.5 - 0.1 * 2.718281828459045**-2.0}),
            ),
        ),
        Example(
            "out of its range is bad",
            {"input": "p.raw", **_PRESSURE},
            (
                (0.0, {"p.raw": 0.4}, {"": 0.4}),
                (1.0, {"p.raw": 1.2}, {"": NAN}),
                (2.0, {"p.raw": 0.5}, {"": 0.5}),
            ),
        ),
        Example(
            "two out of three: the median, the mean of two, the last one, nothing",
            {"input": "t.a", "second": "t.b", "third": "t.c", "vote": "median3",
             "low": 0.0, "high": 100.0},
            (
                (0.0, {"t.a": 20.0, "t.b": 21.0, "t.c": 25.0}, {"": 21.0}),
                (1.0, {"t.b": NAN}, {"": 22.5}),
                (2.0, {"t.a": NAN}, {"": 25.0}),
                (3.0, {"t.c": NAN}, {"": NAN}),
            ),
        ),
        Example(
            "a flat line while the pump runs is a dead sensor",
            {"input": "p.raw", "running": "pump.run", "flatline": "2s", **_PRESSURE},
            (
                (0.0, {"p.raw": 0.4, "pump.run": 1}, {"": 0.4}),
                (1.0, {}, {"": 0.4}),
                (2.0, {}, {"": 0.4}),
                (3.0, {}, {"": NAN}),
                (4.0, {"p.raw": 0.41}, {"": 0.41}),
                (5.0, {"pump.run": 0}, {"": 0.41}),
                (7.0, {}, {"": 0.41}),
                (9.0, {}, {"": 0.41}),
            ),
        ),
    ),
)  # fmt: skip
