"""The Modbus driver against a device on a real socket: isolation, writing, pacing, faults."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus import MODBUS
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.dividing import PROBES
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.parts import RETRY
from drivers.modbus.plan import check
from edge.driver import FieldDevice, FieldPoint, Poll, Write
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, LinkDown
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from tests.contract.drivers import field_point
from tests.support.modbus_device import Fault, ModbusDevice, Unit
from tests.support.told import Told

Test = Callable[[ModbusDriver, ModbusDevice, list[Poll]], Awaitable[None]]


def points(*numbers: int, **options: Any) -> tuple[FieldPoint, ...]:
    """u16 holding registers called r<number>, readable and writable."""
    return tuple(field_point(f"r{n}", PointConfig(holding=n, **options), writable=True)
                 for n in numbers)  # fmt: skip


def serve(
    test: Test,
    fields: Sequence[FieldPoint],
    *,
    registers: Sequence[int] = (),
    virtual: bool = False,
    host: Told | None = None,
    bus: dict[str, Any] | None = None,
    **device: Any,
) -> None:
    """Run `test` with a driver of one device whose `registers` hold their own number."""

    async def main() -> None:
        unit = Unit(holding={n: n for n in registers}, coil={n: n % 2 for n in range(20)})
        async with ModbusDevice({1: unit}) as fake:
            options = BusConfig(tcp=fake.address, **({"timeout": "300ms"} | (bus or {})))
            field = FieldDevice("d", DeviceConfig(unit=1, **device), tuple(fields))
            assert not list(check(options, field))
            polls = list(MODBUS.plan(options, field))
            async with ModbusDriver(options, [field], polls, host or Told()) as driver:
                await test(driver, fake, polls)

    if virtual:
        run_virtual(main, patience=0.002)
    else:
        asyncio.run(main())


async def read(driver: ModbusDriver, poll: Poll) -> dict[str, float | None]:
    """Value by point, None where the device refuses the register."""
    sample = await driver.read(poll)
    pairs = zip(poll.points, sample.values.tolist(), sample.quality.tolist(), strict=True)
    return {p: None if bits == quality.CONFIG else value for p, value, bits in pairs}


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 40), min_size=2), st.sets(st.integers(0, 40)), st.integers(0, 8))
def test_any_missing_registers(wanted: set[int], missing: set[int], gap: int) -> None:
    """Whatever registers are missing, after a few reads exactly their points are CONFIG."""
    there = set(range(60)) - missing

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        expected = {f"r{n}": float(n) if n in there else None for n in wanted}
        seen: dict[str, float | None] = {}
        for _ in range(8):
            for poll in polls:
                try:
                    seen |= await read(driver, poll)
                except DeviceRefused:
                    seen |= dict.fromkeys(poll.points)
        assert seen == expected

    serve(test, points(*wanted), registers=sorted(there), max_gap=gap)


def test_isolation_settles_on_few_requests() -> None:
    """One bad register among a hundred costs two requests per poll once it is found."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        (poll,) = polls
        seen = await read(driver, poll)
        assert [p for p, v in seen.items() if v is None] == ["r37"]
        assert len(fake.requests) <= PROBES + 1
        for _ in range(3):
            fake.requests.clear()
            fake.units[1].holding[5] += 1
            seen = await read(driver, poll)
            assert seen["r5"] == fake.units[1].holding[5]
            assert [(a, n) for _, _, a, n in fake.requests] == [(0, 37), (38, 62)]

    serve(test, points(*range(100)), registers=[n for n in range(100) if n != 37])


def test_hole_is_divided_where_it_is() -> None:
    """A gap that the device refuses is left out at the first attempt, and no point is lost."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        (poll,) = polls
        for _ in range(2):
            assert None not in (await read(driver, poll)).values()
        assert [(a, n) for _, _, a, n in fake.requests] == [(0, 20), *2 * [(0, 6), (11, 9)]]

    present = [*range(6), *range(11, 20)]
    serve(test, points(*present), registers=present)


def test_wrong_map_does_not_take_the_bus() -> None:
    """When all is refused, the poll fails after a bounded number of requests."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        (poll,) = polls
        for _ in range(2):
            fake.requests.clear()
            with pytest.raises(DeviceRefused) as caught:
                await driver.read(poll)
            assert caught.value.permanent
            assert len(fake.requests) <= PROBES + 2

    serve(test, points(*range(100)))


def test_device_that_gives_fewer_registers() -> None:
    """A count that is too great (exception 3) is halved until the device answers."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        fake.most_registers = 30
        (poll,) = polls
        for _ in range(2):
            assert None not in (await read(driver, poll)).values()
        assert [n for _, _, _, n in fake.requests][-4:] == [25, 25, 25, 25]

    serve(test, points(*range(100)), registers=range(100))


def test_refused_register_is_tried_again() -> None:
    """What was refused is asked for again after a while, so a mended map needs no restart."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        (poll,) = polls
        assert (await read(driver, poll))["r3"] is None
        fake.units[1].holding[3] = 33
        assert (await read(driver, poll))["r3"] is None
        await asyncio.sleep(RETRY)
        assert (await read(driver, poll))["r3"] == 33
        fake.requests.clear()
        await read(driver, poll)
        assert len(fake.requests) == 1

    serve(test, points(*range(8)), registers=[0, 1, 2, 4, 5, 6, 7], virtual=True)


def test_busy_is_not_divided() -> None:
    """A device that is busy is refused as a whole and not asked for each point."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        fake.fault, fake.code = Fault.EXCEPTION, 6
        with pytest.raises(DeviceRefused) as caught:
            await driver.read(polls[0])
        assert (caught.value.code, caught.value.permanent, len(fake.requests)) == ("06", False, 1)

    serve(test, points(*range(8)), registers=range(8))


def test_silence_of_a_divided_poll_costs_one_time_out() -> None:
    """When a device falls silent, its divided poll fails once and what was learned is kept."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        (poll,) = polls
        await read(driver, poll)
        fake.fault = Fault.SILENT
        fake.requests.clear()
        with pytest.raises(DeviceTimeout):
            await driver.read(poll)
        assert len(fake.requests) == 1
        fake.fault = Fault.OK
        assert [p for p, v in (await read(driver, poll)).items() if v is None] == ["r3"]

    present = [n for n in range(12) if n != 3]
    serve(test, points(*range(12)), registers=present, bus={"timeout": "50ms"})


@pytest.mark.parametrize(
    ("how", "config", "value", "function", "address", "values"),
    [
        ("single", {"coil": 4}, 1.0, 5, 4, (1,)),
        ("single", {"coil": 5}, 0.0, 5, 5, (0,)),
        ("multiple", {"coil": 4}, 1.0, 15, 4, (1,)),
        ("single", {"holding": 2}, 500.0, 6, 2, (500,)),
        ("multiple", {"holding": 2}, 500.0, 16, 2, (500,)),
        ("single", {"holding": 2, "type": "i16"}, -1.0, 6, 2, (0xFFFF,)),
        ("single", {"holding": 2, "type": "f32"}, 230.2, 16, 2, (0x4366, 0x3333)),
        ("single", {"holding": 2, "type": "f32", "order": "CDAB"}, 230.2, 16, 2, (0x3333, 0x4366)),
        ("single", {"holding": 2, "type": "i32"}, -1000.0, 16, 2, (0xFFFF, 0xFC18)),
        ("single", {"holding": 2, "bit": 8, "length": 4}, 5.0, 6, 2, (0x0502,)),
        ("single", {"holding": 2, "bit": 8, "order": "BADC"}, 1.0, 6, 2, (0x0003,)),
        ("single", {"holding": 2, "bit": 1}, 0.0, 6, 2, (0x0000,)),
        ("multiple", {"holding": 2, "bit": 0}, 1.0, 16, 2, (0x0003,)),
    ],
)
def test_write(
    how: str, config: dict[str, Any], value: float, function: int, address: int, values: tuple[int]
) -> None:
    """Each kind of point is written by the function that fits it, other bits kept."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        await driver.write([Write("d", "p", value, 14)])
        (written,) = fake.written
        assert (written.function, written.address) == (function, address)
        assert written.values == values

    point = field_point("p", PointConfig(**config), writable=True)
    serve(test, [point], registers=range(8), write=how, read_modify_write=True)


def test_write_counts_as_the_manual_does() -> None:
    """With base 1, register 3 of the manual is 2 on the wire, for reading and writing."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        assert await read(driver, polls[0]) == {"r3": 2.0}
        await driver.write([Write("d", "r3", 7.0, 14)])
        assert fake.written[0].address == 2
        assert await driver.raw("d", "r3") == b"\x00\x07"

    serve(test, points(3), registers=range(8), base=1)


def test_nan_writes_nothing() -> None:
    """Modbus has nothing to relinquish: NaN is accepted and nothing goes over the wire."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        await driver.write([Write("d", "r1", math.nan, 14)])
        assert not fake.requests

    serve(test, points(1), registers=range(8))


def test_two_bits_of_one_register() -> None:
    """Bits of one register written one after the other do not undo each other."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        await driver.write([Write("d", "a", 1.0, 14), Write("d", "b", 1.0, 14)])
        assert fake.units[1].holding[0] == 0b1001

    bits = [field_point(n, PointConfig(holding=0, bit=b), writable=True)
            for n, b in (("a", 0), ("b", 3))]  # fmt: skip
    serve(test, bits, registers=[0], read_modify_write=True)


def test_wrong_echo_is_no_success() -> None:
    """A write that is acknowledged with another value is a BadAnswer, not a success."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        fake.fault = Fault.ECHO
        with pytest.raises(BadAnswer):
            await driver.write([Write("d", "r1", 5.0, 14)])

    serve(test, points(1), registers=range(8))


def test_first_failed_write_ends_the_call() -> None:
    """Writes after a failed one are not carried out, so that their order holds."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        with pytest.raises(DeviceRefused):
            await driver.write([Write("d", p, 5.0, 14) for p in ("r1", "r9", "r2")])
        assert [w.address for w in fake.written] == [1]

    serve(test, points(1, 2, 9), registers=range(8))


def test_raw_shows_the_words() -> None:
    """The bytes behind a point are those of the wire, whatever its order and scale."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        assert await driver.raw("d", "wide") == b"\x00\x02\x00\x03"
        assert await driver.raw("d", "coil") == b"\x01"
        fake.requests.clear()
        with pytest.raises(DeviceRefused):
            await driver.raw("d", "pulses")
        assert not fake.requests

    fields = [
        field_point("wide", PointConfig(holding=2, type="f32", order="CDAB"), scale=3.0),
        field_point("coil", PointConfig(coil=3)),
        field_point("pulses", PointConfig(holding=6, clears=True)),
    ]
    serve(test, fields, registers=range(8))


def test_pauses() -> None:
    """After connecting, and between requests, the pauses are kept."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await driver.read(polls[0])
        settled = loop.time()
        await driver.read(polls[0])
        assert settled - started == pytest.approx(2.0, abs=0.3)
        assert loop.time() - settled == pytest.approx(0.5, abs=0.3)
        await asyncio.sleep(1.0)
        rested = loop.time()
        await driver.read(polls[0])
        assert loop.time() - rested < 0.3

    pauses = {"settle": "2s", "gap": "500ms", "timeout": "10s"}
    serve(test, points(1), registers=range(8), bus=pauses, virtual=True)


def test_values_outside_their_range() -> None:
    """A number that is physically impossible keeps its value and becomes RANGE."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        sample = await driver.read(polls[0])
        assert sample.values.tolist() == [4.0, 5.0]
        assert sample.quality.tolist() == [quality.GOOD, quality.RANGE]

    fields = [field_point(f"r{n}", PointConfig(holding=n), high=4.5) for n in (4, 5)]
    serve(test, fields, registers=range(8))


def test_silent_unit_leaves_its_neighbour_alone() -> None:
    """Behind one gateway a unit that is silent times out by itself; the other reads on."""

    async def main() -> None:
        units = {n: Unit(holding={0: 100 + n}) for n in (1, 2)}
        async with ModbusDevice(units) as fake:
            fake.faults[1] = Fault.SILENT
            bus = BusConfig(tcp=fake.address, timeout="50ms")
            devices = [FieldDevice(f"d{n}", DeviceConfig(unit=n), points(0)) for n in (1, 2)]
            polls = [p for d in devices for p in MODBUS.plan(bus, d)]
            async with ModbusDriver(bus, devices, polls, Told()) as driver:
                for _ in range(30):
                    with pytest.raises(DeviceTimeout) as caught:
                        await driver.read(polls[0])
                    assert "unit 1" in caught.value.reason.en
                    assert (await driver.read(polls[1])).values.tolist() == [102.0]
            assert fake.connections == 1

    asyncio.run(main())


def test_answers_of_two_units_are_not_mixed() -> None:
    """A gateway that answers for another unit gives an error, not the other unit's value."""

    async def main() -> None:
        units = {n: Unit(holding={0: 100 + n}) for n in (1, 2)}
        async with ModbusDevice(units) as fake:
            bus = BusConfig(tcp=fake.address, timeout="50ms")
            devices = [FieldDevice(f"d{n}", DeviceConfig(unit=n), points(0)) for n in (1, 2)]
            polls = [p for d in devices for p in MODBUS.plan(bus, d)]
            async with ModbusDriver(bus, devices, polls, Told()) as driver:
                fake.faults[1] = Fault.UNIT
                with pytest.raises(BadAnswer):
                    await driver.read(polls[0])

    asyncio.run(main())


def test_samples_reuse_their_arrays() -> None:
    """A poll fills the same arrays each time: nothing is allocated per read for its points."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        first = await driver.read(polls[0])
        values = first.values
        fake.units[1].holding[0] = 77
        second = await driver.read(polls[0])
        assert second.values is values
        assert np.array_equal(values, [77.0, 1.0])

    serve(test, points(0, 1), registers=range(8))


def test_not_connected() -> None:
    """Before it is entered and after it is left, a driver is a link that is down."""

    async def test(driver: ModbusDriver, fake: ModbusDevice, polls: list[Poll]) -> None:
        await driver.__aexit__(None, None, None)
        with pytest.raises(LinkDown):
            await driver.read(polls[0])
        with pytest.raises(LinkDown):
            await driver.write([Write("d", "r0", 1.0, 14)])

    serve(test, points(0, 1), registers=range(8))
