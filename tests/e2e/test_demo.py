"""The demo as a visitor runs it, and the command line against its real controller."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers import DRIVERS
from drivers.sim.equipment import Equipment
from edge.cli.client import Client
from edge.cli.stage import Stage, demo_site
from edge.proof.setting import setting

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EDGE = [sys.executable, "-m", "edge.cli"]


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket of an interactive demo goes where only this test looks."""
    monkeypatch.delenv("EDGE_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_the_headless_demo_sees_every_alarm_correction_output_and_message() -> None:
    """`edge demo --headless --for 60s` exits 0 and says so in its table."""
    done = subprocess.run(
        [*EDGE, "--lang", "en", "demo", "--headless", "--for", "60s"],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"(\d+) of (\d+) seen", done.stdout)
    assert counts is not None
    assert counts[1] == counts[2]


def on_stage(visit: Callable[[Client, Stage], Awaitable[None]]) -> None:
    """Run `visit` beside equipment, broker and a real controller."""

    async def main() -> None:
        stage = Stage(visible=False)
        async with stage, asyncio.TaskGroup() as group:
            around = [
                group.create_task(stage.equipment.run()),
                group.create_task(stage.subscriber.run()),
            ]
            client = await stage.ready(lambda lasted: None)
            try:
                await visit(client, stage)
            finally:
                for task in around:
                    task.cancel()

    asyncio.run(main())


async def edge(client: Client, *words: str) -> tuple[int, str]:
    """Exit code and output of a command that talks to this controller."""
    process = await asyncio.create_subprocess_exec(
        *EDGE, "--lang", "en", *words, "--socket", str(client.path),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def test_the_terminal_holds_explains_reads_and_gives_back() -> None:
    """A hold by hand is verified by the valve's own feedback, explained, and released."""

    async def visit(client: Client, stage: Stage) -> None:
        async with asyncio.timeout(20):
            while client.get("snapshot")["outputs"]["v3.position"]["slot"] != 16:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        code, text = await edge(client, "set", "v3.position", "70 %", "--for", "1min")
        assert code == 0
        assert text.splitlines()[-1] == verified(client)
        code, text = await edge(client, "explain", "v3.position")
        assert code == 0
        assert re.search(r"→ +7 local: 70\.0 %", text)
        code, text = await edge(client, "read", "booster.discharge_pressure")
        assert code == 0
        assert re.search(r"CDAB +f32 4\.\d+", text)  # bar, the low word first
        code, text = await edge(client, "watch", "--once", "--json", "v3")
        assert json.loads(text)["points"]["v3.position"]["slot"] == 7
        assert (await edge(client, "release", "v3.position"))[0] == 0
        code, text = await edge(client, "set", "v3.position", "500", "--for", "1min")
        assert code == 1
        assert "[OUT_OF_RANGE]" in text

    on_stage(visit)


def verified(client: Client) -> str:
    """The last line that `edge set` prints, from the command's own end."""
    (command,) = [c for c in client.get("snapshot")["commands"] if c["point"] == "v3.position"]
    assert command["state"] == "VERIFIED"
    assert abs(command["feedback"] - 70.0) <= 2.0
    return f"verified, feedback {command['feedback']:.1f} %"


def test_the_screen_answers_keys_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """In a terminal of 80 x 24: key 4 silences a device, which is soon seen; q ends everything."""
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", "EDGE_LANG": "en"}
    process = subprocess.Popen(
        [*EDGE, "demo"], stdin=theirs, stdout=theirs, stderr=theirs, env=env,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        seen = until(ours, b"1-8 start and end faults", 300)
        assert b"Garden Court" in seen
        os.write(ours, b"4")
        until(ours, b"v3 DOWN", 30)
        os.write(ours, b"q")
        drain(ours, process)
        assert process.returncode == 0
    finally:
        process.poll() is None and os.killpg(process.pid, signal.SIGTERM)
        os.close(ours)
    assert not list(tmp_path.glob("*.sock"))


def until(terminal: int, wanted: bytes, limit: float) -> bytes:
    """Read the terminal until it has shown `wanted`."""
    ends, seen = time.monotonic() + limit, b""
    while wanted not in seen:
        assert time.monotonic() < ends, seen[-2000:].decode(errors="replace")
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 65536)
    return seen


def drain(terminal: int, process: subprocess.Popen[Any]) -> None:
    """Read on, as a terminal does, until the process has ended."""
    ends = time.monotonic() + 30
    while process.poll() is None:
        assert time.monotonic() < ends
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                os.read(terminal, 65536)
            except OSError:  # the other end is closed
                process.wait(30)


def test_without_a_controller_the_terminal_opens_the_bus_itself(tmp_path: Path) -> None:
    """`edge read --site` speaks Modbus and BACnet by itself; a silent device is one line."""

    async def main() -> tuple[int, str]:
        found = setting(demo_site(), DRIVERS)
        equipment = Equipment(found.field, found.site.buses)
        equipment.silence("v2", True)
        async with equipment, asyncio.TaskGroup() as group:
            running = group.create_task(equipment.run())
            words = ["read", "--site", str(demo_site()), "booster.flow", "v2.auto", "lobby.lux"]
            process = await asyncio.create_subprocess_exec(
                *EDGE, "--lang", "en", *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
            )  # fmt: skip
            output, _ = await process.communicate()
            running.cancel()
        assert process.returncode is not None
        return process.returncode, output.decode()

    code, text = asyncio.run(main())

    assert code == 1
    assert re.search(r"^booster\.flow  \d+\.?\d* m³/h$", text, re.M)
    assert re.search(r"CDAB +f32 \d+\.\d+", text)
    assert re.search(r"^v2\.auto  .*did not answer.* \[READ_FAILED\]$", text, re.M)
    assert re.search(r"^lobby\.lux  \d+\.?\d* lx$", text, re.M)
