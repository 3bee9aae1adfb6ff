"""The sun, clouds, and rooms with lamps.

Equations and constants are those of the acceptance scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi, sin

# Lobby.
DAYLIGHT_FACTOR = 0.01
LAMPS_FULL = 200.0  # lx at 100 %
LAMPS_STANDBY, LAMPS_RATED = 6.0, 240.0  # W
COVERED = 5.0  # lx


def clouds(minute: float) -> float:
    """Share of the clear sky that passes, by minute of the day."""
    if not 600 <= minute < 900:
        return 1.0
    return 1 - 0.35 * (0.5 + 0.5 * sin(2 * pi * (minute - 600) / 47))


def daylight(minute: float) -> float:
    """Outdoor illuminance in lx by minute of the day."""
    if not 360 < minute < 1080:
        return 0.0
    return float(40000 * sin(pi * (minute - 360) / 720) ** 1.2 * clouds(minute))


class Lobby:
    """A lobby with dimmable lamps and a ceiling sensor that sees lamps and daylight.

    Fault: `lux_covered` (the sensor reads 5 lx whatever happens).
    """

    dt = 1.0
    switches: frozenset[str] = frozenset()
    faults = frozenset({"lux_covered"})
    noise: Mapping[str, float] = {"illuminance": 0.5}

    def __init__(self, minute: float = 0.0, level: float = 75.0) -> None:
        self.minute = minute
        self.energy = 0.0
        self.active: set[str] = set()
        self.commands = {"level": level}

    @property
    def illuminance(self) -> float:
        """What there is to see, lx."""
        lamps = LAMPS_FULL * self.commands["level"] / 100
        return DAYLIGHT_FACTOR * daylight(self.minute % 1440) + lamps

    @property
    def power(self) -> float:
        """W, standby included."""
        return LAMPS_STANDBY + (LAMPS_RATED - LAMPS_STANDBY) * self.commands["level"] / 100

    def step(self, dt: float) -> None:
        """The sun moves on; lamps follow their level at once."""
        self.energy += self.power * dt / 3.6e6
        self.minute += dt / 60

    def readings(self) -> dict[str, float]:
        """Illuminances in lx, power in W, energy in kWh, minute of the day."""
        covered = "lux_covered" in self.active
        return {
            **self.commands,
            "illuminance": COVERED if covered else self.illuminance,
            "outdoor": daylight(self.minute % 1440),
            "power": self.power,
            "energy": self.energy,
            "minute": self.minute % 1440,
        }
