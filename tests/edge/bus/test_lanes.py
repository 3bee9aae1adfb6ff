"""A bus that takes several requests at once: how many, which, and how they end."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from edge.driver import Write
from edge.errors import LinkDown
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import ANSWER, WORD, Case, now
from tests.support.records import output


@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_as_many_reads_as_the_bus_says_are_under_way(lanes: int) -> None:
    """More than that never; when they are all needed, that many."""

    async def main() -> None:
        case = Case(40, period=0.04, pipeline=lanes)
        await case.serve(5.0)
        assert case.line.most == lanes
        best = min(lanes / ANSWER, 40 / 0.04)
        assert len(case.sink.delivered) / 5.0 >= 0.95 * best

    run_virtual(main)


def test_without_a_pipeline_no_task_is_made() -> None:
    """One lane is the bus task itself."""

    async def main() -> None:
        case = Case(3)
        async with case:
            await asyncio.sleep(1.0)
            alone = len(asyncio.all_tasks())
        case = Case(3, pipeline=4)
        async with case:
            await asyncio.sleep(1.0)
            assert len(asyncio.all_tasks()) == alone + 3

    run_virtual(main)


def test_a_slow_device_holds_up_one_lane_only() -> None:
    """Polls keep their times while one request waits for its time-out, and while a write does."""

    async def main() -> None:
        case = Case(10, period=0.5, pipeline=2)
        case.line.timeouts["d0"] = 2.0
        async with case:
            await asyncio.sleep(2.0)
            case.line.mood["d0"] = "silent"
            since = now()
            await asyncio.sleep(60.0)
            assert min(case.rate(k, since) for k in range(1, 10)) >= 118
            assert case.runner.overruns <= 15  # those of the silent device

    run_virtual(main)


def test_writes_never_overtake_each_other() -> None:
    """Whatever is read beside them, one at a time and in order."""

    async def main() -> None:
        case = Case(20, period=0.02, pipeline=8)
        running = 0
        answer = case.line.write

        async def alone(writes: tuple[Write, ...]) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await answer(writes)
            running -= 1

        case.line.write = alone  # type: ignore[method-assign,assignment]
        async with case:
            await asyncio.sleep(1.0)
            for k in range(20):
                case.put(f"d{k}.p0", float(k))
            await asyncio.sleep(2.0)
            assert [value for _, _, value in case.line.writes] == [float(k) for k in range(20)]

    run_virtual(main)


def test_what_is_read_while_its_point_is_written_is_read_again() -> None:
    """The answer under way may be older than the write."""

    async def main() -> None:
        case = Case(2, period=10.0, pipeline=2)
        async with case:
            await asyncio.sleep(1.0)
            planned = case.runner._planned[0]
            at = planned.due
            await asyncio.sleep(at - now() - ANSWER / 2)
            case.put("d0.p0", 5.0)
            await asyncio.sleep(1.0)
            reads = [t for t, device in case.line.reads if device == "d0" and t >= at - 0.01]
            assert len(reads) == 2

    run_virtual(main)


def test_a_lost_link_ends_all_lanes() -> None:
    """One of them notices; afterwards everything is read again, once."""

    async def main() -> None:
        case = Case(6, pipeline=3)
        async with case:
            await asyncio.sleep(2.0)
            tasks = len(asyncio.all_tasks())
            case.line.next["d2"] = deque([LinkDown(WORD)])
            for _ in range(100):
                await asyncio.sleep(0.01)
                if not case.runner.up:
                    break
            assert case.runner.up is False
            assert len(asyncio.all_tasks()) == tasks - 2
            await asyncio.sleep(3.0)
            assert case.runner.up is True
            assert (case.line.connects, len(asyncio.all_tasks())) == (2, tasks)
            assert min(case.rate(k, now() - 2.0) for k in range(6)) >= 2

    run_virtual(main)


def test_a_bug_in_a_lane_ends_the_bus_task() -> None:
    """As it does without lanes: whoever supervises it starts it anew."""

    async def main() -> None:
        case = Case(6, pipeline=3)
        case.line.mood["d2"] = "bug"
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await case.runner.run()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0  # else nobody would start it anew
        assert len(asyncio.all_tasks()) == 2  # of the test

    run_virtual(main)


@pytest.mark.parametrize("lanes", [1, 2, 3, 6])
def test_a_write_that_had_to_wait_is_not_forgotten_for_a_poll(lanes: int) -> None:
    """Polls every 20 s and a write due in one: it goes when it is due, whoever polls meanwhile."""

    async def main() -> None:
        case = Case(3, period=20.0, pipeline=lanes, outputs={"d0.p0": output(write_interval=1.0)})
        async with case:
            await asyncio.sleep(30.0)
            for _ in range(80):
                case.put("d0.p0", now())
                await asyncio.sleep(0.1)
                case.put("d0.p0", now())
                await asyncio.sleep(20.4)
        times = [at for at, _, _ in case.line.writes]
        waits = [b - a for a, b in zip(times[::2], times[1::2], strict=True)]
        assert max(waits) <= 1.0 + 2 * ANSWER

    run_virtual(main)


def test_requests_side_by_side_that_fail_together_are_one_failure() -> None:
    """A third of a second of silence does not make a device offline because it has many lanes."""

    async def main() -> None:
        case = Case(1, period=10.0, polls=8, pipeline=8)
        async with case:
            await asyncio.sleep(2.0)
            case.runner._schedule.start(now())  # all of them at once
            case.line.next["d0"] = deque(["silent"] * 8)
            case.runner._wake()
            await asyncio.sleep(3.0)
            assert len(case.line.silences) == 8
            assert case.runner.devices["d0"].online
            assert case.events.counts["device-offline"] == 0

    run_virtual(main)
