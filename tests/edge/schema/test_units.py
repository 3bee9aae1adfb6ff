"""Units: one per quantity inside, whatever is written outside."""

from __future__ import annotations

import contextlib
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from edge.schema.model import Model, Refusal
from edge.schema.units import (
    UNITS,
    Duration,
    Quantity,
    canonical,
    conversion,
    parse_duration,
    parse_quantity,
    split_quantity,
)


class Sample(Model):
    pressure: Annotated[float, Quantity("MPa"), Field(gt=0)] = 0.4
    approach: Annotated[float, Quantity("K")] = 4.0
    delay: Duration = Field(5.0, ge=0.1, le=3600)
    lag: Annotated[Duration, Field(ge=1)] | None = None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("0.40 MPa", "MPa", 0.4), ("4 bar", "MPa", 0.4), ("400kPa", "MPa", 0.4),
        ("145.0377377 psi", "MPa", 1.0), ("1 mH2O", "MPa", 0.00980665), ("-2 kPa", "MPa", -0.002),
        ("10 l/s", "m³/h", 36), ("10 L/s", "m³/h", 36), ("100 L/min", "m³/h", 6),
        ("5 m3/h", "m³/h", 5), ("5 m^3/h", "m³/h", 5), ("5 ㎥/h", "m³/h", 5),
        ("20 C", "°C", 20), ("20 ℃", "°C", 20), ("20 degC", "°C", 20), ("293.15 K", "°C", 20),
        ("68 °F", "°C", 20), ("4 °C", "K", 4), ("9 °F", "K", 5), ("60%", "%", 60),
        ("1500 W", "kW", 1.5), ("20 mA", "A", 0.02), ("1.5e3", "lx", 1500), ("2 h", "s", 7200),
        ("90 min", "h", 1.5), ("1 g", "m/s²", 9.80665), ("12", "", 12), ("6 /h", "1/h", 6),
        ("250 cm", "m", 2.5),
    ],
)  # fmt: skip
def test_what_people_write(text: str, unit: str, value: float) -> None:
    """A quantity in any unit of its kind becomes the canonical one."""
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-9)


def test_conversion_leaves_no_dust() -> None:
    """400 kPa are 0.4 MPa exactly, and 250 ms a quarter."""
    assert parse_quantity("400 kPa", "MPa") == 0.4
    assert parse_duration("250ms") == 0.25


def test_differences_take_no_offset() -> None:
    """A deadband of 2 °F is 1.1 K, of 2 K is 2 K, on a temperature too."""
    assert parse_quantity("1.8 °F", "°C", difference=True) == pytest.approx(1.0)
    assert parse_quantity("2 K", "°C", difference=True) == 2.0


@pytest.mark.parametrize(
    ("text", "unit", "code", "said"),
    [
        ("3 m³/h", "MPa", "wrong-unit", "cannot be converted"),
        ("3 kw", "kW", "unknown-unit", 'did you mean "kW"?'),
        ("much", "MPa", "wrong-value", "is not a number"),
        ("3 MPa", "", "wrong-unit", "a number without a unit"),
    ],
)
def test_what_is_refused(text: str, unit: str, code: str, said: str) -> None:
    """Each refusal has its code and says what would be right."""
    with pytest.raises(Refusal) as refused:
        parse_quantity(text, unit)
    assert refused.value.code == code
    assert said in refused.value.text.en


@pytest.mark.parametrize("text", ["pump.flow", "pump.flow > 3", "5 - 3", "", "MPa", "p1 + 2"])
def test_expressions_are_no_quantities(text: str) -> None:
    """What is not a number with a unit is left to the expression parser."""
    assert split_quantity(text) is None


def test_points_are_held_in_canonical_units() -> None:
    """Spelling variants are welcome, other units are named with what to write instead."""
    assert [canonical(u) for u in ("m3/h", "C", "MPa", "lux", "rpm", "")] == [
        "m³/h", "°C", "MPa", "lx", "r/min", "",
    ]  # fmt: skip
    with pytest.raises(Refusal) as refused:
        canonical("bar")
    assert "unit: MPa, device_unit: bar" in refused.value.text.en


def test_a_profile_converts_by_scale_and_offset() -> None:
    """The factors for a device that speaks bar, or Fahrenheit."""
    assert conversion("bar", "MPa") == (0.1, 0.0)
    scale, offset = conversion("°F", "°C")
    assert 212 * scale + offset == pytest.approx(100)


def test_every_unit_is_its_own() -> None:
    """Each canonical unit is spelled canonically and converts into itself unchanged."""
    for unit in UNITS:
        assert canonical(unit) == unit
        assert conversion(unit, unit) == (1, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("250ms", 0.25), ("30min", 1800), ("1h 30min", 5400), ("7d", 604800), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration carries its unit, several parts if need be."""
    assert parse_duration(text) == seconds


def refusals(**values: object) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate(values)
    return [str(error["type"]) for error in refused.value.errors()]


def test_model_fields() -> None:
    """Quantities take numbers and texts, durations texts only; a field's own bounds hold."""
    assert Sample.model_validate({"pressure": 1, "approach": "3 °C"}).pressure == 1.0
    assert Sample(pressure="4 bar", delay="1min").delay == 60.0  # type: ignore[arg-type]
    assert refusals(delay=5) == ["value_error"]
    assert refusals(delay="5") == ["value_error"]
    assert refusals(delay="-5s") == ["value_error"]
    assert refusals(delay="50ms") == ["greater_than_equal"]
    assert refusals(lag="500ms")[0] == "greater_than_equal"
    assert refusals(pressure="0 bar") == ["greater_than"]
    assert refusals(pressure=True) == ["float_type"]
    assert refusals(pressure=float("nan")) == ["finite_number"]


def test_a_bare_duration_is_told_what_to_write() -> None:
    """`delay: 5` is asked: seconds or minutes?"""
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate({"delay": 5})
    assert "5s or 5min" in str(refused.value.errors()[0]["ctx"]["error"])


def test_the_unit_of_a_field_must_exist() -> None:
    """A programmer who writes Quantity("bar") learns it at import."""
    with pytest.raises(TypeError):
        Quantity("bar")


@given(st.floats(-1e9, 1e9), st.sampled_from(["MPa", "m³/h", "°C", "kWh", ""]))
def test_numbers_survive_their_text(value: float, unit: str) -> None:
    """Writing a value with its unit and reading it back changes it by less than 1e-13."""
    assert parse_quantity(f"{value!r} {unit}", unit) == pytest.approx(value, rel=1e-13, abs=1e-300)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    """Whatever is written is a number or a Refusal."""
    for parse in (lambda: parse_quantity(text, "°C"), lambda: parse_duration(text)):
        with contextlib.suppress(Refusal):
            assert isinstance(parse(), float)
