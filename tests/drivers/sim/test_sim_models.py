"""The models give the numbers of the acceptance scenarios' reference simulation."""

from __future__ import annotations

from math import exp, sqrt

import pytest

from drivers.sim.models.booster import Booster, pump_flow
from drivers.sim.models.fire import FireMain
from drivers.sim.models.lighting import Lobby, daylight
from drivers.sim.models.model import Model
from drivers.sim.models.panel import IoModule
from drivers.sim.models.zones import BURST, CD, HEADER, ZoneNetwork, zone_pressure


def run(model: Model, seconds: float) -> None:
    for _ in range(round(seconds / model.dt)):
        model.step(model.dt)


@pytest.mark.parametrize(
    ("minute", "lux"),
    [
        (390, 3474.5), (480, 17411.0), (600, 27768.4), (611.75, 22622.5), (720, 35296.2),
        (900, 26390.2), (360, 0.0), (1080, 0.0), (0, 0.0),
    ],
)  # fmt: skip
def test_daylight_has_the_check_values(minute: float, lux: float) -> None:
    """The daylight curve passes through the check values of the lighting day."""
    assert lux == pytest.approx(daylight(minute), abs=0.06)


@pytest.mark.parametrize(
    ("flow", "pumps", "speed"), [(6, 1, 0.8264), (14, 1, 0.9639), (24, 2, 0.9214), (6, 2, 0.8009)]
)
def test_booster_holds_at_the_steady_speeds(flow: float, pumps: int, speed: float) -> None:
    """At the steady speeds of the staging vectors the pressure stays at 0.40 MPa."""
    assert pump_flow(speed - 5e-5, 0.40) <= flow / pumps <= pump_flow(speed + 5e-5, 0.40)
    booster = Booster(demand=flow)
    booster.run_at(*[100 * speed] * pumps)
    run(booster, 300)
    assert booster.pressure == pytest.approx(0.40, abs=5e-4)


@pytest.mark.parametrize(
    ("header", "opening", "cd", "pressure", "flow"),
    [
        (HEADER, 0.8, CD, 0.400, 6.00),
        (HEADER, 0.5, CD, 0.383, 5.87),
        (HEADER, 0.4, CD, 0.369, 5.76),
        (HEADER, 0.3, CD, 0.341, 5.54),
        (HEADER, 0.2, CD, 0.281, 5.03),
        (HEADER, 0.8, CD + BURST, 0.321, 16.72),
        (0.30, 0.8, CD, 0.2915, 5.12),
    ],
)
def test_zone_has_the_vectors(
    header: float, opening: float, cd: float, pressure: float, flow: float
) -> None:
    """The zone's pressure and flow are those of the localisation vectors."""
    seen = zone_pressure(header, opening, cd)
    assert pressure == pytest.approx(seen, abs=6e-4)
    assert flow == pytest.approx(cd * sqrt(seen), abs=6e-3)


def test_drift_takes_plug_and_feedback() -> None:
    """S01: plug and feedback run from 80 to 20 % in 5 s, the command stays, 1 and 2 are calm."""
    zones = ZoneNetwork()
    zones.active.add("valve_drift:3")
    run(zones, 4.2)
    assert zones.valves[2].motor == pytest.approx(29.6, abs=0.01)
    assert zones.zones[2].pressure <= 0.34
    run(zones, 0.8)
    seen = zones.readings()
    assert (seen["v3_command"], seen["v3_position"]) == (80.0, pytest.approx(20.0))
    assert seen["z3_pressure"] == pytest.approx(0.281, abs=6e-4)
    assert seen["z1_pressure"] == pytest.approx(0.400, abs=6e-4)
    zones.active.clear()
    run(zones, 29)
    assert zones.valves[2].plug < 80.0
    run(zones, 2)
    assert zones.valves[2].plug == pytest.approx(80.0)


def test_false_feedback_moves_the_plug_only() -> None:
    """S04: the pressure falls to 0.281 MPa while the feedback goes on saying 80 %."""
    zones = ZoneNetwork()
    zones.active.add("false_feedback:3")
    run(zones, 5)
    seen = zones.readings()
    assert (seen["v3_position"], round(seen["z3_pressure"], 3)) == (80.0, 0.281)


def test_a_stuck_valve_and_a_hand_lever_ignore_the_command() -> None:
    """A jammed valve and one in HAND stay; a healthy one travels at 2 %/s."""
    zones = ZoneNetwork()
    zones.active.update({"valve_stuck:1", "hoa_hand:2"})
    zones.commands.update({"v1_command": 40.0, "v2_command": 40.0, "v3_command": 40.0})
    run(zones, 10)
    seen = zones.readings()
    assert [seen["v1_position"], seen["v2_position"]] == [80.0, 80.0]
    assert seen["v3_position"] == pytest.approx(60.0)
    assert [seen[f"v{i}_auto"] for i in (1, 2, 3)] == [1.0, 0.0, 1.0]


def test_supply_drop_takes_every_zone() -> None:
    """S06: with the header at 0.30 MPa every zone falls to 0.292."""
    zones = ZoneNetwork()
    zones.active.add("supply_drop")
    run(zones, 0.1)
    assert pytest.approx([zone.pressure for zone in zones.zones], abs=6e-4) == [0.2915] * 3


def controlled(booster: Booster, seconds: float, integral: float) -> tuple[float, float, float]:
    """Run one pump under the reference PI (Kp 400 %/MPa, Ti 6 s, 70-100 %, every 0.5 s).

    Gives the integral, the lowest pressure and the last time outside 0.40 ± 0.01 MPa.
    """
    low, outside = booster.pressure, 0.0
    for k in range(round(seconds / booster.dt)):
        if k % 5 == 0:
            error = 0.40 - booster.pressure
            wanted = 400 * error + integral
            speed = min(max(wanted, 70.0), 100.0)
            integral += 400 / 6 * error * 0.5 + (speed - wanted) * 0.5 / 6
            booster.commands["p1_reference"] = speed
        booster.step(booster.dt)
        low = min(low, booster.pressure)
        if abs(booster.pressure - 0.40) > 0.01:
            outside = (k + 1) * booster.dt
    return integral, low, outside


def test_load_step_of_the_reference_simulation() -> None:
    """S11: from 6 to 14 m³/h the reference PI sees 0.380 MPa and is back in band within 10.3 s."""
    booster = Booster(demand=6)
    booster.run_at(82.64)
    integral, _, _ = controlled(booster, 60, 82.64)
    booster.demand = 14
    _, low, outside = controlled(booster, 60, integral)
    assert low == pytest.approx(0.380, abs=0.001)
    assert outside == pytest.approx(10.3, abs=0.3)


def test_a_tripped_pump_delivers_nothing_at_once() -> None:
    """S13: a trip stops the pump and shows on the fault contact; lost feedback shows nowhere."""
    booster = Booster()
    booster.run_at(82.64, 82.64)
    booster.active.update({"pump_trip:1", "no_run_feedback:2"})
    run(booster, 0.1)
    seen = booster.readings()
    assert (seen["flow"], seen["running"]) == (0.0, 0.0)
    assert (seen["p1_fault"], seen["p2_fault"]) == (1.0, 0.0)
    assert booster.pressure < 0.40


def test_a_pump_in_hand_goes_on_as_it_is() -> None:
    """In HAND the commands do not reach the pump and the contact says so."""
    booster = Booster()
    booster.run_at(82.64)
    booster.active.add("hoa_hand:1")
    booster.commands["p1_run"] = 0.0
    run(booster, 5)
    seen = booster.readings()
    assert (seen["p1_running"], seen["p1_speed"], seen["p1_auto"]) == (1.0, 82.64, 0.0)


def test_pumps_ramp_ten_percent_a_second() -> None:
    """A started pump needs 8 s to 80 % and stops delivering at once when commanded off."""
    booster = Booster()
    booster.commands.update({"p2_run": 1.0, "p2_reference": 80.0})
    run(booster, 4)
    assert booster.pumps[1].speed == pytest.approx(40.0)
    run(booster, 4)
    assert booster.pumps[1].speed == pytest.approx(80.0)
    booster.commands["p2_run"] = 0.0
    run(booster, 0.1)
    assert booster.pumps[1].flow == 0.0


def test_lobby_day_under_the_reference_rule() -> None:
    """S21 A: the closed-loop rule spends 2.551 kWh a day and never lets it get below 135 lx."""
    lobby = Lobby()
    target, level, seen, low, bright, dark, lit = 0.75, 0.75, lobby.illuminance, 1e9, 0, 0, True
    for second in range(86400):
        if second % 10 == 0:
            if lit and abs(150 - seen) > 0.05 * 150:
                target = min(max(target + 0.3 * (150 - seen) / 200, 0.10), 1.0)
            bright = bright + 10 if lit and target == 0.10 and seen > 1.3 * 150 else 0
            dark = dark + 10 if not lit and seen < 1.05 * 150 else 0
            if bright >= 600:
                lit, target = False, 0.0
            if dark >= 30:
                lit, target, dark = True, 0.10, 0
        level += min(max(target - level, -0.01), 0.05)
        lobby.commands["level"] = 100 * level
        lobby.step(1.0)
        seen += (lobby.illuminance - seen) * (1 - exp(-1 / 10))
        low = min(low, lobby.illuminance)
    assert lobby.energy == pytest.approx(2.551, rel=0.02)
    assert low == pytest.approx(142, abs=2)


def test_covered_sensor_reads_the_same_whatever_the_lamps_do() -> None:
    """S23: a covered sensor stays at 5 lx from 0 to 100 %."""
    lobby = Lobby(minute=720, level=0)
    lobby.active.add("lux_covered")
    dark = lobby.readings()["illuminance"]
    lobby.commands["level"] = 100.0
    assert (dark, lobby.readings()["illuminance"]) == (5.0, 5.0)


def test_buttons_and_relays() -> None:
    """A held button shows on its input only; a relay reads back what it was told."""
    module = IoModule()
    module.active.add("press:2")
    module.commands["relay1"] = 1.0
    seen = module.readings()
    assert [seen[f"input{i}"] for i in (1, 2, 3)] == [0.0, 1.0, 0.0]
    assert [seen["relay1"], seen["relay2"]] == [1.0, 0.0]


def test_the_fire_main_takes_no_command() -> None:
    """A fire device has nothing to write; its fault brings it below the 0.07 MPa of the code."""
    main = FireMain()
    main.active.add("pressure_low")
    run(main, 10)
    assert main.commands == {}
    assert main.readings()["hydrant_pressure"] == pytest.approx(0.06)


def test_tank_runs_empty_and_fills_again() -> None:
    """`tank_low` takes the break tank below 0.3 m within 5 s; the repair brings it back."""
    booster = Booster()
    booster.active.add("tank_low")
    run(booster, 5)
    assert booster.readings()["tank_level"] < 0.3
    booster.active.clear()
    run(booster, 5)
    assert booster.readings()["tank_level"] == pytest.approx(2.0)
