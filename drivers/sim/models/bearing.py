"""A bearing that warms with its load and, worn, beyond it. Stands in a model of what it carries."""

from __future__ import annotations

RISE = 22.0  # K above ambient at full load
WARM_UP = 1800.0  # s
WEAR_RATE = 0.9 / 3600  # K/s: what the trend of a failing bearing shows


class Bearing:
    """T = ambient + 22 K·load + wear, by a first order of half an hour; `worn` adds 0.9 K/h."""

    def __init__(self, ambient: float = 26.0) -> None:
        self.temperature, self.wear = ambient, 0.0

    def step(self, dt: float, ambient: float, load: float, worn: bool) -> None:
        """`load` is the share of full power, 0 at standstill."""
        if worn and load > 0:
            self.wear += WEAR_RATE * dt
        goal = ambient + RISE * load + (self.wear if load > 0 else 0.0)
        self.temperature += (goal - self.temperature) * min(dt / WARM_UP, 1.0)
