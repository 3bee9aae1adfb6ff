"""The kernel itself: periods and dt, where compiled code is kept, running without compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from math import nan
from pathlib import Path

import numpy as np
import pytest

from edge.blocks import INTERNAL, KINDS
from edge.rules import compiled as compiled_module
from edge.rules import kernel as kernel_module
from edge.rules.kernel import Kernel
from edge.rules.program import OPCODE


def dts(monkeypatch: pytest.MonkeyPatch, every: float, times: list[float]) -> list[float | None]:
    """The dt with which a block ran at each time, None where it did not."""
    seen: list[float] = []
    monkeypatch.setattr(kernel_module, "value_step", lambda *a: seen.append(a[-1]))
    code = np.array([[OPCODE["value"], 0, 0, 0, 0]], np.int32)
    timing, empty = np.array([[every, nan]]), np.zeros(0)
    found: list[float | None] = []
    for now in times:
        seen.clear()
        kernel_module.walk(
            code, timing, np.zeros(0, np.int32), empty, empty, empty, np.zeros(0, np.uint16), now
        )
        found.append(round(seen[0], 9) if seen else None)
    return found


def test_dt_of_a_block_with_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 at first and after more than three periods, else as measured; skipped until due."""
    times = [10.0, 10.4, 10.5, 11.2, 12.7, 14.3, 14.8]
    assert dts(monkeypatch, 0.5, times) == [0.0, None, 0.5, 0.7, 1.5, 0.0, 0.5]


def test_dt_of_a_block_in_every_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """As measured, never 0 but for a new start, at most three seconds."""
    times = [10.0, 10.002, 10.002, 13.002, 16.102]
    assert dts(monkeypatch, 0.0, times) == [0.0, 0.002, 1e-6, 3.0, 0.0]


def test_periods_survive_the_rounding_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summed 0.1 s scans hit every fifth, for as long as one likes."""
    now, times = 0.0, []
    for _ in range(5001):
        times.append(now)
        now += 0.1
    ran = [k for k, dt in enumerate(dts(monkeypatch, 0.5, times)) if dt is not None]
    assert ran == list(range(0, 5001, 5))


def python(code: str, **environment: str) -> str:
    cleared = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=cleared | environment, capture_output=True, text=True,
        check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


STATE = "from edge.rules.kernel import compile_kernel as c; k = c(); print(k.compiled, k.cache)"


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["EDGE_JIT", "NUMBA_DISABLE_JIT"])
def test_compilation_can_be_switched_off(switch: str) -> None:
    """EDGE_JIT=0 or NUMBA_DISABLE_JIT=1: the same functions as plain Python, nothing is cached."""
    assert python(STATE, **{switch: "0" if switch == "EDGE_JIT" else "1"}) == "False None"


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NUMBA_CACHE_DIR before $CACHE_DIRECTORY before ~/.cache/edge."""
    places = [tmp_path / name for name in ("numba", "systemd", "home")]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(places[0]))
    monkeypatch.setenv("CACHE_DIRECTORY", str(places[1]))
    monkeypatch.setenv("HOME", str(places[2]))
    assert kernel_module.cache_directory() == places[0] / "kernel"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert kernel_module.cache_directory() == places[1] / "kernel"
    monkeypatch.delenv("CACHE_DIRECTORY")
    assert kernel_module.cache_directory() == places[2] / ".cache/edge" / "kernel"


def test_without_a_writable_directory_there_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the directory should be: None, so that the caller can say so, and no error."""
    (tmp_path / "file").write_text("")
    for name in ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    assert kernel_module.cache_directory() is None


def small_step(v, q, ops, o, n, par, p, st, s, now, dt):  # type: ignore[no-untyped-def]
    """A step that compiles in a moment."""
    v[o] = grown(v[o])


def grown(value):  # type: ignore[no-untyped-def]
    """What the small step calls."""
    return value + GROWTH


def small_walk(code, timing, ops, par, st, v, q, now):  # type: ignore[no-untyped-def]
    """A chain of one."""
    small_step(v, q, ops, code[0, 1], code[0, 2], par, code[0, 3], st, code[0, 4], now, now)


GROWTH = 1.0


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kernel of one step in place of the real one; gives where its code is kept."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_module, "walk", small_walk)
    for function in (small_step, grown):  # as if they stood among the blocks
        monkeypatch.setattr(function, "__module__", "edge.blocks.logic")
    compiled_module.digest.cache_clear()
    yield tmp_path / "kernel"
    compiled_module.digest.cache_clear()


def run_small(kernel: Kernel) -> float:
    """What the small kernel makes of 1.0."""
    v = np.array([1.0])
    kernel.walk(
        np.zeros((1, 5), np.int32), np.zeros((1, 2)), np.zeros(0, np.int32), np.zeros(0),
        np.zeros(0), v, np.zeros(0, np.uint16), 0.0,
    )  # fmt: skip
    return float(v[0])


def made(directory: Path) -> dict[str, int]:
    """When each file of compiled code was written."""
    return {file.name: file.stat().st_mtime_ns for file in directory.glob("*.code")}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["small_walk", "small_step"])
def test_damaged_code_is_made_anew(part: str, small: Path) -> None:
    """Half a file, as a power cut leaves it, costs the compilation of that file, no more."""
    assert run_small(kernel_module.compile_kernel()) == 2.0
    (damaged,) = small.glob(f"{part}-*.code")
    os.truncate(damaged, damaged.stat().st_size // 2)
    next(small.glob("small_walk-*")).unlink()  # else nobody needs the step
    before = made(small)
    assert not kernel_module.compiled_before()
    assert run_small(kernel_module.compile_kernel()) == 2.0
    again = made(small)
    changed = {name for name in again if again[name] != before.get(name)}
    assert {name.partition("-")[0] for name in changed} == {part, "small_walk"}
    assert kernel_module.compiled_before()
    assert run_small(kernel_module.compile_kernel()) == 2.0
    assert made(small) == again


@pytest.mark.slow
def test_a_changed_constant_is_other_code(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a step hangs on all that it names, however deep; what is unchanged stays."""
    assert run_small(kernel_module.compile_kernel()) == 2.0
    before = made(small)
    monkeypatch.setattr(sys.modules[__name__], "GROWTH", 4.0)
    compiled_module.digest.cache_clear()
    assert not kernel_module.compiled_before()
    assert run_small(kernel_module.compile_kernel()) == 5.0
    assert {name: made(small)[name] for name in before} == before
    assert len(made(small)) == 4


@pytest.mark.slow
def test_a_full_disk_costs_the_cache_only(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that cannot be saved still runs, and says that it is kept nowhere."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled_module, "write", full)
    kernel = kernel_module.compile_kernel()
    assert (run_small(kernel), kernel.compiled, kernel.cache) == (2.0, True, None)


def test_what_may_be_found_by_its_code_is_told_apart() -> None:
    """Every step function has the parameters by which it is known, and a digest of its own."""
    steps = compiled_module._steps(kernel_module.walk)
    assert {s.__name__ for s in steps} == {
        k.step.__name__ for k in (*KINDS.values(), *INTERNAL.values())
    }
    assert len({compiled_module.digest(s) for s in steps}) == len(steps)


def test_site_checks_start_without_numba() -> None:
    """The kinds, the expressions and the compiler of sites do not import it."""
    code = "import sys, edge.rules.compile, edge.rules.explain; print('numba' in sys.modules)"
    assert python(code) == "False"
