"""Who may ask for which commandable point, and at which slot of its ladder; what can be reset.

Read off the resolved site. Used by whoever explains an output or waits for what it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edge.blocks.kind import Kind, references
from edge.image.slots import Slot
from edge.site.site import Site


class Request(NamedTuple):
    """`section` is the site's: "rules", "interlocks", "permissives" or "annunciators"; `id` is
    within it.
    """

    point: str
    slot: int
    section: str
    id: str


def resettable(site: Site, kinds: Mapping[str, Kind]) -> Iterator[str]:
    """What a person can reset, by id: interlocks, and rules that lock out."""
    for interlock in site.interlocks:
        if not interlock.permissive:
            yield interlock.id
    for rule in site.rules:
        if kinds[rule.kind].resettable(rule.model):
            yield rule.id


def rivals(trips: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Who trips a point with others, and those others; `trips` are the points that each trips."""
    guards: dict[str, list[str]] = {}
    for id, points in trips.items():
        for point in points:
            guards.setdefault(point, []).append(id)
    found = {}
    for id, points in trips.items():
        others = (other for point in points for other in guards[point] if other != id)
        if unique := tuple(dict.fromkeys(others)):
            found[id] = unique
    return found


def requests(site: Site, kinds: Mapping[str, Kind]) -> Iterator[Request]:
    """Every request that rules, interlocks and panels can make."""
    for rule in site.rules:
        for reference in references(rule.model):
            if reference.role != "input":
                yield Request(reference.text, int(kinds[rule.kind].slot), "rules", rule.id)
        for urge in kinds[rule.kind].urges(rule.model):
            yield Request(urge.point, int(Slot.PROTECT), "rules", rule.id)
    for interlock in site.interlocks:
        for point in interlock.trip:
            yield Request(point, int(Slot.PROTECT), interlock.section, interlock.id)
    for panel in site.annunciators:
        for shown in (panel.beacon, panel.buzzer, panel.relay):
            if shown is not None:
                yield Request(shown, int(Slot.CONTROL), "annunciators", panel.id)
