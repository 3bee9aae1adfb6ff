"""The kernel itself: periods and dt, where compiled code is kept, running without compilation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from math import nan
from pathlib import Path

import numpy as np
import pytest

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
    """NUMBA_CACHE_DIR before $CACHE_DIRECTORY before ~/.cache/edge; the name says which sources."""
    places = [tmp_path / name for name in ("numba", "systemd", "home")]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(places[0]))
    monkeypatch.setenv("CACHE_DIRECTORY", str(places[1]))
    monkeypatch.setenv("HOME", str(places[2]))
    assert kernel_module.cache_directory() == places[0] / f"kernel-{kernel_module.digest()}"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert kernel_module.cache_directory() == places[1] / f"kernel-{kernel_module.digest()}"
    monkeypatch.delenv("CACHE_DIRECTORY")
    found = kernel_module.cache_directory()
    assert found == places[2] / ".cache/edge" / f"kernel-{kernel_module.digest()}"


def test_without_a_writable_directory_there_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the directory should be: None, so that the caller can say so, and no error."""
    (tmp_path / "file").write_text("")
    for name in ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    assert kernel_module.cache_directory() is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: Kernel
) -> None:
    """Half a file, as a power cut leaves it, costs a compilation and nothing else."""
    assert compiled.cache is not None
    directory = tmp_path / compiled.cache.name
    shutil.copytree(compiled.cache, directory)
    damaged = next(directory.rglob(f"*.{kind}"))  # one for each checkout with these sources
    whole = damaged.stat().st_size
    os.truncate(damaged, whole // 2)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_module, "walk", tiny_walk)
    kernel = kernel_module.compile_kernel()
    assert kernel.cache == directory
    assert not damaged.exists()
    (made,) = directory.rglob(f"*tiny_walk*.{kind}")
    before = made.stat().st_mtime_ns
    kernel_module.compile_kernel()
    assert made.stat().st_mtime_ns == before


def tiny_walk(code, timing, ops, par, st, v, q, now):  # type: ignore[no-untyped-def]
    """Compiles in a moment, in place of the real one."""
    return code.shape[0]


@pytest.mark.slow
def test_a_full_disk_costs_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that cannot be saved still runs, and says that it is kept nowhere."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_module, "walk", tiny_walk)

    def full(_: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernel_module, "_checksum", full)
    kernel = kernel_module.compile_kernel()
    assert (kernel.compiled, kernel.cache) == (True, None)


def test_site_checks_start_without_numba() -> None:
    """The kinds, the expressions and the compiler of sites do not import it."""
    code = "import sys, edge.rules.compile, edge.rules.explain; print('numba' in sys.modules)"
    assert python(code) == "False"
