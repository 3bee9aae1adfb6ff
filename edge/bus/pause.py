"""The pause between two attempts to connect: how long it is, until when, and its end before time.

Not the attempt. The bus task takes it; a person may end it (`edge retry`).
"""

from __future__ import annotations

import asyncio
from math import inf

from edge.bus.meter import Meter
from edge.clock import Clock

FIRST, LONGEST = 1.0, 60.0  # seconds


class Pause:
    """Each is twice as long as the one before. `until` is when this one ends, inf without one."""

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self.until = inf
        self._meter, self._clock = meter, clock
        self._length = FIRST
        self._ended = asyncio.Event()

    async def take(self, connected: float) -> None:
        """Wait; `connected` is since when there was a connection, or an attempt at one."""
        began = self._clock.now()
        if began - connected > LONGEST:
            self._length = FIRST
        self._ended.clear()
        self.until = began + self._length
        self._length = min(2 * self._length, LONGEST)
        try:
            async with asyncio.timeout(self.until - began):
                await self._ended.wait()
        except TimeoutError:
            pass
        else:
            self._length = FIRST  # somebody is at it: it may take him a few attempts
        finally:
            self.until = inf
            self._meter.rested(self._clock.now() - began)

    def end(self) -> bool:
        """End it now; False when there is none."""
        if waits := self.until < inf:
            self._ended.set()
        return waits
