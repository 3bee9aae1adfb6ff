"""What no rule may answer by itself: protections that tripped, and fire equipment (domain §1.19).

One check of `edge/site/checks.py`. Overload, earth fault and the like are no causes of the block
itself (`edge/blocks/correction.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from edge.blocks.expression import ExpressionError, parse
from edge.blocks.kind import references
from edge.image.slots import Slot
from edge.schema.problem import Problem
from edge.text import Text

if TYPE_CHECKING:
    from edge.site.checks import Scene


UNATTENDED = (Slot.CORRECT, Slot.MAINTAIN)


def check_corrections(scene: Scene) -> Iterator[Problem]:
    """What corrects or exercises equipment reads neither what a protection did nor fire equipment,
    directly or not."""
    rules = {
        r.id for r in scene.site.rules
        if scene.kinds[r.kind].slot in UNATTENDED
        and any(reference.role == "output" for reference in references(r.model))
    }  # fmt: skip
    if not rules:
        return
    sources, forbidden = _sources(scene), _forbidden(scene)
    for use in scene.uses:
        if use.owner not in rules or use.role != "input":
            continue
        found = [name for name in _behind(use.text, sources) if name in forbidden]
        if found:
            yield Problem("people-only", use.mark, _PEOPLE.format(point=found[0]))


_PEOPLE = Text(
    "{point} 是保护动作或消防信号: 只能由人处理, 不作自动处置",
    "{point} tells of a protection or of fire equipment: only people answer that, nothing is "
    "corrected automatically",
)


def _forbidden(scene: Scene) -> frozenset[str]:
    interlocks = {f"{interlock.id}.tripped" for interlock in scene.site.interlocks}
    rules = {
        f"{rule.id}.tripped" for rule in scene.site.rules
        if any(p.name == "tripped" for p in scene.kinds[rule.kind].publishes(rule.model))
    }  # fmt: skip
    return frozenset(interlocks | rules | {p.id for p in scene.site.points if p.fire})


def _sources(scene: Scene) -> Mapping[str, tuple[str, ...]]:
    """What stands behind each point that a rule publishes: the texts of the rule's inputs."""
    texts: dict[str, list[str]] = {}
    for use in scene.uses:
        if use.role == "input":
            texts.setdefault(use.owner, []).append(use.text)
    return {
        f"{rule.id}.{p.name}" if p.name else rule.id: tuple(texts.get(rule.id, ()))
        for rule in scene.site.rules
        for p in scene.kinds[rule.kind].publishes(rule.model)
    }


def _behind(text: str, sources: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The points in an expression, and those that they are made of."""
    seen: set[str] = set()
    waiting = [text]
    while waiting:
        for name in _names(waiting.pop()):
            if name not in seen:
                seen.add(name)
                yield name
                waiting += sources.get(name, ())


def _names(text: str) -> tuple[str, ...]:
    try:
        return parse(text).names
    except ExpressionError:
        return ()  # a quantity; anything else was reported
