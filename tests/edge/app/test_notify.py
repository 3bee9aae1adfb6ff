"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge.app.notify import Notify


def test_a_full_socket_does_not_end_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While systemd is busy messages are lost; afterwards it hears of us again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "10000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        notify = Notify()
        assert notify.interval == 5.0
        for _ in range(2000):  # far more than a socket's queue takes
            notify.watchdog()
        heard = 0
        while True:
            try:
                systemd.recv(100)
            except BlockingIOError:
                break
            heard += 1
        assert 0 < heard < 2000
        notify.watchdog()
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without systemd nothing is sent and nothing is asked of the scan."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    notify = Notify()
    notify.ready("site")
    assert notify.interval == 0.0
