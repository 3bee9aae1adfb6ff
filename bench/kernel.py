"""The kernel on the demo site's rules, replicated: cost of a block, and of a small program."""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.image.image import ProcessImage
from edge.rules.compile import compile_site
from edge.rules.kernel import Kernel, compile_kernel
from edge.rules.program import FIRST_OPERAND, FIRST_PARAMETER, FIRST_STATE, Program
from edge.site.load import load_site

DEMO = Path(__file__).parents[1] / "config" / "demo"


def measure(directory: Path) -> list[tuple[object, ...]]:
    """All instructions of the demo, due at every pass, on good inputs."""
    site = load_site(DEMO, DRIVERS, KINDS)
    programs = compile_site(site, KINDS)
    kernel = compile_kernel()
    image = programs.image()
    image.value[: image.points] = np.where(
        np.isnan(image.value[: image.points]), 0.4, image.value[: image.points]
    )
    image.quality[:] = 0
    whole = _joined([programs.protect, programs.control, programs.alarm])
    many = _replicated(whole, 10_000)
    few = _replicated(whole, 50)
    plain = _replicated(whole, 500)
    rules, busy = (_replicated(programs.control, 10_000) for _ in range(2))
    return [
        ("kernel, a block of the demo's mix at 10,000 blocks",
         _cost(kernel, many, image) / 10_000 * 1e9, "ns", 100.0, None,
         f"the same functions as plain Python: {_plain(plain, image) / 500 * 1e9:.0f} ns"),
        ("kernel, an instruction of the demo's rules alone at 10,000, scanned every 100 ms",
         _paced(kernel, rules, image) / 10_000 * 1e9, "ns", 100.0, None,
         f"all of them due at once: {_cost(kernel, busy, image) / 10_000 * 1e9:.0f} ns"),
        ("kernel, a program of 50 blocks", _cost(kernel, few, image) * 1e6, "µs", 10.0, None, None),
    ]  # fmt: skip


def _cost(kernel: Kernel, program: Program, image: ProcessImage) -> float:
    """Median seconds of a pass; time advances by a second, so that everything is due."""
    passes, now, times = max(20, 200_000 // len(program.code)), 0.0, []
    for _ in range(passes):
        now += 1.0
        began = time.perf_counter()
        kernel.run(program, image, now)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _paced(kernel: Kernel, program: Program, image: ProcessImage) -> float:
    """Mean seconds of a pass at 100 ms, each kind at its shipped period."""
    now, passes = 1e6, 200
    began = time.perf_counter()
    for _ in range(passes):
        now += 0.1
        kernel.run(program, image, now)
    return (time.perf_counter() - began) / passes


def _plain(program: Program, image: ProcessImage) -> float:
    from edge.rules.kernel import plain_kernel  # noqa: PLC0415 - only the peer needs it

    return _cost(plain_kernel(), dataclasses.replace(program, timing=program.timing.copy()), image)


def _joined(parts: list[Program]) -> Program:
    return _concatenated(parts)


def _replicated(program: Program, blocks: int) -> Program:
    """The program over and over with state of its own for each copy, cut to `blocks` blocks."""
    copies = -(-blocks // len(program.code))
    joined = _concatenated([program] * copies)
    return dataclasses.replace(
        joined, code=joined.code[:blocks], timing=joined.timing[:blocks],
        owners=joined.owners[:blocks],
    )  # fmt: skip


def _concatenated(parts: list[Program]) -> Program:
    codes, ops, par, st = [], 0, 0, 0
    for part in parts:
        code = part.code.copy()
        code[:, FIRST_OPERAND] += ops
        code[:, FIRST_PARAMETER] += par
        code[:, FIRST_STATE] += st
        codes.append(code)
        ops, par, st = ops + len(part.ops), par + len(part.par), st + len(part.state)
    return Program(
        "bench", np.concatenate(codes), np.concatenate([p.timing for p in parts]),
        np.concatenate([p.ops for p in parts]), np.concatenate([p.par for p in parts]),
        np.concatenate([p.state for p in parts]), tuple(o for p in parts for o in p.owners),
        np.concatenate([p.requests for p in parts]),
    )  # fmt: skip
