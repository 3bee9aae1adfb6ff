"""Carries letters to devices, and decides what it means when one does not arrive.

A write whose outcome is unknown is never repeated blindly: first the device is asked what it holds.
Called by the bus task, one letter at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from edge.bus.budget import Budget
from edge.bus.devices import Devices, Sink
from edge.bus.mailbox import PARKED, Letter, Mailbox
from edge.bus.schedule import BACK_OFF_LONGEST, Schedule
from edge.clock import Clock
from edge.driver import Driver
from edge.errors import DeviceRefused, DriverError, LinkDown, WrongDevice
from edge.events import WRITE_FAILED, WRITE_UNVERIFIED, Events

UNKNOWN_RETRY = 1.0  # seconds until a silent device is asked what became of a write
BUSY_FIRST, BUSY_LONGEST = 2.0, 60.0  # seconds until a refused write is tried again


class Writing:
    """The letters of one bus on their way."""

    def __init__(
        self,
        mailbox: Mailbox,
        budgets: Mapping[str, Budget],
        devices: Devices,
        schedule: Schedule,
        sink: Sink,
        clock: Clock,
        events: Events,
    ) -> None:
        self._mailbox, self._budgets, self._devices = mailbox, budgets, devices
        self._schedule, self._sink, self._clock, self._events = schedule, sink, clock, events
        self._failing: set[str] = set()  # points whose last write failed
        self.count = 0  # of writes that were tried, since the start

    async def carry(self, driver: Driver, letter: Letter) -> None:
        """Try a letter once, or find out what became of it; raises `LinkDown` only."""
        try:
            if letter.unsure and not letter.urgent:  # to repeat a protection is always safe
                await self._ask(driver, letter)
            else:
                await self._write(driver, letter)
        except LinkDown as error:
            self._broke(letter, error)
            raise
        except DeviceRefused as error:
            self._refused(letter, error)
        except DriverError as error:
            self._unanswered(letter, error)

    async def _write(self, driver: Driver, letter: Letter) -> None:
        write = letter.write
        budget = self._budgets[write.point]
        if wears := not math.isnan(write.value):  # letting go wears nothing out
            budget.spend(self._clock.now())
        self.count += 1
        letter.unsure = True  # however this ends, unless the device says something
        try:
            await self._devices.ask(self._devices.states[write.device], driver.write((write,)))
        except DeviceRefused as error:
            letter.unsure = error.unsure
            if wears and not error.unsure:
                budget.refund()
            raise
        self._done(letter)

    async def _ask(self, driver: Driver, letter: Letter) -> None:
        write = letter.write
        device = self._devices.states[write.device]
        try:
            held = await self._devices.ask(device, driver.holds(write))
        except DeviceRefused as error:
            if not error.permanent:
                raise
            held = None
        if held:
            self._done(letter)
        elif held is None:
            self._mailbox.done(letter)
            self._events.emit(WRITE_UNVERIFIED, point=write.point, value=write.value)
            self._sink.unverified(write, self._clock.now())
        else:
            letter.unsure = False  # it stays, and is written in its turn

    def _done(self, letter: Letter) -> None:
        now, write = self._clock.now(), letter.write
        self._mailbox.done(letter)
        self._failing.discard(write.point)
        self._sink.written(write, now)
        self._schedule.hurry(write.point, now)  # read back at once

    def _refused(self, letter: Letter, error: DeviceRefused) -> None:
        pauses, tries = error.again, letter.tries
        letter.tries, letter.breaks = tries + 1, 0
        if error.permanent:
            self._tell(letter, error)
            self._mailbox.postpone(letter, PARKED)
        elif tries < len(pauses):
            self._mailbox.postpone(letter, self._clock.now() + pauses[tries])
        else:
            if letter.urgent or not isinstance(error, WrongDevice):  # of the device that was told
                self._tell(letter, error)
            pause = min(BUSY_FIRST * 2 ** min(tries - len(pauses), 5), BUSY_LONGEST)
            self._mailbox.postpone(letter, self._clock.now() + pause)

    def _unanswered(self, letter: Letter, error: DriverError) -> None:
        letter.tries, letter.breaks = letter.tries + 1, 0
        device = self._devices.states[letter.write.device]
        # The first time it is only unknown: perhaps it was done, and the answer got lost.
        if letter.tries > 1 or letter.urgent or device.lost:
            self._tell(letter, error)
        if letter.urgent and device.lost:  # asked once, not once for each of its outputs
            for other in self._mailbox.of(device.id):
                other.tries = max(other.tries, 1)
                self._tell(other, error)
        self._mailbox.postpone(letter, self._clock.now() + UNKNOWN_RETRY)

    def _broke(self, letter: Letter, error: LinkDown) -> None:
        letter.breaks += 1
        if letter.breaks > 1:  # it may be what the other end hangs up on
            self._tell(letter, error)
        pause = min(BUSY_FIRST * 2.0 ** min(letter.breaks - 1, 9), BACK_OFF_LONGEST)
        self._mailbox.postpone(letter, self._clock.now() + pause)

    def _tell(self, letter: Letter, error: DriverError) -> None:
        """Once per outage, whatever is asked for meanwhile."""
        write = letter.write
        if write.point not in self._failing:
            self._failing.add(write.point)
            self._events.emit(
                WRITE_FAILED, point=write.point, value=write.value, reason=error.reason
            )
