"""`edge run --record`: all that goes into the scan, kept in a file while the controller runs.

For finding out afterwards, with `edge replay` and `edge explain --record`. It never holds up the
scan: lines are compressed in a thread, and a full disk or a long run ends the record, not the run.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import edge
from edge.clock import Clock
from edge.errors import Unusable
from edge.events import RECORD_ENDED, RECORDING, Events
from edge.rules.kernel import digest
from edge.scan.cycle import Scan
from edge.scan.record import Record, recorded
from edge.site.site import Site
from edge.text import Text

LARGEST: Final = 500_000_000  # bytes
EVERY: Final = 1.0  # s


def head(site: Site, started: float) -> dict[str, object]:
    """What a record says of itself: which site and which program it can be gone through with."""
    return {
        "site": site.id, "file": str(site.file), "digest": site.digest,
        "version": f"{edge.__version__} {digest()}", "started": started,
    }  # fmt: skip


class Recording:
    """One record of one run. Made before the scan's first step; `run` is an edge task."""

    def __init__(self, path: Path, scan: Scan, site: Site, clock: Clock, events: Events) -> None:
        self._events, self.path, self._clock = events, path, clock
        try:
            self._record = Record(path, head(site, clock.wall()))
        except OSError as error:
            raise Unusable(
                Text(f"无法写入 {path}: {error}", f"{path} cannot be written: {error}")
            ) from error
        recorded(scan, self._record)

    async def run(self) -> None:
        """Write once a second until the record is full or cannot be written."""
        self._events.emit(RECORDING, file=self.path)
        while True:
            await asyncio.sleep(EVERY)
            if self._record.ended:
                continue
            try:
                await asyncio.to_thread(self._record.write, self._record.take())
                if self.path.stat().st_size > LARGEST:
                    raise OSError(f"{LARGEST / 1e6:.0f} MB")
            except OSError as error:
                self._record.ended = True
                self._events.emit(RECORD_ENDED, file=self.path, reason=str(error))

    def close(self) -> None:
        """Write the end of it, unless it ended before."""
        try:
            self._record.close()
        except OSError as error:
            self._events.emit(RECORD_ENDED, file=self.path, reason=str(error))
