"""The kernel: one loop over a program's instructions, compiled by numba, or run as plain Python.

Step functions stay plain functions in `edge/blocks`; the compiled kernel is made of copies of them
(`edge/rules/compiled.py`), so both can be run side by side. Compiled once into a cache directory
(`edge compile`), loaded from there afterwards.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edge.blocks
from edge.blocks.alarming import condition_step, limit_step
from edge.blocks.booster import booster_step
from edge.blocks.calendar import calendar_step, clock_step
from edge.blocks.conditioning import conditioning_step
from edge.blocks.cooling_tower import cooling_tower_step
from edge.blocks.correct import correction_step
from edge.blocks.dali import analog_dimmer_step, dali_step
from edge.blocks.daylight import daylight_step
from edge.blocks.daylight_open import daylight_open_step
from edge.blocks.dry_run import dry_run_step
from edge.blocks.fire_water import fire_water_step
from edge.blocks.irrigation import irrigation_step
from edge.blocks.lamp_power import lamp_power_step
from edge.blocks.lift import lift_step
from edge.blocks.logic import hysteresis_step, scale_step, value_step
from edge.blocks.occupancy import occupancy_step
from edge.blocks.operators import (
    absolute,
    add,
    all_true,
    any_true,
    certain,
    choose,
    divide,
    equal,
    greater,
    greater_equal,
    greatest,
    less,
    less_equal,
    multiply,
    negated,
    negative,
    smallest,
    subtract,
    unequal,
)
from edge.blocks.photocell import photocell_step
from edge.blocks.pid import pid_step
from edge.blocks.protection import (
    first_out_step,
    interlock_step,
    permissive_step,
    trip_step,
)
from edge.blocks.ramp import ramp_step
from edge.blocks.rotation import rotation_step
from edge.blocks.schedule import step_schedule
from edge.blocks.sump import sump_step
from edge.blocks.timing import delay_step
from edge.blocks.tower_guard import tower_guard_step
from edge.blocks.valve import valve_step
from edge.blocks.valve_exercise import valve_exercise_step
from edge.blocks.zone_event import zone_loss_step
from edge.image import quality
from edge.image.image import Bits, Floats, Index, ProcessImage
from edge.rules.program import FIRST_KIND, Program

EARLY = 1e-6  # seconds before its time an instruction may run: scan times are sums
SHORTEST, LONGEST = 0.2, 3.0  # of the period: what dt may be; beyond, it is a restart
GAP = 3.0  # seconds: the same for what runs every scan


def walk(
    code: NDArray[np.int32], timing: NDArray[np.float64], ops: Index, par: Floats, st: Floats,
    v: Floats, q: Bits, now: float,
) -> None:  # fmt: skip
    """Run every instruction that is due. The numbers are those of `program.OPCODES`."""
    for i in range(code.shape[0]):
        op, o, n = code[i, 0], code[i, 1], code[i, 2]
        if op < FIRST_KIND:
            if op == 0:
                all_true(v, q, ops, o, n)
            elif op == 1:
                any_true(v, q, ops, o, n)
            elif op == 2:
                negated(v, q, ops, o, n)
            elif op == 3:
                certain(v, q, ops, o, n)
            elif op == 4:
                choose(v, q, ops, o, n)
            elif op == 5:
                less(v, q, ops, o, n)
            elif op == 6:
                less_equal(v, q, ops, o, n)
            elif op == 7:
                greater(v, q, ops, o, n)
            elif op == 8:
                greater_equal(v, q, ops, o, n)
            elif op == 9:
                equal(v, q, ops, o, n)
            elif op == 10:
                unequal(v, q, ops, o, n)
            elif op == 11:
                add(v, q, ops, o, n)
            elif op == 12:
                subtract(v, q, ops, o, n)
            elif op == 13:
                multiply(v, q, ops, o, n)
            elif op == 14:
                divide(v, q, ops, o, n)
            elif op == 15:
                negative(v, q, ops, o, n)
            elif op == 16:
                absolute(v, q, ops, o, n)
            elif op == 17:
                smallest(v, q, ops, o, n)
            elif op == 18:
                greatest(v, q, ops, o, n)
            else:
                raise ValueError("unknown operator in the program")
            continue

        every, elapsed = timing[i, 0], now - timing[i, 1]
        if elapsed < every - EARLY:
            continue
        timing[i, 1] = now
        if every > 0.0:
            dt = max(elapsed, SHORTEST * every) if elapsed <= LONGEST * every else 0.0
        else:
            dt = max(elapsed, EARLY) if elapsed <= GAP else 0.0
        p, s = code[i, 3], code[i, 4]
        if op == 19:
            value_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 20:
            delay_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 21:
            hysteresis_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 22:
            scale_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 23:
            conditioning_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 24:
            ramp_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 25:
            pid_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 26:
            interlock_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 27:
            trip_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 28:
            limit_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 29:
            condition_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 30:
            step_schedule(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 31:
            daylight_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 32:
            valve_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 33:
            booster_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 34:
            zone_loss_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 35:
            sump_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 36:
            dry_run_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 37:
            irrigation_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 38:
            calendar_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 39:
            clock_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 40:
            daylight_open_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 41:
            photocell_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 42:
            occupancy_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 43:
            dali_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 44:
            analog_dimmer_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 45:
            lamp_power_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 46:
            permissive_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 47:
            first_out_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 48:
            correction_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 49:
            valve_exercise_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 50:
            cooling_tower_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 51:
            tower_guard_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 52:
            rotation_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 53:
            fire_water_step(v, q, ops, o, n, par, p, st, s, now, dt)
        elif op == 54:
            lift_step(v, q, ops, o, n, par, p, st, s, now, dt)
        else:
            raise ValueError("unknown kind in the program")


@dataclass(frozen=True, slots=True)
class Kernel:
    """`walk`, ready to run. `cache` is where compiled code is kept, None when nowhere or plain."""

    walk: Callable[..., None]
    compiled: bool
    cache: Path | None

    def run(self, program: Program, image: ProcessImage, now: float) -> None:
        """Run the instructions of `program` that are due at site time `now`."""
        self.walk(
            program.code, program.timing, program.ops, program.par, program.state,
            image.value, image.quality, now,
        )  # fmt: skip


def plain_kernel() -> Kernel:
    """The same functions as plain Python: for debugging and coverage."""

    def quiet(*arguments: Any) -> None:
        with np.errstate(all="ignore"):  # as the compiled one: NaN and infinity, no warnings
            walk(*arguments)

    return Kernel(quiet, compiled=False, cache=None)


def compile_kernel() -> Kernel:
    """Load the compiled kernel, compiling what has changed since the last time.

    Takes a minute or more when it compiles everything, some tenths of a second when it loads. Plain
    Python when compilation is switched off by NUMBA_DISABLE_JIT=1 or EDGE_JIT=0.
    """
    if switched_off():
        return plain_kernel()
    from edge.rules import compiled  # noqa: PLC0415 - numba takes its time

    directory = cache_directory()
    run, kept = compiled.compiled(walk, directory)
    return Kernel(run, compiled=True, cache=directory if kept else None)


def compiled_before() -> bool:
    """Whether `compile_kernel` needs to compile nothing."""
    if switched_off():
        return True
    from edge.rules import compiled  # noqa: PLC0415 - numba takes its time

    return compiled.compiled_before(walk, cache_directory())


def switched_off() -> bool:
    """Whether the environment wants no compilation."""
    return os.environ.get("EDGE_JIT") == "0" or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"


def digest() -> str:
    """What tells one version of the kernel's sources from another, whatever the machine."""
    blocks = Path(edge.blocks.__path__[0])
    total = hashlib.sha256()
    for source in (*sorted(blocks.glob("*.py")), Path(__file__), Path(str(quality.__file__))):
        total.update(source.read_bytes())
    return total.hexdigest()[:16]


def cache_directory() -> Path | None:
    """The first writable directory for compiled code, None when there is none."""
    for base in _bases():
        directory = base / "kernel"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return None


def _bases() -> Iterator[Path]:
    for variable in ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY"):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    try:
        yield Path.home() / ".cache" / "edge"
    except RuntimeError:  # a user without a home
        return
