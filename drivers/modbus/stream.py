"""TCP connections without TLS: opening one, and its bytes to and from the loop.

Our own transport: at many connections the loop's takes a tenth more of a request's CPU (`bench`).
Not what the bytes mean (`link.py`), not TLS, which is the loop's. Called by `media.py`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, Final

_STUCK: Final = 65536  # bytes that the peer has not taken


async def open_stream(host: str, port: int) -> socket.socket:
    """Connect to the first address of `host` that lets us. Raises OSError: what the last one said.

    A cancellation leaves nothing open.
    """
    loop = asyncio.get_running_loop()
    wanted = socket.SOCK_STREAM
    try:  # an address waits for none of the resolver's threads
        found = socket.getaddrinfo(host, port, type=wanted, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=wanted)
    trouble = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, kind, protocol, _, address in found:
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # without IPv6, or with too many open files
            trouble = error
            continue
        connected = False
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            connected = True
        except OSError as error:
            trouble = error
        finally:
            if not connected:
                sock.close()
        if connected:
            return sock
    raise trouble


class SocketTransport(asyncio.Transport):
    """The bytes of a connected socket, as a transport of the loop; closes the socket when it ends.

    Reads once each time there is something, straight into the buffer of `protocol`. What can no
    longer be read is found at the latest when something is written.
    """

    __slots__ = (
        "_buffer", "_loop", "_protocol", "_receive", "_send", "_socket", "_unsent", "_updated",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__({"socket": sock})
        self._socket: socket.socket | None = sock
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self._receive, self._send = sock.recv_into, sock.send
        self._buffer = protocol.get_buffer(-1)
        self._updated = protocol.buffer_updated
        self._loop.add_reader(sock, self._readable)
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        """Send; what the peer does not take at once follows when it can."""
        if self._socket is None:
            return
        if self._unsent:
            self._keep(data)
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._end(error)
            return
        if sent < len(data):
            self._keep(data[sent:])
            self._loop.add_writer(self._socket, self._writable)

    def is_closing(self) -> bool:
        """Whether it has ended."""
        return self._socket is None

    def close(self) -> None:
        """The same as `abort`: nobody waits for what a closed connection might still say."""
        self._end(None)

    def abort(self) -> None:
        """Close at once; `connection_lost` follows."""
        self._end(None)

    def _keep(self, data: bytes) -> None:
        self._unsent += data
        if len(self._unsent) > _STUCK:
            self._end(OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def _writable(self) -> None:
        waiting, self._unsent = self._unsent, b""
        if self._socket is not None:
            self._loop.remove_writer(self._socket)
        self.write(waiting)

    def _readable(self) -> None:
        try:
            count = self._receive(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if not count:
            self._end(None)
            return
        try:
            self._updated(count)
        except Exception as bug:
            self._end(bug)  # whoever waits is told of it
            raise

    def _end(self, error: Exception | None) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)
        self._loop.call_soon(self._lost, sock, error)

    def _lost(self, sock: socket.socket, error: Exception | None) -> None:
        sock.close()
        self._protocol.connection_lost(error)
