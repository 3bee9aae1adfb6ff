"""A Modbus TCP server over simulated units, with faults on the wire that can be switched.

Its own asyncio server and `struct` frames, independent of `drivers/modbus`: it is the other end in
tests and in the demo. Not the maps (`registers.py`), not what a unit answers (`answers.py`). Used
by `equipment.py`; on a serial line the same units answer through `serve_rtu.py`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from drivers.sim.answers import answer
from drivers.sim.registers import Unit

_HEADER = struct.Struct(">HHHB")


@dataclass
class Wire:
    """What is wrong between one unit and its client; fresh ones have no fault.

    `silent` never answers; `delay` seconds pass before each answer, and requests behind it wait,
    as in a gateway; `drop` closes the connection instead of answering; `exception` answers every
    request with this code (0: none). `answer` spoils the frame: `transaction`, `unit`, `function`
    give another one than asked, `short` a value less, `words` the two registers of each pair in
    each other's place, `garbage` no Modbus at all. `bytewise` sends byte by byte.
    """

    silent: bool = False
    delay: float = 0.0
    drop: bool = False
    exception: int = 0
    answer: Literal["right", "transaction", "unit", "function", "short", "words", "garbage"] = (
        "right"
    )
    bytewise: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way, to be spoiled as `wire` says."""

    pdu: bytes
    wire: Wire


class ModbusServer:
    """Units by number on one TCP port; a request to any other number stays unanswered.

    `before` is called ahead of each request, so that models can catch up with the time.
    """

    def __init__(
        self,
        units: Mapping[int, Unit],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.units = units
        self.wire = {number: Wire() for number in units}
        self.requests = dict.fromkeys(units, 0)
        self.host, self.port = host, port
        self._before = before
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; port 0 becomes the one that the system gave. OSError: it is taken."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection; starting again is possible."""
        if self._server is None:
            return
        self._server.close()
        self.cut()
        await self._server.wait_closed()
        self._server = None

    def cut(self) -> None:
        """Drop every connection; new ones are still taken."""
        for writer in tuple(self._open):
            writer.transport.abort()

    async def __aenter__(self) -> ModbusServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                transaction, _, length, unit = _HEADER.unpack(await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
                if unit in self.units and not await self._answer(writer, transaction, unit, pdu):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return  # the client left, or does not speak Modbus
        finally:
            self._open.discard(writer)
            writer.close()

    def reply(self, unit: int, pdu: bytes) -> Reply | None:
        """What the unit answers to a request; None when it does not."""
        wire = self.wire[unit]
        self.requests[unit] += 1
        if wire.silent or wire.drop:
            return None
        self._before()
        if wire.exception:
            return Reply(bytes([pdu[0] | 0x80, wire.exception]), wire)
        right = answer(self.units[unit], pdu)
        return Reply(swapped(right) if wire.answer == "words" else right, wire)

    async def _answer(
        self, writer: asyncio.StreamWriter, transaction: int, unit: int, pdu: bytes
    ) -> bool:
        """Answer one request; False when the connection must end."""
        wire = self.wire[unit]
        if wire.delay and not wire.silent:
            await asyncio.sleep(wire.delay)
        reply = self.reply(unit, pdu)
        if reply is None:
            return wire.silent
        frame = spoil(wire.answer, transaction, unit, reply.pdu)
        if wire.bytewise:
            for i in range(len(frame)):
                writer.write(frame[i : i + 1])
                await writer.drain()
                await asyncio.sleep(0.001)
        else:
            writer.write(frame)
            await writer.drain()
        return True


def swapped(reply: bytes) -> bytes:
    """An answer with registers whose word order somebody has changed at the device."""
    if reply[0] not in (3, 4):
        return reply
    words = [reply[i : i + 2] for i in range(2, len(reply), 2)]
    pairs = [words[i : i + 2][::-1] for i in range(0, len(words), 2)]
    return reply[:2] + b"".join(word for pair in pairs for word in pair)


def spoil(answer: str, transaction: int, unit: int, reply: bytes) -> bytes:
    """The frame around `reply`, right or wrong in the one way that `answer` says."""
    if answer == "garbage":
        return b"\xde\xad\xbe\xef" * 8
    if answer == "transaction":
        transaction = transaction + 1 & 0xFFFF
    if answer == "unit":
        unit = unit + 1 & 0xFF
    if answer == "function":
        reply = bytes([3 if reply[0] == 4 else 4]) + reply[1:]
    if answer == "short":
        reply = bytes([reply[0], max(reply[1] - 2, 0)]) + reply[2:-2]
    return _HEADER.pack(transaction, 0, len(reply) + 1, unit) + reply
