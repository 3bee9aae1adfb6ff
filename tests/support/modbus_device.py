"""A Modbus device on a real socket or terminal, with faults that can be switched while it runs.

Units (`modbus_units.py`) behind one medium (`modbus_media.py`), whose line may be bad
(`bad_line.py`); nothing of it is shared with `drivers/modbus`. Answers are queued as in a gateway:
a request that is held up does not hold up others.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from tests.support.bad_line import Line
from tests.support.modbus_media import Asked, Ear, Medium, Tcp, Wire
from tests.support.modbus_units import Served, Unit, Written, reply

__all__ = ["MALFORMED", "MALFORMED_RTU", "Fault", "ModbusDevice", "Served", "Unit", "Written"]


class Fault(Enum):
    """What the device does instead of answering as it should."""

    OK = "answers as it should"
    SILENT = "says nothing"
    MUTE = "does what it is asked and says nothing"
    DROP = "closes the connection"
    CUT = "does what it is asked and closes the connection"
    EXCEPTION = "answers with the exception `code`"
    FUNCTION = "answers with another function"
    SHORT = "leaves out the last register"
    LONG = "adds a register"
    UNIT = "answers as another unit"
    TRANSACTION = "answers with a transaction nobody started"
    GARBAGE = "sends bytes that are no frame"
    PROTOCOL = "puts a protocol number other than 0 into the header"
    CRC = "sends a wrong check sum"
    TRICKLE = "sends one byte at a time"
    TWICE = "sends each answer two times"
    ECHO = "acknowledges a write with another value"


MALFORMED = (
    Fault.FUNCTION, Fault.SHORT, Fault.LONG, Fault.UNIT, Fault.TRANSACTION, Fault.GARBAGE,
    Fault.PROTOCOL,
)  # fmt: skip
"""Faults whose answers must never become a value, over TCP."""

MALFORMED_RTU = (
    Fault.FUNCTION, Fault.SHORT, Fault.LONG, Fault.UNIT, Fault.GARBAGE, Fault.CRC,
)  # fmt: skip
"""The same for RTU frames, which have no transaction but a check sum."""

_OTHER = {3: 4, 4: 3, 1: 2, 2: 1, 5: 6, 6: 5, 15: 16, 16: 15, 22: 6, 23: 3, 0x2B: 0x11}


class ModbusDevice(Ear):
    """Units behind one medium, TCP unless given; used as an async context manager.

    `faults` maps a unit to its fault, `fault` is that of all others; `decide(unit, pdu)` may name
    another for one request, or the code of an exception. `delay` is seconds before each answer.
    `written` and `served` remember what happened (`served` only while `log` is true, and the newest
    of it); `requests` is every request as (unit, function, address, count), `asked_at` when it
    came; of other functions the two numbers are whatever follows the function.
    """

    def __init__(
        self, units: dict[int, Unit] | None = None, *, port: int = 0, medium: Medium | None = None
    ) -> None:
        self.units = units if units is not None else {1: Unit()}
        self.medium = medium or Tcp(port)
        self.line = Line()
        self.fault = Fault.OK
        self.faults: dict[int, Fault] = {}
        self.decide: Callable[[int, bytes], Fault | int | None] = lambda _unit, _pdu: None
        self.code = 2
        self.delay = 0.0
        self.garbage = b"\xde\xad\xbe\xef" * 5
        self.most_registers = 125
        self.max_connections = 1000
        self.written: list[Written] = []
        self.log = False
        self.served: deque[Served] = deque(maxlen=200_000)
        self.requests: deque[tuple[int, int, int, int]] = deque(maxlen=10_000)
        self.asked_at: deque[float] = deque(maxlen=10_000)
        self.connections = 0
        self.collisions = 0  # requests that came while an answer was being sent
        self.shortest_gap = math.inf  # seconds from the end of an answer to the next request
        self._answers: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens, when its medium is a socket."""
        assert isinstance(self.medium, Tcp)
        return self.medium.port

    @property
    def address(self) -> str:
        """`host:port`, as a bus's `tcp` option takes it."""
        assert isinstance(self.medium, Tcp)
        return self.medium.address

    @property
    def options(self) -> dict[str, Any]:
        """The options of a bus that leads here, as in YAML."""
        return self.medium.options

    async def __aenter__(self) -> ModbusDevice:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; on the same port as before when started again."""
        await self.medium.start(self)

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        await self.medium.stop()
        for task in list(self._answers):
            task.cancel()
        await asyncio.sleep(0)

    def drop(self) -> None:
        """Cut all connections; new ones are accepted."""
        self.medium.drop()

    async def asked(self) -> None:
        """Wait for the next request."""
        self._asked.clear()
        await self._asked.wait()

    def opened(self, wire: Wire) -> bool:
        if len(self.medium.wires) >= self.max_connections:
            return False
        self.connections += 1
        return True

    def closed(self, wire: Wire) -> None:
        """Nothing is kept of a connection."""

    def heard(self, wire: Wire, data: bytes) -> None:
        rtu = self.medium.rtu
        data, back = self.line.request(data, rtu=rtu)
        if back:
            wire.write(back)
        now = asyncio.get_running_loop().time()
        for asked in self.medium.requests(wire, data, now):
            self._note(wire, asked, now)
            task = asyncio.create_task(self._answer(wire, asked))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def _note(self, wire: Wire, asked: Asked, now: float) -> None:
        numbers = struct.unpack_from(">HH", asked.pdu.ljust(5, b"\0"), 1)
        self.requests.append((asked.unit, asked.pdu[0], *numbers))
        self.asked_at.append(now)
        self.collisions += wire.sending.locked()
        self.shortest_gap = min(self.shortest_gap, now - wire.sent_at)
        self._asked.set()

    async def _answer(self, wire: Wire, asked: Asked) -> None:
        fault, code = self._behaviour(asked)
        if self.medium.rtu and asked.unit == 0:  # a broadcast: everybody obeys, nobody answers
            for number in self.units:
                self._reply(number, asked.pdu)
            return
        if fault is Fault.SILENT or asked.unit not in self.units:
            return  # an absent unit on a line says nothing
        if pause := self.delay + self.line.arrival(asked.length):
            await asyncio.sleep(pause)
        frame = self._frame(fault, code, asked)
        if fault in (Fault.DROP, Fault.CUT):
            self.medium.drop()
        elif fault is not Fault.MUTE:
            await self._send(wire, fault, frame)

    def _behaviour(self, asked: Asked) -> tuple[Fault, int]:
        decided = self.decide(asked.unit, asked.pdu)
        if isinstance(decided, int):
            return Fault.EXCEPTION, decided
        return decided or self.faults.get(asked.unit, self.fault), self.code

    async def _send(self, wire: Wire, fault: Fault, frame: bytes) -> None:
        if fault is Fault.TRICKLE:
            async with wire.sending:
                for byte in frame:
                    wire.write(bytes([byte]))
                    await asyncio.sleep(0)
            return
        pieces = self.line.answer(frame * (2 if fault is Fault.TWICE else 1), rtu=self.medium.rtu)
        first, *_ = pieces
        if len(pieces) == 1 and first.data is not None:
            if first.pause:
                await asyncio.sleep(first.pause)
            async with wire.sending:
                wire.send(first.data)
            return
        async with wire.sending:
            for piece in pieces:
                await asyncio.sleep(piece.pause)
                if piece.data is None:
                    self.medium.drop()
                else:
                    wire.send(piece.data)

    def _frame(self, fault: Fault, code: int, asked: Asked) -> bytes:
        transaction, unit, pdu = asked.transaction, asked.unit, asked.pdu
        if fault is Fault.GARBAGE:
            return self.garbage
        if fault is Fault.DROP:
            return b""
        body = bytes([pdu[0] | 0x80, code])
        if fault is not Fault.EXCEPTION:
            body = self._reply(unit, pdu)
        if fault is Fault.FUNCTION:
            body = bytes([_OTHER[pdu[0]]]) + body[1:]
        if fault in (Fault.SHORT, Fault.LONG):
            body = _resized(body, -2 if fault is Fault.SHORT else 2)
        if fault is Fault.ECHO:
            body = body[:-1] + bytes([body[-1] ^ 0x01])
        if fault is Fault.UNIT:
            unit = unit % 247 + 1
        if fault is Fault.TRANSACTION:
            transaction = (transaction + 0x4000) & 0xFFFF
        protocol = 7 if fault is Fault.PROTOCOL else 0
        frame = self.medium.frame(transaction, unit, body, protocol=protocol)
        return frame[:-1] + bytes([frame[-1] ^ 0xFF]) if fault is Fault.CRC else frame

    def _reply(self, unit: int, pdu: bytes) -> bytes:
        now = asyncio.get_running_loop().time()

        def served(table: str, address: int, value: int) -> None:
            if self.log:
                self.served.append(Served(now, unit, table, address, value))

        def written(function: int, address: int, values: tuple[int, ...]) -> None:
            self.written.append(Written(now, unit, function, address, values))

        return reply(
            self.units[unit], pdu, most_registers=self.most_registers,
            served=served, written=written,
        )  # fmt: skip


def _resized(body: bytes, by: int) -> bytes:
    """A read's answer with registers more or less, its byte count in step; a write's cut off."""
    if body[0] not in (1, 2, 3, 4, 23):
        return body[:by] if by < 0 else body + b"\0" * by
    data = body[2:] + b"\x12\x34" if by > 0 else body[2:by]
    return bytes([body[0], len(data)]) + data
