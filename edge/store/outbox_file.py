"""The outbox as a file: numbered messages that stay until the broker has taken them.

A message's number `n` counts from 1 within its `stream`; a new stream begins with each file and
after each unclean stop, so that a pair (stream, n) never has two contents even when a power cut
took the last commits. Runs on the writer's thread; its face on the loop is `outbox.py`.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NamedTuple

from edge.store.database import Ballast, Database

GAP: Final = 0  # what was lost: never dropped itself
EVENT: Final = 1  # alarms, command answers: dropped last
SAMPLE: Final = 2  # values: dropped first

PARKED = 1000  # refused messages kept for whoever wants to look
SPARE = 10  # one part in so many is dropped at once, so that a long outage makes few gap records
TOPIC_EVENT: Final = "event"

SCHEMA = """
CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL,
    topic TEXT NOT NULL, body TEXT NOT NULL, ts INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE stream (base INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE parked (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, body TEXT NOT NULL,
    reason TEXT NOT NULL);
CREATE TABLE clean (stop INTEGER PRIMARY KEY);
"""


class Entry(NamedTuple):
    """A message on its way in. `body` is a JSON object; `ts` wall ms, `at` site time in seconds."""

    priority: int
    topic: str
    body: str
    ts: int
    at: float


class Refused(NamedTuple):
    """A row that the broker will not take, and what it said."""

    id: int
    reason: str


Item = Entry | Refused | int
"""What changes the file: a new message, a refused one, the id of a delivered one."""


class Row(NamedTuple):
    """A numbered message on its way out."""

    id: int
    stream: str
    n: int
    topic: str
    body: str
    priority: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that will never arrive. None where the extent is unknown; times are wall ms."""

    stream: str | None
    first: int | None
    last: int | None
    count: int | None
    reason: str
    since: int | None
    until: int


class Opened(NamedTuple):
    """What was found at opening; `volatile` says why nothing is kept on disk, "" when it is."""

    stream: str
    unclean: bool
    aside: Path | None
    volatile: str


class Outcome(NamedTuple):
    """Whether the items are stored, what was lost, and what was begun when the file was damaged."""

    stored: bool
    gaps: list[Gap]
    opened: Opened | None


class OutboxFile:
    """The file, and how far sending has come in the backlog and in what is new.

    `limit` in bytes, `age` in seconds bound what waits.
    """

    def __init__(self, path: Path, ballast: Ballast, limit: int, age: float) -> None:
        self._path = path
        self._ballast = ballast
        self._limit = limit
        self._age = age
        self._db: Database
        self._streams: list[tuple[int, str]] = []
        self._broken = False  # an empty file took the place of a damaged one, no stream in it yet
        self.waiting = 0
        self.oldest = 0.0  # site time of the oldest row, when one waits
        self._backlog = 0  # ids up to here were handed out, of those up to _split
        self._split = 0
        self._live = 0  # ids up to here were handed out, of those above _split

    # ── opening and closing ────────────────────────────────────────────────────────────────────

    def open(self, ts: int, at: float) -> Opened:
        """Open, begin a new stream unless the last stop was clean, and account for what is lost."""
        # The page cap is a second fence: rows cost more than their text, and parked ones count too.
        self._db = Database(self._path, SCHEMA, self._ballast, 2 * self._limit + (1 << 20))
        for _ in range(2):
            try:
                return self._begin(ts, at)
            except sqlite3.Error as caught:
                error = caught
                self._db.recover(error)
        self._db.forsake(error)
        return self._begin(ts, at)

    def _begin(self, ts: int, at: float) -> Opened:
        gap: Gap | None = None
        # FULL: if a power cut took this commit, the numbers handed out next could come again.
        with self._db.transaction(durable=True) as c:
            self._streams = c.execute("SELECT base, name FROM stream ORDER BY base").fetchall()
            clean = c.execute("DELETE FROM clean").rowcount > 0
            unclean = bool(self._streams) and not clean
            if unclean:
                base, name = self._streams[-1]
                gap = Gap(name, self._last_id() - base + 1, None, None, "unclean", None, ts)
            elif self._db.aside is not None:
                gap = Gap(None, None, None, None, "damaged", None, ts)
            if not self._streams or unclean:
                self._new_stream(max(self._last_id(), self._backlog, self._live))
            if gap is not None:
                self._insert([_gap_entry(gap, ts, at)])
        self.waiting = self._count()
        self.oldest = self._oldest()
        self.rewind()
        return Opened(self._streams[-1][1], unclean, self._db.aside, self._db.volatile)

    def _new_stream(self, base: int) -> None:
        """Number from `base` on: above every id handed out, also by a file now set aside."""
        c = self._db.connection
        c.execute("DELETE FROM sqlite_sequence WHERE name = 'message'")
        c.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (base,))
        c.execute("DELETE FROM stream WHERE base = ?", (base,))  # one that never had a message
        c.execute("INSERT INTO stream VALUES (?, ?)", (base, uuid.uuid4().hex))
        self._streams = c.execute("SELECT base, name FROM stream ORDER BY base").fetchall()
        oldest = c.execute("SELECT min(id) FROM message").fetchone()[0] or base + 1
        while len(self._streams) > 1 and self._streams[1][0] < oldest:
            c.execute("DELETE FROM stream WHERE base = ?", (self._streams.pop(0)[0],))

    def close(self) -> None:
        """Leave the mark of a clean stop; on a full disk there is none and a new stream begins."""
        try:
            with self._db.transaction(durable=True) as c:
                c.execute("INSERT OR IGNORE INTO clean VALUES (1)")
        except sqlite3.Error:
            pass
        self._db.close()

    # ── coming in, going out ───────────────────────────────────────────────────────────────────

    def apply(self, items: Sequence[Item], lost: Gap | None, ts: int, at: float) -> Outcome:
        """Commit `items`; on a full disk the oldest tenth goes, on a damaged file begin anew.

        Never raises for the file's sake: what could not be stored is said in the outcome.
        """
        entries = [item for item in items if isinstance(item, Entry)]
        delivered = [item for item in items if isinstance(item, int)]
        refused = [item for item in items if isinstance(item, Refused)]
        gaps: list[Gap] = []
        opened: Opened | None = None
        for attempt in range(3):
            try:
                if self._broken:
                    opened = self._begin(ts, at)
                    self._broken = False
                if attempt == 2:
                    gaps += self._make_room(ts, at)
                gaps += self._commit(entries, delivered, refused, lost, ts, at)
            except sqlite3.Error as error:
                self._broken |= self._db.recover(error)
            else:
                self._db.settled()
                self.oldest = self._oldest()
                return Outcome(True, gaps, opened)
        return Outcome(False, gaps, opened)

    def _make_room(self, ts: int, at: float) -> list[Gap]:
        """Dropped rows leave pages that are used again, also when the disk has none to give."""
        with self._db.transaction(durable=False):
            used = self._db.used()
            gaps = self._shed("disk", used - used // SPARE)
            self._insert([_gap_entry(gap, ts, at) for gap in gaps])
        self._db.shrink()
        return gaps

    def _commit(
        self,
        entries: Sequence[Entry],
        delivered: Sequence[int],
        refused: Sequence[Refused],
        lost: Gap | None,
        ts: int,
        at: float,
    ) -> list[Gap]:
        """Everything in one transaction, events on the medium; the gaps that it had to make."""
        durable = lost is not None or any(e.priority != SAMPLE for e in entries)
        before = self.waiting
        try:
            with self._db.transaction(durable=durable) as c:
                done = c.executemany(
                    "DELETE FROM message WHERE id = ?", [(i,) for i in delivered]
                ).rowcount
                self.waiting -= max(done, 0)  # -1 when there was none
                gaps = self._park(refused)
                if lost is not None:
                    gaps.append(lost)
                self._insert(entries)
                gaps += self._shed_old(at)
                if self._db.used() > self._limit:
                    gaps += self._shed("full", self._limit - self._limit // SPARE)
                self._insert([_gap_entry(gap, ts, at) for gap in gaps])
        except BaseException:
            self.waiting = before
            raise
        return gaps

    def take(self, limit: int) -> list[Row]:
        """The next rows to send. New ones go first, but a quarter is kept for the backlog.

        Each is handed out once, until `rewind`. A file that cannot be read gives none; the next
        `apply` finds out why.
        """
        try:
            return self._take(limit)
        except sqlite3.Error:
            return []

    def _take(self, limit: int) -> list[Row]:
        new = self._select(self._live, 1 << 62, limit)
        room = max(limit - len(new), (limit + 3) // 4)
        old = self._select(self._backlog, self._split, room)
        new = new[: limit - len(old)]
        if old:
            self._backlog = old[-1].id
        if new:
            self._live = new[-1].id
        return old + new

    def rewind(self) -> None:
        """A new connection: everything that still waits is backlog, oldest first."""
        self._backlog = 0
        self._live = self._split = self._last_id()

    def parked(self) -> list[tuple[int, str, str, str]]:
        """The refused messages that were kept: number in the file, topic, body, reason."""
        return self._db.connection.execute("SELECT * FROM parked ORDER BY id").fetchall()

    def _select(self, above: int, up_to: int, limit: int) -> list[Row]:
        if above >= up_to or limit <= 0:
            return []
        found = self._db.connection.execute(
            "SELECT id, topic, body, priority FROM message WHERE id > ? AND id <= ?"
            " ORDER BY id LIMIT ?",
            (above, up_to, limit),
        ).fetchall()
        return [Row(i, *self._number(i), topic, body, p) for i, topic, body, p in found]

    def _insert(self, entries: Sequence[Entry]) -> None:
        self._db.connection.executemany(
            "INSERT INTO message (priority, topic, body, ts, at) VALUES (?, ?, ?, ?, ?)", entries
        )
        self.waiting += len(entries)

    def _number(self, id: int) -> tuple[str, int]:
        """The stream of a row and its number in it."""
        for base, name in reversed(self._streams):
            if id > base:
                return name, id - base
        raise ValueError(f"row {id} is older than every stream")

    # ── losing ─────────────────────────────────────────────────────────────────────────────────

    def _park(self, refused: Sequence[Refused]) -> list[Gap]:
        """Set refused rows aside; a refused gap record makes no further one."""
        c = self._db.connection
        lost: list[tuple[int, int]] = []
        for id, reason in refused:
            row = c.execute("SELECT priority, ts FROM message WHERE id = ?", (id,)).fetchone()
            if row is None:
                continue
            c.execute(
                "INSERT INTO parked SELECT id, topic, body, ? FROM message WHERE id = ?",
                (reason, id),
            )
            c.execute("DELETE FROM message WHERE id = ?", (id,))
            self.waiting -= 1
            if row[0] != GAP:
                lost.append((id, row[1]))
        if refused:
            c.execute(
                "DELETE FROM parked WHERE id <= (SELECT id FROM parked ORDER BY id DESC"
                " LIMIT 1 OFFSET ?)", (PARKED,),
            )  # fmt: skip
        return self._gaps(lost, "refused")

    def _shed_old(self, at: float) -> list[Gap]:
        """Drop samples past their age, a tenth of it at a time."""
        oldest = self._db.connection.execute(
            f"SELECT at FROM message WHERE priority = {SAMPLE} ORDER BY id LIMIT 1"
        ).fetchone()
        if oldest is None or at - oldest[0] <= self._age * (1 + 1 / SPARE):
            return []
        lost = self._drop(f"priority = {SAMPLE} AND at < ?", (at - self._age,), -1)
        return self._gaps(lost, "age")

    def _shed(self, reason: str, target: int) -> list[Gap]:
        """Drop the oldest samples, then the oldest events, until `target` bytes are in use."""
        lost: list[tuple[int, int]] = []
        for priority in (SAMPLE, EVENT):
            while self._db.used() > target:
                dropped = self._drop(f"priority = {priority}", (), self.waiting // SPARE + 1)
                if not dropped:
                    break
                lost += dropped
        return self._gaps(lost, reason)

    def _drop(self, where: str, values: tuple[float, ...], limit: int) -> list[tuple[int, int]]:
        """Delete rows that are not on their way to the broker; (id, ts) of each."""
        c = self._db.connection
        lost = c.execute(
            f"SELECT id, ts FROM message WHERE {where} AND (id > ? AND id <= ? OR id > ?)"
            " ORDER BY id LIMIT ?",
            (*values, self._backlog, self._split, self._live, limit),
        ).fetchall()
        c.executemany("DELETE FROM message WHERE id = ?", [(id,) for id, _ in lost])
        self.waiting -= len(lost)
        return lost

    def _gaps(self, lost: Sequence[tuple[int, int]], reason: str) -> list[Gap]:
        """One record per stream for rows (id, ts): how many of first..last will never arrive."""
        streams: dict[str, list[tuple[int, int]]] = {}
        for id, ts in lost:
            name, n = self._number(id)
            streams.setdefault(name, []).append((n, ts))
        gaps = []
        for name, rows in streams.items():
            numbers, stamps = zip(*rows, strict=True)
            first, last = min(numbers), max(numbers)
            gaps.append(Gap(name, first, last, len(rows), reason, min(stamps), max(stamps)))
        return gaps

    def _count(self) -> int:
        count: int = self._db.connection.execute("SELECT count(*) FROM message").fetchone()[0]
        return count

    def _oldest(self) -> float:
        query = "SELECT at FROM message ORDER BY id LIMIT 1"
        row = self._db.connection.execute(query).fetchone()
        return float(row[0]) if row else 0.0

    def _last_id(self) -> int:
        row = self._db.connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'message'"
        ).fetchone()
        return int(row[0]) if row else 0


def _gap_entry(gap: Gap, ts: int, at: float) -> Entry:
    body = json.dumps({"ts": ts, "kind": "gap", "gap": asdict(gap)}, separators=(",", ":"))
    return Entry(GAP, TOPIC_EVENT, body, ts, at)
