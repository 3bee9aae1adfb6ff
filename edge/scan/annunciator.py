"""The panel on the wall: beacon, buzzer and alarm relay out; silence, acknowledge, reset, test in.

Works with network, broker and page down: it needs the scan only. Called by `cycle.py` after the
alarms of a step; asks for its outputs at slot `control`, so that a protection may still win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.scan.alarms import SILENT, UNACKNOWLEDGED, Alarms, State, Transition
from edge.site.site import Alarm, Annunciator

PANEL = "panel, unauthenticated"
SHOWN = 3  # priorities 1-3 are annunciated, 4 is advice
TEST_SECONDS = 5.0
SILENCE_SECONDS = 600.0  # after which an unacknowledged priority 1 sounds again
FAST_HZ, SLOW_HZ = 2.0, 0.5
FLASHING = frozenset({State.UNACK, State.LATCHED_UNACK, State.RTN_UNACK})


class Panel:
    """One annunciator. `commandable` gives an output's ordinal, `index` a point's place."""

    def __init__(
        self,
        config: Annunciator,
        image: ProcessImage,
        index: Mapping[str, int],
        commandable: Mapping[str, int],
    ) -> None:
        self._image = image
        self._buttons = {
            name: index[point]
            for name in ("silence", "acknowledge", "reset", "test")
            if (point := getattr(config, name)) is not None
        }
        self.id = config.id
        self._outputs = {
            name: commandable[point]
            for name in ("beacon", "buzzer", "relay")
            if (point := getattr(config, name)) is not None
        }
        self._pressed = dict.fromkeys(self._buttons, True)  # a stuck button acts only once released
        self._inputs = np.asarray(list(self._buttons.values()), np.intp)
        self._looked = b"", b""  # the inputs at the last look
        self._silenced = math.inf  # since when; +inf: not silenced
        self._test_until = -math.inf
        self._states: set[State] | None = None  # of all shown alarms, None: not looked at yet
        self._unacked_p1 = False
        self._still: tuple[bool, bool, bool] | None = None  # what was shown last, if it stands

    @property
    def silenced(self) -> bool:
        """Whether somebody has silenced the buzzer."""
        return not math.isinf(self._silenced)

    def retain(self) -> float | None:
        """Since when it is silenced, None when it is not."""
        return self._silenced if self.silenced else None

    def restore(self, silenced: float | None) -> None:
        """A restart does not sound what a person has silenced."""
        self._silenced = math.inf if silenced is None else silenced

    def silence(self, now: float) -> None:
        """Buzzer off until something new; states unchanged."""
        self._silenced = now

    @property
    def inputs(self) -> list[int]:
        """The points of its buttons."""
        return list(self._buttons.values())

    def due(self, now: float) -> float:
        """When it next shows something else although no alarm changes and nobody presses."""
        if self._still is not None and not self._still[1] and not self._unacked_p1:
            return math.inf  # as most of the time: nothing flashes, is tested or was silenced
        states = self._states or set()
        moments = [self._test_until] if now < self._test_until else []
        if self._unacked_p1 and self.silenced:
            moments.append(self._silenced + SILENCE_SECONDS)
        if states & FLASHING:
            rate = 2 * (SLOW_HZ if states & FLASHING == {State.RTN_UNACK} else FAST_HZ)
            moments.append((math.floor(now * rate) + 1) / rate)
        return min(moments, default=math.inf)

    def buttons(self, alarms: Alarms, now: float, wall: float) -> bool:
        """Answer what was pressed since the last step; before the alarms are stepped.

        True when `reset` was: interlocks are the scan's to reset.
        """
        image = self._image
        inputs = image.value[self._inputs].tobytes(), image.quality[self._inputs].tobytes()
        if inputs == self._looked:
            return False  # as in most steps
        self._looked = inputs
        pressed = {name for name in self._buttons if self._edge(name)}
        if not pressed:
            return False
        if "silence" in pressed:
            self.silence(now)
        if "test" in pressed:
            self._test_until = now + TEST_SECONDS
        for name, row in alarms.states.items():
            if "acknowledge" in pressed and row.state in UNACKNOWLEDGED and _shown(row.alarm):
                alarms.acknowledge(name, row.occurrence, PANEL, now, wall)
            if "reset" in pressed and row.state is State.LATCHED_ACKED:
                alarms.reset(name, PANEL, now, wall)
        return "reset" in pressed

    def show(
        self, alarms: Alarms, transitions: list[Transition], now: float, *, known: bool = True
    ) -> None:
        """Ask the outputs for what the alarms' states call for; `known`: whether they are true."""
        if self._states is None or transitions:
            rows = [r for r in alarms.states.values() if _shown(r.alarm)]
            self._states = {r.state for r in rows}
            self._unacked_p1 = any(r.state is State.UNACK and r.alarm.priority == 1 for r in rows)
        states = self._states
        anew = any(t.state is State.UNACK and _shown(t.alarm) for t in transitions)
        if anew or (self._unacked_p1 and now - self._silenced >= SILENCE_SECONDS):
            self._silenced = math.inf
        testing = now < self._test_until
        if self._still == (known, testing, self.silenced) and not transitions:
            return  # as in most steps: nothing sounds, flashes or has changed
        self._still = None if states & FLASHING else (known, testing, self.silenced)
        self._ask("beacon", testing or _beacon(states, now))
        self._ask("buzzer", testing or (State.UNACK in states and not self.silenced))
        # Energised means well: a dead controller, a cut wire and an alarm look the same.
        self._ask("relay", known and not states - SILENT)

    def _ask(self, name: str, on: bool) -> None:
        if name in self._outputs:
            self._image.request[Slot.CONTROL - 1, self._outputs[name]] = float(on)

    def _edge(self, name: str) -> bool:
        at = self._buttons[name]
        usable = not self._image.quality[at] & quality.BAD
        down = bool(usable and self._image.value[at] == 1.0)
        edge = down and not self._pressed[name]
        if usable:
            self._pressed[name] = down
        return edge


def _shown(alarm: Alarm) -> bool:
    return alarm.priority <= SHOWN


def _beacon(states: set[State], now: float) -> bool:
    if states & {State.UNACK, State.LATCHED_UNACK}:
        return int(now * FAST_HZ * 2) % 2 == 0
    if states & {State.ACKED, State.LATCHED_ACKED}:
        return True
    return State.RTN_UNACK in states and int(now * SLOW_HZ * 2) % 2 == 0
