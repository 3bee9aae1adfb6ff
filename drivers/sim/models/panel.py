"""An I/O module as an alarm panel is wired to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.sim.models.model import Count, numbered


@dataclass
class IoModule:
    """Eight relays and eight digital inputs, as an alarm panel is wired to them.

    Faults: `press:n` holds the push button on input n.
    """

    channels: Count = 8
    dt: float = 1.0
    active: set[str] = field(default_factory=set)
    noise: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commands = {f"relay{i}": 0.0 for i in range(1, self.channels + 1)}
        self.switches = frozenset(self.commands)
        self.faults = numbered(("press",), self.channels)
        self._inputs = {f"input{i}": f"press:{i}" for i in range(1, self.channels + 1)}
        self._at_rest = dict.fromkeys(self._inputs, 0.0)

    def step(self, dt: float) -> None:
        """Relays follow at once: nothing to move."""

    def readings(self) -> dict[str, float]:
        """Relays and inputs as 0 and 1."""
        if not self.active:
            return self.commands | self._at_rest
        pressed = {name: float(press in self.active) for name, press in self._inputs.items()}
        return self.commands | pressed
