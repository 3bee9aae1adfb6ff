"""What a site may say about BACnet/IP: a bus, its devices and their points.

Frozen models with a description on every field; checked texts keep the form in which they were
written. No protocol library here, so that `edge check` starts without it.
"""

from __future__ import annotations

import builtins
import ipaddress
import re
from difflib import get_close_matches
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from drivers.bacnet.codec import INSTANCE_BITS, Property, object_identifier
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration
from edge.text import Text

PORT: Final = 47808  # 0xBAC0
LARGEST_INSTANCE: Final = 4_194_302  # 4194303 is the wildcard
PRESENT_VALUE: Final = 85

# Object types and properties that hold one number, as ASHRAE 135 numbers them (clause 21).
OBJECT_TYPES: Final = {
    "analog-input": 0, "analog-output": 1, "analog-value": 2, "binary-input": 3,
    "binary-output": 4, "binary-value": 5, "device": 8, "loop": 12, "multi-state-input": 13,
    "multi-state-output": 14, "averaging": 18, "multi-state-value": 19, "life-safety-point": 21,
    "life-safety-zone": 22, "accumulator": 23, "pulse-converter": 24, "load-control": 28,
    "access-door": 30, "timer": 31, "integer-value": 45, "large-analog-value": 46,
    "positive-integer-value": 48, "lighting-output": 54, "binary-lighting-output": 55,
    "elevator-group": 57, "lift": 59, "staging": 60,
}  # fmt: skip
_OUTPUTS: Final = frozenset(n for name, n in OBJECT_TYPES.items() if name.endswith("-output"))
_INPUTS: Final = frozenset(n for name, n in OBJECT_TYPES.items() if name.endswith("-input"))
BINARY: Final = frozenset(n for name, n in OBJECT_TYPES.items() if name.startswith("binary-"))
PROPERTIES: Final = {
    "change-of-state-count": 15, "controlled-variable-value": 21, "cov-increment": 22,
    "deadband": 25, "derivative-constant": 26, "elapsed-active-time": 33, "event-state": 36,
    "high-limit": 45, "integral-constant": 49, "low-limit": 59, "max-pres-value": 65,
    "min-pres-value": 69, "number-of-states": 74, "out-of-service": 81, "polarity": 84,
    "present-value": PRESENT_VALUE, "proportional-constant": 93, "reliability": 103,
    "relinquish-default": 104, "resolution": 106, "setpoint": 108, "system-status": 112,
    "tracking-value": 164, "feedback-value": 40, "pulse-rate": 186, "value-before-change": 190,
    "minimum-off-time": 66, "minimum-on-time": 67, "current-command-priority": 431,
}  # fmt: skip

_OBJECT: Final = re.compile(r"([a-z][a-z-]*|\d{1,4})\s*,\s*(\d{1,7})")
_LARGEST_TYPE: Final = 1023


def _number(name: str, known: dict[str, int], what: Text, largest: int) -> int:
    """The number of a standard name; a proprietary one is written as its number."""
    if name.isdecimal() and int(name) <= largest:
        return int(name)
    if name in known:
        return known[name]
    near = get_close_matches(name.lower(), known, 1)
    zh = f"是不是 {near[0]}?" if near else "标准名称写英文, 厂家自定义的写编号"
    en = f"did you mean {near[0]}?" if near else "write a standard name or a proprietary number"
    raise Refusal(Text(f"没有{what.zh} {name}; {zh}", f"there is no {what.en} {name}; {en}"))


def _identifier(text: str) -> int:
    match = _OBJECT.fullmatch(text)
    if match is None or int(match[2]) > LARGEST_INSTANCE:
        raise Refusal(
            Text(
                f'对象 "{text}" 应写成 "类型,实例号", 例如 "analog-input,1"',
                f'the object "{text}" should read "type,instance", such as "analog-input,1"',
            )
        )
    kind = _number(match[1], OBJECT_TYPES, Text("对象类型", "object type"), _LARGEST_TYPE)
    return object_identifier(kind, int(match[2]))


def _property(name: str) -> int:
    return _number(name, PROPERTIES, Text("属性", "property"), LARGEST_INSTANCE)


def _split(text: str) -> tuple[str, int]:
    """Host (with its prefix) and port."""
    host, _, port = text.partition(":")
    number = int(port) if port.isdecimal() else PORT if not port and ":" not in text else 0
    if not 0 < number < 65536:
        raise ValueError(port)
    return host, number


def _interface(text: str) -> str:
    try:
        host, _ = _split(text)
        interface = ipaddress.IPv4Interface(host)
    except ValueError:
        interface = None
    if interface is None or "/" not in text or interface.ip.is_unspecified:
        raise Refusal(
            Text(
                f'本机地址 "{text}" 应写成 "地址/前缀[:端口]", 例如 "192.168.20.5/24"',
                f'the own address "{text}" should read "address/prefix[:port]", '
                'such as "192.168.20.5/24"',
            )
        )
    return text


def _station(text: str) -> str:
    try:
        host, _ = _split(text)
        ipaddress.IPv4Address(host)
    except ValueError:
        raise Refusal(
            Text(
                f'设备地址 "{text}" 应写成 "地址[:端口]", 例如 "192.168.20.31"',
                f'the device address "{text}" should read "address[:port]", '
                'such as "192.168.20.31"',
            )
        ) from None
    return text


def _checked_object(text: str) -> str:
    _identifier(text)
    return text


def _checked_property(text: str) -> str:
    _property(text)
    return text


class BusConfig(Model):
    """A BACnet/IP port of this machine."""

    address: Annotated[
        str,
        AfterValidator(_interface),
        Field(description="own address, prefix and UDP port: 192.168.20.5/24[:47808]"),
    ]
    device: Annotated[
        int,
        Field(
            ge=0,
            le=LARGEST_INSTANCE,
            description="own device instance; must be the only one in the BACnet network",
        ),
    ] = 4_190_001
    timeout: Annotated[
        Duration, Field(ge=0.05, le=60, description="how long one attempt waits for an answer")
    ] = 1.0
    retries: Annotated[
        int, Field(ge=0, le=5, description="further attempts before a device counts as silent")
    ] = 1

    @property
    def claims(self) -> tuple[str, ...]:
        """What this bus alone uses on this machine."""
        return (f"udp {self.port}",)

    @property
    def interface(self) -> ipaddress.IPv4Interface:
        """Own address with its network."""
        return ipaddress.IPv4Interface(_split(self.address)[0])

    @property
    def port(self) -> int:
        """Own UDP port."""
        return _split(self.address)[1]


class DeviceConfig(Model):
    """A BACnet device."""

    device: Annotated[int, Field(ge=0, le=LARGEST_INSTANCE, description="its device instance")]
    address: Annotated[
        Annotated[str, AfterValidator(_station)] | None,
        Field(
            description="its address[:port] where broadcasts do not reach it; else it is searched"
        ),
    ] = None
    batch: Annotated[
        int,
        Field(ge=1, le=50, description="most points asked for in one ReadPropertyMultiple"),
    ] = 20  # coding one such request stays below 2 ms, and its answer below most APDU limits

    @property
    def claims(self) -> tuple[str, ...]:
        """What this device alone uses in its network."""
        return (f"device {self.device}",)


class PointConfig(Model):
    """One property of one object."""

    object: Annotated[
        str,
        AfterValidator(_checked_object),
        Field(description='object type and instance: "analog-input,1"; proprietary: "200,1"'),
    ]
    property: Annotated[
        str,
        AfterValidator(_checked_property),
        Field(description="its property, by standard name or by number"),
    ] = "present-value"

    @builtins.property  # the field of that name hides it here
    def name(self) -> str:
        """`analog-input,1`, with the property where it is not the present value."""
        plain = self.property == "present-value"
        return self.object if plain else f"{self.object} {self.property}"

    @builtins.property
    def commandable(self) -> bool:
        """Whether it is an output by nature."""
        kind, prop = self.target()[0] >> INSTANCE_BITS, self.target()[1]
        return kind in _OUTPUTS and prop == PRESENT_VALUE

    @builtins.property
    def measured(self) -> bool:
        """Whether it is an input by nature, which cannot be driven."""
        kind, prop = self.target()[0] >> INSTANCE_BITS, self.target()[1]
        return kind in _INPUTS and prop == PRESENT_VALUE

    def target(self) -> Property:
        """Object identifier and property identifier, as numbers."""
        return _identifier(self.object), _property(self.property)
