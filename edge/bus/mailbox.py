"""Writes on their way to a bus: the newest value per point, oldest request first.

Filled by the scan, emptied by the bus task; never grows beyond the number of outputs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.bus.schedule import DeviceState
from edge.driver import Write
from edge.image.slots import Slot

PARKED = math.inf


@dataclass(slots=True, eq=False)
class Letter:
    """One write and what became of it so far.

    `tries` counts its failures, `breaks` how often the link ended with it in a row. `unsure`: the
    device may have carried it out, nobody knows.
    `urgent`: it waits for no budget, and once not even for a silent device.
    """

    write: Write
    urgent: bool
    retry_at: float = 0.0
    tries: int = 0
    breaks: int = 0
    unsure: bool = False


class Mailbox:
    """The newest value for each point of one bus. `wake` is called when there may be more to do.

    The writes of a lost device wait until it answers again, else a dead one with many outputs would
    take the bus. `free_at(point, now)` is when the budget of a point allows the next write.
    """

    def __init__(
        self, devices: Mapping[str, DeviceState], free_at: Callable[[str, float], float]
    ) -> None:
        self._devices, self._free_at = devices, free_at
        self.letters: dict[str, Letter] = {}  # by point
        self.wake: Callable[[], None] = lambda: None
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, write: Write, *, urgent: bool = False) -> None:
        """Ask for a write; an older one for the same point is replaced.

        It takes its place, unless that one has had its turn: so where more changes than a line
        carries, all have theirs. Who asks for what is on its way already changes nothing.
        """
        urgent |= write.slot == Slot.PROTECT
        old = self.letters.get(write.point)
        if old is not None and _same(old.write, write) and old.urgent >= urgent:
            return
        if old is not None and (old.unsure or old.tries or old.breaks):
            del self.letters[write.point]
        self.letters[write.point] = letter = Letter(write, urgent)
        if old is not None and old.urgent >= urgent:  # another value ends the link no less
            letter.breaks = old.breaks
            letter.retry_at = old.retry_at if old.breaks else 0.0
        self._empty.clear()
        self.wake()

    async def emptied(self) -> None:
        """Return when every letter has been delivered, or waits for its device."""
        self._look()
        await self._empty.wait()

    def next(self, now: float) -> Letter | None:
        """The oldest letter that may be tried now, of protections first; those to failing devices
        come last."""
        due = (letter for letter in self.letters.values() if self._due(letter, now) <= now)
        return min(due, key=self._rank, default=None)

    def _rank(self, letter: Letter) -> tuple[bool, int]:
        return not letter.urgent, self._devices[letter.write.device].failures

    def _due(self, letter: Letter, now: float) -> float:
        if self._parked(letter):
            return math.inf
        if letter.urgent or letter.unsure:  # to ask what the device holds wears out nothing
            return letter.retry_at
        return max(letter.retry_at, self._free_at(letter.write.point, now))

    def next_due(self, now: float) -> float:
        """When the next waiting letter may be tried, inf when there is none."""
        return min((self._due(x, now) for x in self.letters.values()), default=math.inf)

    def waits(self, point: str, now: float) -> bool:
        """Whether a write of a point waits for its budget, and for nothing else."""
        letter = self.letters.get(point)
        if letter is None or letter.urgent or letter.unsure or self._parked(letter):
            return False
        return letter.retry_at <= now < self._free_at(point, now)

    def done(self, letter: Letter) -> None:
        """Forget a letter, unless a newer one took its place meanwhile."""
        if self.letters.get(letter.write.point) is letter:
            del self.letters[letter.write.point]
            self._look()

    def postpone(self, letter: Letter, until: float) -> None:
        """Try again later, with whatever is newest then; `PARKED` is when the device came back."""
        letter.retry_at = until
        self._look()

    def _look(self) -> None:
        if all(self._parked(letter) for letter in self.letters.values()):
            self._empty.set()

    def _parked(self, letter: Letter) -> bool:
        if letter.urgent and not letter.tries:
            return False
        return letter.retry_at == PARKED or self._devices[letter.write.device].lost

    def hurry(self, device: str) -> None:
        """Try a device's postponed letters at once: it answers again."""
        for letter in self.of(device):
            letter.tries = 0
            if not letter.breaks:
                letter.retry_at = 0.0
            self._empty.clear()
        self.wake()

    def of(self, device: str) -> list[Letter]:
        """The letters to one device."""
        return [letter for letter in self.letters.values() if letter.write.device == device]


def _same(a: Write, b: Write) -> bool:
    same = a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
    return same and a.slot == b.slot
