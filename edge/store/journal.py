"""The journal on the loop: alarm transitions, commands, leases, and retained state.

What is added is on the medium when its future is done, and survives `kill -9` and a power cut.
The app opens it; alarms, commands and retention add to it; `edge/uplink/export.py` sends it up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.events import STORE_DAMAGED, Events
from edge.store.database import Ballast
from edge.store.journal_file import Exported, Item, JournalFile, Opened, Outcome, Record, State
from edge.store.writer import Batches, Writer

PENDING = 10_000  # records that may wait in memory while the disk takes none


class Journal:
    """Append-only records and named state.

    `on_stored` is called once with each record, in order; its number is 0 when the disk takes
    nothing and the record waits in memory.
    """

    def __init__(
        self, path: Path, writer: Writer, ballast: Ballast, clock: Clock, events: Events
    ) -> None:
        self._file = JournalFile(path, ballast)
        self._path = path
        self._writer = writer
        self._ballast = ballast
        self._clock = clock
        self._events = events
        self._batches: Batches[Item, Outcome] = Batches(writer, self._file.apply, self._applied)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self.on_stored: Callable[[Record], None] = lambda record: None

    async def open(self) -> None:
        """Open the file; a damaged one is set aside."""
        self._report(await self._writer.call(self._file.open))
        self._ballast.fill()

    def add(self, kind: str, data: Mapping[str, Any]) -> asyncio.Future[int]:
        """Append a record, at once; what waits at the same moment shares the commit.

        The future brings its number when it is on the medium, 0 when the disk takes nothing: then
        it is kept in memory and tried again.
        """
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        record = Record(0, round(self._clock.wall() * 1000), self._clock.now(), kind, text)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[id(record)] = done
        self._batches.put(record, 0.0)
        return done

    def save_state(self, name: str, value: bytes, within: float = 1.0) -> None:
        """Keep `value` under `name`; it shares the commit of whatever comes within that time."""
        self._batches.put(State(name, value), within)

    async def load_state(self, name: str) -> bytes | None:
        """What was last saved under `name`, None when nothing was."""
        await self.flush()
        return await self._writer.call(self._file.state, name)

    def exported(self, seq: int) -> None:
        """Records up to `seq` stand in the outbox and need not be sent again after a crash."""
        self._batches.put(Exported(seq), 0.2)

    async def unexported(self) -> list[Record]:
        """The records that a crash kept from the outbox."""
        await self.flush()
        after = await self._writer.call(self._file.exported)
        return await self.records(after)

    async def records(self, after: int = 0, limit: int = 100_000) -> list[Record]:
        """Records with a number above `after`, oldest first."""
        return await self._writer.call(self._file.records, after, limit)

    async def history(self, kind: str, since: float, until: float, limit: int) -> list[Record]:
        """The latest records of a kind between two Unix times, oldest first."""
        ends = round(since * 1000), round(until * 1000)
        return await self._writer.call(self._file.history, kind, *ends, limit)

    async def flush(self) -> None:
        """Store what was added so far."""
        await self._batches.flush()

    async def close(self) -> None:
        """Store everything and close."""
        await self.flush()
        await self._writer.call(self._file.close)

    def _applied(self, items: list[Item], outcome: Outcome) -> None:
        numbers = iter(outcome.numbers)
        for item in items:
            if isinstance(item, Record):
                seq = next(numbers, 0)
                done = self._waiting.pop(id(item), None)
                if done is None:
                    continue  # it was told of when the disk was full
                if not done.done():
                    done.set_result(seq)
                self.on_stored(item._replace(seq=seq))
        if outcome.opened is not None:
            self._report(outcome.opened)
        if not outcome.stored:
            self._keep(items)
        self._ballast.report(self._events)

    def _keep(self, items: list[Item]) -> None:
        """The disk took nothing: wait in memory, the oldest make place for what comes."""
        waiting = (items + self._batches.items)[-PENDING:]
        self._batches.items = []
        for item in waiting:
            self._batches.put(item, 0.5)

    def _report(self, opened: Opened) -> None:
        if opened.aside is not None:
            self._events.emit(STORE_DAMAGED, file=self._path.name, aside=opened.aside.name)
        if opened.volatile:
            self._ballast.release(opened.volatile)
        self._ballast.report(self._events)
