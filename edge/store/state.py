"""The state directory: where it is, and the lock that lets one controller use it.

Not its content: the journal and the outbox are files in it. Called by the app before they open.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from edge.errors import Unusable
from edge.text import Text


def locate(site: str, given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """`--state`, else systemd's `$STATE_DIRECTORY`, else `~/.local/state/edge/<site>`."""
    if given is not None:
        return given
    if directory := environment.get("STATE_DIRECTORY"):
        return Path(directory.split(":", maxsplit=1)[0])
    return Path(environment.get("HOME") or Path.home()) / ".local/state/edge" / site


class Lock:
    """Holds the directory for this process, as a context manager; the kernel lets go at its end.

    Raises `Unusable` when another controller holds it or when nothing can be written there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1

    def __enter__(self) -> Lock:
        path = self._directory / "lock"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unusable(_unwritable(self._directory, error)) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "?"
            os.close(self._fd)
            raise Unusable(_held(self._directory, pid)) from error
        with suppress(OSError):  # on a full disk the lock holds without a number in it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def _held(directory: Path, pid: str) -> Text:
    return Text(
        "状态目录 {directory} 正被另一个控制器 (进程 {pid}) 使用; "
        "请先停止它, 或用 --state 指定其他目录",
        "the state directory {directory} is in use by another controller (process {pid}); stop it"
        " first, or name another directory with --state",
    ).format(directory=directory, pid=pid)


def _unwritable(directory: Path, error: OSError) -> Text:
    return Text(
        "无法写状态目录 {directory} ({reason}); 请检查权限, 或用 --state 指定其他目录",
        "the state directory {directory} cannot be written ({reason}); check its permissions, or"
        " name another one with --state",
    ).format(directory=directory, reason=error.strerror)
