"""The day of a compound: what its people draw by the clock, and the zones that they draw from."""

from __future__ import annotations

import pytest

from drivers.sim.models.day import HOURS, Day, share
from drivers.sim.models.zones import ZoneNetwork


def test_every_full_hour_is_the_curves_and_no_jump_lies_between() -> None:
    """Straight lines from hour to hour, over midnight too; the evening is the peak."""
    assert [share(60.0 * hour) for hour in range(24)] == pytest.approx(HOURS)
    assert share(1440.0) == HOURS[0]
    assert max(abs(share(m + 1) - share(m)) for m in range(1440)) < 0.01
    assert max(HOURS) == 1.0 == HOURS[19]


def test_a_day_comes_back_to_where_it_began() -> None:
    """Second by second through the night, as far as the clock says."""
    day = Day(minute=120.0, peak=5.0)
    for _ in range(3600):
        day.step(1.0)
    assert day.readings()["minute"] == pytest.approx(180.0)
    assert day.water == pytest.approx(HOURS[3])
    assert day.sewage == pytest.approx(5.0 * HOURS[3])


def test_a_steady_day_is_the_same_at_any_hour() -> None:
    """For scenarios that ask something else."""
    day = Day(minute=180.0, peak=0.0, steady=1.0)
    day.step(1.0)
    assert (day.water, day.sewage) == (1.0, 0.0)


def test_fewer_open_taps_draw_less_at_a_higher_pressure() -> None:
    """At a tenth of the taps a zone takes about a tenth, nearly at the header's pressure."""
    whole, night = ZoneNetwork(), ZoneNetwork()
    night.share = 0.1
    night.step(0.1)
    assert night.zones[0].flow == pytest.approx(0.1 * whole.zones[0].flow, rel=0.03)
    assert whole.zones[0].pressure < night.zones[0].pressure < night.header
