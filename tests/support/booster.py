"""A simulated pump set under the booster block alone: plain Python, no kernel, no site."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest

from drivers.sim.models.booster import H0
from drivers.sim.models.booster import Booster as Plant
from drivers.sim.models.model import MPA_PER_METRE
from edge.blocks.booster import BOOSTER
from edge.image.quality import SENSOR
from tests.support.block import Instance

REFERENCE: dict[str, Any] = {
    "filter": "0s", "deadband": 0.0, "minimum_speed": "70 %", "shutoff_head": "65 m", "duty": 3,
}  # fmt: skip
"""The settings of the reference simulation."""


class Set:
    """Pumps under the block: hydraulics every 0.1 s, control every 0.5 s, control first.

    The book's three pumps, unless another `plant` is handed in.
    """

    def __init__(
        self, speed: float = 82.64, demand: float = 6.0, plant: Plant | None = None, **options: Any
    ) -> None:
        self.plant = plant or Plant(demand=demand)
        self.numbers = range(1, len(self.plant.pumps) + 1)
        pumps = [
            {**{k: f"p{i}.{k}" for k in ("run", "speed", "running", "fault")}, "hoa": f"p{i}.auto"}
            for i in self.numbers
        ]
        self.block = Instance(
            BOOSTER,
            {
                "pressure": "pressure",
                "setpoint": "0.40 MPa",
                "pumps": pumps,
                **REFERENCE,
                **options,
            },
        )
        self.plant.run_at(speed)
        self.tick = 0
        self.trace: list[tuple[float, float]] = []
        self.sensor = True
        self.read()
        for i in self.numbers:
            self.block[f"p{i}.run"] = float(i == 1)
            if f"p{i}.speed" in self.block.index:
                self.block[f"p{i}.speed"] = speed if i == 1 else 0.0

    @property
    def now(self) -> float:
        return self.tick * 0.1

    def read(self) -> None:
        seen = self.plant.readings()
        if self.sensor:
            self.block["pressure"] = seen["discharge_pressure"]
        else:
            self.block.bad("pressure", SENSOR)
        for i in self.numbers:
            for name in ("running", "fault", "auto"):
                if f"p{i}.{name}" in self.block.index:
                    self.block[f"p{i}.{name}"] = seen[f"p{i}_{name}"]

    def run(self, seconds: float) -> None:
        """Let time pass and keep the pressures, by the time of the start of the step."""
        for _ in range(round(seconds / 0.1)):
            if self.tick % 5 == 0:
                self.read()
                self.block.step(self.now)
                for i in self.numbers:
                    for name, command in (("run", "run"), ("speed", "reference")):
                        if f"p{i}.{name}" not in self.block.index:
                            continue
                        self.plant.commands[f"p{i}_{command}"] = self.block[f"p{i}.{name}"]
            self.plant.step(0.1)
            self.trace.append((self.now, self.plant.pressure))
            self.tick += 1

    def settled(self, **options: Any) -> Set:
        self.run(60)
        assert self.plant.pressure == pytest.approx(0.40, abs=1e-3)
        self.trace.clear()
        return self

    def when(self, name: str, value: float, limit: float = 7200.0) -> float:
        """Let time pass until the published point has this value; gives how long that took."""
        start = self.now
        while self.block[name] != value:
            self.run(0.5)
            assert self.now - start < limit, f"{name} is {self.block[name]}, not {value}"
        return self.now - start

    def stuck_at(self, pressure: float) -> None:
        """From now on the pumps turn as commanded and the pressure does not move."""

        def step(_: float) -> None:
            self.plant.pressure = pressure
            for i, pump in enumerate(self.plant.pumps, 1):
                pump.delivers = self.plant.commands[f"p{i}_run"] > 0

        self.plant.step = step  # type: ignore[method-assign]
        self.plant.pressure = pressure

    def lowest(self) -> float:
        return min(pressure for _, pressure in self.trace)

    def back_in_band(self) -> float:
        """Seconds from the start of the trace to the last moment outside 0.40 ± 0.01 MPa."""
        start = self.trace[0][0]
        outside = [t for t, pressure in self.trace if abs(pressure - 0.40) > 0.01]
        return max(outside) + 0.1 - start if outside else 0.0

    def asked(self, name: str) -> list[float]:
        return [self.block.request(f"p{i}.{name}") for i in self.numbers]


def no_flow_speed(pressure: float) -> float:
    """s0 of the book's pump in %."""
    return 100 * sqrt(pressure / MPA_PER_METRE / H0)
