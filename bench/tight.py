"""The tightest master that can be: blocking reads and writes, and silence counted by spinning.

What a perfect master reaches on `bench.paced`, and so the proof of its clock. One thread that does
nothing else, knows how long the answer will be, and checks nothing.
"""

from __future__ import annotations

import os
import struct
import time
import tty

from bench.paced import crc, silence


def run(name: str, baud: int, registers: int, seconds: float) -> int:
    """Read `registers` of unit 1 over and over; how many answers came."""
    body = struct.pack(">BBHH", 1, 3, 0, registers)
    request, size = body + crc(body), 5 + 2 * registers
    port = os.open(name, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    quiet, until, answers = 0.0, time.monotonic() + seconds, 0
    try:
        while time.monotonic() < until:
            while time.monotonic() < quiet:
                pass
            os.write(port, request)
            missing = size
            while missing:
                missing -= len(os.read(port, missing))
            quiet = time.monotonic() + silence(baud)
            answers += 1
    finally:
        os.close(port)
    return answers
