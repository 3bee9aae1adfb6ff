"""What becomes of writes: unknown outcomes, refusals, budgets; each with its own small story."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from itertools import pairwise

import pytest

from edge.bus.budget import DAY, EEPROM_WRITES, Budget
from edge.driver import Write
from edge.errors import BadAnswer, DeviceTimeout, DriverError, LinkDown
from edge.events import Events
from edge.image.slots import Slot
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import WORD, Case, now, refusal
from tests.support.records import output

P0 = "d0.p0"


def written(case: Case, point: str = P0) -> list[float]:
    """The values that reached the device."""
    return [value for _, name, value in case.line.writes if name == point]


def test_letting_go_wears_nothing_out() -> None:
    """NaN, as at each start, is neither counted nor taken from what a register endures in a day."""

    async def main() -> None:
        case = Case(1, outputs={P0: output(eeprom=True)})
        async with case:
            await asyncio.sleep(2.3)
            case.put(P0, math.nan)
            await asyncio.sleep(1.0)
            assert case.runner.budgets[P0].retain() == {"count": 0, "today": []}
            case.put(P0, 7.0)
            await asyncio.sleep(1.0)
            assert case.runner.budgets[P0].count == 1

    run_virtual(main)


@pytest.mark.parametrize("outcome", ["lost", LinkDown(WORD), BadAnswer(WORD), refusal(unsure=True)])
def test_a_write_that_may_have_been_done_is_read_back_and_not_repeated(
    outcome: DriverError | str,
) -> None:
    """S41: the device holds it, so it is done as if it had answered, and nobody is told."""

    async def main() -> None:
        case = Case(2)
        async with case:
            await asyncio.sleep(2.3)
            case.line.held[P0] = 7.0  # it was carried out, whatever comes back
            case.line.next["d0"] = deque([outcome])
            case.put(P0, 7.0)
            await asyncio.sleep(10.0)
            assert len([point for _, point in case.line.asked if point == P0]) == 1
            assert written(case) == ([7.0] if outcome == "lost" else [])
            assert case.sink.acknowledged == [(P0, 7.0)]
            assert len(case.runner.mailbox.letters) == 0
            assert case.events.counts["write-unverified"] == 0

    run_virtual(main)


def test_a_write_that_was_not_done_is_repeated() -> None:
    """The device was asked, and does not hold it."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque([DeviceTimeout(WORD)])
            case.put(P0, 7.0)
            await asyncio.sleep(5.0)
            assert (len(case.line.asked), written(case)) == (1, [7.0])
            assert case.sink.acknowledged == [(P0, 7.0)]
            assert case.events.counts["write-failed"] == 0

    run_virtual(main)


def test_what_cannot_be_read_back_is_not_repeated() -> None:
    """S41: nobody knows, which is told; a protection is repeated all the same."""

    async def main() -> None:
        case = Case(1, polls=2)
        case.line.unreadable |= {P0, "d0.p1"}
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque([DeviceTimeout(WORD)])
            case.put(P0, 7.0)
            await asyncio.sleep(5.0)
            assert (written(case), case.sink.acknowledged, case.sink.unknown) == ([], [], [P0])
            assert case.events.counts["write-unverified"] == 1
            case.line.next["d0"] = deque([DeviceTimeout(WORD)])
            case.put("d0.p1", 0.0, Slot.PROTECT)
            await asyncio.sleep(5.0)
            assert written(case, "d0.p1") == [0.0]
            assert len(case.line.asked) == 1

    run_virtual(main)


def test_a_newer_value_is_written_whatever_became_of_the_older() -> None:
    """It waits for no answer about another value, and is not taken for done with it."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque(["lost"])
            case.put(P0, 7.0)
            await asyncio.sleep(0.1)
            case.put(P0, 8.0)
            await asyncio.sleep(5.0)
            assert written(case) == [7.0, 8.0]
            assert case.sink.acknowledged == [(P0, 8.0)]
            assert case.line.asked == []
            # The same value once more, while the outcome of the first is unknown, is no new one.
            case.line.next["d0"] = deque(["lost"])
            case.put(P0, 9.0)
            await asyncio.sleep(0.1)
            case.put(P0, 9.0)
            await asyncio.sleep(5.0)
            assert written(case) == [7.0, 8.0, 9.0]

    run_virtual(main)


def test_an_unknown_outcome_outlives_the_device_s_absence() -> None:
    """Lost meanwhile: when it is back it is asked first."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque(["lost"])
            case.put(P0, 7.0)
            case.line.mood["d0"] = "silent"
            await asyncio.sleep(8.0)
            assert case.runner.devices["d0"].lost
            assert case.line.asked == []
            case.line.mood["d0"] = "ok"
            await asyncio.sleep(40.0)
            assert (written(case), case.sink.acknowledged) == ([7.0], [(P0, 7.0)])

    run_virtual(main)


def test_a_value_refused_for_good_waits_for_another_value_or_for_the_device() -> None:
    """Not repeated, told once; nobody waits for it at a stop."""

    async def main() -> None:
        case = Case(1)
        no = refusal(permanent=True)
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque([no])
            case.put(P0, 7.0)
            await asyncio.wait_for(case.runner.mailbox.emptied(), 1.0)
            case.put(P0, 7.0)
            await asyncio.sleep(300.0)
            assert written(case) == []
            case.line.next["d0"] = deque([no])
            case.put(P0, 8.0)
            await asyncio.sleep(300.0)
            assert written(case) == []
            assert case.events.counts["write-failed"] == 1
            case.line.mood["d0"] = "silent"
            await asyncio.sleep(20.0)
            case.line.mood["d0"] = "ok"
            await asyncio.sleep(60.0)
            assert written(case) == [8.0]

    run_virtual(main)


def test_a_busy_device_gets_the_value_later_and_ever_more_rarely() -> None:
    """First the pauses it asks for, untold; then 2 s and more, up to a minute."""

    async def main() -> None:
        case = Case(1, period=86400.0)
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque([refusal(again=(1.0, 1.0))] * 2)
            case.put(P0, 7.0)
            await asyncio.sleep(3.0)
            assert (written(case), case.events.counts["write-failed"]) == ([7.0], 0)
            case.line.next["d0"] = deque([refusal(again=(1.0, 1.0))] * 10)
            case.put(P0, 8.0)
            await asyncio.sleep(300.0)
            assert (written(case), case.events.counts["write-failed"]) == ([7.0, 8.0], 1)
            took = case.line.writes[-1][0] - case.line.writes[-2][0]
            assert took == pytest.approx(1 + 1 + 1 + 2 + 4 + 8 + 16 + 32 + 60 * 3, abs=2)
            assert case.line.writes[-1][0] == pytest.approx(
                5.3 + 1 + 1 + 2 + 4 + 8 + 16 + 32 + 60 * 3, abs=1
            )

    run_virtual(main)


def test_a_protection_is_tried_once_on_a_silent_device() -> None:
    """And paid for by the next probe; the rest waits until the device answers."""

    async def main() -> None:
        case = Case(1)
        case.line.mood["d0"] = "silent"
        async with case:
            await asyncio.sleep(5.0)
            before = len(case.line.silences)
            case.put(P0, 0.0, Slot.PROTECT)
            await asyncio.sleep(3.0)
            assert len(case.line.silences) == before + 1
            assert case.events.counts["write-failed"] == 1
            case.line.mood["d0"] = "ok"
            await asyncio.sleep(30.0)
            assert written(case) == [0.0]

    run_virtual(main)


def test_writes_keep_their_interval_and_the_newest_value_wins() -> None:
    """The first goes at once, a protection too; in between one a second."""

    async def main() -> None:
        case = Case(1, outputs={P0: output(write_interval=1.0)})
        async with case:
            await asyncio.sleep(2.3)
            for k in range(50):
                case.put(P0, float(k))
                await asyncio.sleep(0.1)
            await asyncio.sleep(2.0)
            times = [at for at, _, _ in case.line.writes]
            assert times[0] == pytest.approx(2.305)
            assert all(b - a >= 0.999 for a, b in pairwise(times))
            assert (len(times), written(case)[0], written(case)[-1]) == (6, 0.0, 49.0)
            case.put(P0, 1.0)
            await asyncio.sleep(0.1)
            case.put(P0, 0.0, Slot.PROTECT)
            await asyncio.sleep(0.1)
            assert written(case)[-2:] == [1.0, 0.0]
            assert case.runner.budgets[P0].count == 8

    run_virtual(main)


def test_an_eeprom_is_written_ten_times_a_day() -> None:
    """The eleventh value waits, told once; a protection does not; the newest goes tomorrow."""

    async def main() -> None:
        case = Case(1, period=3600.0, outputs={P0: output(eeprom=True)})
        async with case:
            await asyncio.sleep(2.3)
            for k in range(20):
                case.put(P0, float(k))
                await asyncio.sleep(60.0)
            assert written(case) == [float(k) for k in range(EEPROM_WRITES)]
            assert case.events.counts["writes-spent"] == 1
            case.put(P0, 100.0, Slot.PROTECT)
            await asyncio.sleep(1.0)
            assert written(case)[-1] == 100.0
            case.put(P0, 50.0)
            await asyncio.sleep(DAY - 1000.0)
            assert written(case)[-1] == 50.0
            day = [at for at, _, _ in case.line.writes]
            assert day[-1] - day[1] >= DAY

    run_virtual(main)


def test_counts_go_on_after_a_restart() -> None:
    """The lifetime and the last day; when site time has lost its way, nothing is forgotten."""
    events = Events()
    first = Budget(P0, output(eeprom=True), events)
    for k in range(9):
        first.spend(1000.0 + k)
    kept = first.retain()
    second = Budget(P0, output(eeprom=True), events)
    second.restore(kept, 2000.0)
    assert (second.count, second.free_at(2000.0)) == (9, -math.inf)
    second.spend(2000.0)
    assert (second.count, second.free_at(2000.0)) == (10, 1000.0 + DAY)
    lost = Budget(P0, output(eeprom=True), events)
    lost.restore(second.retain(), 5.0)
    assert lost.free_at(5.0) == 5.0 + DAY


def test_what_the_device_refused_was_not_written() -> None:
    """A refusal wears out nothing, unless the device may have done it all the same."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.3)
            case.line.next["d0"] = deque([refusal(permanent=True)])
            case.put(P0, 7.0)
            await asyncio.sleep(1.0)
            assert case.runner.budgets[P0].count == 0
            case.line.next["d0"] = deque(["lost"])
            case.put(P0, 8.0)
            await asyncio.sleep(5.0)
            assert case.runner.budgets[P0].count == 1

    run_virtual(main)


def test_who_asks_again_for_what_is_on_its_way_changes_nothing() -> None:
    """It keeps its place; another slot is another write, and a protection never waits behind."""

    async def main() -> None:
        case = Case(1)
        box = case.runner.mailbox
        box.put(Write("d0", P0, math.nan, 14))
        first = box.next(now())
        box.put(Write("d0", P0, math.nan, 14))
        assert box.next(now()) is first
        box.put(Write("d0", P0, math.nan, 5))
        assert box.next(now()) is not first
        assert len(box.letters) == 1

    run_virtual(main)


def test_a_refused_protection_gives_back_what_it_took() -> None:
    """However often it is refused, what was written today is not forgotten."""
    budget = Budget(P0, output(eeprom=True), Events())
    for k in range(EEPROM_WRITES):
        budget.spend(float(k))
    for _ in range(2 * EEPROM_WRITES):
        budget.spend(100.0)
        budget.refund()
    assert (budget.count, budget.free_at(200.0)) == (EEPROM_WRITES, DAY)
    budget.spend(300.0)
    assert budget.free_at(300.0) == 1.0 + DAY


def test_whether_a_write_waits_for_its_budget_can_be_asked() -> None:
    """Not one that is under way, and not one whose device is silent."""

    async def main() -> None:
        case = Case(1, outputs={P0: output(write_interval=30.0)})
        async with case:
            await asyncio.sleep(2.3)
            assert case.runner.turn(P0, now())[1:] == (False, False)
            case.put(P0, 7.0)
            await asyncio.sleep(0.002)
            assert not case.runner.turn(P0, now())[2]  # under way
            sent = now()
            await asyncio.sleep(1.0)
            case.put(P0, 8.0)
            at, spent, waits = case.runner.turn(P0, now())
            assert (round(at - sent), spent, waits) == (30, False, True)
            case.line.mood["d0"] = "silent"
            await asyncio.sleep(10.0)
            assert not case.runner.turn(P0, now())[2]

    run_virtual(main)


def test_to_ask_when_a_day_is_over_tells_nobody_that_it_is_spent() -> None:
    """That is told when a write has to wait for it."""
    budget = Budget(P0, output(eeprom=True), events := Events())
    for k in range(EEPROM_WRITES):
        assert budget.free(float(k)) == (budget.free_at(float(k)), False)
        budget.spend(float(k))
    assert budget.free(20.0) == (DAY, True)
    assert events.counts["writes-spent"] == 0
    assert budget.free_at(20.0) == DAY
    assert events.counts["writes-spent"] == 1
