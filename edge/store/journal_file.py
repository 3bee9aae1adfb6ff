"""The journal as a file: records that are never changed, and named blobs of retained state.

A record is on the medium when its commit returns. Runs on the writer's thread; its face on the loop
is `journal.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from edge.store.database import Ballast, Database

KEEP = 200_000  # records; the oldest make place
PRUNE_EVERY = 1000

SCHEMA = """
CREATE TABLE record (seq INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER NOT NULL, at REAL NOT NULL,
    kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE exported (row INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
INSERT INTO exported VALUES (1, 0);
"""


class Record(NamedTuple):
    """One line: wall ms, site time in seconds, kind, JSON. `seq` is 0 until it is stored."""

    seq: int
    ts: int
    at: float
    kind: str
    data: str


class State(NamedTuple):
    """Retained state under a name; the latest one counts."""

    name: str
    value: bytes


class Exported(NamedTuple):
    """Records up to `seq` stand in the outbox."""

    seq: int


Item = Record | State | Exported


class Opened(NamedTuple):
    """What was found at opening; `volatile` says why nothing is kept on disk, "" when it is."""

    aside: Path | None
    volatile: str


class Outcome(NamedTuple):
    """Whether the items are stored, the numbers of the records, and a damaged file set aside."""

    stored: bool
    numbers: list[int]
    opened: Opened | None


class JournalFile:
    """The file."""

    def __init__(self, path: Path, ballast: Ballast) -> None:
        self._path = path
        self._ballast = ballast
        self._db: Database
        self._pruned = 0

    def open(self) -> Opened:
        """Open, or begin an empty one beside a damaged one."""
        self._db = Database(self._path, SCHEMA, self._ballast)
        return Opened(self._db.aside, self._db.volatile)

    def close(self) -> None:
        """Close."""
        self._db.close()

    def apply(self, items: Sequence[Item]) -> Outcome:
        """Everything in one transaction; records make it durable, state and marks alone do not.

        Never raises for the file's sake: what could not be stored is said in the outcome.
        """
        opened: Opened | None = None
        for _ in range(2):
            try:
                numbers = self._commit(items)
            except sqlite3.Error as error:
                if self._db.recover(error):
                    opened = Opened(self._db.aside, self._db.volatile)
            else:
                self._db.settled()
                return Outcome(True, numbers, opened)
        return Outcome(False, [], opened)

    def _commit(self, items: Sequence[Item]) -> list[int]:
        records = [item for item in items if isinstance(item, Record)]
        numbers: list[int] = []
        with self._db.transaction(durable=bool(records)) as c:
            for record in records:
                row = c.execute(
                    "INSERT INTO record (ts, at, kind, data) VALUES (?, ?, ?, ?)", record[1:]
                )
                assert row.lastrowid is not None
                numbers.append(row.lastrowid)
            for item in items:
                if isinstance(item, State):
                    c.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", item)
                elif isinstance(item, Exported):
                    c.execute("UPDATE exported SET seq = max(seq, ?)", item)
            if numbers and numbers[-1] - self._pruned >= PRUNE_EVERY:
                c.execute("DELETE FROM record WHERE seq <= ?", (numbers[-1] - KEEP,))
                self._pruned = numbers[-1]
        return numbers

    def records(self, after: int, limit: int) -> list[Record]:
        """Records with a number above `after`, oldest first; [] when the file cannot be read."""
        with suppress(sqlite3.Error):
            found = self._db.connection.execute(
                "SELECT * FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
            ).fetchall()
            return [Record(*row) for row in found]
        return []

    def history(self, kind: str, since: int, until: int, limit: int) -> list[Record]:
        """The latest of a kind between two wall times in ms, oldest first; [] as for `records`."""
        with suppress(sqlite3.Error):
            found = self._db.connection.execute(
                "SELECT * FROM record WHERE kind = ? AND ts BETWEEN ? AND ? ORDER BY seq DESC"
                " LIMIT ?", (kind, since, until, limit),
            ).fetchall()  # fmt: skip
            return [Record(*row) for row in reversed(found)]
        return []

    def exported(self) -> int:
        """Records up to this number stand in the outbox."""
        with suppress(sqlite3.Error):
            seq: int = self._db.connection.execute("SELECT seq FROM exported").fetchone()[0]
            return seq
        return 0

    def state(self, name: str) -> bytes | None:
        """The blob last saved under `name`, None when there is none."""
        with suppress(sqlite3.Error):
            row = self._db.connection.execute(
                "SELECT value FROM state WHERE name = ?", (name,)
            ).fetchone()
            return None if row is None else bytes(row[0])
        return None


def read_state(path: Path, name: str) -> bytes | None:
    """The blob last saved under `name` in the file at `path`; None when it cannot be had.

    Changes nothing, whether or not a controller is using the file: without a WAL nobody does, and
    none must be made, since it would belong to whoever looks.
    """
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as database:
            row = database.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else bytes(row[0])
