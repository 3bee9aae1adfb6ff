"""A scenario as it is written: what is given, and step by step what is done and what must be so.

Not the words of `when` and `then` (`acting.py`, `seeing.py`) and not its playing (`play.py`). One
scenario stands in a folder's `case.yaml`, several in a `<name>.test.yaml` beside `<name>.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from edge.schema.loader import Document, Loc, load_file
from edge.schema.model import Model, Refusal, Words
from edge.schema.problem import Mark, Problem
from edge.schema.units import Duration
from edge.schema.validate import validate
from edge.text import Text

SUFFIX = ".test.yaml"


def local_time(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise Refusal(
            Text(
                f'"{text}" 不是当地时间; 应写如 "2026-03-20 10:00:00"',
                f'"{text}" is no local time; write it like "2026-03-20 10:00:00"',
            )
        )
    return text


Shown = float | bool | str
"""What a point is made to show: a number in its unit, or a quantity."""


class Step(Model):
    """One moment: first everything of `when`, in order, then everything of `then`."""

    at: Duration
    when: tuple[Annotated[Mapping[str, Any], Field(min_length=1, max_length=1)], ...] = ()
    then: tuple[str, ...] = ()


class Given(Model):
    """What there is before the first step. `wall` is the site's local time at t = 0, which is
    `settle` after the start; a clock that is not `trusted` was never synchronised. `equipment` are
    options of models, over those of the plant file; `points` show a value from the start on,
    `silent` devices do not answer. `site` is "" for the site beside the file."""

    site: str = ""
    wall: Annotated[str, AfterValidator(local_time)] = "2026-03-20 10:00:00"
    settle: Duration = 60.0
    equipment: Mapping[str, Mapping[str, Any]] = {}
    points: Mapping[str, Shown] = {}
    silent: tuple[str, ...] = ()
    trusted: bool = True


class Case(Model):
    """A scenario."""

    text: Words
    source: str = ""
    given: Given = Given()
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class _Many(Model):
    """A file of scenarios by name."""

    scenarios: Annotated[Mapping[str, Case], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A case with its name, the site it is about, and where it was written."""

    name: str
    case: Case
    site: Path
    document: Document
    loc: tuple[str | int, ...] = ()

    def value(self, loc: Loc) -> Mark:
        """Where the value at `loc` within the case stands."""
        return self.document.value((*self.loc, *loc))

    def key(self, loc: Loc) -> Mark:
        """Where the key of that value stands."""
        return self.document.key((*self.loc, *loc))


def read_scenarios(path: Path) -> tuple[list[Scenario], list[Problem]]:
    """The scenarios of one file, or what is wrong with it."""
    document, problems, _ = load_file(path)
    if document is None:
        return [], problems
    if path.name.endswith(SUFFIX):
        many, problems = validate(_Many, document.data, document)
        cases = {} if many is None else many.scenarios
        beside = path.name.removesuffix(SUFFIX) + ".yaml"
        return [
            _scenario(name, case, beside, document, ("scenarios", name))
            for name, case in cases.items()
        ], problems
    case, problems = validate(Case, document.data, document)
    if case is None:
        return [], problems
    return [_scenario(path.parent.name, case, "site.yaml", document, ())], problems


def _scenario(name: str, case: Case, beside: str, document: Document, loc: Loc) -> Scenario:
    site = Path(document.file).parent / (case.given.site or beside)
    return Scenario(name, case, site, document, tuple(loc))
