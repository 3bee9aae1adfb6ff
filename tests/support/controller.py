"""`edge run` as a child process: start it, wait for its first scan, ask its API, stop or kill it.

The real console command on a real state directory, so that a successor finds what a killed one
left. Not the site and not the equipment. Used by the end-to-end tests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.cli.client import Client

EDGE = Path(sys.executable).with_name("edge")
START = 300.0  # seconds; the kernel may have to be compiled first
STOP = 20.0


def wait_until(
    condition: Callable[[], Any], what: str, within: float = 30.0, *, every: float = 0.02
) -> Any:
    """What `condition` returns once it is true; fails with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {within:g} s still not: {what}"
        time.sleep(every)
    return found


class Controller:
    """One controller; as a context manager it is stopped in order at the end, and it must obey.

    `start` and `kill` may alternate; state and socket stay in `directory`.
    """

    def __init__(self, site: Path, directory: Path, *, observe: bool = False) -> None:
        self.site, self.directory = site, directory
        self.state, self.socket = directory / "state", directory / "edge.sock"
        self.log = directory / "edge.log"
        self._notify_path = directory / "notify.sock"
        self._observe = ["--observe"] if observe else []
        self._notify: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Controller:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._process is not None:
            code = self.stop()
            assert kind is not None or code == 0, f"exit {code}\n{self.tail()}"

    def launch(self) -> None:
        """Start the process and do not wait for it."""
        assert self._process is None, "it runs already"
        self._notify_path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._notify_path))
        environment = {
            **os.environ, "NOTIFY_SOCKET": str(self._notify_path), "EDGE_LANG": "en",
        }  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command(self.site, self.state, self.socket), *self._observe],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def ready(self) -> None:
        """Wait for its first scan and for its API."""
        assert self._notify is not None
        self._notify.settimeout(0.1)
        deadline = time.monotonic() + START
        told = b""
        while b"READY=1" not in told:
            assert self.running, self.tail()
            assert time.monotonic() < deadline, self.tail()
            try:
                told = self._notify.recv(4096)
            except TimeoutError:
                continue
        wait_until(self.socket.exists, "the API's socket is there")

    def start(self) -> None:
        """Start it and wait until it works."""
        self.launch()
        self.ready()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> float:
        """`kill -9`; the monotonic time before which it certainly lived."""
        assert self._process is not None
        before = time.monotonic()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(STOP)
        self._gone()
        return before

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP)
            raise AssertionError(f"did not stop within {STOP:g} s\n{self.tail()}") from None
        finally:
            self._gone()

    def _gone(self) -> None:
        self._process = None
        if self._notify is not None:
            self._notify.close()

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def api(self) -> Client:
        """The command line's end of its API."""
        return Client(self.socket)

    def values(self) -> dict[str, tuple[float | None, int]]:
        """Value and quality bits of every point."""
        api = self.api()
        points, shown = api.get("model")["points"], api.get("snapshot")["v"]
        found = {}
        for i, point in enumerate(points):
            entry = shown[str(i)]
            found[point["id"]] = (entry[0], entry[1]) if isinstance(entry, list) else (entry, 0)
        return found

    def alarms(self) -> dict[str, dict[str, Any]]:
        """The alarms that are not normal, by id."""
        return {alarm["id"]: alarm for alarm in self.api().get("snapshot")["alarms"]}

    def edge(self, *words: str) -> Any:
        """What a subcommand prints as JSON about this controller."""
        told = subprocess.run(
            [str(EDGE), *words, "--json", "--socket", str(self.socket)],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return json.loads(told.stdout)


def command(site: Path, state: Path, socket: Path) -> list[str]:
    """The words of `edge run`."""
    words = [EDGE, "run", site, "--state", state, "--socket", socket]
    return [str(word) for word in words]
