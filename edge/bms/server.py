"""The Modbus TCP server: connections and requests of the BMS next door, answered by pymodbus.

pymodbus reads the requests and makes the answers. Its transport is not used: it takes any number
of connections, drops what a client sends ahead, never lets go of an idle one, and hangs on a wrong
header. Here each connection is one conversation, answered in order. Imports pymodbus, so it is
imported only for a site that has the section; started by `edge.app`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerSocket
from pymodbus.logging import Log
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu.device import ModbusControlBlock

from edge.bms.registers import BadValue, NoSuchAddress, Registers
from edge.bms.writes import Writes
from edge.clock import Clock
from edge.events import BMS_CLIENT_REFUSED, BMS_DOWN, BMS_UP, Events
from edge.site.registers import Bms, Table
from edge.text import Text

CLIENTS: Final = 8  # connections at once
IDLE: Final = 600.0  # seconds without a request after which a connection is closed
GIVES_WAY: Final = 10.0  # seconds without a request after which it makes place for another
PATIENCE: Final = 5.0  # seconds for the rest of a request, and for taking an answer
PACE: Final = 0.02  # seconds for each request of a connection, on average
BURST: Final = 25  # requests that it may have ahead of that pace
ARRIVAL: Final = 0.02  # seconds between connections that are taken
AHEAD: Final = 2048  # bytes that are read ahead of what was answered
RETRY: Final = 10.0  # seconds between attempts to listen
REPORT: Final = 600.0  # seconds between events about clients that were turned away

_HEADER = struct.Struct(">HHHB")
_READS: Final[dict[int, Table]] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_WRITES: Final[dict[int, Table]] = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}
_IDENTIFY: Final = 43
_MEI: Final = 14
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
FAILURE, BUSY, NO_SUCH_UNIT = 4, 6, 11
REFUSALS: Final = {
    "OUT_OF_RANGE": ILLEGAL_VALUE, "STEP_TOO_LARGE": ILLEGAL_VALUE, "RATE_LIMITED": BUSY,
}  # fmt: skip
"""What a refused command is on Modbus; every other refusal is `FAILURE`."""

_NOT_LISTED = Text("不在 clients 中", "it is not in `clients`")
_FULL = Text(
    f"已有 {CLIENTS} 个连接且都在使用", f"there are {CLIENTS} connections and all are in use"
)


class NotModbus(Exception):
    """What arrived is no Modbus TCP; nothing behind it can be understood."""


@dataclass(eq=False, slots=True)
class Client:
    """One connection. `heard` and `due` are loop time: its last request, its next at this pace."""

    address: str
    writer: asyncio.StreamWriter
    heard: float
    due: float


class Server:
    """Serves one site until cancelled; `run` may be called again after a failure."""

    def __init__(
        self,
        bms: Bms,
        registers: Registers,
        writes: Writes,
        identity: Sequence[str],
        clock: Clock,
        events: Events,
    ) -> None:
        """`identity`: vendor, product code, version."""
        self._bms, self._registers, self._writes = bms, registers, writes
        self._clock, self._events = clock, events
        host = f"[{bms.host}]" if ":" in bms.host else bms.host
        self._address = f"{host}:{bms.port}"
        self._units = {bms.unit, 0, 255}  # Messaging on TCP/IP Implementation Guide 4.4.2.1
        self._decoder = DecodePDU(True)
        self._framer = FramerSocket(self._decoder)
        self._clients: set[Client] = set()
        self._left: asyncio.Event | None = None  # waits for the last of them to leave
        self._down_since: float | None = None
        self._reported: dict[Text, float] = {}
        self.up = asyncio.Event()
        self.requests = self.refused = 0
        ModbusControlBlock().Identity.update(dict(enumerate(identity)))
        Log.setLevel("CRITICAL")  # a client's mistake is its own affair

    async def run(self) -> None:
        """Listen for ever, and try again where that is not possible yet."""
        while True:
            try:
                with _listen(self._bms) as listening:
                    self._report_up()
                    self.up.set()
                    await self._accept(listening)
            except OSError as error:
                self._report_down(error)
            finally:
                self.up.clear()
                await self._end()
            await asyncio.sleep(RETRY)

    async def _end(self) -> None:
        """Cut every connection and wait until nobody is left: no answer follows the last."""
        for client in self._clients:
            client.writer.transport.abort()
        if self._clients:
            self._left = asyncio.Event()
            await self._left.wait()

    async def _accept(self, listening: socket.socket) -> None:
        """Take connections one by one; more than so many a second wait in the kernel."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # gone before it was taken
            address = _address(peer)
            if reason := self._turned_away(address, loop.time()):
                self._report_refused(address, reason, loop.time())
                connection.close()
            else:
                await self._welcome(address, connection)
            await asyncio.sleep(ARRIVAL)

    async def _welcome(self, address: str, connection: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=AHEAD)
        conversation = asyncio.StreamReaderProtocol(reader, partial(self._serve, address))
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: conversation, connection)

    def health(self) -> dict[str, object]:
        """Connections and counts."""
        return {
            "listen": self._address, "up": self.up.is_set(),
            "clients": sorted(client.address for client in self._clients),
            "requests": self.requests, "refused": self.refused,
        }  # fmt: skip

    # ── one connection ─────────────────────────────────────────────────────────────────────────

    async def _serve(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        now = asyncio.get_running_loop().time()
        client = Client(address, writer, now, now - BURST * PACE)
        self._clients.add(client)
        try:
            while True:
                await self._converse(client, reader)
        except (asyncio.IncompleteReadError, OSError, NotModbus):
            pass  # gone, silent, too slow, or no Modbus client
        finally:
            self._clients.discard(client)
            if self._left is not None and not self._clients:
                self._left.set()
            writer.transport.abort()

    def _turned_away(self, address: str, now: float) -> Text | None:
        """Why a client may not stay; the one that was silent longest may make place for it."""
        if not _listed(address, self._bms):
            return _NOT_LISTED
        if len(self._clients) >= CLIENTS:
            silent = min(self._clients, key=lambda client: client.heard)
            if now - silent.heard < GIVES_WAY:
                return _FULL
            self._clients.discard(silent)
            silent.writer.transport.abort()
        return None

    async def _converse(self, client: Client, reader: asyncio.StreamReader) -> None:
        """One request and its answer, at a pace that leaves time for control."""
        transaction, unit, pdu = await _request(reader)
        client.heard = now = asyncio.get_running_loop().time()
        client.due = max(client.due, now - BURST * PACE) + PACE
        await asyncio.sleep(max(client.due - now, 0))  # others come in between at the least
        answer = await self._answer(unit, pdu, client.address)
        answer.dev_id, answer.transaction_id = unit, transaction
        client.writer.write(self._framer.buildFrame(answer))
        async with asyncio.timeout(PATIENCE):
            await client.writer.drain()

    async def _answer(self, unit: int, pdu: bytes, client: str) -> Any:
        """pymodbus' answer to one request."""
        self.requests += 1
        if unit not in self._units:
            return ExceptionResponse(pdu[0], NO_SUCH_UNIT)
        if code := wrong_form(pdu):
            return ExceptionResponse(pdu[0], code)
        request = self._decoder.decode(pdu)
        if request is None:  # pymodbus does not say why; a known function with wrong numbers
            return ExceptionResponse(pdu[0], ILLEGAL_VALUE)
        table = Access(self._registers, self._writes, client)
        answer = await request.datastore_update(table, unit)
        self.refused += answer.isError() and pdu[0] in _WRITES
        return answer

    # ── words ──────────────────────────────────────────────────────────────────────────────────

    def _report_down(self, error: OSError) -> None:
        if self._down_since is None:
            self._down_since = self._clock.now()
            reason = error.strerror or str(error)
            self._events.emit(BMS_DOWN, address=self._address, reason=reason)

    def _report_up(self) -> None:
        if self._down_since is not None:
            lasted = self._clock.now() - self._down_since
            self._down_since = None
            self._events.emit(BMS_UP, address=self._address, lasted=lasted)

    def _report_refused(self, address: str, reason: Text, now: float) -> None:
        """Once in a while: whoever is turned away comes again at once."""
        if now - self._reported.get(reason, -REPORT) >= REPORT:
            self._reported[reason] = now
            self._events.emit(BMS_CLIENT_REFUSED, client=address, reason=reason)


class Access:
    """The tables as pymodbus sees them, for one request."""

    def __init__(self, registers: Registers, writes: Writes, client: str) -> None:
        self._registers, self._writes, self._client = registers, writes, client
        self._written: list[Any] = []

    async def async_getValues(
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[Any] | ExcCodes:
        """What a request reads; after a single write what was written, as the answer repeats it."""
        if func_code in _WRITES:
            return self._written
        try:
            return self._registers.read(_READS[func_code], address, count)
        except NoSuchAddress:
            return ExcCodes(ILLEGAL_ADDRESS)

    async def async_setValues(
        self, device_id: int, func_code: int, address: int, values: Sequence[Any]
    ) -> ExcCodes | None:
        """Take what a request writes, whole or not at all."""
        self._written = list(values)
        try:
            wanted = self._registers.written(_WRITES[func_code], address, values)
        except NoSuchAddress:
            return ExcCodes(ILLEGAL_ADDRESS)
        except BadValue:
            return ExcCodes(ILLEGAL_VALUE)
        refusal = self._writes.ask(wanted, self._client)
        return ExcCodes(REFUSALS.get(refusal, FAILURE)) if refusal else None


def wrong_form(pdu: bytes) -> int:
    """The exception for what pymodbus lets pass or fails on; 0 when it may have a look."""
    function = pdu[0]
    if function in _READS or function in (5, 6):
        if len(pdu) != 5 or (function == 5 and pdu[3:] not in (b"\xff\x00", b"\x00\x00")):
            return ILLEGAL_VALUE
    elif function == _IDENTIFY:
        if len(pdu) < 2 or pdu[1] != _MEI:
            return ILLEGAL_FUNCTION
        if len(pdu) != 4 or not 1 <= pdu[2] <= 4:
            return ILLEGAL_VALUE
    elif function not in _WRITES:
        return ILLEGAL_FUNCTION
    return 0


async def _request(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Transaction, unit and PDU of the next request. A beginning must be followed by the rest."""
    async with asyncio.timeout(IDLE):
        first = await reader.readexactly(1)
    async with asyncio.timeout(PATIENCE):
        header = first + await reader.readexactly(_HEADER.size - 1)
        transaction, protocol, length, unit = _HEADER.unpack(header)
        if protocol or not 2 <= length <= 254:
            raise NotModbus
        return transaction, unit, await reader.readexactly(length - 1)


def _listen(bms: Bms) -> socket.socket:
    """The listening socket; `::` is for IPv4 too."""
    family = socket.AF_INET6 if ":" in bms.host else socket.AF_INET
    listening = socket.create_server(
        (bms.host, bms.port), family=family, backlog=CLIENTS, dualstack_ipv6=bms.host == "::"
    )
    # What waits in the kernel is carried out late: some seconds of it at the pace, not minutes.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * AHEAD)
    listening.setblocking(False)
    return listening


def _address(peer: Sequence[Any]) -> str:
    """The other end's address; an IPv4 client of an IPv6 socket by its own."""
    address = ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def _listed(address: str, bms: Bms) -> bool:
    return any(ip_address(address) in network for network in bms.clients)
