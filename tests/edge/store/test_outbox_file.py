"""The outbox as a file: numbers, order, bounds, crashes, full disks and damaged files."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store import database
from edge.store.outbox_file import EVENT, GAP, SAMPLE, Entry, OutboxFile, Refused
from tests.edge.store.parts import MEGABYTE, drain, gaps, outbox_file, sample


def test_numbers_count_from_one_and_survive_an_empty_table(tmp_path: Path) -> None:
    """Within a stream n counts on, also when every row was delivered and the file was closed."""
    file = outbox_file(tmp_path)
    stream = file.open(0, 0.0).stream
    file.apply([sample({"i": 1}), sample({"i": 2})], None, 0, 0.0)
    assert [(stream, 1), (stream, 2)] == [(r.stream, r.n) for r in drain(file)]
    file.close()
    opened = file.open(0, 0.0)
    file.apply([sample({"i": 3})], None, 0, 0.0)
    assert (opened.unclean, [(stream, 3)]) == (False, [(r.stream, r.n) for r in drain(file)])
    file.close()


def test_unclean_stop_begins_a_stream(tmp_path: Path) -> None:
    """After a kill, waiting rows keep their numbers, a stream begins, a gap record says so."""
    file = outbox_file(tmp_path)
    first = file.open(0, 0.0).stream
    file.apply([sample({"i": 1})], None, 0, 0.0)
    again = outbox_file(tmp_path)
    opened = again.open(5, 0.0)
    again.apply([sample({"i": 2})], None, 0, 0.0)
    rows = drain(again)
    assert opened.unclean
    assert opened.stream != first
    assert [(first, 1), (opened.stream, 1), (opened.stream, 2)] == [(r.stream, r.n) for r in rows]
    (gap,) = gaps(rows)
    assert (first, 2, None, "unclean") == (
        gap["stream"], gap["first"], gap["last"], gap["reason"],
    )  # fmt: skip


def test_clean_stop_counts_once(tmp_path: Path) -> None:
    """The mark of a clean stop is used up by the next start: a kill after it is still noticed."""
    file = outbox_file(tmp_path)
    first = file.open(0, 0.0).stream
    file.close()
    assert (first, False) == outbox_file(tmp_path).open(0, 0.0)[:2]
    assert outbox_file(tmp_path).open(0, 0.0).unclean


def test_events_are_on_the_medium_and_samples_share_a_checkpoint(tmp_path: Path) -> None:
    """A commit with an event is synced (FULL = 2), one with samples only is not (NORMAL = 1)."""
    file = outbox_file(tmp_path)
    file.open(0, 0.0)
    levels = []
    for priority in (SAMPLE, EVENT, SAMPLE):
        file.apply([Entry(priority, "x", "{}", 0, 0.0)], None, 0, 0.0)
        levels.append(file._db.connection.execute("PRAGMA synchronous").fetchone()[0])
    assert levels == [1, 2, 1]


def test_power_cut_never_reuses_a_number(tmp_path: Path) -> None:
    """Commits that a power cut took had numbers that were sent: they never mean something else."""
    file = outbox_file(tmp_path)
    file.open(0, 0.0)
    file.apply([sample({"i": 1})], None, 0, 0.0)
    image = tmp_path / "image"
    image.mkdir()
    for name in ("outbox.db", "outbox.db-wal"):
        shutil.copy(tmp_path / name, image / name)  # what had reached the medium
    file.apply([sample({"i": 2})], None, 0, 0.0)
    sent = {(r.stream, r.n): r.body for r in drain(file)}
    after = outbox_file(image)
    after.open(0, 0.0)
    after.apply([sample({"i": 3}), sample({"i": 4})], None, 0, 0.0)
    for row in drain(after):
        assert row.body == sent.setdefault((row.stream, row.n), row.body)


def test_new_rows_go_first_and_the_backlog_keeps_a_share(tmp_path: Path) -> None:
    """After a reconnection a quarter of what is taken is backlog, oldest first; nothing twice."""
    file = outbox_file(tmp_path)
    file.open(0, 0.0)
    file.apply([sample({"old": i}) for i in range(50)], None, 0, 0.0)
    file.rewind()
    file.apply([sample({"new": i}) for i in range(50)], None, 0, 0.0)
    first = [json.loads(r.body) for r in file.take(8)]
    assert [{"old": 0}, {"old": 1}, *({"new": i} for i in range(6))] == first
    rest = [json.loads(r.body) for _ in range(20) for r in file.take(8)]
    assert [{"old": i} for i in range(2, 50)] == [b for b in rest if "old" in b]
    assert [{"new": i} for i in range(6, 50)] == [b for b in rest if "new" in b]


def test_full_outbox_drops_oldest_samples_first(tmp_path: Path) -> None:
    """Above the limit the oldest samples go, events stay, and gap records account for each."""
    file = outbox_file(tmp_path, limit=MEGABYTE // 2)
    stream = file.open(0, 0.0).stream
    file.apply([Entry(EVENT, "event", '{"alarm":1}', 0, 0.0)], None, 0, 0.0)
    body = "x" * 1000
    for i in range(100):
        file.apply([sample({"i": i * 10 + k, "b": body}, at=float(i)) for k in range(10)],
                   None, i, float(i))  # fmt: skip
    rows = drain(file)
    assert file.waiting == 0
    kept = {r.n for r in rows if r.priority == SAMPLE}
    lost = gaps(rows)
    assert "alarm" in rows[0].body
    assert max(kept) - min(kept) + 1 - len(kept) < 10  # gap records stand between them
    assert {("full", stream)} == {(g["reason"], g["stream"]) for g in lost}
    assert len(kept) + sum(g["count"] for g in lost) == 1000
    assert len(lost) < 60
    assert (tmp_path / "outbox.db").stat().st_size <= MEGABYTE


def test_old_samples_are_dropped_and_events_are_not(tmp_path: Path) -> None:
    """Past its age a sample becomes part of a gap record; an event waits on."""
    file = outbox_file(tmp_path, age=100.0)
    file.open(0, 0.0)
    entries = [sample({"i": i}, at=float(i)) for i in range(50)]
    file.apply([*entries, Entry(EVENT, "event", '{"alarm":1}', 0, 0.0)], None, 0, 50.0)
    outcome = file.apply([sample({"i": 50}, at=130.0)], None, 130_000, 130.0)
    assert [(g.reason, g.first, g.last, g.count) for g in outcome.gaps] == [("age", 1, 30, 30)]
    assert sum("alarm" in r.body for r in drain(file)) == 1


def test_refused_row_is_set_aside(tmp_path: Path) -> None:
    """A refused row leaves the queue, is kept with the reason, and its gap record is not chased."""
    file = outbox_file(tmp_path)
    file.open(0, 0.0)
    file.apply([sample({"i": 1}), sample({"i": 2})], None, 0, 0.0)
    first, second = file.take(10)
    file.apply([Refused(first.id, "not authorized"), second.id], None, 0, 0.0)
    (gap_row,) = file.take(10)
    assert [(g["reason"], g["first"]) for g in gaps([gap_row])] == [("refused", 1)]
    file.apply([Refused(gap_row.id, "not authorized")], None, 0, 0.0)
    assert file.take(10) == []
    assert file.waiting == 0
    assert [(first.id, "d/x", first.body, "not authorized")] == file.parked()[:1]


@pytest.mark.parametrize("content", [b"this is no database" * 300, None])
def test_damaged_file_is_set_aside(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no database, or one with a torn page, is renamed and an empty one begins."""
    file = outbox_file(tmp_path)
    file.open(0, 0.0)
    file.apply([sample({"i": i, "b": "x" * 500}) for i in range(500)], None, 0, 0.0)
    file.close()
    path = tmp_path / "outbox.db"
    data = path.read_bytes()
    torn = data[:20_000] + b"\xff" * 60_000 + data[80_000:]
    path.write_bytes(content if content is not None else torn)
    opened = file.open(9, 0.0)
    assert opened.aside is not None
    assert opened.aside.exists()
    file.apply([sample({"i": 1})], None, 0, 0.0)
    rows = drain(file)
    assert [g["count"] for g in gaps(rows)] == [None]
    assert len(rows) == 2


def test_file_damaged_while_open(tmp_path: Path) -> None:
    """A commit that meets damage goes to an empty file, where old receipts touch nothing."""
    file = outbox_file(tmp_path)
    file.open(0, 0.0)
    file.apply([sample({"i": i, "b": "x" * 500}) for i in range(500)], None, 0, 0.0)
    taken = file.take(10)
    file._db.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "outbox.db").open("r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * 200_000)
    file._db.connection.execute("PRAGMA cache_size = 0")
    outcome = file.apply([sample({"new": 1}), *(r.id for r in taken)], None, 0, 0.0)
    assert outcome.stored
    assert outcome.opened is not None
    file.apply([r.id for r in taken], None, 0, 0.0)
    rows = drain(file)
    assert [k for r in rows for k in json.loads(r.body) if k == "new"] == ["new"]
    assert not {r.id for r in rows} & {r.id for r in taken}


def test_page_cap_makes_room_by_dropping(tmp_path: Path) -> None:
    """When the file cannot grow, the oldest tenth is dropped for what comes, with a gap record."""
    file = outbox_file(tmp_path, limit=1 << 30)
    file.open(0, 0.0)
    file._db.connection.execute("PRAGMA max_page_count = 120")
    for i in range(60):
        assert file.apply(
            [sample({"i": i * 10 + k, "b": "x" * 1000}) for k in range(10)], None, 0, 0.0
        ).stored
    rows = drain(file)
    assert sum(r.priority == SAMPLE for r in rows) + sum(g["count"] for g in gaps(rows)) == 600
    assert {"disk"} == {g["reason"] for g in gaps(rows)}


class Crash(Exception):
    """The process ended here."""


class CrashingConnection(sqlite3.Connection):
    """Counts statements down and copies the files at the end, as a killed process leaves them."""

    left = 1 << 30

    def _count(self) -> None:
        CrashingConnection.left -= 1
        if CrashingConnection.left == 0:
            raise Crash

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self._count()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._count()
        return super().executemany(*args)


def _crashing(*args: Any, **options: Any) -> sqlite3.Connection:
    return CONNECT(*args, factory=CrashingConnection, **options)


CONNECT = sqlite3.connect

STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 5)),
    st.tuples(st.just("take"), st.integers(1, 10)),
    st.tuples(st.just("refuse"), st.just(0)),
    st.tuples(st.just("rewind"), st.just(0)),
)


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(STEP, min_size=3, max_size=14),
    crashes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
)
def test_crash_at_any_statement(steps: list[tuple[str, int]], crashes: list[int]) -> None:
    """Killed before any statement: nothing stored is lost, no number means two things."""
    stored: set[str] = set()
    received: dict[tuple[str, int], str] = {}
    counter = iter(range(10_000))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.sqlite3, "connect", _crashing)
        directory = Path(name)
        for life, crash in enumerate([*crashes, 1 << 30]):
            CrashingConnection.left = crash
            file = outbox_file(directory)
            try:
                file.open(0, 0.0)
                for step, count in steps:
                    _step(file, step, count, counter, stored, received)
                CrashingConnection.left = 1 << 30
                if crash == 1 << 30:
                    file.rewind()
                    _receive(drain(file), received)
            except Crash:
                CrashingConnection.left = 1 << 30
            directory = _copy(directory, Path(name) / f"life{life}")
    missing = stored - set(received.values())
    refused = [g for g in map(_gap_of, received.values()) if g.get("reason") == "refused"]
    assert len(missing) <= sum(g["count"] for g in refused)


def _gap_of(body: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body).get("gap", {})
    return found


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for file in ("outbox.db", "outbox.db-wal"):
        if (source / file).exists():
            shutil.copy(source / file, target / file)
    return target


def _step(
    file: OutboxFile, step: str, count: int, counter: Any, stored: set[str], received: Any
) -> None:
    if step == "add":
        entries = [sample({"i": next(counter)}) for _ in range(count)]
        file.apply(entries, None, 0, 0.0)
        stored.update(e.body for e in entries)
    elif step == "rewind":
        file.rewind()
    elif taken := file.take(count or 1):
        if step == "refuse":
            file.apply([Refused(r.id, "no") for r in taken if r.priority != GAP], None, 0, 0.0)
        else:
            _receive(taken, received)
            file.apply([r.id for r in taken], None, 0, 0.0)


def _receive(rows: Any, received: dict[tuple[str, int], str]) -> None:
    for row in rows:
        assert row.body == received.setdefault((row.stream, row.n), row.body)
