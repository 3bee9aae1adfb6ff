"""The demo's plant, seen through its sockets by the profiles and by a third-party client."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymodbus.client import AsyncModbusTcpClient

from drivers.modbus import MODBUS
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.sim.__main__ import main as serve_plant
from drivers.sim.plant import (
    BOOSTER,
    FIRE,
    HEADER,
    LANE,
    METERS,
    PANEL,
    PIT,
    SPEED,
    VALVES,
    Plant,
)
from edge.bus.host import BusHost
from edge.driver import FieldDevice, FieldPoint, Write
from edge.errors import DeviceTimeout
from edge.image import quality
from edge.schema.units import conversion
from edge.site.profiles import SHIPPED
from tests.support.mosquitto import free_port

PROFILES = {
    BOOSTER: "booster-3-pumps", HEADER: "pressure-flow-zone", PANEL: "io-module-8",
    PIT: "sump-2-pumps", LANE: "garage-light",
    **dict.fromkeys(VALVES, "valve-actuator"), **dict.fromkeys(METERS, "pressure-flow-zone"),
}  # fmt: skip


def with_plant(act: Callable[[Plant], Awaitable[None]], **options: Any) -> None:
    """Run `act` beside a running plant on free ports."""

    async def main() -> None:
        address = f"127.0.0.1/32:{free_port()}"
        async with Plant(0, address, noise=0.0, **options) as plant:
            running = asyncio.create_task(plant.run())
            try:
                await act(plant)
            finally:
                running.cancel()

    asyncio.run(main())


def device(unit: int) -> FieldDevice:
    """A unit of the plant as its profile describes it."""
    name = PROFILES[unit]
    profile = yaml.safe_load((SHIPPED / "generic" / f"{name}.yaml").read_text())
    return FieldDevice(
        str(unit),
        DeviceConfig(unit=unit, **profile["device"]),
        tuple(point(f"{unit}.{id}", options) for id, options in profile["points"].items()),
    )


def point(id: str, options: dict[str, Any]) -> FieldPoint:
    unit = options.get("unit", "")
    factor, offset = conversion(options.get("device_unit", unit), unit)
    config = {k: v for k, v in options.items() if k in PointConfig.model_fields}
    return FieldPoint(
        id=id,
        config=PointConfig(**config),
        scale=options.get("scale", 1.0) * factor,
        offset=offset,
        low=float("-inf"),
        high=float("inf"),
        period=1.0,
        readable=True,
        writable=options.get("output", False),
    )


async def seen(plant: Plant, *units: int, serial: bool = False) -> dict[str, float]:
    """Every point of these units, read through the profile by the controller's own driver."""
    bus = BusConfig(tcp=f"127.0.0.1:{plant.modbus.port}")
    if serial:
        assert plant.serial is not None
        bus = BusConfig(serial=plant.serial.path)
    devices = [device(unit) for unit in units]
    polls = [poll for d in devices for poll in MODBUS.plan(bus, d)]
    values: dict[str, float] = {}
    async with MODBUS.connect(bus, devices, polls, BusHost()) as driver:
        for poll in polls:
            sample = await driver.read(poll)
            assert not (sample.quality & quality.BAD).any(), poll.label
            values |= dict(zip(poll.points, map(float, sample.values), strict=True))
    return values


def test_profiles_read_what_the_models_hold() -> None:
    """Each point of each profile reads the model's own value, in the point's unit."""
    others = {
        "speed": "reference", "speed_feedback": "speed", "position": "command",
        "feedback": "position",
    }  # fmt: skip

    async def act(plant: Plant) -> None:
        values = await seen(plant, *PROFILES)
        assert len(values) == 30 + 16 + 4 * 3 + 3 * 3 + 10 + 4
        for id, value in values.items():
            unit, _, name = id.partition(".")
            model, prefix = "booster", ""
            if int(unit) in VALVES:
                model, prefix = "zones", f"v{VALVES.index(int(unit)) + 1}_"
            if int(unit) in METERS:
                model, prefix = "zones", f"z{METERS.index(int(unit)) + 1}_"
            if int(unit) == HEADER:
                model, prefix = "zones", "header_"
            if int(unit) == PANEL:
                model = "io"
            if int(unit) in (PIT, LANE):
                model = "sump" if int(unit) == PIT else "garage"
            *pump, last = name.split(".")
            if model == "booster" or int(unit) in VALVES:
                last = others.get(last, last)
            variable = prefix + "_".join([*pump, last])
            if (model, variable) == ("sump", "level"):
                variable = "sump_level"
            truth = plant.rig.read(model, variable)
            truth /= 1000 if id.endswith(f"{LANE}.power") else 1
            assert value == pytest.approx(truth, rel=2e-3, abs=6e-3), id

    with_plant(act)


def test_a_command_through_the_profile_reaches_the_model() -> None:
    """A valve position, a pump's speed and a relay arrive as percent and as a switch."""

    async def act(plant: Plant) -> None:
        bus = BusConfig(tcp=f"127.0.0.1:{plant.modbus.port}")
        devices = [device(unit) for unit in (BOOSTER, VALVES[2], PANEL)]
        async with MODBUS.connect(bus, devices, (), BusHost()) as driver:
            for unit, name, value in (
                (VALVES[2], "position", 65.0),
                (BOOSTER, "p2.speed", 81.9),
                (BOOSTER, "p3.run", 0.0),
                (PANEL, "relay1", 1.0),
            ):
                await driver.write([Write(str(unit), f"{unit}.{name}", value, 14)])
        assert plant.rig.read("zones", "v3_command") == pytest.approx(65.0)
        assert plant.rig.read("booster", "p2_reference") == pytest.approx(81.9)
        assert plant.rig.read("booster", "p3_run") == 0.0
        assert plant.rig.read("io", "relay1") == 1.0

    with_plant(act)


def test_the_plant_starts_in_balance() -> None:
    """At the start the pumps feed the zones: nothing moves until somebody breaks something."""

    async def act(plant: Plant) -> None:
        now = asyncio.get_running_loop().time()
        plant.rig.advance_to(now + 120.0)
        assert plant.rig.read("booster", "discharge_pressure") == pytest.approx(0.41, abs=0.004)
        assert plant.rig.read("zones", "z2_flow") == pytest.approx(6.0, abs=0.05)
        assert plant.rig.read("booster", "p1_speed") == SPEED

    with_plant(act)


def test_every_fault_shows_and_goes() -> None:
    """Each ready-made fault changes what the plant shows, and its end puts everything right."""

    async def act(plant: Plant) -> None:
        def state() -> tuple[Any, ...]:
            models = plant.rig.models.values()
            wires = [(w.silent, w.delay, w.drop) for w in plant.modbus.wire.values()]
            sensors = str(plant.rig._sensors)
            active = [sorted(m.active) for m in models]
            return active, wires, sensors, plant.bacnet.faults.silent

        healthy = state()
        for fault in plant.faults.values():
            assert fault.text.zh != fault.text.en
            fault.start()
            assert state() != healthy, fault.name
            fault.stop()
            assert state() == healthy, fault.name

    with_plant(act)


def test_a_burst_is_felt_by_the_pumps() -> None:
    """One plant: a burst in zone 2 raises the pumps' flow and lowers every zone."""

    async def act(plant: Plant) -> None:
        plant.faults["burst"].start()
        plant.rig.advance_to(asyncio.get_running_loop().time() + 20.0)
        assert plant.rig.read("booster", "flow") > 24.0
        assert plant.rig.read("zones", "z1_pressure") < 0.39

    with_plant(act)


def test_buttons_of_the_panel() -> None:
    """A pressed button closes its contact on the wire until it is let go."""

    async def act(plant: Plant) -> None:
        plant.press(1)
        assert (await seen(plant, PANEL))[f"{PANEL}.input1"] == 1.0
        plant.let_go(1)
        assert (await seen(plant, PANEL))[f"{PANEL}.input1"] == 0.0

    with_plant(act)


def test_the_units_stand_on_a_serial_line_too(tmp_path: Path) -> None:
    """The same devices, faults and values over RTU, beside TCP, behind a link that stays."""
    link = tmp_path / "line"

    async def act(plant: Plant) -> None:
        assert plant.serial is not None
        assert plant.serial.path == str(link)
        on_tcp = await seen(plant, PANEL, VALVES[0])
        on_line = await seen(plant, PANEL, VALVES[0], serial=True)
        assert on_line == on_tcp
        plant.modbus.wire[PANEL].silent = True
        with pytest.raises(DeviceTimeout):
            await seen(plant, PANEL, serial=True)

    with_plant(act, serial=True, link=link)
    assert not link.is_symlink()


def test_every_unit_says_who_it_is() -> None:
    """Vendor, product and revision; units of one kind say the same."""

    async def act(plant: Plant) -> None:
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.modbus.port, timeout=1, retries=0)
        assert await client.connect()
        said = {}
        for unit in plant.modbus.units:
            found = await client.read_device_information(read_code=1, device_id=unit)
            assert found.information[0] == b"Simulated Equipment"
            said[unit] = found.information[1]
        client.close()
        assert said[BOOSTER] == b"BOOSTER-3"
        assert len({said[unit] for unit in VALVES}) == 1
        assert len(set(said.values())) == 7

    with_plant(act)


def test_the_fire_main_can_only_be_read() -> None:
    """The fire device shows pressure and AUTO and refuses every write."""

    async def act(plant: Plant) -> None:
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.modbus.port, timeout=1, retries=0)
        assert await client.connect()
        assert (await client.read_input_registers(0, device_id=FIRE)).registers == [320]
        assert (await client.read_discrete_inputs(0, device_id=FIRE)).bits[0]
        assert (await client.write_register(0, 1, device_id=FIRE)).exception_code == 2
        assert (await client.write_coil(0, True, device_id=FIRE)).exception_code == 2
        client.close()

    with_plant(act)


def test_lobby_follows_its_bacnet_output() -> None:
    """A command to the analog output dims the lamps, and the sensor sees it on the next tick."""

    async def act(plant: Plant) -> None:
        plant.bacnet.command("analog-output,1", 14, 100.0)
        for _ in range(2):
            plant.bacnet.tick()
        assert plant.rig.read("lobby", "level") == 100.0
        lux = plant.bacnet.value("analog-input,1")
        assert lux == pytest.approx(plant.rig.read("lobby", "illuminance"), abs=0.5)
        assert lux > 200.0
        plant.bacnet.command("analog-output,1", 14, None)
        plant.bacnet.tick()
        assert plant.rig.read("lobby", "level") == 50.0

    with_plant(act)


def test_a_taken_port_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its TCP or its UDP port taken the plant names it in both languages and leaves."""
    for kind, option in (
        (socket.SOCK_STREAM, "--modbus-port"), (socket.SOCK_DGRAM, "--bacnet-address")
    ):  # fmt: skip
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 0))
            port = str(other.getsockname()[1])
            value = port if kind == socket.SOCK_STREAM else f"127.0.0.1/32:{port}"
            free = () if kind == socket.SOCK_STREAM else ("--modbus-port", "0")
            monkeypatch.setattr("sys.argv", ["sim", option, value, *free])
            assert serve_plant() == 69
        zh, en = capsys.readouterr().err.splitlines()
        assert port in zh
        assert port in en
        assert zh != en


def test_a_link_that_cannot_be_made_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A file is in its place, or there is no such folder: the plant names it and leaves."""
    taken = tmp_path / "taken"
    taken.write_text("not a link")
    for link in (taken, tmp_path / "nowhere" / "line"):
        monkeypatch.setattr(
            "sys.argv",
            ["sim", "--modbus-port", "0", "--bacnet-address", f"127.0.0.1/32:{free_port()}",
             "--serial", str(link)],
        )  # fmt: skip
        assert serve_plant() == 69
        zh, en = capsys.readouterr().err.splitlines()
        assert str(link) in zh
        assert str(link) in en
        assert zh != en


def test_log_names_what_was_served() -> None:
    """The log has one line per value at first, and one per change after."""
    log = io.StringIO()

    async def act(plant: Plant) -> None:
        await seen(plant, PANEL)
        plant.press(3)
        await seen(plant, PANEL)

    with_plant(act, log=log)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 17
    assert (lines[-1]["unit"], lines[-1]["name"], lines[-1]["value"]) == (PANEL, "input3", 1.0)
