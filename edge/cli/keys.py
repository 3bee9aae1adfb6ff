"""Single key presses from a terminal, without Enter and without blocking."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Self

ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down",
          "\x1b[5~": "page-up", "\x1b[6~": "page-down"}  # fmt: skip


class Keys:
    """The keyboard while entered; the terminal is as before afterwards."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = sys.stdin.fileno() if fd is None else fd

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def pressed(self, wait: float = 0.0) -> list[str]:
        """The keys since the last call, after at most `wait` seconds; arrows by name."""
        if not select.select([self._fd], [], [], wait)[0]:
            return []
        typed = os.read(self._fd, 64).decode(errors="ignore")
        if not typed:
            return ["q"]  # the terminal is gone
        return [ARROWS[typed]] if typed in ARROWS else [c for c in typed if c != "\x1b"]
