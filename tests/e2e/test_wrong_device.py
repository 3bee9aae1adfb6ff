"""Another device at a configured address, over a real socket: its state, its alarm, its return."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.sim.registers import Register, Unit
from drivers.sim.serve_modbus import ModbusServer
from edge.app.controller import Controller
from edge.image import quality
from tests.support.live import controller_on, until, value_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SITE = """
site: {{id: who, timezone: Asia/Shanghai}}
clock: {{trust: always}}
scan: {{startup_delay: 0s}}
buses: {{line: {{driver: modbus, tcp: "127.0.0.1:{port}", timeout: 500ms}}}}
devices:
  pump:
    bus: line
    unit: 1
    identity: {{vendor: Maker}}
    points:
      speed: {{holding: 0, range: [0, 100], output: true, default: 40}}
      flow:  {{holding: 1}}
alarms: {{PUMP_OFFLINE: {{for: 3s}}, PUMP_REFUSING: {{for: 1s}}, PUMP_WRONG: {{for: 1s}}}}
"""


def states(controller: Controller) -> dict[str, str]:
    """Every alarm that is not normal."""
    rows = controller.scan.alarms.states.values()
    return {row.alarm.id: row.state.value for row in rows if row.state.value != "NORMAL"}


def test_an_exchanged_device_is_an_alarm_and_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alarm, no value, no write; when the right one is there it is read and driven again."""
    monkeypatch.setattr("drivers.modbus.contact.REST", 5.0)  # else it is asked once a minute
    held: dict[str, float] = {"speed": 10.0, "flow": 5.0}
    speed = Register("speed", "holding", 0, writable=(0.0, 100.0))
    map_ = (speed, Register("flow", "holding", 1))

    def unit(vendor: str) -> Unit:
        return Unit(map_, held.__getitem__, held.__setitem__, identity={0: vendor})

    async def main() -> None:
        async with asyncio.timeout(90), ModbusServer({1: unit("Maker")}) as server:
            site = SITE.format(port=server.port)
            async with controller_on(site, tmp_path) as controller:
                await until(lambda: held["speed"] == 40.0, "it is driven")
                server.units = {1: unit("Other")}
                held["speed"] = 12.0
                server.cut()
                await until(lambda: states(controller).get("PUMP_WRONG") == "UNACK", "the alarm")
                await asyncio.sleep(2.0)
                assert states(controller) == {
                    "PUMP_WRONG": "UNACK", "PUMP_OFFLINE": "SUPPRESSED",
                    "PUMP_REFUSING": "SUPPRESSED", "PUMP_NOT_FOLLOWING": "SUPPRESSED",
                }  # fmt: skip
                (device,) = controller.view.health()["buses"][0]["devices"]
                assert (device["wrong"], device["online"]) == (True, False)
                assert "found vendor Other" in device["reason"]["en"]
                assert value_of(controller, "pump.flow")[1] & quality.CONFIG
                notes = controller.view.explain("pump.speed")["notes"]
                assert any("found vendor Other" in note["en"] for note in notes)
                assert held["speed"] == 12.0
                server.units = {1: unit("Maker")}
                await until(lambda: held["speed"] == 40.0, "it is driven again")
                await until(lambda: value_of(controller, "pump.flow") == (5.0, 0), "and read")
                await until(lambda: set(states(controller)) <= {"PUMP_WRONG"}, "only that is left")
                assert states(controller) == {"PUMP_WRONG": "RTN_UNACK"}

    asyncio.run(main())
