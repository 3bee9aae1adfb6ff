"""Whether rules and interlocks can be put into an order: nobody reads himself by way of others.

One of the checks of `edge/site/checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from edge.blocks.expression import ExpressionError, parse
from edge.schema.problem import Problem
from edge.text import Text

if TYPE_CHECKING:
    from edge.site.checks import Scene


def check_loops(scene: Scene) -> Iterator[Problem]:
    """Rules and interlocks that read each other's results in a circle can be put into no order."""
    site = scene.site
    makers = {
        f"{rule.id}.{shown.name}" if shown.name else rule.id: rule.id
        for rule in site.rules
        for shown in scene.kinds[rule.kind].publishes(rule.model)
    }
    makers |= {interlock.shown: interlock.id for interlock in site.interlocks}
    sections = {rule.id: "rules" for rule in site.rules}
    sections |= {interlock.id: interlock.section for interlock in site.interlocks}
    reads: dict[str, list[str]] = {id: [] for id in sections}
    for use in scene.uses:
        if use.role == "input" and use.owner in reads:
            reads[use.owner] += [makers[name] for name in _names(use.text) if name in makers]
    for loop in find_loops(reads):
        path = " → ".join((*loop, loop[0]))
        text = Text(f"规则循环引用: {path}", f"rules read each other in a circle: {path}")
        yield Problem("rule-loop", scene.sources.at(sections[loop[0]], loop[0]).key(), text)


def _names(text: str) -> tuple[str, ...]:
    try:
        return parse(text).names
    except ExpressionError:
        return ()  # a quantity; anything else was reported


def find_loops(reads: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """Circles among `reads` (who reads whom), each once, from where the walk met it."""
    done: set[str] = set()
    loops: list[tuple[str, ...]] = []
    for start in reads:
        path: dict[str, Iterator[str]] = {}
        here: str | None = start if start not in done else None
        while here is not None or path:
            if here is not None:
                path[here] = iter(reads[here])
            last = next(reversed(path))
            here = next(path[last], None)
            if here is None:
                path.pop(last)
                done.add(last)
            elif here in path:
                names = list(path)
                loops.append(tuple(names[names.index(here) :]))
                here = None
            elif here in done:
                here = None
    return loops
