"""`edge retry`: the pause before the next try ends when a person says so, and he learns when."""

from __future__ import annotations

import asyncio
import math

from edge.bus.pause import LONGEST
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import TIMEOUT, Case, now


def test_a_bus_says_when_it_is_connected_next_and_is_connected_at_once_when_asked() -> None:
    """And from then on it is tried as often as at first: an adapter needs a moment."""

    async def main() -> None:
        case = Case(2)
        case.line.link = False
        async with case:
            await asyncio.sleep(200.0)
            before, until = case.line.connects, case.runner.pause.until
            assert now() < until <= now() + LONGEST
            assert case.runner.retry() == (True, [])
            await asyncio.sleep(0.01)
            assert case.line.connects == before + 1
            assert 0.9 < case.runner.pause.until - now() <= 1.0
            case.line.link = True
            await asyncio.sleep(1.0)
            assert case.runner.up
            assert case.runner.pause.until == math.inf
            assert case.runner.retry() == (False, [])
            assert case.runner.meter.back_off <= 201.0 + 1e-6  # what was cut off is not counted

    run_virtual(main)


def test_a_pause_that_is_not_cut_short_is_as_long_as_it_said() -> None:
    """1, 2, 4 … 60 s between attempts, and each attempt is when it was announced."""

    async def main() -> None:
        case = Case(1)
        case.line.link = False
        async with case:
            for length in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
                await asyncio.sleep(0.01)
                until, connects = case.runner.pause.until, case.line.connects
                assert length - 0.1 < until - now() <= length
                await asyncio.sleep(until - now() - 0.001)
                assert case.line.connects == connects
                await asyncio.sleep(0.002)
                assert case.line.connects == connects + 1

    run_virtual(main)


def test_a_silent_device_is_asked_at_once() -> None:
    """Whatever silent devices have cost before; when it stays silent it waits as at first."""

    async def main() -> None:
        case = Case(3)
        async with case:
            await asyncio.sleep(2.0)
            case.line.mood["d1"] = "silent"
            await asyncio.sleep(500.0)
            assert case.runner.next_try("d1") - now() > 60.0
            assert case.runner.next_try("d0") == math.inf
            asked = len(case.line.probes)
            assert case.runner.retry("d0") == (False, [])
            for _ in range(2):  # the second within what the first has cost
                assert case.runner.retry("d1") == (False, ["d1"])
                await asyncio.sleep(TIMEOUT + 0.1)
            assert len(case.line.probes) == asked + 2
            assert case.runner.next_try("d1") - now() > 9.0
            case.line.mood["d1"] = "ok"
            case.runner.retry("d1")
            await asyncio.sleep(0.1)
            assert case.runner.devices["d1"].online
            assert case.runner.retry("d1") == (False, [])

    run_virtual(main)


def test_many_silent_devices_are_asked_in_turn_and_not_at_the_others_cost() -> None:
    """One at once; the rest share the twentieth of the bus's time that silent devices have."""

    async def main() -> None:
        case = Case(8)
        async with case:
            await asyncio.sleep(2.0)
            silent = [f"d{k}" for k in range(1, 8)]
            case.line.mood |= dict.fromkeys(silent, "silent")
            await asyncio.sleep(2000.0)
            began, asked = now(), len(case.line.probes)
            assert case.runner.retry() == (False, silent)
            await asyncio.sleep(0.1)
            assert len(case.line.probes) == asked + 1
            await asyncio.sleep(7 * 20.9 * TIMEOUT)
            assert {device for _, device in case.line.probes[asked:]} == set(silent)
            lasted = now() - began
            assert case.rate(0, began) >= 0.95 * lasted
            assert len(case.line.probes[asked:]) * TIMEOUT <= lasted / 20 + TIMEOUT

    run_virtual(main)


def test_what_waits_behind_a_bus_that_is_down_is_asked_when_it_is_back() -> None:
    """The device was silent before the bus went: one word brings both."""

    async def main() -> None:
        case = Case(2)
        async with case:
            await asyncio.sleep(2.0)
            case.line.mood["d1"] = "silent"
            await asyncio.sleep(500.0)
            case.line.link = False
            await asyncio.sleep(100.0)
            case.line.mood.clear()
            case.line.link = True
            assert case.runner.retry("d1") == (True, ["d1"])
            await asyncio.sleep(1.5)
            assert all(device.online for device in case.runner.devices.values())
            assert case.runner.up

    run_virtual(main)
