"""A Modbus TCP device on a real socket, with faults that can be switched while it runs.

Plain dicts and `struct`, sharing nothing with `drivers/modbus`, so that an error there cannot hide
in both ends. Answers are queued as in a gateway: a request that is held up does not hold up others.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

HOST = "127.0.0.1"


class Fault(Enum):
    """What the device does instead of answering as it should."""

    OK = "answers as it should"
    SILENT = "says nothing"
    DROP = "closes the connection"
    EXCEPTION = "answers with the exception `code`"
    FUNCTION = "answers with another function"
    SHORT = "leaves out the last register"
    LONG = "adds a register"
    UNIT = "answers as another unit"
    TRANSACTION = "answers with a transaction nobody started"
    GARBAGE = "sends bytes that are no frame"
    PROTOCOL = "puts a protocol number other than 0 into the header"
    TRICKLE = "sends one byte at a time"
    TWICE = "sends each answer two times"
    ECHO = "acknowledges a write with another value"


MALFORMED = (
    Fault.FUNCTION, Fault.SHORT, Fault.LONG, Fault.UNIT, Fault.TRANSACTION, Fault.GARBAGE,
    Fault.PROTOCOL,
)  # fmt: skip
"""Faults whose answers must never become a value."""


@dataclass
class Unit:
    """The registers and bits of one unit; an address that is missing is answered by exception 2."""

    holding: dict[int, int] = field(default_factory=dict)
    input: dict[int, int] = field(default_factory=dict)
    coil: dict[int, int] = field(default_factory=dict)
    discrete: dict[int, int] = field(default_factory=dict)

    def put(self, table: str, address: int, data: bytes) -> None:
        """Store bytes, in the order in which they go over the wire, into registers."""
        for i in range(0, len(data), 2):
            getattr(self, table)[address + i // 2] = data[i] * 256 + data[i + 1]


@dataclass(frozen=True, slots=True)
class Served:
    """A register or bit that was sent in an answer: when, where, and what."""

    at: float  # time.monotonic()
    unit: int
    table: str
    address: int
    value: int


@dataclass(frozen=True, slots=True)
class Written:
    """A write that the device carried out: function, first address and the values."""

    at: float
    unit: int
    function: int
    address: int
    values: tuple[int, ...]


_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil",
           16: "holding"}  # fmt: skip


class ModbusDevice:
    """Units behind one listening socket; used as an async context manager.

    `faults` maps a unit to its fault, `fault` is that of all others; `delay` is seconds before each
    answer. `written` and `served` remember what happened (`served` only while `log` is true, and
    the newest `remember` of them); `requests` is every request as (unit, function, address, count).
    """

    def __init__(self, units: dict[int, Unit] | None = None, *, port: int = 0) -> None:
        self.units = units if units is not None else {1: Unit()}
        self.port = port
        self.fault = Fault.OK
        self.faults: dict[int, Fault] = {}
        self.code = 2
        self.delay = 0.0
        self.garbage = b"\xde\xad\xbe\xef" * 5
        self.most_registers = 125
        self.max_connections = 1000
        self.written: list[Written] = []
        self.log = False
        self.served: deque[Served] = deque(maxlen=200_000)
        self.requests: deque[tuple[int, int, int, int]] = deque(maxlen=10_000)
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._answers: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port`, as a bus's `tcp` option takes it."""
        return f"{HOST}:{self.port}"

    async def __aenter__(self) -> ModbusDevice:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; on the same port as before when started again."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()
        for task in list(self._answers):
            task.cancel()
        await asyncio.sleep(0)

    def drop(self) -> None:
        """Cut all connections; new ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def asked(self) -> None:
        """Wait for the next request."""
        self._asked.clear()
        await self._asked.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= self.max_connections:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                pdu = await reader.readexactly(length - 1)
                self._note(unit, pdu)
                task = asyncio.create_task(self._answer(writer, transaction, unit, pdu))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _note(self, unit: int, pdu: bytes) -> None:
        address, count = struct.unpack_from(">HH", pdu, 1)
        self.requests.append((unit, pdu[0], address, count))
        self._asked.set()

    async def _answer(
        self, writer: asyncio.StreamWriter, transaction: int, unit: int, pdu: bytes
    ) -> None:
        fault = self.faults.get(unit, self.fault)
        if self.delay:
            await asyncio.sleep(self.delay)
        if fault is Fault.SILENT or unit not in self.units:
            return  # an absent unit on a line says nothing
        if fault is Fault.DROP:
            writer.transport.abort()
            return
        if fault is Fault.GARBAGE:
            writer.write(self.garbage)
            return
        frame = self._frame(fault, transaction, unit, pdu)
        if fault is Fault.TRICKLE:
            for byte in frame:
                writer.write(bytes([byte]))
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0)
            return
        writer.write(frame * (2 if fault is Fault.TWICE else 1))

    def _frame(self, fault: Fault, transaction: int, unit: int, pdu: bytes) -> bytes:
        if fault is Fault.EXCEPTION:
            body = bytes([pdu[0] | 0x80, self.code])
        else:
            body = self._reply(unit, pdu)
        if fault is Fault.FUNCTION:
            body = bytes([{3: 4, 4: 3, 1: 2, 2: 1, 5: 6, 6: 5, 15: 16, 16: 15}[pdu[0]]]) + body[1:]
        if fault is Fault.SHORT:
            body = _resized(body, -2)
        if fault is Fault.LONG:
            body = _resized(body, 2)
        if fault is Fault.ECHO:
            body = body[:-1] + bytes([body[-1] ^ 0x01])
        if fault is Fault.UNIT:
            unit = unit % 247 + 1
        if fault is Fault.TRANSACTION:
            transaction = (transaction + 0x4000) & 0xFFFF
        protocol = 7 if fault is Fault.PROTOCOL else 0
        return struct.pack(">HHHB", transaction, protocol, len(body) + 1, unit) + body

    def _reply(self, unit: int, pdu: bytes) -> bytes:
        function = pdu[0]
        if function not in _TABLES:
            return bytes([function | 0x80, 1])
        cells: dict[int, int] = getattr(self.units[unit], _TABLES[function])
        address, number = struct.unpack_from(">HH", pdu, 1)
        many = function in (1, 2, 3, 4, 15, 16)
        wanted = range(address, address + (number if many else 1))
        if function in (3, 4) and number > self.most_registers:
            return bytes([function | 0x80, 3])
        if any(a not in cells for a in wanted):
            return bytes([function | 0x80, 2])
        if function in (1, 2, 3, 4):
            return self._read(unit, function, cells, wanted)
        return self._write(unit, pdu, cells, wanted)

    def _read(self, unit: int, function: int, cells: dict[int, int], wanted: range) -> bytes:
        values = [cells[a] for a in wanted]
        if self.log:
            now = time.monotonic()
            for address, value in zip(wanted, values, strict=True):
                self.served.append(Served(now, unit, _TABLES[function], address, value))
        if function in (3, 4):
            data = b"".join(struct.pack(">H", value) for value in values)
        else:
            packed = [0] * ((len(values) + 7) // 8)
            for i, value in enumerate(values):
                packed[i // 8] |= (1 if value else 0) << (i % 8)
            data = bytes(packed)
        return bytes([function, len(data)]) + data

    def _write(self, unit: int, pdu: bytes, cells: dict[int, int], wanted: range) -> bytes:
        function = pdu[0]
        address, number = struct.unpack_from(">HH", pdu, 1)
        if function == 5:
            values: Iterable[int] = [1 if number == 0xFF00 else 0]
        elif function == 6:
            values = [number]
        elif function == 15:
            values = [pdu[6 + i // 8] >> (i % 8) & 1 for i in range(number)]
        else:
            values = struct.unpack_from(f">{number}H", pdu, 6)
        values = tuple(values)
        cells.update(zip(wanted, values, strict=True))
        self.written.append(Written(time.monotonic(), unit, function, address, values))
        return pdu[:5]


def _resized(body: bytes, by: int) -> bytes:
    """A read's answer with registers more or less, its byte count in step; a write's cut off."""
    if body[0] not in (1, 2, 3, 4):
        return body[:by] if by < 0 else body + b"\0" * by
    data = body[2:] + b"\x12\x34" if by > 0 else body[2:by]
    return bytes([body[0], len(data)]) + data
