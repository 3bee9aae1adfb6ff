"""Several requests under way on one Modbus TCP connection: to each its own answer, in any order."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from drivers.modbus import pdu
from drivers.modbus.link import SILENCE, TcpLink
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, LinkDown
from edge.proof.virtual_loop import run_virtual
from tests.drivers.modbus import wire
from tests.drivers.modbus.wire import receive

DEEP = 4


class Wire(wire.Wire):
    """The peer of many requests at once."""

    def answer(self, i: int, body: bytes | None = None, unit: int = 7) -> bytes:
        """What answers the request sent as number `i`: its address in each register."""
        request = self.sent[i]
        address, count = struct.unpack_from(">HH", request, 8)
        body = body or bytes([3, 2 * count]) + address.to_bytes(2, "big") * count
        return request[:2] + struct.pack(">HHB", 0, len(body) + 1, unit) + body


def virtually(test: Callable[[TcpLink, Wire], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        link = TcpLink("192.0.2.1:502", DEEP)
        wire = Wire(link)
        link.connection_made(wire)
        await test(link, wire)
        await link.close()

    run_virtual(main)


def ask_all(link: TcpLink, timeout: float = 0.5) -> list[asyncio.Future[bytes]]:
    """DEEP requests under way, for two registers from 0, 100, 200, 300."""
    return [link.ask(7, pdu.read(3, 100 * i, 2), timeout) for i in range(DEEP)]


def value(answer: bytes) -> int:
    return int.from_bytes(answer[2:4], "big")


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
@pytest.mark.parametrize("lump", [True, False])
def test_answers_in_any_order(order: list[int], lump: bool) -> None:
    """Whatever order answers come in, and in whatever pieces, each goes to its own request."""

    async def test(link: TcpLink, wire: Wire) -> None:
        waiting = ask_all(link)
        stream = b"".join(wire.answer(i) for i in order)
        for piece in [stream] if lump else [bytes([byte]) for byte in stream]:
            receive(link, piece)
        assert [value(await answer) for answer in waiting] == [0, 100, 200, 300]
        assert (link.late, link.wrong) == (0, 0)

    virtually(test)


def test_each_has_its_own_time_out() -> None:
    """One that is not answered times out alone; its late answer is dropped."""

    async def test(link: TcpLink, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        waits = (0.2, 0.1, 0.4)
        begun = loop.time()
        waiting = [link.ask(7, pdu.read(3, 100 * i, 2), t) for i, t in enumerate(waits)]
        for i in (1, 0):
            with pytest.raises(DeviceTimeout):
                await waiting[i]
            assert loop.time() - begun == pytest.approx(waits[i], abs=1e-6)
        assert not waiting[2].done()
        receive(link, wire.answer(0) + wire.answer(2))
        assert value(await waiting[2]) == 200
        assert link.late == 1

    virtually(test)


def test_one_timer_for_all() -> None:
    """However many are under way, the loop holds one timer of ours."""

    async def test(link: TcpLink, wire: Wire) -> None:
        loop: Any = asyncio.get_running_loop()
        before = len([t for t in loop._scheduled if not t.cancelled()])
        for _ in range(20):
            waiting = ask_all(link)
            assert len([t for t in loop._scheduled if not t.cancelled()]) == before + 1
            for i in range(DEEP):
                receive(link, wire.answer(len(wire.sent) - DEEP + i))
            for answer in waiting:
                await answer

    virtually(test)


def test_mismatch_fails_its_own_request_only() -> None:
    """A wrong unit or length fails the request that it names; the others get their answers."""

    async def test(link: TcpLink, wire: Wire) -> None:
        waiting = ask_all(link)
        receive(link, wire.answer(1, unit=8) + wire.answer(2, b"\x03\x02\x12\x34"))
        receive(link, wire.answer(3, b"\x83\x02") + wire.answer(0))
        assert value(await waiting[0]) == 0
        for i in (1, 2):
            with pytest.raises(BadAnswer):
                await waiting[i]
        with pytest.raises(DeviceRefused):
            await waiting[3]
        assert link.wrong == 2

    virtually(test)


def test_cancelled_requests_are_not_kept() -> None:
    """Requests cancelled by the thousand leave nothing behind, and no answer to another."""

    async def test(link: TcpLink, wire: Wire) -> None:
        for _ in range(1000):
            link.ask(7, pdu.read(3, 900, 2), 60.0).cancel()
            assert len(link._asked) <= 2 * DEEP
        waiting = ask_all(link)
        for i in range(len(wire.sent) - DEEP - 3, len(wire.sent)):
            receive(link, wire.answer(i))
        assert [value(await answer) for answer in waiting] == [0, 100, 200, 300]
        assert link.late == 3

    virtually(test)


def test_lost_connection_fails_all() -> None:
    """A closed connection ends everything under way at once, each with an error of its own."""

    async def test(link: TcpLink, wire: Wire) -> None:
        waiting = ask_all(link)
        link.connection_lost(None)
        errors = set()
        for answer in waiting:
            with pytest.raises(LinkDown) as caught:
                await answer
            errors.add(id(caught.value))
        assert len(errors) == DEEP

    virtually(test)


def test_silence_counts_rounds_not_requests() -> None:
    """A peer that misses one round of a deep pipeline is not given up for it."""

    async def test(link: TcpLink, wire: Wire) -> None:
        link._heard.add(7)
        for _ in range(SILENCE - 1):
            for answer in ask_all(link):
                with pytest.raises(DeviceTimeout):
                    await answer
        waiting = ask_all(link)
        for answer in waiting[:-1]:
            with pytest.raises((DeviceTimeout, LinkDown)):
                await answer
        with pytest.raises(LinkDown):
            await waiting[-1]
        assert wire.aborted

    virtually(test)
