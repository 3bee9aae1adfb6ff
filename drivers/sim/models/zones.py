"""A header that feeds zones through motor valves.

Equations and constants are those of the acceptance scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Annotated

from pydantic import Field

from drivers.sim.models.model import Count, NotNegative, Percent, Positive, approach, numbered

# Zone network.
HEADER = 0.41162  # MPa
KVS = 22.0  # m³/h at 1 bar, linear valve
CD = 6.0 / sqrt(0.40)  # m³/h/√MPa of one zone's consumers
BURST = 20.0  # added to CD
STROKE = 50.0  # s for 0-100 %
RUNAWAY = 12.0  # %/s: 80 to 20 % in 5 s
RUNAWAY_TO = 20.0  # %
SUPPLY_LOW = 0.30  # MPa
STICTION = 8.0  # % that a sticking stem holds out: beyond the 5 % of a position error
REST = 3.0  # s without a movement of the command, after which a movement is another stroke
JAMS = ("valve_stuck", "valve_drift", "stiction")  # what an exercise may free


@dataclass(slots=True)
class Valve:
    """A zone valve: `motor` is what its feedback shows, `plug` what the water sees, both in %."""

    motor: float = 80.0
    plug: float = 80.0
    wound: float = 0.0  # % that the drive is ahead of a stem that sticks
    asked: float = 80.0  # the command as it was in the last step
    still: float = 0.0  # s for which it has not moved
    strokes: int = 0  # that its command asked for since it jammed


@dataclass(slots=True)
class Zone:
    """One zone behind its valve: pressure in MPa, flow in m³/h, volume in m³."""

    pressure: float = 0.0
    flow: float = 0.0
    volume: float = 0.0


def zone_pressure(header: float, opening: float, cd: float = CD) -> float:
    """The pressure at which Kv·√(10·(P_h - P_z)) equals Cd·√P_z; `opening` is 0-1."""
    return settled_pressure(header, KVS * opening, cd)


def settled_pressure(header: float, kv: float, cd: float) -> float:
    """The same of any valve that passes `kv` m³/h at 1 bar."""
    return 10 * kv * kv * header / (cd * cd + 10 * kv * kv)


class ZoneNetwork:
    """A header at `supply` MPa and zones behind valves of `kvs`, linear unless `rangeability` says
    equal-percentage, consumers of `cd` each, of which `share` are open; a stroke takes `stroke` s.

    Faults: `valve_stuck:n` (jams), `valve_drift:n` (stem and plug run to 20 % in 5 s and jam),
    `stiction:n` (the stem stays where it is until the drive is more than `stiction` % away, then
    jumps after it, and sticks again); each is over at the `frees`-th stroke that the command asks
    for after a rest, 0 never. `false_feedback:n` (the plug runs to 20 %, the feedback stays),
    `gear_off:n` (disengaged: motor and feedback travel, the plug stays), `hoa_hand:n` (hand lever),
    `burst:n`, `supply_drop` (the header falls to 0.30 MPa).
    """

    dt = 0.1
    switches: frozenset[str] = frozenset()

    def __init__(
        self, zones: Count = 3, opening: Percent = 80.0, supply: NotNegative = HEADER, *,
        kvs: Positive = KVS, cd: Positive = CD, burst: NotNegative = BURST,
        stroke: Positive = STROKE, rangeability: NotNegative = 0.0,
        frees: Annotated[int, Field(ge=0)] = 0,
        stiction: Annotated[float, Field(gt=0, le=100)] = STICTION,
    ) -> None:  # fmt: skip
        self.supply = supply
        self.kvs, self.cd, self.burst, self.share = kvs, cd, burst, 1.0
        self.stroke, self.rangeability = stroke, rangeability
        self.frees, self.stiction = frees, stiction
        self.valves = [Valve(opening, opening, asked=opening) for _ in range(zones)]
        self.zones = [Zone() for _ in range(zones)]
        self.active: set[str] = set()
        self.commands = {f"v{i}_command": opening for i in range(1, zones + 1)}
        self._names = [
            (f"v{i}_position", f"v{i}_auto", f"z{i}_pressure", f"z{i}_flow", f"z{i}_volume")
            for i in range(1, zones + 1)
        ]
        kinds = (*JAMS, "false_feedback", "gear_off", "hoa_hand", "burst")
        self.faults = numbered(kinds, zones) | {"supply_drop"}
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
        return sum([zone.flow for zone in self.zones])

    def step(self, dt: float) -> None:
        """Valves travel, then flows and pressures settle (the water itself has no inertia)."""
        header, healthy = self.header, not self.active
        for i, command in enumerate(self.commands.values(), 1):
            valve, zone, cd = self.valves[i - 1], self.zones[i - 1], self.cd * self.share
            if healthy and command == valve.asked == valve.motor == valve.plug and not valve.wound:
                valve.still += dt
                valve.strokes = 0
            else:
                self._travel(i, valve, dt)
                cd += self.burst if f"burst:{i}" in self.active else 0.0
            opening = valve.plug / 100
            kv = self.kv(opening) if self.rangeability else self.kvs * opening
            passed = 10 * kv * kv  # as `settled_pressure`, without a call
            zone.pressure = passed * header / (cd * cd + passed)
            zone.flow = cd * sqrt(zone.pressure)
            zone.volume += zone.flow * dt / 3600

    def kv(self, opening: float) -> float:
        """m³/h at 1 bar by the inherent curve: linear, or equal-percentage with `rangeability`."""
        if not self.rangeability:
            return self.kvs * opening
        return self.kvs * self.rangeability ** (opening - 1) if opening > 0 else 0.0

    def _work(self, i: int, valve: Valve, dt: float) -> None:
        """Count the strokes that a jammed valve is asked for; the `frees`-th frees it."""
        command = self.commands[f"v{i}_command"]
        moved = command != valve.asked
        valve.asked = command
        jams = {f"{jam}:{i}" for jam in JAMS} & self.active
        if moved and valve.still >= REST and jams:
            valve.strokes += 1
        valve.still = 0.0 if moved else valve.still + dt
        if not jams:
            valve.strokes = 0
        elif self.frees and valve.strokes >= self.frees:
            self.active -= jams

    def _travel(self, i: int, valve: Valve, dt: float) -> None:
        self._work(i, valve, dt)
        if f"valve_drift:{i}" in self.active:
            valve.motor = approach(valve.motor, RUNAWAY_TO, RUNAWAY * dt)
        elif f"valve_stuck:{i}" not in self.active and f"hoa_hand:{i}" not in self.active:
            drive = valve.motor + valve.wound
            drive = approach(drive, self.commands[f"v{i}_command"], 100 / self.stroke * dt)
            sticks = f"stiction:{i}" in self.active and abs(drive - valve.motor) <= self.stiction
            valve.motor, valve.wound = (
                (valve.motor, drive - valve.motor) if sticks else (drive, 0.0)
            )
        if f"gear_off:{i}" not in self.active:
            plug = RUNAWAY_TO if f"false_feedback:{i}" in self.active else valve.motor
            valve.plug = approach(valve.plug, plug, RUNAWAY * dt)

    def readings(self) -> dict[str, float]:
        """Pressures in MPa, flows in m³/h, volumes in m³, positions in %."""
        flows, volumes = 0.0, 0.0
        seen = {**self.commands, "header_pressure": self.header}
        for i, (position, auto, pressure, flow, volume) in enumerate(self._names):
            zone = self.zones[i]
            seen[position], seen[auto] = self.valves[i].motor, 1.0
            seen[pressure], seen[flow], seen[volume] = zone.pressure, zone.flow, zone.volume
            flows, volumes = flows + zone.flow, volumes + zone.volume
            if self.active:
                seen[auto] = float(f"hoa_hand:{i + 1}" not in self.active)
        seen["header_flow"], seen["header_volume"] = flows, volumes
        return seen
