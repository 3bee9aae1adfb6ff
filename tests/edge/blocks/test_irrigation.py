"""Watering a bed by its evaporation: the book's vector, any other bed, what keeps water back."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.sim.models.irrigation import Irrigation as Bed
from edge.blocks.irrigation import IRRIGATION
from edge.blocks.irrigation_model import Irrigation
from edge.blocks.irrigation_shown import (
    BROKEN,
    COMPLETE,
    FROST,
    HELD_BACK,
    LEFT_OUT,
    NO_CLOCK,
    NO_DEMAND,
    NOT_OPEN,
    OVER,
    RAIN,
    SKIPPED,
    SOIL,
    TOO_LATE,
    UNKNOWN_DEMAND,
    WIND,
)
from edge.blocks.irrigation_weather import agenda
from edge.blocks.kind import Place
from tests.support.block import Instance

DAY, NIGHT = 738000.0, 738000.5
WEATHER = ("et0", "rain", "wind", "air")


class Garden:
    """A bed under the block, one step a second, control first."""

    def __init__(self, zones: int = 3, plant: dict[str, Any] | None = None, **options: Any) -> None:
        own = next(options.pop("zone", {}) or {} for _ in range(1))
        valves = [{"valve": f"v{i}", "area": 300.0, **own} for i in range(1, zones + 1)]
        inputs = {name: name for name in (*WEATHER, "flow")}
        self.block = Instance(
            IRRIGATION, {**inputs, "master": "master", "pump": "pump", "zones": valves, **options}
        )
        self.plant = Bed(zones=zones, **(plant or {}))
        self.zones, self.now, self.day = zones, 0.0, NIGHT
        self.opened: list[list[int]] = []
        self.pump_alone = False

    def run(self, seconds: float) -> Garden:
        for _ in range(round(seconds)):
            seen = self.plant.readings()
            for name in WEATHER:
                if name in self.block.index:
                    self.block[name] = seen[name]
            self.block["flow"], self.block["agenda"] = seen["zone_flow"], self.day
            self.block.step(self.now)
            for i in range(1, self.zones + 1):
                self.plant.commands[f"z{i}_valve"] = self.block.request(f"v{i}")
            self.plant.commands["master_valve"] = self.block.request("master")
            self.plant.commands["feed_pump"] = self.block.request("pump")
            open_now = [i for i in range(1, self.zones + 1) if self.block.request(f"v{i}")]
            self.pump_alone |= bool(self.block.request("pump")) and not open_now
            if not self.opened or self.opened[-1] != open_now:
                self.opened.append(open_now)
            self.plant.step(0.5)
            self.plant.step(0.5)
            self.now += 1.0
        return self

    def asked(self) -> list[float]:
        return [self.block.request(f"v{i}") for i in range(1, self.zones + 1)]


def test_the_books_vector() -> None:
    """ET0 5.2, Kc 0.8, rain 2.0, 0.75, 12 mm/h: 17.07 min and 1.024 m³ on each 300 m²."""
    bed = Garden(plant={"rain": 0.002}).run(3400)
    assert bed.block["zone1_time"] / 60 == pytest.approx(17.07, abs=0.01)
    assert bed.block["volume"] == pytest.approx(3 * 1.024, abs=0.001)
    assert bed.plant.volumes == pytest.approx([1.024] * 3, rel=0.01)
    assert bed.block["state"] == COMPLETE
    assert not bed.pump_alone


def test_zones_follow_each_other_with_an_overlap() -> None:
    """The next valve opens 2 s before the last one shuts; never more than two, never none."""
    bed = Garden(plant={"rain": 0.002}).run(3400)
    assert bed.opened == [[1], [1, 2], [2], [2, 3], [3], []]


def test_two_at_a_time() -> None:
    """`max_parallel` zones run at once, each as long as it would alone; in the first night each
    runs alone until its flow is learnt."""
    bed = Garden(4, plant={"rain": 0.002}, max_parallel=2).run(90)
    assert bed.opened == [[1, 2], [1], [2]]
    bed.run(80)
    assert bed.opened == [[1, 2], [1], [2], [1, 2]]
    bed.run(2330)
    learnt = [bed.block[f"zone{i}_flow"] for i in range(1, 5)]
    assert learnt == pytest.approx([3.6] * 4, rel=0.01)
    assert bed.plant.volumes == pytest.approx([1.024] * 4, rel=0.01)
    assert max(len(zones) for zones in bed.opened) <= 4
    assert bed.block["state"] == COMPLETE


def test_cycle_and_soak() -> None:
    """On a slope a zone gets its share in parts, with time to soak between them."""
    bed = Garden(1, plant={"rain": 0.002}, zone={"cycle": "6min", "soak": "10min"}).run(3000)
    assert bed.opened == [[1], [], [1], [], [1], []]
    assert bed.plant.volumes == pytest.approx([1.024], rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    et0=st.floats(0.5, 9.0), rain=st.floats(0.0, 4.9), kc=st.floats(0.3, 1.2),
    efficiency=st.floats(0.5, 0.95), rate=st.floats(6.0, 50.0),
)  # fmt: skip
def test_gross_water(et0: float, rain: float, kc: float, efficiency: float, rate: float) -> None:
    """t = 60·G/PR with G = max(0, ET0·Kc - 0.8·rain)/eff, at most 120 min."""
    need = et0 * kc - 0.8 * rain
    assume(abs(need) > 0.05)  # mm; less is over before we look
    zone = {"coefficient": kc, "efficiency": efficiency, "rate": rate}
    bed = Garden(1, plant={"et0": et0 / 1000, "rain": rain / 1000}, zone=zone).run(2)
    gross = max(0.0, need) / efficiency
    assert bed.block["zone1_time"] == pytest.approx(3600 * gross / rate, rel=1e-6, abs=1e-6)
    if gross == 0.0:
        assert bed.block["reason"] == NO_DEMAND
    else:
        assert bed.asked() == [1.0]


@pytest.mark.parametrize(
    ("weather", "reason"),
    [({"rain": 0.005}, RAIN), ({"air": 3.9}, FROST)],
)
def test_weather_that_keeps_water_back(weather: dict[str, float], reason: float) -> None:
    """Skipped with its reason for the day; the next day begins anew."""
    bed = Garden(plant=weather).run(10)
    assert bed.asked() == [0.0] * 3
    assert (bed.block["state"], bed.block["reason"]) == (LEFT_OUT, reason)
    bed.plant.rain, bed.plant.air = 0.0, 20.0
    assert bed.run(10).asked() == [0.0] * 3
    bed.day += 1.0
    assert bed.run(10).asked() == [1.0, 0.0, 0.0]


def test_a_gust_does_not_end_the_day() -> None:
    """Above 8 m/s the valves shut at once; five minutes below 6.4 m/s later it goes on."""
    bed = Garden(1, plant={"rain": 0.002}).run(500)
    bed.plant.wind = 8100.0
    bed.run(2)
    assert bed.asked() == [0.0]
    assert (bed.block["state"], bed.block["reason"]) == (HELD_BACK, WIND)
    assert bed.block.request("pump") == 0.0
    bed.plant.wind = 7000.0
    bed.run(900)
    assert bed.asked() == [0.0]
    bed.plant.wind = 6000.0
    bed.run(200)
    bed.plant.wind = 6500.0
    bed.run(1)
    bed.plant.wind = 6000.0
    bed.run(298)
    assert bed.asked() == [0.0]
    bed.run(4)
    assert bed.asked() == [1.0]
    assert bed.block["reason"] == 0.0
    bed.run(600)
    assert bed.block["state"] == COMPLETE
    assert bed.plant.volumes == pytest.approx([1.024], rel=0.01)


def test_wind_until_the_window_ends() -> None:
    """What was held back until then is left, with the wind as its reason; a lost meter of the wind
    holds nothing back."""
    for lost in (False, True):
        bed = Garden(1, plant={"wind": 9000.0}).run(1000)
        assert bed.plant.volumes == [0.0]
        if lost:
            bed.plant.wind = nan
            bed.run(302)
            assert bed.asked() == [1.0]
            continue
        bed.day = DAY
        bed.run(5)
        assert (bed.block["state"], bed.block["reason"]) == (LEFT_OUT, WIND)
        bed.day = NIGHT + 1
        bed.plant.wind = 0.0
        bed.run(310)
        assert bed.asked() == [1.0]


def test_rain_that_begins_meanwhile() -> None:
    """What runs is stopped at once, with the reason."""
    bed = Garden().run(100)
    assert bed.asked()[0] == 1.0
    bed.plant.rain = 0.005
    bed.run(2)
    assert bed.asked() == [0.0] * 3
    assert bed.block["reason"] == RAIN


def test_moist_soil() -> None:
    """A zone whose soil is moist is skipped; when all are, the day is."""
    bed = Garden(1, zone={"soil": "soil"})
    bed.block["soil"] = 70.0
    bed.run(5)
    assert bed.asked() == [0.0]
    assert (bed.block["reason"], bed.block["zone1"]) == (SOIL, SKIPPED)


def test_without_a_trusted_clock() -> None:
    """No watering, and what runs is stopped; a jump of three days starts one run and no more."""
    bed = Garden().run(100)
    bed.day = nan
    bed.run(60)
    assert bed.asked() == [0.0] * 3
    assert bed.block["state"] == NO_CLOCK
    bed.day = NIGHT + 3
    bed.run(5000)
    assert bed.opened.count([1]) == 2


def test_the_window_ends() -> None:
    """What is not done by then is left, and said."""
    bed = Garden().run(500)
    bed.day = DAY
    bed.run(10)
    assert bed.asked() == [0.0] * 3
    assert (bed.block["state"], bed.block["reason"]) == (LEFT_OUT, TOO_LATE)


def test_a_broken_head() -> None:
    """S39: 40 % more than learnt shuts the valve within 10 s; the others go on."""
    bed = Garden(plant={"rain": 0.002}).run(3400)
    assert bed.block["zone2_flow"] == pytest.approx(3.6, rel=0.01)
    bed.day += 1
    bed.run(1200)
    assert bed.asked() == [0.0, 1.0, 0.0]
    bed.plant.active.add("broken_head:2")
    bed.run(10)
    assert bed.asked()[1] == 0.0
    assert (bed.block["zone2"], bed.block["leak"]) == (BROKEN, 1.0)
    bed.run(3)
    assert bed.asked() == [0.0, 0.0, 1.0]


def parallel(zones: int = 3, **options: Any) -> Garden:
    given = {"max_parallel": 3, "zone": {"flow": "3.6 m3/h"}, **options}
    return Garden(zones, plant={"rain": 0.002}, **given).run(60)


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_a_broken_head_among_several_open_zones_is_found(broken: int) -> None:
    """40 % more in one of three is 13 % more in all: each runs alone until the culprit is found,
    and nobody else is blamed."""
    bed = parallel()
    bed.plant.active.add(f"broken_head:{broken}")
    bed.run(7 + 60 * broken)
    states = [bed.block[f"zone{i}"] for i in (1, 2, 3)]
    assert [s == BROKEN for s in states] == [i == broken for i in (1, 2, 3)]
    bed.run(3)
    assert bed.asked() == [float(i != broken) for i in (1, 2, 3)]
    bed.run(1100)
    fine = [bed.plant.volumes[i - 1] for i in (1, 2, 3) if i != broken]
    assert fine == pytest.approx([1.024] * 2, rel=0.01)


def test_a_valve_that_stays_shut_among_several_is_found() -> None:
    """The second of three gives nothing."""
    bed = parallel()
    bed.plant.active.add("valve_shut:2")
    bed.run(200)
    assert [bed.block[f"zone{i}"] == NOT_OPEN for i in (1, 2, 3)] == [False, True, False]
    assert bed.asked() == [1.0, 0.0, 1.0]


def test_zones_that_are_right_alone_are_not_blamed_for_what_is_wrong_together() -> None:
    """A weak supply: each has its flow alone, all together lack some. Looked for once, told of
    nothing, and each gets its water."""
    bed = parallel()
    real = bed.plant.readings

    def throttled() -> dict[str, float]:
        seen = real()
        return {**seen, "zone_flow": min(seen["zone_flow"], 8.5)}

    bed.plant.readings = throttled  # type: ignore[method-assign]
    bed.run(1000)
    assert [bed.block[f"zone{i}"] for i in (1, 2, 3)] == [bed.block["zone1"]] * 3
    assert bed.block["leak"] == bed.block["tripped"] == 0.0
    assert [len(zones) for zones in bed.opened] == [3, 1, 1, 1, 3]


def test_too_much_while_somebody_else_holds_a_valve_open() -> None:
    """Nobody can be closed to find out: it is told of, and nobody blamed."""
    bed = parallel(2)
    bed.block.taken["v2"] = (8, 1.0)
    bed.run(60)
    assert bed.block["leak"] == 0.0
    bed.plant.active |= {"broken_head:1", "broken_head:2"}
    bed.run(10)
    assert bed.block["leak"] == 1.0
    assert bed.block["tripped"] == 0.0


def test_a_reset_frees_closed_zones_and_the_next_one_learns_again() -> None:
    """`edge reset`: what was closed may be watered; flows are learnt again only where nothing is
    closed, and not by pressing twice."""
    bed = Garden(1, plant={"rain": 0.002}).run(1200)
    bed.day += 1
    bed.run(100)
    bed.plant.active.add("broken_head:1")
    bed.run(20)
    assert (bed.block["zone1"], bed.block["tripped"]) == (BROKEN, 1.0)
    for _ in range(2):
        bed.block["reset"] = 1.0
        bed.run(2)
        assert bed.block["tripped"] == 0.0
        assert bed.block["zone1_flow"] == pytest.approx(3.6, rel=0.01)
    bed.run(60)
    bed.plant.active.clear()
    bed.plant.flows = [5.4]  # other heads
    bed.block["reset"] = 1.0
    bed.run(2)
    assert isnan(bed.block["zone1_flow"])
    bed.day += 1
    bed.run(120)
    assert bed.block["zone1_flow"] == pytest.approx(5.4, rel=0.01)
    assert bed.asked() == [1.0]


def test_a_valve_that_stays_shut() -> None:
    """Less than half: told of, and the water goes to the next zone."""
    bed = Garden(zone={"flow": "3.6 m3/h"})
    bed.plant.active.add("valve_shut:1")
    bed.run(70)
    assert bed.block["zone1"] == NOT_OPEN
    assert bed.asked() == [0.0, 1.0, 0.0]


def test_a_leak_with_all_closed() -> None:
    """More than 0.05 m³/h for 10 min while nothing is open."""
    bed = Garden()
    bed.day = DAY
    bed.plant.active.add("leak")
    bed.run(599)
    assert bed.block["leak"] == 0.0
    bed.run(5)
    assert bed.block["leak"] == 1.0


def test_the_daily_limit_counts_what_others_open() -> None:
    """120 min a day whoever opens the valve; then the protection shuts it."""
    bed = Garden(1, longest_day="10min")
    bed.day = DAY
    bed.run(2)
    bed.block.taken["v1"] = (8, 1.0)
    bed.run(580)
    assert bed.block["zone1_over"] == 0.0
    assert bed.block.request("master") == 1.0
    bed.run(30)
    assert (bed.block["zone1_over"], bed.block["zone1"]) == (1.0, OVER)
    assert [u.value for u in IRRIGATION.urges(bed.block.model)] == [0.0]


def test_evaporation_not_known() -> None:
    """Its duration applies; without one what it got last; without that nothing."""
    for zone, reason in (({"duration": "5min"}, 0.0), ({}, UNKNOWN_DEMAND)):
        bed = Garden(1, plant={"et0": nan}, zone=zone).run(5)
        assert bed.block["reason"] == reason
    bed = Garden(1, plant={"rain": 0.002}).run(1100)
    bed.plant.et0 = nan
    bed.day += 1
    bed.run(1100)
    assert bed.plant.volumes == pytest.approx([2.048], rel=0.02)


def test_a_restart_owes_what_was_left() -> None:
    """Twenty seconds without the controller, valve open: it had its water meanwhile."""
    bed = Garden(1, plant={"rain": 0.002}).run(500)
    bed.now += 20.0
    bed.run(500)
    assert bed.asked() == [1.0]
    bed.run(10)
    assert bed.asked() == [0.0]


def test_the_window_on_the_wall() -> None:
    """Day number, half more from 04:00 to 07:00, whatever the time zone."""
    model = Irrigation.model_validate({"et0": "e", "zones": [{"valve": "v"}]})
    place = Place("Asia/Shanghai", 31.0, 121.0)
    midnight = 1774022400.0  # 2026-03-21 00:00 in Shanghai
    day = agenda(model, place, midnight).value
    assert day == int(day)
    assert agenda(model, place, midnight).until == midnight + 4 * 3600
    assert agenda(model, place, midnight + 4 * 3600) == type(agenda(model, place, 0.0))(
        day + 0.5, midnight + 7 * 3600
    )
    assert agenda(model, place, midnight + 7 * 3600).value == day
    assert agenda(model, place, midnight + 86400).value == day + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"begin": "08:00", "et0": "e"}, "before end"), ({}, "for how long")],
)
def test_what_is_refused(options: dict[str, str], message: str) -> None:
    """A window that ends before it begins; a zone of which nobody knows for how long."""
    with pytest.raises(ValidationError, match=message):
        Irrigation.model_validate({"zones": [{"valve": "v"}], **options})


def test_a_zone_that_a_person_holds_shut_lets_the_others_pass_and_the_pump_rest() -> None:
    """A valve held shut by hand is passed over; alone, it has neither master valve nor pump on."""
    bed = Garden(zones=2)
    bed.block.taken["v1"] = (8, 0.0)
    bed.run(600)
    assert bed.opened[-1] == [2]
    assert bed.plant.flow == pytest.approx(3.6)
    bed.block.taken["v2"] = (8, 0.0)
    bed.run(60)
    assert bed.block.request("pump") == bed.block.request("master") == 0.0
    bed.block.taken.clear()
    bed.run(60)
    assert bed.opened[-1] == [1]
    assert bed.block.request("pump") == 1.0


def test_no_pump_against_a_master_valve_that_is_held_shut() -> None:
    """Somebody holds the master valve shut: the pump stands, and comes back after it."""
    bed = Garden(zones=1).run(60)
    bed.block.taken["master"] = (8, 0.0)
    bed.run(10)
    assert bed.block.request("pump") == 0.0
    bed.block.taken.clear()
    bed.run(10)
    assert bed.block.request("pump") == 1.0


def test_a_zone_found_broken_by_hand_stays_shut_that_night() -> None:
    """What a watering by hand found before the window is not opened again by the plan."""
    bed = Garden(zones=1, zone={"flow": 3.6}, plant={})
    bed.day = DAY
    bed.plant.active.add("broken_head:1")
    bed.block.taken["v1"] = (8, 1.0)
    bed.plant.commands["z1_valve"] = 1.0
    for _ in range(40):
        bed.block["flow"], bed.block["agenda"] = 5.0, bed.day
        bed.block.step(bed.now)
        bed.now += 1.0
    assert bed.block["zone1"] == BROKEN
    bed.block.taken.clear()
    bed.day, bed.opened = NIGHT, []
    bed.run(10)
    assert bed.opened == [[]]


def test_the_daily_limit_ends_without_a_clock_too() -> None:
    """Two hours by hand lock the valve; without a date the next 24 h unlock it."""
    bed = Garden(zones=1)
    bed.day = nan
    bed.block.taken["v1"] = (8, 1.0)
    for hour in (0, 1, 2, 3):
        bed.now = 3600.0 * hour
        bed.block["agenda"] = nan
        bed.block.step(bed.now)
    assert bed.block["zone1_over"] == 1.0
    bed.block.taken.clear()
    bed.block.step(bed.now + 1)
    bed.block.step(86500.0)
    assert bed.block["zone1_over"] == 0.0
