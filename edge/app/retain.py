"""What a controller keeps for its successor, and how the successor takes it up.

Site time goes on over a restart: by the monotonic clock within one boot, by the wall clock over a
reboot if it is trusted, else by nothing. Called by the controller: at start, each minute, at stop.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.scan.cycle import Scan
from edge.store.journal import Journal

EVERY = 60.0  # seconds between two savings: what a power cut may cost of counters and timers
WARM = 60.0  # seconds of downtime up to which running equipment is simply taken over
NAME = "retain"
ALARMS = "alarms"  # saved with each transition


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found. `downtime` is None when nobody knows how long nothing ran."""

    data: dict[str, Any]
    downtime: float | None

    @property
    def warm(self) -> bool:
        """Whether the equipment can be taken over without the delay of a cold start."""
        return self.downtime is not None and self.downtime <= WARM


async def take_up(journal: Journal, clock: Clock) -> Kept:
    """Load what the last process kept and set the site time; an unreadable rest is nothing."""
    blob = await journal.load_state(NAME)
    try:
        data = json.loads(blob) if blob else {}
    except ValueError:
        data = {}
    if "now" not in data:
        return Kept({}, None)
    downtime: float | None = None
    if data.get("boot") == _boot():
        downtime = max(0.0, clock.uptime() - data["monotonic"])
    elif clock.trusted():
        downtime = max(0.0, clock.wall() - data["wall"])
    clock.resume(data["now"] + (downtime or 0.0))
    if alarms := await journal.load_state(ALARMS):
        data["scan"]["alarms"] = json.loads(alarms)
    return Kept(data, downtime)


def save(journal: Journal, clock: Clock, scan: Scan, leases: Any) -> None:
    """Keep everything for the successor."""
    data = {
        "now": clock.now(),
        "wall": clock.wall(),
        "monotonic": clock.uptime(),
        "boot": _boot(),
        "scan": scan.retain(),
        "commands": leases,
    }
    journal.save_state(NAME, json.dumps(data).encode())


def save_alarms(journal: Journal, scan: Scan) -> None:
    """Keep the alarm states; with each transition, so that nothing sounds twice."""
    journal.save_state(ALARMS, json.dumps(scan.alarms.retain()).encode(), within=0.0)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
