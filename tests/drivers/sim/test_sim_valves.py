"""Valves of the zone network that do not do what they are told: stiction, a gear that is out."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.sim.models.zones import ZoneNetwork, zone_pressure
from drivers.sim.plant_file import read_plant


def travelled(zones: ZoneNetwork, command: float, seconds: float) -> list[float]:
    """The feedback of valve 1 after each step of so many seconds under a command."""
    zones.commands["v1_command"] = command
    seen = []
    for _ in range(round(seconds / zones.dt)):
        zones.step(zones.dt)
        seen.append(zones.readings()["v1_position"])
    return seen


@pytest.mark.parametrize("stiction", [2.0, 6.0, 8.0, 13.0])
@pytest.mark.parametrize("way", [1, -1])
def test_a_sticking_stem_stays_and_jumps(stiction: float, way: int) -> None:
    """Within the band nothing moves, however long; beyond it the stem jumps after the drive."""
    zones = ZoneNetwork(opening=50, stiction=stiction)
    zones.active.add("stiction:1")
    assert set(travelled(zones, 50 + way * stiction, 60)) == {50.0}
    seen = travelled(zones, 50 + way * (stiction + 10), 60)
    jumps = [abs(b - a) for a, b in zip([50.0, *seen], seen, strict=False) if a != b]
    assert len(jumps) == int((stiction + 10) / stiction - 1e-9)
    assert min(jumps) > stiction
    assert max(jumps) == pytest.approx(stiction, abs=0.21)  # and a step of the drive, 0.2 %
    assert abs(seen[-1] - (50 + way * (stiction + 10))) <= stiction


def test_a_freed_stem_goes_where_the_drive_is() -> None:
    """The repair lets the spring go: the stem is where the drive is, then both go on together."""
    zones = ZoneNetwork(opening=50)
    zones.active.add("stiction:1")
    travelled(zones, 44, 60)
    zones.active.clear()
    assert travelled(zones, 44, 1)[0] == pytest.approx(44)
    assert travelled(zones, 40, 3)[-1] == pytest.approx(40)


@pytest.mark.parametrize(("frees", "freed"), [(0, False), (2, True), (3, False)])
def test_strokes_free_a_sticking_stem(frees: int, freed: bool) -> None:
    """The second stroke after a rest is the one that counts where two free it."""
    zones = ZoneNetwork(opening=50, frees=frees)
    zones.active.add("stiction:1")
    travelled(zones, 50, 5)
    travelled(zones, 60, 20)
    travelled(zones, 50, 20)
    assert ("stiction:1" not in zones.active) is freed


def test_a_gear_that_is_out_moves_the_feedback_only() -> None:
    """Motor and feedback follow the command, the water does not see it; engaged again it does."""
    zones = ZoneNetwork()
    zones.active.add("gear_off:1")
    assert travelled(zones, 20, 40)[-1] == pytest.approx(20)
    assert zones.readings()["z1_pressure"] == pytest.approx(0.400, abs=6e-4)
    zones.active.clear()
    travelled(zones, 20, 10)
    assert zones.readings()["z1_pressure"] == pytest.approx(zone_pressure(zones.supply, 0.2))


@pytest.mark.parametrize("option", ["stiction: 0", "stiction: 101", "frees: -1", "stiction: lots"])
def test_a_band_that_is_none_is_refused(option: str, tmp_path: Path) -> None:
    """With the place of the option in the plant's file."""
    plant = tmp_path / "plant.yaml"
    plant.write_text(f"models:\n  zones: {{model: zones, {option}}}\n")
    file = read_plant(plant)
    file.rig({}, file.marks, set())
    (problem,) = file.problems
    assert (problem.mark.line, problem.mark.column > 20) == (2, True)
