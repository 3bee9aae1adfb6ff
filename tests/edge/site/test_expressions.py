"""Units of expressions: what may stand together, and what comes out."""

from __future__ import annotations

import pytest

from edge.blocks.expression import parse
from edge.schema.model import Refusal
from edge.site.expressions import unit_of

UNITS = {"p": "MPa", "q": "MPa", "flow": "m³/h", "on": "", "t": "°C", "u": "°C", "dt": "K"}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("p", "MPa"), ("p - 0.05", "MPa"), ("p - q", "MPa"), ("-p", "MPa"), ("abs(p - q)", "MPa"),
        ("max(p, q, 0.3)", "MPa"), ("p if on else 0.4", "MPa"), ("p * 2", "MPa"), ("p / 2", "MPa"),
        ("0.5 * p", "MPa"), ("p > q", ""), ("0.2 < p <= 0.4", ""), ("on and p > 0.3", ""),
        ("not on", ""), ("1 - on", ""), ("t - u", "K"), ("t + dt", "°C"), ("t - dt", "°C"),
        ("dt + 1", "K"), ("3", None), ("p / q", None), ("p * flow", None), ("1 / p", None),
        ("p / flow > 2", ""), ("t + 1", "°C"),
    ],
)  # fmt: skip
def test_units(text: str, unit: str | None) -> None:
    """Numbers fit anything; products of two quantities are not known."""
    assert unit_of(parse(text).tree, UNITS) == unit


@pytest.mark.parametrize(
    "text",
    ["p > flow", "p + flow", "min(p, flow)", "p if on else flow", "p - on", "t > dt", "on == p"],
)
def test_mixtures_are_refused(text: str) -> None:
    """Pressure is not compared with flow."""
    with pytest.raises(Refusal) as refused:
        unit_of(parse(text).tree, UNITS)
    assert refused.value.code == "wrong-unit"
