"""One Modbus TCP connection: sends a request, gives back the answer that belongs to it, or raises.

The only place where sockets are touched and where what went wrong gets a name. Knows frames and
PDUs, no points. Called by `driver.py`, one request at a time.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Final, cast

from drivers.modbus import mbap
from drivers.modbus.exceptions import refused
from drivers.modbus.pdu import Request, answers, refusal
from edge.errors import BadAnswer, DeviceTimeout, LinkDown
from edge.text import Text

STRIKES: Final = 5  # wrong answers in a row after which the connection is replaced
SILENCE: Final = 10  # time-outs in a row without a single byte after which it is replaced
LATE: Final = 256  # a transaction so many back is an answer that came late, not a wrong one

_CONNECT: Final[dict[int, tuple[str, str]]] = {
    errno.ECONNREFUSED: ("对方拒绝连接; 请核对端口, 并确认其连接数未满",
                         "refuses the connection; compare the port, and whether its few "
                         "connections are taken"),
    errno.EHOSTUNREACH: ("主机不可达; 请检查网线, 电源和地址",
                         "cannot be reached; check cable, power and address"),
    errno.ENETUNREACH: ("网络不可达; 请检查本机网络设置",
                        "is in a network that cannot be reached; check our own network settings"),
    errno.ETIMEDOUT: ("连接超时; 请检查网线, 电源和地址",
                      "does not answer the connection; check cable, power and address"),
}  # fmt: skip


async def open_tcp(host: str, port: int, timeout: float) -> Link:
    """Connect. Raises LinkDown."""
    loop = asyncio.get_running_loop()
    peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout):
            _, link = await loop.create_connection(lambda: Link(peer), host, port)
    except TimeoutError:
        raise _cannot_connect(peer, *_CONNECT[errno.ETIMEDOUT]) from None
    except socket.gaierror as error:
        raise _cannot_connect(
            peer, "主机名无法解析; 请改用 IP 地址或检查 DNS",
            "has a name that cannot be resolved; use an IP address or check DNS",
        ) from error  # fmt: skip
    except OSError as error:
        plain = (error.strerror or str(error),) * 2
        raise _cannot_connect(peer, *_CONNECT.get(error.errno or 0, plain)) from error
    return link


class Link(asyncio.Protocol):
    """An open connection with at most one request in flight.

    An answer counts only when transaction, unit, function and length are those of the request; all
    others are dropped and counted in `late` and `wrong`. One timer serves all requests: it is moved
    on when it fires, not set and cancelled for each.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.late = 0
        self.wrong = 0
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._down: LinkDown | None = None
        self._stream = mbap.Unwrapper()
        self._pending: asyncio.Future[bytes] | None = None
        self._request = Request(b"", b"", 0)
        self._unit = 0
        self._transaction = 0
        self._deadline = 0.0
        self._timeout = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._strikes = 0
        self._silent = 0

    async def ask(self, unit: int, request: Request, timeout: float) -> bytes:
        """Send and wait for the answer; the PDU that comes back satisfies `answers`.

        Raises DeviceTimeout, DeviceRefused (the code in two hex digits), BadAnswer, LinkDown. After
        any of them and after a cancellation the next call gets its own answer or none.
        """
        if self._transport is None or self._down is not None:
            raise LinkDown(self._down.reason if self._down else _closed(self.peer))
        self._transaction = self._transaction % 0xFFFF + 1
        self._request, self._unit, self._timeout = request, unit, timeout
        self._pending = self._loop.create_future()
        self._transport.write(mbap.wrap(self._transaction, unit, request.pdu))
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer_at > self._deadline:
            self._set_timer(self._deadline)
        try:
            return await self._pending
        finally:
            self._pending = None

    async def close(self) -> None:
        """Close at once; a second call does nothing."""
        self._drop(LinkDown(_closed(self.peer)))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _watch_for_dead_peer(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        try:
            frames = self._stream.feed(data)
        except mbap.Garbled:
            self.wrong += 1
            self._drop(LinkDown(_garbled(self.peer)))
            return
        for frame in frames:
            self._take(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end(LinkDown(_closed(self.peer)))
        if not self._closed.done():
            self._closed.set_result(None)

    def _take(self, frame: mbap.Frame) -> None:
        pending = self._pending
        if pending is None or pending.done() or frame.transaction != self._transaction:
            if (self._transaction - frame.transaction) & 0xFFFF < LATE:
                self.late += 1
            else:
                self._strike()
            return
        if frame.unit == self._unit:
            if answers(self._request, frame.pdu):
                self._strikes = 0
                pending.set_result(frame.pdu)
                return
            code = refusal(self._request, frame.pdu)
            if code is not None:
                self._strikes = 0
                pending.set_exception(refused(self._unit, code))
                return
        self._strike()
        if not pending.done():
            pending.set_exception(BadAnswer(_mismatch(self._unit, self._request, frame)))

    def _strike(self) -> None:
        """Count an answer to nothing we asked; too many, and the stream cannot be trusted."""
        self.wrong += 1
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._drop(LinkDown(_untrusted(self.peer)))

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        pending = self._pending
        if pending is None or pending.done():
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
            return
        self._silent += 1
        if self._silent >= SILENCE:
            self._drop(LinkDown(_silent(self.peer)))
        else:
            pending.set_exception(DeviceTimeout(_no_answer(self._unit, self.peer, self._timeout)))

    def _drop(self, error: LinkDown) -> None:
        self._end(error)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: LinkDown) -> None:
        if self._down is None:
            self._down = error
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(error)


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


def _cannot_connect(peer: str, zh: str, en: str) -> LinkDown:
    return LinkDown(Text(f"{peer} {zh}", f"{peer} {en}"))


def _closed(peer: str) -> Text:
    return Text(f"与 {peer} 的连接已断开", f"the connection to {peer} is closed")


def _garbled(peer: str) -> Text:
    return Text(
        f"{peer} 发来的不是 Modbus TCP; 请核对端口和协议 (RTU over TCP?)",
        f"what {peer} sends is not Modbus TCP; compare port and protocol (RTU over TCP?)",
    )


def _untrusted(peer: str) -> Text:
    return Text(
        f"{peer} 连续 {STRIKES} 次答非所问, 已断开重连",
        f"{peer} answered {STRIKES} times in a row what was not asked; the connection is replaced",
    )


def _silent(peer: str) -> Text:
    return Text(
        f"{peer} 连续 {SILENCE} 次无任何应答, 已断开重连",
        f"{peer} sent nothing for {SILENCE} requests in a row; the connection is replaced",
    )


def _no_answer(unit: int, peer: str, timeout: float) -> Text:
    return Text(
        f"站号 {unit} ({peer}) 在 {timeout * 1000:.0f} 毫秒内无应答; 请检查电源, 接线和站号",
        f"unit {unit} at {peer} did not answer within {timeout * 1000:.0f} ms; "
        "check its power, wiring and unit number",
    )


def _mismatch(unit: int, request: Request, frame: mbap.Frame) -> Text:
    asked, got = (unit, request.pdu[0], request.size), (frame.unit, frame.pdu[0], len(frame.pdu))
    zh, en = "站号 {}, 功能码 {}, {} 字节", "unit {}, function {}, {} bytes"
    return Text(
        f"应答与请求不符, 已丢弃: 请求 {zh.format(*asked)}; 应答 {zh.format(*got)}",
        f"the answer does not match the request and was dropped: asked {en.format(*asked)}; "
        f"got {en.format(*got)}",
    )
