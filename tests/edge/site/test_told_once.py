"""A fault of a driven device is told once: by whoever has the best word for it."""

from __future__ import annotations

from pathlib import Path

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.site.load import load_site

SITE = Path(__file__).parents[2] / "cases" / "scenario" / "s01_valve_deviation" / "site.yaml"


def suppressed_by(alarm: str) -> str:
    """Of the site with three zones, each with a verdict and a supervised valve."""
    return {a.id: a.suppressed_by for a in load_site(SITE, DRIVERS, KINDS).alarms}[alarm]


def test_a_supervised_valve_needs_no_word_of_the_site() -> None:
    """That it does not follow is suppressed by its supervision and by its zone's verdict."""
    assert suppressed_by("V3_NOT_FOLLOWING") == "zones.zone3 != 0 or v3_watch.state != 0"
    assert suppressed_by("V3_OFFLINE") == "not field.bus.online"


def test_the_verdict_has_the_last_word() -> None:
    """It suppresses the alarms of the supervision, and nothing suppresses its own."""
    assert suppressed_by("V3_WATCH_POSITION_ERROR") == "zones.zone3 != 0"
    assert suppressed_by("ZONE3_VALVE_DEVIATION") == ""
