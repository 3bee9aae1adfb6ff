"""What is written to the field, when, and whether the field followed.

An output is held until its inputs have been read once; then it starts from what the device does
now, so that nothing jumps. After that it is written on change beyond its deadband, again where a
device came back without it, and checked by its feedback. The arbiter decides the values; the bus
task carries them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.driver import Write
from edge.events import OVERRIDDEN_OUTSIDE, OVERRIDE_ENDED, WRITE_NOT_FOLLOWED, Events
from edge.image import quality
from edge.image.image import Floats, ProcessImage
from edge.image.slots import Slot
from edge.scan.elsewhere import Elsewhere
from edge.scan.wire import ROUNDED, Wire

GIVE_UP = 30.0  # seconds from the start until an input that only fails is waited for no longer
NOTHING = (b"", b"")
READ_WITHIN = 30.0  # seconds in which an output must be read after its device came back
WATCH_EVERY = 1.0  # seconds between looks for foreign priorities
AUTO = 1.0  # what a Hand-Off-Auto contact says when the controller may act


class Outputs:
    """The field side of all commandable points, in the order of their ordinals."""

    def __init__(self, wires: Sequence[Wire], image: ProcessImage, events: Events) -> None:
        count = len(wires)
        self.wires = wires
        self._image, self._events = image, events
        self.held: NDArray[np.bool_] = np.asarray([w.device is not None for w in wires], bool)
        self.holding = bool(self.held.any())  # whether any is held
        self._setpoints = np.asarray([w.ordinal for w in wires if w.device is None], np.intp)
        self._setpoints_at = np.asarray([w.at for w in wires if w.device is None], np.intp)
        self._field = np.asarray([w.device is not None for w in wires], bool)
        self._deadband: Floats = np.asarray([w.output.deadband for w in wires])
        self._refresh: Floats = np.asarray([w.output.refresh for w in wires])
        self._refreshes = bool((self._field & np.isfinite(self._refresh)).any())
        self._with_slot = np.asarray([w.priorities for w in wires], bool)
        self._shown = b""  # what the setpoints' points show
        self._sent: Floats = np.full(count, np.nan)  # what was last handed to the bus
        self._sent_slot: Floats = np.zeros(count)
        self._sent_at: Floats = np.full(count, -np.inf)
        self._check_at: Floats = np.full(count, np.inf)
        self._next_check = math.inf
        self._back_at: Floats = np.full(count, np.nan)  # its device came back: look what it holds
        self._back = False  # whether any is
        self._again: NDArray[np.bool_] = np.zeros(count, bool)  # to be written once more
        self._corrected: NDArray[np.bool_] = np.zeros(count, bool)  # by an automatic correction
        self._decided = NOTHING  # what the last look at all outputs was about
        self._next_refresh = -math.inf
        self.verified = True  # `following` may have changed since it was last looked at
        self.following: NDArray[np.bool_] = np.ones(count, bool)
        self._at = np.asarray([w.at for w in wires], np.intp)
        self._overridden: NDArray[np.bool_] = np.zeros(count, bool)
        self._next_watch = -math.inf
        self.others = True  # somebody else may write as well, and is looked for
        self._give_up_at = math.nan
        self._early: set[int] = set()  # let go by a protection before their time
        self._has_run: NDArray[np.bool_] = np.zeros(count, bool)  # since it was let go
        self._switched = [w for w in wires if w.hoa is not None]
        self._switches = np.asarray([w.hoa for w in self._switched], np.intp)
        self._stand: tuple[bytes, ...] = ()  # how they stood when they were last looked at
        self._hand: NDArray[np.bool_] = np.zeros(count, bool)
        self._in_hands = False  # whether any is
        self._by_point = {w.point: w for w in wires}
        self._elsewhere = Elsewhere(wires, image, events)

    def ready(self, now: float, up: float = math.inf) -> list[Wire]:
        """The held outputs that may be driven from now on, `up` seconds after the start-up delay.

        What an output depends on was read once. An input that fails from the start is given up
        after a while: then the rules decide what that means. What an output itself does must be
        known, unless its device will not tell. A motor that stands waits for its turn, unless it
        takes the place of one that ran; one that is seen to run is taken over as it is.

        A protection waits for nobody; during the delay it may only stop, and only what was read: a
        missing permission stops nothing that runs. What a protection alone has let go is held again
        when it is over before its time, and starts with the others.
        """
        if not (self.holding or self._early):
            return []  # as in all but the first steps
        protect = self._image.request[Slot.PROTECT - 1]
        protected = protect == 0.0 if up < 0.0 else ~np.isnan(protect)
        due = set[int]() if up < 0.0 else self._due_to_start(now, up)
        for c in [c for c in self._early if c in due or not protected[c]]:
            self._early.discard(c)
            self.held[c] = c not in due
            self.holding = self.holding or bool(self.held[c])
        released = [
            w for w in self.wires
            if self.held[w.ordinal] and (
                w.ordinal in due
                or (protected[w.ordinal] and (up >= 0.0 or not w.readable or self._was_read(w)))
            )
        ]  # fmt: skip
        self._early.update(w.ordinal for w in released if w.ordinal not in due)
        return released

    def _was_read(self, wire: Wire) -> bool:
        return bool(np.isfinite(self._image.stamp[wire.at]))

    def _due_to_start(self, now: float, up: float) -> set[int]:
        """The ordinals of those that are held, or only let go by a protection, whose time came."""
        if math.isnan(self._give_up_at):
            self._give_up_at = now + GIVE_UP
        bits = self._image.quality[: self._image.points]
        unread = np.isneginf(self._image.stamp) & (bits & quality.CONFIG == 0)
        missing = unread if now < self._give_up_at else unread & (bits & quality.NEVER != 0)
        known = [
            w for w in self.wires
            if (self.held[w.ordinal] or w.ordinal in self._early)
            and not ((w.readable and unread[w.at]) or any(missing[i] for i in w.needs))
        ]  # fmt: skip
        due = {w.ordinal for w in known if up >= w.late or self._runs(w)}
        self._has_run |= ~self.held & (self._image.target > 0.0)
        waiting = sorted((w for w in known if w.ordinal not in due), key=lambda w: w.late)
        return due | {w.ordinal for w in waiting if self._replaces(w)}

    def _replaces(self, wire: Wire) -> bool:
        """Whether a motor that is asked to run takes the place of one that ran and stands now.

        Each that stands lets one start before its turn: what the mains bear is how many start.
        """
        column = self._image.request[:, wire.ordinal]
        given = column[~np.isnan(column)]
        if not len(given) or not given[0] > 0.0:
            return False
        for other in self.wires:
            c = other.ordinal
            stands = self._has_run[c] and not self.held[c] and not self._image.target[c] > 0.0
            if stands and other.output.start_spread and other.drivers & wire.drivers:
                self._has_run[c] = False
                return True
        return False

    def _runs(self, wire: Wire) -> bool:
        known = wire.readable and not self._image.quality[wire.at] & quality.BAD
        return bool(known and self._image.value[wire.at] > 0)

    def waits_for(self, ordinal: int) -> list[int]:
        """The points that a held output waits for: they have not been read once."""
        wire, stamp = self.wires[ordinal], self._image.stamp
        if not self.held[ordinal]:
            return []
        needs = {*wire.needs, *([wire.at] if wire.readable else ())}
        return sorted(i for i in needs if math.isinf(stamp[i]))

    def undriven(self) -> NDArray[np.bool_]:
        """Which outputs nobody drives now: those that are held, or in the hands of a switch."""
        if not self._switched:
            return self.held
        image, at = self._image, self._switches
        switches = image.value.take(at).tobytes(), image.quality.take(at).tobytes()
        if switches != self._stand:
            self._stand = switches
            for wire in self._switched:
                self._hand[wire.ordinal] = self._in_hand(wire)
            self._in_hands = bool(self._hand.any())
        return self.held | self._hand if self._in_hands else self.held

    def in_hand(self, ordinal: int) -> bool:
        """Whether a hard-wired switch keeps the output from being driven."""
        return self._in_hand(self.wires[ordinal])

    def release(self, wire: Wire, now: float) -> float:
        """Let an output go, from what the device does now; NaN when nobody knows."""
        self.held[wire.ordinal] = False
        self.holding = bool(self.held.any())
        self._decided = NOTHING
        usable = wire.readable and not self._image.quality[wire.at] & quality.BAD
        value = float(self._image.value[wire.at]) if usable else math.nan
        self._sent[wire.ordinal] = value
        self._sent_at[wire.ordinal] = now
        self._elsewhere.holds(wire.ordinal, now)
        return value

    @property
    def due(self) -> float:
        """When a step must look again although nothing else is decided."""
        return -math.inf if self._back else min(self._next_check, self._next_refresh)

    def step(self, now: float) -> list[tuple[str, Write]]:
        """What must be written now, as (bus, write). Setpoints take their value at once."""
        image = self._image
        if now >= self._next_check:
            self._verify(now)
        if self.others and now >= self._next_watch:
            self._watch_overrides(now)
            self._watch_registers(now)
        if self._back:
            self._compare(now)
        decided = image.target.tobytes(), image.owner.tobytes()
        if decided == self._decided and now < self._next_refresh:
            return []  # as in most steps
        self._decided = decided
        self._set_setpoints()
        writes = self._due(now)
        if self._refreshes:
            driven = self._field & ~self.held  # all of them have been sent, or adopted, once
            refresh = self._sent_at[driven] + self._refresh[driven]
            self._next_refresh = float(refresh.min(initial=math.inf))
        else:
            self._next_refresh = math.inf
        return writes

    def returned(self, device: str, now: float) -> None:
        """A device answers again, and may have forgotten what it was told."""
        for wire in self.wires:
            if wire.device == device and not self.held[wire.ordinal]:
                self._back_at[wire.ordinal] = now
                self._back = True

    def _compare(self, now: float) -> None:
        """Have what a device no longer holds, or does not tell, written again."""
        for c in map(int, np.flatnonzero(~np.isnan(self._back_at))):
            wire, sent = self.wires[c], float(self._sent[c])
            bits = int(self._image.quality[wire.at])
            known = wire.readable and not bits & quality.BAD
            if known and self._image.stamp[wire.at] < self._back_at[c]:
                continue  # not read yet
            waits = wire.readable and not known and not bits & quality.CONFIG
            # Its switch may stand elsewhere by now than when it was lost: that is read first, too.
            waits |= wire.hoa is not None and bool(self._image.quality[wire.hoa] & quality.BAD)
            if waits and now < self._back_at[c] + READ_WITHIN:
                continue
            self._back_at[c] = math.nan
            near = max(wire.output.deadband, ROUNDED * abs(sent))
            seen = float(self._image.value[wire.at])
            # What a device with a ladder shows need not be ours: our slot may be empty by now.
            if not known or wire.priorities or abs(seen - sent) > near:
                self._again[c] = not math.isnan(sent)
                self._decided = NOTHING
        self._back = not np.isnan(self._back_at).all()

    def _set_setpoints(self) -> None:
        image, values = self._image, self._image.target[self._setpoints]
        shown = values.tobytes()
        if shown == self._shown:
            return
        self._shown = shown
        image.value[self._setpoints_at] = values
        image.quality[self._setpoints_at] = np.where(np.isnan(values), quality.NEVER, quality.GOOD)

    def _due(self, now: float) -> list[tuple[str, Write]]:
        image = self._image
        target = image.target
        change = np.abs(target - self._sent) > self._deadband
        change |= np.isnan(target) != np.isnan(self._sent)
        change |= self._with_slot & (image.owner != self._sent_slot)
        if self._refreshes:
            change |= now - self._sent_at >= self._refresh
        # What a correction asks for is written even if it is the same: a command sent again.
        corrected = image.owner == Slot.CORRECT
        change |= corrected & ~self._corrected
        self._corrected = corrected
        change |= self._again
        change &= self._field & ~self.held
        writes = []
        for c in map(int, np.flatnonzero(change)):
            wire = self.wires[c]
            if self._in_hand(wire):
                self._decided = NOTHING  # look again: the switch may go back to Auto
                continue
            if math.isnan(target[c]) and math.isnan(self._sent[c]) and not image.owner[c]:
                self._sent_slot[c] = 0  # nothing asked, nothing held
                self._sent_at[c] = now
                continue
            writes.append((wire.bus, self._write(wire, float(target[c]), now)))
        return writes

    def _write(self, wire: Wire, value: float, now: float) -> Write:
        assert wire.device is not None
        c = wire.ordinal
        slot = int(self._image.owner[c])
        self._elsewhere.sent(c, anew=value != self._sent[c])
        self._sent[c], self._sent_slot[c], self._sent_at[c] = value, slot, now
        self._check_at[c] = math.inf  # armed again by the acknowledgement
        self._again[c], self._back_at[c] = False, math.nan
        return Write(wire.device, wire.point, value, slot)

    def written(self, write: Write, now: float, *, sure: bool = True) -> None:
        """The device acknowledged, or at least may have: from now on it must follow."""
        wire = self._by_point[write.point]
        if not wire.readable and not math.isnan(write.value):
            self._image.value[wire.at] = write.value
            self._image.quality[wire.at] = quality.GOOD if sure else quality.UNCERTAIN
            self._image.stamp[wire.at] = now
        overtaken = (
            write.value != self._sent[wire.ordinal]
        )  # NaN, relinquished, is not to be followed
        if not overtaken:
            self._back_at[wire.ordinal] = math.nan  # it holds what it was sent
            self._elsewhere.holds(wire.ordinal, now + wire.output.settle)
        if overtaken or (not wire.readable and wire.feedback == wire.at):
            return
        self._check_at[wire.ordinal] = now + wire.output.settle
        self._next_check = min(self._next_check, now + wire.output.settle)

    def failsafe(self, now: float, *, explicit_only: bool) -> list[tuple[str, Write]]:
        """The writes that bring every output to its failsafe. `hold` writes nothing."""
        self._decided = NOTHING  # when the scan goes on, these are not what was decided
        writes = []
        for wire in self.wires:
            safe = wire.output.failsafe
            if wire.device is None or self._in_hand(wire):
                continue
            if isinstance(safe, float | int):
                writes.append((wire.bus, self._write(wire, float(safe), now)))
            elif safe == "relinquish" and not explicit_only:
                writes.append((wire.bus, self._write(wire, math.nan, now)))
        return writes

    def _in_hand(self, wire: Wire) -> bool:
        """A hard-wired switch outranks everything here: never fight it."""
        if wire.hoa is None or self._image.quality[wire.hoa] & quality.BAD:
            return False
        return bool(self._image.value[wire.hoa] != AUTO)

    def _verify(self, now: float) -> None:
        for c in map(int, np.flatnonzero(self._check_at <= now)):
            wire = self.wires[c]
            self._check_at[c] = math.inf
            bits = int(self._image.quality[wire.feedback])
            seen, asked = float(self._image.value[wire.feedback]), float(self._sent[c])
            overridden = self._image.quality[wire.at] & quality.OVERRIDDEN
            if bits & quality.BAD or overridden or self._in_hand(wire):
                continue  # its own alarms and events speak for that
            follows = abs(seen - asked) <= wire.output.tolerance
            if not follows and self.following[c]:
                self._events.emit(WRITE_NOT_FOLLOWED, point=wire.point, value=asked, seen=seen)
            self.following[c] = follows
            self.verified = True
            if not follows:  # look again: it may only be slow
                self._check_at[c] = now + max(wire.output.settle, 1.0)
        self._next_check = float(self._check_at.min(initial=math.inf))

    def _watch_overrides(self, now: float) -> None:
        """Somebody stronger on the device's own ladder: an event, not a fault."""
        self._next_watch = now + WATCH_EVERY
        bits = self._image.quality[self._at] & quality.OVERRIDDEN != 0
        for c in np.flatnonzero(bits != self._overridden):
            wire = self.wires[int(c)]
            event = OVERRIDDEN_OUTSIDE if bits[c] else OVERRIDE_ENDED
            self._events.emit(event, point=wire.point, value=float(self._image.value[wire.at]))
        self._overridden = bits

    def _watch_registers(self, now: float) -> None:
        """Somebody else wrote there: ours again, within its budget and not too often."""
        settled = np.isnan(self._back_at)
        for c in self._elsewhere.look(self._sent, settled, self._in_hand, now):
            self._again[c] = True
            self._decided = NOTHING


def following_points(outputs: Outputs, index: Mapping[str, int]) -> Mapping[int, list[int]]:
    """Ordinals by the `<device>.following` point that sums them up."""
    grouped: dict[int, list[int]] = {}
    for wire in outputs.wires:
        at = index.get(f"{wire.device}.following")
        if at is not None:
            grouped.setdefault(at, []).append(wire.ordinal)
    return grouped
