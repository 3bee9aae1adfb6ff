"""A dimming point on the DALI curve: light in the site, arc levels on the wire of any protocol."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from edge.bus.host import BusHost
from edge.driver import Driver, FieldDevice, Poll, ReadsOn, Sample, Write
from edge.image import quality
from tests.contract.drivers import BacnetRig, ModbusRig, Rig, read

# domain.md 1.9: light in %, arc level
VECTORS = ((0.0, 0), (0.1, 1), (1, 85), (5, 144), (10, 170), (20, 195), (30, 210), (50, 229),
           (75, 243), (100, 254))  # fmt: skip
POINT = {"modbus": "pump.speed", "bacnet": "lobby.dimmer"}
RIGS: dict[str, Callable[[], Rig]] = {"modbus": ModbusRig, "bacnet": BacnetRig}


def dimming(rig: Rig, point: str) -> tuple[list[FieldDevice], list[Poll]]:
    """The rig's devices, one of their points on the curve."""
    devices = [
        replace(device, points=tuple(
            replace(p, scale=1.0, low=0.0, high=254.0, curve="dali") if p.id == point else p
            for p in device.points if p.id not in rig.refused
        ))
        for device in rig.devices
    ]  # fmt: skip
    return devices, [p for device in devices for p in rig.kind.plan(rig.bus, device)]


Test = Callable[[Rig, Driver, list[Poll]], Awaitable[None]]


def run(protocol: str, test: Test) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), RIGS[protocol]() as rig:
            devices, polls = dimming(rig, POINT[protocol])
            async with rig.kind.connect(rig.bus, devices, polls, BusHost()) as driver:
                await test(rig, driver, polls)

    asyncio.run(main())


async def light(driver: Driver, polls: list[Poll], point: str) -> tuple[float, int]:
    poll = next(p for p in polls if point in p.points)
    sample = await read(driver, poll)
    i = poll.points.index(point)
    return float(sample.values[i]), int(sample.quality[i])


def level(protocol: str, raw: bytes) -> float:
    """What a device holds, decoded as a profile's vector is."""
    rig = RIGS[protocol]()
    device = next(d for d in rig.devices if POINT[protocol].startswith(d.id))
    point = next(p for p in device.points if p.id == POINT[protocol])
    assert rig.kind.vector is not None
    return rig.kind.vector(point.config, raw, {})


@pytest.mark.parametrize("protocol", RIGS)
def test_light_goes_out_as_levels_and_comes_back_as_light(protocol: str) -> None:
    """The vectors of §1.9, on the wire. What we sent reads back as it was asked for; to anybody
    else it is the light of that level."""

    async def test(rig: Rig, driver: Driver, polls: list[Poll]) -> None:
        point = POINT[protocol]
        device = point.partition(".")[0]
        for percent, wanted in VECTORS:
            written = Write(device, point, float(percent), 14)
            await driver.write((written,))
            assert level(protocol, await driver.raw(device, point)) == wanted
            seen, bits = await light(driver, polls, point)
            assert seen == percent
            assert bits & quality.BAD == 0
            async with rig.kind.connect(
                rig.second_bus, dimming(rig, point)[0], polls, BusHost()
            ) as other:
                seen, bits = await light(other, polls, point)
            assert seen == pytest.approx(percent, rel=0.014)
            assert await driver.holds(written)
            assert not await driver.holds(replace(written, value=float(percent) * 0.5 + 20.0))

    run(protocol, test)


@pytest.mark.parametrize("protocol", RIGS)
def test_too_much_light_is_full_light_and_never_the_mask(protocol: str) -> None:
    """255 means "keep the level" to the gear: it is never sent, whatever is asked for."""

    async def test(rig: Rig, driver: Driver, polls: list[Poll]) -> None:
        point = POINT[protocol]
        device = point.partition(".")[0]
        for percent in (100.4, 101.0, 255.0, 1e9):
            await driver.write((Write(device, point, percent, 14),))
            assert level(protocol, await driver.raw(device, point)) == 254

    run(protocol, test)


def test_a_register_that_shows_the_mask_is_no_light() -> None:
    """255 read back is out of range and has no value; its neighbours are as they were."""

    async def test(rig: Rig, driver: Driver, polls: list[Poll]) -> None:
        assert isinstance(rig, ModbusRig)
        rig.device.units[1].put("holding", 103, bytes.fromhex("00FF"))
        seen, bits = await light(driver, polls, "pump.speed")
        assert math.isnan(seen)
        assert bits & quality.RANGE
        assert (await light(driver, polls, "pump.pressure"))[0] == pytest.approx(0.412)

    run("modbus", test)


def test_an_answer_that_repeats_itself_is_not_bent_twice() -> None:
    """Modbus keeps its arrays while nothing changes, and reads on from within an answer."""

    async def test(rig: Rig, driver: Driver, polls: list[Poll]) -> None:
        assert isinstance(rig, ModbusRig)
        rig.device.units[1].put("holding", 103, bytes.fromhex("00E5 0000"))  # no hole: read whole
        for _ in range(3):
            assert (await light(driver, polls, "pump.speed"))[0] == pytest.approx(50.5, abs=0.1)
        assert isinstance(driver, ReadsOn)
        wanted = [p for p in polls if p.device == "pump"] * 2
        seen: list[tuple[Poll, Sample]] = []

        def following(sample: Sample) -> Poll | None:
            poll = wanted[len(seen)]
            seen.append((poll, Sample(sample.values.copy(), sample.quality.copy())))
            return wanted[len(seen)] if len(seen) < len(wanted) else None

        poll: Poll | None = wanted[0]
        while poll is not None:
            poll = await driver.read_on(poll, following)
        found = [
            s.values[p.points.index("pump.speed")] for p, s in seen if "pump.speed" in p.points
        ]
        assert found == pytest.approx([50.5, 50.5], abs=0.1)

    run("modbus", test)


def test_a_bus_without_a_curve_has_its_driver_as_it_is() -> None:
    """Nothing stands between the bus task and a driver that has no dimmer."""

    async def main() -> None:
        async with ModbusRig() as rig:
            polls = [p for d in rig.devices for p in rig.kind.plan(rig.bus, d)]
            made = rig.kind.connect(rig.bus, rig.devices, polls, BusHost())
            assert type(made).__module__ == "drivers.modbus.driver"

    asyncio.run(main())
