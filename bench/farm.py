"""Many Modbus TCP devices in one process of its own: the load of the benchmarks and fault tests.

Speaks only what it needs, by its own few lines, fast enough that it is never the bottleneck: FC 3
from a table of registers, FC 5, 6 and 16 recorded. With each poll of 100 registers one of them
changes. Device 0 also times reactions: register 99 toggles, and the write that follows is timed.

    python -m bench.farm PORT DEVICES [--toggle SECONDS] [--log FILE]

Prints one JSON line when told to stop by SIGTERM: polls, writes and reactions in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import struct
import time
from typing import Any, TextIO

REGISTERS = 100
TOGGLED = 99  # of device 0: what the reaction benchmark's rule looks at
HEADER = struct.Struct(">HHHB")


class Device(asyncio.Protocol):
    """One device on its own port; one instance per connection, registers shared."""

    def __init__(self, number: int, farm: Farm) -> None:
        self._number, self._farm = number, farm
        self._registers = farm.registers[number]
        self._buffer = b""
        self._transport: Any = None  # uvloop's is no asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            transaction, _, length, unit = HEADER.unpack_from(self._buffer)
            if len(self._buffer) < 6 + length:
                return
            pdu, self._buffer = self._buffer[7 : 6 + length], self._buffer[6 + length :]
            answer = self._answer(pdu)
            self._transport.write(HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer)
            if pdu[0] == 3:
                self._farm.answered(self._number)

    def _answer(self, pdu: bytes) -> bytes:
        if pdu[0] == 3:
            first, count = struct.unpack_from(">HH", pdu, 1)
            self._farm.change(self._number)
            values = self._registers[first : first + count]
            return struct.pack(f">BB{count}H", 3, 2 * count, *values)
        self._farm.wrote(self._number, pdu)
        return pdu[:5]


class Farm:
    """The devices' registers and what was seen of the controller."""

    def __init__(self, devices: int, toggle: float, log: TextIO | None) -> None:
        self.registers = [[0] * REGISTERS for _ in range(devices)]
        self.polls = [0] * devices
        self.writes = 0
        self.reactions: list[float] = []
        self._toggle, self._log = toggle, log
        self._next_toggle = time.monotonic() + 2 * toggle
        self._toggled = False
        self._sent_at: float | None = None

    def change(self, number: int) -> None:
        """One of the hundred registers changes with each poll."""
        registers = self.registers[number]
        at = self.polls[number] % (REGISTERS - 1)
        registers[at] = (registers[at] + 1) & 0x7FFF
        self.polls[number] += 1
        if self._log is not None:
            self._log.write(f"{time.time():.6f} {number} {at} {registers[at]}\n")
        if number == 0 and self._toggle and time.monotonic() >= self._next_toggle:
            self._next_toggle = time.monotonic() + self._toggle
            registers[TOGGLED] ^= 1
            self._toggled = True

    def answered(self, number: int) -> None:
        """The answer is on its way; if it holds a toggle the clock runs."""
        if number == 0 and self._toggled:
            self._toggled = False
            self._sent_at = time.perf_counter()

    def wrote(self, number: int, pdu: bytes) -> None:
        """A write arrived; on device 0 the first one after a toggle is its reaction."""
        self.writes += 1
        if number == 0 and self._sent_at is not None:
            self.reactions.append((time.perf_counter() - self._sent_at) * 1e3)
            self._sent_at = None

    def summary(self) -> str:
        """What happened, as one JSON line."""
        return json.dumps({"polls": self.polls, "writes": self.writes, "reactions": self.reactions})


async def main(port: int, devices: int, toggle: float, log: TextIO | None) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    farm = Farm(devices, toggle, log)
    for number in range(devices):
        await loop.create_server(
            lambda number=number: Device(number, farm), "127.0.0.1", port + number
        )
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    if log is not None:
        log.flush()
    print(farm.summary(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("devices", type=int)
    parser.add_argument("--toggle", type=float, default=0.0)
    parser.add_argument("--log", type=argparse.FileType("w", bufsize=1))
    given = parser.parse_args()
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        runner.run(main(given.port, given.devices, given.toggle, given.log))
