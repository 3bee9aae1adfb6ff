"""`edge failsafe`, over a real socket: what systemd runs when it has given up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.app.failsafe import _bus, drive_failsafe, failsafe_values
from edge.blocks import KINDS
from edge.driver import FieldDevice, FieldPoint, Write
from edge.errors import Unusable
from edge.proof.virtual_loop import run_virtual
from edge.site.load import load_site
from edge.site.site import Site
from edge.store.state import Lock
from edge.text import Text
from tests.edge.bus.line import Case
from tests.support.modbus_device import ModbusDevice, Unit

SITE = """
site: {{id: last-resort, timezone: Asia/Shanghai}}
buses:
  line: {{driver: modbus, tcp: "127.0.0.1:{port}"}}
devices:
  pump:
    bus: line
    unit: 1
    points:
      speed: {{holding: 0, output: true, failsafe: 60, unit: "%", range: [0, 100]}}
      valve: {{holding: 1, output: true, unit: "%", range: [0, 100]}}
      relay: {{coil: 5, output: true}}
annunciators:
  panel: {{relay: pump.relay}}
"""


def site_at(port: int, directory: Path) -> Site:
    path = directory / "site.yaml"
    path.write_text(SITE.format(port=port))
    return load_site(path, DRIVERS, KINDS)


def test_explicit_values_and_the_relay_are_driven_and_nothing_else(tmp_path: Path) -> None:
    """The valve's failsafe is `hold`: it is not touched; the relay drops without being asked."""

    async def main() -> None:
        told: list[tuple[str, float, Text | None]] = []

        def tell(write: Write, reason: Text | None) -> None:
            told.append((write.point, write.value, reason))

        unit = Unit(holding={0: 10, 1: 20}, coil={5: 1})
        async with ModbusDevice({1: unit}) as device:
            site = site_at(device.port, tmp_path)
            assert await drive_failsafe(site, tmp_path / "state", tell)
            assert {("pump.speed", 60.0, None), ("pump.relay", 0.0, None)} == set(told)
            assert len(device.written) == 2

    asyncio.run(main())


def test_a_site_may_say_what_its_relay_does(tmp_path: Path) -> None:
    """An alarm relay drops unless its own `failsafe` says otherwise."""
    path = tmp_path / "site.yaml"
    text = SITE.format(port=1)
    path.write_text(text.replace("{coil: 5, output: true}", "{coil: 5, failsafe: 1}"))
    assert failsafe_values(load_site(path, DRIVERS, KINDS))["pump.relay"] == 1.0


def test_what_cannot_be_written_is_said_with_its_reason(tmp_path: Path) -> None:
    """Nobody listens on the port: every value is named, the result is False."""

    async def main() -> None:
        told: list[Text | None] = []
        site = site_at(1, tmp_path)
        assert not await drive_failsafe(
            site, tmp_path / "state", lambda _, reason: told.append(reason)
        )
        assert len(told) == len(failsafe_values(site))
        assert all(reason is not None and reason.zh for reason in told)

    asyncio.run(main())


DEAF_BUS = """buses:
  deaf: {{driver: modbus, tcp: "127.0.0.1:{deaf}", timeout: 1s}}"""
DEAF_DEVICE = """devices:
  far:
    bus: deaf
    unit: 1
    points: {{speed: {{holding: 0, output: true, failsafe: 60, unit: "%", range: [0, 100]}}}}"""


def test_a_bus_that_never_answers_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """The last resort has little time: all buses are written at once."""

    async def main() -> None:
        told: list[tuple[str, bool]] = []
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with ModbusDevice({1: Unit(holding={0: 10}, coil={5: 1})}) as device:
            text = SITE.replace("buses:", DEAF_BUS).replace("devices:", DEAF_DEVICE)
            deaf = server.sockets[0].getsockname()[1]
            (tmp_path / "site.yaml").write_text(text.format(port=device.port, deaf=deaf))
            site = load_site(tmp_path / "site.yaml", DRIVERS, KINDS)
            assert not await drive_failsafe(
                site, tmp_path / "state", lambda write, why: told.append((write.point, why is None))
            )
        server.close()
        assert told == [("pump.speed", True), ("pump.relay", True), ("far.speed", False)]

    asyncio.run(main())


def test_a_dead_device_s_outputs_come_after_those_of_the_living() -> None:
    """Twenty time-outs would take all of the ten seconds that a bus has."""

    async def main() -> None:
        told: list[tuple[str, bool]] = []
        case = Case(2)
        case.line.mood["d0"] = "silent"
        case.line.timeouts["d0"] = 1.0
        names = {device: [f"{device}.p{k}" for k in range(20)] for device in ("d0", "d1")}
        devices = tuple(
            FieldDevice(d, None, tuple(field_point(p) for p in ps)) for d, ps in names.items()
        )
        values = dict.fromkeys(names["d0"] + names["d1"], 0.0)
        bus = replace(case.bus, devices=devices)
        assert not await _bus(bus, values, lambda w, why: told.append((w.point, why is None)))
        assert {point for point, done in told if done} == set(names["d1"])
        assert len(told) == 40

    run_virtual(main)


def field_point(name: str) -> FieldPoint:
    """An output as its driver sees it."""
    return FieldPoint(name, None, 1.0, 0.0, 0.0, 1.0, 1.0, readable=True, writable=True)


def test_a_running_controller_is_not_interfered_with(tmp_path: Path) -> None:
    """Its state directory is locked: refused with a sentence, nothing is written."""
    site = site_at(1, tmp_path)
    with Lock(tmp_path / "state"), pytest.raises(Unusable):
        asyncio.run(drive_failsafe(site, tmp_path / "state", lambda *_: None))
