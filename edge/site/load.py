"""Reads a site: strict YAML, then models, then resolved, then checked as a whole.

Each phase returns all of its problems, and a later one runs only if the earlier found none. The
only entry for `edge.app`, the command line and tests; drivers and kinds are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.blocks.kind import Kind
from edge.driver import DriverKind
from edge.errors import EdgeError
from edge.schema.problem import Problem
from edge.site.build import build_site
from edge.site.checks import check_site
from edge.site.files import read_files
from edge.site.parts import read_parts
from edge.site.site import Site


class ConfigProblems(EdgeError):
    """A site that cannot run; `problems` are all that were found, warnings included."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.line("en") for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of reading a site: the site unless there is an error, and every problem.

    `resolved` is there even if the site as a whole must not run; only to be looked at.
    """

    site: Site | None
    problems: tuple[Problem, ...]
    resolved: Site | None


def load_site(path: Path, drivers: Mapping[str, DriverKind], kinds: Mapping[str, Kind]) -> Site:
    """The site at `path` (its file, or the folder of a site.yaml); raises `ConfigProblems`."""
    checked = read_site(path, drivers, kinds)
    if checked.site is None:
        raise ConfigProblems(checked.problems)
    return checked.site


def read_site(path: Path, drivers: Mapping[str, DriverKind], kinds: Mapping[str, Kind]) -> Checked:
    """The same without raising, for who wants the warnings too."""
    files = read_files(path)
    if not files.complete:
        return _checked(None, files.problems)
    parts, problems = read_parts(files, drivers, kinds)
    problems = files.problems + problems
    if parts is None or files.problems:
        return _checked(None, problems)
    site, sources, found = build_site(parts, files, kinds)
    problems += found
    if site is not None and not found:
        problems += check_site(site, sources, kinds)
    return _checked(site, problems)


def _checked(site: Site | None, problems: Sequence[Problem]) -> Checked:
    """Sorted by place; what many devices inherit from one profile is said once."""
    unique = sorted(dict.fromkeys(problems), key=lambda p: (p.level, p.mark, p.code))
    failed = any(problem.level == "error" for problem in unique)
    return Checked(None if failed else site, tuple(unique), site)
