"""The bytes of a TCP connection: whole and in order, and every end of it is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop

from drivers.modbus.link import TcpLink
from drivers.modbus.pdu import read
from drivers.modbus.stream import SocketTransport, open_stream
from edge.errors import LinkDown
from tests.drivers.modbus.wire import Wire


class Heard(asyncio.BufferedProtocol):
    """What came over a transport, received a few bytes at a time."""

    def __init__(self) -> None:
        self.data = b""
        self.buffer = bytearray(16)
        self.lost = asyncio.get_running_loop().create_future()
        self.raises: Exception | None = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]
        if self.raises is not None:
            raise self.raises

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def run(main: Callable[[], Coroutine[Any, Any, None]], *, fast: bool) -> None:
    factory = uvloop.new_event_loop if fast else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(main(), 10.0))


async def connected() -> tuple[SocketTransport, Heard, socket.socket]:
    """A transport on a real connection, and the peer's blocking end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = await open_stream("127.0.0.1", listener.getsockname()[1])
        far, _ = listener.accept()
    far.settimeout(5.0)
    heard = Heard()
    return SocketTransport(near, heard), heard, far


both_loops = pytest.mark.parametrize("fast", [False, True])


@both_loops
def test_what_arrives_is_handed_on_in_order(fast: bool) -> None:
    """However much more it is than the buffer takes; the peer's end of it ends the transport."""

    async def main() -> None:
        transport, heard, far = await connected()
        sent = bytes(range(256)) * 4
        far.sendall(sent)
        far.close()
        assert await heard.lost is None
        assert heard.data == sent
        assert transport.is_closing()

    run(main, fast=fast)


@both_loops
def test_a_peer_that_takes_bytes_slowly(fast: bool) -> None:
    """What it does not take at once follows in order; one that takes nothing is given up."""

    async def main() -> None:
        transport, heard, far = await connected()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = b""
        while not transport._unsent:
            piece = len(sent).to_bytes(4, "big") * 1000
            transport.write(piece)
            sent += piece
        transport.write(b"the end")
        sent += b"the end"
        took = b""
        while len(took) < len(sent):
            took += await asyncio.to_thread(far.recv, 65536)
        assert took == sent
        for _ in range(10_000):
            transport.write(b"\0" * 4000)
            if transport.is_closing():
                break
        assert isinstance(await heard.lost, OSError)
        far.close()

    run(main, fast=fast)


@both_loops
@pytest.mark.parametrize("answered", [False, True])
def test_a_connection_that_is_cut_is_told(fast: bool, answered: bool) -> None:
    """At once, or at the next write where the cut came together with the last bytes."""

    async def main() -> None:
        transport, heard, far = await connected()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if answered:
            far.sendall(b"last words")
        far.close()  # RST
        while not heard.lost.done():
            await asyncio.sleep(0.01)
            transport.write(b"?")
        error = await heard.lost
        assert isinstance(error, OSError)
        assert error.errno in (errno.ECONNRESET, errno.EPIPE)
        transport.write(b"and nothing happens")

    run(main, fast=fast)


@both_loops
def test_a_connection_that_was_cut_before_it_is_used_is_told(fast: bool) -> None:
    """A gateway whose few connections are taken lets us in and cuts us off at once."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = await open_stream("127.0.0.1", listener.getsockname()[1])
            far, _ = listener.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()  # RST
        await asyncio.sleep(0.05)
        link = TcpLink("192.0.2.1:502")
        SocketTransport(near, link)
        with pytest.raises(LinkDown, match="few connections are taken"):
            await link.ask(1, read(3, 0, 1), 5.0)
        await link.close()
        assert near.fileno() == -1

    run(main, fast=fast)


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_a_pulled_cable_is_no_peer_that_hangs_up(code: int) -> None:
    """The kernel gives up on bytes that nobody takes: the sentence says where to look."""

    async def main() -> None:
        link = TcpLink("192.0.2.1:502")
        link.connection_made(Wire(link))
        asking = link.ask(1, read(3, 0, 1), 5.0)
        link.connection_lost(OSError(code, os.strerror(code)))
        with pytest.raises(LinkDown, match="check cable, power"):
            await asking

    run(main, fast=False)


@both_loops
def test_a_bug_in_what_takes_the_bytes_ends_the_connection(fast: bool) -> None:
    """Whoever waits is told of it, and the loop too."""

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        _, heard, far = await connected()
        heard.raises = ZeroDivisionError("bug")
        far.sendall(b"x")
        assert await heard.lost is heard.raises
        assert far.recv(1) == b""
        assert [what["exception"] for what in told] == [heard.raises]
        far.close()

    run(main, fast=fast)


def test_the_first_address_that_lets_us_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses; when none does, the last one's reason is raised."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            shut = socket.create_server(("127.0.0.1", 0))
            closed = shut.getsockname()[1]
            shut.close()
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p))
                     for p in (closed, port)]  # fmt: skip

            async def several(*_: Any, **__: Any) -> Any:
                return found

            monkeypatch.setattr(type(loop), "getaddrinfo", several, raising=False)
            sock = await open_stream("two.example", port)
            assert sock.getpeername()[1] == port
            sock.close()
            found[:0] = [(99, socket.SOCK_STREAM, 6, "", ("::1", port))]  # no such family here
            sock = await open_stream("two.example", port)
            sock.close()
            found.pop()
            with pytest.raises(ConnectionRefusedError):
                await open_stream("two.example", port)

    run(main, fast=False)  # the methods of the other one cannot be replaced


@both_loops
def test_an_address_needs_no_resolver(fast: bool) -> None:
    """Its threads may all be waiting: for a name server, or for an adapter that hangs."""

    async def main() -> None:
        busy = threading.Event()
        with ThreadPoolExecutor(1) as threads, socket.create_server(("127.0.0.1", 0)) as listener:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(threads)
            waiting = loop.run_in_executor(None, busy.wait)
            try:
                async with asyncio.timeout(2.0):
                    (await open_stream("127.0.0.1", listener.getsockname()[1])).close()
            finally:
                busy.set()
                await waiting

    run(main, fast=fast)


@both_loops
def test_giving_up_leaves_nothing_open(fast: bool) -> None:
    """A connection attempt that is cancelled closes its socket."""

    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            held = [socket.socket() for _ in range(3)]
            for one in held:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await open_stream("127.0.0.1", port)
            for one in held:
                one.close()
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # the resolver's, at most

    run(main, fast=fast)
