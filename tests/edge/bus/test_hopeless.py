"""What never works must cost nobody else much: a poll, a write, a device that hangs up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import pytest

from edge.driver import Poll, Sample, Write
from edge.errors import LinkDown
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import ANSWER, TIMEOUT, WORD, Case, now


def mute(case: Case, *points: str) -> list[float]:
    """Polls of these points stay without an answer, whatever else their device answers."""
    tries: list[float] = []
    read = case.line.read

    async def silent(poll: Poll) -> Sample:
        if poll.points[0] in points:
            tries.append(now())
            await case.line._silence(poll.device)
        return await read(poll)

    case.line.read = silent  # type: ignore[method-assign]
    return tries


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_poll_that_alone_is_silent_is_left_alone(lanes: int) -> None:
    """Many say nothing to a register that they do not have: three tries, then a back-off."""

    async def main() -> None:
        case = Case(4, polls=2, pipeline=lanes)
        tries = mute(case, "d0.p1")
        await case.serve(1000.0)
        gaps = [b - a for a, b in pairwise(tries)]
        assert gaps[:2] == pytest.approx([TIMEOUT] * 2, abs=0.2)
        assert gaps[2:] == pytest.approx([10, 20, 40, 80, 160, 300, 300], abs=2.0)
        assert (1, quality.COMM) in {(first, bits) for _, first, bits in case.sink.failures}
        assert {first for _, first, _ in case.sink.failures} == {1}
        assert (case.events.counts["poll-silent"], case.events.counts["device-offline"]) == (1, 0)
        assert all(case.rate(k, 5.0) >= 990 for k in range(8) if k != 1)

    run_virtual(main)


def test_a_poll_that_answers_again_has_its_rate_again() -> None:
    """And is told of anew when it falls silent once more."""

    async def main() -> None:
        case = Case(2)
        async with case:
            await asyncio.sleep(2.0)
            case.line.next["d0"] = deque(["silent", "silent"])
            await asyncio.sleep(60.0)
            assert case.sink.failures == []
            read = case.line.read
            for told in (1, 2):
                mute(case, "d0.p0")
                case.runner.devices["d0"].failures = -9  # it answers what else it is asked
                await asyncio.sleep(5.0)
                case.line.read = read  # type: ignore[method-assign]
                await asyncio.sleep(20.0)
                assert case.rate(0, now() - 10.0) >= 9
                assert case.events.counts["poll-silent"] == told

    run_virtual(main)


def test_a_device_that_answers_probes_only_stays_within_the_bound() -> None:
    """Short answers pass on a bad line and long ones do not: it is not back each ten seconds."""

    async def main() -> None:
        case = Case(5)
        case.line.mood["d0"] = "silent"

        async def probe(device: str) -> None:
            await asyncio.sleep(ANSWER)

        case.line.probe = probe  # type: ignore[method-assign]
        await case.serve(1000.0)
        assert sum(TIMEOUT for at, _ in case.line.silences if at > 60) <= 0.05 * 940
        assert case.events.counts["device-offline"] <= 6
        assert min(case.rate(k, 1.0) for k in range(1, 5)) >= 980

    run_virtual(main)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("device", [0, 1])
def test_a_poll_that_ends_the_link_does_not_keep_the_others_from_theirs(
    device: int, lanes: int
) -> None:
    """A gateway that hangs up instead of being silent, also when that poll would be the first."""

    async def main() -> None:
        case = Case(4, pipeline=lanes)
        case.line.next[f"d{device}"] = deque([LinkDown(WORD)] * 10000)
        await case.serve(1000.0)
        assert case.events.counts["link-down"] <= 15
        assert min(case.rate(k, 0.0) for k in range(4) if k != device) >= 800
        case.line.next.clear()

    run_virtual(main)


def test_a_link_that_breaks_by_itself_costs_no_device_its_place() -> None:
    """Who happened to be asked each time is read a second later than the others, not a minute."""

    async def main() -> None:
        case = Case(4, pipeline=4)
        async with case:
            for _ in range(20):
                await asyncio.sleep(30.0)
                case.line.link = False
                await asyncio.sleep(3.0)
                case.line.link = True
            await asyncio.sleep(100.0)
            assert case.events.counts["device-offline"] == 0
            assert min(case.rate(k, now() - 30.0) for k in range(4)) >= 29

    run_virtual(main)


@pytest.mark.parametrize("urgent", [False, True])
def test_a_write_that_ends_the_link_leaves_time_for_polls(urgent: bool) -> None:
    """It is tried ever more rarely, told of once; a new value is no reason to hurry."""

    async def main() -> None:
        case = Case(3)

        async def hang_up(writes: Sequence[Write]) -> None:
            raise LinkDown(WORD)

        async with case:
            await asyncio.sleep(2.0)
            write, case.line.write = case.line.write, hang_up  # type: ignore[method-assign]
            for k in range(100):
                case.runner.mailbox.put(Write("d1", "d1.p0", float(k), 14), urgent=urgent)
                await asyncio.sleep(10.0)
            assert min(case.rate(k, 0.0) for k in range(3)) >= 750
            assert case.events.counts["link-down"] <= 12
            assert case.events.counts["write-failed"] == 1
            case.line.write = write  # type: ignore[method-assign]
            await asyncio.sleep(310.0)
            assert [value for _, _, value in case.line.writes] == [99.0]

    run_virtual(main)


def test_the_living_get_their_failsafe_values_before_the_dead_are_tried() -> None:
    """A stop has three seconds; a dead device is asked once, not once for each of its outputs."""

    async def main() -> None:
        case = Case(2, polls=20)
        case.line.mood["d0"] = "silent"
        async with case:
            await asyncio.sleep(15.0)
            before, began = len(case.line.silences), now()
            for device in ("d0", "d1"):
                for k in range(20):
                    write = Write(device, f"{device}.p{k}", 0.0, 14)
                    case.runner.mailbox.put(write, urgent=True)
            await asyncio.sleep(3.0)
            assert len(case.line.writes) == 20
            assert case.line.writes[-1][0] - began < 0.5
            assert len(case.line.silences) == before + 1
            assert case.events.counts["write-failed"] == 20

    run_virtual(main)


def test_devices_that_come_back_together_are_seen_together() -> None:
    """A cabinet has its power again: the first that answers brings the others' next probe near."""

    async def main() -> None:
        case = Case(30)
        case.line.mood = {f"d{k}": "silent" for k in range(30)}
        async with case:
            await asyncio.sleep(3600.0)
            case.line.mood.clear()
            since = now()
            await asyncio.sleep(320.0)
            back = sorted(at for at, _, online in case.sink.states if online and at > since)
            assert len(back) == 30
            assert back[0] - since <= 300 + TIMEOUT
            assert back[-1] - back[0] <= 10 + TIMEOUT

    run_virtual(main)


def test_a_stop_does_not_wait_for_a_dead_device() -> None:
    """What waits for its return is left; an urgent value is still tried once."""

    async def main() -> None:
        case = Case(2)
        case.line.mood["d0"] = "silent"
        async with case:
            await asyncio.sleep(15.0)
            case.put("d0.p0", 1.0)
            await asyncio.wait_for(case.runner.mailbox.emptied(), 0.01)
            case.runner.mailbox.put(Write("d0", "d0.p0", 0.0, 14), urgent=True)
            case.put("d1.p0", 1.0)
            await asyncio.wait_for(case.runner.mailbox.emptied(), TIMEOUT + 0.1)
            assert case.line.silences[-1][0] == pytest.approx(15.0, abs=0.1)
            assert len(case.line.writes) == 1

    run_virtual(main)
