"""A process that fills a store until it is killed; each line it prints is a promise it made.

`python -m tests.edge.store.killed_writer DIRECTORY`: prints `sample I` and `record SEQ I` once each
of them is stored, for `test_killed.py` to compare with what is found afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from edge.clock import Clock
from edge.events import Events
from edge.store.database import Ballast
from edge.store.journal import Journal
from edge.store.outbox import Outbox
from edge.store.outbox_file import EVENT, SAMPLE
from edge.store.state import Lock
from edge.store.writer import Writer


async def fill(directory: Path) -> None:
    """Add samples, records and their exports for ever; deliver a few of the rows."""
    clock, events, writer = Clock(), Events(), Writer()
    ballast = Ballast(directory / "ballast", 1 << 20)
    journal = Journal(directory / "journal.db", writer, ballast, clock, events)
    outbox = Outbox(
        directory / "outbox.db", writer, ballast, clock, events, limit=64 << 20, age=1e9
    )
    await journal.open()
    await outbox.open()
    journal.on_stored = lambda record: outbox.add(
        EVENT, "event", f'{{"seq":{record.seq}}}', lambda: journal.exported(record.seq)
    )
    for i in itertools.count():
        for k in range(20):
            outbox.add(SAMPLE, "d/x", f'{{"i":{i * 20 + k}}}')
        seq = await journal.add("alarm", {"i": i})
        print("record", seq, i, flush=True)
        await outbox.flush()
        print("sample", i * 20 + 19, flush=True)
        if i % 3 == 0:
            for row in await outbox.take(7):
                print("sent", row.stream, row.n, row.body, flush=True)
                outbox.delivered(row.id)


if __name__ == "__main__":
    with Lock(Path(sys.argv[1])):
        asyncio.run(fill(Path(sys.argv[1])))
