"""Which outputs are valves, and which point says where each stands: read off the rules.

Used by the scan's wiring and by whoever explains an output; checked in `check_valves.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edge.blocks.kind import Kind
from edge.site.site import Rule


class Position(NamedTuple):
    """`rule` says that the commandable point `command` moves a valve which stands at `position`."""

    rule: Rule
    command: str
    position: str


def mentions(rules: Iterable[Rule], kinds: Mapping[str, Kind]) -> Iterator[Position]:
    """Every rule's word on it; a position that is a plain number tells nothing."""
    for rule in rules:
        for command, position in kinds[rule.kind].positions(rule.model).items():
            if isinstance(position, str):
                yield Position(rule, command, position)


def positions(rules: Iterable[Rule], kinds: Mapping[str, Kind]) -> dict[str, str]:
    """The point that says where the valve behind a commandable point stands."""
    return {said.command: said.position for said in mentions(rules, kinds)}
