"""A Modbus TCP device for many connections, as cheap as Python goes: so that it is no bottleneck.

Answers every request with the same registers, of which one counts on: no two answers in a row are
alike, so that a client that skips equal answers gains nothing here. Function 3 only, one request in
flight on each connection. Not the device of `bench.farm`, which changes, times and records.

    python -m bench.responder REGISTERS DEVICES CORE

Prints `ready PORT` (the first of DEVICES neighbouring ports); then, for each line on its standard
input, the requests answered so far on each port as a JSON list. Ends with its standard input.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys

from bench.rig import free_ports, keep_to


def main(registers: int, devices: int, core: int) -> None:
    """Serve until the standard input is closed."""
    keep_to(core)
    port = free_ports(devices)
    poll = select.epoll()
    listeners = {}
    for number in range(devices):
        listener = socket.create_server(("127.0.0.1", port + number), backlog=300)
        listeners[listener.fileno()] = (listener, number)
        poll.register(listener, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    print("ready", port, flush=True)
    serve(poll, listeners, registers, [0] * devices)


def serve(
    poll: select.epoll,
    listeners: dict[int, tuple[socket.socket, int]],
    registers: int,
    answered: list[int],
) -> None:
    """The loop: whatever is readable gets its answer at once."""
    tail = struct.pack(">HHBBB", 0, 3 + 2 * registers, 1, 3, 2 * registers)
    rest = bytes(range(256)) * 2
    rest = rest[: 2 * registers - 2]
    connections: dict[int, tuple[socket.socket, int]] = {}
    count = 0
    while True:
        for number, _ in poll.poll():
            if number in connections:
                connection, device = connections[number]
                try:
                    request = connection.recv(512)
                except ConnectionError:
                    request = b""
                if not request:
                    del connections[number]
                    connection.close()
                    continue
                count = (count + 1) & 0xFFFF
                connection.send(request[:2] + tail + count.to_bytes(2, "big") + rest)
                answered[device] += 1
            elif number in listeners:
                connection, _ = listeners[number][0].accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = (connection, listeners[number][1])
                poll.register(connection, select.EPOLLIN)
            else:
                if not sys.stdin.readline():
                    return
                print(json.dumps(answered), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
