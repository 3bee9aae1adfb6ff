"""The bearing of §3.2: its arrays as hourly medians, and its physics otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from statistics import fmean, median

import pytest

from drivers.sim.models.bearing import BOOK_AMBIENT, BOOK_LOAD, BOOK_TEMPERATURE, RISE, Machine
from drivers.sim.plant_file import read_plant
from drivers.sim.rig import Rig

HOUR = 3600.0
POLL = 60.0  # s
RESIDUALS = [1.1, 1.7, 2.8, 4.0, 4.5, 48.9, 6.1, 7.4, 8.2, 9.0, 10.2, 10.8]  # domain.md §3.2


def hours(machine: Machine, count: int, noise: float = 0.0) -> Iterator[dict[str, float]]:
    """The medians of each hour of what the sensors show once a minute."""
    rig = Rig({"machine": machine}, noise=noise)
    rig.advance_to(0.0)
    for hour in range(count):
        seen = []
        for poll in range(round(HOUR / POLL)):
            rig.advance_to(hour * HOUR + poll * POLL)
            seen.append(dict(rig.shown("machine")))
        yield {name: median(sample[name] for sample in seen) for name in seen[0]}


def residual(seen: dict[str, float], rise: float = RISE, gamma: float = 1.0) -> float:
    return seen["temperature"] - seen["ambient"] - rise * (seen["load"] / 100) ** gamma


def theil_sen(values: list[float]) -> float:
    """The median of all pairwise slopes, per hour."""
    return median((b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2))


def test_the_book_is_played_as_hourly_medians() -> None:
    """T_b, T_amb and load of §3.2 hour by hour, the spike in hour 5; then it stays at the last."""
    seen = list(hours(Machine(play="book"), 14))
    assert [s["ambient"] for s in seen[:12]] == list(BOOK_AMBIENT)
    assert [s["temperature"] for s in seen[:12]] == list(BOOK_TEMPERATURE)
    assert {s["load"] for s in seen} == {80.0}
    assert [residual(s) for s in seen[:12]] == pytest.approx(RESIDUALS)
    assert BOOK_TEMPERATURE[5] == 95.0
    assert seen[13] == seen[11]


def test_the_vectors_of_the_trend_follow_from_what_is_played() -> None:
    """0.90 K/h by Theil-Sen, 0.7465 by least squares, 1.045 without taking the weather out."""
    seen = list(hours(Machine(play="book"), 12))
    residuals = [residual(s) for s in seen]
    assert theil_sen(residuals) == pytest.approx(0.90, abs=0.005)
    assert theil_sen([s["temperature"] for s in seen]) == pytest.approx(1.045, abs=0.005)
    middle, centre = fmean(residuals), 5.5
    fitted = sum((h - centre) * (r - middle) for h, r in enumerate(residuals)) / 143
    assert fitted == pytest.approx(0.7465, abs=5e-4)


def test_noise_leaves_the_medians_where_they_are() -> None:
    """Equal seeds give equal noise; the median of an hour stays within 0.1 K of the book's."""
    noisy = list(hours(Machine(play="book"), 12, noise=1.0))
    assert noisy == list(hours(Machine(play="book"), 12, noise=1.0))
    assert noisy != list(hours(Machine(play="book"), 12))
    assert [s["temperature"] for s in noisy] == pytest.approx(BOOK_TEMPERATURE, abs=0.1)


def test_weather_alone_leaves_no_trend() -> None:
    """S26: T_amb rises by 0.9 K/h, the bearing with it; the residual stays, 0.45 K behind."""
    seen = list(hours(Machine(drift=0.9), 12))
    assert seen[11]["ambient"] - seen[1]["ambient"] == pytest.approx(9.0)
    assert abs(theil_sen([residual(s) for s in seen[3:]])) < 0.01
    assert residual(seen[11]) == pytest.approx(-0.9 * 1800 / HOUR, abs=0.01)


@pytest.mark.parametrize("rate", [0.3, 0.9, 2.5])
def test_wear_shows_as_heat_and_as_vibration(rate: float) -> None:
    """The residual grows with the wear, by its rate; vibration is 1.6 times as much at 10.9 K."""
    machine = Machine(wear_rate=rate)
    machine.active.add("worn")
    seen = list(hours(machine, 14))
    assert theil_sen([residual(s) for s in seen[3:]]) == pytest.approx(rate, rel=0.01)
    machine.bearing.wear = 10.9
    assert machine.readings()["velocity"] == pytest.approx(1.6 * 1.6, rel=0.01)


@pytest.mark.parametrize(("load", "rise", "gamma"), [(0.8, 22, 1), (0.5, 30, 1), (0.6, 22, 3)])
def test_the_residual_of_a_healthy_bearing_is_nothing(
    load: float, rise: float, gamma: float
) -> None:
    """T - T_amb - ΔT_ref·load^γ, at each load and for each bearing, once it is warm."""
    machine = Machine(load=100 * load, rise=rise, gamma=gamma)
    (_, later) = hours(machine, 2)
    assert residual(later, rise, gamma) == pytest.approx(0, abs=1e-9)
    machine.load = 100.0
    for _ in range(round(machine.bearing.warm_up / machine.dt)):
        machine.step(machine.dt)
    share = residual(machine.readings(), rise, gamma) / (rise * (load**gamma - 1))
    assert share == pytest.approx(0.368, abs=0.002)  # 1/e after one time constant


def test_a_start_shakes_for_less_than_a_minute() -> None:
    """From standstill: four times the vibration, within 1 % after the 60 s for which it is masked;
    at standstill none, and the bearing cools to the air."""
    machine = Machine()
    machine.commands["run"] = 0.0
    for _ in range(6 * 3600):
        machine.step(machine.dt)
    seen = machine.readings()
    assert (seen["velocity"], seen["load"], seen["running"]) == (0.0, 0.0, 0.0)
    assert seen["temperature"] == pytest.approx(26.0, abs=0.01)
    machine.commands["run"] = 1.0
    machine.step(machine.dt)
    assert machine.readings()["velocity"] > 3.5 * 1.6
    for _ in range(60):
        machine.step(machine.dt)
    assert machine.readings()["velocity"] == pytest.approx(1.6, rel=0.01)


def test_a_spike_is_the_transmitters() -> None:
    """It shows 95 °C as long as it lasts; the bearing itself is as warm as before."""
    machine = Machine()
    before = machine.readings()["temperature"]
    machine.active.add("spike")
    assert machine.readings()["temperature"] == 95.0
    machine.active.clear()
    assert machine.readings()["temperature"] == before == 26 + RISE * BOOK_LOAD / 100


@pytest.mark.parametrize("option", ["play: books", "load: 120", "warm_up: 0", "gamma: -1"])
def test_a_wrong_option_is_refused_with_its_place(option: str, tmp_path: Path) -> None:
    """In the plant's file, in both languages."""
    line = f"  fan: {{model: bearing, ambient: 20, {option}}}"
    plant = tmp_path / "plant.yaml"
    plant.write_text(f"models:\n{line}\n")
    file = read_plant(plant)
    file.rig({}, file.marks, set())
    (problem,) = file.problems
    value = option.partition(": ")[2]
    assert (problem.mark.line, problem.mark.column) == (2, line.rindex(value) + 1)
    assert problem.text.zh != problem.text.en
