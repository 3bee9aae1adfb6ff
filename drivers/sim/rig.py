"""A rig: simulated equipment on one clock, with couplings, sensor faults and noise.

Not equipment itself and not a protocol; times come from its caller, who may be on virtual time.
Used by `driver.py` in-process and by `equipment.py` behind real sockets.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import floor, gcd, inf, nan

from drivers.sim.models.model import Model

SENSOR_FAULTS = ("sensor_jump", "sensor_bad", "sensor_frozen")
LONGEST = 0.5  # s: a step that is left out at most, whoever looks; Euler needs it
JUMP = 0.25  # a jumped sensor stays at this part of what it last saw
_DICE = random.Random(1)
NORMAL = tuple(_DICE.gauss(0.0, 1.0) for _ in range(4096))  # noise: drawn once, walked through
STRIDE = 1597  # odd, so that a walk comes to each of them before it repeats


@dataclass(frozen=True, slots=True)
class _Pace:
    """Models that step together, `every` so many ticks, by `dt`. `stale` shows something else
    afterwards: they and what they are coupled to."""

    every: int
    dt: float
    steps: tuple[Callable[[float], None], ...]
    stale: tuple[str, ...]


class Rig:
    """Models by name, advanced together in ticks; equal calls, equal values.

    `couplings` run after each tick and carry one model's results to another; `coupled` says by
    target of which (all of all unless given). `noise` scales the sensors' standard deviations: 0
    for none, 1 for realistic. `looks` says by model every how many seconds somebody looks at it;
    then it steps as often, or as often as what it is coupled to needs, if its own step is shorter.
    Without `looks` all take their own steps. It, `noise` and `seed` may be set until the first.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        couplings: Sequence[Callable[[], None]] = (),
        coupled: Mapping[str, Collection[str]] | None = None,
        noise: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.models = dict(models)
        self._couplings = tuple(couplings)
        everything = dict.fromkeys(models, models) if couplings else {}
        self._coupled = everything if coupled is None else coupled
        self.noise = noise
        self.seed = seed
        self.looks: Mapping[str, float] = {}
        self._ticks = 0
        self._origin: float | None = None
        self._length = 0.0  # s, of a tick
        self._paces: list[_Pace] = []
        self._noisy: tuple[str, ...] = ()  # models that show something else after every tick
        self._sensors: dict[str, dict[str, float]] = {name: {} for name in models}
        self._chances: dict[str, list[tuple[str, float, int]]] = {}
        self._shown: dict[str, dict[str, float]] = {}  # readings of this tick, by model

    def advance_to(self, now: float) -> None:
        """Step everything up to `now` in seconds; the first call only says when time began."""
        if self._origin is None:
            self._origin = now
            self._arrange()
        for _ in range(floor((now - self._origin) / self._length + 1e-6) - self._ticks):
            self._tick()

    def moves(self, model: str, variables: Collection[str]) -> float:
        """Seconds between two moments at which a model may show something else there by itself;
        they are counted from the first call of `advance_to`."""
        if self._origin is None:
            self._arrange()
        if model in self._noisy and not self.models[model].noise.keys().isdisjoint(variables):
            return self._length
        return min(pace.dt for pace in self._paces if model in pace.stale)

    def _arrange(self) -> None:
        """Put the models into paces. Steps are whole milliseconds."""
        steps = {name: max(1, round(1000 * self._dt(name))) for name in self.models}
        tick = gcd(*steps.values()) or 1000
        self._length = tick / 1000
        self._noisy = tuple(name for name, m in self.models.items() if self.noise and m.noise)
        self._paces = []
        for step in sorted(set(steps.values())):
            mine = [name for name, own in steps.items() if own == step]
            stale = dict.fromkeys(name for own in mine for name in self._reached(own))
            moving = tuple(self.models[name].step for name in mine)
            self._paces.append(_Pace(step // tick, step / 1000, moving, tuple(stale)))

    def _dt(self, name: str) -> float:
        own = self.models[name].dt
        if not self.looks:
            return own
        return max(own, min(LONGEST, *(self.looks.get(n, inf) for n in self._reached(name))))

    def _reached(self, name: str) -> list[str]:
        """The model and all to which its results are carried, however indirectly."""
        found = [name]
        for reached in found:
            found += [target for target, sources in self._coupled.items()
                      if reached in sources and target not in found]  # fmt: skip
        return found

    def _tick(self) -> None:
        self._ticks += 1
        shown = self._shown
        for name in self._noisy:
            shown.pop(name, None)
        for pace in self._paces:
            if self._ticks % pace.every == 0:
                for step in pace.steps:
                    step(pace.dt)
                for name in pace.stale:
                    shown.pop(name, None)
        for couple in self._couplings:
            couple()

    def read(self, model: str, variable: str) -> float:
        """What the sensor of `variable` shows now, NaN when it is bad. KeyError: no such one."""
        return self.shown(model)[variable]

    def shown(self, model: str) -> Mapping[str, float]:
        """What all sensors of a model show now; the same until the next tick, write or fault."""
        if model not in self._shown:
            self._shown[model] = self._show(model)
        return self._shown[model]

    def _show(self, model: str) -> dict[str, float]:
        seen = self.models[model].readings()
        if self.noise:
            ticks = self._ticks * STRIDE
            for variable, deviation, first in self._chance(model):
                value = seen[variable] + deviation * NORMAL[(first + ticks) % len(NORMAL)]
                seen[variable] = 0.0 if value < 0.0 else value  # meters show no less than nothing
        if self._sensors[model]:
            seen.update(self._sensors[model])
        return seen

    def _chance(self, model: str) -> list[tuple[str, float, int]]:
        """Of each sensor with noise its deviation, and where its walk through `NORMAL` begins: what
        it shows depends on the tick, not on how often somebody reads."""
        if model not in self._chances:
            self._chances[model] = [
                (name, deviation * self.noise, zlib.crc32(f"{self.seed} {model} {name}".encode()))
                for name, deviation in self.models[model].noise.items() if deviation
            ]  # fmt: skip
        return self._chances[model]

    def write(self, model: str, variable: str, value: float) -> None:
        """Command `variable`. KeyError: cannot be written; ValueError: not a value for it."""
        commands = self.models[model].commands
        if variable not in commands:
            raise KeyError(variable)
        switch = variable in self.models[model].switches
        if not (value in (0, 1) if switch else 0 <= value <= 100):
            raise ValueError(f"{variable} takes {'0 or 1' if switch else '0-100'}, not {value:g}")
        commands[variable] = value
        self._shown.pop(model, None)

    def faults(self, model: str) -> frozenset[str]:
        """The names that `start` and `stop` know for one model."""
        sensors = self.models[model].readings().keys() - self.models[model].commands.keys()
        ours = frozenset(f"{kind}:{name}" for kind in SENSOR_FAULTS for name in sensors)
        return self.models[model].faults | ours

    def start(self, model: str, fault: str) -> None:
        """Let `fault` happen; KeyError when the model has none of this name."""
        if fault not in self.faults(model):
            raise KeyError(fault)
        self._shown.pop(model, None)
        kind, _, part = fault.partition(":")
        if kind in SENSOR_FAULTS:
            seen = self.models[model].readings()[part]
            shown = {"sensor_bad": nan, "sensor_jump": JUMP * seen, "sensor_frozen": seen}
            self._sensors[model][part] = shown[kind]
        else:
            self.models[model].active.add(fault)

    def stop(self, model: str, fault: str) -> None:
        """Repair `fault`; nothing happens when it is not active."""
        if fault not in self.faults(model):
            raise KeyError(fault)
        self._shown.pop(model, None)
        kind, _, part = fault.partition(":")
        if kind in SENSOR_FAULTS:
            self._sensors[model].pop(part, None)
        else:
            self.models[model].active.discard(fault)
