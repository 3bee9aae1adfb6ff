"""The words of `then`: what a scenario can look at, now or over a span of seconds.

Each public method is a word, called with names and numbers as they are written. Times are seconds
after the settling. Alarms and answers are read from the journal. Used by `edge/proof/play.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from drivers.sim.plant_file import VARIABLE, unknown
from edge.proof.sentence import Around
from edge.proof.stage import Stage
from edge.scan.alarms import SILENT
from edge.schema.model import Refusal
from edge.text import Text

CHANGED = 1e-9  # a smaller difference between two scans is no movement


class Seeing:
    """What a step can look at. `wall` is the Unix time at virtual time 0; `records` are those of
    the journal by kind, as they stood at the latest look."""

    def __init__(self, stage: Stage, settle: float, wall: float) -> None:
        self._stage, self._settle, self._wall = stage, settle, wall
        self._records: dict[str, list[dict[str, Any]]] = {
            "alarm": [], "command": [], "correction": [], "zone_loss": []
        }  # fmt: skip

    async def _look(self) -> None:
        """Read the journal; of a controller that does not run it stays as it was."""
        if self._stage.running:
            for kind in self._records:
                self._records[kind] = await self._stage.journal(kind)

    def _words(self) -> Mapping[str, Callable[..., Any]]:
        """The words, bound to this stage."""
        return {name: getattr(self, name) for name in WORDS}

    def value(self, point: str) -> float:
        """A point, as the controller sees it; written as the bare name."""
        return self._stage.value(point)

    def quality(self, point: str) -> str:
        """GOOD, or its BAD bits: COMM, "COMM,STALE", …"""
        return self._stage.quality(point)

    def owner(self, point: str) -> str:
        """The slot that decides an output: control, remote, protect, …"""
        return self._stage.owner(point)

    def bound(self, point: str) -> list[float]:
        """What automatic requests are kept within while nobody sees where a valve stands."""
        low, high = self._stage.bound(point)
        return [] if np.isnan(low) else [low, high]

    def plant(self, variable: str) -> float:
        """`booster.discharge_pressure`: the truth in the model, whatever its sensor says."""
        model, _, name = variable.partition(".")
        seen = self._stage.equipment(model).readings()
        if name not in seen:
            raise unknown(VARIABLE, name, seen)
        return float(seen[name])

    def lowest(self, point: str, since: float, until: float) -> float:
        """The lowest value that was seen between two times."""
        return float(np.nanmin(self._seen(point, since, until)[1]))

    def highest(self, point: str, since: float, until: float) -> float:
        """The highest value that was seen between two times."""
        return float(np.nanmax(self._seen(point, since, until)[1]))

    def falls_to(self, point: str, limit: float, since: float, until: float) -> float:
        """When a point was first seen at `limit` or below it; inf when it was not."""
        times, values = self._seen(point, since, until)
        at = np.flatnonzero(values <= limit)
        return round(float(times[at[0]]) - self._settle, 3) if len(at) else float("inf")

    def settled(self, point: str, band: Around, since: float, until: float) -> float:
        """How long after `since` the value came into the band for good, inf when it did not."""
        times, values = self._seen(point, since, until)
        outside = np.flatnonzero(~(np.abs(values - band.centre) <= band.width + 1e-9))
        if not len(outside):
            return 0.0
        last = outside[-1] + 1
        return float(times[last]) - self._settle - since if last < len(times) else float("inf")

    def fastest(self, point: str, since: float, until: float, over: float = 1.0) -> float:
        """The greatest change within `over` seconds."""
        times, values = self._seen(point, since, until)
        before = np.searchsorted(times, times - over - 1e-9)
        return float(np.nanmax(np.abs(values - values[before])))

    def moves(self, point: str, since: float, until: float) -> list[float]:
        """The times at which a point moved."""
        times, values = self._seen(point, since, until)
        times, values = times[~np.isnan(values)], values[~np.isnan(values)]
        at = np.flatnonzero(np.abs(np.diff(values)) > CHANGED) + 1
        return [round(float(times[i]) - self._settle, 3) for i in at]

    def rises(self, point: str, since: float, until: float) -> list[float]:
        """The times at which a point went from 0 to something."""
        return self._edges(point, since, until, up=True)

    def falls(self, point: str, since: float, until: float) -> list[float]:
        """The times at which a point went to 0."""
        return self._edges(point, since, until, up=False)

    def _edges(self, point: str, since: float, until: float, *, up: bool) -> list[float]:
        times, values = self._seen(point, since, until)
        known = ~np.isnan(values)  # a controller that has just started knows nothing yet
        times, on = times[known], values[known] > 0
        at = np.flatnonzero((~on[:-1] & on[1:]) if up else (on[:-1] & ~on[1:])) + 1
        return [round(float(times[i]) - self._settle, 3) for i in at]

    def _seen(self, point: str, since: float, until: float) -> Any:
        settle, at = self._settle, self._stage.index[point]
        times, values = self._stage.trace.of(at, settle + since, settle + until)
        if not len(times):
            raise Refusal(
                Text(
                    f"{since:g} 至 {until:g} 秒之间没有扫描",
                    f"there was no scan between {since:g} and {until:g} s",
                )
            )
        return times, values

    def writes(self, point: str, since: float, until: float) -> list[float]:
        """What was written to the equipment behind a point, in order."""
        first, last = self._settle + since - 1e-9, self._settle + until + 1e-9
        return [v for t, p, v in self._stage.line.written if p == point and first <= t <= last]

    def disturbance(self, since: float, until: float) -> tuple[float, str]:
        """By how much any output was moved from where it stood at `since`, in % of its range, and
        which one."""
        worst = 0.0, ""
        for point in self._stage.outputs():
            before = self._seen(point.id, since - 60, since)[1][-1]
            span = point.high - point.low if np.isfinite(point.high - point.low) else 1.0
            for value in self.writes(point.id, since, until):
                worst = max(worst, (100 * float(abs(value - before)) / span, point.id))
        return worst

    def alarms(self, state: str = "") -> list[str]:
        """The alarms in a state; without one, all that are neither NORMAL nor SUPPRESSED."""
        rows = self._stage.controller.scan.alarms.states.values()
        return sorted(
            row.alarm.id for row in rows
            if (row.state == state if state else row.state not in SILENT)
        )  # fmt: skip

    def states(self, alarm: str) -> list[str]:
        """Every state that an alarm came to, from the journal."""
        return [r["state"] for r in self._records["alarm"] if r["alarm"] == alarm]

    def raised(self, alarm: str = "") -> list[float]:
        """When an alarm (any, without a name) was raised, from the journal."""
        return [self._time(r["ts"] / 1000) for r in self._records["alarm"]
                if alarm in ("", r["alarm"]) and r["cause"] == "raised"]  # fmt: skip

    def live(self, alarm: str, point: str) -> float:
        """The live value of a point that an alarm shows."""
        row = self._stage.controller.scan.alarms.states[alarm]
        return float(self._stage.controller.view.alarm_state(row)["numbers"][point])

    def priority(self, alarm: str) -> int:
        """1 to 4."""
        return self._stage.controller.scan.alarms.states[alarm].alarm.priority

    def checks(self, alarm: str, language: str) -> list[str]:
        """The first checks, in `zh` or `en`, from the journal."""
        found = [r["checks"] for r in self._records["alarm"] if r["alarm"] == alarm]
        return [check[language] for check in found[-1]]

    def answers(self, command: str) -> list[str]:
        """Each answer to a command as "STATE" or "STATE code", from the journal."""
        return [f"{r['state']} {r['code']}".strip() for r in self._answers(command)]

    def answered(self, command: str, answer: str) -> float:
        """When a command first came to an answer; inf when it did not."""
        times = [r["ts"] for r in self._answers(command) if r["state"] == answer]
        return self._time(times[0] / 1000) if times else float("inf")

    def _answers(self, command: str) -> list[dict[str, Any]]:
        return [r for r in self._records["command"] if r["id"] == command]

    def corrections(self, rule: str, state: int) -> list[float]:
        """When an automatic correction, or the isolation of a zone, came to a state, from the
        journal."""
        records = (*self._records["correction"], *self._records["zone_loss"])
        return [self._time(r["ts"] / 1000) for r in records
                if (r["rule"], r["state"]) == (rule, state)]  # fmt: skip

    def exit_code(self) -> int | None:
        """Of the controller that ended last; None while none has ended."""
        return self._stage.exit_code()

    def requests(self, device: str) -> int:
        """How many requests a device has got so far."""
        return self._stage.line.requests[device]

    def probes(self, device: str) -> int:
        """How many of them only asked whether it is there."""
        return self._stage.line.probes[device]

    def events(self, code: str) -> int:
        """How often the controller that runs now emitted an event."""
        return self._stage.controller.events.counts[code]

    def _time(self, wall: float) -> float:
        return round(wall - self._wall - self._settle, 3)


WORDS: Mapping[str, Callable[..., Any]] = {
    name: word for name, word in vars(Seeing).items() if not name.startswith("_")
}
