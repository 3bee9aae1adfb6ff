"""A real process, really killed while it writes."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.store.database import Ballast
from edge.store.journal import Journal
from edge.store.outbox_file import SAMPLE
from edge.store.writer import Writer
from tests.edge.store.parts import Seen, Times, drain, outbox_file


@pytest.mark.slow
def test_killed_at_random_points(tmp_path: Path) -> None:
    """After each of five kills what was promised is there, unexported records too."""
    sent: dict[tuple[str, int], str] = {}
    delivered: set[str] = set()
    chance = random.Random(7)
    for _ in range(5):
        lines = _killed(tmp_path, chance.uniform(0.3, 0.7))
        records = [int(line[1]) for line in lines if line[0] == "record"]
        samples = [int(line[1]) for line in lines if line[0] == "sample"]
        for line in lines:
            if line[0] == "sent":
                pair, body = (line[1], int(line[2])), line[3]
                assert body == sent.setdefault(pair, body)
                delivered.add(body)
        assert records
        assert samples
        asyncio.run(_check_journal(tmp_path, records))
        file = outbox_file(tmp_path)
        file.open(0, 0.0)
        rows = drain(file)
        file._db.connection.close()  # no mark of a clean stop
        for row in rows:
            assert row.body == sent.setdefault((row.stream, row.n), row.body)
        found = {json.loads(r.body)["i"] for r in rows if r.priority == SAMPLE}
        found |= {json.loads(b)["i"] for b in delivered if '"i"' in b}
        assert set(range(max(samples) + 1)) <= found
        for name in ("outbox.db", "outbox.db-wal", "outbox.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        delivered.clear()


def _killed(directory: Path, after: float) -> list[list[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.edge.store.killed_writer", str(directory)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(after)
    process.kill()
    text = first + process.stdout.read()
    process.wait()
    process.stdout.close()
    complete = text[: text.rfind("\n")]
    return [line.split(" ") for line in complete.split("\n")]


async def _check_journal(directory: Path, promised: list[int]) -> None:
    """Every promised record is there; one that is not in the outbox is named by `unexported`."""
    writer = Writer()
    journal = Journal(
        directory / "journal.db", writer, Ballast(directory / "ballast", 0),
        Times().clock(), Seen().events,
    )  # fmt: skip
    await journal.open()
    there = {record.seq for record in await journal.records()}
    assert set(promised) <= there
    file = outbox_file(directory)
    file.open(0, 0.0)
    exported = {json.loads(r.body).get("seq") for r in file.take(10**6)}
    file._db.connection.close()
    missed = {record.seq for record in await journal.unexported()}
    recent = {seq for seq in there if seq > max(there) - 3}
    assert recent <= exported | missed
    assert len(missed) <= 2
    journal.exported(max(there))
    await journal.close()
    await writer.close()
