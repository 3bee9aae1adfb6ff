"""The local API over a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge.errors import Unusable
from edge.hmi import server, socket
from edge.hmi.server import Server
from tests.edge.conftest import FakeView

BASE = "http://edge/api/v1"


@contextlib.asynccontextmanager
async def serving(view: FakeView, path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    task = asyncio.create_task(Server(view, path).run())
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - the socket file is the only sign
        await asyncio.sleep(0)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield session
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def ask(tmp_path: Path, view: FakeView, what: Callable[..., Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with serving(view, tmp_path / "edge.sock") as session:
            return await what(session)

    return asyncio.run(main())


async def events(response: aiohttp.ClientResponse, count: int) -> list[tuple[str, Any, str]]:
    """The next `count` events as (name, data, id)."""
    found: list[tuple[str, Any, str]] = []
    fields: dict[str, str] = {}
    while len(found) < count:
        line = (await response.content.readline()).decode().rstrip("\n")
        if line:
            key, _, rest = line.partition(": ")
            fields[key] = rest
        elif fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
            fields = {}
    return found


def test_model_is_served_once_and_then_by_its_hash(tmp_path: Path) -> None:
    """A reader that has the model gets 304 for its ETag."""

    async def main(session: aiohttp.ClientSession) -> None:
        first = await session.get(f"{BASE}/model")
        assert (await first.json())["points"][0]["id"] == "booster.pressure"
        again = await session.get(f"{BASE}/model", headers={"If-None-Match": first.headers["ETag"]})
        assert again.status == 304

    ask(tmp_path, FakeView(), main)


def test_snapshot_shows_a_good_value_bare_and_a_bad_one_with_its_bits(tmp_path: Path) -> None:
    """A bare number is good; otherwise value, bits and the Unix time of the last sample."""

    async def main(session: aiohttp.ClientSession) -> dict[str, Any]:
        return await (await session.get(f"{BASE}/snapshot")).json()  # type: ignore[no-any-return]

    got = ask(tmp_path, FakeView(), main)

    assert got["v"] == {"0": 0.404, "1": 1.0, "2": 80.0, "3": [None, 4, 1795062080.0]}
    assert got["age"] == [0.5, 1.0, 0.1, 100.0]
    assert got["outputs"]["booster.p1.run"] == {"value": 1.0, "slot": 14, "by": "supply"}


def test_a_reader_of_the_same_moment_gets_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many readers cost one serialisation."""
    monkeypatch.setattr(server, "PERIOD", 1000.0)
    view = FakeView()

    async def main(session: aiohttp.ClientSession) -> None:
        first = await (await session.get(f"{BASE}/snapshot")).read()
        view.value[0] = 0.5
        assert await (await session.get(f"{BASE}/snapshot")).read() == first

    ask(tmp_path, view, main)


def test_stream_beats_each_period_and_brings_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change below the shown digits is none; an alarm list comes whole and before the values."""
    monkeypatch.setattr(server, "PERIOD", 0.01)
    view = FakeView()

    async def main(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{BASE}/stream") as response:
            assert response.headers["X-Accel-Buffering"] == "no"
            (quiet,) = await events(response, 1)
            assert (quiet[0], quiet[1]["v"]) == ("values", {})
            view.value[0] = 0.4041
            view.value[2] = 65.0
            view.alarm_list = [{"id": "ZONE3_LOW", "n": 1, "state": "UNACK"}]
            got = [e for e in await events(response, 6) if e[0] != "values" or e[1]["v"]]
        assert [name for name, _, _ in got] == ["alarms", "values"]
        assert got[0][1] == view.alarm_list
        assert got[0][2] == ""
        assert got[1][1]["v"] == {"2": 65.0}

    ask(tmp_path, view, main)


def test_a_reader_that_returns_gets_what_it_missed_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last-Event-ID within the last ticks resumes; a foreign or old one is told to start anew."""
    monkeypatch.setattr(server, "PERIOD", 0.01)
    view = FakeView()

    async def main(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{BASE}/stream") as response:
            ((_, _, position),) = await events(response, 1)
        async with session.get(f"{BASE}/stream") as other:
            view.value[0] = 0.5
            await events(other, 3)
            view.value[2] = 65.0
            view.outputs["v3.position"]["value"] = 65.0
            await events(other, 4)
            headers = {"Last-Event-ID": position}
            async with session.get(f"{BASE}/stream", headers=headers) as response:
                got = await events(response, 2)
            assert [name for name, _, _ in got] == ["outputs", "values"]
            assert list(got[0][1]) == ["v3.position"]
            assert got[1][1]["v"] == {"0": 0.5, "2": 65.0}
            for stale in ("abc-5", position.split("-")[0] + "-99999", "nonsense"):
                async with session.get(f"{BASE}/stream?from={stale}") as response:
                    ((name, data, _),) = await events(response, 1)
                    assert (name, data) == ("reset", {"reload": False})

    ask(tmp_path, view, main)


def test_a_reader_away_for_longer_than_the_feed_remembers_is_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed remembers a bounded number of ticks."""
    monkeypatch.setattr(server, "PERIOD", 0.001)
    monkeypatch.setattr("edge.hmi.feed.MEMORY", 3)

    async def main(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{BASE}/stream") as other:
            ((_, _, position),) = await events(other, 1)
            await events(other, 6)
            headers = {"Last-Event-ID": position}
            async with session.get(f"{BASE}/stream", headers=headers) as response:
                assert (await events(response, 1))[0][0] == "reset"

    ask(tmp_path, FakeView(), main)


def test_the_reader_beyond_the_limit_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams are bounded; the next one gets 503 with a sentence, and a place once one leaves."""
    monkeypatch.setattr(server, "READERS", 2)
    monkeypatch.setattr(server, "PERIOD", 0.01)

    async def main(session: aiohttp.ClientSession) -> None:
        first = await session.get(f"{BASE}/stream")
        second = await session.get(f"{BASE}/stream")
        refused = await session.get(f"{BASE}/stream")
        assert refused.status == 503
        assert (await refused.json())["code"] == "TOO_MANY_READERS"
        first.close()
        while (again := await session.get(f"{BASE}/stream")).status == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert again.status == 200
        second.close()
        again.close()

    ask(tmp_path, FakeView(), main)


def test_a_reader_that_does_not_read_is_dropped_and_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffers fill, its write times out, its place is free; others keep their heartbeat."""
    monkeypatch.setattr(server, "PERIOD", 0.001)
    monkeypatch.setattr(server, "SLOW", 0.05)
    monkeypatch.setattr(server, "READERS", 2)
    points = tuple((f"d.p{i}", "点", "point " * 20, "", 3, "input") for i in range(2000))
    view = FakeView(points)

    async def main(session: aiohttp.ClientSession) -> None:
        lazy = sockets.socket(sockets.AF_UNIX)
        lazy.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        lazy.connect(str(tmp_path / "edge.sock"))
        lazy.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: edge\r\n\r\n")
        async with session.get(f"{BASE}/stream") as response:
            while True:  # until the lazy one's place is free
                view.value += 1.0
                assert (await events(response, 1))[0][0] == "values"
                async with session.get(f"{BASE}/stream") as third:
                    if third.status == 200:
                        break
        lazy.close()

    ask(tmp_path, view, main)


def test_ack_names_the_occurrence_and_the_user_of_the_other_end(tmp_path: Path) -> None:
    """The kernel says who asks; a late ack cannot hit a newer occurrence."""
    view = FakeView(alarm_list=[{"id": "ZONE3_LOW", "n": 2, "state": "UNACK"}])

    async def main(session: aiohttp.ClientSession) -> None:
        late = await session.post(f"{BASE}/alarms/ZONE3_LOW", json={"op": "ack", "n": 1})
        assert late.status == 409
        assert (await late.json())["code"] == "SUPERSEDED"
        done = await session.post(f"{BASE}/alarms/ZONE3_LOW", json={"op": "ack", "n": 2})
        assert (await done.json())["state"] == "ACKED"
        unknown = await session.post(f"{BASE}/alarms/NOPE", json={"op": "ack", "n": 2})
        assert unknown.status == 404

    ask(tmp_path, view, main)

    assert view.asked[1] == ("ack", "ZONE3_LOW", 2, getpass.getuser())


def test_commands_are_answered_and_followed_by_their_id(tmp_path: Path) -> None:
    """202 with the first answer, later states by GET, a refusal as 4xx with both texts."""
    view = FakeView()

    async def main(session: aiohttp.ClientSession) -> None:
        wish = {"id": "a1", "point": "v3.position", "op": "set", "value": 65}
        sent = await session.post(f"{BASE}/commands", json=wish)
        assert sent.status == 202
        later = await (await session.get(f"{BASE}/commands/a1")).json()
        assert (later["state"], later["feedback"]) == ("VERIFIED", 65.0)
        far = await session.post(f"{BASE}/commands", json=wish | {"id": "a2", "value": 120})
        assert far.status == 422
        assert (await far.json())["text"] == {"zh": "超出 0 至 100", "en": "beyond 0 to 100"}
        assert (await session.get(f"{BASE}/commands/none")).status == 404
        released = await session.post(f"{BASE}/holds/v3.position/release", json={"id": "a3"})
        assert released.status == 202

    ask(tmp_path, view, main)

    assert view.asked[-1][1] == {"id": "a3", "op": "release", "point": "v3.position"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/commands", b"{", 400, "MALFORMED"),
        ("POST", "/commands", b"[1]", 400, "MALFORMED"),
        ("POST", "/commands", b"[" * 9000, 400, "MALFORMED"),
        ("POST", "/commands", b"\xff\xfe", 400, "MALFORMED"),
        ("POST", "/commands", b'{"a":"' + b"x" * 20000 + b'"}', 413, "TOO_LARGE"),
        ("POST", "/alarms/ZONE3_LOW", b'{"op":"clear","n":1}', 400, "MALFORMED"),
        ("POST", "/alarms/ZONE3_LOW", b'{"op":"ack","n":true}', 400, "MALFORMED"),
        ("GET", "/alarms?from=soon", b"", 400, "MALFORMED"),
        ("GET", "/alarms?from=nan", b"", 400, "MALFORMED"),
        ("GET", "/explain/no.such", b"", 404, "UNKNOWN_POINT"),
        ("GET", "/read/lobby.lux", b"", 502, "READ_FAILED"),
        ("GET", "/nothing", b"", 404, "NOT_FOUND"),
        ("DELETE", "/snapshot", b"", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_cannot_be_done_is_said_in_both_languages(
    tmp_path: Path, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    """Every refusal is a code, a Chinese and an English sentence, and the matching 4xx."""

    async def main(session: aiohttp.ClientSession) -> tuple[int, dict[str, Any]]:
        response = await session.request(method, BASE + path, data=body or None)
        return response.status, await response.json()

    got = ask(tmp_path, FakeView(), main)

    assert (got[0], got[1]["code"]) == (status, code)
    assert got[1]["text"]["zh"]
    assert got[1]["text"]["en"]


def test_the_socket_is_for_its_group_and_goes_with_the_server(tmp_path: Path) -> None:
    """0660 while running, gone afterwards."""
    path = tmp_path / "edge.sock"

    async def main(session: aiohttp.ClientSession) -> int:
        await session.get(f"{BASE}/health")
        return path.stat().st_mode & 0o777

    assert ask(tmp_path, FakeView(), main) == 0o660
    assert not path.exists()


def test_a_dead_socket_is_replaced_and_a_live_one_refused(tmp_path: Path) -> None:
    """The file that a killed process left behind does not stop its successor."""
    path = tmp_path / "edge.sock"
    dead = sockets.socket(sockets.AF_UNIX)
    dead.bind(str(path))
    dead.close()

    with socket.listen(path), pytest.raises(Unusable, match="already listens"):
        socket.listen(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A mistaken --socket never deletes a file."""
    path = tmp_path / "notes.txt"
    path.write_text("mine")

    with pytest.raises(Unusable, match="not a socket"):
        socket.listen(path)

    assert path.read_text() == "mine"


def test_a_path_longer_than_the_kernel_allows_is_explained(tmp_path: Path) -> None:
    """108 bytes are the limit of a Unix socket's address."""
    with pytest.raises(Unusable, match="longer than the 107 bytes"):
        socket.listen(tmp_path / ("x" * 110))


def test_the_one_controller_that_runs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options the only live socket is taken; none and several are explained."""
    monkeypatch.delenv("EDGE_SOCKET", raising=False)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(socket, "SYSTEM", ())
    with pytest.raises(socket.NotRunning, match="no controller is running"):
        socket.find()
    one = socket.place("court")
    two = socket.place("tower")
    assert one == tmp_path / "edge-court.sock"
    with socket.listen(one):
        assert socket.find() == one
        with socket.listen(two), pytest.raises(socket.NotRunning, match="several"):
            socket.find()
        assert socket.find() == one  # the file of `two` is still there, and dead


def test_the_service_directory_comes_before_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd the socket is $RUNTIME_DIRECTORY/edge.sock."""
    monkeypatch.delenv("EDGE_SOCKET", raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))

    assert socket.place("court") == tmp_path / "edge.sock"
    assert socket.place("court", Path("x.sock")) == Path(os.getcwd()) / "x.sock"
