"""The acceptance scenarios of domain.md §7.1 in virtual time, each a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.proof.play import play
from edge.proof.report import failure_lines
from edge.site.load import ConfigProblems
from tests.scenario.reading import read

SCENARIOS = sorted((Path(__file__).parents[1] / "cases" / "scenario").glob("*/case.yaml"))


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.parent.name)
def test_scenario(case: Path, tmp_path: Path) -> None:
    """The controller on simulated equipment does what the case says."""
    try:
        failures = play(read(case), tmp_path, DRIVERS).failures
    except ConfigProblems as wrong:
        pytest.fail(str(wrong), pytrace=False)
    if failures:
        told = [line for failure in failures for line in failure_lines(failure, "en")]
        pytest.fail("\n".join(told), pytrace=False)
