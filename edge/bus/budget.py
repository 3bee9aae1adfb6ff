"""How often an output may be written, and how often it has been: registers wear out.

Kept over restarts by the app. Asked by the mailbox, counted by what carries its letters.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from edge.events import WRITES_SPENT, Events
from edge.site.site import Output

DAY = 86400.0
EEPROM_WRITES = 10  # a day; an EEPROM cell endures some 100,000


class Budget:
    """The writes of one output. Those of a protection are counted and never wait.

    `worn` is called when those of a day have changed: they are to be kept at once.
    """

    def __init__(
        self,
        point: str,
        output: Output | None,
        events: Events,
        worn: Callable[[], None] = lambda: None,
    ) -> None:
        self.count = 0  # ever
        self._point, self._events, self._worn = point, events, worn
        self._interval = output.write_interval if output is not None else 0.0
        self._today: deque[float] | None = None
        if output is not None and output.eeprom:
            self._today = deque(maxlen=EEPROM_WRITES + 1)  # one more, for a refund
        self._last = float("-inf")
        self._told = False

    def free_at(self, now: float) -> float:
        """When it may be written again; says so, once, when that is tomorrow."""
        free, spent = self.free(now)
        if spent and not self._told:
            self._told = True
            self._events.emit(WRITES_SPENT, point=self._point, most=EEPROM_WRITES)
        return free

    def free(self, now: float) -> tuple[float, bool]:
        """When it may be written again, and whether its day is spent; nobody is told."""
        free, renewed = self._last + self._interval, -math.inf
        if self._today is not None and len(self._today) >= EEPROM_WRITES:
            renewed = self._today[-EEPROM_WRITES] + DAY
        return max(free, renewed), renewed > now

    def spend(self, now: float) -> None:
        """Count a write that goes out now."""
        self.count += 1
        self._last = now
        self._told = False
        if self._today is not None:
            self._today.append(now)
            self._worn()

    def refund(self) -> None:
        """The write did not take place after all; the next one still keeps its distance."""
        self.count -= 1
        if self._today:
            self._today.pop()
            self._worn()

    def retain(self) -> dict[str, Any]:
        """As plain data."""
        return {"count": self.count, "today": list(self._today or ())}

    def restore(self, kept: Mapping[str, Any], now: float) -> None:
        """Go on counting. Where site time has lost its way, all that is known counts from now."""
        self.count = int(kept["count"])
        if self._today is not None:
            self._today.extend(min(at, now) for at in kept["today"])
