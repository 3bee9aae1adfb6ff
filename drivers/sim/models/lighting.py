"""The sun, clouds, and places with lamps: a lobby, a garage lane, a yard.

Equations and constants are those of the acceptance scenarios. Each place counts its energy and what
two baselines would have used: always on at 100 %, and a time clock without dimming.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, pi, sin

from drivers.sim.models.model import NotNegative, Percent, Positive, Share

# Lobby.
DAYLIGHT_FACTOR = 0.01
LAMPS_FULL = 200.0  # lx at 100 %
COVERED = 5.0  # lx
OUT = 0.3  # of a group that is dark where `lamps_out`

# Garage: arrivals as (from minute, to minute, minutes between two).
ARRIVALS = (
    (0, 360, 60.0), (360, 420, 10.0), (420, 540, 1.0), (540, 1020, 10.0), (1020, 1200, 1.5),
    (1200, 1380, 10.0), (1380, 1440, 30.0),
)  # fmt: skip
PASSAGE = 1.0  # s that a sensor sees somebody

SUNNY = 40000.0  # lx outdoors at noon
DAY = 1440.0  # minutes


def clouds(minute: float) -> float:
    """Share of the clear sky that passes, by minute of the day."""
    if not 600 <= minute < 900:
        return 1.0
    return 1 - 0.35 * (0.5 + 0.5 * sin(2 * pi * (minute - 600) / 47))


def daylight(minute: float) -> float:
    """Outdoor illuminance in lx by minute of the day."""
    if not 360 < minute < 1080:
        return 0.0
    return float(SUNNY * sin(pi * (minute - 360) / 720) ** 1.2 * clouds(minute))


class Lamps:
    """A group of dimmable lamps: power and light by level, energy against two baselines.

    `clean` is the share of the light that dirt lets through. After `l70` burning hours they give
    70 % of their light: 50 000 h for LED; the book's lamps never fade. `dark` is the share of them
    that is out.
    """

    def __init__(
        self, standby: float, rated: float, clock: tuple[float, float] = (0.0, DAY), *,
        clean: float = 1.0, hours: float = 0.0, l70: float = inf,
    ) -> None:  # fmt: skip
        self.standby, self.rated, self.clock = standby, rated, clock
        self.clean, self.hours, self.l70, self.dark = clean, hours, l70, 0.0
        self.energy, self.always_on, self.time_clock = 0.0, 0.0, 0.0

    @property
    def efficacy(self) -> float:
        """What is left of the light of new and clean lamps, 0-1."""
        return float(self.clean * (1 - self.dark) * 0.7 ** (self.hours / self.l70))

    def power(self, level: float) -> float:
        """W at a level in percent, standby included."""
        return self.standby + (self.rated - self.standby) * (1 - self.dark) * level / 100

    def burn(self, level: float, minute: float, dt: float) -> None:
        """Count `dt` seconds at a level. The time clock burns from its first minute of the day to
        its second, over midnight where that is earlier."""
        first, last = self.clock
        on = first <= minute < last if first < last else minute >= first or minute < last
        self.energy += self.power(level) * dt / 3.6e6
        self.always_on += self.rated * dt / 3.6e6
        self.time_clock += self.rated * on * dt / 3.6e6
        if level > 0:
            self.hours += dt / 3600

    def readings(self, level: float) -> dict[str, float]:
        """Power in W, energies in kWh, burning hours, light in % of what new lamps give at most."""
        return {
            "power": self.power(level),
            "light": self.efficacy * level,
            "energy": self.energy,
            "always_on": self.always_on,
            "time_clock": self.time_clock,
            "hours": self.hours,
        }


class Lobby:
    """A lobby with dimmable lamps and a ceiling sensor that sees lamps and daylight.

    Faults: `lux_covered` (the sensor reads 5 lx whatever happens), `lux_stuck` (it stays at what
    it saw), `lamps_out` (three of ten are dark).
    """

    dt = 1.0
    switches: frozenset[str] = frozenset()
    faults = frozenset({"lux_covered", "lux_stuck", "lamps_out"})
    noise: Mapping[str, float] = {"illuminance": 0.5, "power": 0.5}

    def __init__(
        self,
        minute: float = 0.0,
        level: Percent = 75.0,
        full_output: Positive = LAMPS_FULL,
        daylight_factor: NotNegative = DAYLIGHT_FACTOR,
        clean: Share = 1.0,
        hours: NotNegative = 0.0,
        l70: Positive = inf,
    ) -> None:
        self.minute, self.full_output, self.daylight_factor = minute, full_output, daylight_factor
        self.lamps = Lamps(6.0, 240.0, clean=clean, hours=hours, l70=l70)
        self.active: set[str] = set()
        self.commands = {"level": level}
        self._seen = self.illuminance

    @property
    def clean(self) -> float:
        """Share of the lamps' light that dirt lets through."""
        return self.lamps.clean

    @clean.setter
    def clean(self, share: float) -> None:
        self.lamps.clean = share

    @property
    def energy(self) -> float:
        """kWh so far."""
        return self.lamps.energy

    @property
    def illuminance(self) -> float:
        """What there is to see, lx."""
        lamps = self.full_output * self.lamps.efficacy * self.commands["level"] / 100
        return self.daylight_factor * daylight(self.minute % DAY) + lamps

    def step(self, dt: float) -> None:
        """The sun moves on; lamps follow their level at once."""
        self.lamps.dark = OUT if "lamps_out" in self.active else 0.0
        self.lamps.burn(self.commands["level"], self.minute % DAY, dt)
        self.minute += dt / 60

    def readings(self) -> dict[str, float]:
        """Illuminances in lx, power in W, energies in kWh, minute of the day."""
        if "lux_stuck" not in self.active:
            self._seen = COVERED if "lux_covered" in self.active else self.illuminance
        return {
            **self.commands,
            "illuminance": self._seen,
            "outdoor": daylight(self.minute % DAY),
            **self.lamps.readings(self.commands["level"]),
            "minute": self.minute % DAY,
        }


class Garage:
    """A garage lane without daylight: a presence sensor that people pass by the timetable.

    `passage` is how long the sensor sees somebody, in seconds. Faults: `pir_stuck` (it always sees
    somebody), `pir_blind` (never), `lamps_out` (three of ten are dark), `sensor_bad:motion` of the
    rig.
    """

    dt = 1.0
    switches: frozenset[str] = frozenset()
    faults = frozenset({"pir_stuck", "pir_blind", "lamps_out"})
    noise: Mapping[str, float] = {"power": 2.0}

    def __init__(
        self, minute: float = 0.0, level: Percent = 30.0, passage: Positive = PASSAGE,
        clean: Share = 1.0, hours: NotNegative = 0.0, l70: Positive = inf,
    ) -> None:  # fmt: skip
        self.minute, self.passage = minute, passage
        self.lamps = Lamps(50.0, 1600.0, clean=clean, hours=hours, l70=l70)
        self.active: set[str] = set()
        self.commands = {"level": level}

    @property
    def motion(self) -> bool:
        """Whether somebody passes at this moment."""
        minute = round(self.minute * 60) / 60 % DAY  # whole seconds: sums of 1/60 drift
        for first, last, between in ARRIVALS:
            if first <= minute < last:
                return (minute - first) * 60 % (between * 60) < self.passage - 1e-6
        return False

    def step(self, dt: float) -> None:
        """Time goes on; lamps follow their level at once."""
        self.lamps.dark = OUT if "lamps_out" in self.active else 0.0
        self.lamps.burn(self.commands["level"], self.minute % DAY, dt)
        self.minute += dt / 60

    def readings(self) -> dict[str, float]:
        """Presence 0 or 1, power in W, energies in kWh, minute of the day."""
        seen = self.motion and "pir_blind" not in self.active
        return {
            **self.commands,
            "motion": float(seen or "pir_stuck" in self.active),
            **self.lamps.readings(self.commands["level"]),
            "minute": self.minute % DAY,
        }


class Outdoor:
    """A yard: lamps on a contactor `on` with a dimming `level`, and a sensor that sees the sky.

    Faults: `lux_covered` (leaves lie on the sensor, it reads 5 lx), `lamps_out` (three of ten are
    dark).
    """

    dt = 1.0
    switches = frozenset({"on"})
    faults = frozenset({"lux_covered", "lamps_out"})
    noise: Mapping[str, float] = {"illuminance": 0.5, "power": 1.0}

    def __init__(
        self, minute: float = 0.0, on: Share = 1.0, level: Percent = 100.0,
        clean: Share = 1.0, hours: NotNegative = 0.0, l70: Positive = inf,
    ) -> None:  # fmt: skip
        self.minute = minute
        self.lamps = Lamps(
            10.0, 600.0, clock=(1080.0, 360.0), clean=clean, hours=hours, l70=l70
        )  # fmt: skip
        self.active: set[str] = set()
        self.commands = {"on": on, "level": level}

    @property
    def lit(self) -> float:
        """The level of the lamps in percent, 0 while the contactor is open."""
        return self.commands["level"] * self.commands["on"]

    def step(self, dt: float) -> None:
        """The sun moves on; lamps follow at once."""
        self.lamps.dark = OUT if "lamps_out" in self.active else 0.0
        self.lamps.burn(self.lit, self.minute % DAY, dt)
        self.minute += dt / 60

    def readings(self) -> dict[str, float]:
        """Illuminance in lx, power in W, energies in kWh, minute of the day."""
        covered = "lux_covered" in self.active
        return {
            **self.commands,
            "illuminance": COVERED if covered else daylight(self.minute % DAY),
            **self.lamps.readings(self.lit),
            "minute": self.minute % DAY,
        }
