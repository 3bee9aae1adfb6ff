"""When a simulated run makes its scans: at timers, flashes and periods as the real controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.proof.setting import setting
from edge.proof.simulate import Simulation
from edge.rules.kernel import compile_kernel
from edge.scan.cycle import Outcome

SITE = """
site: {id: pace, name: {zh: 节拍, en: Pace}, language: en, timezone: Asia/Shanghai}
clock: {trust: always}
scan: {startup_delay: 0s}
buses: {field: {driver: sim}}
devices:
  panel:
    bus: field
    model: io
    poll: 100ms
    points:
      door:   {variable: input1, range: [0, 1]}
      gate:   {variable: input3, range: [0, 1]}
      ack:    {variable: input2, range: [0, 1]}
      beacon: {variable: relay1, output: true}
      fan:    {variable: relay2, output: true, min_on: 20.3s}
rules:
  fan: {block: delay, input: panel.gate, output: panel.fan}
alarms:
  door:
    {when: panel.door == 1, for: 2s, priority: P1, text: {zh: 门, en: door},
     checks: {zh: [看], en: [look]}}
  late:
    {when: panel.door == 1, for: 33.4s, priority: P4, text: {zh: 门, en: door},
     checks: {zh: [看], en: [look]}}
annunciators:
  wall: {beacon: panel.beacon, acknowledge: panel.ack}
"""


class Ran:
    """The site for some seconds: an input is pressed from `first` on for so long."""

    def __init__(self, path: Path, *presses: tuple[int, float, float], lasts: float) -> None:
        path.write_text(SITE, encoding="utf-8")
        found = setting(path, DRIVERS)
        self.times: list[float] = []
        self.events: list[tuple[str, str, float]] = []
        self.writes: list[tuple[str, float, float]] = []
        simulation = Simulation(
            found.site, KINDS, compile_kernel().run, found.field, wall=1.8e9, after=self._after
        )
        rig = found.field.rig
        for channel, first, long in presses:
            simulation.at(first, lambda fault=f"press:{channel}": rig.start("io", fault))  # type: ignore[misc]
            simulation.at(first + long, lambda fault=f"press:{channel}": rig.stop("io", fault))  # type: ignore[misc]
        for _ in simulation.run(lasts, lasts):
            pass

    def _after(self, now: float, outcome: Outcome) -> None:
        self.times.append(now)
        self.events += [(t.alarm.id, t.cause, now) for t in outcome.transitions]
        self.writes += [(w.point, w.value, now) for _, w in outcome.writes]

    def between(self, first: float, last: float) -> int:
        """How many scans there were."""
        return sum(first <= now < last for now in self.times)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the site stands."""
    return tmp_path / "site.yaml"


def test_short_timers_end_as_in_the_field_and_long_ones_soon_after(path: Path) -> None:
    """The door is seen open at the next poll; its alarm follows 2 s later, that of 33.4 s at most
    half a second late."""
    ran = Ran(path, (1, 10.03, 60.0), lasts=50.0)
    raised = {alarm: now for alarm, cause, now in ran.events if cause == "raised"}
    assert raised["door"] == pytest.approx(12.1, abs=0.1 + 1e-6)
    assert 10.1 + 33.4 - 1e-6 <= raised["late"] <= 10.1 + 33.4 + 0.5 + 1e-6


def test_scans_are_rare_where_nothing_happens(path: Path) -> None:
    """Two a second, ten a second for the ten seconds after a timer was begun."""
    ran = Ran(path, (3, 40.0, 100.0), lasts=60.0)
    assert ran.between(20.0, 40.0) == 40
    ran = Ran(path, (1, 40.0, 1.0), lasts=60.0)
    assert ran.between(40.2, 50.0) == pytest.approx(98, abs=2)


def test_the_beacon_flashes_as_it_does_on_the_wall(path: Path) -> None:
    """Four changes a second until somebody acknowledges, then it stands."""
    ran = Ran(path, (1, 10.0, 60.0), (2, 30.0, 0.2), lasts=40.0)
    flips = [now for point, _, now in ran.writes if point == "panel.beacon"]
    assert sum(23.0 <= now < 28.0 for now in flips) == 20
    assert not [now for now in flips if now > 30.5]
    assert ("door", "acknowledged") in [event[:2] for event in ran.events]


def test_a_minimum_time_ends_at_its_moment(path: Path) -> None:
    """The fan must run for 20.3 s: it stops then, between two scans of the grid."""
    ran = Ran(path, (3, 5.0, 2.0), lasts=40.0)
    fan = [(value, now) for point, value, now in ran.writes if point == "panel.fan" and now > 1]
    assert [value for value, _ in fan] == [1.0, 0.0]
    assert fan[1][1] - fan[0][1] == pytest.approx(20.3, abs=1e-6)
