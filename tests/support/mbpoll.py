"""Debian's `mbpoll` as a Modbus TCP client: libmodbus, which shares nothing with what it asks.

One request per call, addresses as on the wire. Used by the tests of the server for a BMS.
"""

from __future__ import annotations

import re
import subprocess


def mbpoll(port: int, *words: str, unit: int = 1) -> tuple[bool, str]:
    """Whether one request succeeded, and what was said. `words`: `-t 4 -r 100 -- 655` and such."""
    options, _, written = " ".join(words).partition(" -- ")
    done = subprocess.run(
        ["mbpoll", "-m", "tcp", "-p", str(port), "-a", str(unit), "-0", "-1", "-B", "-o", "2",
         *options.split(), "127.0.0.1", *written.split()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.returncode == 0, done.stdout


def values(told: str) -> list[float]:
    """The numbers that it printed, in their order."""
    return [float(text) for text in re.findall(r"^\[\d+\]:\s+(\S+)", told, re.MULTILINE)]
