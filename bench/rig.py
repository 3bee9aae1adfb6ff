"""Processes and sites that the benchmarks need: farm, broker, BACnet device, controller."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EDGE = Path(sys.executable).with_name("edge")


def free_ports(count: int) -> int:
    """The first of `count` neighbouring free TCP ports on loopback."""
    for first in range(21000, 32000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")


def keep_to(core: int) -> None:
    """Keep this process to one core, where it may use as many as two."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


class Child(subprocess.Popen[str]):
    """A child process; `told` is the line by which it said that it is ready."""

    told = ""
    complaints: IO[bytes]

    def ask(self, line: str = "") -> str:
        """Its answer to a line."""
        assert self.stdin is not None
        self.stdin.write(line + "\n")
        self.stdin.flush()
        return self.line()

    def line(self) -> str:
        """The next line that it prints."""
        assert self.stdout is not None
        line = self.stdout.readline()
        if not line:
            self.complaints.seek(0)
            raise RuntimeError(f"{self.args} ended: {self.complaints.read().decode()}")
        return line


Running = AbstractContextManager[Child]


@contextmanager
def process(*command: str, ready: str | None = "ready") -> Iterator[Child]:
    """A child process that has said `ready`; ended with SIGTERM, then SIGKILL."""
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile() as complaints:
        child = Child(command, stdin=pipe, stdout=pipe, stderr=complaints, text=True)
        child.complaints = complaints
        try:
            while ready is not None and ready not in child.told:
                child.told = child.line()
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextmanager
def broker(directory: Path) -> Iterator[int]:
    """A Mosquitto; its port."""
    port = free_ports(1)
    config = directory / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    with process("mosquitto", "-c", str(config), ready=None):
        _wait_port(port)
        yield port


@contextmanager
def farm(devices: int, toggle: float = 0.0) -> Iterator[tuple[int, Child]]:
    """The Modbus devices of `bench.farm`: their first port, and the process."""
    port = free_ports(devices)
    command = [sys.executable, "-m", "bench.farm", str(port), str(devices)]
    with process(*command, "--toggle", str(toggle)) as child:
        yield port, child


@contextmanager
def bacnet() -> Iterator[int]:
    """One BACnet device; its UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with process(sys.executable, "-m", "bench.bacnet", str(port)):
        yield port


class Controller:
    """`edge run` on a site, with a notify socket that tells when the first scan was done.

    `core`: all its threads are kept to it.
    """

    def __init__(self, site: Path, directory: Path, *, core: int | None = None) -> None:
        notify = directory / "notify.sock"
        notify.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(notify))
        self._notify.settimeout(120)
        self.socket = directory / "edge.sock"
        self._log = (directory / "edge.log").open("w")
        self.began = time.perf_counter()
        self._child = subprocess.Popen(
            [str(EDGE), "run", str(site), "--state", str(directory / "state"), "--socket",
             str(self.socket)],
            env={**os.environ, "NOTIFY_SOCKET": str(notify)}, stdout=self._log, stderr=self._log,
            preexec_fn=None if core is None else lambda: keep_to(core),  # noqa: PLW1509 - no threads
        )  # fmt: skip
        self.pid = self._child.pid

    def wait_ready(self) -> float:
        """Seconds from the start of the process to its READY."""
        while b"READY=1" not in self._notify.recv(4096):
            pass
        return time.perf_counter() - self.began

    def cpu(self) -> float:
        """CPU seconds of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> float:
        """Resident memory in MB."""
        return resident(self.pid)

    def health(self) -> dict[str, Any]:
        """What `edge health` says."""
        command = [str(EDGE), "health", "--json", "--socket", str(self.socket)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        health: dict[str, Any] = json.loads(told.stdout)
        return health

    def stop(self) -> None:
        """End it in order."""
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(15)
        finally:
            self._child.kill()
            self._notify.close()
            self._log.close()


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def _wait_port(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")
