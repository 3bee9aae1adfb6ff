"""Which devices of a bus answer: what each request says of them, and whom that concerns.

A device that falls silent becomes COMM, is told of once and probed from then on; one that turns out
to be another device becomes CONFIG. When it is there again, all of it is read again. Called by the
bus task. Not when it is asked: that is `schedule.py`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from edge.bus.mailbox import Mailbox
from edge.bus.meter import Failure, Meter
from edge.bus.schedule import BACK_OFF_FIRST, Allowance, DeviceState, Planned, Schedule
from edge.clock import Clock
from edge.driver import Write
from edge.errors import (
    BadAnswer,
    DeviceRefused,
    DeviceTimeout,
    DriverError,
    LinkDown,
    NotYet,
    WrongDevice,
)
from edge.events import (
    DEVICE_OFFLINE,
    DEVICE_ONLINE,
    LINK_DOWN,
    LINK_UP,
    POLL_SILENT,
    Events,
)
from edge.image import quality
from edge.image.image import Bits, Floats
from edge.text import Text

T = TypeVar("T")

_KINDS: dict[type[DriverError], Failure] = {
    DeviceTimeout: "timeout", DeviceRefused: "refused", WrongDevice: "refused",
    BadAnswer: "bad_answer", LinkDown: "link",
}  # fmt: skip


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

    def written(self, write: Write, now: float) -> None:
        """The device acknowledged a write, or is known to hold it."""
        ...

    def unverified(self, write: Write, now: float) -> None:
        """Nobody knows whether the device carried out a write, and it will not be repeated."""
        ...


class Devices:
    """The devices of one bus by id, and its link."""

    def __init__(
        self,
        bus: str,
        states: dict[str, DeviceState],
        planned: list[Planned],
        schedule: Schedule,
        mailbox: Mailbox,
        meter: Meter,
        sink: Sink,
        clock: Clock,
        events: Events,
    ) -> None:
        self.states = states
        self.up = False
        self.down_reason: Text | None = None
        self._told: set[Text] = set()  # why it is down, each reason once in an outage
        self.probe_at = math.inf  # when the next silent device may be asked
        self._bus, self._planned, self._schedule, self._mailbox = bus, planned, schedule, mailbox
        self._meter, self._sink, self._clock, self._events = meter, sink, clock, events
        self._allowance = Allowance()
        self._down_since = clock.now()
        self._answers = 0  # of the bus, when it was connected

    async def ask(self, device: DeviceState, request: Awaitable[T]) -> T:
        """Wait for a request, count it and see what it says of its device; raises what it does."""
        began, lost = self._clock.now(), device.lost
        try:
            answer = await request
        except NotYet:
            raise
        except DriverError as error:
            now = self._clock.now()
            self.count_failure(device, error, now - began)
            if isinstance(error, DeviceRefused):
                self.refused(device, error, now)
            elif lost or not isinstance(error, LinkDown):
                if lost:  # a gateway may hang up on whoever asks for a dead device: that counts too
                    self._allowance.spend(began, now - began)
                self.silent(device, error, began, now)
            raise
        now = self._clock.now()
        device.meter.answered(now - began)
        self._meter.answered(now - began)
        self.answered(device, now)
        return answer

    def count_failure(self, device: DeviceState, error: DriverError, took: float) -> None:
        """Count a request that failed, for the device and for the bus."""
        kind = _KINDS.get(type(error), "bad_answer")
        device.meter.failed(kind, took)
        self._meter.failed(kind, took)

    def answered(self, device: DeviceState, now: float) -> None:
        """The device is there: after an answer, a refusal, or a value that nobody asked for."""
        if device.well:
            device.last_answer = now
            return
        new, lost = not device.seen, device.lost
        device.answered(now)
        if device.online and not lost:
            if new:
                self._sink.online(device.id, True, now)
            return
        device.online = True
        if device.reason is not None:  # lost with its bus, it comes back with its bus: one event
            self._events.emit(DEVICE_ONLINE, device=device.id, lasted=now - device.offline_since)
        device.reason = None
        self._sink.online(device.id, True, now)
        self._schedule.resume(device, now)
        self._mailbox.hurry(device.id)
        for other in self.states.values() if lost else ():
            if other.lost:
                other.hurry(now)
        self._next_probe()

    def refused(self, device: DeviceState, error: DeviceRefused, now: float) -> None:
        """Something is there. Who was found to be another one is that until it does as asked."""
        if not isinstance(error, WrongDevice) and device.wrong is None:
            self.answered(device, now)
            return
        lost, known = device.lost, device.wrong
        device.answered(now)
        device.well, device.wrong = False, known or error.reason
        if known is not None:
            return
        if device.online:
            device.offline_since = now
        device.online = False
        self._sink.online(device.id, False, now)
        self._failed(now, device, bits=quality.CONFIG)
        if lost:
            self._schedule.resume(device, now)
            self._next_probe()

    def silent(self, device: DeviceState, error: DriverError, began: float, now: float) -> None:
        """The device did not answer, or with something that is no answer."""
        known = device.lost
        device.silent(began, now, garbled=isinstance(error, BadAnswer))
        if device.lost and not known:
            self._lose(device, error.reason, now)
            if not device.seen:
                self._schedule.set_back(now)
        self._next_probe()

    def _lose(self, device: DeviceState, reason: Text, now: float) -> None:
        if device.online:
            device.offline_since = now
        device.online = False
        device.reason = reason
        self._events.emit(DEVICE_OFFLINE, device=device.id, reason=reason)
        self._sink.online(device.id, False, now)
        self._failed(now, device)

    def _failed(
        self, now: float, device: DeviceState | None = None, bits: int = quality.COMM
    ) -> None:
        for planned in self._planned:
            if device is None or planned.device is device:
                self._sink.failed(planned.first, len(planned.poll.points), bits, now)

    # Probes of lost devices: one small request each, in turn, within the allowance.

    def _next_probe(self) -> None:
        self.probe_at = min(map(self.next_try, self.states.values()), default=math.inf)
        self._mailbox.wake()

    def next_try(self, device: DeviceState) -> float:
        """When a device may be asked next, inf for one that is not lost."""
        if not device.lost:
            return math.inf
        if device.wanted:  # paid for later
            return device.retry_at
        return max(device.retry_at, self._allowance.free_at)

    def to_probe(self) -> DeviceState:
        """The device whose turn it is at `probe_at`; it is left alone no longer."""
        lost = (device for device in self.states.values() if device.lost)
        device = min(lost, key=lambda device: (self.next_try(device), device.retry_at))
        device.rested(self._clock.now())
        return device

    def retry(self, only: str | None) -> list[str]:
        """A person wants silent devices, or one of them, to be asked now; which these are.

        The first is asked at once. More than one must share what silent devices may take, else
        those that answer would pay for it.
        """
        now = self._clock.now()
        lost = [d for d in self.states.values() if d.lost and only in (None, d.id)]
        if lost:
            min(lost, key=lambda device: device.retry_at).wanted = True
        for device in lost:
            device.retry_at, device.back_off = min(device.retry_at, now), BACK_OFF_FIRST
        self._next_probe()
        return [device.id for device in lost]

    def put_off(self, device: DeviceState, seconds: float) -> None:
        """A lost device could not be asked yet."""
        device.retry_at = self._clock.now() + seconds
        self._next_probe()

    def leave(self, planned: Planned, error: DriverError, began: float, now: float) -> float:
        """A poll that stays silent while its device answers others; when it may be tried again."""
        self._allowance.spend(began, now - began)
        self._sink.failed(planned.first, len(planned.poll.points), quality.COMM, now)
        if not planned.told:
            planned.told = True
            self._events.emit(
                POLL_SILENT, device=planned.device.id, poll=planned.poll.label, reason=error.reason
            )
        return max(now + planned.pause, self._allowance.free_at)

    # The link, and with it all of them.

    @property
    def proven(self) -> bool:
        """Whether anything was answered since the last connect."""
        return self.up and self._meter.answers > self._answers

    def link_up(self) -> None:
        """The bus is connected: who answers will show."""
        now = self._clock.now()
        self.up, self._answers = True, self._meter.answers
        if self.down_reason is not None:
            self._events.emit(LINK_UP, bus=self._bus, lasted=now - self._down_since)
        self.down_reason = None
        self._told.clear()

    def link_down(self, reason: Text) -> None:
        """The connection is gone, or cannot be had."""
        now = self._clock.now()
        self.up = False
        known, self.down_reason = self.down_reason is not None, reason
        if reason not in self._told:
            self._told.add(reason)
            self._events.emit(LINK_DOWN, bus=self._bus, reason=reason)
        if known:
            return
        self._down_since = now
        for device in self.states.values():
            device.well = False
            if device.online:
                device.online = False
                device.offline_since = now
                self._sink.online(device.id, False, now)
        self._failed(now)
