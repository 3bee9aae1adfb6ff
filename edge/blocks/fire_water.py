"""Fire water, watched only: pressure, tanks, jockey pump, cabinet, valves, frost (domain §1.20).

Fire pumps are started by their own cabinet and stopped by people: it has no outputs, and no site
may drive a point of a device marked `fire: true`. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Literal

from pydantic import Field

from edge.blocks.kind import (
    AlarmTemplate,
    Example,
    Input,
    Kind,
    Published,
    Source,
    is_on,
    points_of,
    usable,
)
from edge.blocks.output import show
from edge.blocks.timing import ROUNDING
from edge.image.image import Bits, Floats, Index
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Quantity
from edge.text import Text


class FireWater(Model):
    """`pressure` is the static one at the most unfavourable hydrant; `building` gives its least
    value after GB 50974: `residential` (high-rise) 0.07, `public` (first-class high-rise) 0.10,
    `public_over_100m` 0.15 MPa; `limit` is written where the design says another.

    `jockey` is its run feedback: more than twice the median of the last 30 days' starts per hour
    tells of a leak, after seven days. `auto`, `power` are 1 as they should be; `tamper` is 1 when a
    valve is not where it belongs. `temperature` under 5 °C is a risk of frost.
    """

    pressure: Annotated[Source, Input("MPa")]
    building: Literal["residential", "public", "public_over_100m"] = "residential"
    limit: Annotated[float, Quantity("MPa"), Field(gt=0, le=2)] | None = None
    roof_tank: Annotated[Source | None, Input("m")] = None
    roof_tank_low: Annotated[float, Quantity("m"), Field(ge=0, le=20)] = 0.5
    reservoir: Annotated[Source | None, Input("m")] = None
    reservoir_low: Annotated[float, Quantity("m"), Field(ge=0, le=20)] = 1.0
    jockey: Annotated[Source | None, Input("")] = None
    auto: Annotated[Source | None, Input("")] = None
    power: Annotated[Source | None, Input("")] = None
    tamper: Annotated[Source | None, Input("")] = None
    temperature: Annotated[Source | None, Input("°C")] = None


FROST = 5.0  # °C
DAYS, KNOWN_DAYS, MINUTES = 30, 7, 60
LEAST_STARTS = 3.0  # an hour: below it twice the median of a tight system would be noise
(_LOW, _ROOF_LOW, _RESERVOIR_LOW, _STARTS, _MEDIAN, _OFTEN, _NOT_AUTO, _NO_POWER, _TAMPER, _FROST,
 _SHOWN) = range(11)  # fmt: skip
_PRESSURE, _ROOF, _RESERVOIR, _JOCKEY, _AUTO, _POWER, _MOVED, _COLD = range(8)
_BUILDING, _LIMIT, _ROOF_LEAST, _RESERVOIR_LEAST = range(4)
_RAN, _MINUTE, _DAY, _TODAY, _DAYS_KNOWN, _PAST = range(6)
_BUCKETS = _PAST + DAYS
_STATES = _BUCKETS + MINUTES


def fire_water_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """Look at each signal; what is bad or left out says nothing."""
    i = o + _SHOWN
    limit = par[p + _LIMIT]
    if isnan(limit):
        limit = 0.07 if par[p + _BUILDING] == 0.0 else 0.10 if par[p + _BUILDING] == 1.0 else 0.15
    show(v, q, ops[o + _LOW], under(v, q, ops[i + _PRESSURE], limit))
    show(v, q, ops[o + _ROOF_LOW], under(v, q, ops[i + _ROOF], par[p + _ROOF_LEAST]))
    show(v, q, ops[o + _RESERVOIR_LOW], under(v, q, ops[i + _RESERVOIR], par[p + _RESERVOIR_LEAST]))
    count_starts(v, q, ops[i + _JOCKEY], st, s, now)
    starts = 0.0
    for k in range(MINUTES):
        starts += st[s + _BUCKETS + k]
    middle = median(st, s + _PAST, int(st[s + _DAYS_KNOWN]))
    show(v, q, ops[o + _STARTS], starts)
    show(v, q, ops[o + _MEDIAN], middle)
    often = starts > max(2.0 * middle, LEAST_STARTS - 1.0)  # never of NaN
    show(v, q, ops[o + _OFTEN], 1.0 if often and not isnan(middle) else 0.0)
    show(v, q, ops[o + _NOT_AUTO], under(v, q, ops[i + _AUTO], 0.5))
    show(v, q, ops[o + _NO_POWER], under(v, q, ops[i + _POWER], 0.5))
    show(v, q, ops[o + _TAMPER], 1.0 if is_on(v, q, ops[i + _MOVED]) else 0.0)
    show(v, q, ops[o + _FROST], under(v, q, ops[i + _COLD], FROST))


def under(v: Floats, q: Bits, index: int, limit: float) -> float:
    """1 for a value that is read and below its limit."""
    return 1.0 if usable(v, q, index) and v[index] < limit else 0.0


def count_starts(v: Floats, q: Bits, index: int, st: Floats, s: int, now: float) -> None:
    """Starts by minute over the last hour, and by day over the last 30, in site time."""
    if isnan(st[s + _MINUTE]):
        for k in range(MINUTES):
            st[s + _BUCKETS + k] = 0.0
        st[s + _MINUTE], st[s + _DAY], st[s + _TODAY], st[s + _DAYS_KNOWN] = now, now, 0.0, 0.0
    passed = min(int((now - st[s + _MINUTE] + ROUNDING) / 60.0), MINUTES)
    if passed > 0:
        for k in range(MINUTES - 1, -1, -1):
            st[s + _BUCKETS + k] = st[s + _BUCKETS + k - passed] if k >= passed else 0.0
        st[s + _MINUTE] = st[s + _MINUTE] + 60.0 * passed if passed < MINUTES else now
    elapsed = now - st[s + _DAY]
    if elapsed >= 86400.0 - ROUNDING:
        if elapsed < 2.0 * 86400.0:  # of days without power nothing is known
            keep_day(st, s, st[s + _TODAY] / 24.0)
        st[s + _DAY], st[s + _TODAY] = now, 0.0
    if not usable(v, q, index):
        st[s + _RAN] = nan
        return
    runs = 1.0 if v[index] != 0.0 else 0.0
    if runs == 1.0 and st[s + _RAN] == 0.0:
        st[s + _BUCKETS] += 1.0
        st[s + _TODAY] += 1.0
    st[s + _RAN] = runs


def keep_day(st: Floats, s: int, rate: float) -> None:
    """Remember a day's starts per hour, the oldest of 30 forgotten."""
    for k in range(DAYS - 1, 0, -1):
        st[s + _PAST + k] = st[s + _PAST + k - 1]
    st[s + _PAST] = rate
    st[s + _DAYS_KNOWN] = min(st[s + _DAYS_KNOWN] + 1.0, float(DAYS))


def median(st: Floats, s: int, n: int) -> float:
    """The lower median of `n` numbers, NaN while there are fewer than seven."""
    if n < KNOWN_DAYS:
        return nan
    for i in range(n):
        below, same = 0, 0
        for k in range(n):
            below += 1 if st[s + k] < st[s + i] else 0
            same += 1 if st[s + k] == st[s + i] else 0
        if below <= (n - 1) // 2 < below + same:
            return float(st[s + i])
    return nan


def _publishes(_: FireWater) -> tuple[Published, ...]:
    return (
        Published("pressure_low", "", Text("消火栓压力低", "hydrant pressure low")),
        Published("roof_tank_low", "", Text("高位水箱水位低", "roof tank low")),
        Published("reservoir_low", "", Text("消防水池水位低", "fire reservoir low")),
        Published("jockey_starts", "", Text("稳压泵每小时启动", "jockey pump, starts an hour")),
        Published("jockey_median", "", Text("稳压泵30日中位数", "their median of 30 days")),
        Published("jockey_often", "", Text("稳压泵启动频繁", "jockey pump starts often")),
        Published("not_auto", "", Text("消防泵非自动", "fire pump not in AUTO")),
        Published("no_power", "", Text("消防泵无电源", "fire pump without power")),
        Published("tamper", "", Text("阀门被动过", "a valve was moved")),
        Published("frost", "", Text("冰冻危险", "risk of frost")),
    )


def _alarms(model: FireWater) -> tuple[AlarmTemplate, ...]:
    tank = Text("检查高位水箱水位", "check the roof tank")
    jockey = Text("检查稳压泵", "check the jockey pump")
    valves = Text("检查沿线阀门是否开启", "check that the valves are open")
    leak = Text("沿线查漏", "walk the line for a leak")
    return (
        AlarmTemplate(
            "{RULE}_HYDRANT_P_LOW", "{rule}.pressure_low == 1", 1,
            Text("消火栓压力低", "Hydrant pressure low"), (tank, jockey, valves),
            on_delay=30.0, off_delay=60.0, shows=points_of(model.pressure),
        ),
        AlarmTemplate(
            "{RULE}_FIRE_PUMP_NOT_AUTO", "{rule}.not_auto == 1", 1,
            Text("消防泵非自动", "Fire pump not in AUTO"),
            (Text("查明谁切换的", "find out who switched it"),
             Text("恢复自动", "return it to AUTO")), on_delay=10.0, shows=("{rule}.not_auto",),
        ),
        AlarmTemplate(
            "{RULE}_FIRE_PUMP_NO_POWER", "{rule}.no_power == 1", 1,
            Text("消防泵无电源", "Fire pump without power"),
            (Text("检查双电源切换", "check both supplies and the change-over"),), on_delay=10.0,
        ),
        AlarmTemplate(
            "{RULE}_ROOF_TANK_LOW", "{rule}.roof_tank_low == 1", 2,
            Text("高位消防水箱水位低", "Fire roof tank low"), (tank, leak), on_delay=60.0,
        ),
        AlarmTemplate(
            "{RULE}_RESERVOIR_LOW", "{rule}.reservoir_low == 1", 2,
            Text("消防水池水位低", "Fire reservoir low"),
            (Text("检查补水", "check the make-up"), leak), on_delay=60.0,
        ),
        AlarmTemplate(
            "{RULE}_JOCKEY_OFTEN", "{rule}.jockey_often == 1", 3,
            Text("稳压泵启动频繁", "Jockey pump starts often"), (leak, jockey),
            on_delay=60.0, shows=("{rule}.jockey_starts", "{rule}.jockey_median"),
        ),
        AlarmTemplate(
            "{RULE}_TAMPER", "{rule}.tamper == 1", 2, Text("消防阀门被动过", "Fire valve moved"),
            (valves, Text("查明原因", "find out why")), on_delay=5.0,
        ),
        AlarmTemplate(
            "{RULE}_FROST", "{rule}.frost == 1", 2,
            Text("消防水系统有冰冻危险", "Fire water may freeze"),
            (Text("检查伴热和门窗", "check trace heating, doors and windows"),), on_delay=600.0,
        ),
    )  # fmt: skip


FIRE_WATER = Kind(
    name="fire_water",
    model=FireWater,
    step=fire_water_step,
    text=Text("消防水监视", "fire water, watched only"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda _: _STATES,
    keeps=lambda model: {f"{model.jockey} {k}": k for k in range(_MINUTE, _STATES)},
    alarms=_alarms,
    examples=(
        Example(
            "a high-rise dwelling needs 0.07 MPa; a cabinet that is not in AUTO is told of",
            {"pressure": "fire.pressure", "auto": "fire.auto", "jockey": "fire.jockey"},
            (
                (0.0, {"fire.pressure": 0.12, "fire.auto": 1.0, "fire.jockey": 0.0},
                 {"pressure_low": 0.0, "not_auto": 0.0, "jockey_starts": 0.0}),
                (1.0, {"fire.pressure": 0.06, "fire.jockey": 1.0},
                 {"pressure_low": 1.0, "jockey_starts": 1.0}),
                (2.0, {"fire.pressure": 0.08, "fire.auto": 0.0, "fire.jockey": 0.0},
                 {"pressure_low": 0.0, "not_auto": 1.0, "jockey_often": 0.0}),
            ),
        ),
    ),
)  # fmt: skip
