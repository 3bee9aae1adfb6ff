"""BACnet/IP: the entry of the driver. Nothing here imports the protocol library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from drivers.bacnet import codec
from drivers.bacnet.config import BusConfig, DeviceConfig, PointConfig
from drivers.bacnet.knowledge import learned
from drivers.bacnet.plan import check, plan
from drivers.curve import curved
from edge.driver import Driver, DriverKind, FieldDevice, Host, Poll


def _connect(
    bus: Any, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
) -> AbstractAsyncContextManager[Driver]:
    from drivers.bacnet.driver import connect  # noqa: PLC0415 - a quarter of a second to import

    return connect(bus, devices, polls, host)


def _vector(config: Any, raw: bytes, device: Mapping[str, Any]) -> float:
    """Decode application-tagged bytes: `44 41 c8 00 00` is 25.0."""
    return codec.number(raw)


BACNET = DriverKind(
    name="bacnet",
    bus=BusConfig,
    device=DeviceConfig,
    point=PointConfig,
    plan=plan,
    connect=curved(_connect),
    vector=_vector,
    check=check,
    learned=learned,
    priorities=True,
)
