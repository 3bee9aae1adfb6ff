"""CPU per polled point and reaction time, with everything on, beside the bare minimum.

20 devices x 100 registers x 10 Hz, 1 % of the points changing per poll, each change stored and
confirmed by the broker; one BACnet device beside them. `bench.bare` does the same schedule with a
bare protocol, a comparison and a publish of the same changes, in turn with the controller.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench import rig, sites

DEVICES, SECONDS = 20, 10.0
TOGGLE = 0.07  # seconds between two changes that the rule answers; no multiple of any period
ROUNDS = 3  # controller and bare in turn, so that a drift of the machine meets both
POINTS = DEVICES * 100


def measure(directory: Path) -> list[tuple[object, ...]]:
    """CPU and reactions of the controller; CPU of the bare peer."""
    ours, bare, reactions, bare_reactions, scans = [], [], [], [], {}
    for turn in range(ROUNDS):
        place = directory / str(turn)
        place.mkdir()
        with rig.broker(place) as broker:
            cpu, seen, scans = _controller(place, broker)
            ours.append(cpu)
            reactions += seen
            cpu, seen = _bare(broker)
            bare.append(cpu)
            bare_reactions += seen
    per_point, peer = statistics.median(ours), statistics.median(bare)
    p99, bare_p99 = _percentile(reactions, 99), _percentile(bare_reactions, 99)
    return [
        ("reaction p99, device answer to output write on the wire", p99, "ms", 5.0, 2.0,
         f"median {statistics.median(reactions):.2f} of {len(reactions)}, under the load below;"
         f" bare: {bare_p99:.1f}, median {statistics.median(bare_reactions):.2f}"),
        ("CPU per polled point, all on", per_point, "µs", 2 * peer, None,
         f"bare asyncio + paho {peer:.2f} µs in the same run"),
        ("CPU per polled point, times the bare one", per_point / peer, "x", 2.0, None,
         f"scan p50 {scans['p50_ms']} ms, p99 {scans['p99_ms']} ms"),
    ]  # fmt: skip


def _controller(place: Path, broker: int) -> tuple[float, list[float], dict[str, float]]:
    with rig.farm(DEVICES, toggle=TOGGLE) as (port, farm), rig.bacnet() as bacnet:
        site = sites.polled(place, port, DEVICES, broker=broker, bacnet=bacnet)
        controller = rig.Controller(site, place)
        try:
            controller.wait_ready()
            time.sleep(4.0)
            before, began = controller.cpu(), time.perf_counter()
            time.sleep(SECONDS)
            used, lasted = controller.cpu() - before, time.perf_counter() - began
            health = controller.health()
            farm.send_signal(signal.SIGTERM)
            assert farm.stdout is not None
            seen = json.loads(farm.stdout.readline())
        finally:
            controller.stop()
    assert health["uplinks"][0]["up"], "the broker is there: it must be used"
    assert health["uplinks"][0]["sent"] > DEVICES, "changes must arrive"
    polled = min(seen["polls"]) / (time.perf_counter() - began + 4.0)
    assert polled > 8, f"the schedule is not kept: {polled:.1f} polls/s of 10"
    return 1e6 * used / (lasted * POINTS * 10), seen["reactions"], health["scan"]


def _bare(broker: int) -> tuple[float, list[float]]:
    with rig.farm(DEVICES, toggle=TOGGLE) as (port, farm), rig.bacnet():
        told = subprocess.run(
            [sys.executable, "-m", "bench.bare", *map(str, (port, DEVICES, broker, SECONDS))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        farm.send_signal(signal.SIGTERM)
        assert farm.stdout is not None
        reactions = json.loads(farm.stdout.readline())["reactions"]
    seen = json.loads(told.stdout)
    assert seen["confirmed"] >= 0.99 * seen["published"]
    return 1e6 * float(seen["cpu"]) / (seen["polls"] * 100), reactions


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent))
