"""What goes into a scan and what comes out, line by line, so that a run can be gone through again.

A gzip file of JSON lines: a head, then every call that brings something into the scan, in order,
and for each step a digest of the image and what was written and raised. `edge/proof/replay.py`
reads it. Not a history of values: replaying makes them anew. Only made where somebody asks for it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.driver import Write
from edge.image.image import ProcessImage
from edge.scan.cycle import Outcome, Scan

FORMAT: Final = 1
INPUTS: Final = (
    "restore", "deliver", "put", "take", "again", "failed", "online", "written", "unverified",
    "tell", "ask", "reset_interlock", "acknowledge", "reset_alarm", "failsafe", "step",
)  # fmt: skip
"""The methods of a scan through which anything reaches it; `step` is the last of each round."""


class Record:
    """The file of one run. `add` and `take` are the scan thread's, `write` is any one thread's."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._lines: list[str] = [json.dumps({"edge_record": FORMAT, **head}, ensure_ascii=False)]
        self._file = gzip.open(path, "wt", encoding="utf-8", compresslevel=3)  # noqa: SIM115
        self.ended = False  # nothing is added any more

    def add(self, name: str, arguments: tuple[Any, ...]) -> None:
        """One line."""
        if not self.ended:
            self._lines.append(json.dumps([name, *map(_plain, arguments)]))

    def take(self) -> list[str]:
        """The lines since the last time, to be written."""
        lines, self._lines = self._lines, []
        return lines

    def write(self, lines: list[str]) -> None:
        """Compress them; a kill leaves what was written. OSError: the disk is full, or gone."""
        if lines:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Write what waits, and that this is the end."""
        if not self.ended:
            self.add("end", ())
            self.write(self.take())
        self.ended = True
        self._file.close()


def recorded(scan: Scan, record: Record) -> Scan:
    """Have everything that goes into `scan` from now on added to `record`; before its first step.

    A call made by another one of them is part of that one and is not added.
    """
    inside = False
    first = True

    def follow(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal inside
            if inside:
                return method(*arguments, **named)
            inside = True
            try:
                if name == "step":
                    return _step(method, arguments)
                record.add(name, (*arguments, *named.values()))
                return method(*arguments, **named)
            finally:
                inside = False

        return call

    def _step(method: Callable[..., Outcome], arguments: tuple[Any, ...]) -> Outcome:
        nonlocal first
        if first:
            record.add("cold_for", (scan.cold_for,))
            first = False
        outcome = method(*arguments)
        record.add("step", (*arguments, digest(scan.image), *summary(outcome)))
        return outcome

    for name in INPUTS:
        setattr(scan, name, follow(name, getattr(scan, name)))
    return scan


def digest(image: ProcessImage) -> str:
    """Of every value and quality bit: points, ladder and cells."""
    found = hashlib.blake2b(image.value.tobytes(), digest_size=8)
    found.update(image.quality.tobytes())
    return found.hexdigest()


def summary(outcome: Outcome) -> tuple[list[Any], list[Any]]:
    """What a step wrote, as [point, value, slot], and raised or cleared, as [alarm, state]."""
    writes = [[w.point, w.value, w.slot] for _, w in outcome.writes]
    return writes, [[t.alarm.id, t.state.value] for t in outcome.transitions]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        code = {"f": "f8", "i": "i4", "u": "u2"}[value.dtype.kind]
        return f"{code}:{base64.b64encode(value.astype('<' + code).tobytes()).decode()}"
    if isinstance(value, Write):
        return {"write": [value.device, value.point, value.value, value.slot]}
    return value


def plain_again(value: Any) -> Any:
    """What a line's argument was."""
    if isinstance(value, str) and value[2:3] == ":" and value[:2] in ("f8", "i4", "u2"):
        return np.frombuffer(base64.b64decode(value[3:]), "<" + value[:2])
    if isinstance(value, dict) and "write" in value:
        return Write(*value["write"])
    return value
