"""What is typed while `edge equipment` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import edge
from drivers import DRIVERS
from drivers.sim.equipment import Equipment
from edge.cli.equipment import obey
from edge.proof.local import local
from edge.proof.setting import setting

RESIDENTIAL = Path(edge.__file__).resolve().parents[1] / "config" / "residential"


@pytest.fixture(scope="module")
def served() -> Equipment:
    found = setting(RESIDENTIAL, DRIVERS)
    return Equipment(found.field, local(found.site).buses)


def test_a_fault_begins_and_ends(served: Equipment) -> None:
    """In the words of scenarios, of a model as of one of its sensors; nothing is said of it."""
    for words in ("zones valve_drift:3", "supply sensor_bad:flow"):
        model, fault = words.split()
        before = served.rig.shown(model)
        assert obey(served, f"fault {words}") is None
        active = served.rig.models[model].active
        assert fault in active or served.rig.shown(model) != before
        assert obey(served, f"  repair  {words} ") is None
        assert not active
        assert served.rig.shown(model) == before


def test_a_device_falls_silent_and_answers(served: Equipment) -> None:
    """The device, not its neighbours behind the same gateway."""
    wires = {unit: wire for server in served.modbus.values() for unit, wire in server.wire.items()}
    assert obey(served, "silent pit") is None
    assert [unit for unit, wire in wires.items() if wire.silent] == [51]
    assert obey(served, "answers pit") is None
    assert not any(wire.silent for wire in wires.values())


def test_all_faults_are_listed(served: Equipment) -> None:
    """By model, and what every sensor can have; a model that cannot break is left out."""
    told = obey(served, "faults")
    assert told is not None
    assert "zones: burst:1 burst:2" in told.en
    assert "people" not in told.en
    assert "sensor_bad:" in told.en
    assert told.zh != told.en


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("fault zones valve_drift:9", "no fault zones valve_drift:9"),
        ("fault zoness valve_drift:3", "no fault zoness valve_drift:3"),
        ("fault zones", "fault zones is not understood"),
        ("silent pitt", "the site has no device pitt"),
        ("stop it", "stop it is not understood"),
    ],
)
def test_what_is_not_understood_is_said(served: Equipment, line: str, complaint: str) -> None:
    """In both languages; an empty line is nothing."""
    told = obey(served, line)
    assert told is not None
    assert complaint in told.en
    assert told.zh != told.en
    assert obey(served, "  ") is None
