"""An asyncio loop in virtual time: when nothing is ready it jumps to the next timer.

Deterministic, and an hour of scans takes a moment. Loopback sockets need real time; use the real
loop for those. Used by `edge/proof/play.py` and by tests.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: it moves the loop's time instead. A real wait of at most 1 ms serves threads."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or self.loop is None:
            return events
        if timeout is None:  # nothing but a thread can wake us
            return super().select(5.0)
        if self.loop.patience:
            events = super().select(self.loop.patience)
        if not events:
            self.loop.advance(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """`patience`: real seconds granted to sockets and threads before each jump, 0 for none."""

    def __init__(self, patience: float = 0.0) -> None:
        selector = _JumpingSelector()
        super().__init__(selector)
        self.patience = patience
        self._virtual = 0.0
        selector.loop = self

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Jump."""
        self._virtual += max(seconds, 0.0)


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]], *, patience: float = 0.0, most: float | None = 1e6
) -> T:
    """Run `main()` in virtual time; more than `most` virtual seconds are a `TimeoutError`."""
    loop = VirtualLoop(patience)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(asyncio.wait_for(main(), most))
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(_ended(pending))
        asyncio.set_event_loop(None)
        loop.close()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait for the end of what was cancelled; how it ended is nobody's business any more."""
    done, _ = await asyncio.wait(tasks)
    for task in done:
        if not task.cancelled():
            task.exception()
