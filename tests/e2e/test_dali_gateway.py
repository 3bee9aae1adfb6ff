"""A DALI gateway on a real socket: the site says light, the registers hold arc levels."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.sim.registers import Register, Unit
from drivers.sim.serve_modbus import ModbusServer
from edge.app.controller import Controller
from tests.support.live import controller_on, until, value_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SITE = """
site: {{id: lamps, timezone: Asia/Shanghai}}
clock: {{trust: always}}
scan: {{startup_delay: 0s}}
buses: {{line: {{driver: modbus, tcp: "127.0.0.1:{port}", timeout: 500ms}}}}
devices:
  gear:
    bus: line
    unit: 1
    profile: generic/dali-gateway-4-groups
    points:
      group1: {{default: 50, settle: 1s}}
      group2: {{default: 3, settle: 1s}}
      group3: {{default: 100, settle: 1s}}
      group4: {{default: 0, settle: 1s}}
"""
LEVELS = {"group1": 229.0, "group2": 126.0, "group3": 254.0, "group4": 0.0}


def shown(controller: Controller) -> list[float]:
    return [value_of(controller, f"gear.{group}")[0] for group in LEVELS]


def test_light_becomes_levels_and_nothing_is_said_not_to_follow(tmp_path: Path) -> None:
    """50 % is 229, and 0 is off although 0.1 % was read; a reconnect is no other master, a level
    that somebody else sets is."""
    held = dict.fromkeys(LEVELS, 10.0)
    registers = [
        Register(group, "holding", i, writable=(0.0, 255.0)) for i, group in enumerate(held)
    ]
    held["failed"] = 2.0
    registers.append(Register("failed", "input", 0))

    async def main() -> None:
        unit = Unit(tuple(registers), held.__getitem__, held.__setitem__)
        async with (
            asyncio.timeout(60),
            ModbusServer({1: unit}) as server,
            controller_on(SITE.format(port=server.port), tmp_path) as controller,
        ):
            counts = controller.events.counts
            await until(lambda: LEVELS.items() <= held.items(), "they are driven")
            await until(lambda: shown(controller) == [50.0, 3.0, 100.0, 0.0], "read back")
            server.cut()
            await asyncio.sleep(4.0)
            assert shown(controller) == [50.0, 3.0, 100.0, 0.0]
            assert value_of(controller, "gear.following")[0] == 1.0
            assert counts["changed-elsewhere"] == 0
            held["group1"] = 228.0
            await until(lambda: counts["changed-elsewhere"] == 1, "it is told")
            await until(lambda: held["group1"] == 229.0, "and written again")

    asyncio.run(main())
