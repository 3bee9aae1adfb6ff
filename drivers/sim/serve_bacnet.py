"""Simulated equipment as a real BACnet/IP device, on a UDP port of its own.

Objects are a table of `ObjectSpec`s bound to callables; `tick` carries values between them and the
model. Knows no model and no part of our codec: the library does all the coding. Used by
`equipment.py` and by tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from bacpypes3.appservice import ApplicationServiceAccessPoint
from bacpypes3.basetypes import (
    BinaryPV,
    PriorityValue,
    PropertyIdentifier,
    Segmentation,
)
from bacpypes3.errors import PropertyError, UnrecognizedService
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject, BinaryValueObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import (
    MultiStateInputObject,
    MultiStateOutputObject,
    MultiStateValueObject,
)
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import Real, Unsigned

from drivers.bacnet.config import BusConfig
from drivers.bacnet.link import VENDOR, Stack, claim


class _AnalogValueCommanded(Commandable, AnalogValueObject):  # type: ignore[misc]
    pass


class _BinaryValueCommanded(Commandable, BinaryValueObject):  # type: ignore[misc]
    pass


class _MultiStateValueCommanded(Commandable, MultiStateValueObject):  # type: ignore[misc]
    pass


_CLASSES: Final[dict[str, Any]] = {
    "analog-input": AnalogInputObject,
    "analog-output": AnalogOutputObject,
    "analog-value": AnalogValueObject,
    "binary-input": BinaryInputObject,
    "binary-output": BinaryOutputObject,
    "binary-value": BinaryValueObject,
    "multi-state-input": MultiStateInputObject,
    "multi-state-output": MultiStateOutputObject,
    "multi-state-value": MultiStateValueObject,
}
SERVED: Final = frozenset(_CLASSES)  # object types that there are here
_COMMANDED: Final[dict[str, Any]] = {
    "analog-value": _AnalogValueCommanded,
    "binary-value": _BinaryValueCommanded,
    "multi-state-value": _MultiStateValueCommanded,
}


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object: `object` is "type,instance", `units` a BACnet unit name such as "luxes".

    On each tick `get` gives the present value, and `set` takes it: the effective one, after the
    priority array; `bad` says that the sensor is broken, which raises the fault flag. `default` is
    the first value and what all-NULL falls back to. Outputs always have a priority array, values
    (analog-value, …) only when `commandable`.
    """

    object: str
    name: str
    units: str = "no-units"
    get: Callable[[], float] | None = None
    set: Callable[[float], None] | None = None
    bad: Callable[[], bool] = lambda: False
    default: float = 0.0
    commandable: bool = False
    states: int = 3

    @property
    def kind(self) -> str:
        """The object type: "analog-input"."""
        return self.object.partition(",")[0]

    @property
    def instance(self) -> int:
        """The instance number."""
        return int(self.object.partition(",")[2])


@dataclass(slots=True)
class Faults:
    """What is wrong with the device at present. The sets hold objects as their specs name them.

    `silent`: datagrams are not even looked at. `delay`: seconds before one is. `fault` and
    `out_of_service` raise the status flag; an object out of service no longer follows the model.
    `no_multiple`: ReadPropertyMultiple is an unrecognised service.
    """

    silent: bool = False
    delay: float = 0.0
    fault: set[str] = field(default_factory=set)
    out_of_service: set[str] = field(default_factory=set)
    no_multiple: bool = False


class _Access(ApplicationServiceAccessPoint):  # type: ignore[misc]
    """The layer that datagrams reach first: here they are dropped or delayed."""

    faults: Faults

    async def confirmation(self, pdu: Any) -> None:
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        if not self.faults.silent:
            await super().confirmation(pdu)


class _Served(Stack):
    faults: Faults

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:
        if self.faults.no_multiple:
            raise UnrecognizedService("simulated")
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_WritePropertyRequest(self, apdu: Any) -> None:
        """The library takes writes to anything; a real device does not."""
        served = self.get_object_id(apdu.objectIdentifier)
        present = apdu.propertyIdentifier == PropertyIdentifier.presentValue
        measured = served is not None and str(served.objectType).endswith("-input")
        if served is self.device_object or (measured and not (present and served.outOfService)):
            raise PropertyError("writeAccessDenied")
        await super().do_WritePropertyRequest(apdu)


class BacnetDevice:
    """A device with its objects; an async context manager that holds its port.

    `address` is "127.0.0.1/32:47820": devices on one machine need different ports. `model` and
    `firmware` are what it says of itself.
    """

    def __init__(
        self,
        device: int,
        address: str,
        objects: Sequence[ObjectSpec],
        *,
        model: str = "simulated",
        firmware: str = "1.0",
    ) -> None:
        self.device = device
        self.model, self.firmware = model, firmware
        self.faults = Faults()
        self.address = address
        self._bus = BusConfig(address=address)
        self._specs = tuple(objects)
        self._objects: dict[str, Any] = {}
        self._stack: _Served | None = None

    async def __aenter__(self) -> Self:
        claim(str(self._bus.interface.ip), self._bus.port)
        self._objects = {spec.object: _made(spec) for spec in self._specs}
        own = DeviceObject(
            objectIdentifier=("device", self.device),
            objectName=f"simulated-{self.device}",
            vendorIdentifier=VENDOR,
            vendorName="Simulated Equipment",
            modelName=self.model,
            firmwareRevision=self.firmware,
            segmentationSupported=Segmentation.noSegmentation,
            maxApduLengthAccepted=1476,
        )
        stack = _Served(own, self._bus.interface, self._bus.port, _Access)
        stack.faults = stack.asap.faults = self.faults
        for served in self._objects.values():
            stack.add_object(served)
        await stack.bound()
        self._stack = stack
        self.tick()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stack is not None:
            await self._stack.closed()
            self._stack = None

    def tick(self) -> None:
        """Take every value from the model, and give it every effective one."""
        for spec in self._specs:
            served = self._objects[spec.object]
            stopped = spec.object in self.faults.out_of_service
            faulty = spec.object in self.faults.fault or spec.bad()
            served.outOfService = stopped  # both show in the status flags
            served.reliability = "unreliable-other" if faulty else "no-fault-detected"
            if stopped:
                continue
            if spec.get is not None:
                served.presentValue = _typed(spec.kind, spec.get())
            if spec.set is not None:
                spec.set(self.value(spec.object))

    def announce(self, address: str) -> None:
        """Send an I-Am to "host:port", as a device does when it has started."""
        if self._stack is not None:
            self._stack.i_am(address=Address(address))

    def value(self, object: str) -> float:
        """The effective present value."""
        return float(self._objects[object].presentValue)

    def priorities(self, object: str) -> dict[int, float]:
        """The occupied places of the priority array; AttributeError where there is none."""
        array = self._objects[object].priorityArray
        return {
            place: float(getattr(value, value._choice))
            for place, value in enumerate(array, 1)
            if value.null is None
        }

    def command(self, object: str, priority: int, value: float | None) -> None:
        """Command the object from outside, as another workstation would; None relinquishes."""
        if value is None:
            put = PriorityValue(null=())
        elif object.startswith("analog"):
            put = PriorityValue(Real(value))
        elif object.startswith("binary"):
            put = PriorityValue(BinaryPV(round(value)))
        else:
            put = PriorityValue(Unsigned(round(value)))
        self._objects[object].priorityArray[priority - 1] = put


def _typed(kind: str, value: float) -> Any:
    return value if kind.startswith("analog") else round(value)


def _made(spec: ObjectSpec) -> Any:
    """The library's object for a spec."""
    family = spec.kind.rpartition("-")[0]
    extra: dict[str, Any] = {}
    if family == "analog":
        extra["units"] = spec.units
        extra["covIncrement"] = 0.0
    elif family == "multi-state":
        extra["numberOfStates"] = spec.states
    elif not spec.kind.endswith("-value"):
        extra["polarity"] = "normal"
    first = _typed(spec.kind, spec.default)
    commanded = spec.commandable or spec.kind.endswith("-output")
    if commanded:
        extra["relinquishDefault"] = first
    made = (_COMMANDED if spec.commandable else _CLASSES).get(spec.kind, _CLASSES[spec.kind])
    return made(
        objectIdentifier=(spec.kind, spec.instance),
        objectName=spec.name,
        presentValue=first,
        eventState="normal",
        outOfService=False,
        **extra,
    )
