"""A bearing and meters behind Modbus devices: a plant file, real sockets, the real driver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from drivers import DRIVERS
from drivers.sim.equipment import Equipment
from drivers.sim.models.bearing import BOOK_AMBIENT, BOOK_TEMPERATURE
from edge.bus.host import BusHost
from edge.driver import Driver
from edge.image import quality
from edge.proof.setting import setting
from edge.site.site import Bus
from tests.support.mosquitto import free_port

SITE = """
site: {{id: machine, timezone: Asia/Shanghai}}
buses: {{field: {{driver: modbus, tcp: "127.0.0.1:{port}"}}}}
devices:
  pump:
    bus: field
    unit: 7
    points:
      bearing:  {{input: 0, type: i16, scale: 0.1, unit: °C, sentinel: [32767], range: [-40, 200]}}
      ambient:  {{input: 1, type: i16, scale: 0.1, unit: °C, sentinel: [32767], range: [-40, 80]}}
      load:     {{input: 2, scale: 0.1, unit: "%", range: [0, 100]}}
      velocity: {{input: 3, scale: 0.01, unit: mm/s, range: [0, 50]}}
      run:      {{coil: 0, output: true, default: 1}}
  water:
    bus: field
    unit: 8
    points:
      volume: {{holding: 0, type: u32, order: CDAB, scale: 0.01, unit: m³}}
"""
PLANT = """
models:
  fan:   {model: bearing, BEARING}
  water: {model: meter, rate: 6, rollover: 42949672.96, total: 42949660}
devices:
  pump:  {model: fan, points: {bearing: temperature}}
  water: {model: water, points: {volume: total}}
"""


async def read(driver: Driver, bus: Bus) -> dict[str, float]:
    values = {}
    for poll in bus.polls:
        sample = await driver.read(poll)
        assert not (sample.quality & quality.BAD).any(), poll.label
        values |= dict(zip(poll.points, map(float, sample.values), strict=True))
    return values


def hours(tmp_path: Path, options: str, count: int, fault: str = "") -> list[dict[str, float]]:
    """What the driver reads ten times in each hour, as medians."""
    site, plant = tmp_path / "site.yaml", tmp_path / "plant.yaml"
    site.write_text(SITE.format(port=free_port()))
    plant.write_text(PLANT.replace("BEARING", options))
    found = setting(site, DRIVERS)
    found.field.rig.noise = 1.0
    medians = []

    async def main() -> None:
        (bus,) = found.site.buses
        kind: Any = DRIVERS["modbus"]
        async with Equipment(found.field, found.site.buses) as equipment:
            start = asyncio.get_running_loop().time()
            if fault:
                equipment.rig.start("fan", fault)
            async with kind.connect(bus.config, bus.devices, bus.polls, BusHost()) as driver:
                for hour in range(count):
                    seen = []
                    for part in range(10):
                        equipment.rig.advance_to(start + 3600 * hour + 360 * part)
                        seen.append(await read(driver, bus))
                    medians.append({name: median(s[name] for s in seen) for name in seen[0]})

    asyncio.run(main())
    return medians


def test_the_book_arrives_over_the_wire(tmp_path: Path) -> None:
    """Each hour's medians are those of §3.2 within the noise and the tenths of the registers."""
    seen = hours(tmp_path, "play: book", 12)
    assert [s["pump.bearing"] for s in seen] == pytest.approx(BOOK_TEMPERATURE, abs=0.15)
    assert [s["pump.ambient"] for s in seen] == pytest.approx(BOOK_AMBIENT, abs=0.15)
    assert {s["pump.load"] for s in seen} == {80.0}


def test_wear_arrives_over_the_wire(tmp_path: Path) -> None:
    """A worn bearing becomes warmer by 0.9 K/h than its load and the air explain, and shakes."""
    seen = hours(tmp_path, "load: 60, drift: 0.5", 8, fault="worn")
    residuals = [s["pump.bearing"] - s["pump.ambient"] - 22 * 0.6 for s in seen]
    assert residuals[7] - residuals[3] == pytest.approx(4 * 0.9, abs=0.2)
    assert seen[7]["pump.velocity"] > seen[0]["pump.velocity"] + 0.3


def test_a_register_of_32_bits_rolls_over_on_the_wire(tmp_path: Path) -> None:
    """In the third hour it passes its last number: what passed is the difference modulo it."""
    seen = hours(tmp_path, "play: book", 4)
    first, later = seen[1]["water.volume"], seen[3]["water.volume"]
    assert later < first
    assert (later - first) % (2**32 * 0.01) == pytest.approx(12.0, abs=0.02)
