"""The bus task: one per connection, the only owner of its driver.

Writes first, then due polls, earliest deadline first. A device that falls silent costs one probe
per back-off period; its points become COMM and its neighbours keep their rate. Here a failed
request stops being an exception and becomes data. Not the protocol: that is `drivers/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from edge.bus.bell import EARLY, WRITER, Bell
from edge.bus.budget import Budget
from edge.bus.devices import Devices, Sink
from edge.bus.host import BusHost
from edge.bus.identity import identity
from edge.bus.mailbox import Mailbox
from edge.bus.meter import Meter
from edge.bus.pause import Pause
from edge.bus.schedule import DeviceState, Planned, Schedule
from edge.bus.writing import Writing
from edge.clock import Clock
from edge.driver import Driver, Following, Poll, ReadsOn, Sample
from edge.errors import (
    BadAnswer,
    DeviceRefused,
    DeviceTimeout,
    DriverError,
    LinkDown,
    NotYet,
    WrongDevice,
)
from edge.events import POLL_REFUSED, Events
from edge.image import quality
from edge.site.site import Bus, Output
from edge.text import Text

__all__ = ["BusRunner", "Sink", "spread"]

WRITES_IN_A_ROW = 3
BUG = Text("控制器自身出错", "an error of the controller itself")
UNANSWERED = Text("读取被中断", "the reading was broken off")
Question = Callable[[Driver], Awaitable[Any]]
_ReadOn = Callable[[Poll, Following], Awaitable[Poll | None]]


class BusRunner:
    """Runs one bus for ever; made by `edge.app`, run under `supervise`.

    `phase` gives each poll's place within its period, by (device, label). `outputs` are the limits
    of the points that are written, by id; nothing limits those that are not in it. `worn` is called
    when one was written that wears out by it.
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
        outputs: Mapping[str, Output | None] | None = None,
        host: BusHost | None = None,
        worn: Callable[[], None] = lambda: None,
    ) -> None:
        self.bus = bus
        self.lanes = int(getattr(bus.config, "pipeline", 1))
        self.meter = Meter(self.lanes)
        self.pause = Pause(self.meter, clock)
        self.devices = {d.id: DeviceState(d.id) for d in bus.devices}
        self.budgets = _Budgets(outputs or {}, events, worn)
        self.mailbox = Mailbox(self.devices, lambda point, now: self.budgets[point].free_at(now))
        self._sink, self._clock, self._events = sink, clock, events
        self._planned = [
            Planned(0.0, i, p, index[p.points[0]], self.devices[p.device], phase(p))
            for i, p in enumerate(bus.polls)
        ]
        self._by_poll = {id(p.poll): p for p in self._planned}
        self._schedule = Schedule(self._planned)
        self._devices = Devices(
            bus.id, self.devices, self._planned, self._schedule, self.mailbox, self.meter, sink,
            clock, events,
        )  # fmt: skip
        self._writing = Writing(
            self.mailbox, self.budgets, self._devices, self._schedule, sink, clock, events
        )
        self._asked: list[tuple[Question, asyncio.Future[Any]]] = []
        self._bell = Bell(clock.now)
        self.mailbox.wake = self._wake
        self.host = host or BusHost(events=events)
        self.host.deliver = self._deliver_unasked

    @property
    def up(self) -> bool:
        """Whether the bus is connected."""
        return self._devices.up

    @property
    def down_reason(self) -> Text | None:
        """Why it is not; None before the first attempt, too."""
        return self._devices.down_reason

    @property
    def writes(self) -> int:
        """Writes that were tried since the start."""
        return self._writing.count

    @property
    def overruns(self) -> int:
        """Turns that polls have missed because the bus had no time for them."""
        return sum(p.overruns for p in self._planned)

    def next_try(self, device: str) -> float:
        """When a silent device is asked next; inf for one that is not silent."""
        return self._devices.next_try(self.devices[device])

    def turn(self, point: str, now: float) -> tuple[float, bool, bool]:
        """When a point may be written, whether its day is spent, and whether a write waits."""
        return *self.budgets[point].free(now), self.mailbox.waits(point, now)

    def retry(self, device: str | None = None) -> tuple[bool, list[str]]:
        """Connect, and ask silent devices, now; whether either waited, and which devices."""
        return self.pause.end(), self._devices.retry(device)

    def restore(self, writes: Mapping[str, Any]) -> None:
        """Go on counting the writes of each output; of what is on this bus."""
        for point in (point.id for device in self.bus.devices for point in device.points):
            if point in writes:
                self.budgets[point].restore(writes[point], self._clock.now())

    async def raw(self, device: str, point: str) -> bytes:
        """The bytes behind a point, read in the bus's own turn; raises `DriverError`."""
        data: bytes = await self._ask(lambda driver: driver.raw(device, point))
        return data

    async def identify(self, device: str) -> Mapping[str, str]:
        """What a device says of itself, asked in the bus's own turn; raises `DriverError`."""
        said: Mapping[str, str] = await self._ask(lambda driver: identity(driver, device))
        return said

    async def _ask(self, question: Question) -> Any:
        if not self.up:
            raise LinkDown(self.down_reason or Text("总线未连接", "the bus is not connected"))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append((question, answer))
        self._wake()
        return await answer

    async def run(self) -> None:
        """Connect, serve, and connect again; never returns."""
        while True:
            connected = self._clock.now()
            reason: Text | None = BUG
            try:
                async with self.bus.kind.connect(
                    self.bus.config, self.bus.devices, self.bus.polls, self.host
                ) as driver:
                    connected = self._clock.now()
                    self._devices.link_up()
                    await self._serve(driver)
            except LinkDown as error:
                reason = error.reason
            except asyncio.CancelledError:
                reason = None
                raise
            finally:
                if reason is not None:
                    self._link_down(reason)
            await self.pause.take(connected)

    async def _serve(self, driver: Driver) -> None:
        self._schedule.start(self._clock.now())  # also polls that were under way when all broke
        try:
            # Lanes share one connection and end with it, so they are this task's own children; the
            # first is the task itself.
            async with asyncio.TaskGroup() as group:
                for lane in range(1, self.lanes):
                    group.create_task(self._lane(driver, lane), name=f"{self.bus.id} {lane}")
                await self._lane(driver, WRITER)
        except ExceptionGroup as failed:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from failed
            bugs = (e for e in failed.exceptions if not isinstance(e, LinkDown))
            raise next(bugs, failed.exceptions[0]) from None  # the others only ended with it
        finally:
            self._bell.stop()

    async def _lane(self, driver: Driver, lane: int) -> None:
        """Do what is due, one thing after the other, for ever."""
        schedule, reading = self._schedule, _Reading(lane, self._following)
        read_on = driver.read_on if isinstance(driver, ReadsOn) else partial(_read_one, driver)
        while True:
            # What is due a little later is due now: else we would wait for it in tiny steps.
            soon = self._clock.now() + EARLY
            until = inf
            if lane == WRITER and self._more_than_polls():
                soon, until = await self._write(driver, soon)
            planned = schedule.pop(soon)
            if planned is not None:
                self._leave()
                await self._poll(read_on, reading, planned)
                continue
            if lane == WRITER:
                self._bell.own = until
            until = min(until, schedule.next_due())
            if until > soon:
                await self._bell.wait(lane, until)

    async def _write(self, driver: Driver, soon: float) -> tuple[float, float]:
        """What goes before polls: some writes, what a person asks, one probe.

        Returns what is soon by now, and when something of it is due next.
        """
        for _ in range(WRITES_IN_A_ROW):
            letter = self.mailbox.next(soon)
            if letter is None:
                break
            self._leave()
            await self._writing.carry(driver, letter)
            soon = self._clock.now() + EARLY
        if self._asked:
            self._leave()
            await self._answer(driver)
            soon = self._clock.now() + EARLY
        if self._devices.probe_at <= soon:
            self._leave()
            await self._probe(driver)
            soon = self._clock.now() + EARLY
        if self._asked:
            return soon, soon
        return soon, min(self._devices.probe_at, self.mailbox.next_due(soon))

    def _more_than_polls(self) -> bool:
        """Whether the writer may have something else to do, now or later."""
        return bool(self.mailbox.letters or self._asked) or self._devices.probe_at < inf

    def _leave(self) -> None:
        """Others look after the polls while this lane is busy."""
        if self._bell.waiting:
            self._bell.set(self._schedule.next_due())

    async def _poll(self, read_on: _ReadOn, reading: _Reading, planned: Planned) -> None:
        """Read a poll and then others, for as long as they are due, well, and nothing goes before.

        What fails is dealt with here, whichever poll of them it was.
        """
        reading.planned, reading.began = planned, self._clock.now()
        poll: Poll | None = planned.poll
        try:
            while poll is not None:
                poll = await read_on(poll, reading.following)
        except NotYet as error:
            self._schedule.push(reading.planned, self._clock.now(), after=error.wait)
        except DriverError as error:
            planned, began, now = reading.planned, reading.began, self._clock.now()
            self._devices.count_failure(planned.device, error, now - began)
            planned.failing = True
            if isinstance(error, DeviceRefused):
                self._refused(planned, error, now)
            else:
                self._silent(planned, error, began, now)

    def _following(self, reading: _Reading, sample: Sample) -> Poll | None:
        """Take an answer and say which poll a lane reads next; None when its task must look.

        Called as the answer comes: that no task wakes up for it is a third of what a poll costs.
        """
        now, planned = self._clock.now(), reading.planned
        device, took = planned.device, now - reading.began
        device.meter.answered(took)
        self.meter.answered(took)
        if planned.failing:
            planned.works()
        self._devices.answered(device, now)
        self._sink.deliver(planned.first, sample.values, sample.quality, now)
        self._schedule.push(planned, now)
        if reading.lane == WRITER and self._more_than_polls():
            return None
        following = self._schedule.pop(now + EARLY)
        if following is None:
            return None
        self._leave()
        reading.planned, reading.began = following, now
        return following.poll

    def _silent(self, planned: Planned, error: DriverError, began: float, now: float) -> None:
        if isinstance(error, LinkDown) and not self._devices.proven:
            planned.silences = max(planned.silences, 1)  # whoever was asked: let others be first
            raise error
        planned.silences += 1
        self._devices.silent(planned.device, error, began, now)
        at = now  # tried again at once: one lost answer is not a lost device
        if planned.pause and not planned.device.lost:
            at = self._devices.leave(planned, error, began, now)
        if isinstance(error, LinkDown):
            raise error
        self._schedule.push(planned, now, after=at - now)

    def _refused(self, planned: Planned, error: DeviceRefused, now: float) -> None:
        self._devices.refused(planned.device, error, now)
        planned.silences = 0
        if planned.tries < len(error.again):
            self._schedule.push(planned, now, after=error.again[planned.tries])
            planned.tries += 1
            return
        bits = quality.CONFIG if error.permanent else quality.COMM
        self._sink.failed(planned.first, len(planned.poll.points), bits, now)
        if not planned.told and not isinstance(error, WrongDevice):  # that was told
            planned.told = True
            self._events.emit(
                POLL_REFUSED,
                device=planned.device.id,
                poll=planned.poll.label,
                reason=error.reason,
            )
        self._schedule.push(planned, now, after=error.rest if error.permanent else None)

    async def _probe(self, driver: Driver) -> None:
        device = self._devices.to_probe()
        try:
            await self._devices.ask(device, driver.probe(device.id))
        except NotYet as error:
            self._devices.put_off(device, error.wait)
        except (DeviceTimeout, DeviceRefused, BadAnswer):
            pass  # counted; nothing new to say

    async def _answer(self, driver: Driver) -> None:
        question, answer = self._asked.pop(0)
        try:
            said = await question(driver)
        except DriverError as error:
            if not answer.done():
                answer.set_exception(error)
            if isinstance(error, LinkDown):
                raise
        else:
            if not answer.done():
                answer.set_result(said)
        finally:
            if not answer.done():  # a bug, or the end: nobody waits for ever
                answer.set_exception(LinkDown(UNANSWERED))

    def _deliver_unasked(self, poll: Poll, sample: Sample) -> None:
        planned = self._by_poll[id(poll)]
        now = self._clock.now()
        self._devices.answered(planned.device, now)
        self._sink.deliver(planned.first, sample.values, sample.quality, now)

    def _link_down(self, reason: Text) -> None:
        for _, answer in self._asked:
            if not answer.done():
                answer.set_exception(LinkDown(reason))
        self._asked.clear()
        self._devices.link_down(reason)

    def _wake(self) -> None:
        self._bell.ring(WRITER)


class _Reading:
    """The poll that a lane is reading, since when, and who is told of its answer."""

    __slots__ = ("began", "following", "lane", "planned")

    def __init__(self, lane: int, following: Callable[[_Reading, Sample], Poll | None]) -> None:
        self.lane = lane
        self.following = partial(following, self)
        self.began = -inf
        self.planned: Planned


async def _read_one(driver: Driver, poll: Poll, following: Following) -> Poll | None:
    """`read_on` for drivers that do not."""
    return following(await driver.read(poll))


class _Budgets(dict[str, Budget]):
    """A budget for each point that is written, made when it is first asked for."""

    def __init__(
        self, outputs: Mapping[str, Output | None], events: Events, worn: Callable[[], None]
    ) -> None:
        super().__init__()
        self._outputs, self._events, self._worn = outputs, events, worn

    def __missing__(self, point: str) -> Budget:
        output = self._outputs.get(point)
        budget = self[point] = Budget(point, output, self._events, self._worn)
        return budget


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
