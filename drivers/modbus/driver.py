"""The Modbus driver: joins plan, codec and link into the port `edge.driver.Driver`.

Not the schedule, not retries, not quality on failure: those are the bus task's, which alone calls
this, one call at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from drivers.modbus import pdu
from drivers.modbus.codec import Cell, bit_mask, decode_one, encode, raw_number
from drivers.modbus.config import BusConfig, DeviceConfig, PointConfig
from drivers.modbus.link import Link
from drivers.modbus.media import open_link
from drivers.modbus.parts import PROBES, Part, Reading
from drivers.modbus.plan import FUNCTIONS, Block, Spot, Unit, spot_of, unit_of
from edge.driver import FieldDevice, Host, Poll, Sample, Write
from edge.errors import DeviceRefused, LinkDown
from edge.text import Text

_DIVIDES = ("02", "03")  # no such address; too many at once: a smaller block may be answered


class ModbusDriver:
    """One connection or line and the devices behind it; entered to connect, left to close."""

    def __init__(
        self, bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll]
    ) -> None:
        self._bus = bus
        self._link: Link | None = None
        self._free_at = -math.inf  # loop time before which nothing may be sent
        self._units = {d.id: unit_of(bus, d.config) for d in devices}
        self._paced = bus.settle > 0 or any(unit.delay for unit in self._units.values())
        self._configs: dict[str, DeviceConfig] = {d.id: d.config for d in devices}
        self._spots = {(d.id, p.id): spot_of(d.config, p) for d in devices for p in d.points}
        self._readings: dict[Block, Reading] = {p.request: Reading(p.request) for p in polls}

    async def __aenter__(self) -> Self:
        if self._link is None:
            self._link = await open_link(self._bus)
            self._free_at = asyncio.get_running_loop().time() + self._bus.settle
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def read(self, poll: Poll) -> Sample:
        """Read one poll. What the device refuses inside it is left out and becomes CONFIG.

        The sample is the same object at each read of a poll, with new content.
        """
        reading = self._readings[poll.request]
        if not reading.whole:
            if reading.retry_at > _now():
                return await self._read_parts(reading)
            reading.reset()
        part = reading.parts[0]
        try:
            answer = await self._ask(part.block.unit, part.request)
        except DeviceRefused as error:
            if error.code not in _DIVIDES or len(poll.points) == 1:
                raise
            reading.divide(error.code, _now())
            return await self._read_parts(reading)
        part.decoder.decode(answer)
        return reading.sample

    async def write(self, writes: Sequence[Write]) -> None:
        """Write in order, each acknowledged before the next.

        NaN writes nothing: Modbus has nothing to relinquish, the device keeps the last value. A
        value that does not fit its register raises DeviceRefused with the code "value".
        """
        for write in writes:
            if not math.isnan(write.value):
                await self._write(write.device, self._spots[write.device, write.point], write.value)

    async def probe(self, device: str) -> None:
        """Read the device's smallest point."""
        spots = [s for (id_, _), s in self._spots.items() if id_ == device and not s.clears]
        with contextlib.suppress(DeviceRefused):
            await self._read_raw(self._units[device], min(spots, key=lambda s: s.size))

    async def holds(self, write: Write) -> bool | None:
        """Compare the registers with what would be written, bit by bit."""
        spot = self._spots[write.device, write.point]
        if math.isnan(write.value) or spot.clears:
            return None
        try:
            present = await self._read_raw(self._units[write.device], spot)
        except DeviceRefused:
            return None
        if spot.table == "coil":
            return present[0] == raw_number(spot.cell, write.value)
        mask = encode(Cell(0, order=spot.cell.order), bit_mask(spot.cell))
        wanted = encode(spot.cell, write.value)
        if spot.cell.bit is None:
            return present == wanted
        return all(p & m == w for p, m, w in zip(present, mask, wanted, strict=True))

    async def raw(self, device: str, point: str) -> bytes:
        """The point's registers as on the wire (for coils and discrete inputs one byte, 0 or 1)."""
        spot = self._spots[device, point]
        if spot.clears:
            raise DeviceRefused(_CLEARED_BY_READING, "clears", permanent=True)
        return await self._read_raw(self._units[device], spot)

    def _ask(self, unit: Unit, request: pdu.Request) -> Awaitable[bytes]:
        if self._link is None:
            raise LinkDown(Text("总线未连接", "the bus is not connected"))
        if self._paced:
            return self._ask_paced(self._link, unit, request)
        return self._link.ask(unit.number, request, unit.timeout)

    async def _ask_paced(self, link: Link, unit: Unit, request: pdu.Request) -> bytes:
        await asyncio.sleep(max(0.0, self._free_at - _now()))
        try:
            return await link.ask(unit.number, request, unit.timeout)
        finally:
            self._free_at = _now() + unit.delay

    async def _read_parts(self, reading: Reading) -> Sample:
        """Read what the device may have; divide what it refuses, a bounded number of times.

        Raises the last refusal when nothing at all was answered.
        """
        todo, kept, probes = reading.parts, list[Part](), PROBES
        refused: DeviceRefused | None = None
        try:
            while todo:
                part = todo[0]
                try:
                    answer = await self._ask(part.block.unit, part.request)
                except DeviceRefused as error:
                    if error.code not in _DIVIDES:
                        raise
                    refused, probes = error, probes - 1
                    todo[:1] = part.refuse()
                    if probes < 0:
                        break
                else:
                    part.decoder.decode(answer)
                    kept.append(todo.pop(0))
        finally:
            reading.parts = kept + todo
        if not kept and refused is not None:
            if not todo:
                reading.reset()
            raise refused
        if not todo:
            reading.join()
        return reading.sample

    async def _write(self, device: str, spot: Spot, value: float) -> None:
        config, unit = self._configs[device], self._units[device]
        if spot.table == "coil":
            request = _coil_request(config, spot, value)
        elif spot.cell.bit is not None:
            request = _register_request(config, spot, await self._changed_bits(unit, spot, value))
        else:
            request = _register_request(config, spot, encode(spot.cell, value))
        await self._ask(unit, request)

    async def _changed_bits(self, unit: Unit, spot: Spot, value: float) -> bytes:
        """The register as it is, with the spot's bits changed; `plan.check` saw the permission."""
        bits = encode(spot.cell, value)
        mask = encode(Cell(0, order=spot.cell.order), bit_mask(spot.cell))
        present = await self._read_raw(unit, spot)
        return bytes((p & ~m) | b for p, m, b in zip(present, mask, bits, strict=True))

    async def _read_raw(self, unit: Unit, spot: Spot) -> bytes:
        request = pdu.read(FUNCTIONS[spot.table], spot.address, spot.size)
        data = (await self._ask(unit, request))[2:]
        return data if spot.table in ("holding", "input") else bytes((data[0] & 1,))


def _coil_request(config: DeviceConfig, spot: Spot, value: float) -> pdu.Request:
    on = raw_number(spot.cell, value) == 1
    if config.write == "multiple":
        return pdu.write_coils(spot.address, [on])
    return pdu.write_coil(spot.address, on)


def _register_request(config: DeviceConfig, spot: Spot, data: bytes) -> pdu.Request:
    if len(data) > 2 or config.write == "multiple":
        return pdu.write_registers(spot.address, data)
    return pdu.write_register(spot.address, data)


def _now() -> float:
    return asyncio.get_running_loop().time()


_CLEARED_BY_READING = Text(
    "读取会清零该点, 因此不单独读取", "reading clears this point, so it is not read out of turn"
)


def connect(
    bus: BusConfig, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
) -> ModbusDriver:
    """Make a driver, without I/O. Modbus devices never speak unasked: nothing is delivered."""
    return ModbusDriver(bus, devices, polls)


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
