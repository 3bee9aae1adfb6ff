"""What rules do by themselves and must be on record: each change of an audited point.

Which points those are says the kind (`audited`). It decides nothing; the app writes the journal.
Called by `cycle.py` once per step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.blocks.kind import Kind
from edge.image.image import Floats, ProcessImage
from edge.site.site import Point, Site
from edge.text import Text


@dataclass(frozen=True, slots=True)
class Audit:
    """A rule came to another state, shown by `point`. `numbers` are its other results then, by
    their names."""

    rule: str
    point: str
    kind: str
    state: int
    text: Text
    wall: float
    numbers: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """For the journal, which goes upstream too."""
        return {
            "rule": self.rule, "point": self.point, "state": self.state,
            "text": self.text._asdict(),
            "ts": round(self.wall * 1000), "numbers": dict(self.numbers),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Watched:
    rule: str
    kind: str
    point: Point
    shown: Mapping[str, int]


class Audits:
    """The audited rules of a site. `owners` are their names among the programs' owners."""

    def __init__(self, site: Site, kinds: Mapping[str, Kind], image: ProcessImage) -> None:
        self._image, index = image, site.index()
        self._rows = [
            _Watched(
                rule.id, rule.kind, site.points[index[f"{rule.id}.{name}"]],
                {
                    p.name: index[f"{rule.id}.{p.name}"]
                    for p in kind.publishes(rule.model) if p.name not in ("", name)
                },
            )
            for rule in site.rules for kind in (kinds[rule.kind],)
            for name in kind.audited(rule.model)
        ]  # fmt: skip
        self.owners = frozenset(f"rules.{row.rule}" for row in self._rows)
        self._at = np.asarray([index[row.point.id] for row in self._rows], np.intp)
        self._seen: Floats = np.full(len(self._rows), math.nan)

    def step(self, wall: float) -> list[Audit]:
        """What changed since the last step; where a rule stands at its first run is no change."""
        if not self._rows:
            return []
        values = self._image.value[self._at]
        changed = np.flatnonzero((values != self._seen) & ~np.isnan(values) & ~np.isnan(self._seen))
        self._seen = values
        return [self._audit(self._rows[k], int(values[k]), wall) for k in changed]

    def _audit(self, row: _Watched, state: int, wall: float) -> Audit:
        values = {name: float(self._image.value[at]) for name, at in row.shown.items()}
        numbers = {name: value for name, value in values.items() if math.isfinite(value)}
        text = row.point.labels.get(state, Text(str(state), str(state)))
        return Audit(row.rule, row.point.id, row.kind, state, text, wall, numbers)
