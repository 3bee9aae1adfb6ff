"""Another device answers in the place of the configured one: a state of its own on its bus."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from edge.driver import Write
from edge.errors import DeviceTimeout, WrongDevice
from edge.image import quality
from edge.image.slots import Slot
from edge.proof.virtual_loop import run_virtual
from tests.edge.bus.line import WORD, Case, now

REST = 60.0


def exchange(case: Case, device: str) -> Callable[[], None]:
    """From now on `device` is another one, as a driver notices it: only a probe does not look.

    Returns how to put the right one back.
    """
    line, wrong = case.line, {device}
    ask = line._answer

    async def answer(asked: str, write: Write | None = None) -> None:
        if asked in wrong and line.mood.get(asked, "ok") == "ok" and not line.next.get(asked):
            raise WrongDevice(WORD, "WRONG_DEVICE", permanent=write is None, rest=REST)
        await ask(asked, write)

    async def probe(asked: str) -> None:
        await ask(asked)

    line._answer, line.probe = answer, probe  # type: ignore[method-assign]
    return wrong.clear


def test_a_wrong_device_is_neither_well_nor_silent() -> None:
    """All its points are CONFIG at once, whatever their turn; it is told as lost once."""

    async def main() -> None:
        case = Case(2, polls=3)
        async with case:
            await asyncio.sleep(2.5)
            back = exchange(case, "d0")
            case.sink.failures.clear()
            await asyncio.sleep(30.0)
            device = case.runner.devices["d0"]
            assert (device.wrong, device.online, device.lost) == (WORD, False, False)
            first = case.sink.failures[0][0]
            assert {(i, bits) for at, i, bits in case.sink.failures if at == first} >= {
                (0, quality.CONFIG), (1, quality.CONFIG), (2, quality.CONFIG)
            }  # fmt: skip
            assert [(d, up) for _, d, up in case.sink.states][-1] == ("d0", False)
            assert case.events.counts["device-offline"] == 0
            assert case.events.counts["poll-refused"] == 0  # told by the driver, once
            assert case.rate(3, 5.0, 30.0) >= 24
            back()
            await asyncio.sleep(REST)
            assert (device.wrong, device.online) == (None, True)
            assert [(d, up) for _, d, up in case.sink.states][-2:] == [("d0", False), ("d0", True)]
            returned = case.sink.states[-1][0]
            assert {case.rate(i, returned - 0.01, returned + 0.1) for i in range(3)} == {1}

    run_virtual(main)


def test_nothing_is_written_to_it_and_what_waited_is_when_it_is_the_right_one() -> None:
    """Nobody is told of each output, except of a protection that could not act."""

    async def main() -> None:
        case = Case(1, polls=2)
        async with case:
            await asyncio.sleep(2.5)
            back = exchange(case, "d0")
            await asyncio.sleep(5.0)
            case.put("d0.p0", 7.0)
            await asyncio.sleep(20.0)
            assert (case.line.writes, case.events.counts["write-failed"]) == ([], 0)
            case.put("d0.p1", 0.0, Slot.PROTECT)
            await asyncio.sleep(20.0)
            assert (case.line.writes, case.events.counts["write-failed"]) == ([], 1)
            assert case.runner.devices["d0"].wrong is not None
            back()
            await asyncio.sleep(REST)
            assert {point: value for _, point, value in case.line.writes} == {
                "d0.p0": 7.0, "d0.p1": 0.0
            }  # fmt: skip
            assert case.runner.devices["d0"].online

    run_virtual(main)


def test_silence_makes_it_an_unknown_one() -> None:
    """Who is there shows when something answers: no longer wrong, but offline; then wrong again."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.5)
            exchange(case, "d0")
            await asyncio.sleep(5.0)
            device = case.runner.devices["d0"]
            since = device.offline_since
            case.line.mood["d0"] = "silent"
            await asyncio.sleep(REST + 10.0)
            assert (device.wrong, device.lost, device.online) == (None, True, False)
            assert case.events.counts["device-offline"] == 1
            assert device.offline_since == since
            case.line.mood.clear()
            await asyncio.sleep(40.0)
            assert (device.wrong, device.lost, device.online) == (WORD, False, False)
            assert now() > since + REST

    run_virtual(main)


def test_one_lost_answer_does_not_make_it_the_right_one() -> None:
    """Neither does a refusal of the question who it is."""

    async def main() -> None:
        case = Case(1)
        async with case:
            await asyncio.sleep(2.5)
            exchange(case, "d0")
            await asyncio.sleep(5.0)
            case.line.next["d0"] = deque([DeviceTimeout(WORD)])
            await asyncio.sleep(2 * REST)
            assert case.runner.devices["d0"].wrong is not None
            assert len(case.sink.states) <= 2

    run_virtual(main)
