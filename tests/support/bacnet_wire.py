"""A UDP relay in front of a BACnet device, with faults that can be switched while it runs.

Knows the header's bytes and nothing of the services; the device behind it is a real one.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

HOST = "127.0.0.1"
APDU = 6  # after the virtual link's four bytes and the network layer's two

MALFORMED = ("INVOKE", "SERVICE", "SHORT", "LONG", "OBJECT", "ACK", "GARBAGE")
"""What `Relay.malform` can do to an answer; none of it may become a value."""


def free_port() -> int:
    """A UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _sized(data: bytes) -> bytes:
    return data[:2] + len(data).to_bytes(2, "big") + data[4:]


def malformed(data: bytes, how: str) -> bytes:
    """An answer made wrong in one way."""
    head, apdu = data[:APDU], bytearray(data[APDU:])
    match how:
        case "INVOKE":
            apdu[1] ^= 0x55
        case "SERVICE":
            apdu[2] = 26
        case "SHORT":
            del apdu[-2:]
        case "LONG":
            apdu += b"\x21\x07"
        case "OBJECT":
            apdu[7] ^= 0x01  # the instance of the first object
        case "ACK":
            apdu = bytearray((0x20, apdu[1], apdu[2]))
        case _:
            return b"\x81\x0a garbage"
    return _sized(head + bytes(apdu))


class _Front(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.relay.asked_by(addr, data)


class Relay:
    """Passes datagrams between its own port and a device, which sees every asker as another one."""

    def __init__(self, device_port: int) -> None:
        self.device = (HOST, device_port)
        self.port = free_port()
        self.silent = False
        self.delay = 0.0
        self.malform: str | None = None
        self.requests: list[bytes] = []
        self.waiting = 0
        self.most_waiting = 0
        self._asked = asyncio.Event()
        self._backs: dict[Any, socket.socket] = {}

    @property
    def address(self) -> str:
        """What a site writes as the device's address."""
        return f"{HOST}:{self.port}"

    async def start(self) -> None:
        """Open the front; a back is opened for each asker."""
        self._front, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Front(self), local_addr=(HOST, self.port)
        )

    def stop(self) -> None:
        """Close everything."""
        self._front.close()
        for back in self._backs.values():
            asyncio.get_running_loop().remove_reader(back)
            back.close()

    async def asked(self) -> None:
        """Wait until a request has come from now on."""
        self._asked.clear()
        await self._asked.wait()

    def asked_by(self, asker: Any, data: bytes) -> None:
        """Pass a request on, or not."""
        self._asked.set()
        self.requests.append(data)
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        if not self.silent:
            self._back(asker).sendto(data, self.device)

    def _back(self, asker: Any) -> socket.socket:
        if asker not in self._backs:
            back = self._backs[asker] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.setblocking(False)
            back.bind((HOST, 0))
            asyncio.get_running_loop().add_reader(back, self._answered, back, asker)
        return self._backs[asker]

    def _answered(self, back: socket.socket, asker: Any) -> None:
        data = back.recv(2000)
        if self.malform is not None:
            data = malformed(data, self.malform)
        asyncio.get_running_loop().call_later(self.delay, self._answer, data, asker)

    def _answer(self, data: bytes, asker: Any) -> None:
        self.waiting -= 1
        if not self._front.is_closing():
            self._front.sendto(data, asker)
