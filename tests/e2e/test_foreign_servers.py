"""Our Modbus driver against servers that others wrote: pymodbus on four media, and Node's.

By the driver port alone, on real sockets and a real terminal. A mistake that our own device and our
own driver share does not show there; it does here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from drivers.modbus import MODBUS
from edge.bus.host import BusHost
from edge.driver import Driver, FieldDevice, FieldPoint, Poll, Write
from edge.errors import DeviceRefused, DeviceTimeout
from edge.image import quality
from tests.support.foreign import MEDIA, server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Test = Callable[[Driver, dict[str, Poll]], Awaitable[None]]
F32, I32 = 230.2, 123456789.0


@pytest.fixture(scope="module", params=MEDIA)
def medium(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """One server and the options of the bus to it."""
    with server(request.param) as bus:
        yield request.param, bus


def device(unit: int, points: dict[str, dict[str, Any]], **options: Any) -> FieldDevice:
    """A device with these points, all read and written where the table permits."""
    fields = []
    for name, options_of_point in points.items():
        config = MODBUS.point.model_validate(options_of_point)
        written = bool({"coil", "holding"} & options_of_point.keys())
        fields.append(
            FieldPoint(name, config, 1.0, 0.0, -math.inf, math.inf, 1.0, True, written)
        )  # fmt: skip
    config = MODBUS.device.model_validate({"unit": unit, **options})
    return FieldDevice(f"u{unit}", config, tuple(fields))


def on(bus: dict[str, Any], devices: list[FieldDevice], test: Test) -> None:
    """Run a test on a connected driver, with the poll of each point by its name."""
    config = MODBUS.bus.model_validate(bus)
    polls = tuple(poll for one in devices for poll in MODBUS.plan(config, one))
    by_point = {point: poll for poll in polls for point in poll.points}

    async def main() -> None:
        async with MODBUS.connect(config, devices, polls, BusHost()) as driver:
            await test(driver, by_point)

    asyncio.run(main())


async def values(driver: Driver, polls: dict[str, Poll], *points: str) -> dict[str, float]:
    """The values of points, all of which must be good."""
    found = {}
    for point in points:
        poll = polls[point]
        sample = await driver.read(poll)
        at = poll.points.index(point)
        assert sample.quality[at] == quality.GOOD, point
        found[point] = float(sample.values[at])
    return found


ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def test_foreign_values_of_every_table_type_and_order(medium: tuple[str, dict[str, Any]]) -> None:
    """Coils, discrete inputs, both kinds of registers and all four orders mean what they say."""
    _, bus = medium
    points: dict[str, dict[str, Any]] = {
        "i32_minus": {"holding": 116, "type": "i32"}, "u16": {"holding": 118},
        "i16": {"holding": 119, "type": "i16"}, "bcd": {"holding": 120, "type": "bcd16"},
        "mod10k": {"holding": 121, "type": "mod10k"}, "pi": {"input": 0, "type": "f64"},
        "bits": {"holding": 118, "bit": 4, "length": 8}, "bit": {"holding": 118, "bit": 2},
    }  # fmt: skip
    expected = {"i32_minus": -1000.0, "u16": 0x1234, "i16": -2.0, "bcd": 1234.0,
                "mod10k": 12345678.0, "pi": math.pi, "bits": 0x23, "bit": 1.0}  # fmt: skip
    for i, order in enumerate(ORDERS):
        points[f"f32_{order}"] = {"holding": 100 + 2 * i, "type": "f32", "order": order}
        points[f"i32_{order}"] = {"holding": 108 + 2 * i, "type": "i32", "order": order}
        expected[f"f32_{order}"], expected[f"i32_{order}"] = F32, I32
    for i in range(32):
        points[f"coil{i}"], expected[f"coil{i}"] = {"coil": i}, float(i % 3 == 0)
        points[f"discrete{i}"], expected[f"discrete{i}"] = {"discrete": i}, float(i % 5 == 0)
    for i in range(125):
        points[f"input{i}"], expected[f"input{i}"] = {"input": 1000 + i}, float(i)

    async def test(driver: Driver, polls: dict[str, Poll]) -> None:
        assert expected == pytest.approx(await values(driver, polls, *points), rel=1e-7)

    on(bus, [device(1, points, read_modify_write=True)], test)


@pytest.mark.parametrize("by", ["single", "multiple"])
def test_what_is_written_to_a_foreign_server_is_held(
    medium: tuple[str, dict[str, Any]], by: str
) -> None:
    """Functions 5, 6, 15 and 16: every type and order comes back as it was written, twice."""
    _, bus = medium
    points: dict[str, dict[str, Any]] = {
        "coil": {"coil": 7}, "u16": {"holding": 130}, "bits": {"holding": 131, "bit": 4,
        "length": 8},
    }  # fmt: skip
    for i, order in enumerate(ORDERS):
        points[f"f32_{order}"] = {"holding": 132 + 2 * i, "type": "f32", "order": order}
        points[f"i32_{order}"] = {"holding": 140 + 2 * i, "type": "i32", "order": order}

    async def test(driver: Driver, polls: dict[str, Poll]) -> None:
        for n in (1, 2):
            wanted = {name: -12.5 * n if "f32" in name else -1000.0 * n for name in points}
            wanted |= {"coil": float(n % 2), "u16": 40000.0 + n, "bits": 0xA4 + n}
            for point, value in wanted.items():
                write = Write("u1", point, value, 8)
                await driver.write([write])
                assert await driver.holds(write), point
            assert wanted == await values(driver, polls, *points)

    on(bus, [device(1, points, write=by, read_modify_write=True)], test)


def test_functions_22_and_23_at_a_foreign_server(medium: tuple[str, dict[str, Any]]) -> None:
    """pymodbus masks bits and writes and reads at once; Node does not know them and says so."""
    name, bus = medium
    points = {"whole": {"holding": 149}, "bit": {"holding": 149, "bit": 3}}
    masked = device(1, {"bit": points["bit"]}, mask_write=True)
    at_once = device(1, {"whole": points["whole"]}, write="read_write")

    async def mask(driver: Driver, polls: dict[str, Poll]) -> None:
        await driver.write([Write("u1", "bit", 1.0, 8)])
        assert await driver.holds(Write("u1", "bit", 1.0, 8))

    async def whole(driver: Driver, polls: dict[str, Poll]) -> None:
        await driver.write([Write("u1", "whole", 0x0F00, 8)])
        assert await values(driver, polls, "whole") == {"whole": 0x0F00}

    for one, test in ((at_once, whole), (masked, mask)):
        if name.startswith("node"):
            with pytest.raises(DeviceRefused) as refused:
                on(bus, [one], test)
            assert refused.value.code == "01"
        else:
            on(bus, [one], test)


def test_a_foreign_server_refuses_what_it_does_not_have(
    medium: tuple[str, dict[str, Any]],
) -> None:
    """A hole spoils its own point only; busy and failed are told apart; a write into it raises."""
    _, bus = medium
    points = {"there": {"holding": 118}, "hole": {"holding": 123}, "alone": {"holding": 200},
              "busy": {"holding": 300}, "failed": {"holding": 600}}  # fmt: skip

    async def test(driver: Driver, polls: dict[str, Poll]) -> None:
        sample = await driver.read(polls["there"])
        assert polls["there"].points == ("there", "hole")
        assert (sample.values[0], sample.quality.tolist()) == (0x1234, [0, quality.CONFIG])
        for point, code in (("alone", "02"), ("busy", "06"), ("failed", "04")):
            with pytest.raises(DeviceRefused) as refused:
                await driver.read(polls[point])
            assert refused.value.code == code
        with pytest.raises(DeviceRefused) as refused:
            await driver.write([Write("u1", "alone", 1.0, 8)])
        assert refused.value.code == "02"
        await driver.probe("u1")

    on(bus, [device(1, points)], test)


def test_several_foreign_units_on_one_connection(medium: tuple[str, dict[str, Any]]) -> None:
    """Each unit's own value comes; one that is not there is refused, or silent at a gateway."""
    name, bus = medium
    units = (1, 2, 247, 9)
    devices = [device(unit, {f"id{unit}": {"holding": 100}}) for unit in units]

    async def test(driver: Driver, polls: dict[str, Poll]) -> None:
        for _ in range(3):
            found = await values(driver, polls, "id1", "id2", "id247")
            assert found == {"id1": 0x4366, "id2": 2002, "id247": 247}
            with pytest.raises(DeviceTimeout if name.startswith("node") else DeviceRefused):
                await driver.read(polls["id9"])

    on(bus, devices, test)


def test_a_foreign_server_says_who_it_is(medium: tuple[str, dict[str, Any]]) -> None:
    """The right identification lets the device be read, another one does not."""
    _, bus = medium
    points = {"u16": {"holding": 118}}

    async def test(driver: Driver, polls: dict[str, Poll]) -> None:
        assert await values(driver, polls, "u16") == {"u16": 0x1234}

    on(bus, [device(1, points, identity={"vendor": "Nobody", "revision": "V2.*"})], test)
    with pytest.raises(DeviceRefused) as refused:
        on(bus, [device(1, points, identity={"vendor": "Somebody"})], test)
    assert refused.value.code == "WRONG_DEVICE"
