"""Modbus over TCP, TLS and serial lines: the entry of the driver. README.md lists its parts."""

from drivers.curve import curved
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.driver import connect, vector
from drivers.modbus.knowledge import learned
from drivers.modbus.plan import check, cost, plan
from edge.driver import DriverKind

MODBUS = DriverKind(
    name="modbus",
    bus=BusConfig,
    device=DeviceConfig,
    point=PointConfig,
    plan=plan,
    connect=curved(connect),
    check=check,
    vector=vector,
    cost=cost,
    learned=learned,
)
