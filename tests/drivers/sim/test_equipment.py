"""A site's equipment on real sockets, seen by the controller's own drivers and by a third-party
client; the maps that its units have, compared with manuals."""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

import edge
from drivers import DRIVERS
from drivers.modbus.codec import Cell
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.decoder import decode_one
from drivers.sim.equipment import STEP, Equipment, _register
from drivers.sim.local import FIRST_TCP, at_home, localised
from drivers.sim.registers import Unit, bits_of, words_of
from edge.bus.host import BusHost
from edge.driver import Driver, FieldPoint, Write
from edge.errors import DeviceTimeout, Unusable
from edge.image import quality
from edge.proof.setting import Setting, setting
from edge.site.site import Bus
from tests.support import maps
from tests.support.mosquitto import free_port
from tests.support.plant import free_udp_port

CONFIG = Path(edge.__file__).resolve().parents[1] / "config"
SITES = sorted(path.parent.name for path in CONFIG.glob("*/plant.yaml"))
BOOSTER, VALVES, METERS, FIRE = 1, (11, 12, 13), (21, 22, 23), 41


def on_free_ports(name: str, tmp_path: Path) -> tuple[Setting, tuple[Bus, ...]]:
    """A sample site with its plant, and its buses on ports that nobody uses."""
    found = setting(CONFIG / name, DRIVERS, minute=435.0)
    free: dict[str, str] = {}

    def moved(address: str, port: Callable[[], int]) -> str:
        return free.setdefault(address, f"{address.rpartition(':')[0]}:{port()}")

    buses = []
    for bus in localised(found.site.buses, tmp_path):
        config, devices = bus.config, bus.devices
        if bus.kind.name == "modbus":
            if config.tcp is not None:
                config = config.model_copy(update={"tcp": moved(config.tcp, free_port)})
        else:
            address = moved(config.address, free_udp_port)
            config = config.model_copy(update={"address": address})
            devices = tuple(
                replace(d, config=d.config.model_copy(
                    update={"address": moved(d.config.address, free_udp_port)}
                )) for d in devices
            )  # fmt: skip
        buses.append(replace(bus, config=config, devices=devices))
    return found, tuple(buses)


Act = Callable[[Equipment, tuple[Bus, ...]], Awaitable[None]]


def beside(name: str, tmp_path: Path, act: Act, **options: Any) -> None:
    """Run `act` beside the running equipment of a sample site."""
    found, buses = on_free_ports(name, tmp_path)

    async def main() -> None:
        async with Equipment(found.field, buses, **options) as equipment:
            running = asyncio.create_task(equipment.run())
            try:
                await act(equipment, buses)
            finally:
                running.cancel()

    asyncio.run(main())


def over(bus: Bus) -> AbstractAsyncContextManager[Driver]:
    """The real driver of a bus; the one in the setting is the virtual field's."""
    return DRIVERS[bus.kind.name].connect(bus.config, bus.devices, bus.polls, BusHost())


async def seen(bus: Bus, *devices: str) -> dict[str, float]:
    """Every readable point of these devices (all unless named), by the bus's own driver."""
    values: dict[str, float] = {}
    polls = [p for p in bus.polls if not devices or p.device in devices]
    async with over(bus) as driver:
        for poll in polls:
            sample = await driver.read(poll)
            assert not (sample.quality & quality.BAD).any(), poll.label
            values |= dict(zip(poll.points, map(float, sample.values), strict=True))
    return values


def close(bus: Bus, point: str, value: float) -> Any:
    """The truth within what a register of this point can show."""
    (found,) = (p for d in bus.devices for p in d.points if p.id == point)
    return pytest.approx(value, rel=2e-3, abs=abs(found.scale) if bus.kind.name == "modbus" else 1)


@pytest.mark.parametrize("name", SITES)
def test_every_sample_site_can_be_read_over_its_sockets(name: str, tmp_path: Path) -> None:
    """Each point of each device arrives good by its own driver, with the model's own value."""

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        count = 0
        for bus in buses:
            for point, value in (await seen(bus)).items():
                assert value == close(bus, point, equipment.field.value(point)), point
                count += 1
        assert count == sum(p.readable for b in buses for d in b.devices for p in d.points)

    beside(name, tmp_path, act)


@pytest.mark.parametrize("name", SITES)
def test_every_output_of_a_sample_site_can_be_written(name: str, tmp_path: Path) -> None:
    """What stands in an output is written again by its driver, and other values reach the model."""

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        for bus in buses:
            async with over(bus) as driver:
                for device in bus.devices:
                    for point in (p for p in device.points if p.writable):
                        other = 1.0 if equipment.field.value(point.id) == 0 else 0.0
                        await driver.write([Write(device.id, point.id, other, 14)])
                        if bus.kind.name == "bacnet":
                            await asyncio.sleep(2.5 * STEP)  # it looks at its objects so often
                        assert equipment.field.value(point.id) == other, point.id

    beside(name, tmp_path, act)


TYPES: Mapping[str, tuple[float, ...]] = {
    "u16": (0, 1, 65534), "i16": (-32768, -1, 32767), "u32": (0, 70_000, 2**32 - 2),
    "i32": (-(2**31), -70_000, 2**31 - 1), "u64": (0, 2**40 + 1), "i64": (-(2**40) - 1, 5),
    "f32": (0.25, -1234.5), "f64": (0.1, -1e12), "bcd16": (0, 1234, 9999),
    "bcd32": (0, 12_345_678), "mod10k": (0, 9999, 10_000, 12_345_678), "enum": (0, 7),
}  # fmt: skip


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_served_as_our_codec_reads_it(kind: Any, order: Any) -> None:
    """Two codings that share nothing, one by struct and one by numpy, agree byte by byte."""
    config = PointConfig(holding=7, type=kind)
    point = FieldPoint("p", config, 1.0, 0.0, -math.inf, math.inf, 1.0, True, True)
    register = _register(DeviceConfig(order=order), point)
    for value in TYPES[kind]:
        wire = register.encode(value)
        assert decode_one(Cell(7, kind, order), wire, bits=False) == (value, 0)
        assert register.decode(wire) == value


@pytest.mark.parametrize("order", ["ABCD", "BADC"])
@pytest.mark.parametrize(("bit", "length", "value"), [(0, 1, 1), (9, 1, 1), (3, 4, 11), (8, 8, 99)])
def test_bits_are_served_as_our_codec_reads_them(
    bit: int, length: int, value: float, order: Any
) -> None:
    """At their place of the word, before and after their bytes are swapped."""
    kind: Any = "bool" if length == 1 else "bitfield"
    config = PointConfig(holding=7, bit=bit, length=length, type=kind)
    point = FieldPoint("p", config, 1.0, 0.0, 0, 255, 1.0, True, True)
    register = _register(DeviceConfig(order=order), point)
    shelf = {"p": value}
    unit = Unit([register], shelf.__getitem__, shelf.__setitem__)
    wire = words_of(unit.values("holding", 7, 1), 7, 1)
    assert decode_one(Cell(7, kind, order, bit, length), wire, bits=False) == (value, 0)
    unit.put_words(7, bytes(2))
    assert shelf["p"] == 0.0


def test_scale_and_offset_of_a_point_are_undone() -> None:
    """A device in °F with 0.1 steps shows what the point has in °C."""
    config = PointConfig(input=0, type="i16")
    point = FieldPoint("t", config, 0.1 / 1.8, -32 / 1.8, -50, 200, 1.0, True, False)
    register = _register(DeviceConfig(), point)
    assert register.encode(30.0) == (860).to_bytes(2, "big")
    assert register.writable is None


MANUALS: tuple[tuple[str, str, int, tuple[Any, ...]], ...] = (
    ("demo", "supply", BOOSTER, maps.booster_map()),
    *(("demo", "zones", 10 + i, maps.valve_map(i)) for i in (1, 2, 3)),
    *(("demo", "zones", 20 + i, maps.meter_map(f"z{i}")) for i in (1, 2, 3)),
    ("demo", "zones", 20, maps.meter_map("header")),
    ("demo", "panel", 31, maps.io_map()),
    ("demo", "hydrant", FIRE, maps.FIRE_MAP),
    ("demo", "sump", 51, maps.sump_map()),
    ("demo", "garage", 52, maps.GARAGE_MAP),
    ("demo", "tower", 61, maps.tower_map()),
    ("residential", "yard", 53, maps.YARD_MAP),
    ("irrigation", "irrigation", 1, maps.BED_MAP),
    ("irrigation", "irrigation", 2, maps.WEATHER_MAP),
)


@pytest.mark.parametrize(
    ("site", "model", "unit", "registers"), MANUALS, ids=[f"{m[0]}-{m[2]}" for m in MANUALS]
)
@pytest.mark.parametrize("broken", [False, True])
def test_the_profiles_lead_to_the_maps_of_the_manuals(
    site: str, model: str, unit: int, registers: tuple[Any, ...], broken: bool, tmp_path: Path
) -> None:
    """Byte by byte: what a unit serves by its profile is what its manual says, written apart; with
    every sensor that a register shows broken, too."""
    found, buses = on_free_ports(site, tmp_path)
    rig = found.field.rig
    served = next(
        server.units[unit]
        for server in Equipment(found.field, buses).modbus.values()
        if unit in server.units
    )
    rig.advance_to(0.0)
    rig.advance_to(30.0)
    for register in registers if broken else ():
        if register.bit is None and register.variable not in rig.models[model].commands:
            rig.start(model, f"sensor_bad:{register.variable}")
    by_manual = Unit(registers, partial(rig.read, model), lambda *_: None)
    for register in registers:
        ask = (register.table, register.address, register.words)
        shown = bits_of if register.table in ("coil", "discrete") else words_of
        wire = shown(by_manual.values(*ask), *ask[1:])
        assert shown(served.values(*ask), *ask[1:]) == wire, register.variable


def test_the_plant_starts_in_balance(tmp_path: Path) -> None:
    """At the start the pumps feed the zones: nothing moves until somebody breaks something."""
    rig = on_free_ports("demo", tmp_path)[0].field.rig
    rig.advance_to(0.0)
    rig.advance_to(120.0)
    assert rig.read("supply", "discharge_pressure") == pytest.approx(0.41, abs=0.004)
    assert rig.read("zones", "z2_flow") == pytest.approx(6.0, abs=0.05)
    assert rig.read("tower", "leaving_temperature") == pytest.approx(30.0, abs=0.3)
    rig.start("zones", "burst:2")
    rig.advance_to(140.0)
    assert rig.read("supply", "flow") > 24.0
    assert rig.read("zones", "z1_pressure") < 0.39


def test_the_units_stand_on_a_serial_line_too(tmp_path: Path) -> None:
    """The same devices, faults and values over RTU, beside TCP, behind a link that stays."""
    link = tmp_path / "line"

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        bus = next(bus for bus in buses if bus.kind.name == "modbus")
        config = bus.config.model_copy(update={"tcp": None, "serial": str(link)})
        line = replace(bus, config=config)
        assert await seen(line, "io", "v1") == await seen(bus, "io", "v1")
        equipment.silence("io", True)
        with pytest.raises(DeviceTimeout):
            await seen(line, "io")
        equipment.silence("io", False)
        await seen(line, "io")

    beside("demo", tmp_path, act, serial=link)
    assert not link.is_symlink()


def test_a_serial_bus_becomes_a_terminal(tmp_path: Path) -> None:
    """With the parity of the real line, which a terminal does not mind; a gateway beside it."""
    shutil.copytree(CONFIG, tmp_path / "config")
    site = tmp_path / "config" / "residential" / "site.yaml"
    text = site.read_text().replace("tcp: 192.168.10.22", "serial: /dev/ttyUSB7, parity: even")
    site.write_text(text)
    found = setting(site, DRIVERS)
    buses = localised(found.site.buses, tmp_path, tcp=free_port())

    async def main() -> None:
        async with Equipment(found.field, buses):
            values = await seen(buses[1])
            assert values["pit.level"] == pytest.approx(0.5, abs=0.002)

    asyncio.run(main())
    assert buses[1].config.serial == str(tmp_path / "garage.line")
    assert not (tmp_path / "garage.line").is_symlink()


def test_every_unit_says_who_it_is(tmp_path: Path) -> None:
    """Vendor and revision, and as product the model behind it."""

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        (server,) = equipment.modbus.values()
        client = AsyncModbusTcpClient("127.0.0.1", port=server.port, timeout=1, retries=0)
        assert await client.connect()
        said = {}
        for unit in server.units:
            found = await client.read_device_information(read_code=1, device_id=unit)
            assert (found.information[0], found.information[2]) == (b"Simulated Equipment", b"1.0")
            said[unit] = found.information[1]
        client.close()
        assert said[BOOSTER] == b"supply"
        assert {said[unit] for unit in (*VALVES, *METERS)} == {b"zones"}

    beside("demo", tmp_path, act)


def test_the_fire_main_can_only_be_read(tmp_path: Path) -> None:
    """The fire device shows pressure and AUTO and refuses every write."""

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        (server,) = equipment.modbus.values()
        client = AsyncModbusTcpClient("127.0.0.1", port=server.port, timeout=1, retries=0)
        assert await client.connect()
        assert (await client.read_input_registers(0, device_id=FIRE)).registers == [320]
        assert (await client.read_discrete_inputs(0, device_id=FIRE)).bits[0]
        assert (await client.write_register(0, 1, device_id=FIRE)).exception_code == 2
        assert (await client.write_coil(0, True, device_id=FIRE)).exception_code == 2
        client.close()

    beside("demo", tmp_path, act)


def test_a_bad_sensor_is_bad_on_both_protocols(tmp_path: Path) -> None:
    """NaN in a float, the sentinel in an integer, the fault flag of an object; then well again."""

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        faults = {
            "booster.discharge_pressure": ("supply", "sensor_bad:discharge_pressure"),
            "ct.leaving": ("tower", "sensor_bad:leaving_temperature"),
            "lobby.lux": ("lobby", "sensor_bad:illuminance"),
        }
        for point, fault in faults.items():
            equipment.rig.start(*fault)
            for served in equipment.bacnet.values():
                served.tick()
            bus, poll = next((b, p) for b in buses for p in b.polls if point in p.points)
            async with over(bus) as driver:
                for _ in range(3):  # the flags of an object come with its second answer
                    sample = await driver.read(poll)
                assert sample.quality[poll.points.index(point)] & quality.BAD, point
            equipment.rig.stop(*fault)

    beside("demo", tmp_path, act)


def test_lobby_follows_its_bacnet_output(tmp_path: Path) -> None:
    """A command dims the lamps, and the sensor sees it on the next tick; NULL brings the rest."""

    async def act(equipment: Equipment, buses: tuple[Bus, ...]) -> None:
        lobby = equipment.bacnet["lobby"]
        lobby.command("analog-output,1", 14, 100.0)
        for _ in range(2):
            lobby.tick()
        assert equipment.rig.read("lobby", "level") == 100.0
        lux = lobby.value("analog-input,1")
        assert lux == pytest.approx(equipment.rig.read("lobby", "illuminance"), abs=0.5)
        lobby.command("analog-output,1", 14, 150.0)  # more than lamps can
        lobby.tick()
        assert equipment.rig.read("lobby", "level") == 100.0
        lobby.command("analog-output,1", 14, None)
        lobby.tick()
        assert equipment.rig.read("lobby", "level") == 50.0

    beside("demo", tmp_path, act)


# Which address becomes which.


@pytest.mark.parametrize(
    ("address", "home"),
    [
        ("127.0.0.1:15502", True), ("127.0.0.1/32:47820", True), ("localhost", True),
        ("[::1]:502", True), ("::1", True), ("192.168.10.21", False), ("gateway.local:502", False),
        ("0.0.0.0:502", False), ("192.168.20.5/24", False), ("[fd00::20]:502", False),
    ],
)  # fmt: skip
def test_what_is_on_this_machine_already(address: str, home: bool) -> None:
    assert at_home(address) is home


def test_addresses_of_this_machine_stay_and_others_move(tmp_path: Path) -> None:
    """The demo is at home; the residential site's gateways become two ports, the same each time."""
    demo = setting(CONFIG / "demo", DRIVERS).site
    assert localised(demo.buses, tmp_path) == demo.buses
    residential = setting(CONFIG / "residential", DRIVERS).site
    twice = [localised(residential.buses, tmp_path) for _ in range(2)]
    assert twice[0] == twice[1]
    assert [bus.config.tcp for bus in twice[0]] == [f"127.0.0.1:{FIRST_TCP + i}" for i in (0, 1)]
    office = localised(setting(CONFIG / "office-lobby", DRIVERS).site.buses, tmp_path)
    addresses = [d.config.address for d in office[0].devices]
    assert len({office[0].config.address, *addresses}) == 4
    assert all(at_home(address) for address in (office[0].config.address, *addresses))


SITE = """
site: {id: odd, timezone: Asia/Shanghai}
buses:
  a: {driver: modbus, tcp: 192.168.1.5}
  b: {driver: modbus, rtu_tcp: "192.168.1.6:4001"}
  c: {driver: modbus, tcp: 192.168.1.5}
  d: {driver: bacnet, address: 192.168.1.7/24}
devices:
  one:   {bus: a, unit: 1, points: {x: {holding: 0}}}
  two:   {bus: b, unit: 1, points: {x: {holding: 0}}}
  three: {bus: c, unit: UNIT, points: {x: {holding: 0}}}
  four:  {bus: d, device: 9, points: {x: {object: "OBJECT"}}}
"""


@pytest.mark.parametrize(
    ("unit", "object", "complaint"),
    [
        ("2", "analog-input,1", None),
        ("1", "analog-input,1", "three shares address and unit 1"),
        ("2", "accumulator,3", "point four.x: the BACnet object accumulator,3"),
        ("2", "200,1", "point four.x: the BACnet object 200,1"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(
    unit: str, object: str, complaint: str | None, tmp_path: Path
) -> None:
    """By the device or the point; a gateway with RTU over TCP is served as plain TCP."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("UNIT", unit).replace("OBJECT", object))
    found = setting(path, DRIVERS)
    buses = localised(found.site.buses, tmp_path)
    first, other = f"127.0.0.1:{FIRST_TCP}", f"127.0.0.1:{FIRST_TCP + 1}"
    assert [bus.config.tcp for bus in buses[:3]] == [first, other, first]
    if complaint is None:
        served = Equipment(found.field, buses)
        assert {a: sorted(s.units) for a, s in served.modbus.items()} == {first: [1, 2], other: [1]}
    else:
        with pytest.raises(Unusable) as caught:
            Equipment(found.field, buses)
        assert complaint in caught.value.text.en
        assert caught.value.text.zh != caught.value.text.en


def test_a_taken_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    """With its TCP or its UDP port taken, or a link that cannot be made, both languages say so."""
    for name, kind in (("demo", socket.SOCK_STREAM), ("office-lobby", socket.SOCK_DGRAM)):
        found, buses = on_free_ports(name, tmp_path)
        config, device = buses[0].config, buses[0].devices[0].config
        address = config.tcp if kind == socket.SOCK_STREAM else device.address
        host, _, port = address.rpartition(":")
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind((host, int(port)))
            if kind == socket.SOCK_STREAM:
                other.listen()
            _refused(Equipment(found.field, buses), port)
    taken = tmp_path / "taken"
    taken.write_text("not a link")
    for link in (taken, tmp_path / "nowhere" / "line"):
        found, buses = on_free_ports("demo", tmp_path)
        _refused(Equipment(found.field, buses, serial=link), str(link))


def _refused(equipment: Equipment, named: str) -> None:
    async def main() -> None:
        async with equipment:
            pass

    with pytest.raises(Unusable) as caught:
        asyncio.run(main())
    assert named in caught.value.text.zh
    assert named in caught.value.text.en
    assert caught.value.text.zh != caught.value.text.en


@pytest.mark.parametrize(
    ("tcp", "where"),
    [
        ("127.0.0.1", ("127.0.0.1", 502)), ("127.0.0.1:1502", ("127.0.0.1", 1502)),
        ("[::1]", ("::1", 502)), ("[::1]:1502", ("::1", 1502)), ("localhost", ("localhost", 502)),
    ],
)  # fmt: skip
def test_an_address_at_home_is_listened_on_as_it_is_written(
    tcp: str, where: tuple[str, int], tmp_path: Path
) -> None:
    """With the standard port where none is given."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("192.168.1.5", f'"{tcp}"').replace("UNIT", "2").replace(
        "OBJECT", "analog-input,1"
    ))  # fmt: skip
    found = setting(path, DRIVERS)
    server = Equipment(found.field, localised(found.site.buses, tmp_path)).modbus[tcp]
    assert (server.host, server.port) == where
