"""Restart a failed edge task with growing delays, while its siblings go on.

Used for everything but the scan: if that ends, the process must end. One of the two places where
`except Exception` stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from edge.clock import Clock
from edge.errors import Fatal
from edge.events import TASK_FAILED, Events

HEALTHY = 30.0  # seconds of running after which the delay starts small again


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    clock: Clock,
    events: Events,
    *,
    first: float = 1.0,
    longest: float = 60.0,
) -> None:
    """Run for ever. A library that turns our cancellation into another error is not restarted."""
    delay = first
    while True:
        started = clock.now()
        error: Exception | None = None
        try:
            await run()
        except Fatal:
            raise
        except Exception as caught:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from caught
            error = caught
        if clock.now() - started >= HEALTHY:
            delay = first
        events.emit(TASK_FAILED, task=name, error=repr(error), retry=delay, exc_info=error)
        await asyncio.sleep(delay)
        delay = min(2 * delay, longest)
