"""One line on a terminal that says how far long work is; nothing where no person looks."""

from __future__ import annotations

import sys
from types import TracebackType


class Progress:
    """Enter to begin, `say` as often as there is something to say, leave to wipe the line."""

    def __init__(self, title: str) -> None:
        self._title, self._shown = title, sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def say(self, text: str) -> None:
        """Replace what stood there."""
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{self._title}: {text}")
            sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
