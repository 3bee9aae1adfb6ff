"""The command line's end of the local API: HTTP over the Unix socket, nothing but the library.

Synchronous, so that a command starts in a tenth of a second. Used by every subcommand that talks
to a running controller.
"""

from __future__ import annotations

import http.client
import json
import socket as sockets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.cli.command import REFUSED, UNREACHABLE, Failed
from edge.hmi.socket import NotRunning, find
from edge.text import Text

Json = dict[str, Any]

TIMEOUT = 10.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("edge", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """One controller. Every failure is `Failed` with a sentence."""

    def __init__(self, socket: str | Path | None = None) -> None:
        try:
            self.path = find(Path(socket) if socket else None)
        except NotRunning as error:
            raise Failed(error.text, UNREACHABLE) from None

    def get(self, path: str) -> Any:
        """What the API says there."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Json) -> Any:
        """What the API answers to `body`; a refusal is `Failed` with its sentence."""
        return self._ask("POST", path, json.dumps(body).encode())

    def stream(self) -> Iterator[tuple[str, Any]]:
        """The controller's events from now on, as (name, data), until it ends."""
        connection = _Connection(self.path)
        try:
            connection.request("GET", "/api/v1/stream")
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise _refusal(json.loads(response.read()))
            name = ""
            for line in response:
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        connection = _Connection(self.path)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, "/api/v1/" + path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None
        finally:
            connection.close()
        try:
            made = json.loads(answer)
        except ValueError:
            raise Failed(BROKEN.format(status=response.status), REFUSED) from None
        if response.status >= http.client.BAD_REQUEST:
            raise _refusal(made)
        return made

    def _lost(self, error: Exception) -> Failed:
        return Failed(
            LOST.format(path=self.path, reason=error or type(error).__name__), UNREACHABLE
        )


def place(*parts: str) -> str:
    """A path of the API from names that people chose."""
    return "/".join(quote(part, safe="") for part in parts)


def _refusal(body: Json) -> Failed:
    text = body.get("text") or {}
    code = body.get("code", "")
    zh = f"{text.get('zh', '')} [{code}]"
    return Failed(Text(zh, f"{text.get('en', '')} [{code}]"), REFUSED)


LOST = Text("与控制器 ({path}) 的连接中断: {reason}", "the connection to {path} was lost: {reason}")
BROKEN = Text(
    "控制器内部出错 (HTTP {status}); 详情见其日志",
    "the controller failed on this request (HTTP {status}); its log says more",
)
