"""The Modbus driver: joins plan, codec and link into the port `edge.driver.Driver`.

Not the schedule, not retries, not quality on failure: those are the bus task's, which alone calls
this. What is refused is divided in `dividing.py`; the first contact with a device is `contact.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from drivers.modbus import pdu
from drivers.modbus.bus import BusConfig
from drivers.modbus.codec import Cell
from drivers.modbus.config import PointConfig
from drivers.modbus.decoder import decode_one
from drivers.modbus.device import Device
from drivers.modbus.dividing import read_parts
from drivers.modbus.exceptions import DIVIDES
from drivers.modbus.identity import said
from drivers.modbus.link import Link, TcpLink, frame
from drivers.modbus.media import open_link
from drivers.modbus.parts import Reading
from drivers.modbus.plan import Block, Unit, unit_of
from drivers.modbus.writing import holds_spot, read_raw, write_spot
from edge.driver import FieldDevice, Following, Host, Poll, Sample, Write
from edge.errors import DeviceRefused, DeviceTimeout, DriverError, LinkDown, NotYet
from edge.text import Text


class ModbusDriver:
    """One connection or line and the devices behind it; entered to connect, left to close."""

    def __init__(
        self, bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
    ) -> None:
        self._bus = bus
        self._link: Link | None = None
        self._tcp: TcpLink | None = None  # the same, where it can read on
        self._free_at = -math.inf  # loop time before which nothing may be sent
        self._readings: dict[Block, Reading] = {p.request: Reading(p.request) for p in polls}
        self._devices: dict[str, Device] = {}
        for device in devices:
            readings = [self._readings[p.request] for p in polls if p.device == device.id]
            unit = unit_of(bus, device.config)
            ask, insist = partial(self._ask, unit), partial(self._insist, unit)
            self._devices[device.id] = Device(bus, device, readings, host, ask, insist)
        self._by_unit = {d.unit.number: d for d in self._devices.values()}
        self._paced = bus.settle > 0 or any(d.unit.delay for d in self._devices.values())

    async def __aenter__(self) -> Self:
        if self._link is None:
            self._link = await open_link(self._bus)
            self._tcp = self._link if isinstance(self._link, TcpLink) else None
            self._free_at = asyncio.get_running_loop().time() + self._bus.settle
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        link, self._link, self._tcp = self._link, None, None
        if link is not None:
            await link.close()

    async def read(self, poll: Poll) -> Sample:
        """Read one poll. What the device refuses inside it is left out and becomes CONFIG.

        The sample is the same object at each read of a poll, with new content.
        """
        samples: list[Sample] = []
        await self.read_on(poll, samples.append)
        return samples[0]

    def read_on(self, poll: Poll, following: Following) -> Awaitable[Poll | None]:
        """Goes on from one poll to the next where each is read whole by one request over TCP."""
        ready = self._tcp.polls.get(poll.request) if self._tcp is not None else None
        if self._tcp is None or ready is None:
            return self._read_one(poll, following)
        return self._tcp.read_on(ready, following)

    async def _read_one(self, poll: Poll, following: Following) -> Poll | None:
        return following(await self._read(poll))

    async def _read(self, poll: Poll) -> Sample:
        device, reading = await self._meet(poll.device), self._readings[poll.request]
        if not reading.whole:
            return await self._read_parts(poll)
        part = reading.parts[0]
        try:
            answer = await device.ask(part.request)
        except DeviceRefused as error:
            if not self._divided(poll, error):
                raise
            return await self._read_parts(poll)
        part.decoder.decode(answer)
        if self._tcp is not None and device.contact is None and not self._paced:
            self._tcp.polls[poll.request] = frame(
                device.unit.number, part.request, device.unit.timeout,
                reading.sample, part.decoder.reader(self._tcp.answer, part.request.size),
                partial(self._failed, poll),
            )  # fmt: skip
        return reading.sample

    def _failed(self, poll: Poll, error: DriverError) -> DriverError:
        """What a poll that one request reads whole has come to."""
        if isinstance(error, DeviceTimeout | DeviceRefused):
            self._devices[poll.device].note(error)
        if isinstance(error, DeviceRefused) and self._divided(poll, error):
            return NotYet(error.reason, 0.0)  # at its next turn it is read in parts
        return error

    def _divided(self, poll: Poll, error: DeviceRefused) -> bool:
        """Go on with smaller requests; False where they cannot help."""
        reading = self._readings[poll.request]
        part = reading.parts[0]
        if error.code not in DIVIDES or not part.halves():
            return False
        if self._tcp is not None:
            self._tcp.polls.pop(poll.request, None)
        reading.refuse(part, error.code, _now())
        return True

    async def _read_parts(self, poll: Poll) -> Sample:
        device, reading = self._devices[poll.device], self._readings[poll.request]
        await read_parts(reading, device.ask, _now())
        if reading.changed and reading.settled:
            device.knowledge.learn(reading)
        return reading.sample

    async def write(self, writes: Sequence[Write]) -> None:
        """Write in order, each acknowledged before the next.

        NaN writes nothing: Modbus has nothing to relinquish, the device keeps the last value. A
        value that does not fit its register raises DeviceRefused with the code "value"; one that is
        read back differently within the write, "readback".
        """
        for write in writes:
            if math.isnan(write.value):
                continue
            device = await self._meet(write.device, permanent=False)
            spot, config = device.spots[write.point], device.config
            masked = config.mask_write
            await write_spot(device.insist, config.write, spot, write.value, masked=masked)

    async def probe(self, device: str) -> None:
        """Read the smallest thing that the device has; any answer of its own will do."""
        with contextlib.suppress(DeviceRefused):
            await self._devices[device].ask(self._devices[device].probe())

    async def holds(self, write: Write) -> bool | None:
        """Compare the registers with what would be written, bit by bit.

        None for NaN, for what only can be written or is cleared by reading, and for what the device
        does not let be read. Raises what a read raises, and DeviceRefused for a value that does not
        fit.
        """
        device = await self._meet(write.device, permanent=False)
        spot = device.spots[write.point]
        if math.isnan(write.value) or spot.clears or write.point in device.unreadable:
            return None
        try:
            return await holds_spot(device.insist, spot, write.value)
        except DeviceRefused as error:
            if error.permanent and error.code != "value":
                return None
            raise

    async def raw(self, device: str, point: str) -> bytes:
        """The point's registers as on the wire (for coils and discrete inputs one byte, 0 or 1)."""
        spot = self._devices[device].spots[point]
        if spot.clears:
            raise DeviceRefused(_CLEARED_BY_READING, "clears", permanent=True)
        return await read_raw((await self._meet(device)).insist, spot)

    async def identify(self, device: str) -> Mapping[str, str]:
        """What it says by function 43/14, whether or not it is the one that is configured."""
        return await said(self._devices[device].insist)

    async def _meet(self, id: str, *, permanent: bool = True) -> Device:
        """The device, once it is known to be the right one and set as it must be."""
        device = self._devices[id]
        if device.contact is not None and not device.contact.done:
            await device.contact.meet(_now(), permanent=permanent)
        return device

    async def _ask(self, unit: Unit, request: pdu.Request) -> bytes:
        try:
            return await self._send(unit, request)
        except (DeviceTimeout, DeviceRefused) as error:
            self._by_unit[unit.number].note(error)
            raise

    async def _insist(self, unit: Unit, request: pdu.Request) -> bytes:
        while True:
            try:
                return await self._ask(unit, request)
            except NotYet as later:
                await asyncio.sleep(later.wait)

    def _send(self, unit: Unit, request: pdu.Request) -> Awaitable[bytes]:
        if self._link is None:
            raise LinkDown(Text("总线未连接", "the bus is not connected"))
        if self._paced:
            return self._send_paced(self._link, unit, request)
        return self._link.ask(unit.number, request, unit.timeout)

    async def _send_paced(self, link: Link, unit: Unit, request: pdu.Request) -> bytes:
        await asyncio.sleep(max(0.0, self._free_at - _now()))
        try:
            return await link.ask(unit.number, request, unit.timeout)
        finally:
            self._free_at = _now() + unit.delay


def _now() -> float:
    return asyncio.get_running_loop().time()


_CLEARED_BY_READING = Text(
    "读取会清零该点, 因此不单独读取", "reading clears this point, so it is not read out of turn"
)


def connect(
    bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
) -> ModbusDriver:
    """Make a driver, without I/O. Modbus devices never speak unasked: nothing is delivered."""
    return ModbusDriver(bus, devices, polls, host)


def vector(where: PointConfig, raw: bytes, device: Mapping[str, Any]) -> float:
    """The raw number in `raw` (as on the wire; one byte for a coil); NaN for a sentinel.

    `device` is asked for the order where the point has none. Raises ValueError when `raw` is not as
    long as the type.
    """
    if len(raw) != (1 if where.bits else 2 * where.size):
        raise ValueError(f"{len(raw)} bytes are not one {where.kind}")
    order = where.order or device.get("order", "ABCD")
    cell = Cell(0, where.kind, order, where.bit, where.length, where.sentinel)
    value, _ = decode_one(cell, raw, bits=where.bits)
    return value
