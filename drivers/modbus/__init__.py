"""Modbus TCP: the entry of the driver. Its parts are listed in README.md."""

from drivers.modbus.config import BusConfig, DeviceConfig, PointConfig
from drivers.modbus.driver import connect, vector
from drivers.modbus.plan import check, plan
from edge.driver import DriverKind

MODBUS = DriverKind(
    name="modbus",
    bus=BusConfig,
    device=DeviceConfig,
    point=PointConfig,
    plan=plan,
    connect=connect,
    check=check,
    vector=vector,
)
