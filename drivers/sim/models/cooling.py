"""A cooling tower: cells with fans, the water that leaves them, the basin below."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.sim.models.bearing import Bearing
from drivers.sim.models.model import Count, NotNegative, Positive, approach, numbered

LOAD = 1000.0  # kW
APPROACH = 3.0  # K to the wet bulb with every fan at full speed, at that load
WATER = 20.0  # m³ in circulation
NATURAL = 0.08  # of a cell's duty without its fan
FAN_RATED = 11.0  # kW
RAMP = 2.0  # %/s
LOW_SPEED = 50.0  # % of a two-speed motor's low winding
KWH_PER_M3_K = 1.163
EVAPORATION = 0.0016  # m³/h per kW: 1.6 % of 1 m³/h per 10 kW, with blow-down
MAKE_UP = 6.0  # m³/h
BASIN_AREA = 12.0  # m²
HEATER = 12.0  # kW


class Tower:
    """C·dT/dt = load - Σ UA·s·(T - wet bulb); UA from the approach at full speed and design load.

    A fan turns at its `reference` while `run`; without a drive `f{n}_high` is its fast winding.
    Faults: `fan_trip:n`, `fan_dead:n` (no feedback), `vibration:n` (12 mm/s, the switch trips),
    `unbalance:n` (9 mm/s at full speed), `bearing_worn:n` (0.9 K/h warmer, and it shakes more).
    """

    dt = 0.5
    noise: Mapping[str, float] = {"leaving_temperature": 0.05, "wet_bulb": 0.05}

    def __init__(
        self, cells: Count = 2, leaving: float = 30.0, wet_bulb: float = 26.0,
        load: NotNegative = LOAD, approach_full: Positive = APPROACH, water: Positive = WATER,
        drives: bool = True, ambient: float = 30.0, basin: NotNegative = 0.5,
    ) -> None:  # fmt: skip
        self.leaving, self.wet_bulb, self.load, self.drives = leaving, wet_bulb, load, drives
        self.conductance = LOAD / approach_full / cells  # kW/K of a cell
        self.capacity = water * KWH_PER_M3_K * 3600  # kJ/K
        self.ambient, self.basin, self.energy, self.makeup = ambient, basin, 0.0, 0.0
        self.speeds = [0.0] * cells
        self.bearings = [Bearing(ambient) for _ in range(cells)]
        self.active: set[str] = set()
        numbers = range(1, cells + 1)
        runs = {f"f{i}_{name}": 0.0 for i in numbers for name in ("run", "high")}
        self.commands = {**runs, "makeup_valve": 0.0, "basin_heater": 0.0}
        self.switches = frozenset(self.commands)
        self.commands |= {f"f{i}_reference": 0.0 for i in numbers}
        kinds = ("fan_trip", "fan_dead", "vibration", "unbalance", "bearing_worn")
        self.faults = numbered(kinds, cells)

    def run_at(self, *speeds: float) -> None:
        """Put the fans at these speeds in %, commanded and turning."""
        for i, speed in enumerate(speeds, 1):
            self.speeds[i - 1] = speed
            self.commands[f"f{i}_run"] = float(speed > 0)
            self.commands[f"f{i}_reference"] = speed

    def step(self, dt: float) -> None:
        """Fans ramp, heat goes, water evaporates, bearings warm."""
        rejected = 0.0
        for i in range(len(self.speeds)):
            self.speeds[i] = approach(self.speeds[i], self._wanted(i + 1), RAMP * dt)
            share = self.speeds[i] / 100
            duty = NATURAL + (1 - NATURAL) * share
            rejected += self.conductance * duty * (self.leaving - self.wet_bulb)
            self.energy += FAN_RATED * share**3 * dt / 3600
            worn = f"bearing_worn:{i + 1}" in self.active
            self.bearings[i].step(dt, self.ambient, share**3, worn)
        heater = HEATER if self.commands["basin_heater"] else 0.0
        self.leaving += (self.load + heater - rejected) * dt / self.capacity
        made_up = MAKE_UP if self.commands["makeup_valve"] else 0.0
        lost = EVAPORATION * max(rejected, 0.0)
        self.makeup += made_up * dt / 3600
        self.basin = max(0.0, self.basin + (made_up - lost) * dt / 3600 / BASIN_AREA)

    def _wanted(self, i: int) -> float:
        if f"fan_trip:{i}" in self.active or f"fan_dead:{i}" in self.active:
            return 0.0
        if self.drives:
            return self.commands[f"f{i}_reference"] if self.commands[f"f{i}_run"] else 0.0
        if self.commands[f"f{i}_high"]:
            return 100.0
        return LOW_SPEED if self.commands[f"f{i}_run"] else 0.0

    def _vibration(self, i: int) -> float:
        share = self.speeds[i - 1] / 100
        if f"vibration:{i}" in self.active and share > 0:
            return 12.0
        unbalanced = 9.0 if f"unbalance:{i}" in self.active else 2.0
        return unbalanced * share * share * self.bearings[i - 1].shakes

    def readings(self) -> dict[str, float]:
        """Temperatures in °C, speeds in %, vibration in mm/s, level in m, kWh and m³."""
        seen = dict(self.commands)
        seen |= {
            "leaving_temperature": self.leaving, "wet_bulb": self.wet_bulb,
            "basin_level": self.basin, "fan_energy": self.energy, "makeup_volume": self.makeup,
        }  # fmt: skip
        for i, speed in enumerate(self.speeds, 1):
            seen[f"f{i}_running"] = float(speed > 1.0)
            seen[f"f{i}_speed"] = speed
            seen[f"f{i}_fault"] = float(f"fan_trip:{i}" in self.active)
            seen[f"f{i}_vibration"] = self._vibration(i)
            seen[f"f{i}_switch"] = float(self._vibration(i) >= 11.0)
            seen[f"f{i}_bearing"] = self.bearings[i - 1].temperature
        return seen
