"""A controller that starts beside running equipment takes it over without moving it.

Every scenario's site, on its equipment as it stands before the scenario begins.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.proof.case import Step
from edge.proof.play import play
from edge.proof.report import failure_lines
from edge.site.load import load_site
from edge.site.site import Role, Site
from tests.scenario.reading import read
from tests.scenario.test_scenarios import SCENARIOS

BUMP = 2.0  # % of an output's range
SETTLE = 180.0  # s: whatever a start has lit is dimmed again


def driving() -> list[Path]:
    """A case of each site that drives something; none that is sick or that has an alarm soon."""
    found: dict[str, Path] = {}
    for case in SCENARIOS:
        site = _site(case)
        drives = any(p.role is Role.OUTPUT for p in site.points)
        if drives and not site.uplinks and not read(case).case.given.silent:
            found.setdefault(repr((site.points, [rule.id for rule in site.rules])), case)
    return list(found.values())


def _site(case: Path) -> Site:
    return load_site(case.with_name("site.yaml"), DRIVERS, KINDS)


def steps(restarts: dict[int, dict[str, Any]]) -> tuple[Step, ...]:
    """Restarts by their time, and a look at the outputs before the next one."""
    times = [*restarts, max(restarts) + 60]
    made = []
    for at, end in pairwise(times):
        look = f"disturbance({at}, {end})[0] <= {BUMP}"
        made += [
            Step(at=f"{at}s", when=({"restart": restarts[at]},)),  # type: ignore[arg-type]
            Step(at=f"{end}s", then=(look,)),
        ]  # type: ignore[arg-type]
    return tuple(made)


@pytest.mark.parametrize("case", driving(), ids=lambda case: case.parent.name)
def test_a_restart_beside_running_equipment_moves_nothing(case: Path, tmp_path: Path) -> None:
    """Killed or stopped, for seconds or minutes, with what it kept or without: at most 2 %."""
    restarts: dict[int, dict[str, Any]] = {
        0: {"after": "5s", "kill": True},
        60: {"after": "2min", "kill": True},
        240: {"after": "5s", "kill": True, "forget": True},
    }
    if all(p.output is None or isinstance(p.output.failsafe, str) for p in _site(case).points):
        restarts[300] = {"after": "5s"}  # else the stop drives the failsafe values, as it must
    found = read(case)
    given = found.case.given.model_copy(update={"settle": SETTLE})
    healthy = found.case.model_copy(update={"given": given, "steps": steps(restarts)})
    played = play(replace(found, case=healthy), tmp_path, DRIVERS)
    assert [line for failure in played.failures for line in failure_lines(failure, "en")] == []
