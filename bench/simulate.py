"""A day of the residential site against its simulated equipment: what a person waits for.

All of `edge simulate --noise 1 --out`: reading the site, the run, samples, report; not the kernel's
compilation. Beside it the same day without noise, where a plant at rest shows the same again.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from drivers import DRIVERS
from edge.proof import page
from edge.proof.setting import setting
from edge.proof.trial import Trial
from edge.rules.kernel import compile_kernel

RESIDENTIAL = Path(__file__).parents[1] / "config" / "residential"
DAY = 86400.0


def measure(directory: Path) -> list[tuple[object, ...]]:
    """Seconds of wall time, once each."""
    compile_kernel()
    noisy, steps = _day(directory, 1.0)
    calm, _ = _day(directory, 0.0)
    return [
        ("edge simulate, 24 h of the residential site with noise, its report and data",
         noisy, "s", 15.0, None,
         f"without noise: {calm:.1f} s; {steps:,} scans, {noisy / steps * 1e6:.0f} µs each with "
         "the equipment"),
    ]  # fmt: skip


def _day(directory: Path, noise: float) -> tuple[float, int]:
    """How long it took, and the number of scans."""
    began = time.perf_counter()
    found = setting(RESIDENTIAL, DRIVERS)
    found.field.rig.noise = noise
    start = datetime(2026, 3, 20, tzinfo=ZoneInfo(found.site.timezone)).timestamp()
    trial = Trial(found, compile_kernel().run, start, DAY, folder=directory)
    for _ in trial:
        pass
    page.write(trial, directory, found.site.language)
    return time.perf_counter() - began, trial.simulation.scan.steps
