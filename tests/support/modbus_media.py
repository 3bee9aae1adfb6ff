"""The media of a faulty Modbus device: TCP, TLS, RTU over TCP, and RTU over a pseudo-terminal.

Each carries bytes between a socket or a terminal and the device, and cuts requests out of them by
their length. Not what is answered (`modbus_units.py`), not what a line does to it (`bad_line.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import ssl
import struct
import tempfile
import tty
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple, cast

from tests.support.bad_line import crc
from tests.support.certificates import Certificates

HOST = "127.0.0.1"
QUIET = 0.05  # seconds after which half an RTU request is forgotten


class Asked(NamedTuple):
    """One request: its transaction (0 on RTU), the unit, the PDU, and its bytes on the wire."""

    transaction: int
    unit: int
    pdu: bytes
    length: int


class Wire(ABC):
    """One connection to the device. `sending` keeps two answers from mixing their bytes."""

    def __init__(self) -> None:
        self.sending = asyncio.Lock()
        self.rest = b""
        self.heard_at = 0.0
        self.sent_at = -math.inf

    def send(self, data: bytes) -> None:
        """Send a piece of an answer."""
        self.write(data)
        self.sent_at = asyncio.get_running_loop().time()

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send; nothing happens when it is cut already."""

    @abstractmethod
    def cut(self) -> None:
        """End it without a word."""


class Ear(ABC):
    """Who listens to a medium: the device."""

    @abstractmethod
    def opened(self, wire: Wire) -> bool:
        """A connection was made; False refuses it."""

    @abstractmethod
    def heard(self, wire: Wire, data: bytes) -> None:
        """Bytes came."""

    @abstractmethod
    def closed(self, wire: Wire) -> None:
        """A connection has ended."""


class Medium(ABC):
    """Where the device is reached. `options` are those of a bus in YAML, valid once started."""

    rtu: bool

    def __init__(self) -> None:
        self.wires: set[Wire] = set()

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]: ...

    @abstractmethod
    async def start(self, ear: Ear) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    def drop(self) -> None:
        """Cut all connections; new ones are accepted."""
        for wire in list(self.wires):
            wire.cut()

    def requests(self, wire: Wire, data: bytes, now: float) -> list[Asked]:
        """The requests that `data` completes."""
        if self.rtu and now - wire.heard_at > QUIET:
            wire.rest = b""
        wire.heard_at = now
        cut = _cut_rtu if self.rtu else _cut_mbap
        found, wire.rest = cut(wire.rest + data)
        return found

    def frame(self, transaction: int, unit: int, body: bytes, *, protocol: int = 0) -> bytes:
        """An answer as it goes over the wire."""
        if self.rtu:
            return bytes([unit]) + body + crc(bytes([unit]) + body)
        return struct.pack(">HHHB", transaction, protocol, len(body) + 1, unit) + body


def _cut_mbap(data: bytes) -> tuple[list[Asked], bytes]:
    found: list[Asked] = []
    while len(data) >= 7:
        transaction, _, length, unit = struct.unpack_from(">HHHB", data)
        if len(data) < 6 + length:
            break
        found.append(Asked(transaction, unit, data[7 : 6 + length], 6 + length))
        data = data[6 + length :]
    return found, data


def _cut_rtu(data: bytes) -> tuple[list[Asked], bytes]:
    """By the length of each request; after a wrong check sum nothing is heard until silence."""
    found: list[Asked] = []
    while data:
        length = _rtu_length(data)
        if len(data) < length:
            break
        if crc(data[: length - 2]) != data[length - 2 : length]:
            return found, b""
        found.append(Asked(0, data[0], data[1 : length - 2], length))
        data = data[length:]
    return found, data


def _rtu_length(data: bytes) -> int:
    """How long the request is, as far as its first bytes tell; all of an unknown function."""
    function = data[1] if len(data) > 1 else 0
    if function == 0x2B:
        return 7
    if function == 22:
        return 10
    if function in (15, 16):
        return 9 + data[6] if len(data) > 6 else 9
    if function == 23:
        return 13 + data[10] if len(data) > 10 else 13
    return 8 if function <= 6 else max(len(data), 4)


class _SocketWire(Wire, asyncio.Protocol):
    def __init__(self, medium: Medium, ear: Ear) -> None:
        super().__init__()
        self._medium, self._ear = medium, ear
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._ear.opened(self):
            self._medium.wires.add(self)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self in self._medium.wires:
            self._ear.heard(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._medium.wires:
            self._medium.wires.discard(self)
            self._ear.closed(self)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Tcp(Medium):
    """A listening socket; the same port again when it is started again."""

    rtu = False
    option = "tcp"

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.port = port
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        return {self.option: self.address}

    def _context(self) -> ssl.SSLContext | None:
        return None

    async def start(self, ear: Ear) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _SocketWire(self, ear), HOST, self.port, ssl=self._context()
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()
        await asyncio.sleep(0)


class Tls(Tcp):
    """TCP inside TLS, with the throw-away certificates of `certificates.py`.

    `client`: the other end must show a certificate of the same authority.
    """

    def __init__(self, certificates: Certificates, *, client: bool = True) -> None:
        super().__init__()
        self.certificates, self._client = certificates, client

    @property
    def options(self) -> dict[str, Any]:
        files = self.certificates
        tls = {"ca": str(files.ca), "name": files.name}
        if self._client:
            tls |= {"certificate": str(files.client), "key": str(files.client_key)}
        return {"tcp": self.address, "tls": tls}

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.certificates.ca)
        context.load_cert_chain(self.certificates.server, self.certificates.server_key)
        context.verify_mode = ssl.CERT_REQUIRED if self._client else ssl.CERT_NONE
        return context


class RtuTcp(Tcp):
    """RTU frames on a TCP connection, as serial device servers pass them on."""

    rtu = True
    option = "rtu_tcp"


class _PtyWire(Wire):
    def __init__(self, medium: Pty, ear: Ear) -> None:
        super().__init__()
        self._ear, self._medium = ear, medium
        self._near, self._far = os.openpty()
        tty.setraw(self._far)  # kept open, else the near end fails while nobody is there
        os.set_blocking(self._near, False)
        self.name = os.ttyname(self._far)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._near, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._near, 4096)
        except BlockingIOError:
            return
        except OSError:
            self.cut()
            return
        self._ear.heard(self, data)

    def write(self, data: bytes) -> None:
        if self._near >= 0:
            with contextlib.suppress(BlockingIOError):  # nobody reads: a line does not wait
                os.write(self._near, data)

    def cut(self) -> None:
        if self._near >= 0:
            self._loop.remove_reader(self._near)
            os.close(self._near)
            os.close(self._far)
            self._near = -1
            self._medium.wires.discard(self)
            self._ear.closed(self)


class Pty(Medium):
    """A pseudo-terminal as serial line. `path` leads to it, also after it vanished and came back.

    A terminal knows no byte times; `PacedLine` does. Dropping it hangs up: the other end's open
    file fails, and `path` is gone for `away` seconds.
    """

    rtu = True

    def __init__(self, *, baud: int = 115200, away: float = 0.0) -> None:
        super().__init__()
        self.baud, self.away = baud, away
        self.path = Path()
        self._ear: Ear | None = None
        self._folder: str | None = None
        self._coming: asyncio.TimerHandle | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {"serial": str(self.path), "baud": self.baud}

    async def start(self, ear: Ear) -> None:
        self._ear = ear
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="modbus-line-")
            self.path = Path(self._folder, "line")
        self._appear()

    async def stop(self) -> None:
        self._vanish()
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    def drop(self) -> None:
        self._vanish()
        if self.away:
            self._coming = asyncio.get_running_loop().call_later(self.away, self._appear)
        else:
            self._appear()

    def _appear(self) -> None:
        assert self._ear is not None
        wire = _PtyWire(self, self._ear)
        self.wires.add(wire)
        self._ear.opened(wire)
        self.path.symlink_to(wire.name)

    def _vanish(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None
        self.path.unlink(missing_ok=True)
        super().drop()


class Memory(Medium):
    """A serial line without a terminal, for virtual time: `connect` joins a protocol to it."""

    rtu = True

    def __init__(self, *, baud: int = 9600) -> None:
        super().__init__()
        self.baud = baud
        self._ear: Ear | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {"serial": "/dev/memory", "baud": self.baud}

    async def start(self, ear: Ear) -> None:
        self._ear = ear

    async def stop(self) -> None:
        self.drop()

    def connect(self, protocol: asyncio.Protocol) -> None:
        """Let the protocol be the other end."""
        assert self._ear is not None
        wire = _MemoryWire(self, self._ear, protocol)
        self.wires.add(wire)
        self._ear.opened(wire)
        protocol.connection_made(_MemoryEnd(wire))


class _MemoryWire(Wire):
    def __init__(self, medium: Memory, ear: Ear, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._medium, self._ear, self._protocol = medium, ear, protocol
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        if data and self in self._medium.wires:
            self._loop.call_soon(self._protocol.data_received, data)

    def cut(self) -> None:
        if self in self._medium.wires:
            self._medium.wires.discard(self)
            self._loop.call_soon(self._protocol.connection_lost, None)
            self._ear.closed(self)

    def hear(self, data: bytes) -> None:
        if self in self._medium.wires:
            self._loop.call_soon(self._ear.heard, self, data)


class _MemoryEnd(asyncio.Transport):
    def __init__(self, wire: _MemoryWire) -> None:
        super().__init__()
        self._wire = wire

    def write(self, data: Any) -> None:
        self._wire.hear(bytes(data))

    def abort(self) -> None:
        self._wire.cut()

    def close(self) -> None:
        self._wire.cut()
