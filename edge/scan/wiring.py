"""Who depends on whom: from the site's declarations to what each output waits for and reports to.

Computed once when the scan is built; nothing here runs in a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge.blocks.expression import ExpressionError, parse
from edge.blocks.kind import Kind, references
from edge.rules.compile import commandable
from edge.scan.outputs import Wire
from edge.site.requests import requests
from edge.site.site import Point, Site


def wires(site: Site, kinds: Mapping[str, Kind]) -> tuple[Wire, ...]:
    """Where each commandable point leads, and what it waits for."""
    index = site.index()
    requesters: dict[str, set[str]] = {}
    for request in requests(site, kinds):
        requesters.setdefault(request.point, set()).add(request.id)
    sources = _sources(site, kinds)
    field = {
        point.id: (bus, point) for bus in site.buses for device in bus.devices
        for point in device.points
    }  # fmt: skip
    found = []
    for ordinal, at in enumerate(commandable(site)):
        point = site.points[at]
        name = point.id
        bus, config = field.get(name, (None, None))
        rules = frozenset(requesters.get(name, ()))
        needs = {n for rule in rules for n in _inputs(rule, sources, site, index)}
        readable = config is not None and config.readable
        if readable:
            needs.add(name)
        if point.hoa is not None:
            needs.add(point.hoa)
        assert point.output is not None
        found.append(
            Wire(
                ordinal=ordinal,
                point=name,
                at=at,
                device=point.device,
                bus=bus.id if bus is not None else "",
                output=point.output,
                readable=readable,
                priorities=bus is not None and bus.kind.priorities,
                feedback=index[point.output.feedback or name],
                hoa=None if point.hoa is None else index[point.hoa],
                needs=tuple(sorted(index[n] for n in needs)),
                rules=rules,
            )
        )
    return tuple(found)


def _sources(site: Site, kinds: Mapping[str, Kind]) -> dict[str, tuple[str, ...]]:
    """What each rule and interlock reads, by its id; and by the points a rule publishes."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in site.rules:
        texts = [r.text for r in references(rule.model) if r.role == "input"]
        found[rule.id] = tuple(name for text in texts for name in names(text))
        for published in kinds[rule.kind].publishes(rule.model):
            found[f"{rule.id}.{published.name}" if published.name else rule.id] = found[rule.id]
    for interlock in site.interlocks:
        found[interlock.id] = found[f"{interlock.id}.tripped"] = names(interlock.when)
    return found


def _inputs(
    rule: str, sources: Mapping[str, tuple[str, ...]], site: Site, index: Mapping[str, int]
) -> Iterator[str]:
    """The field points behind a rule, through however many virtual points."""
    seen, open_names = set(), list(sources.get(rule, ()))
    while open_names:
        name = open_names.pop()
        if name in seen:
            continue
        seen.add(name)
        if _from_field(site.points[index[name]]):
            yield name
        else:
            open_names += sources.get(name, ())


def _from_field(point: Point) -> bool:
    return point.device is not None and point.period > 0


def names(text: str) -> tuple[str, ...]:
    """The points in an input's text; a quantity such as "0.40 MPa" names none."""
    try:
        return parse(text).names
    except ExpressionError:
        return ()
