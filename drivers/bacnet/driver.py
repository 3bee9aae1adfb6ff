"""BACnet/IP as a driver: polls by ReadPropertyMultiple, writes at the ladder's priorities.

Learns from each device how much it can answer at once and falls back by halves, down to
ReadProperty. Not the bytes (`codec.py`), not the network (`link.py`). Called by its bus task only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import numpy as np

from drivers.bacnet import codec
from drivers.bacnet.codec import Property, Refusal
from drivers.bacnet.config import BusConfig, DeviceConfig
from drivers.bacnet.link import Link
from drivers.bacnet.point import OURS, WRONG_MAP, Known, priority
from edge.driver import Driver, FieldDevice, Host, Poll, Sample, Write
from edge.errors import BadAnswer, DeviceRefused
from edge.image import quality
from edge.image.image import Bits, Floats
from edge.text import Text

# What a device says when asking for less at once may succeed. One unknown object makes some
# devices refuse the whole request: asking by halves finds it.
_ASK_LESS: Final = frozenset(
    {
        "abort/segmentation-not-supported", "abort/buffer-overflow", "abort/apdu-too-long",
        "abort/out-of-resources", "reject/buffer-overflow", "reject/too-many-arguments",
        "abort/other", "reject/other", "services/optional-functionality-not-supported",
        "services/service-request-denied", "object/unknown-object", "property/unknown-property",
        "property/read-access-denied",
    }
)  # fmt: skip
_NO_MULTIPLE: Final = "reject/unrecognized-service"
Places = list[tuple[int, Known]]  # points and where they stand in their poll


@dataclass(slots=True)
class _Group:
    """Points asked for together, or `singly` where that is all the device can do."""

    points: Places
    singly: bool = False
    turn: int = 0
    targets: list[Property] = field(default_factory=list)
    data: bytes = b""

    def request(self) -> bytes:
        """The coded request; coded again only when there is less to ask for."""
        wanted = dict.fromkeys(t for _, p in self.points for t in (p.target, *p.extras()))
        if len(wanted) != len(self.targets):
            self.targets = list(wanted)
            self.data = codec.read_property_multiple(self.targets)
        return self.data

    def smaller(self, code: str) -> list[_Group]:
        """What to try instead after a refusal; nothing when the reason lies elsewhere."""
        if self.singly or not (code in _ASK_LESS or code == _NO_MULTIPLE):
            return []
        if code == _NO_MULTIPLE or len(self.points) == 1:
            return [_Group(self.points, singly=True)]
        middle = len(self.points) // 2
        return [_Group(self.points[:middle]), _Group(self.points[middle:])]


@dataclass(slots=True)
class _Read:
    """A poll: how it is asked for at present, and its buffers."""

    groups: list[_Group]
    values: Floats
    bits: Bits


class BacnetDriver:
    """One BACnet/IP port; see `edge.driver.Driver`."""

    def __init__(
        self, bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll]
    ) -> None:
        configs: dict[str, DeviceConfig] = {device.id: device.config for device in devices}
        self._instances = {id_: config.device for id_, config in configs.items()}
        self._link = Link(bus, {c.device: c.address for c in configs.values()})
        self._points = {p.id: Known.of(p) for device in devices for p in device.points}
        self._reads = {poll.points[0]: self._new_read(poll) for poll in polls}

    def _new_read(self, poll: Poll) -> _Read:
        places = [(i, self._points[id_]) for i, id_ in enumerate(poll.points)]
        count = len(places)
        return _Read([_Group(places)], np.full(count, np.nan), np.zeros(count, np.uint16))

    async def __aenter__(self) -> Self:
        await self._link.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._link.close()

    def commandable(self, point: str) -> bool | None:
        """Whether the point can be relinquished (it has a priority array); None: not known yet."""
        return self._points[point].commandable

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    async def read(self, poll: Poll) -> Sample:
        """Read one poll; the sample's arrays are this driver's own."""
        device = self._instances[poll.device]
        read = self._reads[poll.points[0]]
        pending, refusals = list(read.groups), []
        while pending:
            group = pending.pop(0)
            try:
                await self._read_group(device, read, group)
            except DeviceRefused as error:
                smaller = group.smaller(error.code)
                if smaller:
                    read.groups.remove(group)
                    read.groups += smaller
                    pending += smaller
                else:
                    refusals.append(error)
                    read.bits[[place for place, _ in group.points]] = quality.COMM
        if len(refusals) == len(read.groups):
            raise refusals[0]
        return Sample(read.values, read.bits)

    async def _read_group(self, device: int, read: _Read, group: _Group) -> None:
        answers = await (self._singly if group.singly else self._together)(device, group)
        for place, point in group.points:
            for target in point.extras():
                if target in answers:
                    point.take_extra(target, answers[target])
            read.values[place], read.bits[place] = point.take_value(answers[point.target])

    async def _together(self, device: int, group: _Group) -> dict[Property, bytes | Refusal]:
        data = await self._link.request(device, codec.READ_PROPERTY_MULTIPLE, group.request())
        try:
            answers = codec.property_values(data, group.targets)
        except codec.Malformed as error:
            raise _bad_answer(device, error) from None
        return dict(zip(group.targets, answers, strict=True))

    async def _singly(self, device: int, group: _Group) -> dict[Property, bytes | Refusal]:
        """Every value, and the extras of one point in turn: these devices are the slow ones."""
        _, point = group.points[group.turn % len(group.points)]
        group.turn += 1
        targets = [*point.extras(), *(p.target for _, p in group.points)]
        return {target: await self._ask(device, target) for target in targets}

    async def _ask(self, device: int, target: Property) -> bytes | Refusal:
        """One property by ReadProperty; what concerns only this property is returned."""
        try:
            return await self._value(device, target)
        except DeviceRefused as error:
            kind, _, name = error.code.partition("/")
            if kind == "device":
                raise
            return Refusal(0, WRONG_MAP.get(name, 0))

    async def _value(self, device: int, target: Property) -> bytes:
        request = codec.read_property(target)
        data = await self._link.request(device, codec.READ_PROPERTY, request)
        try:
            return codec.property_value(data, target)
        except codec.Malformed as error:
            raise _bad_answer(device, error) from None

    async def probe(self, device: str) -> None:
        """Ask for one value only."""
        point = next(p for id_, p in self._points.items() if id_.startswith(f"{device}."))
        await self._ask(self._instances[device], point.target)

    async def holds(self, write: Write) -> bool | None:
        """Compare the present value; whose priority it has is not known from it."""
        if math.isnan(write.value):
            return None
        point = self._points[write.point]
        value, bits = point.take_value(
            await self._value(self._instances[write.device], point.target)
        )
        return None if bits & quality.BAD else value == write.value

    async def raw(self, device: str, point: str) -> bytes:
        """The value as application-tagged bytes."""
        return await self._value(self._instances[device], self._points[point].target)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    async def write(self, writes: Sequence[Write]) -> None:
        """Write in order. A value first, then a NULL wherever else we held the point."""
        for write in writes:
            device, point = self._instances[write.device], self._points[write.point]
            await self._learn(device, point)
            if math.isnan(write.value):
                await self._relinquish(device, point)
            elif point.commandable:
                await self._command(device, point, write)
            else:
                await self._put(device, point, _encoded(point, write.value), None)

    async def _learn(self, device: int, point: Known) -> None:
        """Before a first write: what type the device uses, and whether there are priorities."""
        if point.tag < 0:
            point.take_value(await self._value(device, point.target))
        if point.commandable is None:
            point.take_extra(point.array, await self._ask(device, point.array))
        if point.commandable is None:  # guessing would write at 16, and to nobody's notice
            raise DeviceRefused(
                Text(
                    f"设备没有说明 {point.spec.id} 有无优先级数组",
                    f"the device does not tell whether {point.spec.id} has a priority array",
                ),
                "priority-array",
            )

    async def _command(self, device: int, point: Known, write: Write) -> None:
        slot = priority(write.slot)
        if slot not in OURS:
            raise DeviceRefused(
                Text(
                    f"{point.spec.id} 的优先级 {slot} 不归本控制器写",
                    f"priority {slot} of {point.spec.id} is not ours to write",
                ),
                "priority",
                permanent=True,
            )
        value = _encoded(point, write.value)
        held_before = slot in point.held
        point.written = True
        point.held.add(slot)  # before the answer: it may be lost, the write not
        try:
            await self._put(device, point, value, slot)
        except DeviceRefused:
            if not held_before:
                point.held.discard(slot)
            raise
        for other in point.releases(keep=slot):
            await self._release(device, point, other)

    async def _relinquish(self, device: int, point: Known) -> None:
        """Let go of the point everywhere; without a priority array there is nothing to let go of.

        Such a value would acknowledge a NULL and not change.
        """
        point.written = True
        for slot in point.releases(keep=None) if point.commandable else ():
            await self._release(device, point, slot)

    async def _release(self, device: int, point: Known, slot: int) -> None:
        await self._put(device, point, codec.NULL, slot)
        point.released(slot)

    async def _put(self, device: int, point: Known, value: bytes, slot: int | None) -> None:
        request = codec.write_property(point.target, value, slot)
        await self._link.request(device, codec.WRITE_PROPERTY, request)


def _bad_answer(device: int, error: Exception) -> BadAnswer:
    return BadAnswer(
        Text(
            f"设备 {device} 的应答不合规, 未采用",
            f"device {device} answered amiss, nothing of it was used: {error}",
        )
    )


def _encoded(point: Known, value: float) -> bytes:
    try:
        return point.encoded(value)
    except codec.NotANumber:
        raise DeviceRefused(
            Text(
                f"{point.spec.id} 不能写 {value:g}: 设备的数据类型容不下",
                f"{point.spec.id} cannot be written with {value:g}: its type cannot hold it",
            ),
            "value",
            permanent=True,
        ) from None


def connect(
    bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
) -> AbstractAsyncContextManager[Driver]:
    """Make the driver of one bus. `host.deliver` stays unused: nothing is subscribed to."""
    return BacnetDriver(bus, devices, polls)
