"""`edge retry` on a running controller: a device that comes late is there before its next turn."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from drivers.sim.registers import Register, Unit
from drivers.sim.serve_modbus import ModbusServer
from tests.support.live import controller_on, until, value_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SITE = """
site: {{id: late, timezone: Asia/Shanghai}}
clock: {{trust: always}}
buses: {{line: {{driver: modbus, tcp: "127.0.0.1:{port}", timeout: 100ms}}}}
devices:
  meter: {{bus: line, unit: 1, points: {{flow: {{holding: 0}}}}}}
  valve: {{bus: line, unit: 2, points: {{position: {{holding: 0}}}}}}
"""


def unit() -> Unit:
    return Unit((Register("flow", "holding", 0),), lambda _: 7.0, lambda _name, _value: None)


async def edge(folder: Path, *words: str) -> tuple[int, str]:
    """What a person's command says and how it ends."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("edge")), "--lang", "en", *words,
        "--socket", str(folder / "edge.sock"), env={**os.environ, "EDGE_LANG": "en"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def line(folder: Path) -> Any:
    """The bus as `edge health --json` shows it."""
    return json.loads((await edge(folder, "health", "--json"))[1])["buses"][0]


def test_what_waits_is_tried_when_a_person_says_so(tmp_path: Path) -> None:
    """A bus before its announced try, then a device; what does not wait or exist is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def main() -> None:
        async with asyncio.timeout(90), controller_on(SITE.format(port=port), tmp_path) as running:
            runner, now = running.buses["line"], running.clock.now
            await until(lambda: 6 < runner.pause.until - now() < 60, "a long pause")
            announced = runner.pause.until
            assert (await line(tmp_path))["retry"] == pytest.approx(
                running.clock.wall_at(announced), abs=0.1
            )
            assert "next try in" in (await edge(tmp_path, "health"))[1]
            code, said = await edge(tmp_path, "retry", "metr")
            assert (code, "did you mean meter?" in said) == (1, True)
            async with ModbusServer({1: unit(), 2: unit()}, port=port) as server:
                server.wire[2].silent = True
                code, said = await edge(tmp_path, "retry", "line")
                assert (code, said.splitlines()[0]) == (0, "line: connecting now")
                await until(lambda: value_of(running, "meter.flow") == (7.0, 0), "it is read")
                assert now() < announced
                await until(lambda: runner.devices["valve"].lost, "it says nothing")
                server.wire[2].silent = False
                announced = runner.next_try("valve")
                assert (await line(tmp_path))["devices"][1]["retry"] == pytest.approx(
                    running.clock.wall_at(announced), abs=0.1
                )
                code, said = await edge(tmp_path, "retry", "valve")
                assert (code, said.splitlines()[0][:6]) == (0, "valve:")
                await until(lambda: value_of(running, "valve.position") == (7.0, 0), "it is read")
                assert now() < announced
                assert (await edge(tmp_path, "retry"))[0] == 1
                assert running.events.counts["retry-asked"] == 2

    asyncio.run(main())
