"""What silent and refusing devices cost: the stated bound, probes, and nobody else's rate."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.schedule import SILENT_SHARE, Allowance
from edge.errors import BadAnswer, LinkDown, NotYet
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import TIMEOUT, WORD, Case, now, refusal


def share(spent: list[tuple[float, float]], since: float, until: float) -> float:
    """Of the window, the time that lies within the (began, seconds) of `spent`."""
    inside = (max(min(b + s, until) - max(b, since), 0.0) for b, s in spent)
    return sum(inside) / (until - since)


@given(
    st.lists(st.tuples(st.floats(0.05, 10.0), st.floats(0.0, 30.0)), min_size=1, max_size=60),
    st.floats(60.0, 600.0),
)
def test_probes_of_dead_devices_take_a_twentieth_and_one(
    probes: list[tuple[float, float]], window: float
) -> None:
    """However long each takes and however eager they are: 5 % of any minute and more, and one."""
    allowance, at, spent = Allowance(), 0.0, []
    for cost, idle in probes:
        at = max(at + idle, allowance.free_at)
        spent.append((at, cost))
        allowance.spend(at, cost)
        at += cost
    longest = max(cost for _, cost in spent)
    for began, cost in spent:
        for since in (began, began + cost - window):
            assert share(spent, since, since + window) <= 0.05 + longest / window + 1e-9


def test_what_could_not_be_deferred_is_paid_for_later() -> None:
    """A protection is tried at once; the probes after it wait for both."""
    allowance = Allowance()
    allowance.spend(0.0, 1.0)
    assert allowance.free_at == pytest.approx(1 / SILENT_SHARE)
    allowance.spend(5.0, 1.0)
    assert allowance.free_at == pytest.approx(2 / SILENT_SHARE)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from((0.2, 0.5, 2.0)), min_size=1, max_size=12), st.integers(1, 4))
def test_any_number_of_dead_devices_leaves_the_bus_to_the_living(
    timeouts: list[float], pipeline: int
) -> None:
    """Over every minute after their first time-outs the dead have a twentieth and one probe."""

    async def main() -> None:
        case = Case(len(timeouts) + 2, polls=2, pipeline=pipeline)
        for k, timeout in enumerate(timeouts):
            case.line.mood[f"d{k}"] = "silent"
            case.line.timeouts[f"d{k}"] = timeout
        await case.serve(240.0)
        first = 2.0 * sum(timeouts)
        spent = [(at, case.line.timeouts[device]) for at, device in case.line.silences]
        most = 0.05 + max(timeouts) / 60 + 1e-9
        for began, cost in spent:
            assert began < first or share(spent, began, began + 60) <= most
            assert (
                began + cost - 60 < first or share(spent, began + cost - 60, began + cost) <= most
            )
        living = [case.rate(2 * (len(timeouts) + k), first) / (240 - first) for k in range(2)]
        assert min(living) >= 0.9

    run_virtual(main)


@pytest.mark.parametrize("silent", [range(10), range(0, 30, 3), range(20, 30)])
def test_a_third_of_thirty_devices_silent_from_the_start_costs_the_others_no_turn(
    silent: range,
) -> None:
    """Each takes one time-out and is lost; what falls due meanwhile goes before the next of them,
    wherever they stand."""

    async def main() -> None:
        case = Case(30, polls=1)
        for k in silent:
            case.line.mood[f"d{k}"] = "silent"
        await case.serve(60.0)
        early = [device for at, device in case.line.silences if at < 15 * TIMEOUT]
        assert sorted(early) == sorted(f"d{k}" for k in silent)
        heard = [case.rate(k, 5.5, 60.0) / 54.5 for k in range(30) if k not in silent]
        assert min(heard) >= 0.98
        # Until somebody has answered nobody knows him from the silent ones before him.
        first = [case.rate(k, 0.0, 10.0) for k in range(silent.start)]
        assert min(first, default=10) >= 9

    run_virtual(main)


def test_a_damaged_first_answer_is_no_dead_device() -> None:
    """Bytes came, so somebody is there: it is asked again at once, as later."""

    async def main() -> None:
        case = Case(3)
        case.line.next["d1"] = deque([BadAnswer(WORD)] * 2)
        case.line.mood["d2"] = "garbles"
        await case.serve(5.0)
        assert case.rate(1, 0.0, 1.0) >= 1
        assert case.events.counts["device-offline"] == 1  # who says nothing else is given up
        assert [device for _, device in case.line.reads].count("d2") == 3

    run_virtual(main)


def test_a_dead_device_is_probed_ever_more_rarely_by_one_small_request() -> None:
    """S40: at most one probe in 10 s, growing to one in 300 s; none of its polls is tried."""

    async def main() -> None:
        case = Case(4, period=2.0, polls=2)
        async with case:
            await asyncio.sleep(5.0)
            case.line.mood["d3"] = "silent"
            died = now()
            await asyncio.sleep(2000.0)
            tried = [at for at, device in case.line.reads if device == "d3" and at > died]
            assert len(tried) == 3  # three in a row, then it is lost
            probes = [at for at, device in case.line.probes]
            assert {device for _, device in case.line.probes} == {"d3"}
            gaps = [b - a for a, b in pairwise(probes)]
            assert gaps == pytest.approx([20, 40, 80, 160, *[300] * (len(gaps) - 4)], abs=1.0)
            assert case.runner.devices["d3"].meter.back_off >= 1400
            case.line.mood["d3"] = "ok"
            await asyncio.sleep(301.0)
            back = next(at for at, _, online in reversed(case.sink.states) if online)
            assert [case.rate(6 + k, back - 0.01, back + 0.1) for k in range(2)] == [1, 1]

    run_virtual(main)


def test_a_noisy_line_with_a_dead_device_keeps_its_pace() -> None:
    """S40: one of eight dead, one answer in twenty damaged: ten minutes at the nominal rate."""

    async def main() -> None:
        case = Case(8)
        noise = random.Random(40)
        case.line.mood["d5"] = "silent"
        for k in range(8):
            outcomes = (BadAnswer(WORD) if noise.random() < 0.05 else "ok" for _ in range(2000))
            if k != 5:
                case.line.next[f"d{k}"] = deque(outcomes)
        await case.serve(600.0)
        assert min(case.rate(k, 0.0) for k in range(8) if k != 5) >= 600 / 1.1
        probes = [at for at, device in case.line.probes if device == "d5"]
        assert all(b - a >= 10 for a, b in pairwise(probes))
        assert case.events.counts["device-offline"] <= 2

    run_virtual(main)


def test_a_gateway_that_hangs_up_on_a_dead_device_is_not_asked_at_every_reconnect() -> None:
    """The link breaks at each probe; it is probed no more often for that."""

    async def main() -> None:
        case = Case(2)
        case.line.mood["d0"] = "silent"
        async with case:
            await asyncio.sleep(1.0)
            case.line.next["d0"] = deque([LinkDown(WORD)] * 50)
            await asyncio.sleep(600.0)
            assert 3 <= case.events.counts["link-down"] <= 7
            assert case.rate(1, 1.0) >= 560

    run_virtual(main)


def test_a_busy_device_is_asked_again_before_its_refusal_counts() -> None:
    """Three more times, a second apart, with its values as they are; then COMM and one event."""

    async def main() -> None:
        case = Case(1, period=20.0)
        busy = refusal(again=(1.0, 1.0, 1.0))
        async with case:
            await asyncio.sleep(15.0)
            case.line.next["d0"] = deque([busy, busy, busy])
            await asyncio.sleep(20.0)
            turns = [at for at, _ in case.line.reads if at > 15]
            assert [b - a for a, b in pairwise(turns)] == pytest.approx([1.005] * 3)
            assert (case.sink.failures, case.events.counts["poll-refused"]) == ([], 0)
            case.line.next["d0"] = deque([busy] * 6)
            await asyncio.sleep(60.0)
            assert [bits for _, _, bits in case.sink.failures] == [quality.COMM] * 3
            assert case.events.counts["poll-refused"] == 1
            await asyncio.sleep(20.0)
            assert case.rate(0, 95.0) == 1

    run_virtual(main)


def test_a_refusal_for_good_rests_as_long_as_it_says() -> None:
    """No such function: CONFIG, one event, and an hour until it is asked again."""

    async def main() -> None:
        case = Case(2)
        case.line.next["d0"] = deque([refusal(permanent=True, rest=3600.0)] * 2)
        await case.serve(3700.0)
        turns = [at for at, device in case.line.reads if device == "d0"]
        assert turns[1] - turns[0] == pytest.approx(3600, abs=1)
        assert {bits for _, _, bits in case.sink.failures} == {quality.CONFIG}
        assert case.events.counts["poll-refused"] == 1

    run_virtual(main)


def test_what_cannot_be_asked_yet_has_another_turn() -> None:
    """It counts as nothing, others are asked meanwhile, and it is asked when it said."""

    async def main() -> None:
        case = Case(2, period=10.0)
        async with case:
            await asyncio.sleep(15.0)
            case.line.next["d0"] = deque([NotYet(WORD, 2.0)] * 4)
            await asyncio.sleep(20.0)
            turns = [at for at, device in case.line.reads if device == "d0" and at > 15]
            assert [b - a for a, b in pairwise(turns)][:4] == pytest.approx([2.005] * 4)
            assert case.rate(0, 15.0) == case.rate(1, 15.0) == 2
            meter = case.runner.devices["d0"].meter
            assert meter.requests == meter.answers
            assert not case.sink.failures
            case.line.mood["d0"] = "silent"
            await asyncio.sleep(15.0)
            case.line.next["d0"] = deque([NotYet(WORD, 2.0)])
            failed = meter.requests
            await asyncio.sleep(10.0)
            first, second = [at for at, _ in case.line.probes][-2:]
            assert second - first == pytest.approx(2.005)
            assert meter.requests == failed + 1

    run_virtual(main)


def test_a_poll_once_a_day_has_its_first_reading_at_the_start() -> None:
    """Nameplates are not waited for until tomorrow."""

    async def main() -> None:
        case = Case(3, period=86400.0)
        await case.serve(10.0)
        assert len(case.sink.delivered) == 3

    run_virtual(main)
