"""A bus task alone: our driver and `edge.bus.runner` on one bus, without site, scan and API.

    python -m bench.polling JSON

JSON: `bus` (as in a site), `units`, `registers` of one read of each, `period` of all polls in
seconds. Prints `ready`; then, for each line on its standard input, the answers that arrived so far
of each device and the overruns as JSON. What nobody would write into a site, such as polls that a
line has no time for, can be had here. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from typing import Any

import structlog
import uvloop

from drivers.modbus import MODBUS
from edge.bus.runner import BusRunner, spread
from edge.clock import Clock
from edge.driver import FieldDevice, FieldPoint, Write
from edge.events import Events
from edge.image.image import Bits, Floats
from edge.site.site import Bus


class Counted:
    """The bus task's `Sink`: counts what arrives whole and good, by the poll's first point."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}

    def deliver(self, first: int, values: Floats, bits: Bits, now: float) -> None:
        if not bits.any() and not any(map(math.isnan, values[:1].tolist())):
            self.answers[first] = self.answers.get(first, 0) + 1

    def failed(self, first: int, count: int, bits: int, now: float) -> None: ...

    def online(self, device: str, online: bool, now: float) -> None: ...

    def written(self, write: Write, now: float) -> None: ...


def bus_of(given: dict[str, Any]) -> Bus:
    """The bus as a site would have it."""
    config = MODBUS.bus.model_validate(given["bus"])
    devices = tuple(
        _device(unit, given["registers"], given["period"]) for unit in range(1, given["units"] + 1)
    )
    polls = tuple(poll for device in devices for poll in MODBUS.plan(config, device))
    assert len(polls) == len(devices), "one request for each device"
    return Bus("line", MODBUS, config, devices, polls)


def _device(unit: int, registers: int, period: float) -> FieldDevice:
    name, inf = f"d{unit}", math.inf
    points = tuple(
        FieldPoint(f"{name}.r{i}", MODBUS.point.model_validate({"holding": i}), 1.0, 0.0, -inf, inf,
                   period, True, False)
        for i in range(registers)
    )  # fmt: skip
    return FieldDevice(name, MODBUS.device.model_validate({"unit": unit}), points)


async def main(given: dict[str, Any]) -> None:
    """Poll until the standard input is closed."""
    bus, sink = bus_of(given), Counted()
    points = [point for poll in bus.polls for point in poll.points]
    index = {point: i for i, point in enumerate(points)}
    runner = BusRunner(bus, index, spread((bus,)), sink, Clock(), Events("en"))
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def asked() -> None:
        if sys.stdin.readline():
            answers = {
                poll.device: sink.answers.get(index[poll.points[0]], 0) for poll in bus.polls
            }
            print(json.dumps({"answers": answers, "overruns": runner.overruns}), flush=True)
        else:
            ended.set_result(None)

    loop.add_reader(sys.stdin, asked)
    print("ready", flush=True)
    task = loop.create_task(runner.run())
    await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    task.cancel()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(json.loads(sys.argv[1])))
