"""What happens when devices answer faster than the scan can look."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from drivers import DRIVERS
from edge.image import quality
from edge.proof.stage import Stage
from edge.proof.virtual_loop import run_virtual
from edge.scan.arrivals import TURNS

SITE = """
site: {id: overload, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {one: {driver: sim}, two: {driver: sim}}
devices:
  fast: {bus: one, model: zones, points: {pressure: {variable: header_pressure, poll: 50ms}}}
  slow: {bus: one, model: lobby, points: {lux: {variable: illuminance, poll: 2s}}}
  other: {bus: two, model: io, points: {input: {variable: input1, poll: 100ms}}}
"""
STEP = 0.5  # seconds from one scan to the next: ten answers of the fastest poll
FOR = 600.0


def test_a_scan_that_is_too_slow_sees_every_poll_at_every_step_and_falls_no_further_behind(
    tmp_path: Path,
) -> None:
    """Rates degrade to that of the scan, evenly; values get old by a few steps, however long it
    lasts; what nobody saw is counted, and a poll that is slow enough loses nothing."""

    async def main() -> None:
        (tmp_path / "site.yaml").write_text(SITE)
        stage = Stage(tmp_path / "site.yaml", tmp_path, lambda: 1e9, DRIVERS)
        stage.site = replace(stage.site, scan_min=STEP, scan_max=STEP)  # `check` would refuse it
        await stage.start()
        image, steps = stage.controller.scan.image, stage.controller.scan.steps
        oldest = dict.fromkeys(("fast.pressure", "slow.lux", "other.input"), 0.0)
        for _ in range(int(FOR / STEP)):
            await asyncio.sleep(STEP)
            for point in oldest:
                age = stage.controller.clock.now() - image.stamp[stage.index[point]]
                oldest[point] = max(oldest[point], age)
        assert stage.controller.scan.steps - steps <= FOR / STEP + 1
        assert oldest["fast.pressure"] <= (TURNS + 1) * STEP
        assert oldest["other.input"] <= (TURNS + 1) * STEP
        assert oldest["slow.lux"] <= 2.0 + (TURNS + 1) * STEP
        skipped = stage.controller.view.health()["scan"]["skipped"]
        seen = 2 * FOR / STEP
        answers = FOR / 0.05 + FOR / 0.1
        assert answers - seen - 100 <= skipped <= answers - seen + 100
        assert not image.quality[stage.index["fast.pressure"]] & quality.BAD
        await stage.end()

    run_virtual(main)


def test_a_healthy_scan_skips_nothing(tmp_path: Path) -> None:
    """The same devices on a scan as the site has it: every answer is seen by a step."""

    async def main() -> None:
        (tmp_path / "site.yaml").write_text(SITE)
        stage = Stage(tmp_path / "site.yaml", tmp_path, lambda: 1e9, DRIVERS)
        await stage.start()
        await asyncio.sleep(60.3)  # between two looks at the health of the buses
        assert stage.controller.view.health()["scan"]["skipped"] == 0
        assert not stage.controller.scan.waiting
        await stage.end()

    run_virtual(main)
