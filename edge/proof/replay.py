"""A recorded run, gone through again: the same inputs into a new scan, step by step.

The same site and the same program give the same bits; the first step that does not is told with
what was written and raised then and now. Not a simulation: no equipment answers. Called by
`edge replay` and `edge explain --record`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.blocks.kind import Kind
from edge.errors import Unusable
from edge.events import Events
from edge.rules.compile import compile_site
from edge.scan.cycle import Run, Scan
from edge.scan.record import FORMAT, INPUTS, digest, plain_again, summary
from edge.site.site import Site
from edge.text import Text


@dataclass(frozen=True, slots=True)
class Head:
    """What a record says of itself. `started` is Unix seconds."""

    site: str
    file: str
    digest: str
    version: str
    started: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step whose image was another one. `then` and `now` are writes and transitions."""

    step: int
    wall: float
    then: tuple[Any, ...]
    now: tuple[Any, ...]


class Replay:
    """Enter nothing, iterate: each step that was gone through, as its wall time.

    `scan` is as it was after that step. `difference` is the first that did not come out the same,
    None when there is none so far; `complete` whether the file had an end.
    """

    def __init__(self, path: Path, site: Site, kinds: Mapping[str, Kind], run: Run) -> None:
        self.path, self.site = path, site
        self.programs = compile_site(site, kinds)
        self.scan = Scan(site, kinds, self.programs, run, Events(site.language, quiet=True))
        self.steps = 0
        self.now = 0.0
        self.difference: Difference | None = None
        self.complete = False

    def __iter__(self) -> Iterator[float]:
        for name, *arguments in _lines(self.path):
            if name == "end":
                self.complete = True
            elif name == "cold_for":
                self.scan.cold_for = float(arguments[0])
            elif name == "step":
                yield self._step(*arguments)
            elif name in INPUTS:
                getattr(self.scan, name)(*map(plain_again, arguments))
            else:
                raise _damaged(self.path, f"{name!r}")

    def _step(
        self, now: float, wall: float, trusted: bool, seen: str, writes: list[Any],
        transitions: list[Any],
    ) -> float:  # fmt: skip
        outcome = self.scan.step(now, wall, trusted)
        self.steps += 1
        self.now = now
        if self.difference is None and digest(self.scan.image) != seen:
            self.difference = Difference(self.steps, wall, (writes, transitions), summary(outcome))
        return wall


def head(path: Path) -> Head:
    """The first line of a record. Unusable: it is none."""
    for data in _read(path):
        if isinstance(data, dict) and data.get("edge_record") == FORMAT:
            return Head(**{name: data[name] for name in Head.__dataclass_fields__})
        break
    raise Unusable(
        Text(
            f"{path} 不是本版本 edge 的运行记录 (由 edge run --record 生成)",
            f"{path} is no record of this version of edge; edge run --record makes one",
        )
    )


def _lines(path: Path) -> Iterator[list[Any]]:
    lines = _read(path)
    next(lines, None)
    for data in lines:
        if not isinstance(data, list) or not data:
            raise _damaged(path, str(data)[:40])
        yield data


def _read(path: Path) -> Iterator[Any]:
    """Every whole line. A record that was cut off (a kill, a full disk) ends where it was cut."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    return
    except (EOFError, zlib.error):
        return
    except FileNotFoundError as error:
        raise Unusable(Text(f"没有文件 {path}", f"there is no file {path}")) from error
    except OSError as error:
        why = error.strerror
        zh, en = why or "不是 edge 的记录", why or "it is no record of edge"
        raise Unusable(Text(f"无法读取 {path}: {zh}", f"{path} cannot be read: {en}")) from error


def _damaged(path: Path, what: str) -> Unusable:
    return Unusable(Text(f"{path} 已损坏: 不认识 {what}", f"{path} is damaged: it says {what}"))
