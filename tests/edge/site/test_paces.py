"""Poll classes by their words, and the options that bound writes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge.site.model import DeviceOptions, PointOptions


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("fast", 0.5), ("normal", 5.0), ("slow", 60.0), ("daily", 86400.0), ("250ms", 0.25)],
)
def test_a_poll_period_is_a_duration_or_a_word(written: str, seconds: float) -> None:
    """Of a point as of a device."""
    assert PointOptions.model_validate({"poll": written}).poll == seconds
    assert DeviceOptions.model_validate({"bus": "b", "poll": written}).poll == seconds


@pytest.mark.parametrize("written", ["quick", "25h", "0s", 5])
def test_what_is_neither_is_refused(written: object) -> None:
    """No word that is close, nothing longer than a day."""
    with pytest.raises(ValidationError):
        PointOptions.model_validate({"poll": written})


def test_the_schema_offers_the_words() -> None:
    """So that an editor completes them."""
    shown = PointOptions.model_json_schema()["properties"]["poll"]
    assert ["fast", "normal", "slow", "daily"] in [part.get("enum") for part in shown["anyOf"]]
