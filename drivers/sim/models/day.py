"""What people do by the clock: how much of the most that they draw at once they draw now.

The curve of dwellings, an engineer's guess [E] as in design handbooks: little at night, a peak in
the morning and a higher one in the evening. Not equipment: other models are connected to it.
"""

from __future__ import annotations

from collections.abc import Mapping

# Share of the evening's peak at each full hour; straight lines between them.
HOURS = (
    0.18, 0.13, 0.10, 0.10, 0.13, 0.26, 0.63, 0.95, 0.84, 0.63, 0.58, 0.63,
    0.68, 0.53, 0.42, 0.42, 0.47, 0.63, 0.89, 1.00, 0.89, 0.74, 0.53, 0.32,
)  # fmt: skip
DAY = 1440.0  # minutes


def share(minute: float) -> float:
    """The part of the peak at a minute of the day."""
    hour, rest = divmod(minute % DAY / 60, 1.0)
    first, after = HOURS[int(hour)], HOURS[(int(hour) + 1) % 24]
    return first + (after - first) * rest


class Day:
    """The day of a compound: `water` is the share of the most that is drawn, `sewage` m³/h of what
    comes to the pit when `peak` m³/h do at most. `steady` is a share that stays, 0 goes by the
    clock. No commands, no faults."""

    dt = 1.0
    switches: frozenset[str] = frozenset()
    faults: frozenset[str] = frozenset()
    noise: Mapping[str, float] = {}

    def __init__(self, minute: float = 0.0, peak: float = 4.0, steady: float = 0.0) -> None:
        self.minute, self.peak, self.steady = minute, peak, steady
        self.active: set[str] = set()
        self.commands: dict[str, float] = {}
        self.water = self.sewage = 0.0
        self.step(0.0)

    def step(self, dt: float) -> None:
        """The clock goes on."""
        self.minute += dt / 60
        self.water = self.steady or share(self.minute)
        self.sewage = self.peak * self.water

    def readings(self) -> dict[str, float]:
        """Share of the peak, and m³/h of sewage."""
        return {"water": self.water, "sewage": self.sewage, "minute": self.minute % DAY}
