"""A bearing that warms with its load and the weather and, worn, beyond both; a machine on one.

`Bearing` stands in the model of what it carries (a cooling tower's fan); `Machine` is one to put
behind a temperature and a vibration transmitter. What a trend makes of it is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Literal

from drivers.sim.models.model import NotNegative, Percent, Positive

RISE = 22.0  # K above ambient at full load
WARM_UP = 1800.0  # s
WEAR_RATE = 0.9  # K/h: what the trend of a failing bearing shows
VELOCITY = 1.6  # mm/s r.m.s., of a healthy pump of general duty
WEAR_VELOCITY = 0.055  # more vibration per K of wear: 1.6 times as much at 10.9 K
START, START_TIME = 3.0, 10.0  # a start shakes so many times more, and that dies away in s
SPIKE = 95.0  # °C

# The arrays of the acceptance scenarios, each value the median of its hour: a bearing whose
# residual grows by 0.9 K/h under changing weather, with a spike in hour 5, at 80 % of full load.
BOOK_AMBIENT = (26.0, 26.5, 27.0, 27.5, 28.0, 28.5, 29.0, 29.0, 28.5, 28.0, 27.5, 27.0)
BOOK_TEMPERATURE = (44.7, 45.8, 47.4, 49.1, 50.1, SPIKE, 52.7, 54.0, 54.3, 54.6, 55.3, 55.4)
BOOK_LOAD = 80.0


class Bearing:
    """T = ambient + rise·load^gamma + wear, by a first order of `warm_up` seconds. While it turns
    `worn`, the wear grows by `wear_rate` K/h; what has gone does not come back by itself."""

    def __init__(
        self, ambient: float = 26.0, *, rise: float = RISE, gamma: float = 1.0,
        warm_up: float = WARM_UP, wear_rate: float = WEAR_RATE,
    ) -> None:  # fmt: skip
        self.temperature, self.wear = ambient, 0.0
        self.rise, self.gamma, self.warm_up, self.wear_rate = rise, gamma, warm_up, wear_rate

    def settled(self, ambient: float, load: float) -> float:
        """The temperature that it comes to; `load` is the share of full power, 0 at standstill."""
        return float(ambient + (self.rise * load**self.gamma + self.wear if load > 0 else 0.0))

    def step(self, dt: float, ambient: float, load: float, worn: bool) -> None:
        """Wear, and warm or cool."""
        if worn and load > 0:
            self.wear += self.wear_rate / 3600 * dt
        goal = self.settled(ambient, load)
        self.temperature += (goal - self.temperature) * min(dt / self.warm_up, 1.0)

    @property
    def shakes(self) -> float:
        """How many times as much as new it vibrates."""
        return 1 + WEAR_VELOCITY * self.wear


class Machine:
    """A machine on one bearing that turns while `run` is 1, under `load` (% of full power) in
    air of `ambient` °C that becomes warmer by `drift` K/h. It begins run in, as after a long day.

    `velocity` is what a new bearing vibrates, mm/s r.m.s.; a start shakes four times as much, and
    that dies away within the minute for which it has to be ignored. `play: book` shows the arrays
    of the acceptance scenarios instead of its own temperatures, hour by hour from the first step
    on; after the twelfth it stays at the last.

    Faults: `worn` (wears by `wear_rate` K/h), `spike` (the transmitter shows 95 °C meanwhile).
    """

    dt = 1.0
    switches = frozenset({"run"})
    faults = frozenset({"worn", "spike"})
    noise: Mapping[str, float] = {"temperature": 0.1, "ambient": 0.1, "velocity": 0.05}

    def __init__(
        self, ambient: float = 26.0, load: Percent = BOOK_LOAD,
        drift: float = 0.0, rise: NotNegative = RISE, gamma: Positive = 1.0,
        warm_up: Positive = WARM_UP, wear_rate: NotNegative = WEAR_RATE,
        velocity: NotNegative = VELOCITY, play: Literal["", "book"] = "",
    ) -> None:  # fmt: skip
        self.ambient, self.load, self.drift, self.velocity = ambient, load, drift, velocity
        self.bearing = Bearing(
            ambient, rise=rise, gamma=gamma, warm_up=warm_up, wear_rate=wear_rate
        )  # fmt: skip
        self.bearing.temperature = self.bearing.settled(ambient, load / 100)
        self.book = play == "book"
        self.seconds, self.turns = 0.0, 3600.0  # since the first step; since the start
        self.active: set[str] = set()
        self.commands = {"run": 1.0}

    def step(self, dt: float) -> None:
        """Weather, start or standstill, wear and warmth."""
        self.seconds += dt
        self.ambient += self.drift / 3600 * dt
        self.turns = self.turns + dt if self.commands["run"] else 0.0
        share = self.load / 100 if self.turns else 0.0
        self.bearing.step(dt, self.ambient, share, "worn" in self.active)

    def readings(self) -> dict[str, float]:
        """Temperatures in °C, load in %, velocity in mm/s; `wear` in K no sensor shows."""
        ambient, temperature = self.ambient, self.bearing.temperature
        if self.book:
            hour = min(int(self.seconds / 3600), len(BOOK_AMBIENT) - 1)
            ambient, temperature = BOOK_AMBIENT[hour], BOOK_TEMPERATURE[hour]
        shaken = 1 + START * exp(-self.turns / START_TIME) if self.turns else 0.0
        return {
            **self.commands,
            "temperature": SPIKE if "spike" in self.active else temperature,
            "ambient": ambient,
            "load": self.load if self.turns else 0.0,
            "velocity": self.velocity * self.bearing.shakes * shaken,
            "running": float(self.turns > 0),
            "wear": self.bearing.wear,
        }
