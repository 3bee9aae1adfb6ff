"""S21: a day of three lighting zones, with the numbers of domain.md §7.1 and both named savings."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from drivers import DRIVERS
from edge.proof.setting import setting
from edge.proof.trial import Trial, saving, together
from edge.rules.kernel import compile_kernel
from edge.scan.cycle import Outcome

SITE = Path(__file__).parents[2] / "cases" / "simulate" / "s21_lighting_day"
DAY = 86400.0
SEEN = ("lobby.lux", "lobby.dimmer", "light.target", "garage.level", "yard.lamps")


class Watched:
    """The lighting day, and every value of some points after each step."""

    def __init__(self) -> None:
        found = setting(SITE, DRIVERS)
        began = datetime(2026, 3, 20, tzinfo=ZoneInfo(found.site.timezone)).timestamp()
        self.trial = Trial(found, compile_kernel().run, began, DAY)
        image, index = self.trial.simulation.scan.image, found.site.index()
        at = [index[name] for name in SEEN]
        self.times: list[float] = []
        self.rows: list[tuple[float, ...]] = []
        after = self.trial.simulation.after

        def watch(now: float, outcome: Outcome) -> None:
            after(now, outcome)
            self.times.append(now)
            self.rows.append(tuple(image.value[at].tolist()))

        self.trial.simulation.after = watch
        for _ in self.trial:
            pass
        self.value = {p: float(image.value[i]) for p, i in index.items()}

    def changes(self, point: str) -> list[tuple[float, float, float]]:
        """Each change of a point after the first second: its time, the values before and after."""
        values = [row[SEEN.index(point)] for row in self.rows]
        steps = zip(self.times[1:], pairwise(values), strict=True)
        return [(t, a, b) for t, (a, b) in steps if a != b and t >= 1.0]

    def falls(self, point: str) -> list[float]:
        """When it went to 0."""
        return [t for t, before, after in self.changes(point) if before > 0 >= after]

    def rises(self, point: str) -> list[float]:
        """When it left 0."""
        return [t for t, before, after in self.changes(point) if before <= 0 < after]

    def lowest(self, point: str) -> float:
        """The least value of the day."""
        return min(row[SEEN.index(point)] for row in self.rows)


def test_the_lighting_day_spends_and_saves_what_the_book_says() -> None:
    """33.13 kWh: 43.4 % less than lamps that always burn, 35.5 % less than a time clock."""
    day = Watched()
    energies = {e.model: e for e in day.trial.energies()}
    lobby, garage, outdoor = (energies[m].used for m in ("lobby", "garage", "outdoor"))
    always, clock = (together(list(energies.values()), b) for b in ("always_on", "time_clock"))
    # Zone A, the lobby: off at 08:10:40, on at 16:11:00.
    assert lobby == pytest.approx(2.551, rel=0.02)
    assert day.falls("lobby.dimmer") == [pytest.approx(29440, abs=60)]
    assert day.rises("lobby.dimmer") == [pytest.approx(58260, abs=60)]
    assert day.lowest("lobby.lux") >= 135
    assert len(day.changes("light.target")) <= 150
    # Zone B, the garage: 42 000 s occupied.
    assert garage == pytest.approx(25.018, rel=0.01)
    assert day.lowest("garage.level") >= 30
    # Zone C, the yard: off at 06:03:00, on at 18:01:25.
    assert outdoor == pytest.approx(5.566, rel=0.01)
    assert day.falls("yard.lamps") == [pytest.approx(21780, abs=30)]
    assert day.rises("yard.lamps") == [pytest.approx(64885, abs=30)]
    # The whole, against baselines that have names.
    assert always.used == clock.used == pytest.approx(33.13, abs=0.33)
    assert always.baselines["always_on"] == pytest.approx(58.56, abs=0.01)
    assert clock.baselines["time_clock"] == pytest.approx(51.36, abs=0.01)
    assert saving(always, "always_on") == pytest.approx(43.4, abs=0.5)
    assert saving(clock, "time_clock") == pytest.approx(35.5, abs=0.6)
    # What the controller estimates is what the lamps used, and it says that it estimates.
    told = {estimate.rule: estimate for estimate in day.trial.estimates()}
    assert told["lobby_power"].used == pytest.approx(lobby, rel=0.01)
    assert told["lane_power"].used == pytest.approx(garage, rel=0.01)
    assert told["lane_power"].source.en == "estimated"
    assert day.value["lane_power.source"] == 0
    assert told["lane_power"].saving == pytest.approx(34.8, abs=0.5)
    assert not day.trial.alarms.shown
