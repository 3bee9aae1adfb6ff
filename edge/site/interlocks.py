"""Interlocks and permissives of a site, resolved, and the points that show and bypass them.

Not how they act (`edge/rules/compile.py`). Called by `edge/site/build.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.blocks.kind import trips
from edge.schema.problem import Problem
from edge.site.files import Source
from edge.site.model import InterlockOptions, PermissiveOptions
from edge.site.parts import Parts, Record
from edge.site.points import Flag, bypass, first_out
from edge.site.requests import rivals
from edge.site.site import Interlock, Point
from edge.text import Text

_TRIPPED = Flag(
    "tripped", Text("联锁动作", "tripped"), Text("正常", "normal"), Text("动作", "tripped")
)
_PERMITTED = Flag(
    "permitted",
    Text("允许启动", "permitted"),
    Text("不允许", "not permitted"),
    Text("允许", "permitted"),
)

Locks = Sequence[tuple[Interlock, Source]]


def build_interlocks(parts: Parts, problems: list[Problem]) -> Locks:
    """Interlocks first, then permissives, each with where it was written."""
    found = [(_interlock(id, r), r.source) for id, r in parts.interlocks.items()]
    for id, record in parts.permissives.items():
        if id in parts.interlocks:
            text = Text(f'已有联锁 "{id}"', f'there is an interlock "{id}" already')
            problems.append(Problem("duplicate-id", record.source.key(), text))
        found.append((_permissive(id, record), record.source))
    return found


def protection_points(parts: Parts, locks: Locks) -> Iterator[tuple[Point, Source]]:
    """Whether each trips or permits, the setpoints that bypass some, and which came first of
    those that trip one point."""
    for lock, source in locks:
        yield (_PERMITTED if lock.permissive else _TRIPPED).of(lock.id, lock.name), source
    for lock, source in locks:
        if lock.bypassable:
            yield bypass(lock.id, lock.name), source
    tripped = {id: record.options.trip for id, record in parts.interlocks.items()}
    tripped |= {id: points for id, r in parts.rules.items() if (points := trips(r.model))}
    for id in rivals(tripped):
        record = parts.interlocks.get(id) or parts.rules[id]
        yield first_out(id), record.source


def _interlock(id: str, record: Record[InterlockOptions]) -> Interlock:
    options = record.options
    return Interlock(
        id=id,
        name=options.name or Text(id, id),
        when=options.when,
        delay=options.delay,
        trip=options.trip,
        value=options.value,
        reset=options.reset,
        on_bad=options.on_bad,
        mark=record.source.key(),
        bypassable=options.bypassable,
    )


def _permissive(id: str, record: Record[PermissiveOptions]) -> Interlock:
    options = record.options
    return Interlock(
        id=id,
        name=options.name or Text(id, id),
        when=options.when,
        delay=options.delay,
        trip=options.start,
        value=0.0,
        reset="auto",
        on_bad="trip" if options.on_bad == "refuse" else options.on_bad,
        mark=record.source.key(),
        permissive=True,
        bypassable=options.bypassable,
    )
