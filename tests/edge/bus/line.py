"""A bus task over a driver whose devices answer, refuse, are silent or lie, in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.bus.runner import BusRunner, spread
from edge.clock import Clock
from edge.driver import DriverKind, FieldDevice, Following, Poll, Sample, Write
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, DriverError, LinkDown
from edge.events import Events
from edge.image.slots import Slot
from edge.schema.model import Model
from edge.site.site import Bus, Output
from edge.text import Text

TIMEOUT = 0.5
ANSWER = 0.005
WORD = Text("试验", "test")


def now() -> float:
    """Virtual time."""
    return asyncio.get_running_loop().time()


def refusal(**how: Any) -> DeviceRefused:
    """An error of the protocol."""
    return DeviceRefused(WORD, "6", **how)


@dataclass
class FakeLine:
    """The field as a table of moods per device; each answer takes 5 ms, each silence TIMEOUT.

    `next` are outcomes of the next requests to a device, before its mood counts: an exception, or
    "lost" for an answer that does not arrive after the request was carried out. `unreadable`
    points cannot be read back.
    """

    mood: dict[str, str] = field(default_factory=dict)
    next: dict[str, deque[DriverError | str]] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    held: dict[str, float] = field(default_factory=dict)
    reads: list[tuple[float, str]] = field(default_factory=list)
    probes: list[tuple[float, str]] = field(default_factory=list)
    asked: list[tuple[float, str]] = field(default_factory=list)
    writes: list[tuple[float, str, float]] = field(default_factory=list)
    silences: list[tuple[float, str]] = field(default_factory=list)  # when each time-out began
    timeouts: dict[str, float] = field(default_factory=dict)
    connects: int = 0
    link: bool = True
    under_way: int = 0
    most: int = 0

    async def __aenter__(self) -> FakeLine:
        self.connects += 1
        if not self.link:
            raise LinkDown(WORD)
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def _answer(self, device: str, write: Write | None = None) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self._outcome(device, write)
        finally:
            self.under_way -= 1

    async def _outcome(self, device: str, write: Write | None) -> None:
        if not self.link:
            raise LinkDown(WORD)
        waiting = self.next.get(device)
        outcome = waiting.popleft() if waiting else self.mood.get(device, "ok")
        if outcome == "silent":
            await self._silence(device)
        await asyncio.sleep(ANSWER)
        if outcome == "bug":
            raise ZeroDivisionError
        if outcome == "refuses":
            raise refusal(permanent=True)
        if outcome == "garbles":
            raise BadAnswer(WORD)
        if isinstance(outcome, DriverError):
            raise outcome
        if write is not None:
            self.held[write.point] = write.value
            self.writes.append((now(), write.point, write.value))
        if outcome == "lost":
            await self._silence(device)

    async def _silence(self, device: str) -> None:
        self.silences.append((now(), device))
        await asyncio.sleep(self.timeouts.get(device, TIMEOUT))
        raise DeviceTimeout(WORD)

    async def read(self, poll: Poll) -> Sample:
        self.reads.append((now(), poll.device))
        await self._answer(poll.device)
        values = [self.held.get(point, now()) for point in poll.points]
        return Sample(np.asarray(values), np.zeros(len(values), np.uint16))

    async def read_on(self, poll: Poll, following: Following) -> Poll | None:
        going: Poll | None = poll
        while going is not None:
            going = following(await self.read(going))
        return going

    async def write(self, writes: Sequence[Write]) -> None:
        for write in writes:
            await self._answer(write.device, write)

    async def probe(self, device: str) -> None:
        self.probes.append((now(), device))
        await self._answer(device)

    async def holds(self, write: Write) -> bool | None:
        self.asked.append((now(), write.point))
        await self._answer(write.device)
        if write.point in self.unreadable:
            return None
        return self.held.get(write.point) == write.value

    async def raw(self, device: str, point: str) -> bytes:
        await self._answer(device)
        return point.encode()


class FakeSink:
    """Keeps what the bus task reports."""

    def __init__(self) -> None:
        self.delivered: list[tuple[float, int]] = []
        self.failures: list[tuple[float, int, int]] = []
        self.states: list[tuple[float, str, bool]] = []
        self.acknowledged: list[tuple[str, float]] = []
        self.unknown: list[str] = []

    def deliver(self, first: int, values: Any, bits: Any, at: float) -> None:
        self.delivered.append((at, first))

    def failed(self, first: int, count: int, bits: int, at: float) -> None:
        self.failures.append((at, first, bits))

    def online(self, device: str, online: bool, at: float) -> None:
        self.states.append((round(at, 3), device, online))

    def written(self, write: Write, at: float) -> None:
        self.acknowledged.append((write.point, write.value))

    def unverified(self, write: Write, at: float) -> None:
        self.unknown.append(write.point)


class Lanes(Model):
    """The options of a bus that takes several requests at once."""

    pipeline: int = 1


class Case:
    """`devices` of `polls` one-point polls each, named d0.p0 and so on, one image index each."""

    def __init__(
        self,
        devices: int,
        period: float = 1.0,
        polls: int = 1,
        *,
        pipeline: int = 1,
        outputs: dict[str, Output] | None = None,
    ) -> None:
        self.line, self.sink, self.events = FakeLine(), FakeSink(), Events()
        kind = DriverKind(
            "fake", Lanes, Model, Model, lambda *_: (), connect=lambda *_: self.line
        )  # fmt: skip
        ids = [f"d{i}" for i in range(devices)]
        plan = tuple(
            Poll(d, (f"{d}.p{k}",), period, None, f"{d} {k}") for d in ids for k in range(polls)
        )
        fields = tuple(FieldDevice(d, None, ()) for d in ids)
        self.bus = Bus("b", kind, Lanes(pipeline=pipeline), fields, plan)
        self.index = {p.points[0]: i for i, p in enumerate(plan)}
        loop = asyncio.get_running_loop()
        clock = Clock(monotonic=loop.time, wall=loop.time, trusted=lambda: True)
        self.runner = BusRunner(
            self.bus, self.index, spread((self.bus,)), self.sink, clock, self.events,
            outputs=outputs,
        )  # fmt: skip
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Case:
        self._task = asyncio.ensure_future(self.runner.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        assert not self._task.done(), "the bus task ended"
        self._task.cancel()
        await asyncio.wait([self._task])

    async def serve(self, seconds: float) -> None:
        """Run for so long."""
        async with self:
            await asyncio.sleep(seconds)

    def put(self, point: str, value: float, slot: int = Slot.CONTROL) -> None:
        """Ask for a write."""
        self.runner.mailbox.put(Write(point.partition(".")[0], point, value, slot))

    def rate(self, device: int, since: float, until: float = math.inf) -> int:
        """How often the point with that index was delivered."""
        return sum(first == device and since <= at < until for at, first in self.sink.delivered)
