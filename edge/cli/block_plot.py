"""A small plot of a kind's worked example: one strip for each signal, as SVG, the same every time.

Runs the example's own steps and draws what went in and what came out. Called by `edge blocks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite, isnan

from edge.blocks.kind import Example, Kind
from edge.proof.block import Instance

WIDTH, LEFT, RIGHT, STRIP, GAP = 640, 150, 70, 34, 14
MOST = 6  # strips
IN, OUT = "#5b6b7b", "#0b6e4f"

Signal = list[tuple[float, float]]


def run(kind: Kind, example: Example) -> tuple[dict[str, Signal], dict[str, Signal]]:
    """The example executed: inputs and results by name, each (t, value).

    An expression needs the compiler of a whole site: there the results are those declared, which
    the tests hold against both kernels.
    """
    block = Instance(kind, example.options)
    if any(name not in block.index for _, *both in example.steps for name in (*both[0], *both[1])):
        return declared(example)
    inputs: dict[str, Signal] = {}
    results: dict[str, Signal] = {}
    wanted = dict.fromkeys(name for _, _, expected in example.steps for name in expected)
    given = dict.fromkeys(name for _, values, _ in example.steps for name in values)
    for t, values, _ in example.steps:
        for name, value in values.items():
            block[name] = value
        for name in given:
            inputs.setdefault(name, []).append((t, block[name]))
        block.step(t)
        for name in wanted:
            value = block.request(name) if name in block.requests else block[name]
            results.setdefault(name, []).append((t, value))
    return inputs, results


def declared(example: Example) -> tuple[dict[str, Signal], dict[str, Signal]]:
    """What the example says goes in and comes out."""
    inputs: dict[str, Signal] = {}
    results: dict[str, Signal] = {}
    for t, values, expected in example.steps:
        for name, value in ({n: s[-1][1] for n, s in inputs.items()} | dict(values)).items():
            inputs.setdefault(name, []).append((t, value))
        for name, value in expected.items():
            results.setdefault(name, []).append((t, value))
    return inputs, results


def svg(kind: Kind) -> str:
    """The kind's first example as a drawing; constant inputs are left out."""
    inputs, results = run(kind, kind.examples[0])
    moving = {n: s for n, s in inputs.items() if n not in results and _spread(s) > 0.0}
    strips = [(name, signal, IN) for name, signal in moving.items()][: MOST - 1]
    strips += [(name or "(result)", signal, OUT) for name, signal in results.items()]
    strips = strips[:MOST]
    times = [t for t, _, _ in kind.examples[0].steps]
    height = len(strips) * (STRIP + GAP) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for i, (name, signal, colour) in enumerate(strips):
        lines += _strip(name, signal, colour, GAP + i * (STRIP + GAP), times)
    y = height - 8
    lines.append(f'<text x="{LEFT}" y="{y}" fill="#555">{times[0]:g} s</text>')
    lines.append(
        f'<text x="{WIDTH - RIGHT}" y="{y}" fill="#555" text-anchor="end">{times[-1]:g} s</text>'
    )
    return "\n".join([*lines, "</svg>", ""])


def _spread(signal: Signal) -> float:
    """How far a signal goes; a bad value counts as a movement."""
    good = [v for _, v in signal if isfinite(v)]
    return float(len(good) < len(signal)) or max(good, default=0.0) - min(good, default=0.0)


def _strip(
    name: str, signal: Signal, colour: str, top: float, times: Sequence[float]
) -> list[str]:  # fmt: skip
    good = [v for _, v in signal if isfinite(v)]
    low, high = min(good, default=0.0), max(good, default=0.0)
    span, length = high - low or 1.0, times[-1] - times[0] or 1.0

    def x(t: float) -> float:
        return LEFT + (t - times[0]) / length * (WIDTH - LEFT - RIGHT)

    def y(v: float) -> float:
        return top + STRIP - (v - low) / span * STRIP

    base = top + STRIP
    lines = [
        f'<text x="{LEFT - 8}" y="{top + STRIP / 2 + 4:.1f}" text-anchor="end" '
        f'fill="{colour}">{escape(name)}</text>',
        f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}" stroke="#ddd"/>',
        f'<text x="{WIDTH - RIGHT + 6}" y="{top + 8}" fill="#555">{high:.4g}</text>',
    ]
    if high > low:
        lines.append(f'<text x="{WIDTH - RIGHT + 6}" y="{base}" fill="#555">{low:.4g}</text>')
    path = ""
    before = float("nan")
    for t, value in signal:
        if isnan(value):
            before = value
            continue
        path += f"M{x(t):.1f} {y(value):.1f}" if isnan(before) else f"H{x(t):.1f}V{y(value):.1f}"
        before = value
        lines.append(f'<circle cx="{x(t):.1f}" cy="{y(value):.1f}" r="2" fill="{colour}"/>')
    lines.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return lines
