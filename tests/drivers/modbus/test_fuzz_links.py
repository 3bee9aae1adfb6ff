"""Whatever bytes come, whenever and in whatever pieces: an answer that matches, or a DriverError.

For Modbus TCP with and without a pipeline, RTU on a serial line and RTU over TCP; in virtual time.
What a link may take for an answer is worked out here anew, from the bytes it was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.modbus import pdu
from drivers.modbus.line import KEPT, MOST, RtuLink
from drivers.modbus.link import STRIKES, Link, TcpLink
from edge.errors import DriverError, LinkDown
from edge.proof.virtual_loop import run_virtual
from tests.drivers.modbus.wire import receive
from tests.support.bad_line import crc

REQUESTS = (
    pdu.read(3, 100, 2),
    pdu.read(3, 200, 2),
    pdu.read(4, 0, 1),
    pdu.read(1, 0x0312, 18),  # 01 03 12 00 12: come back from the line it would pass for an answer
    pdu.write_register(5, b"\x12\x34"),
    pdu.write_registers(5, b"\x12\x34\x56\x78"),
    pdu.mask_write(5, b"\0\xff", b"\0\x12"),
    pdu.identify(pdu.BASIC),
)
UNITS = (7, 8)
IDENTITY = bytes.fromhex("2B 0E 01 01 00 00 02 00 03 41 42 43 01 01 44")


def proper(request: pdu.Request) -> bytes:
    """An answer to it."""
    if not request.size:
        return IDENTITY
    return request.head + bytes(range(0x50, 0x50 + request.size - len(request.head)))


BODIES = st.one_of(
    st.sampled_from(REQUESTS).map(proper),
    st.sampled_from(REQUESTS).map(lambda r: bytes([r.pdu[0] | 0x80, 2])),
    st.sampled_from(REQUESTS).map(lambda r: r.pdu),
    st.sampled_from(REQUESTS).map(lambda r: proper(r)[:-1]),
    st.sampled_from(REQUESTS).map(lambda r: proper(r) + b"\0\0"),
    st.binary(min_size=1, max_size=12),
)
Mutation = tuple[str, int, int]
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "add", "twice"]), st.integers(0, 300),
              st.integers(0, 255)),
    max_size=2,
)  # fmt: skip


def mutated(frame: bytes, changes: list[Mutation]) -> bytes:
    for kind, at, byte in changes:
        at %= len(frame) + 1
        if kind == "flip" and at < len(frame):
            frame = frame[:at] + bytes([frame[at] ^ (byte or 1)]) + frame[at + 1 :]
        elif kind == "cut":
            frame = frame[:at]
        elif kind == "add":
            frame = frame[:at] + bytes([byte]) + frame[at:]
        elif kind == "twice":
            frame = frame + frame
    return frame


def mbap(transaction: int, unit: int, body: bytes) -> bytes:
    return struct.pack(">HHHB", transaction & 0xFFFF, 0, len(body) + 1, unit) + body


def rtu(unit: int, body: bytes) -> bytes:
    return bytes([unit]) + body + crc(bytes([unit]) + body)


# What happens on a link: ("ask", unit, request, patience), ("bytes", bytes, piece), ("wait", s).
ASK = st.tuples(
    st.just("ask"), st.sampled_from(UNITS), st.sampled_from(REQUESTS),
    st.sampled_from([0.05, 0.5, 0.0]),
)  # fmt: skip
WAIT = st.tuples(st.just("wait"), st.sampled_from([0.0, 0.002, 0.02, 0.3, 2.0]))
PIECES = st.sampled_from([1, 2, 5, 1000])
UNIT = st.sampled_from([*UNITS, 9])
NOISE = st.tuples(st.just("bytes"), st.binary(max_size=40), PIECES)
FLOOD = st.tuples(st.just("bytes"), st.binary(min_size=20, max_size=40).map(lambda b: b * 40),
                  st.just(1000))  # fmt: skip
TCP_FRAME = st.tuples(
    st.just("bytes"),
    st.builds(
        lambda t, u, b, m: mutated(mbap(t, u, b), m),
        st.sampled_from([0, 1, 2, 3, 4, 0xFFFF]), UNIT, BODIES, MUTATIONS,
    ),
    PIECES,
)  # fmt: skip
RTU_FRAME = st.tuples(
    st.just("bytes"), st.builds(lambda u, b, m: mutated(rtu(u, b), m), UNIT, BODIES, MUTATIONS),
    PIECES,
)  # fmt: skip
MATCH = st.tuples(st.just("match"), PIECES)


class Wire(asyncio.Transport):
    """A transport without anything behind it. `since` is what arrived after the last request."""

    def __init__(self, link: Link, echo: bool) -> None:
        super().__init__()
        self.link, self.echo = link, echo
        self.open = True
        self.sent: list[bytes] = []
        self.since = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))
        self.since = b""
        if self.echo:
            asyncio.get_running_loop().call_soon(self.give, bytes(data))

    def abort(self) -> None:
        if self.open:
            self.open = False
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)

    def give(self, data: bytes) -> None:
        if self.open:
            self.since += data
            receive(self.link, data)


def bounded(link: Link) -> None:
    """What a link keeps has a bound, whatever came."""
    if isinstance(link, RtuLink):
        assert len(link._buffer) <= KEPT
        assert len(link._outstanding) <= len(UNITS) * len(REQUESTS) * MOST
    else:
        assert isinstance(link, TcpLink)
        assert len(link._stream.rest) < 260
        assert len(link._asked) <= 2 * link._pipeline + 1


async def outcome(link: Link, wire: Wire, unit: int, request: pdu.Request, timeout: float) -> None:
    """One request: its answer stands in what arrived, as a whole and matching frame of its own."""
    try:
        answer = await link.ask(unit, request, timeout)
    except DriverError:
        return
    assert pdu.answers(request, answer)
    if isinstance(link, RtuLink):
        frame = rtu(unit, answer)
        assert frame in wire.since
        if wire.echo and frame == wire.sent[-1]:
            assert wire.since.count(frame) >= 2, "a request's own echo is no answer"
    else:
        assert any(
            sent[6] == unit and sent[7:] == request.pdu and mbap(int.from_bytes(sent[:2], "big"),
            unit, answer) in ALL[-1] for sent in wire.sent
        )  # fmt: skip


ALL: list[bytes] = [b""]  # all that arrived in the present example


def play(make: Any, script: list[Any], depth: int, *, echo: bool = False) -> None:
    """Run a script on a link; then the link must still be usable, or be down and say so."""

    async def main() -> None:
        link: Link = make()
        wire = Wire(link, echo)
        link.connection_made(wire)
        ALL[:] = [b""]
        tasks: set[asyncio.Task[None]] = set()
        for step in script:
            if step[0] == "ask":
                _, unit, request, timeout = step
                running = {task for task in tasks if not task.done()}
                if len(running) >= depth or not timeout:
                    for task in running:
                        task.cancel() if not timeout else await task
                task = asyncio.create_task(outcome(link, wire, unit, request, timeout or 0.5))
                tasks.add(task)
                await asyncio.sleep(0)
            elif step[0] == "wait":
                await asyncio.sleep(step[1])
            else:
                await feed(wire, *step)
            bounded(link)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        bounded(link)
        await still_usable(link, wire)
        await link.close()

    run_virtual(main)


async def feed(wire: Wire, kind: str, *what: Any) -> None:
    """Bytes in pieces; "match" answers the newest request as a good device would."""
    data, piece = what if kind == "bytes" else (matching(wire), what[0])
    for start in range(0, len(data), piece):
        ALL[0] += data[start : start + piece]
        wire.give(data[start : start + piece])
        if piece < 1000:
            await asyncio.sleep(0)


def matching(wire: Wire) -> bytes:
    if not wire.sent:
        return b""
    sent = wire.sent[-1]
    line = isinstance(wire.link, RtuLink)
    unit, body = (sent[0], sent[1:-2]) if line else (sent[6], sent[7:])
    answer = next((proper(r) for r in REQUESTS if r.pdu == body), bytes([body[0] | 0x80, 1]))
    return rtu(unit, answer) if line else mbap(int.from_bytes(sent[:2], "big"), unit, answer)


async def still_usable(link: Link, wire: Wire) -> None:
    """After a while of peace a request is answered, or the link says that it is down.

    On TCP half a frame of before may swallow some answers; then the link must give itself up.
    """
    request, body = pdu.read(3, 500, 3), b"\x03\x06abcdef"
    await asyncio.sleep(20)
    for _ in range(STRIKES + 1):
        before = len(wire.sent)
        task = asyncio.create_task(_ask(link, request))
        await asyncio.sleep(0.1)
        if len(wire.sent) > before:
            sent = wire.sent[-1]
            line = isinstance(link, RtuLink)
            wire.give(rtu(7, body) if line else mbap(int.from_bytes(sent[:2], "big"), 7, body))
        try:
            assert await task == body
            return
        except LinkDown:
            assert not wire.open
            return
        except DriverError:
            assert isinstance(link, TcpLink)
    raise AssertionError("the link neither works nor is it down")


async def _ask(link: Link, request: pdu.Request) -> bytes:
    return await link.ask(7, request, 0.5)


def scripts(frame: Any) -> Any:
    return st.lists(st.one_of(ASK, ASK, MATCH, frame, frame, NOISE, WAIT, FLOOD), max_size=14)


calm = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.data_too_large])


@calm
@given(scripts(TCP_FRAME))
def test_any_bytes_on_tcp(script: list[Any]) -> None:
    """Modbus TCP with one request in flight."""
    play(lambda: TcpLink("h"), script, 1)


@calm
@given(scripts(TCP_FRAME))
def test_any_bytes_on_a_pipeline(script: list[Any]) -> None:
    """Modbus TCP with four requests in flight."""
    play(lambda: TcpLink("h", 4), script, 4)


@calm
@given(scripts(RTU_FRAME), st.booleans())
def test_any_bytes_on_a_serial_line(script: list[Any], echo: bool) -> None:
    """RTU on a serial line, one that hears itself too."""
    play(lambda: RtuLink("/dev/ttyUSB0", 19200), script, 1, echo=echo)


@calm
@given(scripts(RTU_FRAME))
def test_any_bytes_on_rtu_over_tcp(script: list[Any]) -> None:
    """RTU over TCP."""
    play(lambda: RtuLink("h:4001"), script, 1)
