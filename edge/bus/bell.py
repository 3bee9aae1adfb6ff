"""The one timer of a bus, at which the lanes of its task wait until there is something to do.

It is moved only to ring earlier: who is woken too early looks, finds nothing and waits again. That
costs less than a timer per pause. Used by the bus task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Bell:
    """Lanes are numbered from 0; each waits at most once at a time. `now` is the bus's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._timer: asyncio.TimerHandle | None = None
        self._at = inf  # when the timer rings
        self.waiting: dict[int, tuple[float, asyncio.Future[None]]] = {}  # by lane: until when

    async def wait(self, lane: int, until: float) -> None:
        """Return at `until`, when rung for, or now and then for nothing."""
        sleeper = asyncio.get_running_loop().create_future()
        self.waiting[lane] = until, sleeper
        if until < self._at:
            self.set(until)
        try:
            await sleeper
        finally:
            self.waiting.pop(lane, None)

    def set(self, until: float) -> None:
        """Ring not later than `until`."""
        if until >= self._at:
            return
        self.stop()
        self._at = until
        pause = max(until - self._now(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(pause, self._ring)

    def ring(self, lane: int) -> None:
        """Wake one lane, if it waits."""
        if lane in self.waiting:
            _, sleeper = self.waiting.pop(lane)
            if not sleeper.done():
                sleeper.set_result(None)

    def stop(self) -> None:
        """No timer is running any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._at = None, inf

    def _ring(self) -> None:
        self._timer, self._at = None, inf
        if self.waiting:  # lane 0 last, except for what only it can do and what it waits for
            self.ring(min(self.waiting, key=lambda lane: (self.waiting[lane][0], -lane)))
