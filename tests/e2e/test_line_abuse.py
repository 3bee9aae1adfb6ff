"""S40: a serial line of eight units at 9600 bit/s, one of them dead, one frame in twenty damaged.

Ten minutes in virtual time on a line without a terminal, and twenty seconds of real time over a
pseudo-terminal at the same byte times: the real driver and the real bus task.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drivers import DRIVERS
from drivers.modbus.line import RtuLink
from edge.blocks import KINDS
from edge.bus.runner import BusRunner, spread
from edge.clock import Clock
from edge.driver import Write
from edge.events import Events
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from edge.site.load import load_site
from edge.site.site import Site
from tests.support.bad_line import BadLine, PacedLine, Trouble
from tests.support.modbus_device import ModbusDevice, Unit
from tests.support.modbus_media import Medium, Memory, Pty

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BAUD, SEED = 9600, 40
UNITS, DEAD, HOLED = range(1, 9), 5, 3  # unit 3 lacks register 4 in the middle of its block
REGISTERS, HOLE = range(10), 4
PERIOD = 1.0
DAMAGED = 0.025  # of the requests and of the answers: one exchange in twenty


def site(folder: Path, options: dict[str, Any]) -> Site:
    bus = ", ".join(f"{k}: {json.dumps(v)}" for k, v in options.items())
    lines = ["site: {id: s40, timezone: Asia/Shanghai}", "buses:",
             f"  line: {{driver: modbus, timeout: 100ms, {bus}}}", "devices:"]  # fmt: skip
    for unit in UNITS:
        lines += [f"  u{unit}:", "    bus: line", f"    unit: {unit}", f"    poll: {PERIOD:g}s"]
        lines += ["    points:", *(f"      r{i}: {{holding: {i}}}" for i in REGISTERS)]
    path = folder / "site.yaml"
    path.write_text("\n".join(lines) + "\n")
    return load_site(path, DRIVERS, KINDS)


@dataclass
class Sink:
    """What the bus task brought: when each poll was delivered, and the newest of each point."""

    site: Site
    delivered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    value: dict[str, tuple[float, int]] = field(default_factory=dict)
    states: list[tuple[float, str, bool]] = field(default_factory=list)

    def deliver(self, first: int, values: Any, bits: Any, now: float) -> None:
        at = asyncio.get_running_loop().time()
        self.delivered[self.site.points[first].device or ""].append(at)
        for i in range(len(values)):
            point = self.site.points[first + i].id
            self.value[point] = (float(values[i]), int(bits[i]))
            assert bits[i] & quality.BAD or values[i] == held(point)

    def failed(self, first: int, count: int, bits: int, now: float) -> None:
        for i in range(first, first + count):
            self.value[self.site.points[i].id] = (float("nan"), bits)

    def online(self, device: str, online: bool, now: float) -> None:
        self.states.append((now, device, online))

    def written(self, write: Write, now: float) -> None:
        raise AssertionError("nobody wrote")

    def unverified(self, write: Write, at: float) -> None:
        raise AssertionError("nobody wrote")


def held(point: str) -> float:
    """What register i of unit u holds: "u3.r7" is 307."""
    device, _, register = point.partition(".")
    return float(int(device[1:]) * 100 + int(register[1:]))


@dataclass
class Course:
    """What came of it. `asked` are the times at which the dead unit was asked."""

    sink: Sink
    device: ModbusDevice
    damaged: int
    asked: list[float]
    began: float
    ended: float

    def intervals(self, unit: int) -> list[float]:
        """Times between two answers of a unit that reached the bus task, in seconds."""
        times = [self.began + PERIOD, *self.sink.delivered[f"u{unit}"], self.ended]
        return [b - a for a, b in pairwise(t for t in times if t >= self.began + PERIOD)]


async def run(folder: Path, medium: Medium, seconds: float) -> Course:
    units = {
        u: Unit(holding={i: u * 100 + i for i in REGISTERS if (u, i) != (HOLED, HOLE)})
        for u in UNITS if u != DEAD
    }  # fmt: skip
    bad = BadLine(Trouble.CORRUPT, SEED, share=DAMAGED, timeout=0.1)
    async with ModbusDevice(units, medium=medium) as device:
        device.line = PacedLine(BAUD, other=bad)
        plant = site(folder, medium.options)
        sink = Sink(plant)
        loop = asyncio.get_running_loop()
        clock = Clock(monotonic=loop.time, wall=loop.time, trusted=lambda: True)
        runner = BusRunner(
            plant.buses[0], plant.index(), spread(plant.buses), sink, clock, Events()
        )
        began = loop.time()
        task = loop.create_task(runner.run())
        done, _ = await asyncio.wait({task}, timeout=seconds)
        assert not done
        task.cancel()
        await asyncio.wait({task})
        asked = [
            at for at, (unit, *_) in zip(device.asked_at, device.requests, strict=True)
            if unit == DEAD
        ]  # fmt: skip
        return Course(sink, device, bad.hurt, asked, began, loop.time())


def judge(course: Course, *, longest: float = 1.5 * PERIOD) -> None:
    healthy = [u for u in UNITS if u != DEAD]
    worst = {u: max(course.intervals(u)) for u in healthy}
    print(f"{len(course.device.requests)} requests, {course.damaged} frames damaged; longest "
          f"intervals {[round(w, 2) for w in worst.values()]} s; dead unit asked at "
          f"{[round(at - course.began) for at in course.asked]} s")  # fmt: skip
    assert max(worst.values()) <= longest
    assert course.device.collisions == 0
    assert course.device.shortest_gap >= 3.5 * 11 / BAUD - 1e-9
    assert_backed_off(course.asked)
    isolated = [p for p, (_, bits) in course.sink.value.items() if bits & quality.CONFIG]
    assert isolated == [f"u{HOLED}.r{HOLE}"]
    dead = {bits for p, (_, bits) in course.sink.value.items() if p.startswith(f"u{DEAD}.")}
    assert dead == {quality.COMM}
    lost = {device for _, device, online in course.sink.states if not online}
    assert lost == {f"u{DEAD}"}


def assert_backed_off(asked: Sequence[float]) -> None:
    """At most one small request in ten seconds once it is known to be dead, and ever fewer."""
    pauses = [b - a for a, b in pairwise(asked)]
    known = next((i for i, pause in enumerate(pauses) if pause > 5.0), len(pauses))
    assert known <= 3
    assert all(pause >= 10.0 for pause in pauses[known:])
    assert all(b >= a for a, b in pairwise(pauses[known:]))


def test_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others keep their rate, the dead unit costs one probe per ever longer pause, and of the
    block with a hole one register is missing."""

    async def main() -> Course:
        medium = Memory(baud=BAUD)

        async def opened(bus: Any) -> RtuLink:
            link = RtuLink("line", bus.baud)
            medium.connect(link)
            return link

        monkeypatch.setattr("drivers.modbus.driver.open_link", opened)
        return await run(tmp_path, medium, 600.0)

    course = run_virtual(main)
    assert course.damaged > 150
    pauses = [b - a for a, b in pairwise(course.asked)]
    assert max(pauses) > 100
    judge(course)


def test_twenty_seconds_over_a_terminal(tmp_path: Path) -> None:
    """The same in real time, with a terminal and its byte times."""
    course = asyncio.run(run(tmp_path, Pty(baud=BAUD), 20.0))
    assert course.damaged > 3
    judge(course)
