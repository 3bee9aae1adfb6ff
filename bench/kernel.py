"""The kernel on a site's rules, replicated: cost of a block, of a small program, of every kind."""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.blocks.kind import Kind
from edge.image.image import ProcessImage
from edge.proof.block import Instance
from edge.rules.compile import compile_site
from edge.rules.kernel import Kernel, compile_kernel
from edge.rules.program import (
    FIRST_OPERAND,
    FIRST_PARAMETER,
    FIRST_STATE,
    OPCODE,
    Program,
    Programs,
)
from edge.site.load import load_site

CONFIG = Path(__file__).parents[1] / "config"
DEMO, RESIDENTIAL = CONFIG / "demo", CONFIG / "residential"


def measure(directory: Path) -> list[tuple[object, ...]]:
    """All instructions of the demo, due at every pass, on good inputs."""
    programs, image = _site(DEMO)
    kernel = compile_kernel()
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
        _residential(kernel), _kinds(kernel),
    ]  # fmt: skip


def _site(directory: Path) -> tuple[Programs, ProcessImage]:
    """A site's programs and an image in which every input is good."""
    programs = compile_site(load_site(directory, DRIVERS, KINDS), KINDS)
    image = programs.image()
    image.value[: image.points] = np.where(
        np.isnan(image.value[: image.points]), 0.4, image.value[: image.points]
    )
    image.quality[:] = 0
    return programs, image


def _residential(kernel: Kernel) -> tuple[object, ...]:
    """A scan of the residential site's instructions, 10,000 of them, each at its own period."""
    programs, image = _site(RESIDENTIAL)
    many = _replicated(_joined([programs.protect, programs.control, programs.alarm]), 10_000)
    due = _replicated(_joined([programs.protect, programs.control, programs.alarm]), 10_000)
    return (
        "kernel, the residential site's blocks replicated to 10,000, scanned every 100 ms",
        _paced(kernel, many, image) * 1e3, "ms", 1.0, None,
        f"all of them due at once: {_cost(kernel, due, image) * 1e3:.2f} ms",
    )  # fmt: skip


def _kinds(kernel: Kernel) -> tuple[object, ...]:
    """What a run of each kind costs in its first example; the list is the last column."""
    costs = {kind.name: _kind(kernel, kind) * 1e9 for kind in KINDS.values()}
    listed = sorted(costs.items(), key=lambda item: -item[1])
    return (
        f"kernel, a run of the costliest kind ({listed[0][0]})", listed[0][1], "ns", 2000.0, None,
        ", ".join(f"{name} {cost:.0f}" for name, cost in listed),
    )  # fmt: skip


def _kind(kernel: Kernel, kind: Kind) -> float:
    """Seconds of a run, inputs standing where the example begins; 200 instances of it."""
    block, copies = Instance(kind, kind.examples[0].options), 200
    for name, value in kind.examples[0].steps[0][1].items():
        if name in block.index:
            block[name] = value
    ops, par, st = np.array(block.ops, np.int32), block.par, np.tile(block.st, copies)
    code = np.array(
        [[OPCODE[kind.name], 0, len(ops), 0, i * len(block.st)] for i in range(copies)], np.int32
    )
    timing, times = np.full((copies, 2), np.nan), []
    timing[:, 0] = block.every
    for k in range(300):
        began = time.perf_counter()
        kernel.walk(code, timing, ops, par, st, block.v, block.q, k * max(block.every, 0.1))
        times.append(time.perf_counter() - began)
    return statistics.median(times[20:]) / copies


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
