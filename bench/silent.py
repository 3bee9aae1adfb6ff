"""What a third of 30 devices that never answer costs the others, and the bus.

Two buses at the same time, each with a master of its own (`bench.polling`): a TCP gateway with one
request in flight that answers after 10 ms (`bench.gateway`), and a paced line of 19200 bit/s
(`bench.paced`); 10 registers of each device once a second on the one, every two seconds on the
other, which would fill 30 and 42 % of their time if all answered. Counted are the answers that the
master took in from the 20 healthy devices, against their plan, over the first two minutes from the
start; beside it the first minute alone, in which the silent ones must be found out by a time-out
each, and the second. The silent devices' share of bus time is
what gateway and line saw: from a request to one of them until the next request of any kind, at most
a time-out. Each must be tried before anybody can know, so the bound is for the time after that.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import line, rig

UNITS, SILENT, REGISTERS = 30, 10, 10
HEALTHY = [f"d{unit}" for unit in range(1, UNITS - SILENT + 1)]
START, AFTER = 60.0, 60.0  # seconds of both windows
BAUD, DELAY = 19200, 10  # bit/s of the line; ms of the gateway
LEAST, GOAL, MOST = 0.95, 0.98, 0.05


@dataclass(frozen=True)
class Look:
    """What was there at one moment: answers by device, what silent devices took so far (`Seen`)."""

    at: float
    answers: dict[str, int]
    lost: list[tuple[float, float]]


class Watched:
    """One bus, its devices and its master."""

    def __init__(self, name: str, period: float, devices: rig.Child, master: rig.Child) -> None:
        self.name, self._period = name, period
        self._devices, self._master = devices, master
        self.looks = [Look(time.monotonic(), dict.fromkeys(HEALTHY, 0), [])]

    def look(self) -> None:
        """Take down how far it is."""
        seen = json.loads(self._devices.ask())
        answers = json.loads(self._master.ask())["answers"]
        self.looks.append(Look(time.monotonic(), answers, seen["lost"]))

    def share(self, one: Look, other: Look) -> float:
        """Answers of the healthy devices in between, as a share of their plan."""
        came = sum(other.answers[name] - one.answers[name] for name in HEALTHY)
        return came * self._period / (other.at - one.at) / len(HEALTHY)

    def worst(self, one: Look, other: Look) -> float:
        """The same of the device that has the least."""
        came = min(other.answers[name] - one.answers[name] for name in HEALTHY)
        return came * self._period / (other.at - one.at)


def _share(lost: list[tuple[float, float]]) -> float:
    """What silent devices took, from the first request to one of them to the last.

    A window of so and so many seconds would hold one of them more or less.
    """
    if len(lost) < 2:
        return 0.0
    return sum(took for _, took in lost[:-1]) / (lost[-1][0] - lost[0][0])


def measure(directory: Path) -> list[tuple[object, ...]]:
    """Share of the plan, and of bus time, on both buses."""
    with ExitStack() as stack:
        buses = [_gateway(stack), _serial(stack)]
        for seconds in (START, AFTER):
            time.sleep(seconds)
            for bus in buses:
                bus.look()
    return [row for bus in buses for row in _rows(bus)]


def _rows(bus: Watched) -> list[tuple[object, ...]]:
    begin, middle, end = bus.looks
    first, after = sum(took for _, took in middle.lost), end.lost[len(middle.lost) :]
    what = f"{bus.name}, {SILENT} of {UNITS} devices silent: "
    return [
        (what + "healthy devices' share of plan, first two minutes", bus.share(begin, end), "x",
         LEAST, GOAL, f"the first {bus.share(begin, middle):.3f}, the second "
         f"{bus.share(middle, end):.3f}; the slowest device {bus.worst(begin, end):.3f}", "least"),
        (what + "share of bus time that they take once found out", _share(after), "x", MOST, None,
         f"{len(after)} probes; in the first minute {first / (middle.at - begin.at):.3f}"),
    ]  # fmt: skip


def _gateway(stack: ExitStack) -> Watched:
    module = [sys.executable, "-m", "bench.gateway", str(DELAY), str(UNITS), str(SILENT)]
    devices = stack.enter_context(rig.process(*module))
    bus = {"tcp": f"127.0.0.1:{devices.told.split()[1]}"}
    return _watched(stack, "TCP gateway", devices, bus, 1.0)


def _serial(stack: ExitStack) -> Watched:
    devices = stack.enter_context(line.line(BAUD, UNITS, SILENT))
    bus = {"serial": devices.told.split()[1], "baud": BAUD}
    return _watched(stack, "serial line", devices, bus, 2.0)


def _watched(
    stack: ExitStack, name: str, devices: rig.Child, bus: dict[str, Any], period: float
) -> Watched:
    master = stack.enter_context(line.polling(bus, UNITS, REGISTERS, period))
    return Watched(name, period, devices, master)
