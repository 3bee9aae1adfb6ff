"""A driver's host that remembers: what it was told, and what it was given to keep."""

from __future__ import annotations

import json
from typing import Any

from edge.bus.host import BusHost
from edge.driver import Kept
from edge.events import Event


class Told(BusHost):
    """`told` are the events as (code, English text), oldest first; `zh` the Chinese texts.

    What is kept goes through JSON, as it does to the disk.
    """

    def __init__(self, *, writes: bool = True, memory: dict[str, Kept] | None = None) -> None:
        super().__init__(writes=writes, memory=memory)
        self.told: list[tuple[str, str]] = []
        self.zh: list[str] = []
        self.kept = 0

    def emit(self, event: Event, **fields: Any) -> None:
        text = event.text.format(**fields)
        self.told.append((event.code, text.en))
        self.zh.append(text.zh)

    def keep(self, device: str, kept: Kept) -> None:
        self.kept += 1
        super().keep(device, json.loads(json.dumps(kept)))

    @property
    def codes(self) -> list[str]:
        """The codes of all events so far."""
        return [code for code, _ in self.told]
