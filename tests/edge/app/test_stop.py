"""An ordered stop: what happened in the last moment is on its way upstream too."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.app import build
from edge.blocks import KINDS
from edge.events import STATE_GONE
from edge.site.load import load_site
from tests.support.mosquitto import free_port

SITE = """
site: {{id: last, timezone: Asia/Shanghai}}
buses: {{plant: {{driver: sim}}}}
devices:
  io: {{bus: plant, model: io, points: {{input: {{variable: input1}}}}}}
uplink:
  cloud: {{mqtt: "127.0.0.1:{port}"}}
"""


def test_last_record_of_the_journal_reaches_the_outbox(tmp_path: Path) -> None:
    """Added in the moment of the stop, it stands in the outbox when the controller has ended."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(port=free_port()))

    async def main() -> None:
        site = load_site(path, DRIVERS, KINDS)
        controller = build(site, state=tmp_path, socket=tmp_path / "edge.sock")
        stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        close = controller.uplinks.close

        async def close_late() -> None:
            for line in controller.uplinks.lines:
                line.reporter.report()
                await line.outbox.flush()
            controller.writer.call(time.sleep, 0.2)  # a slow disk
            controller.journal.add("alarm", {"last": True})
            await asyncio.sleep(0)
            await close()

        controller.uplinks.close = close_late  # type: ignore[method-assign]
        run = asyncio.create_task(controller.run(stop))
        await controller.started.wait()
        stop.set_result("test")
        assert await run == 0

    asyncio.run(main())
    with closing(sqlite3.connect(tmp_path / "outbox-cloud.db")) as outbox:
        kept = [body for (body,) in outbox.execute("SELECT body FROM message ORDER BY id")]
    assert ['"kind":"alarm"' in body for body in kept].count(True) == 1


@pytest.mark.slow
def test_a_deleted_state_directory_is_noticed_once(tmp_path: Path) -> None:
    """SQLite would go on writing files that nobody finds again: one event says so."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(port=free_port()))
    state = tmp_path / "state"

    async def main() -> None:
        site = load_site(path, DRIVERS, KINDS)
        controller = build(site, state=state, socket=tmp_path / "edge.sock")
        stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        run = asyncio.create_task(controller.run(stop))
        await controller.started.wait()
        shutil.rmtree(state)
        noticed = asyncio.Event()
        controller.events.watch(lambda event, _: noticed.set() if event is STATE_GONE else None)
        await asyncio.wait_for(noticed.wait(), 20)
        await asyncio.sleep(1.5)  # it looks each second
        stop.set_result("test")
        await run
        assert controller.events.counts["state-gone"] == 1

    asyncio.run(main())
