"""The bus task in virtual time: its rhythm, its links, and what it makes of failures."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bus.schedule import DeviceState, Planned, Schedule, next_turn
from edge.driver import Poll
from edge.errors import LinkDown
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from edge.text import Text
from tests.edge.bus.line import ANSWER, WORD, Case, now


def test_every_poll_keeps_its_period_and_turns_are_spread() -> None:
    """Ten devices polled each second are read ten times in ten seconds, a tenth apart."""

    async def main() -> None:
        case = Case(10)
        await case.serve(11.0)
        assert all(10 <= case.rate(d, 1.0) <= 11 for d in range(10))
        second = sorted(at % 1.0 for at, _ in case.line.reads if 5.0 <= at < 6.0)
        assert all(b - a == pytest.approx(0.1, abs=0.01) for a, b in pairwise(second))

    run_virtual(main)


@pytest.mark.parametrize("early", [1e-13, 4e-4])
def test_a_timer_that_ends_too_early_costs_no_turns(
    early: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll is taken a hair before its time: not waited for in tiny steps, and not read twice."""

    async def main() -> None:
        case, waits = Case(4), []
        loop, wait = asyncio.get_running_loop(), case.runner._bell.wait

        async def counted(lane: int, until: float) -> None:
            waits.append(until)
            assert len(waits) < 200, "it spins"
            await wait(lane, until)

        call_later = loop.call_later
        monkeypatch.setattr(loop, "call_later", lambda d, *a, **k: call_later(d - early, *a, **k))
        case.runner._bell.wait = counted
        await case.serve(21.0)
        assert all(20 <= case.rate(d, 1.0) <= 21 for d in range(4))
        assert len(waits) <= 4 * 22
        assert case.runner.overruns == 0

    run_virtual(main)


def test_a_silent_device_costs_only_itself() -> None:
    """With one of ten devices silent the other nine lose at most the time of its few probes."""

    async def main() -> None:
        case = Case(10)
        case.line.mood["d3"] = "silent"
        await case.serve(101.0)
        assert case.rate(3, 0.0) == 0
        assert all(case.rate(d, 1.0) >= 95 for d in range(10) if d != 3)
        probes = [at for at, d in case.line.reads if d == "d3"]
        assert len(probes) <= 6
        assert [s for s in case.sink.states if not s[2]] == [(pytest.approx(0.515), "d3", False)]

    run_virtual(main)


def test_one_lost_answer_is_not_a_lost_device() -> None:
    """A single time-out is tried again at once and changes no quality."""

    async def main() -> None:
        case = Case(2)
        async with case:
            await asyncio.sleep(3.2)
            case.line.mood["d1"] = "silent"
            await asyncio.sleep(0.6)
            case.line.mood["d1"] = "ok"
            await asyncio.sleep(2.0)
        assert all(online for _, _, online in case.sink.states)
        assert case.sink.failures == []

    run_virtual(main)


def test_a_device_that_comes_back_is_polled_at_once() -> None:
    """After the probe that succeeds, everything of the device is read and its writes go out."""

    async def main() -> None:
        case = Case(1, polls=3)
        case.line.mood["d0"] = "silent"
        async with case:
            await asyncio.sleep(5.0)
            case.put("d0.p0", 7.0)
            case.line.mood["d0"] = "ok"
            await asyncio.sleep(20.0)
        assert case.line.writes[0][1:] == ("d0.p0", 7.0)
        assert case.sink.states[-1][2] is True
        assert {first for _, first in case.sink.delivered} == {0, 1, 2}

    run_virtual(main)


def test_every_device_is_reported_online_at_its_first_answer() -> None:
    """So that nobody has to wait for a failure to know that a device is there."""

    async def main() -> None:
        case = Case(2)
        await case.serve(2.5)
        assert sorted(d for _, d, online in case.sink.states if online) == ["d0", "d1"]
        assert case.events.counts["device-online"] == 0

    run_virtual(main)


def test_writes_go_before_due_polls_and_the_newest_value_wins() -> None:
    """Of several values for one point only the last is written, ahead of the reads."""

    async def main() -> None:
        case = Case(5)
        for value in (1.0, 2.0, 3.0):
            case.put("d0.p0", value)
        await case.serve(0.5)
        assert [w[1:] for w in case.line.writes] == [("d0.p0", 3.0)]
        assert case.line.writes[0][0] < case.line.reads[0][0] + 1e-9

    run_virtual(main)


def test_writes_to_a_silent_device_cost_no_more_than_its_probes() -> None:
    """Its outputs change all the time; the neighbour keeps its rate, a protection is tried once."""

    async def main() -> None:
        case = Case(2)
        case.line.mood["d0"] = "silent"
        async with case:
            for k in range(1200):
                slot = 5 if k == 600 else 14
                case.put(f"d0.p{k % 6}", float(k), slot)
                await asyncio.sleep(0.1)
                if k == 600:
                    await asyncio.sleep(1.0)
            assert case.rate(1, 20.0) >= 100
            state = case.runner.devices["d0"]
            # When it was lost, 10 s, 20 s, 40 s and 80 s later, and the protection.
            assert state.meter.failures["timeout"] <= 1 + 4 + 1
            case.line.mood["d0"] = "ok"
            await asyncio.sleep(160.0)
            written = {point: value for _, point, value in case.line.writes}
            assert written == {f"d0.p{i}": 1194.0 + i for i in range(6)}

    run_virtual(main)


def test_a_poll_that_breaks_the_task_is_not_lost() -> None:
    """A bug ends the connection; the next one polls everything, and whoever asked has an answer."""

    async def main() -> None:
        case = Case(2)
        case.line.mood["d0"] = "bug"
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await case.runner.run()
        assert case.runner.up is False
        assert {first for _, first, bits in case.sink.failures if bits & quality.COMM} == {0, 1}
        answer = asyncio.ensure_future(case.runner.raw("d0", "d0.p0"))
        await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError):
            await case.runner.run()
        with pytest.raises(LinkDown):
            await answer
        case.line.mood["d0"] = "ok"
        since = now()
        await case.serve(10.0)
        assert case.rate(0, since) >= 9
        assert case.rate(1, since) >= 9

    run_virtual(main)


def test_a_refused_poll_is_config_quality_and_rarely_asked_again() -> None:
    """A permanent refusal marks the points and costs one request a minute."""

    async def main() -> None:
        case = Case(2)
        case.line.mood["d1"] = "refuses"
        await case.serve(61.5)
        assert {bits for _, first, bits in case.sink.failures if first == 1} == {quality.CONFIG}
        assert sum(1 for _, d in case.line.reads if d == "d1") == 2
        assert case.rate(0, 1.0) >= 59

    run_virtual(main)


def test_why_a_link_stays_down_is_told_once() -> None:
    """A line that broke off and then cannot be opened: the second reason is what helps."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.0)
            case.line.next["d0"] = deque([LinkDown(Text("断开", "closed"))])
            await asyncio.sleep(0.9)
            assert case.runner.down_reason == Text("断开", "closed")
            case.line.link = False
            await asyncio.sleep(30.0)
            assert case.runner.down_reason == WORD
            assert case.events.counts["link-down"] == 2

    run_virtual(main)


def test_a_lost_link_marks_everything_and_reconnects() -> None:
    """While the link is down all points are COMM; one event begins and one ends the outage."""

    async def main() -> None:
        case = Case(3)
        async with case:
            await asyncio.sleep(2.0)
            case.line.link = False
            await asyncio.sleep(30.0)
            assert {first for _, first, bits in case.sink.failures} == {0, 1, 2}
            assert case.runner.up is False
            case.line.link = True
            await asyncio.sleep(40.0)
            assert case.runner.up is True
            assert case.events.counts["link-down"] == 1
            assert case.events.counts["link-up"] == 1

    run_virtual(main)


def test_raw_bytes_are_read_in_the_bus_s_own_turn() -> None:
    """`raw` waits for its turn and raises LinkDown when there is no connection."""

    async def main() -> None:
        case = Case(1)
        with pytest.raises(LinkDown):
            await case.runner.raw("d0", "d0.p0")
        async with case:
            await asyncio.sleep(1.0)
            assert await case.runner.raw("d0", "d0.p0") == b"d0.p0"

    run_virtual(main)


def test_in_an_overload_slow_polls_keep_their_rate_and_fast_ones_share_what_is_left() -> None:
    """Three times what the bus can do: who is due rarely is never starved by who is due always."""
    periods = [0.05] * 30 + [1.0] * 20 + [10.0] * 20 + [60.0] * 5
    device = DeviceState("d")
    planned = [
        Planned(0.0, k, Poll("d", (f"p{k}",), period, None, ""), k, device, k / len(periods))
        for k, period in enumerate(periods)
    ]
    schedule, turns, at = Schedule(planned), [0] * len(periods), 0.0
    schedule.start(at)
    while at < 600.0:
        due = schedule.pop(at)
        assert due is not None, "there is always somebody due"
        turns[due.order] += 1
        at += ANSWER
        schedule.push(due, at)
    rates = [count * period / 600.0 for count, period in zip(turns, periods, strict=True)]
    assert min(rates[30:]) >= 0.99
    assert min(rates[:30]) >= 0.9 * max(rates[:30])
    assert sum(turns) == pytest.approx(600.0 / ANSWER, abs=1)


def test_missed_turns_are_counted_and_skipped() -> None:
    """The next turn lies on the grid; those between are missed, not caught up."""
    assert next_turn(1.25, 1.0, 0.25, 4.5) == (5.25, 3)
    assert next_turn(1.25, 1.0, 0.25, 1.26) == (2.25, 0)
    assert next_turn(3.9, 1.0, 0.25, 3.91)[1] == 0
    assert math.isclose(next_turn(0.0, 0.1, 0.5, 0.04)[0], 0.05)


@given(
    k=st.integers(0, 10**8),
    period=st.sampled_from((0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 60.0)),
    place=st.integers(0, 19),
    missed=st.integers(0, 50),
)
def test_missed_turns_are_counted_wherever_the_grid_lies(
    k: int, period: float, place: int, missed: int
) -> None:
    """A turn that rounding puts a hair before its place on the grid is on the grid."""
    due = (k + place / 20) * period
    assert next_turn(due, period, place / 20, due + (missed + 0.5) * period)[1] == missed


@given(
    k=st.integers(0, 10**8),
    period=st.sampled_from((0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 60.0)),
    place=st.integers(0, 19),
    rounding=st.sampled_from((-2e-16, 0.0, 2e-16)),
)
def test_the_next_turn_is_never_the_one_just_taken(
    k: int, period: float, place: int, rounding: float
) -> None:
    """An answer that comes at once, at the very turn, leads to the turn after it."""
    now = (k + place / 20) * period * (1 + rounding)
    turn, missed = next_turn(now, period, place / 20, now)
    assert math.isclose(turn - now, period, rel_tol=1e-3, abs_tol=1e-5)
    assert missed == 0
