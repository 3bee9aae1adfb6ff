"""A bed with zones of heads behind a master valve and a pump, a meter, and the weather over it."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.sim.models.model import Count, NotNegative, Percent, Positive, approach, numbered

FLOW = 3.6  # m³/h of one zone: 12 mm/h on 300 m²
BROKEN = 1.4  # of the flow with a broken head
LEAK = 0.2  # m³/h
OPENING = 2.0  # s for a valve to open or shut


class Irrigation:
    """A zone takes its flow when its valve, the master valve and the pump allow it.

    Weather is set, not simulated: `et0` and `rain` in m, `wind` in mm/s, `air` in °C, `soil` in %.
    Faults: `broken_head:n` (40 % more), `valve_shut:n` and `valve_open:n` (stuck), `leak` (runs
    away behind the meter whatever is open).
    """

    dt = 0.5
    noise: Mapping[str, float] = {"zone_flow": 0.02, "soil": 0.2}

    def __init__(
        self, zones: Count = 3, flow: Positive = FLOW, et0: NotNegative = 0.0052,
        rain: NotNegative = 0.0, wind: NotNegative = 1000.0, air: float = 20.0,
        soil: Percent = 30.0,
    ) -> None:  # fmt: skip
        self.flows = [flow] * zones
        self.et0, self.rain, self.wind, self.air, self.soil = et0, rain, wind, air, soil
        self.open = [0.0] * zones
        self.volumes = [0.0] * zones
        self.flow = self.volume = 0.0
        self.active: set[str] = set()
        self.commands = {f"z{i}_valve": 0.0 for i in range(1, zones + 1)}
        self.commands |= {"master_valve": 0.0, "feed_pump": 0.0}
        self.switches = frozenset(self.commands)
        self.faults = numbered(("broken_head", "valve_shut", "valve_open"), zones) | {"leak"}

    def step(self, dt: float) -> None:
        """Valves travel, water runs where it can, the meter counts."""
        fed = self.commands["master_valve"] > 0 and self.commands["feed_pump"] > 0
        self.flow = LEAK if "leak" in self.active else 0.0
        for i in range(len(self.flows)):
            wanted = self.commands[f"z{i + 1}_valve"]
            if f"valve_shut:{i + 1}" in self.active:
                wanted = 0.0
            elif f"valve_open:{i + 1}" in self.active:
                wanted = 1.0
            self.open[i] = approach(self.open[i], wanted, dt / OPENING)
            heads = BROKEN if f"broken_head:{i + 1}" in self.active else 1.0
            flow = self.flows[i] * self.open[i] * heads if fed else 0.0
            self.volumes[i] += flow * dt / 3600
            self.flow += flow
        self.volume += self.flow * dt / 3600

    def readings(self) -> dict[str, float]:
        """Flow in m³/h, volumes in m³, the weather in the units of the class."""
        seen = dict(self.commands)
        seen["zone_flow"], seen["zone_volume"] = self.flow, self.volume
        for name in ("et0", "rain", "wind", "air", "soil"):
            seen[name] = getattr(self, name)
        for i, volume in enumerate(self.volumes, 1):
            seen[f"z{i}_open"], seen[f"z{i}_water"] = self.open[i - 1], volume
        return seen
