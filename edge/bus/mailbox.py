"""Writes on their way to a bus: the newest value per point, oldest request first.

Filled by the scan, emptied by the bus task; never grows beyond the number of outputs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from edge.driver import Write
from edge.image.slots import Slot


@dataclass(slots=True)
class Letter:
    """One write, when it was asked for and whether it has failed since."""

    write: Write
    asked: float
    retry_at: float = 0.0
    failed: bool = False


class Mailbox:
    """The newest value for each point of one bus. `wake` is called when something is put.

    `silent_until` says until when a device is not asked because it is silent. Writes wait for that
    too, else a dead device with many outputs would take the bus; a protection is tried once.
    """

    def __init__(self, silent_until: Callable[[str], float]) -> None:
        self._silent_until = silent_until
        self._letters: dict[str, Letter] = {}
        self.wake: Callable[[], None] = lambda: None
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._letters)

    def put(self, write: Write, now: float) -> None:
        """Ask for a write; an older one for the same point is replaced and loses its place."""
        self._letters.pop(write.point, None)
        self._letters[write.point] = Letter(write, now)
        self._empty.clear()
        self.wake()

    async def emptied(self) -> None:
        """Return when every letter has been delivered."""
        await self._empty.wait()

    def next(self, now: float) -> Letter | None:
        """The oldest letter that may be tried now."""
        for letter in self._letters.values():
            if self._due(letter) <= now:
                return letter
        return None

    def _due(self, letter: Letter) -> float:
        if letter.write.slot == Slot.PROTECT and not letter.failed:
            return letter.retry_at
        return max(letter.retry_at, self._silent_until(letter.write.device))

    def next_retry(self) -> float:
        """When the next postponed letter may be tried, inf when there is none."""
        return min(map(self._due, self._letters.values()), default=float("inf"))

    def done(self, letter: Letter) -> None:
        """Forget a letter, unless a newer one took its place meanwhile."""
        if self._letters.get(letter.write.point) is letter:
            del self._letters[letter.write.point]
            if not self._letters:
                self._empty.set()

    def postpone(self, letter: Letter, until: float) -> None:
        """Try again later, with whatever is newest then."""
        letter.failed = True
        letter.retry_at = until

    def hurry(self, device: str) -> None:
        """Try a device's postponed letters at once: it answers again."""
        for letter in self._letters.values():
            if letter.write.device == device:
                letter.retry_at = 0.0
