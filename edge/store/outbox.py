"""The outbox on the loop: adding is cheap, numbering and storing happen on the writer's thread.

At least once: a message stays until `delivered`, is set aside when `refused`, and whatever is
dropped leaves a gap record that is itself a message. `edge.uplink` and the app add and take.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.clock import Clock
from edge.events import OUTBOX_GAP, OUTBOX_UNCLEAN, STORE_DAMAGED, Events
from edge.store.database import Ballast
from edge.store.outbox_file import (
    SAMPLE,
    Entry,
    Gap,
    Item,
    Opened,
    OutboxFile,
    Outcome,
    Refused,
    Row,
)
from edge.store.writer import Batches, Writer
from edge.text import Text

COMMIT_WITHIN = 0.5  # seconds that a sample may wait for others to share its commit
REASONS = {
    "full": Text("缓存已满", "outbox full"),
    "age": Text("超过保存时间", "too old"),
    "disk": Text("磁盘已满", "disk full"),
}
PENDING = 20_000  # messages that may wait in memory while the disk takes none


class Outbox:
    """Messages on their way to one broker. Opened and closed by the app.

    `on_stored` is called when there may be something new to take. `limit` in bytes, `age` in
    seconds.
    """

    def __init__(
        self,
        path: Path,
        writer: Writer,
        ballast: Ballast,
        clock: Clock,
        events: Events,
        *,
        limit: int,
        age: float,
    ) -> None:
        self._file = OutboxFile(path, ballast, limit, age)
        self._path = path
        self._writer = writer
        self._ballast = ballast
        self._clock = clock
        self._events = events
        self._batches: Batches[Item, Outcome] = Batches(writer, self._apply, self._applied)
        self._lost: Gap | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}
        self.on_stored: Callable[[], None] = lambda: None
        self.stream = ""
        self.waiting = 0  # stored and not yet delivered
        self.gaps = 0  # records of loss made since the start

    async def open(self) -> None:
        """Open the file, set a damaged one aside, find the stream."""
        opened = await self._writer.call(self._file.open, self._ts(), self._clock.now())
        self._report(opened)
        self.waiting = self._file.waiting

    def add(
        self, priority: int, topic: str, body: str, then: Callable[[], None] | None = None
    ) -> None:
        """Queue a message: a topic below the root and a JSON object, neither stream nor n in it.

        Events are stored at once, samples within half a second. `then` is called when it is stored.
        """
        entry = Entry(priority, topic, body, self._ts(), self._clock.now())
        if then is not None:
            self._callbacks[id(entry)] = then
        self._batches.put(entry, COMMIT_WITHIN if priority == SAMPLE else 0.0)

    def oldest(self) -> float:
        """Seconds that the oldest message has been waiting, 0 when none is."""
        return self._clock.now() - self._file.oldest if self.waiting else 0.0

    async def flush(self) -> None:
        """Store what was added so far."""
        await self._batches.flush()

    async def take(self, limit: int) -> list[Row]:
        """The next rows to send, each once until `rewind`; [] when there is none at this moment."""
        return await self._writer.call(self._file.take, limit)

    async def rewind(self) -> None:
        """Begin again with the oldest row: what was taken and is not delivered comes once more."""
        await self.flush()
        await self._writer.call(self._file.rewind)

    def delivered(self, id: int) -> None:
        """The broker has the row."""
        self._batches.put(id, COMMIT_WITHIN)

    def refused(self, id: int, reason: str) -> None:
        """The broker will not have the row: set it aside, leave a gap record."""
        self._batches.put(Refused(id, reason), COMMIT_WITHIN)

    async def parked(self) -> list[tuple[int, str, str, str]]:
        """The refused messages that were kept: row, topic, body, reason."""
        return await self._writer.call(self._file.parked)

    async def close(self) -> None:
        """Store everything and leave the mark of a clean stop."""
        await self.flush()
        await self._writer.call(self._file.close)

    def _ts(self) -> int:
        return round(self._clock.wall() * 1000)

    def _apply(self, items: list[Item]) -> Outcome:
        return self._file.apply(items, self._lost, self._ts(), self._clock.now())

    def _applied(self, items: list[Item], outcome: Outcome) -> None:
        self.waiting = self._file.waiting
        if outcome.stored:
            self._lost = None
            for item in items:
                if then := self._callbacks.pop(id(item), None):
                    then()
        else:
            self._keep(items)
        self.gaps += len(outcome.gaps)
        for gap in outcome.gaps:
            if gap.reason in REASONS:  # a refused row has an event of its own
                self._events.emit(
                    OUTBOX_GAP,
                    count=gap.count,
                    first=gap.first or "?",
                    last=gap.last or "?",
                    reason=REASONS[gap.reason],
                )
        if outcome.opened is not None:
            self._report(outcome.opened)
        self._ballast.report(self._events)
        self.on_stored()

    def _keep(self, items: list[Item]) -> None:
        """The disk took nothing: wait in memory, the oldest samples make place for what comes."""
        waiting = items + self._batches.items
        excess = len(waiting) - PENDING
        samples = [
            i for i, e in enumerate(waiting) if isinstance(e, Entry) and e.priority == SAMPLE
        ]
        dropped = set(samples[: max(excess, 0)])
        for i in dropped:
            self._count_lost(waiting[i])
        self._batches.items = []
        for i, item in enumerate(waiting):
            if i not in dropped:
                self._batches.put(item, COMMIT_WITHIN)

    def _count_lost(self, entry: Item) -> None:
        assert isinstance(entry, Entry)
        self._callbacks.pop(id(entry), None)
        lost = self._lost or Gap(self.stream, None, None, 0, "disk", entry.ts, entry.ts)
        self._lost = Gap(
            lost.stream, None, None, (lost.count or 0) + 1, "disk", lost.since, entry.ts
        )

    def _report(self, opened: Opened) -> None:
        self.stream = opened.stream
        if opened.aside is not None:
            self._events.emit(STORE_DAMAGED, file=self._path.name, aside=opened.aside.name)
        if opened.unclean:
            self._events.emit(OUTBOX_UNCLEAN, stream=opened.stream)
        if opened.volatile:
            self._ballast.release(opened.volatile)
        self._ballast.report(self._events)
