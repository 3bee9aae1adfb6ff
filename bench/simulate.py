"""A day of the residential site against its simulated equipment: what a person waits for.

All of `edge simulate --out`: reading the site, the run with every poll at its shipped period and
equipment that moves as often, samples, report; not compiling the kernel.
Beside it the same day with the noise of real sensors: then nothing ever shows the same again.
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
    calm, steps = _day(directory, 0.0)
    noisy, _ = _day(directory, 1.0)
    return [
        ("24 h of the residential site simulated, with its report", calm, "s", 15.0, None,
         f"with the noise of real sensors: {noisy:.1f} s; {steps:,} scans"),
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
