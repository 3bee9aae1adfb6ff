"""A SQLite file that is never a reason not to start, and a ballast for the day the disk is full.

A damaged file is set aside and an empty one takes its place; on a full disk the ballast is given
up, and without any room the data lives in memory. Used by `outbox_file.py` and `journal_file.py`,
on the writer's thread only.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from edge.events import STORE_BACK, STORE_FULL, Events

VERSION = 1  # of both schemas; a file with another one is set aside like a damaged one
PAGE = 4096
DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class Ballast:
    """A file that only takes room, so that giving it up lets a full disk take a commit again.

    On a full file system even DELETE and a checkpoint fail: they write to the WAL first. One per
    state directory; it also knows whether the disk is in trouble, for one event at each edge.
    """

    def __init__(self, path: Path, size: int = 4 << 20) -> None:
        self._path = path
        self._size = size
        self._reported = ""
        self.trouble = ""  # why the disk cannot be written, "" when it can

    def fill(self) -> None:
        """Take the room if there is plenty; that ends the trouble."""
        if self._path.exists() or self._take():
            self.trouble = ""

    def _take(self) -> bool:
        try:
            free = os.statvfs(self._path.parent)
            if free.f_bavail * free.f_frsize < 4 * self._size:
                return False
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def release(self, reason: str) -> None:
        """Give the room up, because of `reason`."""
        self.trouble = reason
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def report(self, events: Events) -> None:
        """Emit that the trouble began or ended since the last call. Called on the loop."""
        trouble = self.trouble
        if trouble and not self._reported:
            events.emit(STORE_FULL, reason=trouble)
        elif self._reported and not trouble:
            events.emit(STORE_BACK)
        self._reported = trouble


class Database:
    """One open file in WAL mode.

    After opening, `aside` is where a damaged predecessor was moved to, and `volatile` says why the
    data lives in memory only ("" when it is on disk). `limit` caps the file in bytes.
    """

    def __init__(self, path: Path, schema: str, ballast: Ballast, limit: int | None = None) -> None:
        self.path = path
        self.aside: Path | None = None
        self.volatile = ""
        self._schema = schema
        self._ballast = ballast
        self._limit = limit
        self.connection = self._open()

    def _open(self) -> sqlite3.Connection:
        for attempt in range(3):
            try:
                return self._prepare(str(self.path))
            except sqlite3.Error as error:
                self.volatile = f"{self.path}: {error}"
                if attempt == 0 and damaged(error):
                    self._set_aside()
                else:
                    self._ballast.release(self.volatile)
        return self._prepare(":memory:")

    def _prepare(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=5, isolation_level=None)
        try:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _damage("quick_check found errors")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 256")
            if self._limit is not None:
                connection.execute(f"PRAGMA max_page_count = {self._limit // PAGE}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise _damage(f"schema version {version}")
            if version == 0:
                connection.executescript(
                    f"BEGIN IMMEDIATE;{self._schema}PRAGMA user_version = {VERSION};COMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        if path != ":memory:":
            self.volatile = ""
        return connection

    def _set_aside(self) -> None:
        """Move the file and its WAL out of the way, keeping both for whoever wants to look."""
        suffix = time.strftime(".damaged-%Y%m%dT%H%M%S", time.gmtime())
        self.aside = self.path.with_name(self.path.name + suffix)
        for ending in ("", "-wal"):
            with suppress(OSError):
                os.replace(f"{self.path}{ending}", f"{self.aside}{ending}")
        with suppress(OSError):
            os.unlink(f"{self.path}-shm")

    def replace_damaged(self) -> None:
        """Go on with an empty file after an error that says the present one is damaged."""
        with suppress(sqlite3.Error):
            self.connection.close()
        self._set_aside()
        self.connection = self._open()

    def recover(self, error: sqlite3.Error) -> bool:
        """After a failed transaction: an empty file when it is damaged (True), else more room."""
        if damaged(error):
            self.replace_damaged()
            return True
        self._ballast.release(f"{self.path.name}: {error}")
        self.shrink()
        return False

    def forsake(self, error: sqlite3.Error) -> None:
        """Go on in memory: the disk takes nothing at all."""
        with suppress(sqlite3.Error):
            self.connection.close()
        self.volatile = f"{self.path.name}: {error}"
        self.connection = self._prepare(":memory:")

    def settled(self) -> None:
        """A transaction went well: if room is there again, the trouble is over."""
        if self._ballast.trouble and not self.volatile:
            self._ballast.fill()

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """All or nothing. `durable`: on the medium when this returns, power cut or not.

        Otherwise a power cut may take the last commits; a killed process loses nothing either way.
        """
        connection = self.connection
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def used(self) -> int:
        """Bytes in use, free pages not counted."""
        pages: int = self.connection.execute("PRAGMA page_count").fetchone()[0]
        free: int = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        return (pages - free) * PAGE

    def shrink(self) -> None:
        """Give the WAL's room back to the file system."""
        with suppress(sqlite3.Error), closing(self.connection.cursor()) as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close; the last connection also folds the WAL into the file."""
        self.connection.close()


def damaged(error: sqlite3.Error) -> bool:
    """Whether the error says that the file itself is damaged, not merely out of room."""
    name = getattr(error, "sqlite_errorname", "") or ""
    return name.startswith(DAMAGED)


def _damage(reason: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error
