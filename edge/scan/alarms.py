"""Alarm states after ISA-18.2 / IEC 62682: raised, acknowledged, cleared, latched, suppressed.

The kernel has already applied limits, deadbands and delays: here one flag per alarm comes in and
transitions come out. Not the texts (site), not the panel (`annunciator.py`), not escalation.
Called by `cycle.py` once per step and by commands of people between steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from edge.image import quality
from edge.image.image import Bits, Floats, ProcessImage
from edge.site.site import Alarm


class State(StrEnum):
    """The states of ISA-18.2, as they stand in the journal, upstream and on the page."""

    NORMAL = "NORMAL"
    UNACK = "UNACK"
    ACKED = "ACKED"
    RTN_UNACK = "RTN_UNACK"
    LATCHED_UNACK = "LATCHED_UNACK"
    LATCHED_ACKED = "LATCHED_ACKED"
    SUPPRESSED = "SUPPRESSED"


WAIT = 10.0  # seconds after the first step for what suppresses an alarm to be read once
UNKNOWN = 0xFFFF  # no quality: looked at again in the next step

SILENT = frozenset({State.NORMAL, State.SUPPRESSED})
UNACKNOWLEDGED = frozenset({State.UNACK, State.RTN_UNACK, State.LATCHED_UNACK})

# (state, latching) -> state when the cause appears, or goes away.
_RISES = {s: State.UNACK for s in State if s not in (State.ACKED, State.SUPPRESSED)}
_FALLS = {
    (State.UNACK, False): State.RTN_UNACK,
    (State.UNACK, True): State.LATCHED_UNACK,
    (State.ACKED, False): State.NORMAL,
    (State.ACKED, True): State.LATCHED_ACKED,
}
_ACKS = {
    State.UNACK: State.ACKED,
    State.RTN_UNACK: State.NORMAL,
    State.LATCHED_UNACK: State.LATCHED_ACKED,
}


@dataclass(slots=True)
class AlarmState:
    """One alarm now. `occurrence` counts activations; `raised` is site time, NaN before the first.

    `numbers` are the values of the alarm's `shows` points when it was raised.
    """

    alarm: Alarm
    state: State = State.NORMAL
    active: bool = False
    suppressed: bool = False
    uncertain: bool = False
    occurrence: int = 0
    raised: float = math.nan
    raised_wall: float = math.nan
    acked: float = math.nan
    acked_by: str = ""
    numbers: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The present state for upstream; `raised` in Unix ms, None when it never was."""
        raised = None if math.isnan(self.raised_wall) else round(self.raised_wall * 1000)
        return {
            "alarm": self.alarm.id, "n": self.occurrence, "priority": self.alarm.priority,
            "state": self.state.value, "raised": raised, "by": self.acked_by,
            "numbers": self.numbers, "uncertain": self.uncertain, **_words(self.alarm),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Transition:
    """One alarm changed its state: a line of the journal, an event upstream."""

    alarm: Alarm
    occurrence: int
    before: State
    state: State
    cause: str  # raised, cleared, acknowledged, reset, suppressed, unsuppressed, re-alarm
    by: str
    now: float
    wall: float
    numbers: Mapping[str, float]
    uncertain: bool

    def as_json(self) -> dict[str, Any]:
        """For the journal, which goes upstream too."""
        return {
            "alarm": self.alarm.id, "n": self.occurrence, "priority": self.alarm.priority,
            "before": self.before.value, "state": self.state.value, "cause": self.cause,
            "by": self.by, "ts": round(self.wall * 1000), "numbers": dict(self.numbers),
            "uncertain": self.uncertain, **_words(self.alarm),
        }  # fmt: skip


def _words(alarm: Alarm) -> dict[str, Any]:
    return {"text": alarm.text._asdict(), "checks": [check._asdict() for check in alarm.checks]}


class Alarms:
    """All alarms of a site, in the order of `Site.alarms`.

    `active` and `suppressed` are cell indices into the image, one per alarm.
    """

    def __init__(
        self,
        alarms: Sequence[Alarm],
        image: ProcessImage,
        index: Mapping[str, int],
        active: Sequence[int],
        suppressed: Sequence[int],
    ) -> None:
        self.states = {a.id: AlarmState(a) for a in alarms}
        self._rows = list(self.states.values())
        self._image, self._index = image, index
        self._cells = np.asarray([*active, *suppressed], np.intp)
        self._looked = b"", b""  # the cells as they were at the last look
        self._seen: Floats = np.zeros(len(self._cells))
        self._seen_bad: Bits = np.zeros(len(self._cells), np.uint16)
        self._transitions: list[Transition] = []
        self._next_re_alarm = -math.inf
        self._wait_until = math.nan

    @property
    def due(self) -> float:
        """When a step must look again although no flag has changed."""
        return self._next_re_alarm

    def step(self, now: float, wall: float) -> list[Transition]:
        """Take in the flags; return all that changed since the last step, also by people."""
        values, bits = self._image.value[self._cells], self._image.quality[self._cells]
        cells = values.tobytes(), bits.tobytes()
        if cells != self._looked:
            self._look(values, bits, now, wall)
            # What is not known yet is looked at again, though its cells are the same.
            self._looked = (b"", b"") if (self._seen_bad == UNKNOWN).any() else cells
        if now >= self._next_re_alarm:
            self._re_alarm(now, wall)
        transitions, self._transitions = self._transitions, []
        return transitions

    def _look(self, values: Floats, bits: Bits, now: float, wall: float) -> None:
        flags = values == 1.0  # NaN is not raised
        bad: Bits = (bits & quality.BAD).astype(np.uint16)
        changed = np.flatnonzero((flags != self._seen) | (bad != self._seen_bad))
        if math.isnan(self._wait_until):
            self._wait_until = now + WAIT
        if len(changed):
            count = len(self._rows)
            for k in dict.fromkeys(int(i) % count for i in changed):
                if bad[k + count] & quality.NEVER and now < self._wait_until:
                    bad[k + count] = UNKNOWN
                    continue
                suppressed = bool(flags[k + count]) and not bad[k + count]
                self._rows[k].uncertain = bool(bad[k])
                self._process(self._rows[k], bool(flags[k]), suppressed, now, wall)
            self._seen, self._seen_bad = flags.astype(np.float64), bad

    def acknowledge(
        self, alarm: str, occurrence: int | None, by: str, now: float, wall: float
    ) -> bool:
        """A person has seen it. False when there is nothing to acknowledge (any more)."""
        row = self.states[alarm]
        after = _ACKS.get(row.state)
        if after is None or occurrence not in (None, row.occurrence):
            return False
        row.acked, row.acked_by = now, by
        self._next_re_alarm = min(self._next_re_alarm, now + row.alarm.re_alarm)
        self._move(row, after, "acknowledged", by, now, wall)
        return True

    def reset(self, alarm: str, by: str, now: float, wall: float) -> bool:
        """Release the latch of an acknowledged alarm whose cause is gone; False if it is not."""
        row = self.states[alarm]
        if row.state is not State.LATCHED_ACKED or row.active:
            return False
        self._move(row, State.NORMAL, "reset", by, now, wall)
        return True

    def _process(
        self, row: AlarmState, active: bool, suppressed: bool, now: float, wall: float
    ) -> None:
        rose, fell = active and not row.active, row.active and not active
        row.active = active
        if suppressed != row.suppressed:
            row.suppressed = suppressed
            if suppressed:
                self._move(row, State.SUPPRESSED, "suppressed", "", now, wall)
            else:  # recompute from the process
                after = State.UNACK if active else State.NORMAL
                self._move(row, after, "unsuppressed", "", now, wall)
        elif row.state is State.SUPPRESSED:
            return
        elif rose and row.state in _RISES:
            self._move(row, State.UNACK, "raised", "", now, wall)
        elif fell and (row.state, row.alarm.latch) in _FALLS:
            self._move(row, _FALLS[row.state, row.alarm.latch], "cleared", "", now, wall)

    def _move(
        self, row: AlarmState, after: State, cause: str, by: str, now: float, wall: float
    ) -> None:
        before, row.state = row.state, after
        if after is State.UNACK and cause != "re-alarm":
            row.occurrence += 1
            row.raised, row.raised_wall = now, wall
            row.acked, row.acked_by = math.nan, ""
            row.numbers = self.live_numbers(row.alarm)
        if before is after or {before, after} <= SILENT:
            return  # suppressed while nothing was wrong: nobody has to know
        self._transitions.append(
            Transition(
                row.alarm, row.occurrence, before, after, cause, by, now, wall,
                self.live_numbers(row.alarm), row.uncertain,
            )
        )  # fmt: skip

    def _re_alarm(self, now: float, wall: float) -> None:
        self._next_re_alarm = math.inf
        for row in self._rows:
            if row.state is not State.ACKED:
                continue
            if now - row.acked >= row.alarm.re_alarm:
                self._move(row, State.UNACK, "re-alarm", "", now, wall)
            else:
                due = row.acked + row.alarm.re_alarm
                self._next_re_alarm = min(self._next_re_alarm, due)

    def live_numbers(self, alarm: Alarm) -> dict[str, float]:
        """The present values of what the alarm shows; JSON has no word for what is no number."""
        values = {p: float(self._image.value[self._index[p]]) for p in alarm.shows}
        return {p: v for p, v in values.items() if math.isfinite(v)}

    def retain(self) -> dict[str, Any]:
        """What must survive a restart, as plain data."""
        return {
            row.alarm.id: [
                row.state.value, row.active, row.occurrence, row.raised, row.raised_wall,
                row.acked, row.acked_by, row.numbers,
            ]
            for row in self._rows
            if row.occurrence
        }  # fmt: skip

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where the last process stopped: what was acknowledged does not sound again."""
        for k, row in enumerate(self._rows):
            if row.alarm.id not in data:
                continue
            state, row.active, row.occurrence, row.raised, row.raised_wall, *rest = data[
                row.alarm.id
            ]
            row.acked, row.acked_by, row.numbers = rest
            row.state = State(state)
            row.suppressed = row.state is State.SUPPRESSED
            self._seen[k] = row.active
            self._seen[k + len(self._rows)] = row.suppressed
