"""The local API: HTTP with JSON and server-sent events on a Unix socket.

Who may open the socket may do everything here: its file permission is the authority, and the
peer's user name goes into the audit. It knows the controller by the port in `view.py` only, and it
never holds the loop for long: state is made into bytes once a second, whatever the number of
readers. Started by `edge.app`.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket as sockets
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from edge.hmi import socket
from edge.hmi.feed import Feed, dump, event
from edge.hmi.view import Json, Refused, View, both
from edge.text import Text

PERIOD = 1.0  # seconds between ticks of the stream; also its heartbeat
SLOW = 5.0  # seconds after which a reader that does not read is dropped
READERS = 32
BODY = 16 * 1024  # bytes of a request
HISTORY = 7 * 86400.0  # seconds of the journal that are shown when nothing else is asked
API = "/api/v1"
NO_SNAPSHOT = (0.0, b"")  # when it was made, and its bytes

STATUS = {
    "MALFORMED": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_WRITABLE": 403,
    "NOT_FOUND": 404,
    "UNKNOWN_POINT": 404,
    "UNKNOWN_DEVICE": 404,
    "UNKNOWN_ALARM": 404,
    "UNKNOWN_COMMAND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "EXPIRED": 410,
    "TOO_LARGE": 413,
    "OUT_OF_RANGE": 422,
    "STEP_TOO_LARGE": 422,
    "NOT_A_FIELD_POINT": 422,
    "RATE_LIMITED": 429,
    "READ_FAILED": 502,
    "TOO_MANY_READERS": 503,
}  # every other refusal is a conflict with the present state: 409

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves one view on one socket until cancelled; `run` may be called again after a failure."""

    def __init__(self, view: View, path: Path) -> None:
        self._view = view
        self._path = path
        self._feed: Feed | None = None
        self._readers = 0
        self._model = b""
        self._snapshot = NO_SNAPSHOT

    async def run(self) -> None:
        """Listen, and tick while somebody follows the stream."""
        listening = socket.listen(self._path)
        inode = self._path.stat().st_ino
        self._feed = feed = Feed(self._view)
        self._model = dump(self._view.model())
        runner = web.AppRunner(
            self._app(), access_log=None, handle_signals=False, shutdown_timeout=1
        )
        try:
            await runner.setup()
            assert runner.server is not None
            loop = asyncio.get_running_loop()
            server = await loop.create_unix_server(runner.server, sock=listening)
            try:
                await self._tick(feed)
            finally:
                server.close()
        finally:
            self._feed = None
            feed.close()
            await runner.cleanup()
            listening.close()
            _unlink(self._path, inode)

    async def _tick(self, feed: Feed) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            if self._readers:
                feed.tick()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=BODY, middlewares=[refusals])
        app.add_routes(
            [
                web.get(f"{API}/model", self.model),
                web.get(f"{API}/snapshot", self.snapshot),
                web.get(f"{API}/stream", self.stream),
                web.get(f"{API}/health", self.health),
                web.get(f"{API}/explain/{{point}}", self.explain),
                web.get(f"{API}/read/{{point}}", self.read),
                web.get(f"{API}/identify/{{device}}", self.identify),
                web.post(f"{API}/retry", self.retry),
                web.post(f"{API}/retry/{{name}}", self.retry),
                web.get(f"{API}/alarms", self.alarms),
                web.post(f"{API}/alarms/{{alarm}}", self.alarm),
                web.post(f"{API}/commands", self.command),
                web.get(f"{API}/commands/{{command}}", self.command_state),
                web.post(f"{API}/holds/{{point}}/release", self.release),
            ]
        )
        return app

    async def model(self, request: web.Request) -> web.Response:
        """Names, units, limits, texts; cached by its hash."""
        etag = str(self._view.model()["hash"])
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return web.Response(status=304)
        headers = {"ETag": f'"{etag}"'}
        return web.Response(body=self._model, content_type="application/json", headers=headers)

    async def snapshot(self, request: web.Request) -> web.Response:
        """Everything now; readers within the same tenth of a second get the same bytes."""
        made, body = self._snapshot
        now = asyncio.get_running_loop().time()
        if not body or now - made > PERIOD / 10:
            body = dump(self._following().snapshot())
            self._snapshot = (now, body)
        return _json(body)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events once a second, from where the reader left off if that is known."""
        feed = self._following()
        if self._readers >= READERS:
            raise Refused("TOO_MANY_READERS", TOO_MANY.format(limit=READERS))
        asked = request.headers.get("Last-Event-ID") or request.query.get("from") or ""
        position = feed.position(asked) if asked else feed.n
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        self._readers += 1
        try:
            await self._follow(feed, position, response)
        except (ConnectionError, TimeoutError):
            pass  # gone, or too slow: it comes back with its position
        finally:
            self._readers -= 1
        return response

    async def _follow(self, feed: Feed, position: int | None, response: web.StreamResponse) -> None:
        """Write what is new after each tick. A reader that falls behind gets it merged."""
        while self._feed is feed:
            if position == feed.n:
                await feed.wait()
                continue
            news = None if position is None else feed.since(position)
            position = feed.n
            if news is None:
                news = event("reset", {"reload": False}, f"{feed.stream}-{feed.n}")
            async with asyncio.timeout(SLOW):
                await response.write(news)

    async def health(self, request: web.Request) -> web.Response:
        """Buses, devices, uplinks, scan timing."""
        return _json(dump(self._view.health()))

    async def explain(self, request: web.Request) -> web.Response:
        """Why a point has its value."""
        return _json(dump(self._view.explain(request.match_info["point"])))

    async def read(self, request: web.Request) -> web.Response:
        """Ask the field for one point now."""
        return _json(dump(await self._view.read(request.match_info["point"])))

    async def identify(self, request: web.Request) -> web.Response:
        """Let a device say what it is."""
        return _json(dump(await self._view.identify(request.match_info["device"])))

    async def retry(self, request: web.Request) -> web.Response:
        """End the pauses before the next try, of a bus or device, or all of them."""
        name = request.match_info.get("name")
        return _json(dump(self._view.retry(name, _user(request))))

    async def alarms(self, request: web.Request) -> web.Response:
        """The alarm journal, the last week unless `from` and `to` say otherwise."""
        until = _seconds(request, "to", self._view.values().wall)
        since = _seconds(request, "from", until - HISTORY)
        return _json(dump(await self._view.alarms(since, until)))

    async def alarm(self, request: web.Request) -> web.Response:
        """Acknowledge or reset one occurrence of an alarm: `{"op": "ack", "n": 118}`."""
        body = await _body(request)
        op, n = body.get("op"), body.get("n")
        if op not in ("ack", "reset") or type(n) is not int:
            raise Refused("MALFORMED", ALARM_BODY)
        done = await self._view.alarm(request.match_info["alarm"], op, n, _user(request))
        self._snapshot = NO_SNAPSHOT
        return _json(dump(done))

    async def command(self, request: web.Request) -> web.Response:
        """Take a command; 202 when it goes on, 4xx with the code when it is refused."""
        return await self._command(await _body(request), _user(request))

    async def command_state(self, request: web.Request) -> web.Response:
        """How far a command has come."""
        command = request.match_info["command"]
        answer = self._view.command_state(command)
        if answer is None:
            raise Refused("UNKNOWN_COMMAND", UNKNOWN_COMMAND.format(id=command), id=command)
        return _json(dump(answer))

    async def release(self, request: web.Request) -> web.Response:
        """Give back what a person holds at this point; the body may bring id and reason."""
        body = await _body(request)
        envelope = {**body, "op": "release", "point": request.match_info["point"]}
        return await self._command(envelope, _user(request))

    async def _command(self, envelope: Json, user: str) -> web.Response:
        answer = await self._view.command(envelope, user)
        self._snapshot = NO_SNAPSHOT
        if answer["state"] == "REJECTED":
            return _json(dump(answer), STATUS.get(answer["code"], 409))
        return _json(dump(answer), 202)

    def _following(self) -> Feed:
        if self._feed is None:
            raise Refused("STOPPING", STOPPING)
        return self._feed


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal, ours or aiohttp's, as `{"code", "text", "at"}` with its 4xx."""
    try:
        return await handler(request)
    except Refused as refused:
        return _refusal(refused)
    except web.HTTPRequestEntityTooLarge:
        return _refusal(Refused("TOO_LARGE", TOO_LARGE.format(limit=BODY)))
    except web.HTTPNotFound:
        return _refusal(Refused("NOT_FOUND", NOT_FOUND.format(path=request.path)))
    except web.HTTPMethodNotAllowed as wrong:
        allowed = ", ".join(sorted(wrong.allowed_methods))
        return _refusal(Refused("METHOD_NOT_ALLOWED", WRONG_METHOD.format(allowed=allowed)))


def _refusal(refused: Refused) -> web.Response:
    body = {"code": refused.code, "text": both(refused.text), "at": refused.at}
    return _json(dump(body), STATUS.get(refused.code, 409))


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def _body(request: web.Request) -> Json:
    """The request's JSON object; an empty body is an empty object."""
    if not request.can_read_body:
        return {}
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise Refused("MALFORMED", NOT_JSON) from None
    if not isinstance(body, dict):
        raise Refused("MALFORMED", NOT_JSON)
    return body


def _seconds(request: web.Request, name: str, default: float) -> float:
    try:
        seconds = float(request.query.get(name, default))
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) < 1e12:
        raise Refused("MALFORMED", NOT_A_TIME.format(name=name), query=name)
    return seconds


def _user(request: web.Request) -> str:
    """The login name of the process at the other end, as the kernel knows it (SO_PEERCRED)."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport else None
    if connection is None:
        raise Refused("UNAUTHENTICATED", NO_PEER)
    with sockets.socket(fileno=os.dup(connection.fileno())) as peer:
        credentials = peer.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
    uid = struct.unpack("3i", credentials)[1]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _unlink(path: Path, inode: int) -> None:
    """Remove our socket file, and not that of a successor."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass


STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

TOO_MANY = Text(
    "已有 {limit} 个界面在接收实时数据; 请关闭一个后再试",
    "{limit} screens already follow the controller; close one and try again",
)
TOO_LARGE = Text("请求超过 {limit} 字节", "the request is larger than {limit} bytes")
NOT_FOUND = Text("没有 {path} 这个地址", "there is no {path} here")
WRONG_METHOD = Text("此地址只接受 {allowed}", "this address takes {allowed} only")
NOT_JSON = Text("请求正文应为一个 JSON 对象", "the body must be one JSON object")
NOT_A_TIME = Text("{name} 应为 Unix 秒数", "{name} must be a number of Unix seconds")
ALARM_BODY = Text(
    '请求正文应为 {"op": "ack" 或 "reset", "n": 报警发生序号}',
    'the body must be {"op": "ack" or "reset", "n": the occurrence}',
)
UNKNOWN_COMMAND = Text("没有命令 {id}", "there is no command {id}")
NO_PEER = Text("无法确定对端用户", "the user at the other end cannot be told")
STOPPING = Text("控制器正在停止", "the controller is stopping")
