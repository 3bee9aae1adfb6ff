"""The hydrant main and its pump cabinet, which nobody may write."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.sim.models.model import approach

HYDRANT = 0.32  # MPa
HYDRANT_LOW = 0.06  # MPa


class FireMain:
    """The hydrant main and its pump cabinet, which nobody may write: it has no commands.

    `static` is the pressure that the roof tank keeps up; `jockey` is set, not simulated: whether
    the jockey pump runs. Faults: `pressure_low` (0.06 MPa, below the code's 0.07), `not_auto`
    (cabinet out of AUTO).
    """

    dt = 0.1
    switches: frozenset[str] = frozenset()
    faults = frozenset({"pressure_low", "not_auto"})
    noise: Mapping[str, float] = {"hydrant_pressure": 3e-4}

    def __init__(self, static: float = HYDRANT) -> None:
        self.static = self.pressure = static
        self.jockey = 0.0
        self.active: set[str] = set()
        self.commands: dict[str, float] = {}

    def step(self, dt: float) -> None:
        """The main loses pressure at 0.05 MPa/s while the fault lasts, and regains it so."""
        target = HYDRANT_LOW if "pressure_low" in self.active else self.static
        self.pressure = approach(self.pressure, target, 0.05 * dt)

    def readings(self) -> dict[str, float]:
        """Pressure in MPa, whether the cabinet is in AUTO and the jockey pump runs."""
        return {
            "hydrant_pressure": self.pressure,
            "cabinet_auto": float("not_auto" not in self.active),
            "jockey_running": self.jockey,
        }
