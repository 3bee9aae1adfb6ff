"""Where simulated equipment stands on this machine: an address here for each address of a site.

The controller that tries it and the equipment itself both ask here, so that nobody has to tell the
other. What is at home already, on a loopback address, stays. Knows buses and devices by the port
that every driver has and by the names of their options, and none of their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from edge.driver import DriverKind, FieldDevice
from edge.errors import Unusable
from edge.text import Text

FIRST_TCP: Final = 15511  # of Modbus buses whose address is elsewhere, one after another
FIRST_UDP: Final = 47831  # of BACnet: our own port of each bus, then its devices'


class Bus(Protocol):
    """What is needed of a site's bus."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> DriverKind: ...
    @property
    def config(self) -> Any: ...
    @property
    def devices(self) -> tuple[FieldDevice, ...]: ...


SomeBus = TypeVar("SomeBus", bound=Bus)


def at_home(address: str) -> bool:
    """Whether `host`, `host:port` or `[IPv6]:port`, with or without a prefix, is this machine's
    loopback."""
    host = address.partition("/")[0]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def localised(
    buses: Sequence[SomeBus], folder: Path, tcp: int = FIRST_TCP, udp: int = FIRST_UDP
) -> tuple[SomeBus, ...]:
    """The same buses with addresses of this machine; serial lines are links in `folder`.

    Two Modbus buses with one address keep sharing one. `Unusable`: a bus that cannot be simulated.
    """
    taken: dict[str, str] = {}
    found = []
    for bus in buses:
        if bus.kind.name == "modbus":
            config = _modbus(bus.id, bus.config, folder, taken, tcp)
            found.append(_with(bus, config, bus.devices))
        elif bus.kind.name == "bacnet":
            home, udp = _bacnet(bus, udp)
            found.append(home)
        elif bus.kind.simulated:
            found.append(bus)
        else:
            raise Unusable(_STRANGE.format(bus=bus.id, kind=bus.kind.name))
    return tuple(found)


def _with(bus: SomeBus, config: Any, devices: tuple[FieldDevice, ...]) -> SomeBus:
    return replace(bus, config=config, devices=devices)  # type: ignore[type-var]


def _modbus(id: str, config: Any, folder: Path, taken: dict[str, str], first: int) -> Any:
    """A terminal for a serial line; plain TCP for TLS and for RTU over TCP, on a port here."""
    if config.serial is not None:
        return config.model_copy(update={"serial": str(folder / f"{id}.line"), "rs485": False})
    address = config.tcp or config.rtu_tcp
    if config.tcp and not config.tls and at_home(address):
        return config
    here = taken.setdefault(address, f"127.0.0.1:{first + len(taken)}")
    return config.model_copy(update={"tcp": here, "rtu_tcp": None, "tls": False})


def _bacnet(bus: SomeBus, port: int) -> tuple[SomeBus, int]:
    """Nobody hears a broadcast here, so each device gets an address. Also the next free port."""
    config, devices = bus.config, []
    if not at_home(config.address):
        config = config.model_copy(update={"address": f"127.0.0.1/32:{port}"})
        port += 1
    for device in bus.devices:
        own = device.config
        if own.address is None or not at_home(own.address):
            own = own.model_copy(update={"address": f"127.0.0.1:{port}"})
            port += 1
        devices.append(replace(device, config=own))
    return _with(bus, config, tuple(devices)), port


_STRANGE = Text(
    "总线 {bus} 的协议 {kind} 不能在本机仿真",
    "bus {bus}: its protocol {kind} cannot be simulated here",
)
