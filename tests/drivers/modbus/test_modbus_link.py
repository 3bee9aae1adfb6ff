"""The connection against a peer that does anything: frames, mismatches, fuzz and time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import mbap, pdu
from drivers.modbus.link import SILENCE, STRIKES, TcpLink
from drivers.modbus.media import open_tcp
from edge.errors import (
    BadAnswer,
    DeviceRefused,
    DeviceTimeout,
    DriverError,
    LinkDown,
)
from edge.proof.virtual_loop import run_virtual
from tests.drivers.modbus import wire
from tests.drivers.modbus.wire import receive
from tests.support.modbus_device import Fault, ModbusDevice, Unit

READ = pdu.read(3, 100, 2)
ANSWER = bytes.fromhex("03 04 1234 5678")


class Wire(wire.Wire):
    """The peer of one request at a time."""

    @property
    def transaction(self) -> int:
        return int.from_bytes(self.sent[-1][:2], "big")


Peer = Callable[[TcpLink, Wire], Coroutine[Any, Any, None]]


def virtually(test: Peer) -> None:
    """Run a test in virtual time on a link whose peer is the test."""

    async def main() -> None:
        link = TcpLink("192.0.2.1:502")
        wire = Wire(link)
        link.connection_made(wire)
        await test(link, wire)
        await link.close()

    run_virtual(main)


async def asked(link: TcpLink, timeout: float = 0.5) -> asyncio.Future[bytes]:
    """A request under way."""
    return link.ask(7, READ, timeout)


def frame(transaction: int, unit: int = 7, body: bytes = ANSWER) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body


def test_request_on_the_wire() -> None:
    """A request is an MBAP header and a PDU, each with a new transaction."""

    async def test(link: TcpLink, wire: Wire) -> None:
        for transaction in (1, 2):
            task = await asked(link)
            expected = f"{transaction:04x} 0000 0006 07 03 0064 0002"
            assert wire.sent[-1] == bytes.fromhex(expected)
            receive(link, frame(transaction))
            assert await task == ANSWER

    virtually(test)


def test_transaction_wraps_around() -> None:
    """After 65535 requests the numbers begin again, without 0."""

    async def test(link: TcpLink, wire: Wire) -> None:
        seen = set()
        for _ in range(0x10002):
            task = await asked(link)
            seen.add(wire.transaction)
            receive(link, frame(wire.transaction))
            assert await task == ANSWER
            wire.sent.clear()
            wire.sent.append(b"")
        assert seen == set(range(1, 0x10000))

    virtually(test)


@given(st.data())
def test_frames_however_divided(data: st.DataObject) -> None:
    """A stream of frames gives the same frames whatever the pieces it arrives in."""
    frames = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=2, max_size=253)
            ),
            max_size=5,
        )
    )
    stream = b"".join(mbap.wrap(*f) for f in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    unwrapper = mbap.Unwrapper()
    seen = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        seen += unwrapper.feed(stream[start:stop])
    assert [tuple(f) for f in seen] == frames


@given(st.lists(st.binary(max_size=400), max_size=6))
def test_unwrapper_keeps_less_than_a_frame(pieces: list[bytes]) -> None:
    """Whatever a peer sends, no more than one frame is kept, or the stream is given up."""
    unwrapper = mbap.Unwrapper()
    try:
        for piece in pieces:
            unwrapper.feed(piece)
            assert len(unwrapper.rest) < 260
    except mbap.Garbled:
        pass


@pytest.mark.parametrize(
    ("unit", "body"),
    [
        (8, ANSWER),
        (7, bytes.fromhex("04 04 1234 5678")),
        (7, bytes.fromhex("03 02 1234")),
        (7, bytes.fromhex("03 06 1234 5678 9ABC")),
        (7, bytes.fromhex("03 02 1234 5678")),
        (7, bytes.fromhex("03 04 1234 5678 9A")),
        (7, bytes.fromhex("84 02")),
        (7, bytes.fromhex("83 02 00")),
        (8, bytes.fromhex("83 02")),
    ],
)
def test_mismatch_is_a_bad_answer(unit: int, body: bytes) -> None:
    """Our transaction with another unit, function or length fails the request at once."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        receive(link, frame(wire.transaction, unit, body))
        with pytest.raises(BadAnswer) as caught:
            await task
        assert "unit 7, function 3" in caught.value.reason.en
        assert link.wrong == 1
        task = await asked(link)
        receive(link, frame(wire.transaction))
        assert await task == ANSWER

    virtually(test)


@pytest.mark.parametrize(
    ("code", "kind"), [(2, DeviceRefused), (11, DeviceTimeout), (99, DeviceRefused)]
)
def test_exception_is_an_error(code: int, kind: type[DriverError]) -> None:
    """An exception answer becomes the error of its code."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        receive(link, frame(wire.transaction, 7, bytes([0x83, code])))
        with pytest.raises(kind) as caught:
            await task
        assert type(caught.value) is kind
        assert "unit 7 " in caught.value.reason.en
        assert f"(exception {code:02X})" in caught.value.reason.en

    virtually(test)


def test_foreign_transaction_is_waited_out() -> None:
    """An answer to nobody's request is dropped; the right one that follows is taken."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        receive(link, frame(wire.transaction + 999) + frame(wire.transaction))
        assert await task == ANSWER
        assert (link.wrong, link.late) == (1, 0)

    virtually(test)


def test_late_answer_is_counted_not_used() -> None:
    """After a time-out its answer is dropped, and the next request waits for its own."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        with pytest.raises(DeviceTimeout) as caught:
            await task
        assert "500 ms" in caught.value.reason.en
        assert "192.0.2.1:502" in caught.value.reason.en
        task = await asked(link)
        receive(link, frame(1, body=bytes.fromhex("03 04 DEAD DEAD")))
        await asyncio.sleep(0)
        assert not task.done()
        receive(link, frame(2))
        assert await task == ANSWER
        assert (link.wrong, link.late) == (0, 1)

    virtually(test)


def test_twice_answered_is_taken_once() -> None:
    """The second copy of an answer is dropped and does not count as wrong."""

    async def test(link: TcpLink, wire: Wire) -> None:
        for _ in range(2 * STRIKES):
            task = await asked(link)
            receive(link, 2 * frame(wire.transaction))
            assert await task == ANSWER
        assert (link.wrong, link.late) == (0, 2 * STRIKES)

    virtually(test)


def test_time_outs_are_each_devices_own() -> None:
    """One timer serves requests of different time-outs, none fires early or late."""

    async def test(link: TcpLink, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        for timeout in (5.0, 0.1, 0.5, 0.1, 2.0):
            started = loop.time()
            with pytest.raises(DeviceTimeout):
                await link.ask(7, READ, timeout)
            assert loop.time() - started == pytest.approx(timeout, abs=1e-6)
            task = await asked(link, timeout)
            await asyncio.sleep(timeout * 0.9)
            receive(link, frame(wire.transaction))
            assert await task == ANSWER

    virtually(test)


def test_cancelled_request_leaves_the_link_usable() -> None:
    """A cancelled request ends at once; its answer is not the next one's."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = await asked(link)
        receive(link, frame(1, body=bytes.fromhex("03 04 DEAD DEAD")) + frame(2))
        assert await task == ANSWER

    virtually(test)


def test_wrong_answers_in_a_row_replace_the_link() -> None:
    """A peer that keeps answering what was not asked loses the connection."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        for _ in range(STRIKES):
            assert not task.done()
            receive(link, frame(wire.transaction + 999))
        with pytest.raises(LinkDown):
            await task
        assert wire.aborted
        with pytest.raises(LinkDown):
            await link.ask(7, READ, 0.5)

    virtually(test)


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        bytes.fromhex("0001 0001 0007 07") + ANSWER,
        bytes.fromhex("0001 0000 0002 07") + ANSWER,
        bytes.fromhex("0001 0000 00FF 07") + ANSWER,
    ],
)
def test_garbage_replaces_the_link(stream: bytes) -> None:
    """A stream that is not Modbus TCP cannot be followed: the connection is replaced at once."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task = await asked(link)
        receive(link, stream)
        with pytest.raises(LinkDown) as caught:
            await task
        assert "not Modbus TCP" in caught.value.reason.en
        assert wire.aborted

    virtually(test)


def test_lasting_silence_replaces_the_link() -> None:
    """Many requests without a single byte end the connection; each before is a time-out."""

    async def test(link: TcpLink, wire: Wire) -> None:
        link._heard.add(7)
        for _ in range(SILENCE - 1):
            with pytest.raises(DeviceTimeout):
                await link.ask(7, READ, 0.5)
        with pytest.raises(LinkDown):
            await link.ask(7, READ, 0.5)
        assert wire.aborted

    virtually(test)


@pytest.mark.parametrize("answered", [True, False])
def test_a_process_that_stood_still_reads_before_it_judges(answered: bool) -> None:
    """An answer that lay in the socket while nothing ran is no time-out; none at all is one."""

    async def test(link: TcpLink, wire: Wire) -> None:
        task, clock, loop = await asked(link), link._time, asyncio.get_running_loop()
        loop.call_later(0.4, setattr, link, "_time", lambda: clock() + 3.0)
        if answered:
            loop.call_later(0.501, receive, link, frame(wire.transaction))
            assert await task == ANSWER
        else:
            with pytest.raises(DeviceTimeout):
                await task
            assert loop.time() - 0.5 < 0.1

    virtually(test)


def test_who_never_answered_says_nothing_of_the_connection() -> None:
    """Units that are dead from the start are time-outs, however many; the connection stays."""

    async def test(link: TcpLink, wire: Wire) -> None:
        for unit in range(1, 3 * SILENCE):
            with pytest.raises(DeviceTimeout):
                await link.ask(unit, READ, 0.5)
        assert not wire.aborted

    virtually(test)


def test_peer_that_closes_fails_the_request_at_once() -> None:
    """A closed connection is known to the waiting request without its time-out."""

    async def test(link: TcpLink, wire: Wire) -> None:
        started = asyncio.get_running_loop().time()
        task = await asked(link)
        link.connection_lost(None)
        with pytest.raises(LinkDown):
            await task
        assert asyncio.get_running_loop().time() == started

    virtually(test)


HEADER = st.builds(
    lambda t, p, n, u: struct.pack(">HHHB", t, p, n, u),
    st.sampled_from([0, 1, 2, 3, 0x7FFF]),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0, 1, 2, 3, 5, 7, 9, 254, 255]),
    st.sampled_from([7, 7, 8]),
)
BODY = st.one_of(
    st.just(ANSWER),
    st.sampled_from([b"\x83\x02", b"\x83", b"\x03\x02\x12\x34", b"\x03\x04", b"\x04" + ANSWER[1:]]),
    st.binary(max_size=12),
)
WHOLE = st.builds(
    frame, st.sampled_from([0, 1, 2, 3, 0xFFFF]), st.sampled_from([7, 7, 7, 8, 0]),
    BODY.filter(lambda b: len(b) > 1),
)  # fmt: skip
NOISE = st.one_of(WHOLE, WHOLE, HEADER, st.binary(max_size=30))


@given(st.lists(st.lists(NOISE, max_size=4), min_size=1, max_size=5), st.randoms())
def test_any_bytes(script: list[list[bytes]], random: Any) -> None:
    """Whatever bytes come in whatever pieces: a matching frame or a DriverError, nothing else."""

    async def test(link: TcpLink, wire: Wire) -> None:
        for noise in script:
            try:
                task = await asked(link)
                sent = wire.transaction
                stream = b"".join(noise)
                while stream and link._transport is not None:
                    cut = random.randint(1, len(stream))
                    receive(link, stream[:cut])
                    stream = stream[cut:]
                value = await task
            except DriverError:
                continue
            assert value[:2] == b"\x03\x04"
            assert len(value) == 6
            assert frame(sent, 7, value) in b"".join(b"".join(noise) for noise in script)

    virtually(test)


def really(test: Callable[[ModbusDevice], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(20),
            ModbusDevice({7: Unit(holding={100: 0x1234, 101: 0x5678})}) as device,
        ):
            await test(device)

    asyncio.run(main())


@pytest.mark.parametrize("fault", [Fault.OK, Fault.TRICKLE, Fault.TWICE])
def test_real_socket(fault: Fault) -> None:
    """Over a real socket the answer arrives, whole, in single bytes or doubled."""

    async def test(device: ModbusDevice) -> None:
        device.fault = fault
        link = await open_tcp("127.0.0.1", device.port, 2.0)
        for _ in range(3):
            assert await link.ask(7, READ, 2.0) == ANSWER
        await link.close()
        await link.close()

    really(test)


def test_nobody_listens() -> None:
    """A refused connection is a LinkDown that says what to look at."""

    async def test(device: ModbusDevice) -> None:
        port = device.port
        await device.stop()
        with pytest.raises(LinkDown) as caught:
            await open_tcp("127.0.0.1", port, 2.0)
        assert "refuses the connection" in caught.value.reason.en
        assert "拒绝连接" in caught.value.reason.zh

    really(test)


@pytest.mark.parametrize("name", ["no-such-host.invalid", "plc..hall", "x" * 64])
def test_name_that_does_not_exist(name: str) -> None:
    """A name without an address is a LinkDown, too; also one that can be no name."""

    async def main() -> None:
        with pytest.raises(LinkDown, match="cannot be resolved"):
            await open_tcp(name, 502, 5.0)

    asyncio.run(main())
