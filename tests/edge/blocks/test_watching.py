"""What is only watched: fire water and lifts. Neither has anything to drive."""

from __future__ import annotations

from math import isnan

import pytest

from edge.blocks.fire_water import FIRE_WATER
from edge.blocks.kind import layout, references
from edge.blocks.lift import LIFT
from tests.support.block import Instance

HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize("kind", [FIRE_WATER, LIFT], ids=lambda kind: kind.name)
def test_nothing_can_be_driven(kind) -> None:  # type: ignore[no-untyped-def]
    """No target and nothing to trip, in any example."""
    for example in kind.examples:
        model = kind.model.model_validate(dict(example.options))
        assert all(operand.role != "target" for operand in layout(kind, model).operands)
        assert all(reference.role == "input" for reference in references(model))


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, 0.07), ({"building": "public"}, 0.10), ({"building": "public_over_100m"}, 0.15),
     ({"limit": "0.2 MPa"}, 0.2)],
)  # fmt: skip
def test_the_least_pressure_by_the_building(options: dict[str, str], limit: float) -> None:
    """GB 50974's limits by the class of the building, or the design's own."""
    block = Instance(FIRE_WATER, {"pressure": "p", **options})
    for pressure, low in ((limit + 1e-6, 0.0), (limit - 1e-6, 1.0)):
        block["p"] = pressure
        block.step(1.0)
        assert block["pressure_low"] == low


def jockey(block: Instance, begin: float, hours: float, rate: float) -> float:
    """Let the jockey pump start `rate` times an hour; every minute counts."""
    now = begin
    for k in range(round(hours * 60)):
        now = begin + 60.0 * k
        block["j"] = 0.0
        block.step(now)
        if (k * rate) % 60 < rate:
            block["j"] = 1.0
            block.step(now + 1.0)
    return begin + hours * HOUR


def test_a_jockey_pump_that_starts_twice_as_often() -> None:
    """Seven days at 2 an hour, then 6: told within the hour; before seven days nothing is."""
    block = Instance(FIRE_WATER, {"pressure": "p", "jockey": "j"})
    block["p"] = 0.2
    now = jockey(block, 0.0, 6 * 24, 2.0)
    assert isnan(block["jockey_median"])
    now = jockey(block, now, 2 * 24, 2.0)
    assert block["jockey_median"] == pytest.approx(2.0, abs=0.1)
    assert block["jockey_often"] == 0.0
    now = jockey(block, now, 1.0, 6.0)
    assert block["jockey_often"] == 1.0
    now = jockey(block, now, 2.0, 2.0)
    assert block["jockey_often"] == 0.0


def test_days_without_power_are_not_quiet_days() -> None:
    """After three days off, the median is that of the days that were seen."""
    block = Instance(FIRE_WATER, {"pressure": "p", "jockey": "j"})
    block["p"] = 0.2
    now = jockey(block, 0.0, 8 * 24, 4.0)
    jockey(block, now + 3 * DAY, 2.0, 4.0)
    assert block["jockey_median"] == pytest.approx(4.0, abs=0.2)
    assert block["jockey_starts"] <= 5.0


def test_trapped_is_told_at_once_and_stays() -> None:
    """P1, no delay, latched."""
    (alarm,) = (a for a in LIFT.alarms(None) if a.id == "{RULE}_TRAPPED")
    assert (alarm.priority, alarm.on_delay, alarm.latch) == (1, 0.0, True)
