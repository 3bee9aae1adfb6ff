"""BACnet/IP as a driver: polls by ReadPropertyMultiple, writes at the ladder's priorities.

Learns from each device how much it can answer at once and falls back by halves, down to
ReadProperty; the host keeps that (`knowledge.py`). Not the bytes (`codec.py`), not the network
(`link.py`). Called by its bus task only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np

from drivers.bacnet import codec
from drivers.bacnet.codec import Property, Refusal
from drivers.bacnet.config import BusConfig, DeviceConfig
from drivers.bacnet.groups import NO_MULTIPLE, Group, groups, kept
from drivers.bacnet.knowledge import Knowledge
from drivers.bacnet.link import DEVICE, Link
from drivers.bacnet.point import OURS, WRONG_MAP, Known, priority
from edge.driver import Driver, FieldDevice, Host, Poll, Sample, Write
from edge.errors import BadAnswer, DeviceRefused, DriverError
from edge.events import LEFTOVERS
from edge.image import quality
from edge.image.image import Bits, Floats
from edge.text import Text

# What a device says of itself (clause 12.11).
_IDENTITY: Final = {"vendor": 121, "model": 70, "firmware": 44}


@dataclass(slots=True)
class _Read:
    """A poll: its points, how they are asked for at present, and its buffers."""

    places: list[tuple[int, Known]]
    groups: list[Group]
    values: Floats
    bits: Bits


class _Device:
    """A device with its points and polls, and what is known of it.

    `kept` is what the host keeps, and `news` that there is more. `identity` is who answers, None
    until asked; `proved`: it is the one that `kept` was learned from.
    """

    def __init__(self, device: FieldDevice, polls: Sequence[Poll], known: Knowledge) -> None:
        config: DeviceConfig = device.config
        self.id, self.instance, self.config = device.id, config.device, device
        self.polls = polls
        self.identity: tuple[str, ...] | None = None
        self.proved = known == Knowledge()
        self.start(known)

    def start(self, known: Knowledge) -> None:
        """Begin with what is known of the device and its points."""
        self.kept = known
        self.news = False
        self.multiple = known.multiple
        self.points = {p.id: Known.of(p, known) for p in self.config.points}
        self.reads = {poll.points[0]: self._new_read(poll, known) for poll in self.polls}

    def _new_read(self, poll: Poll, known: Knowledge) -> _Read:
        places = [(i, self.points[id_]) for i, id_ in enumerate(poll.points)]
        count = len(places)
        return _Read(
            places, groups(places, known), np.full(count, np.nan), np.zeros(count, np.uint16)
        )

    def ask_singly(self) -> None:
        """From now on each point of every poll by itself."""
        self.multiple = False
        for read in self.reads.values():
            read.groups = [Group(read.places, singly=True)]

    def knowledge(self) -> Knowledge:
        """What is known now."""
        found = [read.groups for read in self.reads.values()]
        together, singly = kept(found) if self.multiple else ((), ())
        points = self.points.values()
        asked = [p for p in points if p.spec.writable]
        return Knowledge(
            identity=self.identity or (),
            multiple=self.multiple,
            groups=together,
            singly=singly,
            commandable={p.name: p.commandable for p in asked if p.commandable is not None},
            types={p.name: p.tag for p in asked if p.tag >= 0},
            unflagged=tuple(p.name for p in points if not p.flagged),
        )


class BacnetDriver:
    """One BACnet/IP port; see `edge.driver.Driver`."""

    def __init__(
        self, bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
    ) -> None:
        self._host = host
        self._link = Link(bus, {d.config.device: d.config.address for d in devices})
        self._devices = {
            device.id: _Device(
                device,
                [poll for poll in polls if poll.device == device.id],
                Knowledge.of(host.recall(device.id)),
            )
            for device in devices
        }

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

    # ── what is known ─────────────────────────────────────────────────────────────────────────────

    async def _proved(self, device: str) -> _Device:
        """The device; before its first request, whether it is the one that things are known of."""
        found = self._devices[device]
        if not found.proved:
            found.identity = await self._identity(found.instance)
            if found.identity != found.kept.identity:  # another device, or another firmware
                found.start(Knowledge())
                self._host.keep(device, {})
            found.proved = True
        return found

    async def _keep(self, device: _Device) -> None:
        """Let the host keep what is known now; another time, when the device does not answer."""
        with suppress(DriverError):
            if device.identity is None:
                device.identity = await self._identity(device.instance)
            device.news = False
            for point in device.points.values():
                point.news = False
            device.kept = device.knowledge()
            self._host.keep(device.id, device.kept.kept())

    async def _identity(self, instance: int) -> tuple[str, ...]:
        """Vendor, model and firmware as the device gives them, "" for what it does not."""
        found = []
        for prop in _IDENTITY.values():
            answer = await self._ask(instance, (codec.object_identifier(DEVICE, instance), prop))
            found.append("" if isinstance(answer, Refusal) else codec.text(answer))
        return tuple(found)

    async def identify(self, device: str) -> Mapping[str, str]:
        """Vendor, model and firmware, as far as the device gives them."""
        instance = self._devices[device].instance
        found = dict(zip(_IDENTITY, await self._identity(instance), strict=True))
        if not any(found.values()):
            raise DeviceRefused(
                Text(f"设备 {instance} 不说明自身", f"device {instance} does not say what it is"),
                "identity",
                permanent=True,
            )
        return {name: text for name, text in found.items() if text}

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    async def read(self, poll: Poll) -> Sample:
        """Read one poll; the sample's arrays are this driver's own."""
        device = await self._proved(poll.device)
        read = device.reads[poll.points[0]]
        pending, refusals = list(read.groups), []
        while pending:
            group = pending.pop(0)
            try:
                await self._read_group(device.instance, read, group)
            except DeviceRefused as error:
                if error.code == NO_MULTIPLE and not group.singly:
                    device.ask_singly()
                    pending, device.news = list(read.groups), True
                elif smaller := group.smaller(error.code):
                    read.groups.remove(group)
                    read.groups += smaller
                    pending, device.news = pending + smaller, True
                else:
                    refusals.append(error)
                    read.bits[[place for place, _ in group.points]] = quality.COMM
        if device.news or any(point.news for _, point in read.places):
            await self._keep(device)
        if len(refusals) == len(read.groups):
            raise refusals[0]
        return Sample(read.values, read.bits)

    async def _read_group(self, instance: int, read: _Read, group: Group) -> None:
        answers = await (self._singly if group.singly else self._together)(instance, group)
        for place, point in group.points:
            for target in point.extras():
                if target in answers:
                    point.take_extra(target, answers[target])
            read.values[place], read.bits[place] = point.take_value(answers[point.target])

    async def _together(self, instance: int, group: Group) -> dict[Property, bytes | Refusal]:
        data = await self._link.request(instance, codec.READ_PROPERTY_MULTIPLE, group.request())
        try:
            answers = codec.property_values(data, group.targets)
        except codec.Malformed as error:
            raise _bad_answer(instance, error) from None
        return dict(zip(group.targets, answers, strict=True))

    async def _singly(self, instance: int, group: Group) -> dict[Property, bytes | Refusal]:
        return {target: await self._ask(instance, target) for target in group.next_targets()}

    async def _ask(self, instance: int, target: Property) -> bytes | Refusal:
        """One property by ReadProperty; what concerns only this property is returned."""
        try:
            return await self._value(instance, target)
        except DeviceRefused as error:
            kind, _, name = error.code.partition("/")
            if kind == "device":
                raise
            return Refusal(0, WRONG_MAP.get(name, 0))

    async def _value(self, instance: int, target: Property) -> bytes:
        request = codec.read_property(target)
        data = await self._link.request(instance, codec.READ_PROPERTY, request)
        try:
            return codec.property_value(data, target)
        except codec.Malformed as error:
            raise _bad_answer(instance, error) from None

    async def probe(self, device: str) -> None:
        """Ask for what every device has, or search for it; it may not be the same afterwards."""
        found = self._devices[device]
        await self._link.probe(found.instance)
        found.identity, found.proved = None, found.kept == Knowledge()

    async def raw(self, device: str, point: str) -> bytes:
        """The value as application-tagged bytes."""
        found = self._devices[device]
        return await self._value(found.instance, found.points[point].target)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    async def write(self, writes: Sequence[Write]) -> None:
        """Write in order. A value first, then a NULL wherever else we held the point."""
        for write in writes:
            device = await self._proved(write.device)
            point = device.points[write.point]
            await self._learn(device, point)
            if math.isnan(write.value):
                await self._relinquish(device.instance, point)
            elif point.commandable:
                await self._command(device.instance, point, write)
            else:
                await self._put(device.instance, point, _encoded(point, write.value), None)

    async def holds(self, write: Write) -> bool | None:
        """By the priority array: the value at its priority and nothing else of ours. A value
        without one, or whose array cannot be read now, is judged by itself."""
        device = await self._proved(write.device)
        point = device.points[write.point]
        if point.commandable is not False:
            answer = await self._ask(device.instance, point.array)
            point.take_extra(point.array, answer)
            if not isinstance(answer, Refusal):
                with suppress(codec.Malformed):
                    return point.holds(answer, write.value, priority(write.slot))
        if math.isnan(write.value):
            return True if point.commandable is False else None
        answer = await self._ask(device.instance, point.target)
        return None if isinstance(answer, Refusal) else point.is_value(answer, write.value)

    async def _learn(self, device: _Device, point: Known) -> None:
        """Before a first write: what type the device uses, and what stands at the priorities."""
        if point.tag < 0:
            point.take_value(await self._value(device.instance, point.target))
        if point.commandable is not False and not point.seen:
            point.take_extra(point.array, await self._ask(device.instance, point.array))
        if point.news:
            await self._keep(device)
        if point.commandable is not False and not point.seen:
            raise DeviceRefused(  # guessing would write at 16, and to nobody's notice
                Text(
                    f"设备没有说明 {point.spec.id} 有无优先级数组",
                    f"the device does not tell whether {point.spec.id} has a priority array",
                ),
                "priority-array",
            )

    async def _command(self, instance: int, point: Known, write: Write) -> None:
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
            await self._put(instance, point, value, slot)
        except DeviceRefused:
            if not held_before:
                point.held.discard(slot)
            raise
        await self._release(instance, point, keep=slot)

    async def _relinquish(self, instance: int, point: Known) -> None:
        """Let go of the point everywhere; without a priority array there is nothing to let go of.

        Such a value would acknowledge a NULL and not change.
        """
        point.written = True
        if point.commandable:
            await self._release(instance, point, keep=None)

    async def _release(self, instance: int, point: Known, keep: int | None) -> None:
        """A NULL wherever we hold the point beside `keep`, and wherever an earlier run did."""
        if not self._host.writes:
            point.leftovers.clear()  # they are not ours alone to judge while only observing
        left = {slot: value for slot, value in point.leftovers.items() if slot != keep}
        if left and not point.told:
            point.told = True
            self._host.emit(LEFTOVERS, point=point.spec.id, left=_shown(point, left))
        for slot in point.releases(keep=keep):
            await self._put(instance, point, codec.NULL, slot)
            point.released(slot)

    async def _put(self, instance: int, point: Known, value: bytes, slot: int | None) -> None:
        request = codec.write_property(point.target, value, slot)
        await self._link.request(instance, codec.WRITE_PROPERTY, request)


def _bad_answer(device: int, error: Exception) -> BadAnswer:
    return BadAnswer(
        Text(
            f"设备 {device} 的应答不合规, 未采用",
            f"device {device} answered amiss, nothing of it was used: {error}",
        )
    )


def _shown(point: Known, left: Mapping[int, bytes]) -> str:
    """`8 = 55, 5 = 66`, strongest first."""
    return ", ".join(f"{slot} = {point.number(value):g}" for slot, value in sorted(left.items()))


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
    return BacnetDriver(bus, devices, polls, host)
