"""When a simulated run makes a scan: where the real controller's would do something.

A real one comes with every answer and at least every `scan.max`; most of them find nothing to do. A
run that scans only where there is something saves nine in ten. There is something to do where

* a point shows something else that is looked at in every scan (`looked_at`), not only by rules
  that have a period and wait for it;
* a period of rules is over: on whole multiples of `QUIET`, or of the shortest period if that is
  shorter. So a rule runs at its period, which the real one keeps to within `scan.max`;
* a minimum time, a lease, a ramp, a schedule, the panel's flashing has its moment (`Scan.due`);
* what one part decided is read by a part that ran before it, or a timer was begun: then scans come
  every `scan.max` for `RECENT` seconds. A timer that is longer is late by `QUIET` at most, where
  the real one's is by `scan.max`: a twentieth of its time.

Nothing here decides. Called by `edge/proof/simulate.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.rules.program import EVERY, FIRST_OPERAND, FIRST_STATE, OPERANDS, Program
from edge.scan.cycle import Scan
from edge.site.site import Site

QUIET: Final = 0.5  # s between two scans at most
RECENT: Final = 10.0  # s for which a timer that was begun is looked at as often as in the field


class Pace:
    """The times of the scans of one run; `after` is called after each."""

    def __init__(self, scan: Scan, site: Site) -> None:
        self._scan, self._image = scan, scan.image
        self._shortest: float = site.scan_max
        programs = scan.programs
        periods = [e for p in programs for e in p.timing[:, EVERY].tolist() if e > 0]
        self._quiet: float = max(self._shortest, min(QUIET, *periods, QUIET))
        polled = {scan.index[name] for b in site.buses for poll in b.polls for name in poll.points}
        read = {program.name: set(_immediate(program)) for program in programs}
        buttons = {at for panel in scan.panels for at in panel.inputs}
        switches = {wire.hoa for wire in scan.outputs.wires if wire.hoa is not None}
        valves = {wire.seen for wire in scan.outputs.wires if wire.seen is not None}
        at_once = set().union(*read.values()) & polled
        self.looked_at = frozenset(at_once | buttons | switches | valves)
        # Read by a program before another part of the same step writes it.
        ours = set(range(self._image.points)) - polled - set(programs.published)
        carried = (read["protect"] | read["control"] | (read["alarm"] & ours)) - polled
        self._carried: NDArray[np.intp] = np.asarray(sorted(carried), np.intp)
        self._timers = [state for program in programs for state in _states(program)]
        self._seen = b""
        self._timed: list[bytes] = []
        self._recent = -math.inf

    def after(self, now: float, wall: float) -> float:
        """When the next step is to be made, if nothing arrives before."""
        seen = self._image.value.take(self._carried).tobytes()
        timed = [state.tobytes() for state in self._timers]
        changed = seen != self._seen
        if timed != self._timed:
            self._recent = now + RECENT
        self._seen, self._timed = seen, timed
        soon = _next(now, self._shortest)
        if changed or now < self._recent:
            return soon
        return min(_next(now, self._quiet), max(soon, self._scan.due(now, wall)))


def _next(now: float, every: float) -> float:
    """The first multiple after `now`: sums of steps would drift."""
    return (math.floor(now / every + 1e-6) + 1) * every


def _immediate(program: Program) -> Iterator[int]:
    """What the instructions without a period read and write: indices into the image."""
    for row, (every, _) in zip(program.code.tolist(), program.timing.tolist(), strict=True):
        if every == 0:
            first = row[FIRST_OPERAND]
            yield from program.ops[first : first + row[OPERANDS]].tolist()


def _states(program: Program) -> list[NDArray[Any]]:
    """The state of the instructions without a period, as few views as there can be."""
    firsts = [*program.code[:, FIRST_STATE].tolist(), len(program.state)]
    spans: list[list[int]] = []
    for k, every in enumerate(program.timing[:, EVERY].tolist()):
        first, stop = firsts[k], firsts[k + 1]
        if every > 0 or first == stop:
            continue
        if spans and spans[-1][1] == first:
            spans[-1][1] = stop
        else:
            spans.append([first, stop])
    return [program.state[first:stop] for first, stop in spans]
