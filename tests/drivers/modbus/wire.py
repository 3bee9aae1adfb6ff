"""A transport for a link without a socket, whose other end is the test."""

from __future__ import annotations

import asyncio
from typing import Any

from drivers.modbus.line import RtuLink
from drivers.modbus.link import Link, TcpLink


def receive(link: Link, data: bytes) -> None:
    """Let a link receive bytes as a transport does; TCP into its buffer, as many as fit at once."""
    if isinstance(link, RtuLink):
        link.data_received(data)
        return
    assert isinstance(link, TcpLink)
    while data:
        buffer = link.get_buffer(-1)
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        data = data[count:]
        link.buffer_updated(count)


class Wire(asyncio.Transport):
    """A transport without a socket: `sent` is what was written; the test plays the peer."""

    def __init__(self, link: TcpLink) -> None:
        super().__init__()
        self.link = link
        self.sent: list[bytes] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)
