"""Meters count in pulses, roll over, stand still and are exchanged; lamps fade and fail."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from drivers.sim.models import MODELS
from drivers.sim.models.lighting import Garage, Lobby, Outdoor
from drivers.sim.models.meter import Meter
from drivers.sim.models.zones import ZoneNetwork
from drivers.sim.plant_file import read_plant
from drivers.sim.rig import Rig


def run(meter: Meter, seconds: float) -> dict[str, float]:
    for _ in range(round(seconds / meter.dt)):
        meter.step(meter.dt)
    return meter.readings()


@pytest.mark.parametrize(("pulse", "rate"), [(0.01, 0.41), (0.1, 5.03), (1.0, 12.0), (0.001, 0.9)])
def test_a_register_shows_whole_pulses(pulse: float, rate: float) -> None:
    """After some hours the register is behind what has passed by less than a pulse."""
    meter = Meter(rate, pulse=pulse, total=120.0)
    seen = run(meter, 3.7 * 3600)
    assert seen["true_total"] == pytest.approx(3.7 * rate)
    assert -1e-9 <= 120 + seen["true_total"] - seen["total"] < pulse + 1e-9
    assert seen["pulses"] == pytest.approx((seen["total"] - 120) / pulse)


def test_small_flows_come_in_single_pulses() -> None:
    """§3.7: with 10 L/pulse a flow of 5 L/h stands for two hours between two readings."""
    meter = Meter(0.005)
    seen = [run(meter, 900)["total"] for _ in range(17)]
    assert [round(b - a, 6) for a, b in itertools.pairwise(seen)].count(0.01) == 2
    assert seen[-1] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("rollover", "pulse"), [(100_000.0, 0.01), (10_000.0, 0.1), (2**32 * 0.01, 0.01)]
)
def test_a_register_begins_again(rollover: float, pulse: float) -> None:
    """§3.3: past its last number it is 0, and what passed is the difference modulo the rollover."""
    meter = Meter(1.0, pulse=pulse, rollover=rollover, total=rollover - 2 * pulse)
    before = meter.readings()["total"]
    after = run(meter, 3600)["total"]
    assert before == pytest.approx(rollover - 2 * pulse)
    assert after < before
    assert (after - before) % rollover == pytest.approx(1.0)


def test_a_stopped_meter_and_lost_pulses() -> None:
    """The water runs on; a stopped register misses it for good, lost pulses half of it."""
    meter = Meter(6.0)
    meter.active.add("stopped")
    seen = run(meter, 1800)
    assert (seen["total"], seen["rate"], seen["true_total"]) == (0.0, 0.0, pytest.approx(3.0))
    meter.active = {"lost_pulses"}
    seen = run(meter, 1800)
    assert (seen["total"], seen["rate"]) == (pytest.approx(1.5), 6.0)
    meter.active.clear()
    assert run(meter, 1800)["total"] == pytest.approx(4.5)


def test_an_exchanged_meter_begins_at_nothing() -> None:
    """Once, when it is exchanged; then it counts."""
    meter = Meter(6.0, total=2345.0)
    run(meter, 1800)
    meter.active.add("exchanged")
    assert run(meter, 600)["total"] == pytest.approx(1.0)
    assert run(meter, 600)["total"] == pytest.approx(2.0)


def test_a_meter_behind_a_flow_and_one_behind_a_power(tmp_path: Path) -> None:
    """Connected in a plant file: m³ of a zone, kWh of lamps whose power is in W."""
    plant = tmp_path / "plant.yaml"
    plant.write_text(
        "models:\n"
        "  zones: {model: zones}\n"
        "  lane: {model: garage, level: 100}\n"
        "  water: {model: meter, total: 1250}\n"
        "  power: {model: meter, factor: 0.001, pulse: 0.1}\n"
        "connect: {water.rate: zones.flow, power.rate: lane.power}\n"
    )
    file = read_plant(plant)
    rig = file.rig({}, file.marks, set())
    assert file.problems == []
    rig.advance_to(0.0)
    rig.advance_to(3600.0)
    network = rig.models["zones"]
    assert isinstance(network, ZoneNetwork)
    assert rig.read("water", "total") == pytest.approx(1250 + network.flow, abs=0.01)
    assert rig.read("power", "total") == pytest.approx(rig.read("lane", "energy"), abs=0.1)
    assert rig.read("power", "rate") == pytest.approx(1.6)


@pytest.mark.parametrize("model", [Lobby, Garage, Outdoor])
@pytest.mark.parametrize(("hours", "light"), [(0, 100), (25_000, 83.67), (50_000, 70), (1e5, 49)])
def test_lamps_fade_by_their_hours(
    model: type[Lobby | Garage | Outdoor], hours: float, light: float
) -> None:
    """L70 of LED lamps: 70 % of their light after 50,000 h; the power stays what it is."""
    lamps = model(level=100.0, hours=hours, l70=50_000)
    seen = lamps.readings()
    assert seen["light"] == pytest.approx(light, abs=0.01)
    assert seen["power"] == model(level=100.0).readings()["power"]
    run(lamps, 3600)  # type: ignore[arg-type]
    assert lamps.readings()["hours"] == pytest.approx(hours + 1)


@pytest.mark.parametrize(("model", "power"), [(Lobby, 169.8), (Garage, 1135.0), (Outdoor, 423.0)])
def test_lamps_that_are_out_are_missed(model: type[Lobby | Garage | Outdoor], power: float) -> None:
    """Three of ten dark: 30 % less light, and less power above standby; the repair brings both."""
    lamps = model(level=100.0)
    lamps.active.add("lamps_out")
    lamps.step(1.0)
    seen = lamps.readings()
    assert (seen["light"], seen["power"]) == (pytest.approx(70.0), pytest.approx(power))
    lamps.active.clear()
    lamps.step(1.0)
    assert lamps.readings()["light"] == pytest.approx(100.0)


@pytest.mark.parametrize(
    "options",
    [
        "booster, pumps: 0", "booster, head: -1", "zones, zones: 0", "zones, stroke: 0",
        "zones, opening: 101", "sump, area: 0", "tower, cells: 0", "irrigation, soil: 120",
        "garage, clean: 2", "outdoor, l70: 0", "lobby, level: -1", "meter, pulse: 0",
        "io, channels: 0",
    ],
)  # fmt: skip
def test_what_a_plant_cannot_be_is_refused(options: str, tmp_path: Path) -> None:
    """One problem, at the value, in both languages; no traceback of a division by nothing."""
    plant = tmp_path / "plant.yaml"
    line = f"  it: {{model: {options}}}"
    plant.write_text(f"models:\n{line}\n")
    file = read_plant(plant)
    file.rig({}, file.marks, set())
    (problem,) = file.problems
    value = options.rpartition(": ")[2]
    assert (problem.mark.line, problem.mark.column) == (2, line.rindex(value) + 1)
    assert problem.text.zh != problem.text.en


def test_every_sensor_with_noise_is_one_that_there_is() -> None:
    """Each model's noise is of its own readings, and no command is noisy."""
    for name, make in MODELS.items():
        model = make()
        assert model.noise.keys() <= model.readings().keys() - model.commands.keys(), name


def test_the_readme_lists_every_model_with_every_fault() -> None:
    """By the names that a plant file and a scenario use."""
    readme = (Path(__file__).parents[3] / "drivers" / "sim" / "README.md").read_text()
    table = readme.partition("| model | faults |")[2].partition("\n\n")[0].splitlines()
    rows = {line.split("|")[1].strip(): line for line in table if line.startswith("| ")}
    for name, make in MODELS.items():
        model = make()
        kinds = {fault.partition(":")[0] for fault in model.faults}
        if kinds:
            assert [k for k in kinds if f"`{k}" not in rows[name]] == [], name


def test_noise_never_lets_a_register_go_back() -> None:
    """The register itself has no noise: a counter that flickers would count backwards."""
    rig = Rig({"meter": Meter(6.0)}, noise=1.0)
    rig.advance_to(0.0)
    seen = []
    for second in range(0, 3600, 7):
        rig.advance_to(second)
        seen.append(rig.read("meter", "total"))
    assert seen == sorted(seen)
