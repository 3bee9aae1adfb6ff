"""What a controller keeps for its successor, and how the successor takes it up.

Site time goes on over a restart: by the monotonic clock within one boot, by the wall clock over a
reboot if it is trusted, else by nothing. Called by the controller: at start, each minute, at stop;
what drivers learned is also read by `edge check --plan`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bus.runner import BusRunner
from edge.clock import Clock
from edge.commands import Commands
from edge.driver import Kept as DeviceKept
from edge.events import STATE_UNREADABLE, Events
from edge.scan.cycle import Scan
from edge.store.journal import Journal
from edge.store.journal_file import read_state

EVERY = 60.0  # seconds between two savings: what a power cut may cost of counters and timers
WARM = 60.0  # seconds of downtime up to which running equipment is simply taken over
FORM = 1  # of what is kept; another one, of an older or newer version, is not taken up
NAME = "retain"
LATCHES = "latches"  # saved whenever one of them changes
COMMANDS = "commands"  # saved with each answer
DRIVERS = "drivers"  # saved whenever a driver has learned something
WRITES = "writes"  # how often outputs were written; with everything, and what wears out at once


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found. `downtime` is None when nobody knows how long nothing ran.

    `memory` is what drivers keep, by bus and device; `writes` the count of each output.
    """

    data: dict[str, Any]
    commands: dict[str, Any] | None
    downtime: float | None
    memory: dict[str, dict[str, DeviceKept]]
    writes: dict[str, Any]

    @property
    def warm(self) -> bool:
        """Whether the equipment can be taken over without the delay of a cold start."""
        return self.downtime is not None and self.downtime <= WARM


async def take_up(journal: Journal, clock: Clock, events: Events) -> Kept:
    """Load what the last process kept and set the site time; what is unreadable is nothing."""
    data, commands, latches, drivers, writes = [
        await _load(journal, name, events) for name in (NAME, COMMANDS, LATCHES, DRIVERS, WRITES)
    ]
    memory, counts = drivers.get("drivers", {}), writes.get("writes", {})
    if "now" not in data:
        return Kept({}, commands, None, memory, counts)
    downtime: float | None = None
    if data.get("boot") == _boot():
        downtime = max(0.0, clock.uptime() - data["monotonic"])
    elif clock.trusted():
        downtime = max(0.0, clock.wall() - data["wall"])
    clock.resume(data["now"] + (downtime or 0.0))
    if latches.get("now", -math.inf) > data["now"]:
        for part, kept in latches["scan"].items():
            data["scan"][part] = data["scan"].get(part, {}) | kept
    return Kept(data, commands, downtime, memory, counts)


async def _load(journal: Journal, name: str, events: Events) -> dict[str, Any]:
    blob = await journal.load_state(name)
    if not blob:
        return {}
    data = _decoded(blob)
    if data is None:
        events.emit(STATE_UNREADABLE, what=name)
        return {}
    return data


def _decoded(blob: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(blob)
    except ValueError:
        return None
    return data if isinstance(data, dict) and data.get("form") == FORM else None


def _save(journal: Journal, name: str, data: dict[str, Any], within: float = 1.0) -> None:
    journal.save_state(name, json.dumps({"form": FORM, **data}).encode(), within)


def save(journal: Journal, clock: Clock, scan: Scan) -> None:
    """Keep everything for the successor."""
    data = {
        "now": clock.now(),
        "wall": clock.wall(),
        "monotonic": clock.uptime(),
        "boot": _boot(),
        "scan": scan.retain(),
    }
    _save(journal, NAME, data)


def save_writes(journal: Journal, buses: Iterable[BusRunner]) -> None:
    """Keep how often each output was written."""
    counts = {point: b.retain() for runner in buses for point, b in runner.budgets.items()}
    _save(journal, WRITES, {"writes": counts}, within=0.0)


def save_latches(journal: Journal, clock: Clock, scan: Scan) -> None:
    """Keep what a kill must not undo: alarms, silence, tripped interlocks, starts of motors."""
    data = {"now": clock.now(), "scan": scan.retain_latches()}
    _save(journal, LATCHES, data, within=0.0)


def save_commands(journal: Journal, commands: Commands) -> None:
    """Keep leases and known ids; with each answer, so that no command is done twice."""
    _save(journal, COMMANDS, commands.retain(), within=0.0)


def save_drivers(journal: Journal, buses: Iterable[BusRunner]) -> None:
    """Keep what drivers learned of their devices."""
    memory = {runner.bus.id: runner.host.memory for runner in buses if runner.host.memory}
    _save(journal, DRIVERS, {"drivers": memory})


def read_drivers(directory: Path) -> dict[str, dict[str, DeviceKept]]:
    """What drivers learned, by bus and device, from a state directory that is left as it is.

    A controller may be running there. {} when nothing was kept or it cannot be read.
    """
    blob = read_state(directory / "journal.db", DRIVERS)
    data = _decoded(blob) if blob else None
    return {} if data is None else data.get("drivers", {})


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
