"""Who depends on whom: from the site's declarations to what each output waits for and reports to.

Computed once when the scan is built; nothing here runs in a step.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

from edge.blocks.kind import Kind
from edge.image.slots import Slot
from edge.rules.compile import commandable
from edge.scan.wire import Wire
from edge.site.origins import origins, sources
from edge.site.positions import positions
from edge.site.requests import requests
from edge.site.site import Point, Site


def share(site: Site, point: str) -> float:
    """From 0 to 1, always the same for a point of a site: the motors of a compound spread out."""
    return zlib.crc32(f"{site.id} {site.controller} {point}".encode()) / 2**32


def wires(site: Site, kinds: Mapping[str, Kind]) -> tuple[Wire, ...]:
    """Where each commandable point leads, and what it waits for."""
    index = site.index()
    requesters: dict[str, set[str]] = {}
    drivers: dict[str, set[str]] = {}
    for request in requests(site, kinds):
        requesters.setdefault(request.point, set()).add(request.id)
        if request.section == "rules" and request.slot != Slot.PROTECT:
            drivers.setdefault(request.point, set()).add(request.id)
    known, polled = sources(site.rules, site.interlocks, kinds), _from_field(site, index)
    field = {
        point.id: (bus, point) for bus in site.buses for device in bus.devices
        for point in device.points
    }  # fmt: skip
    valves = positions(site.rules, kinds)
    found = []
    for ordinal, at in enumerate(commandable(site)):
        point = site.points[at]
        name = point.id
        bus, config = field.get(name, (None, None))
        rules = frozenset(requesters.get(name, ()))
        needs = {n for rule in rules for n in origins(rule, known, polled)}
        readable = config is not None and config.readable
        if readable:
            needs.add(name)
        if point.hoa is not None:
            needs.add(point.hoa)
        position = valves.get(name)
        if position is not None:
            needs |= {position} if polled(position) else set(origins(position, known, polled))
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
                late=share(site, name) * point.output.start_spread,
                drivers=frozenset(drivers.get(name, ())),
                seen=None if position is None else index[position],
                travel=_travel(point),
            )
        )
    return tuple(found)


def _travel(point: Point) -> tuple[float, float]:
    known = math.isfinite(point.low) and math.isfinite(point.high)
    return (point.low, point.high) if known else (0.0, 100.0)


def _from_field(site: Site, index: Mapping[str, int]) -> Callable[[str], bool]:
    def polled(name: str) -> bool:
        point = site.points[index[name]]
        return point.device is not None and point.period > 0

    return polled
