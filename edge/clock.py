"""Site time and wall time: the only place that asks the system what time it is.

`now` is site time in seconds: monotonic, carried over restarts, never backwards; every timer of the
controller runs on it. `wall` is Unix time in seconds and serves schedules, stamps and command
expiry only. Made by `edge.app`; tests make one over a virtual loop.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class Clock:
    """Both times, from injected sources.

    `origin` is the site time at which this process starts, `monotonic` a source in seconds.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,  # noqa: TID251 - its one home
        trusted: Callable[[], bool] | None = None,
        origin: float = 0.0,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._trusted = trusted or kernel_clock_synchronised
        self._offset = origin - monotonic()

    def now(self) -> float:
        """Site time in seconds."""
        return self._monotonic() + self._offset

    def uptime(self) -> float:
        """The raw monotonic seconds; comparable within one boot of the machine only."""
        return self._monotonic()

    def resume(self, at: float) -> None:
        """Go on from the site time `at`, where a former process stopped; at start only."""
        self._offset = at - self._monotonic()

    def wall(self) -> float:
        """Unix time in seconds."""
        return self._wall()

    def trusted(self) -> bool:
        """Whether the wall clock is synchronised, so that schedules and expiries may use it."""
        return self._trusted()

    def wall_at(self, now: float) -> float:
        """The wall time that belongs to the site time `now`, by the clocks' present offset."""
        return self._wall() - (self.now() - now)


def kernel_clock_synchronised() -> bool:
    """Ask the kernel (adjtimex(2)) whether something keeps the wall clock in step."""
    timex = (ctypes.c_long * 32)()  # modes = 0: read only; the struct is 208 bytes on 64-bit Linux
    try:
        return 0 <= int(ctypes.CDLL(None).adjtimex(timex)) < _TIME_ERROR
    except (OSError, AttributeError):
        return False
