"""A tiny driver and two tiny block kinds, so that tests of sites depend on no real ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from edge.blocks.kind import AlarmTemplate, AnyInput, Input, Kind, Known, Published, Source, Target
from edge.blocks.logic import VALUE
from edge.blocks.schedule import SCHEDULE
from edge.blocks.valve import VALVE as VALVE_KIND
from edge.blocks.zone_loss import ZONE_LOSS
from edge.driver import DriverKind, FieldDevice, Poll
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.schema.units import Duration, Quantity
from edge.text import Text


class BenchBus(Model):
    port: str
    timeout: Duration = 1.0

    @property
    def claims(self) -> tuple[str, ...]:
        return (self.port,)


class BenchDevice(Model):
    unit: int = Field(ge=1, le=247)
    order: Literal["big", "little"] = "big"

    @property
    def claims(self) -> tuple[str, ...]:
        return (f"unit {self.unit}",)


class BenchPoint(Model):
    address: int = Field(ge=0, le=9999)
    type: Literal["u16", "f32"] = "u16"
    access: Literal["read", "write", "both"] = "read"

    @property
    def readable(self) -> bool:
        return self.access != "write"

    @property
    def commandable(self) -> bool:
        return self.access == "both"


def _plan(bus: BenchBus, device: FieldDevice) -> tuple[Poll, ...]:
    """One poll per period, by falling address: not the order in which they are written."""
    readable = sorted((p for p in device.points if p.readable), key=lambda p: -p.config.address)
    periods = dict.fromkeys(point.period for point in readable)
    return tuple(
        Poll(device.id, tuple(p.id for p in readable if p.period == period), period, None, "all")
        for period in periods
    )


def _check(bus: BenchBus, device: FieldDevice) -> Iterator[tuple[str, Text]]:
    for point in device.points:
        if point.config.address == 13:
            yield point.id, Text("没有寄存器 13", "there is no register 13")


def _vector(point: BenchPoint, raw: bytes, device: Mapping[str, object]) -> float:
    order = "<" if device.get("order") == "little" else ">"
    return float(struct.unpack(order + ("H" if point.type == "u16" else "f"), raw)[0])


def _connect(*_: Any) -> Any:
    raise AssertionError("a check connects to nothing")


BENCH = DriverKind("bench", BenchBus, BenchDevice, BenchPoint, _plan, _connect, _vector, _check)
OTHER = DriverKind("other", BenchBus, BenchDevice, BenchPoint, _plan, _connect, priorities=True)
MODEL = replace(BENCH, name="model", simulated=True)
LINE = replace(BENCH, name="line", cost=lambda bus, poll: 0.05 * len(poll.points))
DRIVERS = {"bench": BENCH, "other": OTHER, "model": MODEL, "line": LINE}


class Follow(Model):
    pressure: Annotated[Source, Input("MPa")]
    output: Annotated[str | None, Target("%")] = None
    limit: Annotated[float, Quantity("MPa"), Field(gt=0)] = 0.4
    mode: Literal["fast", "slow"] = "fast"


class Member(Model):
    run: Annotated[str, Target("")]
    ready: AnyInput = 1.0


class Group(Model):
    members: Annotated[tuple[Member, ...], Field(min_length=1)]


def _advice(model: Follow, known: Known) -> tuple[Text, ...]:
    pressure = known(model.pressure, "MPa")
    if pressure is None or pressure <= model.limit:
        return ()
    return (Text(f"{pressure:g} MPa 高于 limit", f"{pressure:g} MPa is above the limit"),)


def _step(*_: Any) -> None:
    raise AssertionError("a check runs nothing")


FOLLOW = Kind(
    name="follow",
    model=Follow,
    step=_step,
    text=Text("跟随", "Follow"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=lambda model: (Published("error", "MPa", Text("偏差", "error")),),
    states=lambda _: 0,
    alarms=lambda model: (
        AlarmTemplate(
            id="{RULE}_FAR",
            when="{rule}.error > 0.1",
            priority=2,
            text=Text("{rule} 偏差大", "{rule} is far off"),
            checks=(Text("查传感器", "look at the sensor"),),
            on_delay=10.0,
            shows=("{rule}.error",),
        ),
    ),
    advice=_advice,
)
GROUP = Kind(
    name="group",
    model=Group,
    step=_step,
    text=Text("组", "Group"),
    every=0.0,
    slot=Slot.CONTROL,
    publishes=lambda model: (Published("running", "", Text("运行数", "running")),),
    states=lambda _: 0,
)


class Mend(Model):
    """A correction: it asks at slot 10."""

    fault: AnyInput
    output: Annotated[str, Target()]


MEND = replace(
    FOLLOW, name="mend", model=Mend, slot=Slot.CORRECT, alarms=lambda _: (), advice=lambda *_: (),
    publishes=lambda _: (Published("state", "", Text("状态", "state")),),
)  # fmt: skip

KINDS = {kind.name: kind for kind in (FOLLOW, GROUP, VALUE, SCHEDULE, VALVE_KIND, ZONE_LOSS, MEND)}
