"""Reads one scenario for a test; what is wrong with it is raised."""

from __future__ import annotations

from pathlib import Path

from edge.proof.case import Scenario, read_scenarios
from edge.site.load import ConfigProblems


def read(case: Path) -> Scenario:
    """The only scenario in a file."""
    scenarios, problems = read_scenarios(case)
    if problems:
        raise ConfigProblems(problems)
    (scenario,) = scenarios
    return scenario
