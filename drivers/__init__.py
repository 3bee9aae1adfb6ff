"""The table of drivers: one line each. Only `edge.cli` and `edge.app` import it, and hand it on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from drivers.bacnet import BACNET
from drivers.modbus import MODBUS
from drivers.sim import SIM
from edge.driver import DriverKind

DRIVERS: Mapping[str, DriverKind] = MappingProxyType(
    {"bacnet": BACNET, "modbus": MODBUS, "sim": SIM}
)
