"""From exec to the first scan with a warm kernel cache, and resident memory at 1,000 points."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import rig, sites

BARE = """
import time
def resident():
    return round(int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6)
took = [("python", resident())]
for name in "{modules}".split(", "):
    before = resident()
    __import__(name)
    took.append((name.partition(".")[0], resident() - before))
before = resident()
from edge.rules.kernel import compile_kernel
kernel = compile_kernel()
took.append(("kernel", resident() - before))
print("ready", ", ".join(f"{{n}} {{s}}" for n, s in took if s > 1), flush=True)
time.sleep(60)
"""
MODULES = (
    "numpy, numba, aiohttp.web, bacpypes3.ipv4.app, click, paho.mqtt.client, pydantic,"
    " rich.console, sqlite3, structlog, uvloop, yaml, edge.app"
)


def measure(directory: Path) -> list[tuple[object, ...]]:
    """Five warm starts of a 1,000-point site; memory after ten seconds of polling."""
    subprocess.run([str(rig.EDGE), "compile"], check=True, capture_output=True)
    with rig.broker(directory) as broker, rig.farm(10) as (port, _):
        site = sites.polled(directory, port, 10, broker=broker, period="1s")
        times = []
        for _ in range(5):
            controller = rig.Controller(site, directory)
            times.append(controller.wait_ready())
            controller.stop()
        controller = rig.Controller(site, directory)
        controller.wait_ready()
        time.sleep(10.0)
        ours = controller.resident()
        controller.stop()
    with rig.process(sys.executable, "-c", BARE.format(modules=MODULES)) as bare:
        peer = rig.resident(bare.pid)
    parts = bare.told.removeprefix("ready").strip()
    return [
        ("start to first scan, warm kernel cache, 1,000 points", statistics.median(times), "s", 2.0,
         None, f"{min(times):.2f} to {max(times):.2f} s in five starts"),
        ("resident memory at 1,000 points above a bare interpreter", ours - peer, "MB", 40.0, None,
         f"{ours:.0f} MB; the same imports and a warm kernel alone {peer:.0f} MB ({parts})"),
    ]  # fmt: skip
