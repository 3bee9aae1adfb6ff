"""The scan: one synchronous step from what arrived to what is written, raised and reported.

    latch → withdraw what expired → agendas → protect → control → arbiter → alarms → panel
          → outputs → what changed

No await, no I/O, no clock of its own: the same arrivals and the same `now` give the same results,
bit for bit. Called by the scan task of `edge.app`, by scenario tests and by replays. One of the
two places where `except Exception` stands: a bug in the rules must not end the protections.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.blocks.kind import Kind
from edge.driver import Write
from edge.events import ALARMS_FAILED, CONTROL_FAILED, PROTECT_FAILED, START_DEFERRED, Events
from edge.image import quality
from edge.image.image import Bits, Floats, ProcessImage
from edge.rules.program import Program, Programs
from edge.scan.alarms import Alarms, Transition
from edge.scan.annunciator import Panel
from edge.scan.arbiter import Arbiter
from edge.scan.arrivals import Arrivals
from edge.scan.audits import Audit, Audits
from edge.scan.bounds import Seen
from edge.scan.outputs import Outputs, following_points
from edge.scan.wiring import wires
from edge.site.site import Role, Site

AGE_EVERY = 0.5  # seconds between looks for values that have become too old
WARM = -math.inf  # of `Scan.cold_for`: the process was away, the plant was not
PROTECT_FAILURES = 10  # steps in a row with a failing protect program, then the process ends

Run = Callable[[Program, ProcessImage, float], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a person or a remote system on its way to the ladder; NaN withdraws."""

    slot: int
    ordinal: int
    value: float
    expires: float


@dataclass(slots=True)
class Outcome:
    """What a step brought: indices of changed points, alarm transitions, writes by bus.

    `resets` are the interlocks and rules that the panel's button reset, `audits` what rules did
    that must be on record. `latched`: something changed that a kill must not undo
    (`Scan.retain_latches`).
    """

    changed: Sequence[int]
    transitions: list[Transition]
    writes: list[tuple[str, Write]]
    resets: list[str]
    audits: list[Audit]
    latched: bool


class Scan:
    """The controller's middle. Bus tasks deliver into it, commands ask it, `step` decides.

    `run` executes a program on the image. `wake` is called when something arrived. `cold_for` is
    how long after a cold start nothing is written, in seconds from the first step; `WARM` for a
    warm one.
    """

    def __init__(
        self,
        site: Site,
        kinds: Mapping[str, Kind],
        programs: Programs,
        run: Run,
        events: Events,
    ) -> None:
        self.site, self.programs, self._events, self._run = site, programs, events, run
        self.index = site.index()
        self.ordinals = {site.points[i].id: c for c, i in enumerate(programs.commandable)}
        self.image = image = programs.image()
        self._buffers = image.value.data, image.quality.data, image.stamp.data
        self.outputs = Outputs(wires(site, kinds), image, events)
        valves = [
            Seen(w.ordinal, w.seen, *w.travel) for w in self.outputs.wires if w.seen is not None
        ]
        self.arbiter = Arbiter(
            image, list(self.ordinals), [w.output for w in self.outputs.wires], valves
        )
        self.alarms = Alarms(site.alarms, image, self.index, programs.active, programs.suppressed)
        self.panels = [Panel(a, image, self.index, self.ordinals) for a in site.annunciators]
        self.wake: Callable[[], None] = lambda: None
        self.steps = 0
        self.protect_failures = 0
        self.arrivals = Arrivals(image)
        self._asks: deque[Ask] = deque()
        self._resets: list[int] = []
        self._panel_resets: list[str] = []
        self._following = following_points(self.outputs, self.index)
        self._max_age: Floats = np.asarray([p.max_age for p in site.points])
        self._report: Floats = np.asarray([p.report for p in site.points])
        self._reported: Floats = np.full(image.points, np.nan)
        self._reported_bits: Bits = np.full(image.points, quality.NEVER, np.uint16)
        # Polled points come first; what follows is written by us and compared in every step.
        # Between them is what is local: taken in, and never reported.
        self._polled = sum(len(poll.points) for bus in site.buses for poll in bus.polls)
        self._own = self._polled + sum(point.local for point in site.points)
        ours = (Role.VIRTUAL, Role.SETPOINT)
        virtual = [i for i, p in enumerate(site.points) if p.role in ours and not p.local]
        self._virtual = np.asarray(virtual, np.intp)
        self._resettable = {
            id: self.index[f"{id}.tripped"]
            for id in programs.resets if f"{id}.tripped" in self.index
        }  # fmt: skip
        tripped = {**programs.tripped, **self._resettable}
        self._tripped = np.asarray(list(tripped.values()), np.intp)
        self._audits = Audits(site, kinds, image)
        self._latches: tuple[bytes, int, int, list[bool]] | None = None
        self._next_age = -math.inf
        self.cold_for, self._cold_until = 0.0, math.nan
        self._agenda_until = [-math.inf] * len(programs.agendas)
        self._next_agenda = -math.inf
        self._last_wall = -math.inf
        self._control_ok = True
        self._protect_ok = True
        self._alarm_ok = True

    # What bus tasks bring (`edge.bus.runner.Sink`).

    def deliver(self, first: int, values: Floats, bits: Bits, now: float) -> None:
        """A poll's answer."""
        self.put(first, values, bits, now)
        self.wake()

    def put(self, first: int, values: Floats, bits: Bits, now: float) -> None:
        """Values that wait for the next step, whenever it comes."""
        self.arrivals.put(first, values, bits, now)

    def take(
        self, at: Sequence[int], values: Sequence[float], bits: Sequence[int], now: float
    ) -> None:
        """Points anywhere, at once; for whoever makes the steps himself, between two of them."""
        value, quality, stamp = self._buffers
        for k, number, bit in zip(at, values, bits, strict=True):
            value[k], quality[k], stamp[k] = number, bit, now  # type: ignore[call-overload] # floats

    def again(self, at: NDArray[np.intp], now: float) -> None:
        """The same for points that show what they showed: they are as new as this."""
        self.image.stamp[at] = now

    def failed(self, first: int, count: int, bits: int, now: float) -> None:
        """These points could not be read."""
        self.arrivals.put_failure(first, count, bits)
        self.wake()

    def online(self, device: str, online: bool, now: float) -> None:
        """A device was lost or came back."""
        self.tell(f"{device}.online", float(online), now)
        if online:
            self.outputs.returned(device, now)

    def written(self, write: Write, now: float) -> None:
        """A device acknowledged a write, or is known to hold it."""
        self.outputs.written(write, now)

    def unverified(self, write: Write, now: float) -> None:
        """Nobody knows whether a device carried out a write, and it will not be repeated."""
        self.outputs.written(write, now, sure=False)

    def tell(self, point: str, value: float, now: float) -> None:
        """Set a virtual point that belongs to the machinery, such as `<device>.online`."""
        if (at := self.index.get(point)) is not None:
            self.arrivals.put(at, np.asarray([value]), np.zeros(1, np.uint16), now)
            self.wake()

    # What people and remote systems ask.

    def ask(self, slot: int, point: str, value: float, expires: float) -> None:
        """Put a request on the ladder at the next step; NaN withdraws it."""
        self._asks.append(Ask(slot, self.ordinals[point], value, expires))
        self.wake()

    def reset_interlock(self, interlock: str) -> bool:
        """Release a tripped interlock, or a rule's lockout, at the next step; False when there is
        none of that id."""
        cell = self.programs.resets.get(interlock)
        if cell is None:
            return False
        self._resets.append(cell)
        self.wake()
        return True

    def acknowledge(self, alarm: str, n: int, by: str, now: float, wall: float) -> bool:
        """A person has seen the alarm; False when there is nothing to acknowledge (any more)."""
        return self.alarms.acknowledge(alarm, n, by, now, wall)

    def reset_alarm(self, alarm: str, by: str, now: float, wall: float) -> bool:
        """Release the latch of an alarm whose cause is gone; False when it is not."""
        return self.alarms.reset(alarm, by, now, wall)

    @property
    def waiting(self) -> bool:
        """Whether arrivals were left for the next step."""
        return bool(self.arrivals)

    def due(self, now: float, wall: float) -> float:
        """After a step: when the next one has something to do although nothing arrives. Not when
        a rule has: those have periods and timers of their own."""
        if self.outputs.holding or self._asks or self._resets or self.waiting:
            return now
        return min(
            self.arbiter.due, self.outputs.due, self.alarms.due, now + self._next_agenda - wall,
            *[panel.due(now) for panel in self.panels],
        )  # fmt: skip

    def step(self, now: float, wall: float, trusted: bool) -> Outcome:
        """Decide everything at site time `now`, wall time `wall`."""
        self.steps += 1
        slices = self._latch(now)
        self.arbiter.expire(now)
        while self._asks:
            ask = self._asks.popleft()
            self.arbiter.ask(ask.slot, ask.ordinal, ask.value, ask.expires)
        self._agendas(wall, trusted)
        self._programs(now)
        self.arbiter.step(now, self.outputs.held, self.outputs.undriven())
        self._release(now)
        transitions = self._alarm(now, wall)
        writes = self._writes(now)
        for point, until in self.arbiter.deferred:
            self._events.emit(START_DEFERRED, point=point, wait=until - now)
        self.arbiter.deferred.clear()
        resets, self._panel_resets = self._panel_resets, []
        audits = self._audits.step(wall)
        latched = self._latched(transitions) or bool(audits)
        return Outcome(self._changed(slices), transitions, writes, resets, audits, latched)

    # The phases, in order.

    def _latch(self, now: float) -> list[tuple[int, int]]:
        """Take arrivals into the image, one answer per poll, and look for what is too old."""
        slices = self.arrivals.latch()
        if now >= self._next_age:
            self._next_age = now + AGE_EVERY
            if self._age(now):
                slices.append((0, self._polled))  # nothing else grows old
        return slices

    def _age(self, now: float) -> bool:
        image = self.image
        old = now - image.stamp > self._max_age
        old &= image.quality[: image.points] & (quality.STALE | quality.NEVER) == 0
        image.quality[: image.points][old] |= quality.STALE
        return bool(old.any())

    def _agendas(self, wall: float, trusted: bool) -> None:
        image, back = self.image, wall < self._last_wall
        self._last_wall = wall
        if trusted and not back and wall < self._next_agenda:
            return
        for k, cell in enumerate(self.programs.agendas):
            if not trusted:
                image.quality[cell.index] = quality.NEVER
                self._agenda_until[k] = -math.inf
            elif back or wall >= self._agenda_until[k]:
                agenda = cell.at(wall)
                image.value[cell.index], self._agenda_until[k] = agenda.value, agenda.until
                image.quality[cell.index] = quality.GOOD
        self._next_agenda = min(self._agenda_until, default=math.inf)

    def _programs(self, now: float) -> None:
        image = self.image
        for cell in self._resets:
            image.value[cell] = 1.0
        self._resets.clear()
        error = self._attempt(self.programs.protect, now)
        if error is not None and self._protect_ok:
            self._events.emit(PROTECT_FAILED, error=repr(error), exc_info=error)
        self._protect_ok = error is None
        self.protect_failures = 0 if self._protect_ok else self.protect_failures + 1
        error = self._attempt(self.programs.control, now)
        if error is not None:
            if self._control_ok:
                self._events.emit(CONTROL_FAILED, error=repr(error), exc_info=error)
            image.value[self.programs.control.requests] = np.nan
        self._control_ok = error is None
        image.stamp[self._virtual] = now

    def _attempt(self, program: Program, now: float) -> Exception | None:
        try:
            self._run(program, self.image, now)
        except Exception as error:  # noqa: BLE001 - a bug in one program must not end the others
            return error
        return None

    def _release(self, now: float) -> None:
        """Let outputs go whose inputs are known: their rules start anew from the read-back."""
        if math.isnan(self._cold_until):
            self._cold_until = now + self.cold_for
        released = self.outputs.ready(now, now - self._cold_until)
        for wire in released:
            value = self.outputs.release(wire, now)
            self.arbiter.adopt(wire.ordinal, value, now)
        if released:
            rules = {f"rules.{rule}" for wire in released for rule in wire.rules}
            self.programs.control.restart(rules)
            self._attempt(self.programs.control, now)
            self.arbiter.step(now, self.outputs.held, self.outputs.undriven())

    def _alarm(self, now: float, wall: float) -> list[Transition]:
        for panel in self.panels:
            if panel.buttons(self.alarms, now, wall):
                self._reset_tripped()
        error = self._attempt(self.programs.alarm, now)
        if error is not None and self._alarm_ok:
            self._events.emit(ALARMS_FAILED, error=repr(error), exc_info=error)
        self._alarm_ok = error is None
        transitions = self.alarms.step(now, wall)
        for panel in self.panels:
            panel.show(self.alarms, transitions, now, known=self._alarm_ok)
        return transitions

    def _reset_tripped(self) -> None:
        """The reset button: everything that is tripped, at the next step, if its cause is gone."""
        for id, at in self._resettable.items():
            if self.image.value[at] > 0.0:  # how many, where a rule locks several out
                self.reset_interlock(id)
                self._panel_resets.append(id)

    def _latched(self, transitions: list[Transition]) -> bool:
        before, self._latches = self._latches, (
            self.image.value[self._tripped].tobytes(),
            self.arbiter.switched,
            self.arbiter.bounds.turns,
            [panel.silenced for panel in self.panels],
        )  # fmt: skip
        return bool(transitions) or self._latches != before

    def _writes(self, now: float) -> list[tuple[str, Write]]:
        if not self._protect_ok:
            first = self.protect_failures == 1
            return self.outputs.failsafe(now, explicit_only=False) if first else []
        writes = self.outputs.step(now)
        if not self.outputs.verified:
            return writes
        self.outputs.verified = False
        for at, ordinals in self._following.items():
            self.image.value[at] = float(self.outputs.following[ordinals].all())
            self.image.quality[at] = quality.GOOD
        return writes

    def _changed(self, slices: list[tuple[int, int]]) -> list[int]:
        """Points that moved beyond their `report`, or whose quality changed."""
        image, found = self.image, []
        for first, stop in (*slices, (self._own, image.points)):
            if self._polled <= first < self._own:
                continue
            value, bits = image.value[first:stop], image.quality[first:stop]
            moved = np.abs(value - self._reported[first:stop]) > self._report[first:stop]
            moved |= bits != self._reported_bits[first:stop]
            if moved.any():
                at = np.flatnonzero(moved) + first
                self._reported[at], self._reported_bits[at] = image.value[at], image.quality[at]
                found += at.tolist()
        return found

    # What survives a restart.

    def failsafe(self, now: float) -> list[tuple[str, Write]]:
        """The writes of an ordered stop: explicit failsafe values only."""
        return self.outputs.failsafe(now, explicit_only=True)

    def retain(self) -> dict[str, Any]:
        """Everything the next process needs to go on, as plain data.

        Not what persons ask for, setpoints included: `edge.commands` keeps that and checks it anew.
        """
        return {**self.retain_latches(), "rules": self.programs.retained()}

    def retain_latches(self) -> dict[str, Any]:
        """The part of `retain` that must be kept whenever it changes: a kill gives no notice."""
        return {
            "rules": self.programs.retained(latches=True, also=self._audits.owners),
            "alarms": self.alarms.retain(),
            "arbiter": self.arbiter.retain(),
            "positions": self.arbiter.bounds.retain(),
            "panels": {panel.id: panel.retain() for panel in self.panels},
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where the last process stopped; what no longer fits the site is left out."""
        self.programs.restore(data.get("rules", {}))
        self.alarms.restore(data.get("alarms", {}))
        for id, row in self.alarms.states.items():
            self.programs.set_active(id, row.active)
        self.arbiter.restore(data.get("arbiter", {}))
        self.arbiter.bounds.restore(data.get("positions", {}))
        for panel in self.panels:
            panel.restore(data.get("panels", {}).get(panel.id))
