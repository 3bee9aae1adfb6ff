"""A serial line at the speed of its wire and the devices on it, behind a pseudo-terminal.

    python -m bench.paced BAUD UNITS SILENT

Prints `ready TTY`; then, for each line on its standard input, what happened so far as JSON
(`Seen`). Units 1 to UNITS read registers (functions 3 and 4); the last SILENT of them never answer.

A character takes 11 bits. A request is heard whole when its characters have passed the wire and
t3.5 of silence have followed; the answer begins 5 ms later and reaches the master as from a UART
with a FIFO: in lumps of 16 characters, each when its last one has passed. A request that begins
before t3.5 of silence have passed is an error of the master: counted in `early`, not answered. Its
times are held to some 20 µs by a real-time priority, where it may have one, and by spinning at the
end of each wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import sys
import time
import tty
from dataclasses import asdict, dataclass, field

from bench.rig import keep_to

LUMP = 16  # characters of a UART's FIFO
TURNAROUND = 0.005  # seconds from a request to its answer
REQUEST = 8  # bytes of a request to read
PATIENCE = 0.55  # seconds: the time-out of a Modbus bus, and the request's way over the wire
SPIN = 0.0002  # seconds before a moment from which on we do not sleep
CORE = 1


@dataclass
class Seen:
    """What a line or a gateway with several units saw of its master.

    `busy` is how long all transactions take in theory, up to `last`, the end of the newest one.
    `answered` counts answers by unit. `lost` is every request to a silent unit: when it came, and
    how long until the next request of any kind, `PATIENCE` at most: then nothing else was due.
    """

    busy: float = 0.0
    last: float = 0.0
    early: int = 0
    damaged: int = 0
    answered: dict[int, int] = field(default_factory=dict)
    lost: list[tuple[float, float]] = field(default_factory=list)
    waiting_since: float | None = None

    def asked(self, at: float) -> None:
        """A request came: it ends the waiting for a silent unit."""
        if self.waiting_since is not None:
            took = min(at - self.waiting_since, PATIENCE)
            self.lost.append((self.waiting_since, took))
            self.waiting_since = None

    def told(self) -> str:
        """One JSON line."""
        return json.dumps(asdict(self))


def character(baud: int) -> float:
    """Seconds that a character takes."""
    return 11 / baud


def silence(baud: int) -> float:
    """t3.5 in seconds."""
    return 3.5 * character(baud) if baud <= 19200 else 0.00175


def transaction(baud: int, registers: int) -> float:
    """Seconds that reading so many registers takes in theory."""
    characters = REQUEST + 5 + 2 * registers
    return characters * character(baud) + TURNAROUND + 2 * silence(baud)


def crc(data: bytes) -> bytes:
    """The check sum of a frame, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


class Line:
    """The wire and the units on it."""

    def __init__(self, baud: int, units: int, silent: int) -> None:
        self.seen = Seen(last=time.monotonic())
        self._baud = baud
        self._character, self._silence = character(baud), silence(baud)
        self._answering = range(1, units - silent + 1)
        self._answers: dict[bytes, bytes] = {}  # a check sum in Python is slow
        self._port, self._other = os.openpty()  # the other end stays open between two masters
        tty.setraw(self._other)
        self.name = os.ttyname(self._other)

    def serve(self) -> None:
        """Answer until the standard input is closed."""
        sources = select.poll()
        sources.register(self._port, select.POLLIN)
        sources.register(sys.stdin, select.POLLIN)
        while True:
            for number, _ in sources.poll():
                if number == self._port:
                    self._transact()
                elif sys.stdin.readline():
                    print(self.seen.told(), flush=True)
                else:
                    return

    def _transact(self) -> None:
        began = time.monotonic()
        self.seen.asked(began)
        request = os.read(self._port, 512)
        while len(request) < REQUEST and self._readable(began + 0.1):
            request += os.read(self._port, 512)
        heard = began + len(request) * self._character + self._silence
        answer = self._answer(request)
        if answer is None:
            self.seen.waiting_since = began
            _wait(heard)
            return
        end = self._send(answer, heard + TURNAROUND)
        self.seen.answered[request[0]] = self.seen.answered.get(request[0], 0) + 1
        quiet = end + self._silence
        if self._readable(quiet) and time.monotonic() < quiet:
            self.seen.early += 1
            os.read(self._port, 512)
            return
        self.seen.busy += transaction(self._baud, (len(answer) - 5) // 2)
        self.seen.last = quiet

    def _answer(self, request: bytes) -> bytes | None:
        """The answer to a request, as fast as possible; None when nobody answers."""
        if request in self._answers:
            return self._answers[request]
        if len(request) != REQUEST or crc(request[:-2]) != request[-2:]:
            self.seen.damaged += 1
            return None
        unit, function, _, count = struct.unpack_from(">BBHH", request)
        if unit not in self._answering:
            return None
        body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *range(count))
        self._answers[request] = body + crc(body)
        return self._answers[request]

    def _send(self, answer: bytes, begin: float) -> float:
        """Bring it to the master lump by lump; returns when its last character has passed."""
        for start in range(0, len(answer), LUMP):
            lump = answer[start : start + LUMP]
            passed = begin + (start + len(lump)) * self._character
            _wait(passed)
            os.write(self._port, lump)
        return passed

    def _readable(self, until: float) -> bool:
        """Whether something comes before `until`."""
        left = until - time.monotonic()
        return bool(select.select([self._port], [], [], max(left, 0.0))[0])


def _wait(until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        if left > SPIN:
            time.sleep(left - SPIN)


def main(baud: int, units: int, silent: int) -> None:
    """Be the line."""
    keep_to(CORE)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    line = Line(baud, units, silent)
    print("ready", line.name, flush=True)
    line.serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
