"""A header, a tree of pipes, and zones behind valves: pressures and flows in closed form.

Every flow is a constant times the root of the pressure before it, so that pipes and zones add up
like conductances. Shares nothing with the controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

CD = 6.0 / sqrt(0.40)
OPEN = 17.6  # m³/h at 1 bar: Kvs 22 at 80 %


@dataclass
class Pipes:
    """`parents` by branch (None: the header), `zones`: the branch of each (None: the header).

    `pipe` is what a branch passes at 1 bar; `leaks` are openings to the air at a branch or a zone.
    """

    parents: Mapping[str, str | None]
    zones: Mapping[str, str | None]
    pipe: float = 60.0
    header: float = 0.41162
    valves: dict[str, float] = field(default_factory=dict)
    leaks: dict[str, float] = field(default_factory=dict)

    def seen(self) -> dict[str, tuple[float, float]]:
        """Pressure and flow of each zone."""
        found: dict[str, tuple[float, float]] = {}
        self._fill(None, self.header, found)
        return found

    def _fill(
        self, branch: str | None, pressure: float, found: dict[str, tuple[float, float]]
    ) -> None:
        for zone in (z for z, b in self.zones.items() if b == branch):
            cd = CD + self.leaks.get(zone, 0.0)
            flow = self._zone(zone) * sqrt(pressure)
            found[zone] = (flow / cd) ** 2, flow
        for below in (b for b, p in self.parents.items() if p == branch):
            flow = self._branch(below) * sqrt(pressure)
            self._fill(below, pressure - flow**2 / (10 * self.pipe**2), found)

    def _zone(self, zone: str) -> float:
        return _series(self.valves.get(zone, OPEN), CD + self.leaks.get(zone, 0.0))

    def _branch(self, branch: str) -> float:
        total = self.leaks.get(branch, 0.0)
        total += sum(self._zone(z) for z, b in self.zones.items() if b == branch)
        total += sum(self._branch(b) for b, p in self.parents.items() if p == branch)
        return _series(self.pipe, total) if total else 0.0


def _series(kv: float, cd: float) -> float:
    return 1 / sqrt(1 / (10 * kv**2) + 1 / cd**2)
