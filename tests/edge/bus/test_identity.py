"""A person asks who a device is while the bus runs: in its own turn, past the schedule."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.errors import DeviceRefused, LinkDown
from edge.hmi.view import Refused
from edge.proof.stage import Stage
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import Case

SITE = """
site: {id: who, timezone: Asia/Shanghai}
buses: {field: {driver: sim}}
devices:
  lobby: {bus: field, model: lobby, points: {lux: {variable: illuminance}}}
"""


def test_a_running_controller_lets_a_device_say_what_it_is(tmp_path: Path) -> None:
    """What it says with its driver's name; a silent device and an unknown one are refusals."""

    async def main() -> None:
        (tmp_path / "site.yaml").write_text(SITE)
        stage = Stage(tmp_path / "site.yaml", tmp_path, lambda: 1e9, DRIVERS)
        await stage.start()
        await asyncio.sleep(2.0)
        view = stage.controller.view
        assert await view.identify("lobby") == {
            "device": "lobby", "driver": "sim",
            "said": {"vendor": "Simulated Equipment", "model": "lobby"},
        }  # fmt: skip
        stage.line.silent.add("lobby")
        with pytest.raises(Refused) as silent:
            await view.identify("lobby")
        assert silent.value.code == "READ_FAILED"
        with pytest.raises(Refused) as unknown:
            await view.identify("loby")
        assert unknown.value.code == "UNKNOWN_DEVICE"
        assert "did you mean lobby?" in unknown.value.text.en
        await stage.end()

    run_virtual(main)


def test_a_driver_that_cannot_ask_says_so_and_the_bus_goes_on() -> None:
    """A refusal in both languages; without a connection it is that which is told."""

    async def main() -> None:
        case = Case(1)
        with pytest.raises(LinkDown):
            await case.runner.identify("d0")
        task = asyncio.ensure_future(case.runner.run())
        await asyncio.sleep(1.0)
        with pytest.raises(DeviceRefused) as refused:
            await case.runner.identify("d0")
        assert refused.value.reason.zh != refused.value.reason.en
        assert await case.runner.raw("d0", "d0.p0") == b"d0.p0"
        task.cancel()

    run_virtual(main)
