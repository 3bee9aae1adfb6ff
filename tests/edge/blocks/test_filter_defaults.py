"""How strongly a signal is filtered when nobody says it: by its quantity (domain §1.1)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edge.blocks.conditioning import CONDITIONING, Conditioning
from tests.support.block import Instance

OPTIONS: dict[str, Any] = {"input": "a.raw", "low": 0.0, "high": 100.0}


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        ("MPa", 2.0),
        ("lx", 10.0),
        ("lux", 10.0),
        ("m", 5.0),
        ("°C", 30.0),
        ("m³/h", None),
        ("", None),
    ],
)
def test_the_quantity_says_it(unit: str, seconds: float | None) -> None:
    """2 s of a pressure, 10 s of light, 5 s of a level, 30 s of a temperature."""
    assert Conditioning.model_validate({**OPTIONS, "unit": unit}).filter == seconds


def test_what_is_written_counts() -> None:
    """`0s` is no filter, whatever the quantity; and no quantity is known without a unit."""
    assert Conditioning.model_validate({**OPTIONS, "unit": "MPa", "filter": "0s"}).filter == 0.0
    assert Conditioning.model_validate({**OPTIONS, "unit": "MPa", "filter": "7s"}).filter == 7.0
    assert Conditioning.model_validate({**OPTIONS, "unit": "MPa", "filter": None}).filter is None


@pytest.mark.parametrize("wrong", [{"filter": "11min"}, {"unit": "bar"}, {"unit": "parsec"}])
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    """More than 600 s, and a unit that points are not held in."""
    with pytest.raises(ValidationError):
        Conditioning.model_validate({**OPTIONS, **wrong})


def test_the_default_filters() -> None:
    """A step of a pressure is seen by 63 % after 2 s."""
    block = Instance(CONDITIONING, {**OPTIONS, "unit": "MPa", "spike": 100.0})
    block["a.raw"] = 0.0
    block.step(0.0)
    block["a.raw"] = 1.0
    for t in (1.0, 2.0):
        block.step(t)
    assert block[""] == pytest.approx(0.632, abs=1e-3)
