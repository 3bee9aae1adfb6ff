"""A constant-pressure booster set: equal pumps on converters, a network that stores, a break tank.

Equations and constants are those of the acceptance scenarios; they are arguments where plants
differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from drivers.sim.models.model import (
    MPA_PER_METRE,
    Count,
    NotNegative,
    Positive,
    approach,
    numbered,
)

# Booster set: H = H0·s² - a·Q², common to all pumps.
H0 = 65.0  # m at full speed and no flow
CURVE = 0.10  # m/(m³/h)²
COMPLIANCE = 0.15  # m³/MPa of the network behind the pumps
PUMP_RAMP = 10.0  # %/s
PUMP_RATED = 5.5  # kW
TANK_LEVEL = 2.0  # m
TANK_RAMP = 0.4  # m/s, while it is drained or filled by a fault


def pump_flow(speed: float, pressure: float, head: float = H0, curve: float = CURVE) -> float:
    """Flow of one pump in m³/h at `speed` (0-1) that adds `pressure` in MPa, never negative."""
    left = head * speed * speed - pressure / MPA_PER_METRE
    return sqrt(left / curve) if left > 0 else 0.0


@dataclass(slots=True)
class Pump:
    """One pump with its frequency converter: `speed` in %, `delivers` whether it turns, `power` in
    kW, `flow` in m³/h. One that does not turn has neither speed nor power."""

    speed: float = 0.0
    delivers: bool = False
    flow: float = 0.0
    hours: float = 0.0
    power: float = 0.0


def pump_power(speed: float, flow: float, rated: float = PUMP_RATED) -> float:
    """kW at `speed` (0-1, not 0): by the affinity law, half of it already at no flow."""
    load = flow / (15 * speed)
    return rated * speed**3 * (0.5 + 0.5 * (load if load < 1.0 else 1.0))


class Booster:
    """Equal pumps on a common header; consumers draw Qd·√(P/0.40), or `draw` where it is set.

    `leak` is a constant flow besides. `head` and `curve` are H0 and a, `ramp` %/s, `rated` kW;
    `hours` what the drives' counters show. Only the first `drives` pumps have a drive, the others
    turn at full speed. Connected to the mains instead of the tank, the set finds `mains` MPa at no
    flow and loses `mains_loss`·Q² of them.

    `full_speed` counts what the pumps that run would use for the same flow at full speed, kWh.

    Faults: `pump_trip:n` (stops, fault contact), `no_run_feedback:n` (stops without a contact),
    `hoa_hand:n` (switch in HAND: goes on as it is), `tank_low` (the break tank runs empty).
    """

    dt = 0.1
    noise: Mapping[str, float] = {"discharge_pressure": 3e-4, "flow": 0.02, "tank_level": 0.002}

    def __init__(
        self,
        pumps: Count = 3,
        pressure: NotNegative = 0.40,
        demand: NotNegative = 6.0,
        *,
        leak: NotNegative = 0.0,
        head: Positive = H0,
        curve: Positive = CURVE,
        compliance: Positive = COMPLIANCE,
        ramp: Positive = PUMP_RAMP,
        rated: Positive = PUMP_RATED,
        hours: Sequence[float] = (),
        drives: int | None = None,
        mains: float = 0.0,
        mains_loss: float = 0.0,
    ) -> None:
        self.pumps = [Pump() for _ in range(pumps)]
        for pump, counted in zip(self.pumps, hours, strict=False):
            pump.hours = counted
        self.leak, self.head, self.curve, self.compliance = leak, head, curve, compliance
        self.ramp, self.rated = ramp, rated
        self.drives = pumps if drives is None else drives
        self.mains, self.mains_loss, self.suction = mains, mains_loss, mains
        self.pressure = pressure
        self.demand = demand
        self.draw: float | None = None
        self.tank = TANK_LEVEL
        self.energy = self.full_speed = 0.0
        self.active: set[str] = set()
        self.commands = {
            f"p{i}_{name}": 0.0 for i in range(1, pumps + 1) for name in ("run", "reference")
        }
        self.switches = frozenset(f"p{i}_run" for i in range(1, pumps + 1))
        shown = {
            "running": 0.0,
            "speed": 0.0,
            "power": 0.0,
            "hours": 0.0,
            "fault": 0.0,
            "auto": 1.0,
        }
        self._names = [tuple(f"p{i}_{name}" for name in shown) for i in range(1, pumps + 1)]
        self._at_rest = {
            f"p{i}_{name}": at for i in range(1, pumps + 1) for name, at in shown.items()
        }
        self._commanded = [(f"p{i}_run", f"p{i}_reference") for i in range(1, pumps + 1)]
        self.faults = numbered(("pump_trip", "no_run_feedback", "hoa_hand"), pumps) | {"tank_low"}

    def run_at(self, *speeds: float) -> None:
        """Put the pumps at these speeds in %, commanded and turning, as if they had long run."""
        for i, (pump, speed) in enumerate(zip(self.pumps, speeds, strict=False), 1):
            pump.speed, pump.delivers = speed, speed > 0
            pump.flow = self._flow(speed / 100)
            pump.power = pump_power(speed / 100, pump.flow, self.rated) if speed else 0.0
            self.commands[f"p{i}_run"] = float(speed > 0)
            self.commands[f"p{i}_reference"] = speed

    def step(self, dt: float) -> None:
        """Converters ramp, pumps deliver, the network stores what nobody draws."""
        against, delivered = (self.pressure - self.suction) / MPA_PER_METRE, 0.0
        for i, pump in enumerate(self.pumps, 1):
            if self.active or pump.delivers or self.commands[self._commanded[i - 1][0]]:
                self._ramp(i, pump, dt)
            speed = pump.speed / 100 if pump.delivers else 0.0
            left = self.head * speed * speed - against
            pump.flow = flow = sqrt(left / self.curve) if left > 0 else 0.0
            delivered += flow
            pump.power = power = pump_power(speed, flow, self.rated) if speed else 0.0
            if speed:
                pump.hours += dt / 3600
                self.energy += power * dt / 3600
                self.full_speed += pump_power(1.0, flow, self.rated) * dt / 3600
        drawn = self.drawn() if self.draw is None else self.draw
        stored = delivered - drawn - self.leak
        self.pressure = max(0.0, self.pressure + stored / 3600 / self.compliance * dt)
        self.suction = self.mains - self.mains_loss * delivered * delivered
        level = 0.1 if "tank_low" in self.active else TANK_LEVEL
        if self.tank != level:
            self.tank = approach(self.tank, level, TANK_RAMP * dt)

    def drawn(self) -> float:
        """What the consumers take at the present pressure, m³/h."""
        return self.demand * sqrt(self.pressure / 0.40)

    def _flow(self, speed: float) -> float:
        return pump_flow(speed, self.pressure - self.suction, self.head, self.curve)

    def _ramp(self, i: int, pump: Pump, dt: float) -> None:
        if self.active:
            if f"pump_trip:{i}" in self.active or f"no_run_feedback:{i}" in self.active:
                pump.speed, pump.delivers = 0.0, False
                return
            if f"hoa_hand:{i}" in self.active:
                return
        run, reference = self._commanded[i - 1]
        pump.delivers = self.commands[run] > 0
        if not pump.delivers:
            pump.speed = 0.0
        elif i > self.drives:
            pump.speed = 100.0
        elif pump.speed != self.commands[reference]:
            pump.speed = approach(pump.speed, self.commands[reference], self.ramp * dt)

    def readings(self) -> dict[str, float]:
        """Pressures in MPa, flow in m³/h, speeds in %, power in kW, level in m, energy in kWh."""
        seen = {
            **self.commands, **self._at_rest, "discharge_pressure": self.pressure,
            "suction_pressure": self.suction, "tank_level": self.tank, "energy": self.energy,
            "full_speed": self.full_speed,
        }  # fmt: skip
        flow, turning = 0.0, 0.0
        for i, pump in enumerate(self.pumps, 1):
            running, speed, power, hours, fault, auto = self._names[i - 1]
            seen[hours], flow = pump.hours, flow + pump.flow
            if pump.delivers:
                seen[running], seen[speed], seen[power] = 1.0, pump.speed, pump.power
                turning += 1.0
            if self.active:
                seen[fault] = float(f"pump_trip:{i}" in self.active)
                seen[auto] = float(f"hoa_hand:{i}" not in self.active)
        seen["flow"], seen["running"] = flow, turning
        return seen
