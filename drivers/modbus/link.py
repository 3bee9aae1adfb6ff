"""One connection: sends a request, gives back the answer that belongs to it, or raises.

What all media share, and Modbus TCP (with TLS or without). Not RTU frames (`line.py`), not how a
medium is opened (`media.py`); knows PDUs, no points. Asked by `driver.py`.
"""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import ssl
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from drivers.modbus import mbap
from drivers.modbus.exceptions import refused
from drivers.modbus.pdu import Request, answers, refusal
from edge.driver import Following, Poll, Sample
from edge.errors import BadAnswer, DeviceTimeout, DriverError, LinkDown
from edge.text import Text

STRIKES: Final = 5  # wrong answers in a row after which the connection is replaced
SILENCE: Final = 10  # time-outs in a row, of who had answered, after which it is replaced
HELD_UP: Final = 0.05  # seconds by which a timer comes late when the process stood still
LOOK_AGAIN: Final = 0.005  # and after which whoever has not answered by then is late
_LUMP: Final = 512  # bytes received at once: an answer has 260 at most, and connections may be many
LATE: Final = 256  # a transaction so many back is an answer that came late, not a wrong one


class Link(asyncio.BaseProtocol):
    """An open connection. `late` and `wrong` count answers that were dropped, by why.

    One timer serves all requests: it is moved on when it fires, not set and cancelled for each.
    """

    __slots__ = (
        "_closed", "_down", "_ended", "_excused", "_heard", "_loop", "_silent", "_strikes", "_time",
        "_timer", "_timer_at", "_transport", "late", "peer", "wrong",
    )  # fmt: skip

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.late = 0
        self.wrong = 0
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._down: LinkDown | None = LinkDown(_closed(peer))
        self._ended = _ENDED
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._excused = False
        self._strikes = 0
        self._silent = 0
        self._heard: set[int] = set()  # units that have answered: who never did says nothing of us

    @abstractmethod
    def ask(self, unit: int, request: Request, timeout: float) -> Awaitable[bytes]:
        """Send and wait for the answer; the PDU that comes back satisfies `answers`.

        Raises DeviceTimeout, DeviceRefused (the code in two hex digits), BadAnswer, LinkDown, and
        NotYet on a line. After any of them and after a cancellation the next call gets its own
        answer or none.
        """

    async def close(self) -> None:
        """Close at once; a second call does nothing."""
        self._drop(LinkDown(_closed(self.peer)))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._down = None
        sock = transport.get_extra_info("socket")
        if sock is None:
            self._ended = _PORT_GONE
        elif transport.get_extra_info("ssl_object") is not None:
            self._ended = _TLS_ENDED
        _watch_for_dead_peer(sock)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        reason = exc.reason or str(exc) if isinstance(exc, ssl.SSLError) else "EOF"
        away = isinstance(exc, OSError) and exc.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)
        ended = _AWAY if away else self._ended
        self._end(LinkDown(ended.format(peer=self.peer, reason=reason)))
        if not self._closed.done():
            self._closed.set_result(None)

    @abstractmethod
    def _fail(self, error: LinkDown) -> None:
        """Hand `error` to all who wait."""

    @abstractmethod
    def _on_timer(self) -> None:
        """See who has waited long enough; set the timer anew if anybody still waits."""

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(at - self._time(), self._ring)

    def _ring(self) -> None:
        late = self._time() - self._timer_at
        self._timer = None
        self._timer_at = math.inf
        if late > HELD_UP and not self._excused:
            # This process stood still, not the peer: what came meanwhile is read first.
            self._excused = True
            self._set_timer(self._time() + LOOK_AGAIN)
            return
        self._excused = False
        self._on_timer()

    def _strike(self) -> None:
        """Count an answer to nothing we asked; too many, and the stream cannot be trusted."""
        self.wrong += 1
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._drop(LinkDown(_UNTRUSTED.format(peer=self.peer, n=STRIKES)))

    def _drop(self, error: LinkDown) -> None:
        self._end(error)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: LinkDown) -> None:
        if self._down is None:
            self._down = error
        self._fail(error)


@dataclass(frozen=True, slots=True)
class Framed:
    """A request to one unit, ready but for its transaction: what follows that in the frame, how the
    frame of its answer goes on after the transaction, and how long that frame is (0: it says so).

    The answer of a poll, which lies in `TcpLink.answer`, is brought into `sample` by `decode`; what
    went wrong is what `failed` makes of it.
    """

    unit: int
    request: Request
    timeout: float
    tail: bytes
    begins: bytes
    size: int
    sample: Sample | None
    decode: Callable[[], None]
    failed: Callable[[DriverError], DriverError]


def frame(
    unit: int,
    request: Request,
    timeout: float,
    sample: Sample | None = None,
    decode: Callable[[], None] = lambda: None,
    failed: Callable[[DriverError], DriverError] = lambda error: error,
) -> Framed:
    """A request made ready; with `sample` and what goes with it a poll's."""
    tail = mbap.wrap(0, unit, request.pdu)[2:]
    begins = mbap.HEADER.pack(0, 0, request.size + 1, unit)[2:] + request.head
    size = request.size + mbap.HEADER.size if request.size else 0
    return Framed(unit, request, timeout, tail, begins, size, sample, decode, failed)


@dataclass(slots=True, eq=False)
class _Asked:
    """Who waits, for what, and until when (loop time). `following` is there for polls.

    The frame of the answer begins with `answer`, which begins with the transaction, and has `size`
    bytes.
    """

    future: asyncio.Future[Any]
    framed: Framed
    following: Following | None
    answer: bytes = b""
    size: int = 0
    deadline: float = math.inf


class TcpLink(Link, asyncio.BufferedProtocol):
    """Modbus TCP, with at most `pipeline` requests in flight.

    An answer counts only when transaction, unit, function and length are those of its request; all
    others are dropped. What does not match fails the request whose transaction it names, no other.
    `polls` are those that `read_on` knows, by `Poll.request`. What arrives lies in one buffer, so
    that whoever decodes an answer knows its place beforehand: its PDU begins where `answer` does.
    """

    __slots__ = (
        "_asked", "_buffer", "_pipeline", "_received", "_stream", "_transaction", "_write",
        "answer", "polls",
    )  # fmt: skip

    def __init__(self, peer: str, pipeline: int = 1) -> None:
        super().__init__(peer)
        self.polls: dict[object, Framed] = {}
        self._pipeline = pipeline
        self._stream = mbap.Unwrapper()
        self._transaction = 0
        self._buffer = bytearray(_LUMP)
        self._received = memoryview(self._buffer)
        self.answer = self._received[mbap.HEADER.size :]
        self._asked: list[_Asked] = []
        self._write: Callable[[bytes], None] = _not_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._write = cast(asyncio.Transport, transport).write

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not isinstance(exc, OSError):  # a bug of ours, in `buffer_updated`
            for asked in self._waiting():
                asked.future.set_exception(exc)
        super().connection_lost(exc)

    def ask(self, unit: int, request: Request, timeout: float) -> asyncio.Future[bytes]:
        return self._ask(frame(unit, request, timeout), None)

    def read_on(self, poll: Framed, following: Following) -> asyncio.Future[Poll | None]:
        """As `edge.driver.ReadsOn`: no task has to wake up between an answer and the next poll.

        Goes on with what is in `polls`.
        """
        return self._ask(poll, following)

    def _ask(self, framed: Framed, following: Following | None) -> asyncio.Future[Any]:
        if self._down is not None:
            raise LinkDown(self._down.reason)
        asked = _Asked(self._loop.create_future(), framed, following)
        if len(self._asked) >= self._pipeline:
            self._forget_cancelled()
        self._send(asked)
        self._asked.append(asked)
        return asked.future

    def _send(self, asked: _Asked) -> None:
        framed = asked.framed
        self._transaction = transaction = self._transaction % 0xFFFF + 1
        key = transaction.to_bytes(2, "big")
        asked.answer = key + framed.begins
        asked.size = framed.size
        asked.deadline = deadline = self._time() + framed.timeout
        self._write(key + framed.tail)
        if self._timer_at > deadline:
            self._set_timer(deadline)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        self._silent = 0
        for asked in self._asked:
            if (  # the usual case: one whole answer and nothing else
                nbytes == asked.size
                and self._buffer.startswith(asked.answer)
                and not self._stream.rest
                and not asked.future.done()
            ):
                self._answered(asked, nbytes)
                return
        try:
            frames = self._stream.feed(bytes(self._received[:nbytes]))
        except mbap.Garbled:
            self.wrong += 1
            self._drop(LinkDown(_GARBLED.format(peer=self.peer)))
            return
        for frame in frames:
            self._take(frame)

    def _answered(self, asked: _Asked, end: int) -> None:
        """Take an answer that is as it should be and ends at `end` of the buffer; after a poll's,
        ask on.

        Nobody is forgotten before all went well: what fails here is told to who waits
        (`connection_lost`).
        """
        self._strikes = 0
        framed, following = asked.framed, asked.following
        if following is None or framed.sample is None:
            self._heard.add(framed.unit)
            asked.future.set_result(bytes(self._received[mbap.HEADER.size : end]))
            self._asked.remove(asked)
            return
        framed.decode()
        poll = following(framed.sample)
        ready = self.polls.get(poll.request) if poll is not None else None
        if ready is None:
            asked.future.set_result(poll)
            self._asked.remove(asked)
        else:
            asked.framed = ready
            self._send(asked)

    def _take(self, frame: mbap.Frame) -> None:
        key = frame.transaction.to_bytes(2, "big")
        asked = next((asked for asked in self._asked if asked.answer.startswith(key)), None)
        if asked is None or asked.future.done():
            if (self._transaction - frame.transaction) & 0xFFFF < LATE:
                self.late += 1
            else:
                self._strike()
            return
        unit, request = asked.framed.unit, asked.framed.request
        if frame.unit == unit:
            self._heard.add(unit)
            if answers(request, frame.pdu):
                self._answered(asked, self._lay(frame.pdu))
                return
        self._asked.remove(asked)
        code = refusal(request, frame.pdu) if frame.unit == unit else None
        if code is not None:
            self._strikes = 0
            asked.future.set_exception(asked.framed.failed(refused(unit, code)))
            return
        bad = BadAnswer(mismatch(unit, request, frame.unit, frame.pdu))
        asked.future.set_exception(asked.framed.failed(bad))
        self._strike()

    def _lay(self, pdu: bytes) -> int:
        """Put an answer that came in pieces, or with others, where a whole one lies."""
        end = mbap.HEADER.size + len(pdu)
        self._received[mbap.HEADER.size : end] = pdu
        return end

    def _on_timer(self) -> None:
        now, following = self._time(), math.inf
        self._forget_cancelled()
        for asked in list(self._asked):
            if asked.deadline > now:
                following = min(following, asked.deadline)
                continue
            framed = asked.framed
            self._silent += framed.unit in self._heard
            if self._silent >= SILENCE * self._pipeline:
                self._drop(silent(self.peer, self._silent))
                return
            self._asked.remove(asked)
            late = DeviceTimeout(no_answer(framed.unit, self.peer, framed.timeout))
            asked.future.set_exception(framed.failed(late))
            if self._stream.rest:  # half a frame, which would swallow what comes next
                self._strike()
        if following < math.inf:
            self._set_timer(following)

    def _waiting(self) -> Iterator[_Asked]:
        return (asked for asked in self._asked if not asked.future.done())

    def _forget_cancelled(self) -> None:
        self._asked = list(self._waiting())

    def _fail(self, error: LinkDown) -> None:
        for asked in self._waiting():
            asked.future.set_exception(LinkDown(error.reason))
        self._asked.clear()


def _watch_for_dead_peer(sock: socket.socket | None) -> None:
    """Let the kernel notice a pulled cable: unacknowledged for 15 s, or idle and gone for 25 s."""
    if sock is None:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000)


def _not_open(data: bytes) -> None:
    raise AssertionError("nothing is written before the connection is made")


def _closed(peer: str) -> Text:
    return Text(f"与 {peer} 的连接已断开", f"the connection to {peer} is closed")


_ENDED = Text(
    "{peer} 断开了连接; 若每次如此, 请核对端口和协议, 并确认其连接数未满",
    "{peer} ended the connection; if it always does, compare port and protocol, and whether its "
    "few connections are taken",
)
_AWAY = Text(
    "{peer} 不再可达; 请检查网线, 电源和地址",
    "{peer} can no longer be reached; check cable, power and address",
)
_TLS_ENDED = Text(  # TLS 1.3 tells only after the handshake what it thinks of our certificate
    "{peer} 断开了 TLS 连接 ({reason}); 若每次如此, 请核对对方是否要求并信任本机证书",
    "{peer} ended the TLS connection ({reason}); if it always does, compare whether it wants a "
    "certificate of ours, and trusts the one it gets",
)
_PORT_GONE = Text(
    "串口 {peer} 断开; 请检查适配器", "the serial port {peer} is gone; check the adapter"
)
_GARBLED = Text(
    "{peer} 发来的不是 Modbus TCP; 请核对端口和协议 (RTU over TCP?)",
    "what {peer} sends is not Modbus TCP; compare port and protocol (RTU over TCP?)",
)
_UNTRUSTED = Text(
    "{peer} 连续 {n} 次答非所问, 已断开重连",
    "{peer} answered {n} times in a row what was not asked; the connection is replaced",
)
_SILENT = Text(
    "{peer} 连续 {n} 次无任何应答, 已断开重连",
    "{peer} sent nothing for {n} requests in a row; the connection is replaced",
)


def silent(peer: str, n: int) -> LinkDown:
    """Nothing at all came back to so many requests."""
    return LinkDown(_SILENT.format(peer=peer, n=n))


def no_answer(unit: int, peer: str, timeout: float) -> Text:
    """What a technician reads of a time-out."""
    return Text(
        f"站号 {unit} ({peer}) 在 {timeout * 1000:.0f} 毫秒内无应答; 请检查电源, 接线和站号",
        f"unit {unit} at {peer} did not answer within {timeout * 1000:.0f} ms; "
        "check its power, wiring and unit number",
    )


def mismatch(unit: int, request: Request, from_unit: int, body: bytes) -> Text:
    """What was asked and what came instead."""
    asked, got = (unit, request.pdu[0]), (from_unit, body[0], len(body))
    zh, en = "站号 {}, 功能码 {}", "unit {}, function {}"
    if request.size:
        zh_asked = (zh + ", {} 字节").format(*asked, request.size)
        en_asked = (en + ", {} bytes").format(*asked, request.size)
    else:
        zh_asked, en_asked = zh.format(*asked), en.format(*asked)
    return Text(
        f"应答与请求不符, 已丢弃: 请求 {zh_asked}; 应答 {(zh + ', {} 字节').format(*got)}",
        f"the answer does not match the request and was dropped: asked {en_asked}; "
        f"got {(en + ', {} bytes').format(*got)}",
    )
