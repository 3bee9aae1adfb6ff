"""The bus task: one per connection, the only owner of its driver.

Writes first, then due polls, earliest deadline first. A device that falls silent costs one probe
per back-off period; its points become COMM and its neighbours keep their rate. Here a failed
request stops being an exception and becomes data. Not the protocol: that is `drivers/`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge.bus.host import BusHost
from edge.bus.mailbox import Letter, Mailbox
from edge.bus.schedule import DeviceState, Planned, Schedule
from edge.clock import Clock
from edge.driver import Driver, Poll, Sample, Write
from edge.errors import DeviceRefused, DriverError, LinkDown
from edge.events import (
    DEVICE_OFFLINE,
    DEVICE_ONLINE,
    LINK_DOWN,
    LINK_UP,
    POLL_REFUSED,
    WRITE_FAILED,
    Events,
)
from edge.image import quality
from edge.image.image import Bits, Floats
from edge.site.site import Bus
from edge.text import Text

WRITES_IN_A_ROW = 3
REFUSED_RETRY = 60.0  # seconds until a refused poll is asked again: maps do not mend themselves
BUSY_RETRY = 2.0  # seconds until a device that was busy gets a write again
RECONNECT_FIRST, RECONNECT_LONGEST = 1.0, 60.0
EARLY = 0.0005  # seconds by which a timer may end too early: those of uvloop count milliseconds
UNANSWERED = Text("读取被中断", "the reading was broken off")


class Sink(Protocol):
    """Where a bus task brings what it learned; the scan implements it. Called on the loop."""

    def deliver(self, first: int, values: Floats, bits: Bits, now: float) -> None:
        """A poll's answer; copied before this returns."""
        ...

    def failed(self, first: int, count: int, bits: int, now: float) -> None:
        """These points could not be read: their quality, their values stay."""
        ...

    def online(self, device: str, online: bool, now: float) -> None:
        """A device was lost or came back."""
        ...

    def written(self, write: Write, asked: float, now: float) -> None:
        """The device acknowledged a write that was asked for at `asked`."""
        ...


@dataclass(slots=True)
class BusCounters:
    """What happened on a bus since the start."""

    requests: int = 0
    writes: int = 0
    failures: int = 0
    reconnects: int = 0
    busy: float = 0.0  # seconds with a request under way


class BusRunner:
    """Runs one bus for ever; made by `edge.app`, run under `supervise`.

    `phase` gives each poll's place within its period, by (device, label).
    """

    def __init__(
        self,
        bus: Bus,
        index: Mapping[str, int],
        phase: Callable[[Poll], float],
        sink: Sink,
        clock: Clock,
        events: Events,
        *,
        host: BusHost | None = None,
    ) -> None:
        self.bus = bus
        self.mailbox = Mailbox(lambda device: self.devices[device].retry_at)
        self.counters = BusCounters()
        self.devices = {d.id: DeviceState(d.id) for d in bus.devices}
        self.up = False
        self.down_reason: Text | None = None
        self._sink, self._clock, self._events = sink, clock, events
        self.since = self._down_since = clock.now()
        self._driver: Driver | None = None
        self._planned = [
            Planned(0.0, i, p, index[p.points[0]], self.devices[p.device], phase(p))
            for i, p in enumerate(bus.polls)
        ]
        self._by_poll = {id(p.poll): p for p in self._planned}
        self._schedule = Schedule(self._planned)
        self._failing: set[str] = set()  # points whose last write failed
        self._raw: list[tuple[str, str, asyncio.Future[bytes]]] = []
        self._sleeper: asyncio.Future[None] | None = None
        self.mailbox.wake = self._wake
        self.host = host or BusHost(events=events)
        self.host.deliver = self._deliver_unasked

    @property
    def overruns(self) -> int:
        """Turns that polls have missed because the bus had no time for them."""
        return sum(p.overruns for p in self._planned)

    async def raw(self, device: str, point: str) -> bytes:
        """The bytes behind a point, read in the bus's own turn; raises `DriverError`."""
        if not self.up:
            raise LinkDown(self.down_reason or Text("总线未连接", "the bus is not connected"))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._raw.append((device, point, answer))
        self._wake()
        return await answer

    async def run(self) -> None:
        """Connect, serve, and connect again; never returns."""
        pause = RECONNECT_FIRST
        while True:
            connected = self._clock.now()
            try:
                async with self.bus.kind.connect(
                    self.bus.config, self.bus.devices, self.bus.polls, self.host
                ) as driver:
                    connected = self._clock.now()
                    self._link_up(connected)
                    await self._serve(driver)
            except LinkDown as error:
                self._link_down(error.reason)
            if self._clock.now() - connected > RECONNECT_LONGEST:
                pause = RECONNECT_FIRST
            await asyncio.sleep(pause)
            pause = min(2 * pause, RECONNECT_LONGEST)

    async def _serve(self, driver: Driver) -> None:
        self._schedule = Schedule(self._planned)  # also of a poll that was under way when all broke
        self._schedule.start(self._clock.now())
        while True:
            for _ in range(WRITES_IN_A_ROW):
                letter = self.mailbox.next(self._soon())
                if letter is None:
                    break
                await self._write(driver, letter)
            if self._raw:
                await self._answer_raw(driver)
            planned = self._schedule.pop(self._soon())
            if planned is not None:
                await self._poll(driver, planned)
            elif self.mailbox.next(self._soon()) is None and not self._raw:
                await self._sleep(min(self._schedule.next_due(), self.mailbox.next_retry()))

    def _soon(self) -> float:
        """What is due until then is due now: else we would wait for the rest in tiny steps."""
        return self._clock.now() + EARLY

    async def _poll(self, driver: Driver, planned: Planned) -> None:
        device, poll = planned.device, planned.poll
        started = self._clock.now()
        self.counters.requests += 1
        device.requests += 1
        try:
            sample = await driver.read(poll)
        except LinkDown:
            raise
        except DeviceRefused as error:
            self._refused(planned, error, self._clock.now())
        except DriverError as error:
            self._silent(planned, error, self._clock.now())
        else:
            now = self._clock.now()
            planned.refused = False
            self._answered(device, now)
            self._sink.deliver(planned.first, sample.values, sample.quality, now)
            self._schedule.push(planned, now)
        self.counters.busy += self._clock.now() - started

    def _answered(self, device: DeviceState, now: float) -> None:
        new = math.isinf(device.last_answer)
        device.answered(now)
        if new:
            self._sink.online(device.id, True, now)
        if device.online:
            return
        device.online = True
        if device.reason is not None:  # lost with its bus, it comes back with its bus: one event
            lasted = now - device.offline_since
            self._events.emit(DEVICE_ONLINE, device=device.id, lasted=lasted)
        device.reason = None
        self._sink.online(device.id, True, now)
        self._schedule.hurry(device.id, now)
        self.mailbox.hurry(device.id)

    def _refused(self, planned: Planned, error: DeviceRefused, now: float) -> None:
        self.counters.failures += 1
        planned.device.refused += 1
        self._answered(planned.device, now)
        bits = quality.CONFIG if error.permanent else quality.COMM
        self._sink.failed(planned.first, len(planned.poll.points), bits, now)
        if not planned.refused:
            planned.refused = True
            self._events.emit(
                POLL_REFUSED,
                device=planned.device.id,
                poll=planned.poll.label,
                reason=error.reason,
            )
        self._schedule.push(planned, now, after=REFUSED_RETRY if error.permanent else None)

    def _silent(self, planned: Planned, error: DriverError, now: float) -> None:
        self._count_silence(planned.device, error, now)
        # The first failure is tried again at once: one lost answer is not a lost device.
        self._schedule.push(planned, now, after=0.0 if planned.device.failures == 1 else None)

    def _count_silence(self, device: DeviceState, error: DriverError, now: float) -> None:
        self.counters.failures += 1
        device.timeouts += 1
        device.silent(now)
        if device.failures > 1 and device.online:
            self._offline(device, error.reason, now)

    def _offline(self, device: DeviceState, reason: Text, now: float) -> None:
        device.online = False
        device.offline_since = now
        device.reason = reason
        self._events.emit(DEVICE_OFFLINE, device=device.id, reason=reason)
        self._sink.online(device.id, False, now)
        for planned in self._planned:
            if planned.device is device:
                self._sink.failed(planned.first, len(planned.poll.points), quality.COMM, now)

    async def _write(self, driver: Driver, letter: Letter) -> None:
        write = letter.write
        device = self.devices[write.device]
        started = self._clock.now()
        self.counters.writes += 1
        device.requests += 1
        try:
            await driver.write((write,))
        except LinkDown:
            raise
        except DriverError as error:
            now = self._clock.now()
            if write.point not in self._failing:  # once per outage, whatever is asked meanwhile
                self._failing.add(write.point)
                self._events.emit(
                    WRITE_FAILED, point=write.point, value=write.value, reason=error.reason
                )
            if isinstance(error, DeviceRefused):
                device.refused += 1
                self._answered(device, now)
                pause = REFUSED_RETRY if error.permanent else BUSY_RETRY
                self.mailbox.postpone(letter, now + pause)
            else:
                self._count_silence(device, error, now)
                self.mailbox.postpone(letter, now + 1.0)
        else:
            now = self._clock.now()
            self._answered(device, now)
            self.mailbox.done(letter)
            self._failing.discard(write.point)
            self._sink.written(write, letter.asked, now)
            self._schedule.hurry(write.device, now, write.point)  # read back at once
        self.counters.busy += self._clock.now() - started

    async def _answer_raw(self, driver: Driver) -> None:
        device, point, answer = self._raw.pop(0)
        try:
            data = await driver.raw(device, point)
        except DriverError as error:
            if not answer.done():
                answer.set_exception(error)
            if isinstance(error, LinkDown):
                raise
        else:
            if not answer.done():
                answer.set_result(data)
        finally:
            if not answer.done():  # a bug, or the end: nobody waits for ever
                answer.set_exception(LinkDown(UNANSWERED))

    def _deliver_unasked(self, poll: Poll, sample: Sample) -> None:
        planned = self._by_poll[id(poll)]
        now = self._clock.now()
        self._answered(planned.device, now)
        self._sink.deliver(planned.first, sample.values, sample.quality, now)

    def _link_up(self, now: float) -> None:
        self.up = True
        if self.down_reason is not None:
            self.counters.reconnects += 1
            lasted = now - self._down_since
            self._events.emit(LINK_UP, bus=self.bus.id, lasted=lasted)
        self.down_reason = None

    def _link_down(self, reason: Text) -> None:
        now = self._clock.now()
        for _, _, answer in self._raw:
            if not answer.done():
                answer.set_exception(LinkDown(reason))
        self._raw.clear()
        self.up = False
        if self.down_reason is not None:
            return
        self.down_reason = reason
        self._down_since = now
        self._events.emit(LINK_DOWN, bus=self.bus.id, reason=reason)
        for device in self.devices.values():
            if device.online:
                device.online = False
                device.offline_since = now
                self._sink.online(device.id, False, now)
        for planned in self._planned:
            self._sink.failed(planned.first, len(planned.poll.points), quality.COMM, now)

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def _sleep(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        timer = None
        if not math.isinf(until):
            timer = loop.call_later(max(until - self._clock.now(), 0.0), self._wake)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
            if timer is not None:
                timer.cancel()


def spread(buses: tuple[Bus, ...]) -> Callable[[Poll], float]:
    """A phase for every poll, such that few fall due together, over the whole site.

    Polls of one period are spread evenly over it; those of longer periods fall into the gaps
    between two polls of the shortest.
    """
    by_period: dict[float, list[Poll]] = {}
    for bus in buses:
        for poll in bus.polls:
            by_period.setdefault(poll.period, []).append(poll)
    periods = sorted(by_period)
    gap = periods[0] / len(by_period[periods[0]]) if periods else 0.0
    phases = {
        id(poll): (gap * k / len(periods) / period + i / len(by_period[period])) % 1.0
        for k, period in enumerate(periods)
        for i, poll in enumerate(by_period[period])
    }
    return lambda poll: phases[id(poll)]
