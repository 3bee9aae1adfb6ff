"""The one timer of a bus, at which the lanes of its task wait until there is something to do.

It is moved only to ring earlier: who is woken too early looks, finds nothing and waits again. That
costs less than a timer per pause. Used by the bus task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

EARLY = 0.0005  # seconds by which a timer may end too early: those of uvloop count milliseconds
WRITER = 0  # the lane that writes, probes and asks for a person; the others only poll


class Bell:
    """Lanes are numbered from 0; each waits at most once at a time. `now` is the bus's clock.

    `own` is when the writer has something to do that no other lane can do for it.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._timer: asyncio.TimerHandle | None = None
        self._at = inf  # when the timer rings
        self.own = inf
        self.waiting: dict[int, tuple[float, asyncio.Future[None]]] = {}  # by lane: until when

    async def wait(self, lane: int, until: float) -> None:
        """Return at `until`, when rung for, or now and then for nothing."""
        sleeper = asyncio.get_running_loop().create_future()
        self.waiting[lane] = until, sleeper
        self.set(until)
        try:
            await sleeper
        finally:
            self.waiting.pop(lane, None)

    def set(self, until: float) -> None:
        """Ring not later than `until`, nor than the writer needs."""
        if self.own < until and WRITER in self.waiting:
            until = self.own
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
        if WRITER in self.waiting and self.own <= self._now() + EARLY:
            self.ring(WRITER)
        elif self.waiting:  # the writer last: it may be needed for a write any moment
            self.ring(min(self.waiting, key=lambda lane: (self.waiting[lane][0], -lane)))
