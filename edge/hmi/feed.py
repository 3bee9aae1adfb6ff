"""The controller's state once a second, and what has changed since: shared by every reader.

Holds no queue and knows no reader: a reader is a position in the feed, and what it missed is merged
from the last minute's changes. Ticked by `server.py`; not thread-safe.
"""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections import deque

import numpy as np

from edge.hmi.view import Json, Values, View, number
from edge.image.image import Floats, Index

MEMORY = 60  # ticks; a reader that was away longer starts anew from a snapshot

SECTIONS = ("alarms", "holds")  # sent whole when they change: they are short and cannot drift
KEYED = ("outputs", "commands")  # sent entry by entry


def dump(value: object) -> bytes:
    """JSON as it goes over the wire."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def event(name: str, data: object, position: str = "") -> bytes:
    """One server-sent event; only the last of a tick has a position, so that none can be missed."""
    head = f"id: {position}\n" if position else ""
    return head.encode() + b"event: " + name.encode() + b"\ndata: " + dump(data) + b"\n\n"


class Feed:
    """Positions count ticks of this process; `stream` tells its positions from another's."""

    def __init__(self, view: View) -> None:
        self._view = view
        points = view.model()["points"]
        self._all: Index = np.arange(len(points), dtype=np.int32)
        self._scale: Floats = 10.0 ** np.asarray([p["d"] for p in points], np.float64)
        self.stream = uuid.uuid4().hex[:12]
        self.n = 0
        self._shown: Floats = np.full(len(points), np.nan)
        self._quality = np.zeros(len(points), np.uint16)
        self._changes: deque[Index] = deque(maxlen=MEMORY)  # of ticks … n-1, n
        self._state: Json = {}
        self._section_at = dict.fromkeys(SECTIONS, 0)
        self._entries: dict[str, dict[str, tuple[int, Json]]] = {name: {} for name in KEYED}
        self._latest = b""
        self._ticked = asyncio.Event()
        self.tick()

    def tick(self) -> None:
        """Look at the controller once, and wake everyone who waits."""
        values = self._view.values()
        state = self._view.state()
        self.n += 1
        self._changes.append(self._notice(values))
        for name in SECTIONS:
            if state[name] != self._state.get(name):
                self._section_at[name] = self.n
        self._notice_entries("outputs", state["outputs"])
        self._notice_entries("commands", {entry["id"]: entry for entry in state["commands"]})
        self._state = state
        self._latest = self._events(self.n - 1, values)
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    async def wait(self) -> None:
        """Wait for the next tick, or for the end."""
        await self._ticked.wait()

    def close(self) -> None:
        """Let go of everyone who waits; there are no more ticks."""
        self._ticked.set()

    def snapshot(self) -> Json:
        """Everything now, with the position to follow it from."""
        values = self._view.values()
        state = self._view.state()
        ages = np.round(values.now - values.stamp, 1).tolist()
        return {
            "stream": self.stream,
            "n": self.n,
            "t": values.wall,
            "v": self._encode(self._all, values),
            "age": [age if age < math.inf else None for age in ages],
            **state,
        }

    def position(self, asked: str) -> int | None:
        """The tick that `Last-Event-ID` or `from` names, None when it cannot be resumed from."""
        stream, _, n = asked.rpartition("-")
        if stream != self.stream or not n.isdecimal():
            return None
        return int(n) if self.n - len(self._changes) <= int(n) <= self.n else None

    def since(self, position: int) -> bytes | None:
        """What changed after `position` (< n), as events; None when that is too long ago."""
        if position == self.n - 1:
            return self._latest
        if position < self.n - len(self._changes):
            return None
        return self._events(position, self._view.values())

    def _notice(self, values: Values) -> Index:
        """Which points changed in what a screen shows of them; remembers what it has seen."""
        shown = np.round(values.value * self._scale)
        same = (shown == self._shown) | (np.isnan(shown) & np.isnan(self._shown))
        changed = ~same | (values.quality != self._quality)
        self._shown = shown
        self._quality = values.quality.copy()
        return np.flatnonzero(changed).astype(np.int32)

    def _notice_entries(self, name: str, entries: dict[str, Json]) -> None:
        known = self._entries[name]
        self._entries[name] = {
            key: known[key] if key in known and known[key][1] == entry else (self.n, entry)
            for key, entry in entries.items()
        }

    def _events(self, position: int, values: Values) -> bytes:
        """The events of every tick after `position`, merged."""
        parts = [
            event(name, self._state[name]) for name in SECTIONS if self._section_at[name] > position
        ]
        fresh = {
            name: {key: entry for key, (n, entry) in self._entries[name].items() if n > position}
            for name in KEYED
        }
        if fresh["outputs"]:
            parts.append(event("outputs", fresh["outputs"]))
        parts += [event("command", entry) for entry in fresh["commands"].values()]
        changed = np.unique(np.concatenate(list(self._changes)[position - self.n :]))
        data = {"t": values.wall, "v": self._encode(changed, values)}
        parts.append(event("values", data, f"{self.stream}-{self.n}"))
        return b"".join(parts)

    def _encode(self, indices: Index, values: Values) -> Json:
        """A bare number is good; otherwise `[value, quality bits, Unix time of its sample]`."""
        shown = np.round(values.value[indices] * self._scale[indices]) / self._scale[indices]
        made: Json = dict(zip(map(str, indices.tolist()), shown.tolist(), strict=True))
        doubtful = (values.quality[indices] != 0) | ~np.isfinite(shown)
        stamps = values.stamp[indices] + (values.wall - values.now)
        for i in np.flatnonzero(doubtful).tolist():
            since = number(round(float(stamps[i]), 1))
            made[str(indices[i])] = [
                number(float(shown[i])), int(values.quality[indices[i]]), since
            ]  # fmt: skip
        return made
