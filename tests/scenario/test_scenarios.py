"""The acceptance scenarios of domain.md §7.1 in virtual time, each a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scenario import play

SCENARIOS = sorted((Path(__file__).parents[1] / "cases" / "scenario").glob("*/case.yaml"))


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.parent.name)
def test_scenario(case: Path, tmp_path: Path) -> None:
    """The controller on simulated equipment does what the case says."""
    try:
        play(case.parent, tmp_path)
    except AssertionError as wrong:
        pytest.fail(str(wrong), pytrace=False)
