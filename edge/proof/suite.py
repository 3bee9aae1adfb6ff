"""Many scenarios: finding them, playing each, and what came of it as records that can be sent.

Not one scenario (`play.py`) and not how results look (`report.py`). Called by `edge test`, which
may play in several processes.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.driver import DriverKind
from edge.proof.case import SUFFIX, Scenario, read_scenarios
from edge.proof.play import Failure, Played
from edge.proof.virtual_loop import run_virtual
from edge.schema.problem import Problem
from edge.site.load import ConfigProblems
from edge.text import Text

CASE = "case.yaml"
Progress = Callable[[float, float], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scenario: it held, or `failures`, or `problems` for which it cannot be
    played. `lasted` are virtual seconds, `took` real ones."""

    file: str
    name: str
    text: Text
    failures: tuple[Failure, ...] = ()
    problems: tuple[Problem, ...] = ()
    lasted: float = 0.0
    took: float = 0.0

    @property
    def held(self) -> bool:
        """Whether everything was as the scenario says."""
        return not self.failures and not self.problems


def find(place: Path) -> list[Path]:
    """The files of scenarios at a place: a file of them, a site's file, or a folder with all below.

    Empty when there are none.
    """
    if place.is_dir():
        return sorted(place.rglob(f"*{SUFFIX}"))
    if place.name.endswith(SUFFIX) or place.name == CASE:
        return [place] if place.is_file() else []
    beside = place.with_name(place.stem + SUFFIX)
    return [beside] if beside.is_file() else []


def read(files: Iterable[Path]) -> tuple[list[Scenario], list[Problem]]:
    """The scenarios of many files in their order, and what is wrong with any of them."""
    scenarios: list[Scenario] = []
    problems: list[Problem] = []
    for file in files:
        found, wrong = read_scenarios(file)
        scenarios += found
        problems += wrong
    return scenarios, problems


def run(
    scenario: Scenario, drivers: Mapping[str, DriverKind], progress: Progress | None = None
) -> Result:
    """Play one scenario in a directory of its own; `progress` gets virtual time and its end."""
    began = time.perf_counter()
    state = Path(tempfile.mkdtemp(prefix="edge-test-"))
    failures: tuple[Failure, ...] = ()
    problems: tuple[Problem, ...] = ()
    lasted = 0.0
    try:
        played = Played(scenario, state, drivers, progress)
        run_virtual(played.run, most=None)
        failures, lasted = tuple(played.failures), played.lasted
    except ConfigProblems as wrong:
        problems = wrong.problems
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return Result(
        scenario.document.file, scenario.name, scenario.case.text, failures, problems, lasted,
        time.perf_counter() - began,
    )  # fmt: skip
