"""What a driver brings to the contract suite: a device of its protocol, and ways to break it.

To join, write a `Rig` and add it to `RIGS` below; `test_driver.py` does the rest. `faults` names
what the rig can do; the tests that need something else are skipped for it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from drivers.bacnet import BACNET
from drivers.bacnet.config import BusConfig as BacnetBus
from drivers.bacnet.config import DeviceConfig as BacnetDeviceConfig
from drivers.bacnet.config import PointConfig as BacnetPoint
from drivers.modbus import MODBUS
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.sim.config import SimBus, SimDevice, SimPoint
from drivers.sim.driver import TIMEOUT, Line, sim_kind
from drivers.sim.models.panel import IoModule
from drivers.sim.models.zones import ZoneNetwork, zone_pressure
from drivers.sim.rig import Rig as SimulatedPlant
from drivers.sim.serve_bacnet import BacnetDevice, ObjectSpec
from edge.driver import Driver, DriverKind, FieldDevice, FieldPoint, Poll, Sample
from edge.errors import NotYet
from edge.schema.model import Model
from tests.support import bacnet_wire
from tests.support.certificates import certificates
from tests.support.modbus_device import MALFORMED, MALFORMED_RTU, Fault, ModbusDevice, Unit
from tests.support.modbus_media import Medium, Pty, RtuTcp, Tcp, Tls

Ability = Literal["silence", "delay", "drop", "malform"]


class Rig(ABC):
    """A running device and the configuration that fits it; an async context manager.

    `bus` is valid once entered. The first of `devices` is the one that the faults concern; its
    readable points must give at least two polls.
    """

    kind: DriverKind
    faults: frozenset[Ability] = frozenset()
    malformations: Sequence[str] = ()
    budget: float = 2.0
    """Seconds within which a silent device must have become a DeviceTimeout."""

    @property
    @abstractmethod
    def bus(self) -> Model:
        """The connection, as `kind.bus`."""

    @property
    def second_bus(self) -> Model:
        """The connection of a second instance at the same time (another local port, if need be)."""
        return self.bus

    @property
    @abstractmethod
    def devices(self) -> Sequence[FieldDevice]:
        """The devices behind it."""

    @property
    @abstractmethod
    def expected(self) -> Mapping[str, float]:
        """What each readable point that the device does not refuse reads."""

    @property
    def refused(self) -> Sequence[str]:
        """Readable points that the device does not have; their neighbours in a poll it has."""
        return ()

    @property
    @abstractmethod
    def writes(self) -> Sequence[tuple[str, float]]:
        """Values to write to points that can be read back."""

    @property
    def impossible(self) -> Sequence[tuple[str, float]]:
        """Values that must be refused, not changed into others."""
        return ()

    @abstractmethod
    async def __aenter__(self) -> Rig: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    def normal(self) -> None:
        """Answer as it should again."""

    def silence(self) -> None:
        """Say nothing any more ("silence")."""
        raise NotImplementedError

    def delay(self, seconds: float) -> None:
        """Answer each request so much later ("delay")."""
        raise NotImplementedError

    def drop(self) -> None:
        """Cut the connection ("drop")."""
        raise NotImplementedError

    def malform(self, how: str) -> None:
        """Answer with something that is no answer, one of `malformations` ("malform")."""
        raise NotImplementedError

    async def asked(self) -> None:
        """Wait until the device has received a request from now on ("silence")."""
        await asyncio.sleep(0.05)


async def read(driver: Driver, poll: Poll) -> Sample:
    """Read as the bus task does: what cannot be asked yet has another turn."""
    while True:
        try:
            return await driver.read(poll)
        except NotYet as later:
            await asyncio.sleep(later.wait)


def field_point(
    id: str,
    config: Model,
    *,
    writable: bool = False,
    readable: bool = True,
    scale: float = 1.0,
    offset: float = 0.0,
    low: float = float("-inf"),
    high: float = float("inf"),
    period: float = 1.0,
) -> FieldPoint:
    """A point with the usual values."""
    return FieldPoint(id, config, scale, offset, low, high, period, readable, writable)


class ModbusRig(Rig):
    """A Modbus device on any medium, with two units, three tables and a hole in its map."""

    kind = MODBUS
    faults = frozenset({"silence", "delay", "drop", "malform"})
    budget = 0.8
    refused = ("pump.hole",)
    impossible = (("pump.speed", 7000.0), ("pump.run", 2.0), ("pump.level", 1e39))
    writes = (
        ("pump.speed", 42.5),
        ("pump.run", 0.0),
        ("pump.level", -12.5),
        ("pump.mode", 5.0),
        ("pump.speed", 0.0),
    )
    expected: Mapping[str, float] = MappingProxyType({
        "pump.pressure": 0.412, "pump.flow": 230.2, "pump.speed": 38.0, "pump.run": 1.0,
        "pump.level": 0.4, "pump.mode": 2.0, "pump.fault": 0.0, "pump.energy": 123456789.0,
        "meter.power": -1000.0,
    })  # fmt: skip

    def __init__(self, make: Callable[[], Medium] = Tcp) -> None:
        unit = Unit(coil={8: 1}, discrete={3: 0})
        unit.put("holding", 100, bytes.fromhex("019C 6666 4366 017C"))
        unit.put("holding", 105, bytes.fromhex("3ECC CCCD 0020"))
        unit.put("input", 10, bytes.fromhex("075B CD15"))
        other = Unit()
        other.put("holding", 0, bytes.fromhex("FFFF FC18"))
        unit.put("holding", 101, bytes.fromhex("3333 4366"))
        self.device = ModbusDevice({1: unit, 2: other}, medium=make())
        self.second = ModbusDevice(self.device.units, medium=make())
        malformed = MALFORMED_RTU if self.device.medium.rtu else MALFORMED
        self.malformations = tuple(fault.name for fault in malformed)

    @property
    def bus(self) -> BusConfig:
        return BusConfig(**self.device.options, timeout="200ms")

    @property
    def second_bus(self) -> BusConfig:
        """A line has one master: the second instance has a line of its own to the same units."""
        return BusConfig(**self.second.options, timeout="200ms")

    @property
    def devices(self) -> Sequence[FieldDevice]:
        pump = (
            field_point("pump.pressure", PointConfig(holding=100), scale=0.001),
            field_point("pump.flow", PointConfig(holding=101, type="f32", order="CDAB")),
            field_point("pump.speed", PointConfig(holding=103), scale=0.1, writable=True),
            field_point("pump.hole", PointConfig(holding=104)),
            field_point("pump.level", PointConfig(holding=105, type="f32"), writable=True),
            field_point("pump.mode", PointConfig(holding=107, bit=4, length=3), writable=True),
            field_point("pump.run", PointConfig(coil=8), writable=True),
            field_point("pump.fault", PointConfig(discrete=3)),
            field_point("pump.energy", PointConfig(input=10, type="u32")),
        )
        meter = (field_point("meter.power", PointConfig(holding=0, type="i32")),)
        return (
            FieldDevice("pump", DeviceConfig(unit=1, read_modify_write=True), pump),
            FieldDevice("meter", DeviceConfig(unit=2), meter),
        )

    async def __aenter__(self) -> ModbusRig:
        await self.device.start()
        await self.second.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.second.stop()
        await self.device.stop()

    def normal(self) -> None:
        self.device.fault, self.device.delay = Fault.OK, 0.0

    def silence(self) -> None:
        self.device.fault = Fault.SILENT

    def delay(self, seconds: float) -> None:
        self.device.delay = seconds

    def drop(self) -> None:
        self.device.drop()

    def malform(self, how: str) -> None:
        self.device.fault = Fault[how]

    async def asked(self) -> None:
        await self.device.asked()


class SimRig(Rig):
    """Two simulated devices in-process; what is read does not depend on what is written."""

    faults = frozenset({"silence", "delay", "drop"})
    budget = TIMEOUT + 0.3
    refused = ("zone.missing",)
    impossible = (("zone.valve3", 120.0), ("panel.lamp", 0.5), ("zone.pressure", 0.4))
    writes = (
        ("zone.valve3", 42.5), ("panel.lamp", 1.0), ("panel.lamp", 0.0), ("zone.valve3", 0.0)
    )  # fmt: skip
    expected: Mapping[str, float] = MappingProxyType({
        "zone.pressure": 0.4, "zone.kpa": 400.0, "zone.valve3": 80.0, "zone.auto": 1.0,
        "panel.lamp": 0.0, "panel.button": 0.0,
    })  # fmt: skip

    def __init__(self) -> None:
        plant = SimulatedPlant(
            {"zones": ZoneNetwork(supply=0.4 / zone_pressure(1.0, 0.8)), "io": IoModule()}
        )
        self.line = Line()
        self.kind = sim_kind(plant, self.line)

    @property
    def bus(self) -> SimBus:
        return SimBus()

    @property
    def devices(self) -> Sequence[FieldDevice]:
        zone = (
            field_point("zone.pressure", SimPoint(variable="z1_pressure"), low=0.0, high=1.0),
            field_point("zone.kpa", SimPoint(variable="z1_pressure"), scale=1000.0, period=5.0),
            field_point("zone.valve3", SimPoint(variable="v3_command"), writable=True),
            field_point("zone.auto", SimPoint(variable="v1_auto"), period=5.0),
            field_point("zone.missing", SimPoint(variable="tank_level"), period=9.0),
        )
        panel = (
            field_point("panel.lamp", SimPoint(variable="relay1"), writable=True),
            field_point("panel.button", SimPoint(variable="input1")),
        )
        return (
            FieldDevice("zone", SimDevice(model="zones"), zone),
            FieldDevice("panel", SimDevice(model="io"), panel),
        )

    async def __aenter__(self) -> SimRig:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    def normal(self) -> None:
        self.line.silent.clear()
        self.line.delay, self.line.down = 0.0, False

    def silence(self) -> None:
        self.line.silent.add("zone")

    def delay(self, seconds: float) -> None:
        self.line.delay = seconds

    def drop(self) -> None:
        self.line.down = True


class BacnetRig(Rig):
    """A BACnet/IP device behind a relay, and a second one without."""

    kind = BACNET
    faults = frozenset({"silence", "delay", "malform"})
    malformations = bacnet_wire.MALFORMED
    budget = 0.8
    refused = ("lobby.absent",)
    impossible = (("lobby.dimmer", 1e39), ("lobby.lamp", 2.0), ("lobby.scene", -1.0))
    writes = (
        ("lobby.dimmer", 62.5),
        ("lobby.lamp", 1.0),
        ("lobby.limit", -12.5),
        ("lobby.scene", 3.0),
        ("lobby.dimmer", 0.0),
    )
    expected: Mapping[str, float] = MappingProxyType({
        "lobby.lux": 321.5, "lobby.dimmer": 25.0, "lobby.limit": 80.0, "lobby.lamp": 0.0,
        "lobby.scene": 1.0, "lobby.door": 1.0, "garage.power": 1.5,
    })  # fmt: skip

    def __init__(self) -> None:
        port, self.own, self.second, other = (bacnet_wire.free_port() for _ in range(4))
        lobby = (
            ObjectSpec("analog-input,1", "illuminance", "luxes", default=321.5),
            ObjectSpec("analog-output,1", "dimmer", "percent", default=25.0),
            ObjectSpec("analog-value,1", "limit", "percent", default=80.0),
            ObjectSpec("binary-output,1", "lamp"),
            ObjectSpec("multi-state-output,1", "scene", default=1, states=4),
            ObjectSpec("binary-input,1", "door", default=1),
        )
        garage = (ObjectSpec("analog-input,7", "power", "watts", default=1500.0),)
        self.device = BacnetDevice(1001, f"127.0.0.1/32:{port}", lobby)
        self.garage = BacnetDevice(1002, f"127.0.0.1/32:{other}", garage)
        self.garage_address = f"127.0.0.1:{other}"
        self.relay = bacnet_wire.Relay(port)

    @property
    def bus(self) -> BacnetBus:
        return BacnetBus(address=f"127.0.0.1/32:{self.own}", timeout="200ms", retries=1)

    @property
    def second_bus(self) -> BacnetBus:
        return BacnetBus(address=f"127.0.0.1/32:{self.second}", timeout="200ms", retries=1)

    @property
    def devices(self) -> Sequence[FieldDevice]:
        def at(id: str, object: str, **more: Any) -> FieldPoint:
            return field_point(id, BacnetPoint(object=object), **more)

        lobby = (
            at("lobby.lux", "analog-input,1"),
            at("lobby.absent", "analog-input,9"),
            at("lobby.dimmer", "analog-output,1", writable=True),
            at("lobby.limit", "analog-value,1", writable=True, period=5.0),
            at("lobby.lamp", "binary-output,1", writable=True, period=5.0),
            at("lobby.scene", "multi-state-output,1", writable=True, period=10.0),
            at("lobby.door", "binary-input,1", period=10.0),
        )
        garage = (at("garage.power", "analog-input,7", scale=0.001),)
        address = self.relay.address
        return (
            FieldDevice("lobby", BacnetDeviceConfig(device=1001, address=address), lobby),
            FieldDevice(
                "garage", BacnetDeviceConfig(device=1002, address=self.garage_address), garage
            ),
        )

    async def __aenter__(self) -> BacnetRig:
        await self.device.__aenter__()
        await self.garage.__aenter__()
        await self.relay.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.relay.stop()
        await self.garage.__aexit__(None, None, None)
        await self.device.__aexit__(None, None, None)

    def normal(self) -> None:
        self.relay.silent, self.relay.delay, self.relay.malform = False, 0.0, None

    def silence(self) -> None:
        self.relay.silent = True

    def delay(self, seconds: float) -> None:
        self.relay.delay = seconds

    def malform(self, how: str) -> None:
        self.relay.malform = how

    async def asked(self) -> None:
        await self.relay.asked()


MODBUS_MEDIA: Mapping[str, Callable[[], Medium]] = {
    "tcp": Tcp, "tls": lambda: Tls(certificates()), "rtu": Pty, "rtu_tcp": RtuTcp,
}  # fmt: skip

RIGS: Mapping[str, Callable[[], Rig]] = {
    **{f"modbus-{name}": partial(ModbusRig, make) for name, make in MODBUS_MEDIA.items()},
    "bacnet": BacnetRig,
    "sim": SimRig,
}
