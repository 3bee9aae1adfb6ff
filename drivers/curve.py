"""Points whose number is no straight line: a DALI arc level, seen as % of light by all others.

Between the bus task and a driver of any protocol, which reads and writes levels and knows nothing
of light. A level that we sent reads back as the light that it was sent for, also over a reconnect:
else the rounding to levels would look like another master. A bus without such a point gets its
driver as it is. Used by the entry of each driver; the curve itself is `edge/blocks/dali.py`, which
the block `dali` uses too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from edge.blocks.dali import arc_level, arc_percent
from edge.driver import (
    Connect,
    Driver,
    FieldDevice,
    Following,
    Host,
    Identifying,
    Kept,
    Poll,
    ReadsOn,
    Sample,
    Write,
)
from edge.events import Event

HALF = 0.5  # of a level


Sent = dict[str, tuple[float, float]]
"""By point the level that it was sent last, and the light for which."""


def curved(connect: Connect) -> Connect:
    """The same connection, with `curve` of its points applied."""
    kept: WeakKeyDictionary[Any, Sent] = WeakKeyDictionary()  # by bus task

    def connected(
        bus: Any, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
    ) -> AbstractAsyncContextManager[Driver]:
        points = frozenset(p.id for d in devices for p in d.points if p.curve == "dali")
        if not points:
            return connect(bus, devices, polls, host)
        light = _Light(points, kept.setdefault(host, {}))
        return _open(connect(bus, devices, polls, _Host(host, light)), light)

    return connected


@asynccontextmanager
async def _open(
    connecting: AbstractAsyncContextManager[Driver], light: _Light
) -> AsyncIterator[Driver]:
    async with connecting as driver:
        yield (_ReadsOn if isinstance(driver, ReadsOn) else _Driver)(driver, light)


@dataclass(frozen=True, slots=True)
class _Light:
    """What is light among the points of a bus, and what of it we sent."""

    points: frozenset[str]
    sent: Sent

    def shown(self, poll: Poll, sample: Sample) -> Sample:
        """A copy: the arrays may be the driver's own, which it fills only when they change."""
        places = [i for i, point in enumerate(poll.points) if point in self.points]
        if not places:
            return sample
        values = np.array(sample.values)
        for i in places:
            level, light = self.sent.get(poll.points[i], (nan, nan))
            same = abs(values[i] - level) < HALF
            values[i] = light if same else arc_percent(float(values[i]))
        return Sample(values, sample.quality)

    def level(self, write: Write) -> Write:
        """What the driver writes for it; NaN relinquishes."""
        if write.point not in self.points or isnan(write.value):
            return write
        return replace(write, value=arc_level(write.value))

    def held(self, write: Write) -> None:
        """The device has it."""
        if write.point in self.points:
            self.sent[write.point] = (self.level(write).value, min(write.value, 100.0))


class _Driver:
    """A driver of any protocol; see `edge.driver.Driver` for the contract."""

    def __init__(self, driver: Any, light: _Light) -> None:
        self._driver, self._light = driver, light

    async def read(self, poll: Poll) -> Sample:
        """Levels become light."""
        return self._light.shown(poll, await self._driver.read(poll))

    async def write(self, writes: Sequence[Write]) -> None:
        """Light becomes levels, 255 never."""
        for write in writes:
            await self._driver.write((self._light.level(write),))
            self._light.held(write)

    async def holds(self, write: Write) -> bool | None:
        """Whether the device holds the level of that light."""
        held: bool | None = await self._driver.holds(self._light.level(write))
        if held:
            self._light.held(write)
        return held

    async def probe(self, device: str) -> None:
        """As the driver does."""
        await self._driver.probe(device)

    async def raw(self, device: str, point: str) -> bytes:
        """The level as it came."""
        data: bytes = await self._driver.raw(device, point)
        return data

    async def identify(self, device: str) -> Mapping[str, str]:
        """As the driver does: those of this table all do."""
        assert isinstance(self._driver, Identifying)
        return await self._driver.identify(device)


class _ReadsOn(_Driver):
    """One that begins the next poll as soon as an answer is there."""

    def read_on(self, poll: Poll, following: Following) -> Awaitable[Poll | None]:
        """As the driver does; each sample is that of the poll that `following` named last."""
        reading = [poll]

        def shown(sample: Sample) -> Poll | None:
            named = following(self._light.shown(reading[0], sample))
            if named is not None:
                reading[0] = named
            return named

        answer: Awaitable[Poll | None] = self._driver.read_on(poll, shown)
        return answer


class _Host:
    """The bus task, for values that a device sends unasked."""

    def __init__(self, host: Host, light: _Light) -> None:
        self._host, self._light = host, light

    @property
    def writes(self) -> bool:
        """As the bus task says."""
        return self._host.writes

    @writes.setter
    def writes(self, writes: bool) -> None:
        self._host.writes = writes

    def deliver(self, poll: Poll, sample: Sample) -> None:
        """Levels become light."""
        self._host.deliver(poll, self._light.shown(poll, sample))

    def emit(self, event: Event, **fields: Any) -> None:
        """As the bus task does."""
        self._host.emit(event, **fields)

    def recall(self, device: str) -> Kept:
        """As the bus task does."""
        return self._host.recall(device)

    def keep(self, device: str, kept: Kept) -> None:
        """As the bus task does."""
        self._host.keep(device, kept)
