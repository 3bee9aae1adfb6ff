"""What lamps use: by a meter, else estimated from their level (domain §1.9, S22).

Beside it what they would have used burning at 100 % all the time, so that a saving always names
what it is compared with. Called by the kernel.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import Example, Input, Kind, Published, Source, usable
from edge.blocks.lamps import publish
from edge.blocks.pid import clip
from edge.image.image import Bits, Floats, Index
from edge.image.quality import UNCERTAIN
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Quantity
from edge.text import Text


class LampPower(Model):
    """`rated` is the power of the group at 100 %, `standby` of its drivers when off.

    `meter` is a counter of energy; with one the energy is what it counted since it was first read,
    and an estimate is never shown for it. What it is compared with covers the same time.
    """

    level: Annotated[Source, Input("%")]
    meter: Annotated[Source | None, Input("kWh")] = None
    rated: Annotated[float, Quantity("kW"), Field(gt=0)]
    standby: Annotated[float, Quantity("kW"), Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _uses_more_when_on(self) -> Self:
        if self.standby >= self.rated:
            raise Refusal(Text("standby 必须小于 rated", "standby must be less than rated"))
        return self


ESTIMATED, METERED = 0, 1

_POWER, _ENERGY, _ALWAYS_ON, _SAVING, _SOURCE, _LEVEL, _METER = range(7)
_RATED, _STANDBY = 0, 1
_USED, _FULL, _COUNTER, _COUNTED, _READ_AT = range(5)
HOUR = 3600.0


def lamp_power_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """P = P_sb + (P_rated - P_sb)·u. Time without a level counts for neither sum of an estimate;
    of a meter all time counts for both, read or not.
    """
    if isnan(st[s + _USED]):
        st[s + _USED], st[s + _FULL], st[s + _COUNTED] = 0.0, 0.0, 0.0
    k, meter, power = ops[o + _LEVEL], ops[o + _METER], nan
    if usable(v, q, k):
        share = clip(v[k] / 100.0, 0.0, 1.0)
        power = par[p + _STANDBY] + (par[p + _RATED] - par[p + _STANDBY]) * share
        st[s + _USED] += power * dt / HOUR
        if isnan(st[s + _COUNTER]):
            st[s + _FULL] += par[p + _RATED] * dt / HOUR
    if usable(v, q, meter):
        first = isnan(st[s + _COUNTER])
        counted = v[meter] - st[s + _COUNTER]  # NaN at first, negative after an exchange
        st[s + _COUNTED] += counted if counted > 0.0 else 0.0
        passed = 0.0 if first else now - st[s + _READ_AT]  # the counter goes on while unread
        st[s + _FULL] = (0.0 if first else st[s + _FULL]) + par[p + _RATED] * passed / HOUR
        st[s + _COUNTER], st[s + _READ_AT] = v[meter], now
    metered = not isnan(st[s + _COUNTER])
    energy = st[s + _COUNTED] if metered else st[s + _USED]
    note = 0 if metered else UNCERTAIN
    publish(v, q, ops[o + _POWER], power, UNCERTAIN)
    publish(v, q, ops[o + _ENERGY], energy, note)
    publish(v, q, ops[o + _ALWAYS_ON], st[s + _FULL], 0)
    saving = 100.0 * (1.0 - energy / st[s + _FULL]) if st[s + _FULL] > 0.0 else nan
    publish(v, q, ops[o + _SAVING], saving, note)
    publish(v, q, ops[o + _SOURCE], METERED if metered else ESTIMATED, 0)


LAMP_POWER = Kind(
    name="lamp_power",
    model=LampPower,
    step=lamp_power_step,
    text=Text("照明用电与节能量", "energy of lamps and what is saved"),
    every=1.0,
    slot=Slot.CONTROL,
    publishes=lambda _: (
        Published("power", "kW", Text("功率 (估算)", "power (estimated)")),
        Published("energy", "kWh", Text("用电量", "energy")),
        Published("always_on", "kWh", Text("常亮基准用电量", "energy if always on at 100 %")),
        Published("saving", "%", Text("节电率 (相对常亮 100 %)", "saving against always on")),
        Published(
            "source", "", Text("用电量来源", "where the energy comes from"),
            {ESTIMATED: Text("估算", "estimated"), METERED: Text("计量", "metered")},
        ),
    ),
    states=lambda _: 5,
    keeps=lambda model: {
        f"{name} by {model.meter}": at
        for name, at in (("energy", _USED), ("energy if always on", _FULL), ("counter", _COUNTER),
                         ("energy counted", _COUNTED), ("reading", _READ_AT))
    },
    examples=(
        Example(
            "a second at 50 % of 6 to 240 W, against 240 W",
            {"level": "lobby.dimmer", "rated": "240 W", "standby": "6 W"},
            (
                (0.0, {"lobby.dimmer": 50.0}, {"power": 0.123, "energy": 0.0, "source": 0.0}),
                (1.0, {}, {"energy": 0.123 / 3600, "always_on": 0.24 / 3600, "saving": 48.75}),
            ),
        ),
        Example(
            "with a meter, its counter",
            {"level": "lobby.dimmer", "rated": "240 W", "meter": "lobby.energy"},
            (
                (0.0, {"lobby.dimmer": 50.0, "lobby.energy": 7.0}, {"energy": 0.0, "source": 1.0}),
                (1.0, {"lobby.energy": 7.25}, {"energy": 0.25}),
                (2.0, {"lobby.energy": 0.0}, {"energy": 0.25}),
                (3.0, {"lobby.energy": 0.25}, {"energy": 0.5}),
            ),
        ),
    ),
)  # fmt: skip
