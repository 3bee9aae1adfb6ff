"""The simulated driver: models of `drivers/sim/rig.py` in the controller's own process.

Not equipment on the wire (that is `equipment.py`). Models are stepped up to the loop's time
whenever they are read or written, so under a virtual loop a day passes as fast as it computes.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isclose
from typing import Any, Self

import numpy as np

from drivers.sim.config import SimBus, SimDevice, SimPoint
from drivers.sim.models import MODELS
from drivers.sim.rig import Rig
from edge.driver import (
    DriverKind,
    FieldDevice,
    FieldPoint,
    Host,
    Poll,
    Sample,
    Write,
)
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, LinkDown
from edge.image import quality
from edge.image.image import Bits, Floats
from edge.text import Text

TIMEOUT = 0.3  # s until a silent device is given up
BUSY = (1.0, 1.0, 1.0)  # s after which a busy device is asked again


@dataclass
class Line:
    """The state of the line to a simulated bus: what a test breaks.

    `silent` devices do not answer, `refused` points ("device.point") are refused, `delay` seconds
    pass before each answer, `down` loses the whole line. Answers of `corrupted` devices arrive
    damaged, and those to writes of `lost` points not at all: the device has done what was asked.
    `busy` devices say so to so many more requests. `pinned` points show this value whatever the
    equipment does, NaN for a broken sensor. `requests` counts all of them by device, `probes` those
    that only asked whether it is there; `written` is what points got: (loop time, point, value).
    """

    silent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    corrupted: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    busy: dict[str, int] = field(default_factory=dict)
    pinned: dict[str, float] = field(default_factory=dict)
    delay: float = 0.0
    down: bool = False
    requests: Counter[str] = field(default_factory=Counter)
    probes: Counter[str] = field(default_factory=Counter)
    written: list[tuple[float, str, float]] = field(default_factory=list)


def plan(bus: SimBus, device: FieldDevice) -> tuple[Poll, ...]:
    """One poll per period, in the order in which the points stand."""
    groups: dict[float, list[FieldPoint]] = {}
    for point in device.points:
        if point.readable:
            groups.setdefault(point.period, []).append(point)
    return tuple(
        Poll(
            device=device.id,
            points=tuple(point.id for point in points),
            period=period,
            request=tuple(points),
            label=f"{device.config.model}, {len(points)}",
        )
        for period, points in groups.items()
    )


def check(bus: SimBus, device: FieldDevice) -> Iterator[tuple[str, Text]]:
    """A model's variable is light already, no level."""
    for point in device.points:
        if point.curve != "linear":
            yield point.id, _NO_LEVELS


_NO_LEVELS = Text(
    "仿真变量本身就是亮度百分数, 不用 curve", "a simulated variable is light already: drop curve"
)


class InProcess:
    """A driver without a wire; see `edge.driver.Driver` for the contract.

    `value` and `command` say what stands behind a point, in the point's unit; `advance_to` brings
    it up to a time. `note` is what every value carries.
    """

    note = quality.GOOD

    def __init__(self, devices: Sequence[FieldDevice], line: Line, speed: float = 1.0) -> None:
        self._speed = speed
        self._devices = {device.id: device for device in devices}
        self._points = {p.id: p for device in devices for p in device.points}
        self._line = line

    def advance_to(self, now: float) -> None:
        """Let the equipment do what it does until `now`."""
        raise NotImplementedError

    def value(self, device: FieldDevice, point: FieldPoint) -> float:
        """What a point shows, NaN when its sensor is bad. KeyError: there is no such one."""
        raise NotImplementedError

    def command(self, device: FieldDevice, point: FieldPoint, value: float) -> None:
        """Write a point; NaN relinquishes. KeyError: read-only; ValueError: not a value for it."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._check_line()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def read(self, poll: Poll) -> Sample:
        """Read one poll."""
        await self._ask(poll.device)
        device = self._devices[poll.device]
        values: Floats = np.full(len(poll.points), np.nan)
        bits: Bits = np.full(len(poll.points), self.note, np.uint16)
        for i, point in enumerate(poll.points):
            values[i], bad = self._shown(device, self._points[point])
            bits[i] |= bad
        self._check_answer(poll.device)
        return Sample(values, bits)

    def _shown(self, device: FieldDevice, point: FieldPoint) -> tuple[float, int]:
        if point.id in self._line.refused:
            return np.nan, quality.CONFIG
        try:
            value = self.value(device, point)
        except KeyError:  # there is no such variable: the map is wrong
            return np.nan, quality.CONFIG
        value = self._line.pinned.get(point.id, value)
        if np.isnan(value):
            return value, quality.SENSOR
        return value, 0 if point.low <= value <= point.high else quality.RANGE

    async def write(self, writes: Sequence[Write]) -> None:
        """Command what stands behind the points, in order."""
        for write in writes:
            await self._ask(write.device)
            self._command(write)
            self._check_answer(write.device)
            if write.point in self._line.lost:
                await asyncio.sleep(TIMEOUT)
                raise _no_answer()

    def _command(self, write: Write) -> None:
        point = self._points[write.point]
        try:
            if point.id in self._line.refused:
                raise KeyError(point.id)
            self.command(self._devices[write.device], point, write.value)
        except KeyError as error:
            reason = Text(f"{point.id} 不可写", f"{point.id} cannot be written")
            raise DeviceRefused(reason, "read-only", permanent=True) from error
        except ValueError as error:
            reason = Text(
                f"{point.id} 不接受 {write.value:g}", f"{point.id} does not take {write.value:g}"
            )
            raise DeviceRefused(reason, "out-of-range", permanent=True) from error
        if not np.isnan(write.value):
            now = asyncio.get_running_loop().time()
            self._line.written.append((now, point.id, write.value))

    async def probe(self, device: str) -> None:
        """Nothing is smaller here than any other request; that the device is busy is an answer."""
        self._line.probes[device] += 1
        with suppress(DeviceRefused):
            await self._ask(device)
            self._check_answer(device)

    async def holds(self, write: Write) -> bool | None:
        """Whether the command stands; nothing is ever held that could be let go."""
        await self._ask(write.device)
        self._check_answer(write.device)
        point = self._points[write.point]
        if np.isnan(write.value):
            return True
        value, bad = self._shown(self._devices[write.device], point)
        if bad or not point.readable:
            return None
        return isclose(value, write.value, rel_tol=1e-9, abs_tol=1e-9)

    async def raw(self, device: str, point: str) -> bytes:
        """The value as a big-endian double: there is no wire."""
        await self._ask(device)
        try:
            data = struct.pack(">d", self.raw_value(self._devices[device], self._points[point]))
        except KeyError as error:
            variable = error.args[0]
            reason = Text(f"模型没有变量 {variable}", f"the model has no {variable}")
            raise DeviceRefused(reason, "no-variable", permanent=True) from error
        self._check_answer(device)
        return data

    def raw_value(self, device: FieldDevice, point: FieldPoint) -> float:
        """What `raw` shows."""
        return self.value(device, point)

    async def _ask(self, device: str) -> None:
        """Let time pass as an answer would, then bring the models up to the loop's time."""
        self._check_line()
        self._line.requests[device] += 1
        if device in self._line.silent or self._line.delay > TIMEOUT:
            await asyncio.sleep(TIMEOUT)
            self._check_line()
            raise _no_answer()
        await asyncio.sleep(self._line.delay)
        self._check_line()
        if self._line.busy.get(device, 0) > 0:
            self._line.busy[device] -= 1
            raise DeviceRefused(Text("设备忙", "the device is busy"), "busy", again=BUSY)
        self.advance_to(asyncio.get_running_loop().time() * self._speed)

    def _check_answer(self, device: str) -> None:
        """The answer as it arrives, after the device has done its part."""
        if device in self._line.corrupted:
            raise BadAnswer(Text("应答损坏, 未采用", "the answer is damaged and was not used"))

    def _check_line(self) -> None:
        if self._line.down:
            raise LinkDown(Text("仿真线路已断开", "the simulated line is down"))


class SimDriver(InProcess):
    """One bus of `driver: sim`: every point is a variable of its device's model."""

    note = quality.SIMULATED

    def __init__(self, bus: SimBus, devices: Sequence[FieldDevice], rig: Rig, line: Line) -> None:
        super().__init__(devices, line, bus.speed)
        self._rig = rig

    def advance_to(self, now: float) -> None:
        """Step the models."""
        self._rig.advance_to(now)

    def value(self, device: FieldDevice, point: FieldPoint) -> float:
        """The variable, converted."""
        return self.raw_value(device, point) * point.scale + point.offset

    def raw_value(self, device: FieldDevice, point: FieldPoint) -> float:
        """The model's own value."""
        return self._rig.read(device.config.model, point.config.variable)

    def command(self, device: FieldDevice, point: FieldPoint, value: float) -> None:
        """Command the model; there is no priority to relinquish, so NaN leaves it as it is."""
        if not np.isnan(value):
            raw = (value - point.offset) / point.scale
            self._rig.write(device.config.model, point.config.variable, raw)

    async def identify(self, device: str) -> Mapping[str, str]:
        """The model's name: there is no nameplate."""
        await self._ask(device)
        self._check_answer(device)
        return {"vendor": "Simulated Equipment", "model": self._devices[device].config.model}


def _no_answer() -> DeviceTimeout:
    return DeviceTimeout(Text(f"{TIMEOUT:g} 秒内无应答", f"no answer within {TIMEOUT:g} s"))


def sim_kind(rig: Rig | None = None, line: Line | None = None) -> DriverKind:
    """The driver for a table of drivers. A test hands in the rig and the line that it will break;
    otherwise every connection has models of its own."""
    state = line or Line()

    def connect(
        bus: Any, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
    ) -> SimDriver:
        mine = rig or Rig(
            {name: MODELS[name]() for name in {d.config.model for d in devices}},
            noise=bus.noise,
            seed=bus.seed,
        )
        return SimDriver(bus, devices, mine, state)

    return DriverKind(
        name="sim", bus=SimBus, device=SimDevice, point=SimPoint, plan=plan, connect=connect,
        check=check, simulated=True,
    )  # fmt: skip


SIM = sim_kind()
