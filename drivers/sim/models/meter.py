"""A meter that counts pulses: of water or of energy, with all that makes a counter go backwards."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

from drivers.sim.models.model import NotNegative, Positive

PULSE = 0.01  # m³: 10 L, as many water meters give
ROLLOVER = 100_000.0  # the first number that a register of five places cannot show


class Meter:
    """Counts `rate` (per hour, `factor` times what it is connected to) in pulses of `pulse`; the
    register shows what they add up to from `total` on, and begins at 0 again at `rollover`.

    In m³ and m³/h behind a flow, in kWh and kW behind a power (`factor: 0.001` for one in W).

    Faults: `stopped` (the register stands, the rate reads 0), `lost_pulses` (every second one),
    `exchanged` (another meter in its place: the register began at 0; it stays so).
    """

    dt = 1.0
    switches: frozenset[str] = frozenset()
    faults = frozenset({"stopped", "lost_pulses", "exchanged"})
    noise: Mapping[str, float] = {"rate": 0.01}

    def __init__(
        self, rate: float = 0.0, factor: Positive = 1.0, pulse: Positive = PULSE,
        rollover: Positive = ROLLOVER, total: NotNegative = 0.0,
    ) -> None:  # fmt: skip
        self.rate, self.factor, self.pulse, self.rollover = rate, factor, pulse, rollover
        self.first = total
        self.true_total = self.seen = 0.0  # what has passed, and what of it was counted
        self.exchanged = False
        self.active: set[str] = set()
        self.commands: dict[str, float] = {}

    def step(self, dt: float) -> None:
        """Something passes, and is counted. A meter does not count backwards."""
        passed = max(self.rate * self.factor, 0.0) * dt / 3600
        self.true_total += passed
        new = "exchanged" in self.active
        if new and not self.exchanged:
            self.first = self.seen = 0.0
        self.exchanged = new
        if "stopped" not in self.active:
            self.seen += passed / 2 if "lost_pulses" in self.active else passed

    def readings(self) -> dict[str, float]:
        """The register and pulses of this meter, the rate that it shows; `true_total` no meter
        shows."""
        pulses = floor(self.seen / self.pulse + 1e-9)
        places = max(round(self.rollover / self.pulse), 1)
        stands = "stopped" in self.active
        return {
            "total": (round(self.first / self.pulse) + pulses) % places * self.pulse,
            "pulses": float(pulses),
            "rate": 0.0 if stands else max(self.rate * self.factor, 0.0),
            "true_total": self.true_total,
        }
