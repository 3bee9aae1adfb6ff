"""A store by hand: clocks that stand still unless moved, and draining a file to the last row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.events import Event, Events
from edge.store.database import Ballast
from edge.store.outbox_file import SAMPLE, Entry, OutboxFile, Row

MEGABYTE = 1 << 20


class Times:
    """Both times, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1_795_000_000.0

    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: self.now,
            wall=lambda: self.wall,
            trusted=lambda: True,
            origin=self.now,
        )


class Seen:
    """The events that were emitted, as (code, fields)."""

    def __init__(self) -> None:
        self.events = Events()
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.events.watch(self._keep)

    def _keep(self, event: Event, fields: dict[str, Any]) -> None:
        self.all.append((event.code, fields))

    def codes(self) -> list[str]:
        return [code for code, _ in self.all]


def outbox_file(directory: Path, limit: int = 8 * MEGABYTE, age: float = 1e9) -> OutboxFile:
    return OutboxFile(directory / "outbox.db", Ballast(directory / "ballast", 0), limit, age)


def sample(body: dict[str, Any], at: float = 0.0) -> Entry:
    return Entry(SAMPLE, "d/x", json.dumps(body), int(at * 1000), at)


def drain(file: OutboxFile) -> list[Row]:
    """Take and deliver until nothing is left."""
    rows: list[Row] = []
    while taken := file.take(100):
        rows += taken
        assert file.apply([row.id for row in taken], None, 0, 0.0).stored
    return rows


def gaps(rows: list[Row]) -> list[dict[str, Any]]:
    """The gap records among the rows."""
    bodies = [json.loads(row.body) for row in rows]
    return [body["gap"] for body in bodies if body.get("kind") == "gap"]
