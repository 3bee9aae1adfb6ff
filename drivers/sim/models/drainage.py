"""A sump that fills and is pumped out: level, float, submersible pumps on contactors.

Equations and constants are those of the acceptance scenarios; they are arguments where plants
differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivers.sim.models.model import Count, NotNegative, Positive, numbered

AREA = 2.0  # m²
FLOW = 12.0  # m³/h of one pump
POWER = 1.5  # kW of one pump
TORRENT = 720.0  # m³/h
FLOAT = 1.30  # m: the high-high float
FLOAT_HYSTERESIS = 0.03  # m that it hangs on
SPILL = 1.60  # m: what is more runs over the floor
LEVEL = 0.50  # m


class Sump:
    """dh/dt = (inflow - n·flow)/area; what the pumps find no water for they do not pump.

    Faults: `pump_dead:n` (no feedback, no flow), `pump_trip:n` (the same with the fault contact),
    `pump_blocked:n` (turns and pumps nothing), `hoa_off:n` (switch in OFF), `transmitter_frozen`,
    `float_stuck` (stays down), `float_stuck_up`, `flood` (a burst main pours 720 m³/h in).
    `wear` is the share of the flow that is left.
    """

    dt = 1.0
    noise: Mapping[str, float] = {"sump_level": 0.001}

    def __init__(
        self, pumps: Count = 2, area: Positive = AREA, flow: Positive = FLOW,
        level: NotNegative = LEVEL, inflow: NotNegative = 0.0, float_at: Positive = FLOAT,
        spill: Positive = SPILL,
    ) -> None:  # fmt: skip
        self.count, self.area, self.flow, self.level = pumps, area, flow, level
        self.inflow, self.float_at, self.spill, self.wear = inflow, float_at, spill, 1.0
        self.floats = level >= float_at
        self.shown = level
        self.pumped = self.spilt = self.energy = 0.0
        self.starts = [0] * pumps
        self.running = [False] * pumps
        self.active: set[str] = set()
        self.commands = {f"p{i}_run": 0.0 for i in range(1, pumps + 1)}
        self.switches = frozenset(self.commands)
        shown = ("running", "starts", "fault", "auto")
        self._names = [tuple(f"p{i}_{name}" for name in shown) for i in range(1, pumps + 1)]
        kinds = ("pump_dead", "pump_trip", "pump_blocked", "hoa_off")
        self.faults = numbered(kinds, pumps) | {
            "transmitter_frozen", "float_stuck", "float_stuck_up", "flood"
        }  # fmt: skip

    def step(self, dt: float) -> None:
        """Contactors follow, water comes and goes, float and transmitter look at it."""
        pumped = 0.0
        for i in range(self.count):
            runs = self.commands[f"p{i + 1}_run"] > 0 and not self._down(i + 1)
            self.starts[i] += runs and not self.running[i]
            self.running[i] = runs
            self.energy += POWER * dt / 3600 if runs else 0.0
            if runs and f"pump_blocked:{i + 1}" not in self.active:
                pumped += self.flow * self.wear
        inflow = self.inflow + (TORRENT if "flood" in self.active else 0.0)
        water = self.level * self.area + inflow * dt / 3600
        out = min(pumped * dt / 3600, water)
        self.pumped += out
        level = (water - out) / self.area
        self.spilt += max(0.0, level - self.spill) * self.area
        self.level = min(level, self.spill)
        limit = self.float_at - (FLOAT_HYSTERESIS if self.floats else 0.0)
        self.floats = self.level >= limit
        if "transmitter_frozen" not in self.active:
            self.shown = self.level

    def _down(self, i: int) -> bool:
        if not self.active:
            return False
        return any(f"{fault}:{i}" in self.active for fault in ("pump_dead", "pump_trip", "hoa_off"))

    def readings(self) -> dict[str, float]:
        """Levels in m (`true_level` is what no transmitter shows), flow in m³/h, energy in kWh."""
        seen = dict(self.commands)
        seen["sump_level"] = self.shown
        seen["true_level"] = self.level
        up = self.floats or "float_stuck_up" in self.active
        seen["high_float"] = float(up and "float_stuck" not in self.active)
        seen["inflow"] = self.inflow
        seen["pumped_volume"] = self.pumped
        seen["spilt_volume"] = self.spilt
        seen["energy"] = self.energy
        for i, (running, starts, fault, auto) in enumerate(self._names):
            seen[running], seen[starts] = float(self.running[i]), float(self.starts[i])
            seen[fault] = float(f"pump_trip:{i + 1}" in self.active)
            seen[auto] = float(f"hoa_off:{i + 1}" not in self.active)
        return seen
