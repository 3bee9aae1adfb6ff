"""What a driver may ask of its bus task: the port `edge.driver.Host`, with a memory that lasts.

The memory belongs to the bus, not to the connection: a driver is made anew at each reconnect and
finds what its predecessor learned. Made by the bus task, and by what opens a bus for a moment
(`edge read`, `edge failsafe`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.driver import Kept, Poll, Sample
from edge.events import Event, Events


class BusHost:
    """One bus's `Host`. `memory` is by device; `changed` is called when it has."""

    def __init__(
        self,
        *,
        writes: bool = True,
        deliver: Callable[[Poll, Sample], None] = lambda _poll, _sample: None,
        events: Events | None = None,
        memory: dict[str, Kept] | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.writes = writes
        self.deliver = deliver
        self.memory: dict[str, Kept] = {} if memory is None else memory
        self._events = events
        self._changed = changed

    def emit(self, event: Event, **fields: Any) -> None:
        """Tell of something; nobody listens when the bus is open for a moment only."""
        if self._events is not None:
            self._events.emit(event, **fields)

    def recall(self, device: str) -> Kept:
        """What was kept of a device."""
        return self.memory.get(device, {})

    def keep(self, device: str, kept: Kept) -> None:
        """Replace what is kept of a device."""
        if self.memory.get(device, {}) != kept:
            self.memory[device] = kept
            self._changed()
