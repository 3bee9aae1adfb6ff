"""A real Mosquitto on a free port: start, stop, restart, freeze and thaw it.

Not a fake: the broker of the distribution, run as a child process in a temporary directory. Used
by the tests of the uplink and by end-to-end tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

EXECUTABLE = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """One broker on 127.0.0.1; use it as a context manager.

    `acl` is the text of an ACL file, `users` maps names to passwords (anonymous when empty), `tls`
    is (ca, certificate, key). `settings` are further lines of mosquitto.conf. The port and the
    persistent sessions stay the same over `stop` and `start`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        acl: str = "",
        users: dict[str, str] | None = None,
        tls: tuple[Path, Path, Path] | None = None,
        settings: str = "",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)
        self.port = free_port()
        self.log = directory / "mosquitto.log"
        self._conf = directory / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if users else 'true'}",
            "persistence true",
            f"persistence_location {directory}/",
            "user root" if os.geteuid() == 0 else "",
            settings,
        ]
        if acl:
            (directory / "acl").write_text(acl)
            lines.append(f"acl_file {directory / 'acl'}")
        if users:
            passwords = directory / "passwords"
            passwords.touch()
            for name, password in users.items():
                subprocess.run(["mosquitto_passwd", "-b", passwords, name, password], check=True)
            lines.append(f"password_file {passwords}")
        if tls:
            ca, certificate, key = tls
            lines += [f"cafile {ca}", f"certfile {certificate}", f"keyfile {key}"]
        self._conf.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [EXECUTABLE, "-c", str(self._conf)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop in order (sessions are saved) and wait for the end."""
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """Stop answering while the connections stay open: a half-open link."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
