"""Each exception code becomes the error that makes the bus task do what the table of §7 asks."""

from __future__ import annotations

import pytest

from drivers.modbus.exceptions import refused
from edge.errors import DeviceRefused, DeviceTimeout


@pytest.mark.parametrize(
    ("code", "name", "permanent", "rest", "again", "unsure"),
    [
        (1, "01", True, 3600.0, (), False),
        (2, "02", True, 600.0, (), False),
        (3, "03", True, 600.0, (), False),
        (4, "04", False, 60.0, (1.0, 2.0), True),
        (5, "05", False, 60.0, (1.0, 1.0, 1.0), False),
        (6, "06", False, 60.0, (1.0, 1.0, 1.0), False),
        (8, "08", False, 60.0, (), False),
        (99, "63", False, 60.0, (), False),
    ],
)
def test_refusal(
    code: int, name: str, permanent: bool, rest: float, again: tuple[float, ...], unsure: bool
) -> None:
    """A device's own refusal says for how long and how often, in both languages."""
    error = refused(7, code)
    assert isinstance(error, DeviceRefused)
    assert (error.code, error.permanent, error.rest) == (name, permanent, rest)
    assert (error.again, error.unsure) == (again, unsure)
    assert error.reason.en.startswith("unit 7 ")
    assert f"(exception {name})" in error.reason.en
    assert f"(异常码 {name})" in error.reason.zh


@pytest.mark.parametrize(
    ("code", "words"), [(10, "gateway's set-up"), (11, "which is well itself")]
)
def test_gateway_speaks_for_a_silent_unit(code: int, words: str) -> None:
    """What only the gateway answers is silence of the unit, and says whose fault it is."""
    error = refused(7, code)
    assert isinstance(error, DeviceTimeout)
    assert words in error.reason.en
    assert "站号 7" in error.reason.zh
