"""Whose write goes next, where a line carries fewer of them than are asked for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

import pytest

from edge.driver import Write
from edge.image.slots import Slot
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import Case, refusal
from tests.support.records import output

LAMPS = 40


def slow(case: Case) -> Case:
    """The same on a line on which a write takes 55 ms."""
    answer = case.line.write

    async def slowly(writes: tuple[Write, ...]) -> None:
        await asyncio.sleep(0.05)
        await answer(writes)

    case.line.write = slowly  # type: ignore[method-assign,assignment]
    return case


@pytest.mark.parametrize("interval", [0.0, 1.0])
def test_more_changes_than_a_line_carries_are_shared_by_all(interval: float) -> None:
    """Lamps that all fade: each has its turn, with its newest value."""

    async def main() -> None:
        outputs = {f"d{k}.p0": output(write_interval=interval) for k in range(LAMPS)}
        case = slow(Case(LAMPS, period=60.0, outputs=outputs))
        async with case:
            await asyncio.sleep(1.0)
            for step in range(200):
                for k in range(LAMPS):
                    case.put(f"d{k}.p0", float(step))
                await asyncio.sleep(0.1)
            turns = Counter(point for _, point, _ in case.line.writes)
            assert len(turns) == LAMPS
            assert max(turns.values()) - min(turns.values()) <= 1

    run_virtual(main)


def test_who_is_busy_does_not_take_the_turns_of_others() -> None:
    """However often it is asked for another value."""

    async def main() -> None:
        case = slow(Case(LAMPS, period=60.0))
        async with case:
            await asyncio.sleep(1.0)
            case.line.next["d0"] = deque([refusal(again=(1.0, 1.0, 1.0))] * 500)
            for step in range(200):
                for k in range(LAMPS):
                    case.put(f"d{k}.p0", float(step))
                await asyncio.sleep(0.1)
            turns = Counter(point for _, point, _ in case.line.writes)
            assert len(turns) == LAMPS - 1
            assert max(turns.values()) - min(turns.values()) <= 1

    run_virtual(main)


def test_a_protection_goes_before_all_other_writes() -> None:
    """A pump that must stop does not wait for the lamps."""

    async def main() -> None:
        case = Case(LAMPS, period=60.0)
        async with case:
            await asyncio.sleep(1.5)
            for k in range(LAMPS - 1):
                case.put(f"d{k}.p0", 50.0)
            case.put(f"d{LAMPS - 1}.p0", 0.0, Slot.PROTECT)
            await asyncio.sleep(0.5)
            assert case.line.writes[0][1:] == (f"d{LAMPS - 1}.p0", 0.0)
            assert len(case.line.writes) == LAMPS

    run_virtual(main)
