"""The one thread that owns the SQLite connections: jobs in, futures out, in order.

A commit on a worn SD card may stall for a second, so none runs on the loop. Not a database: what a
job does is in `outbox_file.py` and `journal_file.py`; their faces on the loop call it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
Item = TypeVar("Item")


class Writer:
    """Runs jobs one after another. Made once per controller, closed after everything that uses it.

    `threaded=False` runs each job at once on the caller's thread: for virtual time, where a loop
    must never wait for a thread that its clock knows nothing of.
    """

    def __init__(self, *, threaded: bool = True) -> None:
        self._pool = ThreadPoolExecutor(1, "store") if threaded else None

    def call(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Queue a job; the future brings what it returns or raises. Called on the loop."""
        loop = asyncio.get_running_loop()
        if self._pool is not None:
            return asyncio.wrap_future(self._pool.submit(job, *args, **kwargs), loop=loop)
        done: asyncio.Future[T] = loop.create_future()
        done.set_result(job(*args, **kwargs))
        return done

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        if self._pool is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)


class Batches(Generic[Item, T]):
    """Gathers items and gives them to one job at a time, so that many share a commit.

    `job` runs on the writer's thread with all items gathered so far, `done` afterwards on the loop
    with the items and the job's result.
    """

    def __init__(
        self,
        writer: Writer,
        job: Callable[[list[Item]], T],
        done: Callable[[list[Item], T], None],
    ) -> None:
        self._writer = writer
        self._job = job
        self._done = done
        self._running: asyncio.Future[T] | None = None
        self._timer: asyncio.Handle | None = None
        self._due = 0.0  # kept here: uvloop's handle of a time that has passed has no `when`
        self.items: list[Item] = []

    def put(self, item: Item, within: float) -> None:
        """Add an item; its job starts at the latest after `within` seconds."""
        self.items.append(item)
        loop = asyncio.get_running_loop()
        due = loop.time() + within
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = loop.call_at(due, self._start)

    async def flush(self) -> None:
        """Return when a job has had everything that was put before this call."""
        while self._running is not None:
            await asyncio.wait([self._running])
        if self.items:
            self._start()
            if self._running is not None:
                await asyncio.wait([self._running])

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None or not self.items:
            return  # `_finished` starts the next one
        items, self.items = self.items, []
        self._running = self._writer.call(self._job, items)
        self._running.add_done_callback(lambda future: self._finished(items, future))

    def _finished(self, items: list[Item], future: asyncio.Future[T]) -> None:
        self._running = None
        try:
            self._done(items, future.result())
        finally:  # a bug in one job must not leave the next ones waiting for ever
            if self.items and self._timer is None:
                self._start()
