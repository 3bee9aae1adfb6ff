"""The highest polled rate that one core holds, and what a site beyond it does.

The whole controller (`edge run`, all its threads kept to one core) polls 200 devices of 100
registers, each on a connection of its own, with decode into the image and one rule; the devices are
`bench.responder` on another core, and none of its answers equals the one before. The plan is made
faster run by run until a run brings less than 99 % of it, as counted by the devices. Then twice the
highest plan that was held: rates must degrade evenly, memory stay flat and scans go on.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import rig, sites

DEVICES, REGISTERS = 200, 100
FIRST, COARSE, STEP = 250_000.0, 2.0, 1.2  # points/s planned, and how they rise
HELD = 0.99
SETTLE, SECONDS, OVERLOADED = 3.0, 4.0, 30.0
GOAL = 500_000.0
CORE, RESPONDER = 0, 1
EVEN, FLAT = 0.8, 2.0  # slowest device's share of the middle one's rate; MB that memory may grow


@dataclass(frozen=True)
class Run:
    """What was seen: polls per second by device, planned ones, memory before and after, health."""

    rates: list[float]
    plan: float
    memory: tuple[float, float]
    health: dict[str, Any]
    cpu: float

    @property
    def points(self) -> float:
        """Points a second."""
        return sum(self.rates) * REGISTERS

    @property
    def held(self) -> bool:
        """Whether the plan was kept."""
        return sum(self.rates) >= HELD * self.plan * DEVICES


def measure(directory: Path) -> list[tuple[object, ...]]:
    """The highest rate held, and three numbers of the overload."""
    best, more = _highest(directory)
    beyond = _run(directory, 2 * best.plan * DEVICES * REGISTERS, OVERLOADED)
    slowest, middle = min(beyond.rates), statistics.median(beyond.rates)
    scan = beyond.health["scan"]
    return [
        ("Modbus TCP, polled points that one core holds with decode into the image", best.points,
         "points/s", 250_000.0, GOAL, f"{100 * best.cpu:.0f} % of the core, scan p99"
         f" {best.health['scan']['p99_ms']} ms; a plan {STEP:g} times as fast brought"
         f" {100 * sum(more.rates) / more.plan / DEVICES:.0f} % of itself", "least"),
        ("twice that plan: the slowest device's rate to the middle one's", slowest / middle, "x",
         EVEN, None, f"slowest {slowest:.1f}, middle {middle:.1f}, planned {beyond.plan:.1f}"
         f" polls/s; {beyond.points:.0f} points/s", "least"),
        ("twice that plan: growth of resident memory in half a minute",
         beyond.memory[1] - beyond.memory[0], "MB", FLAT, 0.0, f"{beyond.memory[1]:.0f} MB"),
        ("twice that plan: scan p99", scan["p99_ms"], "ms", 100.0, None,
         f"{scan['steps']} scans, longest {scan['max_ms']} ms"),
    ]  # fmt: skip


def _highest(directory: Path) -> tuple[Run, Run]:
    """The fastest plan that was held and the next one, that was not."""
    wanted, step = FIRST, COARSE
    best = run = _run(directory, wanted, SECONDS)
    while True:
        while run.held:
            best, wanted = run, wanted * step
            run = _run(directory, wanted, SECONDS)
        if not best.held:
            raise RuntimeError(f"not even {FIRST:.0f} points/s are held: {best.points:.0f}")
        if step == STEP:
            return best, run
        wanted, step = wanted / step * STEP, STEP
        run = _run(directory, wanted, SECONDS)


def _run(directory: Path, wanted: float, seconds: float) -> Run:
    """One controller with a plan of `wanted` points a second."""
    period = DEVICES * REGISTERS / wanted
    module = [sys.executable, "-m", "bench.responder", str(REGISTERS), str(DEVICES)]
    with rig.process(*module, str(RESPONDER)) as responder:
        first = int(responder.told.split()[1])
        site = sites.plain(directory, first, DEVICES, period=f"{1e3 * period:.4f}ms")
        controller = rig.Controller(site, directory, core=CORE)
        try:
            controller.wait_ready()
            time.sleep(SETTLE)
            before, memory, cpu = _answered(responder), controller.resident(), controller.cpu()
            began = time.perf_counter()
            time.sleep(seconds)
            after, lasted = _answered(responder), time.perf_counter() - began
            rates = [(b - a) / lasted for a, b in zip(before, after, strict=True)]
            memories = memory, controller.resident()
            used = (controller.cpu() - cpu) / lasted
            health = controller.health()
        finally:
            controller.stop()
    return Run(rates, 1 / period, memories, health, used)


def _answered(responder: rig.Child) -> list[int]:
    answered: list[int] = json.loads(responder.ask())
    return answered
