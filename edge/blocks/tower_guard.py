"""Vibration protection of a fan (domain §1.16): the switch stops it at once, a person resets.

The measured vibration only tells, and neither in a start nor while the speed crosses a band that
is skipped. It drives nothing: what it trips is asked for 0 at slot 5. Called by the kernel.
"""

from __future__ import annotations

from math import nan
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import (
    AlarmTemplate,
    Example,
    Input,
    Kind,
    Published,
    Source,
    Trips,
    points_of,
    reset_asked,
    usable,
)
from edge.blocks.output import show
from edge.blocks.protection import BAD_DELAY
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, NEVER
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Percent = Annotated[float, Quantity("%"), Field(ge=0, le=100)]
Vibration = Annotated[float, Quantity("mm/s"), Field(gt=0)]


class Band(Model):
    """Speeds at which the machine resonates: crossed, never stayed in."""

    low: Percent
    high: Percent

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise Refusal(Text("low 必须小于 high", "low must be below high"))
        return self


class TowerGuard(Model):
    """One fan: `fans` are all points that its trip stops. `vibration_switch` is 1 when it trips;
    `inverted` contacts are written `not tower.switch`. `limit` is of the measured vibration.
    """

    fans: Annotated[tuple[str, ...], Field(min_length=1), Trips()]
    vibration_switch: Annotated[Source, Input("")]
    vibration: Annotated[Source | None, Input("mm/s")] = None
    running: Annotated[Source | None, Input("")] = None
    speed: Annotated[Source | None, Input("%")] = None
    bands: tuple[Band, ...] = ()
    limit: Vibration = 7.1
    delay: Duration = 10.0
    start_mask: Duration = 60.0
    on_bad: Literal["trip", "ok"] = "trip"


_TRIPPED, _HIGH, _MASKED, _SWITCH, _VIBRATION, _RUNNING, _SPEED, _RESET = range(8)
_BANDS, _LIMIT, _DELAY, _MASK, _ON_BAD, _OWN = range(6)
_LATCHED, _BAD_SINCE, _RUNS_AT, _HIGH_AT, _STATES = range(5)


def tower_guard_step(
    v: Floats, q: Bits, ops: Index, o: int, n: int,
    par: Floats, p: int, st: Floats, s: int, now: float, dt: float,
) -> None:  # fmt: skip
    """The switch is never masked. Lost for 10 s it trips, without latching, by default."""
    switch, vibration = ops[o + _SWITCH], ops[o + _VIBRATION]
    asked = reset_asked(v, ops[o + _RESET])
    good = usable(v, q, switch)
    lost = not good and q[switch] & BAD != NEVER
    blind = lasted(st, s + _BAD_SINCE, lost, now, BAD_DELAY) and par[p + _ON_BAD] == 0.0
    if good and v[switch] != 0.0:
        st[s + _LATCHED] = 1.0
    elif asked and good:
        st[s + _LATCHED] = 0.0
    masked = mask(v, q, ops, o, par, p, st, s, now)
    high = usable(v, q, vibration) and v[vibration] >= par[p + _LIMIT]
    told = lasted(st, s + _HIGH_AT, high and not masked, now, par[p + _DELAY])
    show(v, q, ops[o + _TRIPPED], 1.0 if st[s + _LATCHED] == 1.0 or blind else 0.0)
    dark = q[vibration] & BAD not in (0, NEVER)  # what cannot be seen neither raises nor clears
    show(v, q, ops[o + _HIGH], nan if dark else 1.0 if told else 0.0)
    show(v, q, ops[o + _MASKED], 1.0 if masked else 0.0)


def mask(
    v: Floats, q: Bits, ops: Index, o: int, par: Floats, p: int, st: Floats, s: int, now: float
) -> bool:  # fmt: skip
    """Whether a measured vibration says nothing: stands, starts, or crosses a skipped band."""
    running, speed = ops[o + _RUNNING], ops[o + _SPEED]
    if usable(v, q, running):
        runs = v[running] != 0.0
        if not lasted(st, s + _RUNS_AT, runs, now, par[p + _MASK]):
            return True
    if usable(v, q, speed):
        for k in range(int(par[p + _BANDS])):
            if par[p + _OWN + 2 * k] < v[speed] < par[p + _OWN + 2 * k + 1]:
                return True
    return False


def _publishes(_: TowerGuard) -> tuple[Published, ...]:
    return (
        Published("tripped", "", Text("振动保护动作", "vibration protection tripped")),
        Published("high", "", Text("振动高", "vibration high")),
        Published("masked", "", Text("振动报警屏蔽", "vibration alarm masked")),
    )


def _alarms(model: TowerGuard) -> tuple[AlarmTemplate, ...]:
    value = points_of(model.vibration)
    bolts = Text("检查地脚螺栓", "check the foundation bolts")
    coupling = Text("检查联轴器或皮带", "check coupling or belt")
    blades = Text("检查风机叶片", "check the fan blades")
    return (
        AlarmTemplate(
            "{RULE}_VIBRATION_TRIP", "{rule}.tripped == 1", 2,
            Text("振动开关停机", "Stopped by the vibration switch"), (bolts, coupling, blades),
            shows=("{rule}.tripped", *value),
            consequence=Text("人工复位前不能启动", "does not start before a person resets it"),
        ),
        AlarmTemplate(
            "{RULE}_VIBRATION_HIGH", "{rule}.high == 1", 3, Text("振动高", "Vibration high"),
            (bolts, coupling, blades), shows=("{rule}.high", *value),
        ),
    )  # fmt: skip


_OPTIONS = {
    "fans": ["ct.f1"], "vibration_switch": "ct.switch", "vibration": "ct.vibration",
    "running": "ct.running", "limit": 7.1, "delay": "1s",
}  # fmt: skip

TOWER_GUARD = Kind(
    name="tower_guard",
    model=TowerGuard,
    step=tower_guard_step,
    text=Text("风机振动保护", "fan vibration protection"),
    every=0.0,
    slot=Slot.PROTECT,
    publishes=_publishes,
    states=lambda _: _STATES,
    keeps=lambda _: {"vibration trip": _LATCHED},
    alarms=_alarms,
    resettable=lambda _: True,
    examples=(
        Example(
            "the switch trips at once, and for good until somebody resets it",
            _OPTIONS,
            (
                (0.0, {"ct.switch": 0.0, "ct.running": 1.0, "ct.vibration": 2.0}, {"tripped": 0.0}),
                (0.1, {"ct.switch": 1.0}, {"tripped": 1.0}),
                (0.2, {"ct.switch": 0.0}, {"tripped": 1.0}),
                (0.3, {"reset": 1.0}, {"tripped": 0.0}),
            ),
        ),
        Example(
            "a high vibration is told of, but not within 60 s of a start",
            _OPTIONS,
            (
                (0.0, {"ct.switch": 0.0, "ct.running": 0.0, "ct.vibration": 2.0}, {"masked": 1.0}),
                (1.0, {"ct.running": 1.0, "ct.vibration": 9.0}, {"masked": 1.0, "high": 0.0}),
                (60.9, {}, {"masked": 1.0, "high": 0.0}),
                (61.0, {}, {"masked": 0.0, "high": 0.0}),
                (62.0, {}, {"high": 1.0}),
            ),
        ),
    ),
)  # fmt: skip
