"""How much of a serial line's time is used, against the theoretical best of its transactions.

A transaction is 8 characters of request, t3.5, 5 ms in which the device turns round, the answer and
t3.5. `bench.paced` is the line and its device, in a process of its own that keeps these times and
refuses requests that come too early; our bus task (`bench.polling`) wants eight devices polled
four times as fast as the line allows, so that something is always due. Utilisation is the
theoretical time of the completed transactions divided by the time they took, first to last. Beside
it, in the same run, the tightest loop that a master can be (`bench.tight`).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench import rig, tight
from bench.paced import transaction

LINES = {9600: 0.90, 19200: 0.90, 115200: 0.80}  # baud and the least utilisation
GOAL = 0.95
SIZES = (10, 125)
SECONDS, WARM = 6.0, 1.5
UNITS, WANTED = 8, 4  # devices, and how much faster they are to be polled than can be


def measure(directory: Path) -> list[tuple[object, ...]]:
    """The worse of both sizes for each speed."""
    rows: list[tuple[object, ...]] = []
    for baud, least in LINES.items():
        ours = {size: _ours(baud, size) for size in SIZES}
        peer = {size: _tight(baud, size) for size in SIZES}
        each = ", ".join(f"{size} registers {ours[size]:.3f}" for size in SIZES)
        best = ", ".join(f"{peer[size]:.3f}" for size in SIZES)
        rows.append(
            (f"serial line at {baud} bit/s, share of the theoretical best", min(ours.values()), "x",
             least, GOAL, f"{each}; the tightest loop {best}", "least")
        )  # fmt: skip
    return rows


def line(baud: int, units: int = 1, silent: int = 0) -> rig.Running:
    """A paced line; its terminal is the second word of what it told."""
    arguments = [str(baud), str(units), str(silent)]
    return rig.process(sys.executable, "-m", "bench.paced", *arguments)


def polling(bus: dict[str, Any], units: int, registers: int, period: float) -> rig.Running:
    """Our bus task on a bus with so many units."""
    given = {"bus": bus, "units": units, "registers": registers, "period": period}
    return rig.process(sys.executable, "-m", "bench.polling", json.dumps(given))


def _ours(baud: int, size: int) -> float:
    with line(baud, UNITS) as wire:
        bus = {"serial": wire.told.split()[1], "baud": baud}
        with polling(bus, UNITS, size, UNITS * transaction(baud, size) / WANTED) as master:
            time.sleep(WARM)
            before, answers = json.loads(wire.ask()), _answers(master)
            time.sleep(SECONDS)
            after, answers = json.loads(wire.ask()), _answers(master) - answers
    served = sum(after["answered"].values()) - sum(before["answered"].values())
    assert abs(served - answers) <= 1, f"{served} answers were sent, {answers} understood"
    return _used(before, after)


def _tight(baud: int, size: int) -> float:
    with line(baud) as wire:
        before = json.loads(wire.ask())
        tight.run(wire.told.split()[1], baud, size, SECONDS / 2)
        return _used(before, json.loads(wire.ask()))


def _answers(master: rig.Child) -> int:
    return sum(json.loads(master.ask())["answers"].values())


def _used(before: dict[str, Any], after: dict[str, Any]) -> float:
    """The theoretical time of what was completed in between, by the time it took."""
    assert after["early"] == 0, f"{after['early']} requests came before the line was silent"
    assert after["damaged"] == 0
    used: float = (after["busy"] - before["busy"]) / (after["last"] - before["last"])
    return used
