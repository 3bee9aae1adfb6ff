"""Simulated equipment: booster set, zone network, lobby lighting, I/O module, fire main.

Not a clock and not a protocol: a model is its state, `step(dt)` moves it by explicit Euler (its
commands are the inputs of the step) and nothing else does, so equal steps give equal values.
Equations and constants are those of the acceptance scenarios. Driven by `drivers/sim/rig.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi, sin, sqrt
from typing import Protocol

MPA_PER_METRE = 0.00980665

# Booster set: H = H0·s² - a·Q², common to all pumps.
H0 = 65.0  # m at full speed and no flow
CURVE = 0.10  # m/(m³/h)²
COMPLIANCE = 0.15  # m³/MPa of the network behind the pumps
PUMP_RAMP = 10.0  # %/s
PUMP_RATED = 5.5  # kW
TANK_LEVEL = 2.0  # m
TANK_RAMP = 0.4  # m/s, while it is drained or filled by a fault

# Zone network.
HEADER = 0.41162  # MPa
KVS = 22.0  # m³/h at 1 bar, linear valve
CD = 6.0 / sqrt(0.40)  # m³/h/√MPa of one zone's consumers
BURST = 20.0  # added to CD
STROKE = 50.0  # s for 0-100 %
RUNAWAY = 12.0  # %/s: 80 to 20 % in 5 s
RUNAWAY_TO = 20.0  # %
SUPPLY_LOW = 0.30  # MPa

# Lobby.
DAYLIGHT_FACTOR = 0.01
LAMPS_FULL = 200.0  # lx at 100 %
LAMPS_STANDBY, LAMPS_RATED = 6.0, 240.0  # W
COVERED = 5.0  # lx

HYDRANT = 0.32  # MPa
HYDRANT_LOW = 0.06  # MPa


class Model(Protocol):
    """One piece of equipment.

    `dt` is the length of its Euler step in seconds. `commands` are the variables that may be
    written: `switches` (0, 1) and else percentages (0-100). `faults` are the names that `active`
    may hold. `noise` is the standard deviation of each sensor that has one.
    """

    dt: float
    commands: dict[str, float]
    switches: frozenset[str]
    faults: frozenset[str]
    active: set[str]
    noise: Mapping[str, float]

    def step(self, dt: float) -> None:
        """Move actuators, then the plant, by `dt` seconds."""

    def readings(self) -> dict[str, float]:
        """Every variable that can be read, commands included."""


def approach(value: float, target: float, limit: float) -> float:
    """Return `value` moved towards `target` by at most `limit`."""
    return value + min(max(target - value, -limit), limit)


def pump_flow(speed: float, pressure: float) -> float:
    """Flow of one pump in m³/h at `speed` (0-1) against `pressure` in MPa, never negative."""
    head = H0 * speed * speed - pressure / MPA_PER_METRE
    return sqrt(head / CURVE) if head > 0 else 0.0


def _numbered(names: tuple[str, ...], count: int) -> frozenset[str]:
    return frozenset(f"{name}:{i}" for name in names for i in range(1, count + 1))


@dataclass(slots=True)
class Pump:
    """One pump with its frequency converter: `speed` in %, `delivers` whether it turns."""

    speed: float = 0.0
    delivers: bool = False
    flow: float = 0.0
    hours: float = 0.0

    def power(self) -> float:
        """kW: by the affinity law, half of it already at no flow."""
        if not self.delivers or not self.speed:
            return 0.0
        s = self.speed / 100
        return PUMP_RATED * s**3 * (0.5 + 0.5 * min(1.0, self.flow / (15 * s)))


class Booster:
    """Equal pumps on a common header; consumers draw Qd·√(P/0.40), or `draw` where it is set.

    Faults: `pump_trip:n` (stops, fault contact), `no_run_feedback:n` (stops without a contact),
    `hoa_hand:n` (switch in HAND: goes on as it is), `tank_low` (the break tank runs empty).
    """

    dt = 0.1
    noise: Mapping[str, float] = {"discharge_pressure": 3e-4, "flow": 0.02, "tank_level": 0.002}

    def __init__(self, pumps: int = 3, pressure: float = 0.40, demand: float = 6.0) -> None:
        self.pumps = [Pump() for _ in range(pumps)]
        self.pressure = pressure
        self.demand = demand
        self.draw: float | None = None
        self.tank = TANK_LEVEL
        self.energy = 0.0
        self.active: set[str] = set()
        self.commands = {
            f"p{i}_{name}": 0.0 for i in range(1, pumps + 1) for name in ("run", "reference")
        }
        self.switches = frozenset(f"p{i}_run" for i in range(1, pumps + 1))
        self.faults = _numbered(("pump_trip", "no_run_feedback", "hoa_hand"), pumps) | {"tank_low"}

    def run_at(self, *speeds: float) -> None:
        """Put the pumps at these speeds in %, commanded and turning, as if they had long run."""
        for i, (pump, speed) in enumerate(zip(self.pumps, speeds, strict=False), 1):
            pump.speed, pump.delivers = speed, speed > 0
            pump.flow = pump_flow(speed / 100, self.pressure)
            self.commands[f"p{i}_run"] = float(speed > 0)
            self.commands[f"p{i}_reference"] = speed

    def step(self, dt: float) -> None:
        """Converters ramp, pumps deliver, the network stores what nobody draws."""
        for i, pump in enumerate(self.pumps, 1):
            self._ramp(i, pump, dt)
            turning = pump.speed / 100 if pump.delivers else 0.0
            pump.flow = pump_flow(turning, self.pressure)
            pump.hours += dt / 3600 if pump.delivers else 0.0
            self.energy += pump.power() * dt / 3600
        drawn = self.drawn() if self.draw is None else self.draw
        stored = sum(pump.flow for pump in self.pumps) - drawn
        self.pressure = max(0.0, self.pressure + stored / 3600 / COMPLIANCE * dt)
        level = 0.1 if "tank_low" in self.active else TANK_LEVEL
        self.tank = approach(self.tank, level, TANK_RAMP * dt)

    def drawn(self) -> float:
        """What the consumers take at the present pressure, m³/h."""
        return self.demand * sqrt(self.pressure / 0.40)

    def _ramp(self, i: int, pump: Pump, dt: float) -> None:
        if f"pump_trip:{i}" in self.active or f"no_run_feedback:{i}" in self.active:
            pump.speed, pump.delivers = 0.0, False
        elif f"hoa_hand:{i}" not in self.active:
            pump.delivers = self.commands[f"p{i}_run"] > 0
            target = self.commands[f"p{i}_reference"]
            pump.speed = approach(pump.speed, target, PUMP_RAMP * dt) if pump.delivers else 0.0

    def readings(self) -> dict[str, float]:
        """Pressures in MPa, flow in m³/h, speeds in %, power in kW, level in m, energy in kWh."""
        seen = dict(self.commands)
        seen["discharge_pressure"] = self.pressure
        seen["suction_pressure"] = 0.0
        seen["flow"] = sum(pump.flow for pump in self.pumps)
        seen["tank_level"] = self.tank
        seen["energy"] = self.energy
        seen["running"] = float(sum(pump.delivers for pump in self.pumps))
        for i, pump in enumerate(self.pumps, 1):
            seen[f"p{i}_running"] = float(pump.delivers)
            seen[f"p{i}_fault"] = float(f"pump_trip:{i}" in self.active)
            seen[f"p{i}_auto"] = float(f"hoa_hand:{i}" not in self.active)
            seen[f"p{i}_speed"] = pump.speed
            seen[f"p{i}_power"] = pump.power()
            seen[f"p{i}_hours"] = pump.hours
        return seen


@dataclass(slots=True)
class Valve:
    """A zone valve: `motor` is what its feedback shows, `plug` what the water sees, both in %."""

    motor: float = 80.0
    plug: float = 80.0


@dataclass(slots=True)
class Zone:
    """One zone behind its valve: pressure in MPa, flow in m³/h, volume in m³."""

    pressure: float = 0.0
    flow: float = 0.0
    volume: float = 0.0


def zone_pressure(header: float, opening: float, cd: float = CD) -> float:
    """The pressure at which Kv·√(10·(P_h - P_z)) equals Cd·√P_z; `opening` is 0-1."""
    kv = KVS * opening
    return 10 * kv * kv * header / (cd * cd + 10 * kv * kv)


class ZoneNetwork:
    """A header at `supply` MPa and zones behind linear valves of Kvs 22.

    Faults: `valve_stuck:n` (jams), `valve_drift:n` (motor and plug run to 20 % in 5 s),
    `false_feedback:n` (the plug does, the feedback does not), `hoa_hand:n` (hand lever),
    `burst:n`, `supply_drop` (the header falls to 0.30 MPa).
    """

    dt = 0.1
    switches: frozenset[str] = frozenset()

    def __init__(self, zones: int = 3, opening: float = 80.0, supply: float = HEADER) -> None:
        self.supply = supply
        self.valves = [Valve(opening, opening) for _ in range(zones)]
        self.zones = [Zone() for _ in range(zones)]
        self.active: set[str] = set()
        self.commands = {f"v{i}_command": opening for i in range(1, zones + 1)}
        kinds = ("valve_stuck", "valve_drift", "false_feedback", "hoa_hand", "burst")
        self.faults = _numbered(kinds, zones) | {"supply_drop"}
        self.noise: Mapping[str, float] = (
            {"header_pressure": 3e-4}
            | {f"z{i}_pressure": 3e-4 for i in range(1, zones + 1)}
            | {f"z{i}_flow": 0.02 for i in range(1, zones + 1)}
        )
        self.step(0.0)

    @property
    def header(self) -> float:
        """The header pressure in MPa."""
        return min(self.supply, SUPPLY_LOW) if "supply_drop" in self.active else self.supply

    @property
    def flow(self) -> float:
        """What all zones take together, m³/h."""
        return sum(zone.flow for zone in self.zones)

    def step(self, dt: float) -> None:
        """Valves travel, then flows and pressures settle (the water itself has no inertia)."""
        for i, (valve, zone) in enumerate(zip(self.valves, self.zones, strict=True), 1):
            self._travel(i, valve, dt)
            cd = CD + BURST if f"burst:{i}" in self.active else CD
            zone.pressure = zone_pressure(self.header, valve.plug / 100, cd)
            zone.flow = cd * sqrt(zone.pressure)
            zone.volume += zone.flow * dt / 3600

    def _travel(self, i: int, valve: Valve, dt: float) -> None:
        if f"valve_drift:{i}" in self.active:
            valve.motor = approach(valve.motor, RUNAWAY_TO, RUNAWAY * dt)
        elif f"valve_stuck:{i}" not in self.active and f"hoa_hand:{i}" not in self.active:
            valve.motor = approach(valve.motor, self.commands[f"v{i}_command"], 100 / STROKE * dt)
        plug = RUNAWAY_TO if f"false_feedback:{i}" in self.active else valve.motor
        valve.plug = approach(valve.plug, plug, RUNAWAY * dt)

    def readings(self) -> dict[str, float]:
        """Pressures in MPa, flows in m³/h, volumes in m³, positions in %."""
        seen = dict(self.commands)
        seen["header_pressure"] = self.header
        seen["header_flow"] = self.flow
        seen["header_volume"] = sum(zone.volume for zone in self.zones)
        for i, (valve, zone) in enumerate(zip(self.valves, self.zones, strict=True), 1):
            seen[f"v{i}_position"] = valve.motor
            seen[f"v{i}_auto"] = float(f"hoa_hand:{i}" not in self.active)
            seen[f"z{i}_pressure"] = zone.pressure
            seen[f"z{i}_flow"] = zone.flow
            seen[f"z{i}_volume"] = zone.volume
        return seen


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


@dataclass
class IoModule:
    """Eight relays and eight digital inputs, as an alarm panel is wired to them.

    Faults: `press:n` holds the push button on input n.
    """

    channels: int = 8
    dt: float = 0.1
    active: set[str] = field(default_factory=set)
    noise: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commands = {f"relay{i}": 0.0 for i in range(1, self.channels + 1)}
        self.switches = frozenset(self.commands)
        self.faults = _numbered(("press",), self.channels)

    def step(self, dt: float) -> None:
        """Relays follow at once: nothing to move."""

    def readings(self) -> dict[str, float]:
        """Relays and inputs as 0 and 1."""
        pressed = {
            f"input{i}": float(f"press:{i}" in self.active) for i in range(1, self.channels + 1)
        }
        return self.commands | pressed


class FireMain:
    """The hydrant main and its pump cabinet, which nobody may write: it has no commands.

    Faults: `pressure_low` (0.06 MPa, below the code's 0.07), `not_auto` (cabinet out of AUTO).
    """

    dt = 0.1
    switches: frozenset[str] = frozenset()
    faults = frozenset({"pressure_low", "not_auto"})
    noise: Mapping[str, float] = {"hydrant_pressure": 3e-4}

    def __init__(self) -> None:
        self.pressure = HYDRANT
        self.active: set[str] = set()
        self.commands: dict[str, float] = {}

    def step(self, dt: float) -> None:
        """The main loses pressure at 0.05 MPa/s while the fault lasts, and regains it so."""
        target = HYDRANT_LOW if "pressure_low" in self.active else HYDRANT
        self.pressure = approach(self.pressure, target, 0.05 * dt)

    def readings(self) -> dict[str, float]:
        """Pressure in MPa and whether the cabinet is in AUTO."""
        automatic = float("not_auto" not in self.active)
        return {"hydrant_pressure": self.pressure, "cabinet_auto": automatic}
