"""Polls that follow each other from answer to answer: what must go before them, and what ends it.

The stand-in of `line.py` reads on, so that all other tests of the bus task go this way too.
"""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from edge.driver import Following, Poll, ReadsOn
from edge.errors import BadAnswer, DriverError, LinkDown, NotYet
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import ANSWER, WORD, Case, FakeLine, now, refusal


class OneByOne(FakeLine):
    """A driver that cannot read on."""

    read_on = None  # type: ignore[assignment]


def busy(devices: int = 4, pipeline: int = 1) -> Case:
    """A bus that has no time for its polls: each answer is followed by a request."""
    return Case(devices, period=0.4 * ANSWER, pipeline=pipeline)


def test_polls_follow_without_waking_the_task() -> None:
    """While polls are due, the driver is asked to read once."""

    async def main() -> None:
        case, calls = busy(), 0
        read_on = case.line.read_on

        async def counted(poll: Poll, following: Following) -> Poll | None:
            nonlocal calls
            calls += 1
            return await read_on(poll, following)

        case.line.read_on = counted  # type: ignore[method-assign]
        await case.serve(10.0)
        assert calls == 1
        assert len(case.sink.delivered) == pytest.approx(10.0 / ANSWER, rel=0.01)

    run_virtual(main)


@pytest.mark.parametrize("devices", [1, 3, 7])
def test_devices_of_a_bus_have_equal_shares(devices: int) -> None:
    """However short the time, none is read more often than another."""

    async def main() -> None:
        case = busy(devices)
        await case.serve(5.0)
        rates = [case.rate(d, 0.0) for d in range(devices)]
        assert max(rates) - min(rates) <= 1

    run_virtual(main)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_write_goes_before_the_next_poll(lanes: int) -> None:
    """It waits for no more than the answer of the writer's poll that is under way."""

    async def main() -> None:
        case = busy(pipeline=lanes)
        async with case:
            for k in range(20):
                await asyncio.sleep(0.1037)
                asked = now()
                case.put("d1.p0", float(k))
                await asyncio.sleep(3 * ANSWER)
                assert case.line.writes[-1][1:] == ("d1.p0", float(k))
                assert case.line.writes[-1][0] - asked <= 2 * ANSWER + 1e-6

    run_virtual(main)


def test_a_question_goes_before_the_next_poll() -> None:
    """A person does not wait until polls have time."""

    async def main() -> None:
        case = busy()
        async with case:
            await asyncio.sleep(0.1037)
            asked = now()
            assert await case.runner.raw("d2", "d2.p0") == b"d2.p0"
            assert now() - asked <= 2 * ANSWER + 1e-6

    run_virtual(main)


@pytest.mark.parametrize("error", [refusal(permanent=True), BadAnswer(WORD), NotYet(WORD, 0.3)])
def test_what_fails_on_the_way_is_its_own_poll(error: DriverError) -> None:
    """The others are read on, and nobody takes the blame for another device."""

    async def main() -> None:
        case = busy(3)
        async with case:
            await asyncio.sleep(1.0)
            case.line.next["d1"] = deque([error])
            since = now()
            await asyncio.sleep(1.0)
            meters = [case.runner.devices[f"d{i}"].meter for i in range(3)]
            failures = [sum(meter.failures.values()) for meter in meters]
            assert failures == [0, 0 if isinstance(error, NotYet) else 1, 0]
            assert min(case.rate(0, since), case.rate(2, since)) >= 0.3 / ANSWER
            assert (since, 1) < max(case.sink.delivered)

    run_virtual(main)


def test_a_device_that_falls_silent_is_probed_and_costs_its_share_only() -> None:
    """After three time-outs its neighbours have the bus; it is not read before it answers."""

    async def main() -> None:
        case = busy(3)
        async with case:
            await asyncio.sleep(1.0)
            case.line.mood["d0"] = "silent"
            await asyncio.sleep(4.0)
            since, reads = now(), len([at for at, d in case.line.reads if d == "d0"])
            await asyncio.sleep(60.0)
            assert case.rate(1, since) + case.rate(2, since) >= 0.94 * 60.0 / ANSWER
            assert len([at for at, d in case.line.reads if d == "d0"]) == reads
            assert 1 <= len(case.line.probes) <= 7
            assert case.sink.failures[-1][1:] == (0, quality.COMM)
            case.line.mood["d0"] = "ok"
            await asyncio.sleep(300.0)
            since = now()
            await asyncio.sleep(1.0)
            assert abs(case.rate(0, since) - case.rate(1, since)) <= 1

    run_virtual(main)


def test_a_lost_link_on_the_way_ends_in_a_new_one() -> None:
    """What was under way then is read again afterwards."""

    async def main() -> None:
        case = busy(3)
        async with case:
            await asyncio.sleep(1.0)
            case.line.next["d1"] = deque([LinkDown(WORD)])
            await asyncio.sleep(10.0)
            assert case.line.connects == 2
            since = now()
            await asyncio.sleep(1.0)
            assert min(case.rate(d, since) for d in range(3)) >= 0.3 / ANSWER

    run_virtual(main)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_stopped_bus_asks_nothing_more(lanes: int) -> None:
    """Whatever is under way then."""

    async def main() -> None:
        case = busy(pipeline=lanes)
        await case.serve(1.0)
        reads = len(case.line.reads)
        await asyncio.sleep(5.0)
        assert len(case.line.reads) == reads

    run_virtual(main)


def test_a_driver_need_not_read_on() -> None:
    """One that answers poll by poll is polled as fast and as evenly."""

    async def main() -> None:
        case = busy(3)
        case.line = OneByOne()
        assert not isinstance(case.line, ReadsOn)
        await case.serve(5.0)
        rates = [case.rate(d, 0.0) for d in range(3)]
        assert sum(rates) == pytest.approx(5.0 / ANSWER, rel=0.01)
        assert max(rates) - min(rates) <= 1

    run_virtual(main)
