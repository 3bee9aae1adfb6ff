"""A Modbus TCP gateway with several units behind it, some of which never answer.

    python -m bench.gateway MILLISECONDS UNITS SILENT

Prints `ready PORT`; then, for each line on its standard input, what happened so far as JSON
(`bench.paced.Seen`). As a gateway with one line behind it: one request after the other, each
answered after so many milliseconds, by units 1 to UNITS; the last SILENT of them never answer.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

from bench.paced import Seen


class Gateway:
    """One connection at a time."""

    def __init__(self, delay: float, units: int, silent: int) -> None:
        self.seen = Seen(last=time.monotonic())
        self._delay = delay
        self._answering = range(1, units - silent + 1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None

    def serve(self) -> None:
        """Answer until the standard input is closed."""
        while True:
            source = self._connection or self._listener
            ready, _, _ = select.select([source, sys.stdin], [], [])
            if source in ready:
                self._accept() if self._connection is None else self._transact(self._connection)
            elif not sys.stdin.readline():
                return
            else:
                print(self.seen.told(), flush=True)

    def _accept(self) -> None:
        self._connection, _ = self._listener.accept()
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _transact(self, connection: socket.socket) -> None:
        began = time.monotonic()
        request = connection.recv(12)
        if len(request) < 12:
            connection.close()
            self._connection = None
            return
        self.seen.asked(began)
        transaction, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
        if unit not in self._answering:
            self.seen.waiting_since = began
            return
        time.sleep(self._delay)
        body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *range(count))
        connection.send(struct.pack(">HHH", transaction, 0, len(body)) + body)
        self.seen.answered[unit] = self.seen.answered.get(unit, 0) + 1


def main(milliseconds: float, units: int, silent: int) -> None:
    """Be the gateway."""
    gateway = Gateway(milliseconds / 1e3, units, silent)
    print("ready", gateway.port, flush=True)
    gateway.serve()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
