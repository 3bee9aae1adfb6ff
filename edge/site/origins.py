"""What a rule or an interlock depends on, down to the field, through however many virtual points.

Read off rules and interlocks alone. Used where outputs wait for their inputs, and where it matters
whether anything is decided by a device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from edge.blocks.expression import ExpressionError, parse
from edge.blocks.kind import Kind, references
from edge.site.site import Interlock, Rule

Sources = Mapping[str, tuple[str, ...]]


def sources(
    rules: Iterable[Rule], interlocks: Iterable[Interlock], kinds: Mapping[str, Kind]
) -> Sources:
    """What each rule and interlock reads, by its id; and by the points a rule publishes."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        texts = [r.text for r in references(rule.model) if r.role == "input"]
        found[rule.id] = tuple(name for text in texts for name in names(text))
        for published in kinds[rule.kind].publishes(rule.model):
            found[f"{rule.id}.{published.name}" if published.name else rule.id] = found[rule.id]
    for interlock in interlocks:
        found[interlock.id] = found[interlock.shown] = names(interlock.when)
    return found


def origins(id: str, known: Sources, last: Callable[[str], bool]) -> Iterator[str]:
    """The points behind a rule or an interlock; `last` says where there is nothing behind one."""
    seen, open_names = set(), list(known.get(id, ()))
    while open_names:
        name = open_names.pop()
        if name in seen:
            continue
        seen.add(name)
        if last(name):
            yield name
        else:
            open_names += known.get(name, ())


def deciding(
    devices: Iterable[str],
    rules: Iterable[Rule],
    interlocks: Iterable[Interlock],
    kinds: Mapping[str, Kind],
) -> set[str]:
    """The devices on whose points the rule of an output, or a protection, depends."""
    rules, interlocks, devices = tuple(rules), tuple(interlocks), set(devices)
    known = sources(rules, interlocks, kinds)
    asking = [r.id for r in rules if any(ref.role != "input" for ref in references(r.model))]
    asking += [interlock.id for interlock in interlocks]
    return {
        _device(n) for id in asking for n in origins(id, known, lambda n: _device(n) in devices)
    }


def names(text: str) -> tuple[str, ...]:
    """The points in an input's text; a quantity such as "0.40 MPa" names none."""
    try:
        return parse(text).names
    except ExpressionError:
        return ()


def _device(point: str) -> str:
    return point.partition(".")[0]
