"""`edge read --identify`: what devices say they are, through a controller and without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from drivers import DRIVERS
from drivers.sim.registers import Register, Unit
from drivers.sim.serve_modbus import ModbusServer
from edge.blocks import KINDS
from edge.cli.client import Json
from edge.cli.command import Failed
from edge.cli.identity import chosen, lines, open_and_ask
from edge.site.load import load_site
from tests.edge.cli.test_commands import edge
from tests.edge.conftest import Running

SITE = """
site: {id: who, timezone: Asia/Shanghai}
buses:
  room: {driver: modbus, tcp: "127.0.0.1:PORT", timeout: 100ms}
  shop: {driver: modbus, tcp: "127.0.0.1:1", connect_timeout: 200ms}
  toys: {driver: sim}
devices:
  meter: {bus: room, unit: 1, points: {flow: {holding: 0}}}
  plain: {bus: room, unit: 2, points: {flow: {holding: 0}}}
  gone:  {bus: room, unit: 3, points: {flow: {holding: 0}}}
  cut:   {bus: shop, unit: 1, points: {flow: {holding: 0}}}
  toy:   {bus: toys, model: lobby, points: {lux: {variable: illuminance}}}
"""


def asked(folder: Path, *wanted: str) -> list[Json]:
    """What the devices of the site say, on a bus opened for them."""

    def unit(identity: dict[int, str]) -> Unit:
        map_ = (Register("flow", "holding", 0),)
        return Unit(map_, lambda _: 1.0, lambda _name, _value: None, identity=identity)

    async def main() -> list[Json]:
        units = {1: unit({0: "Maker", 1: "P-1", 2: "V1", 4: "泵"}), 2: unit({})}
        async with ModbusServer(units) as server:
            (folder / "site.yaml").write_text(SITE.replace("PORT", str(server.port)))
            site = load_site(folder / "site.yaml", DRIVERS, KINDS)
            found = await open_and_ask(site, wanted)
            assert server.requests[1] == 1
            return found

    return asyncio.run(main())


def test_without_a_controller_each_device_is_asked_on_its_bus(tmp_path: Path) -> None:
    """In the order asked for; a device that does not tell is a line, and no end for the others."""
    found = asked(tmp_path, "toy", "gone", "meter.flow", "cut", "plain", "meter")
    assert [one["device"] for one in found] == ["toy", "gone", "meter", "cut", "plain"]
    assert [one.get("code", "") for one in found] == [
        "", "READ_FAILED", "", "READ_FAILED", "READ_FAILED",
    ]  # fmt: skip
    assert found[2] == {
        "device": "meter", "driver": "modbus",
        "said": {"vendor": "Maker", "product": "P-1", "revision": "V1", "product_name": "泵"},
    }  # fmt: skip
    assert list(lines(found[2], "zh")) == [
        "meter", "  厂商  Maker", "  产品代码  P-1", "  产品名称  泵", "  版本  V1",
    ]  # fmt: skip
    assert list(lines(found[0], "en"))[1:] == ["  vendor  Simulated Equipment", "  model  lobby"]
    assert "did not answer" in next(lines(found[1], "en"))


def test_a_running_controller_asks(running: Running) -> None:
    """Through its API; what came from outside cannot write on the terminal."""
    result = edge("read", "--identify", "booster.pressure", "v3")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "booster",
        "  vendor  Maker[2J",
        "  product code  P-1",
        "  serial  4711",
        "",
        "v3  the device does not answer [READ_FAILED]",
    ]
    found = json.loads(edge("read", "--identify", "booster", "--json").output)
    assert found[0]["said"]["product"] == "P-1"


def test_a_device_that_does_not_exist_is_named(running: Running) -> None:
    """With the nearest one, as for points."""
    result = edge("read", "--identify", "boster")

    assert result.exit_code == 1
    assert 'did you mean "booster"?' in result.output
    with pytest.raises(Failed):
        chosen(["a", "b"], ["c"])
