"""Tell systemd what it asked to be told: READY, STATUS, WATCHDOG, STOPPING (sd_notify(3)).

Does nothing when nobody listens. Not supervision itself: systemd's unit decides what follows.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class Notify:
    """The datagram socket of `$NOTIFY_SOCKET`, if there is one.

    `interval` is how often the watchdog wants to be fed, in seconds: half of what systemd grants,
    0 when it does not watch this process.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        granted = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        self.interval = granted / 2 if mine else 0.0

    def ready(self, status: str) -> None:
        """The first scan is done: whoever waits for the service may go on."""
        self._send(f"READY=1\nSTATUS={status}")

    def watchdog(self) -> None:
        """Control works: a step finished in time and its outputs were handed over."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """An ordered stop has begun."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # systemd is busy or gone: the next message may arrive
            self._socket.sendto(message.encode(), self._address)
