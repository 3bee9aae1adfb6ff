"""The sample sites are sites that run, and the demo's is at home on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import edge
from drivers import DRIVERS
from edge.blocks import KINDS
from edge.blocks.booster_model import Booster
from edge.proof.local import local
from edge.site.load import load_site, read_site
from edge.site.site import Role, Site

ROOT = Path(edge.__file__).resolve().parents[1]
SAMPLES = sorted((*ROOT.glob("config/*/site.yaml"), *ROOT.glob("drivers/*/sample.yaml")))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sample_has_no_problem(path: Path) -> None:
    """Nothing is wrong with a sample, not even a warning."""
    checked = read_site(path, DRIVERS, KINDS)
    assert [problem.line("en") for problem in checked.problems] == []
    assert checked.site is not None


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_pressure_filter_of_a_booster_stays_on(path: Path) -> None:
    """§1.2: 2 s at site, or a stiff network hunts."""
    rules = load_site(path, DRIVERS, KINDS).rules
    filters = [rule.model.filter for rule in rules if isinstance(rule.model, Booster)]
    assert set(filters) <= {2.0}


@pytest.fixture(scope="module")
def demo() -> Site:
    return load_site(ROOT / "config" / "demo", DRIVERS, KINDS)


def test_demo_stays_on_this_machine(demo: Site) -> None:
    """Its equipment is served where the site says: nothing has to move, not even the broker."""
    home = local(demo)
    assert (home.buses, home.uplinks, home.bms) == (demo.buses, demo.uplinks, demo.bms)
    assert home.uplinks
    assert home.bms is not None


def test_demo_drives_nothing_of_the_fire_device(demo: Site) -> None:
    """The hydrant main is watched only, and no command is granted on it."""
    fire = [point for point in demo.points if point.fire]
    assert fire
    assert {point.role for point in fire} == {Role.INPUT}
    assert not {grant.point for grant in demo.grants} & {point.id for point in fire}


def test_demo_speaks_both_languages(demo: Site) -> None:
    """Every name, alarm text and first check of the demo is there in Chinese and in English."""
    texts = [point.name for point in demo.points if point.device]
    texts += [text for alarm in demo.alarms for text in (alarm.text, *alarm.checks)]
    assert [text for text in texts if text.zh == text.en] == []
    assert [alarm.id for alarm in demo.alarms if len(alarm.checks) < 2] == []


def test_demo_relays_fail_to_alarm(demo: Site) -> None:
    """When the controller gives up, the beacon is lit and the common alarm relay drops."""
    failsafe = {p.id: p.output.failsafe for p in demo.points if p.output is not None}
    assert (failsafe["io.relay1"], failsafe["io.relay3"]) == (1.0, 0.0)
    assert failsafe["booster.p1.run"] == "hold"
    assert failsafe["v3.position"] == "hold"
    assert failsafe["lobby.dimmer"] == 60.0
