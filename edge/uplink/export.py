"""Journal records on their way to the outboxes: each becomes an event, a command's also its answer.

A record is marked as exported when it stands in every outbox; what a crash kept from one is sent
at the next start. Not the live samples (`report.py`). The app makes one and calls `start`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from edge.store.journal import Journal
from edge.store.journal_file import Record
from edge.store.outbox import Outbox
from edge.store.outbox_file import EVENT
from edge.uplink import payload

COMMAND: Final = "command"  # the kind of a record that answers a command


class Export:
    """From one journal to all outboxes."""

    def __init__(self, journal: Journal, outboxes: Sequence[Outbox]) -> None:
        self._journal = journal
        self._outboxes = outboxes
        self._reached = [0] * len(outboxes)

    async def start(self) -> None:
        """Send what a crash kept back, then every record as it is stored."""
        if not self._outboxes:
            return
        kept = await self._journal.unexported()
        self._journal.on_stored = self.send
        for record in kept:
            self.send(record)

    def send(self, record: Record) -> None:
        """Queue one record for every broker."""
        body = payload.event(record)
        answer = _answer(record) if record.kind == COMMAND else None
        for k, outbox in enumerate(self._outboxes):
            if answer is not None:
                outbox.add(EVENT, *answer)
            outbox.add(EVENT, payload.EVENT, body, partial(self._stored, k, record.seq))

    def _stored(self, outbox: int, seq: int) -> None:
        before = min(self._reached)
        self._reached[outbox] = max(self._reached[outbox], seq)
        if (reached := min(self._reached)) > before:
            self._journal.exported(reached)


def _answer(record: Record) -> tuple[str, str] | None:
    """Topic and message on `cmdack`, None for a command that came from nearby."""
    data = json.loads(record.data)
    return (f"cmdack/{data['id']}", record.data) if data["via"] == "mqtt" and data["id"] else None
