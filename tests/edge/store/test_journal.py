"""The journal, the outbox on the loop, and the lock of the state directory."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import Unusable
from edge.proof.virtual_loop import run_virtual
from edge.store.database import Ballast
from edge.store.journal import Journal
from edge.store.journal_file import JournalFile, Record, State
from edge.store.outbox import Outbox
from edge.store.outbox_file import EVENT, SAMPLE
from edge.store.state import Lock, locate
from edge.store.writer import Batches, Writer
from tests.edge.store.parts import MEGABYTE, Seen, Times


class Store:
    """A journal and an outbox in one directory."""

    def __init__(self, directory: Path, *, threaded: bool = True, limit: int = MEGABYTE) -> None:
        self.times = Times()
        self.seen = Seen()
        self.writer = Writer(threaded=threaded)
        self.ballast = Ballast(directory / "ballast", 1 << 18)
        clock = self.times.clock()
        self.journal = Journal(
            directory / "journal.db", self.writer, self.ballast, clock, self.seen.events
        )
        self.outbox = Outbox(
            directory / "outbox.db", self.writer, self.ballast, clock, self.seen.events,
            limit=limit, age=1e9,
        )  # fmt: skip

    async def __aenter__(self) -> Store:
        await self.journal.open()
        await self.outbox.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.outbox.close()
        await self.journal.close()
        await self.writer.close()


def test_records_are_numbered_in_order(tmp_path: Path) -> None:
    """Each record's future brings its number, and it is read back as it was given."""

    async def main() -> None:
        async with Store(tmp_path) as store:
            futures = [store.journal.add("alarm", {"名": i}) for i in range(5)]
            assert [await future for future in futures] == [1, 2, 3, 4, 5]
        async with Store(tmp_path) as store:
            assert [r.data for r in await store.journal.records(0, 2)] == ['{"名":0}', '{"名":1}']
            assert await store.journal.add("alarm", {}) == 6

    asyncio.run(main())


def test_history_is_the_latest_of_its_kind(tmp_path: Path) -> None:
    """However long the journal is: the newest records of one kind and time, oldest first."""

    async def main() -> None:
        async with Store(tmp_path) as store:
            for i in range(6):
                store.times.wall = 100.0 + i
                await store.journal.add("alarm" if i % 2 else "command", {"i": i})
            latest = await store.journal.history("alarm", 0.0, 1e9, 2)
            assert [r.data for r in latest] == ['{"i":3}', '{"i":5}']
            between = await store.journal.history("command", 101.0, 104.0, 9)
            assert [r.data for r in between] == ['{"i":2}', '{"i":4}']

    asyncio.run(main())


def test_a_bug_in_one_job_does_not_hold_up_the_next() -> None:
    """What was put while a job failed is stored by the next one."""
    go, done = threading.Event(), asyncio.Event()

    def job(items: list[int]) -> None:
        if items == [1]:
            go.wait(10)
            raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        writer = Writer()
        batches: Batches[int, None] = Batches(writer, job, lambda items, _: done.set())
        batches.put(1, 0.0)
        await asyncio.sleep(0.01)
        batches.put(2, 0.0)
        await asyncio.sleep(0.01)  # its time has come, and the first job is still at work
        go.set()
        await asyncio.wait_for(done.wait(), 10)
        await writer.close()

    asyncio.run(main())


def test_records_are_synced_and_state_is_not(tmp_path: Path) -> None:
    """A record waits for the medium (synchronous FULL = 2), state that is saved often does not."""
    file = JournalFile(tmp_path / "journal.db", Ballast(tmp_path / "ballast", 0))
    file.open()
    levels = []
    for item in (State("x", b""), Record(0, 0, 0.0, "alarm", "{}"), State("x", b"")):
        assert file.apply([item]).stored
        levels.append(file._db.connection.execute("PRAGMA synchronous").fetchone()[0])
    assert levels == [1, 2, 1]


def test_state_is_kept_under_its_name(tmp_path: Path) -> None:
    """The last blob saved under a name is loaded, after a restart too; an unknown name has none."""

    async def main() -> None:
        async with Store(tmp_path) as store:
            store.journal.save_state("retain", b"1")
            store.journal.save_state("retain", b"\x00\xff2")
        async with Store(tmp_path) as store:
            assert await store.journal.load_state("retain") == b"\x00\xff2"
            assert await store.journal.load_state("other") is None

    asyncio.run(main())


def test_unexported_records_are_named(tmp_path: Path) -> None:
    """What was not marked as standing in the outbox is named after a restart."""

    async def main() -> None:
        async with Store(tmp_path) as store:
            for i in range(4):
                await store.journal.add("alarm", {"i": i})
            store.journal.exported(2)
            store.journal.exported(1)
        async with Store(tmp_path) as store:
            assert [record.seq for record in await store.journal.unexported()] == [3, 4]

    asyncio.run(main())


def test_samples_share_a_commit_and_events_do_not_wait(tmp_path: Path) -> None:
    """In virtual time: a sample waits half a second for company, an event not at all."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stored: list[tuple[str, float]] = []
        async with Store(tmp_path, threaded=False) as store:
            began = loop.time()

            def note(name: str) -> None:
                stored.append((name, round(loop.time() - began, 3)))

            store.outbox.add(SAMPLE, "d/x", "{}", lambda: note("first"))
            await asyncio.sleep(0.3)
            store.outbox.add(SAMPLE, "d/x", "{}", lambda: note("second"))
            await asyncio.sleep(1.0)
            store.outbox.add(SAMPLE, "d/x", "{}", lambda: note("third"))
            await asyncio.sleep(0.1)
            store.outbox.add(EVENT, "event", "{}", lambda: note("event"))
            await asyncio.sleep(0.01)
            assert stored == [("first", 0.5), ("second", 0.5), ("third", 1.4), ("event", 1.4)]
            assert store.outbox.waiting == 4

    run_virtual(main)


def test_damaged_journal_is_set_aside(tmp_path: Path) -> None:
    """A journal that is no database is renamed, reported, and an empty one goes on."""
    (tmp_path / "journal.db").write_bytes(b"nonsense" * 1000)

    async def main() -> None:
        async with Store(tmp_path) as store:
            assert store.seen.codes() == ["store-damaged"]
            assert await store.journal.add("alarm", {}) == 1

    asyncio.run(main())
    (aside,) = tmp_path.glob("journal.db.damaged-*")
    assert aside.read_bytes().startswith(b"nonsense")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 6 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(small_disk: Path) -> None:
    """On a full disk nothing raises, one event begins and one ends it, and all is accounted for."""

    async def main() -> None:
        async with Store(small_disk, limit=64 * MEGABYTE) as store:
            assert (small_disk / "ballast").exists()
            filler = small_disk / "filler"
            free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            filler.write_bytes(bytes(free - 200_000))
            for i in range(300):
                store.outbox.add(SAMPLE, "d/x", f'{{"i":{i},"b":"{"x" * 4000}"}}')
                if i % 10 == 0:
                    await store.outbox.flush()
            assert [c for c in store.seen.codes() if c.startswith("store")] == ["store-full"]
            assert await store.journal.add("alarm", {}) >= 0
            filler.unlink()
            await store.outbox.flush()
            await store.outbox.flush()
            assert [c for c in store.seen.codes() if c.startswith("store")] == [
                "store-full",
                "store-back",
            ]
            numbers = [r.n for r in await store.outbox.take(10_000) if r.priority == SAMPLE]
            lost = sum(f["count"] for c, f in store.seen.all if c == "outbox-gap")
            assert len(numbers) + lost == 300
            assert await store.journal.add("alarm", {}) > 0

    asyncio.run(main())


def test_start_on_a_full_disk(small_disk: Path) -> None:
    """With no room at all the store opens in memory and says so; nothing raises."""
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "filler").write_bytes(bytes(free))

    async def main() -> None:
        async with Store(small_disk) as store:
            assert await store.journal.add("alarm", {}) == 1
            store.outbox.add(SAMPLE, "d/x", "{}")
            await store.outbox.flush()
            assert store.outbox.waiting == 1
            assert store.seen.codes() == ["store-full"]

    asyncio.run(main())


def test_second_controller_is_refused(tmp_path: Path) -> None:
    """While a process holds the directory, a second one is refused with the first one's number."""
    with Lock(tmp_path):
        code = (
            "import sys; from pathlib import Path\n"
            "from edge.store.state import Lock; from edge.errors import Unusable\n"
            "try:\n  Lock(Path(sys.argv[1])).__enter__()\n"
            "except Unusable as error: print(error.text.zh); print(error.text.en)"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout
    assert f"进程 {os.getpid()}" in told
    assert f"(process {os.getpid()})" in told
    with Lock(tmp_path):
        pass


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A path below a file is refused with a sentence, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match="cannot be written"), Lock(tmp_path / "file" / "state"):
        pass


def test_location_of_the_state(tmp_path: Path) -> None:
    """--state stands before $STATE_DIRECTORY, that before the home directory."""
    systemd = {"STATE_DIRECTORY": "/var/lib/edge:/var/lib/other", "HOME": "/home/x"}
    assert tmp_path == locate("court", tmp_path, systemd)
    assert Path("/var/lib/edge") == locate("court", None, systemd)
    assert Path("/home/x/.local/state/edge/court") == locate("court", None, {"HOME": "/home/x"})


def test_ballast_leaves_a_small_disk_alone(small_disk: Path) -> None:
    """The ballast is taken only where four times its size is free."""
    ballast = Ballast(small_disk / "ballast", 2 * MEGABYTE)
    ballast.fill()
    assert not (small_disk / "ballast").exists()
    assert shutil.disk_usage(small_disk).free > MEGABYTE
