"""A rig: simulated equipment on one clock, with couplings, sensor faults and noise.

Not equipment itself and not a protocol; times come from its caller, who may be on virtual time.
Used by `driver.py` in-process and by `equipment.py` behind real sockets.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor, nan

from drivers.sim.models.model import Model

SENSOR_FAULTS = ("sensor_jump", "sensor_bad", "sensor_frozen")
JUMP = 0.25  # a jumped sensor stays at this part of what it last saw
_DICE = random.Random(1)
NORMAL = tuple(_DICE.gauss(0.0, 1.0) for _ in range(4096))  # noise: drawn once, walked through
STRIDE = 1597  # odd, so that a walk comes to each of them before it repeats


class Rig:
    """Models by name, advanced together in ticks of the shortest step; equal calls, equal values.

    The step of every model is a whole number of ticks.
    `couplings` run after each tick and carry one model's results to another; `coupled` says by
    target of which (all of all unless given). `noise` scales the sensors' standard deviations: 0
    for none, 1 for realistic. No model takes steps that are shorter
    than `shortest`; it, `noise` and `seed` may be set until the first step.
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
        self.shortest = 0.0  # s
        self._ticks = 0
        self._origin: float | None = None
        self._length = 0.0  # s, of a tick
        self._steps: list[tuple[int, float, str, Model]] = []  # each this many ticks, by dt
        self._sensors: dict[str, dict[str, float]] = {name: {} for name in models}
        self._noisy: list[str] = []  # models that show something else after every tick
        self._chances: dict[str, list[tuple[str, float, int]]] = {}
        self._shown: dict[str, dict[str, float]] = {}  # readings of this tick, by model

    def advance_to(self, now: float) -> None:
        """Step everything up to `now` in seconds; the first call only says when time began."""
        if self._origin is None:
            self._origin = now
            steps = [(max(m.dt, self.shortest), name, m) for name, m in self.models.items()]
            self._noisy = [name for name, m in self.models.items() if self.noise and m.noise]
            self._length = min((dt for dt, _, _ in steps), default=1.0)
            self._steps = [(round(dt / self._length), dt, name, m) for dt, name, m in steps]
        for _ in range(floor((now - self._origin) / self._length + 1e-6) - self._ticks):
            self._tick()

    def _tick(self) -> None:
        self._ticks += 1
        shown, stepped = self._shown, set()
        for name in self._noisy:
            shown.pop(name, None)
        for every, dt, name, model in self._steps:
            if self._ticks % every == 0:
                model.step(dt)
                shown.pop(name, None)
                stepped.add(name)
        for couple in self._couplings:
            couple()
        for name, sources in self._coupled.items():
            if not stepped.isdisjoint(sources):
                shown.pop(name, None)
                stepped.add(name)

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
                # Meters do not show less than nothing.
                error = deviation * NORMAL[(first + ticks) % len(NORMAL)]
                seen[variable] = max(seen[variable] + error, 0.0)
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
