"""The contract that every driver keeps, over real sockets; see `drivers.py` for how to join."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from edge.bus.host import BusHost
from edge.driver import Driver, Poll, Write
from edge.errors import DeviceRefused, DeviceTimeout, DriverError, LinkDown
from edge.image import quality
from tests.contract.drivers import RIGS, Ability, Rig, read

pytestmark = pytest.mark.parametrize("make", RIGS.values(), ids=RIGS.keys())
Make = Callable[[], Rig]


def run(make: Make, test: Callable[[Rig], Awaitable[None]], *needs: Ability) -> None:
    rig = make()
    if missing := set(needs) - rig.faults:
        pytest.skip(f"cannot do {', '.join(sorted(missing))}")

    async def main() -> None:
        async with asyncio.timeout(30), rig:
            await test(rig)

    asyncio.run(main())


def polls_of(rig: Rig) -> list[Poll]:
    return [p for device in rig.devices for p in rig.kind.plan(rig.bus, device)]


def first_device(rig: Rig, polls: Iterable[Poll]) -> list[Poll]:
    return [p for p in polls if p.device == rig.devices[0].id]


def intact(rig: Rig, polls: Iterable[Poll]) -> list[Poll]:
    """The first device's polls without any point that it refuses."""
    return [p for p in first_device(rig, polls) if not set(p.points) & set(rig.refused)]


@asynccontextmanager
async def connected(rig: Rig, polls: list[Poll]) -> AsyncIterator[Driver]:
    async with rig.kind.connect(rig.bus, rig.devices, polls, BusHost()) as driver:
        yield driver


async def values_of(driver: Driver, polls: Iterable[Poll]) -> dict[str, float]:
    """What the usable points read; asserts that the arrays fit the poll."""
    seen: dict[str, float] = {}
    for poll in polls:
        sample = await read(driver, poll)
        assert len(poll.points) == len(sample.values) == len(sample.quality)
        good = (sample.quality & quality.BAD) == 0
        assert np.isfinite(sample.values[good]).all()
        seen |= {p: float(sample.values[i]) for i, p in enumerate(poll.points) if good[i]}
    return seen


def device_of(rig: Rig, point: str) -> str:
    return next(d.id for d in rig.devices if any(p.id == point for p in d.points))


async def write(driver: Driver, rig: Rig, point: str, value: float) -> None:
    await driver.write([Write(device_of(rig, point), point, value, 14)])


def test_all_points_are_read(make: Make) -> None:
    """Each configured point is in exactly one poll and reads what the device holds."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        readable = sorted(p.id for d in rig.devices for p in d.points if p.readable)
        assert readable == sorted(point for poll in polls for point in poll.points)
        async with connected(rig, polls) as driver:
            assert rig.expected == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test)


def test_refused_point_costs_only_itself(make: Make) -> None:
    """A point that the device does not have becomes CONFIG and its neighbours stay good."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        if not rig.refused:
            pytest.skip("refuses nothing")
        async with connected(rig, polls) as driver:
            for _ in range(3):
                for poll in polls:
                    sample = await read(driver, poll)
                    for i, point in enumerate(poll.points):
                        bits = int(sample.quality[i])
                        wanted = quality.CONFIG if point in rig.refused else quality.GOOD
                        assert (point, wanted) == (point, bits & quality.BAD)

    run(make, test)


def test_write_reads_back(make: Make) -> None:
    """What was written and acknowledged is read afterwards, and nothing else has changed."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            wanted = dict(rig.expected)
            for point, value in rig.writes:
                await write(driver, rig, point, value)
                wanted[point] = value
                assert wanted == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test)


def test_several_writes_in_one_call(make: Make) -> None:
    """Writes handed over together are all carried out, in their order."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            await driver.write([Write(device_of(rig, p), p, v, 14) for p, v in rig.writes])
            wanted = dict(rig.expected) | dict(rig.writes)
            assert wanted == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test)


def test_impossible_value_is_refused(make: Make) -> None:
    """A value that the point cannot hold is refused for good and changes nothing."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            for point, value in rig.impossible:
                with pytest.raises(DeviceRefused) as caught:
                    await write(driver, rig, point, value)
                assert caught.value.permanent
                assert caught.value.reason.zh
                assert caught.value.reason.en
            assert rig.expected == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test)


def test_relinquish_is_accepted(make: Make) -> None:
    """NaN on a commandable point is accepted and is never written as a number."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            for point in {p for p, _ in rig.writes}:
                await write(driver, rig, point, math.nan)
            for poll in polls:
                await read(driver, poll)

    run(make, test)


def test_raw_shows_the_bytes(make: Make) -> None:
    """The bytes behind a point can be shown."""

    async def test(rig: Rig) -> None:
        async with connected(rig, polls_of(rig)) as driver:
            for point in rig.expected:
                assert await driver.raw(device_of(rig, point), point)

    run(make, test)


def test_silence_is_a_timeout(make: Make) -> None:
    """A silent device is a DeviceTimeout within its budget; afterwards it reads as before."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            mine = intact(rig, polls)
            await values_of(driver, mine)
            rig.silence()
            for poll in mine[:2]:
                with pytest.raises(DeviceTimeout) as caught:
                    async with asyncio.timeout(rig.budget):
                        await read(driver, poll)
                assert caught.value.reason.zh
                assert caught.value.reason.en
            point, value = rig.writes[0]
            with pytest.raises(DeviceTimeout):
                async with asyncio.timeout(rig.budget):
                    await write(driver, rig, point, value)
            rig.normal()
            seen = await values_of(driver, mine)
            assert {p: rig.expected[p] for p in seen} == pytest.approx(seen, rel=1e-6)

    run(make, test, "silence")


def test_cancellation_frees_the_bus(make: Make) -> None:
    """A cancelled read ends at once, and the next one gets its own value, not a late answer's."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            one, two = intact(rig, polls)[:2]
            await values_of(driver, [one, two])
            for first, second in ((one, two), (two, one)):
                rig.delay(0.1)
                task = asyncio.create_task(read(driver, first))
                await rig.asked()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    async with asyncio.timeout(0.5):
                        await task
                rig.delay(0.15)
                seen = await values_of(driver, [second])
                assert {p: rig.expected[p] for p in second.points} == pytest.approx(seen, rel=1e-6)
                rig.normal()

    run(make, test, "delay")


def test_late_answer_is_not_taken_for_the_next(make: Make) -> None:
    """An answer that arrives after its time-out is never given to another poll."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            one, two = intact(rig, polls)[:2]
            await values_of(driver, [one, two])
            rig.delay(rig.budget)
            with pytest.raises(DeviceTimeout):
                await read(driver, one)
            rig.normal()
            until = asyncio.get_running_loop().time() + 1.5 * rig.budget
            while asyncio.get_running_loop().time() < until:
                seen = await values_of(driver, [two])
                assert {p: rig.expected[p] for p in two.points} == pytest.approx(seen, rel=1e-6)
                await asyncio.sleep(rig.budget / 20)

    run(make, test, "delay")


def test_reconnect_after_a_drop(make: Make) -> None:
    """A cut connection is a LinkDown until the driver is left and entered again."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        context = rig.kind.connect(rig.bus, rig.devices, polls, BusHost())
        async with context as driver:
            await values_of(driver, polls)
            rig.silence()
            task = asyncio.create_task(read(driver, polls[0]))
            await rig.asked()
            rig.drop()
            for attempt in (task, read(driver, polls[0])):
                with pytest.raises(LinkDown):
                    async with asyncio.timeout(rig.budget):
                        await attempt
        rig.normal()
        async with context as driver:
            assert rig.expected == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test, "drop", "silence")


def test_malformed_answer_is_no_value(make: Make) -> None:
    """Whatever comes back instead of an answer, no value is made of it, and it passes."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        for how in rig.malformations:
            async with connected(rig, polls) as driver:
                rig.malform(how)
                for poll in intact(rig, polls):
                    with pytest.raises(DriverError):
                        async with asyncio.timeout(rig.budget):
                            await read(driver, poll)
            rig.normal()
            async with connected(rig, polls) as driver:
                assert rig.expected == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test, "malform")


def test_close_is_idempotent(make: Make) -> None:
    """Leaving twice does no harm, and the driver can be entered again."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        context = rig.kind.connect(rig.bus, rig.devices, polls, BusHost())
        for _ in range(2):
            driver = await context.__aenter__()
            await values_of(driver, polls)
            await context.__aexit__(None, None, None)
            await context.__aexit__(None, None, None)

    run(make, test)


def test_two_instances_coexist(make: Make) -> None:
    """Two drivers of one kind work side by side and one's end does not touch the other."""

    async def test(rig: Rig) -> None:
        polls = polls_of(rig)
        async with connected(rig, polls) as driver:
            other = rig.kind.connect(rig.second_bus, rig.devices, polls, BusHost())
            async with other as second:
                one, two = await asyncio.gather(values_of(driver, polls), values_of(second, polls))
                assert one == two
                assert rig.expected == pytest.approx(one, rel=1e-6)
            assert rig.expected == pytest.approx(await values_of(driver, polls), rel=1e-6)

    run(make, test)
