"""Charts as inline SVG and HTML: lines with the span from least to most, strips of on and off.

The drawing stretches to the width there is and its numbers are text beside it, so that a telephone
shows it as well as a desk. No scripts, nothing from outside. Used by `edge/proof/page.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from edge.image.image import Floats

COLOURS: Final = 8  # the page's style names so many
COLUMNS: Final = 720  # drawn side by side; more are put together
WIDE, HIGH = 1000.0, 100.0  # of the drawing, before it is stretched
DASHED: Final = 'stroke-dasharray="6 4"'


@dataclass(frozen=True, slots=True)
class Line:
    """A series, bucket by bucket. `wanted`: a setpoint, drawn dashed and without a span."""

    name: str
    low: Floats
    mean: Floats
    high: Floats
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of the time axis, at a share (0-1) of the width."""

    at: float
    text: str


def lines(title: str, series: Sequence[Line], marks: Sequence[Mark]) -> str:
    """One chart; all series on one axis."""
    thin = [_thinned(line) for line in series]
    floor, ceiling, ticks = axis(
        min((_least(line.low) for line in thin), default=0.0),
        max((-_least(-line.high) for line in thin), default=1.0),
    )
    drawn, legend = [], []
    colour = 0
    for line in thin:
        style = "cw" if line.wanted else f"c{colour % COLOURS}"
        colour += not line.wanted
        drawn.append(_drawn(line, style, floor, ceiling))
        swatch = "dash" if line.wanted else "line"
        legend.append(f'<span class="{style}"><i class="{swatch}"></i>{escape(line.name)}</span>')
    rules = "".join(
        f'<path class="rule" d="M0 {_y(tick, floor, ceiling)}H{WIDE:g}"/>' for tick, _ in ticks
    )
    numbers = "".join(
        f'<b style="top:{_y(tick, floor, ceiling)}%">{escape(text)}</b>' for tick, text in ticks
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><div class="plot"><div class="y">'
        f"{numbers}</div>{_svg(rules + ''.join(drawn), HIGH)}</div>{_times(marks)}"
        f'<div class="legend">{"".join(legend)}</div></figure>'
    )


def strips(title: str, rows: Sequence[tuple[str, Floats]], marks: Sequence[Mark]) -> str:
    """Rows of on and off: `share` of each bucket that something was on, 0-1."""
    drawn = []
    for name, share in rows:
        boxes = _boxes(_means(share))
        drawn.append(f'<div class="strip"><span>{escape(name)}</span>{_svg(boxes, 10.0)}</div>')
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{''.join(drawn)}{_times(marks)}</figure>"
    )


def axis(low: float, high: float) -> tuple[float, float, list[tuple[float, str]]]:
    """Ends of an axis and about four round numbers on it."""
    if not math.isfinite(low) or not math.isfinite(high):
        low, high = 0.0, 1.0
    if high - low < 1e-9 + 0.02 * abs(high):
        spread = max(abs(high) * 0.05, 1e-6 if high else 0.5)
        low, high = min(low - spread, low), high + spread
    if 0 < low < 0.4 * high:
        low = 0.0
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (2.4 * power < step < 2.6 * power))
    ticks = [(k * step, f"{k * step:.{digits}f}") for k in range(first, last + 1)]
    return first * step, last * step, ticks


def _drawn(line: Line, style: str, floor: float, ceiling: float) -> str:
    """The span as a band, the mean as a line; they break where nothing good was seen."""
    parts = []
    x: Floats = np.arange(len(line.mean) + 1.0) * (WIDE / max(1, len(line.mean)))
    for first, last in _runs(~np.isnan(line.mean)):
        if not line.wanted:
            top = _points(x, line.high, first, last, floor, ceiling)
            bottom = _points(x, line.low, first, last, floor, ceiling)
            parts.append(f'<path class="band" d="M{"L".join(top + bottom[::-1])}Z"/>')
        middle = _points(x, line.mean, first, last, floor, ceiling)
        parts.append(
            f'<path class="mean" {DASHED if line.wanted else ""} d="M{"L".join(middle)}"/>'
        )
    return f'<g class="{style}">{"".join(parts)}</g>'


def _points(
    x: Floats, values: Floats, first: int, last: int, floor: float, ceiling: float
) -> list[str]:
    """At the middle of each bucket, and to the edges of the run."""
    middle = [(x[k] + x[k + 1]) / 2 for k in range(first, last)]
    places = [x[first], *middle, x[last]]
    heights = [values[first], *values[first:last], values[last - 1]]
    return [f"{a:.1f} {_y(b, floor, ceiling)}" for a, b in zip(places, heights, strict=True)]


def _y(value: float, floor: float, ceiling: float) -> str:
    return f"{HIGH * (ceiling - value) / (ceiling - floor):.2f}".rstrip("0").rstrip(".")


def _boxes(share: Floats) -> str:
    """Neighbours of the same share are one box."""
    wide, boxes, k = WIDE / max(1, len(share)), [], 0
    tenths = np.nan_to_num(np.ceil(share * 10))
    while k < len(tenths):
        end = k + 1
        while end < len(tenths) and tenths[end] == tenths[k]:
            end += 1
        if tenths[k] > 0:
            boxes.append(
                f'<path class="on" opacity="{tenths[k] / 10:.1f}" '
                f'd="M{k * wide:.1f} 0H{end * wide:.1f}V10H{k * wide:.1f}Z"/>'
            )
        k = end
    return "".join(boxes)


def _svg(inside: str, high: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDE:g} {high:g}" preserveAspectRatio="none" aria-hidden="true">'
        f"{inside}</svg>"
    )


def _times(marks: Sequence[Mark]) -> str:
    spans = "".join(f'<b style="left:{m.at * 100:.2f}%">{escape(m.text)}</b>' for m in marks)
    return f'<div class="x">{spans}</div>'


def _runs(good: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _thinned(line: Line) -> Line:
    return Line(
        line.name, _grouped(line.low, np.fmin), _means(line.mean), _grouped(line.high, np.fmax),
        line.wanted,
    )  # fmt: skip


def together(buckets: int) -> int:
    """How many of so many buckets are drawn as one."""
    return max(1, -(-buckets // COLUMNS))


def _grouped(values: Floats, reduce: np.ufunc) -> Floats:
    size = together(len(values))
    if size <= 1:
        return values
    found: Floats = reduce.reduceat(values, np.arange(0, len(values), size))
    return found


def _means(values: Floats) -> Floats:
    size = together(len(values))
    if size <= 1:
        return values
    starts = np.arange(0, len(values), size)
    seen = np.add.reduceat((~np.isnan(values)).astype(float), starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.add.reduceat(np.nan_to_num(values), starts) / seen
    return found


def _least(values: Floats) -> float:
    good = values[~np.isnan(values)]
    return float(good.min()) if len(good) else math.inf
