"""The rig steps models on one clock, couples them, and breaks their sensors."""

from __future__ import annotations

from math import isnan

import pytest

from drivers.sim.models import MODELS
from drivers.sim.models.booster import Booster
from drivers.sim.models.zones import HEADER, ZoneNetwork
from drivers.sim.rig import Rig


def everything(**options: float) -> Rig:
    return Rig(
        {name: make() for name, make in MODELS.items()},
        noise=options.get("noise", 0.0),
        seed=int(options.get("seed", 1)),
    )


def state(rig: Rig) -> dict[str, float]:
    return {
        f"{name}.{variable}": rig.read(name, variable)
        for name, model in rig.models.items()
        for variable in model.readings()
    }


@pytest.mark.parametrize("pace", [0.03, 0.1, 0.37, 5.0])
def test_values_depend_on_the_time_and_not_on_the_pace(pace: float) -> None:
    """However often it is advanced, the rig shows the same values, noise included."""
    steady, paced = everything(noise=1.0), everything(noise=1.0)
    for rig in (steady, paced):
        rig.start("zones", "valve_drift:3")
        rig.advance_to(100.0)
    steady.advance_to(110.0)
    now = 100.0
    while now < 110.0 - 1e-9:
        now = min(now + pace, 110.0)
        paced.advance_to(now)
    assert state(paced) == state(steady)


def test_noise_follows_its_seed() -> None:
    """Another seed gives other noise; without noise the sensors are exact."""
    first, other, exact = everything(noise=1.0), everything(noise=1.0, seed=2), everything()
    assert first.read("zones", "z1_pressure") != other.read("zones", "z1_pressure")
    assert exact.read("zones", "header_pressure") == HEADER
    assert first.read("zones", "header_pressure") == pytest.approx(HEADER, abs=0.003)


def test_noise_does_not_make_a_standing_meter_run_backwards() -> None:
    """With the pumps at rest the flow meter shows at least 0, however noisy."""
    rig = everything(noise=5.0)
    rig.advance_to(0.0)
    seen = []
    for now in range(1, 100):
        rig.advance_to(float(now))
        seen.append(rig.read("booster", "flow"))
    assert min(seen) == 0.0
    assert max(seen) > 0.0


def test_couplings_join_models() -> None:
    """Coupled, a burst in a zone draws on the pumps and the header follows their pressure."""
    booster, zones = Booster(pressure=0.41), ZoneNetwork(supply=0.41)
    booster.run_at(83.7, 83.7, 83.7)

    def couple() -> None:
        zones.supply, booster.draw = booster.pressure, zones.flow

    rig = Rig({"booster": booster, "zones": zones}, couplings=[couple])
    rig.advance_to(0.0)
    rig.advance_to(60.0)
    assert zones.header == pytest.approx(0.41, abs=0.005)
    assert zones.flow == pytest.approx(18.0, abs=0.1)
    rig.start("zones", "burst:2")
    rig.advance_to(90.0)
    assert zones.header < 0.39
    assert rig.read("booster", "flow") > 25.0


def test_a_jumped_sensor_stays_and_its_plant_goes_on() -> None:
    """S07: 0.40 becomes 0.10 MPa in one sample; the flow does not move; the repair shows truth."""
    rig = everything()
    rig.advance_to(0.0)
    flow = rig.read("zones", "z1_flow")
    rig.start("zones", "sensor_jump:z1_pressure")
    assert rig.read("zones", "z1_pressure") == pytest.approx(0.10, abs=1e-3)
    rig.advance_to(10.0)
    assert rig.read("zones", "z1_flow") == flow
    rig.stop("zones", "sensor_jump:z1_pressure")
    assert rig.read("zones", "z1_pressure") == pytest.approx(0.40, abs=1e-3)


def test_a_bad_sensor_shows_nothing() -> None:
    """`sensor_bad` shows NaN until it is repaired."""
    rig = everything()
    rig.start("booster", "sensor_bad:discharge_pressure")
    assert isnan(rig.read("booster", "discharge_pressure"))
    rig.stop("booster", "sensor_bad:discharge_pressure")
    assert rig.read("booster", "discharge_pressure") == 0.40


def test_a_frozen_sensor_stays_at_what_it_saw() -> None:
    """§7.0: without noise, whatever the plant does; the repair shows the truth."""
    rig = everything(noise=1.0)
    rig.advance_to(0.0)
    rig.start("zones", "sensor_frozen:z3_pressure")
    rig.start("zones", "valve_drift:3")
    seen = set()
    for second in range(20):
        rig.advance_to(float(second))
        seen.add(rig.read("zones", "z3_pressure"))
    (stayed,) = seen
    assert stayed == pytest.approx(0.40, abs=1e-3)
    rig.stop("zones", "sensor_frozen:z3_pressure")
    assert rig.read("zones", "z3_pressure") == pytest.approx(0.281, abs=2e-3)


@pytest.mark.parametrize("model", MODELS)
def test_every_fault_can_be_started_and_stopped(model: str) -> None:
    """Each named fault starts and stops, and an unknown one is refused."""
    rig = everything()
    for fault in sorted(rig.faults(model)):
        rig.start(model, fault)
        rig.stop(model, fault)
    assert rig.models[model].active == set()
    with pytest.raises(KeyError):
        rig.start(model, "earthquake")
    with pytest.raises(KeyError):
        rig.stop(model, "earthquake")


def test_commands_are_refused_where_there_are_none() -> None:
    """A measurement cannot be written and a percentage ends at 100."""
    rig = everything()
    rig.write("zones", "v1_command", 100.0)
    with pytest.raises(KeyError):
        rig.write("zones", "v1_position", 50.0)
    with pytest.raises(ValueError, match="0-100"):
        rig.write("zones", "v1_command", 101.0)
    assert rig.read("zones", "v1_command") == 100.0
    with pytest.raises(ValueError, match="0 or 1"):
        rig.write("io", "relay1", 0.5)
