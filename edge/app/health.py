"""How buses and devices are: once a second as points, every ten minutes as a line of the log.

Only reads the meters that the bus tasks keep (`edge/bus/meter.py`) and the image; what follows from
it is for rules, alarms and persons. A task of the controller; the local API reads it too.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.bus.meter import KINDS, Failure, Meter
from edge.bus.runner import BusRunner
from edge.bus.schedule import DeviceState
from edge.clock import Clock
from edge.events import BUS_HEALTH, DEVICE_HEALTH, LINK_DOWN, LINK_UP, Event, Events
from edge.image import quality
from edge.image.image import Floats
from edge.scan.cycle import Scan
from edge.site.health import OF_BUS, OF_DEVICE
from edge.text import Text

EVERY = 1.0  # seconds between two looks at a bus
MINUTE = 60  # looks over which a load is taken
SORTED = 10  # looks between two sortings of a device's round trips: they change slowly
LOG_EVERY = 600.0  # seconds

_WORDS = {measure.word: i for i, measure in enumerate(OF_DEVICE)}
_COUNTS = slice(_WORDS["requests"], _WORDS["breaks"] + 1)
_TRIPS = slice(_WORDS["round_trip"], _WORDS["round_trip_p99"] + 1)
_AGE, _BACK_OFF = _WORDS["age"], _WORDS["back_off"]
_REFUSED, _WRONG = _WORDS["refused"], _WORDS["wrong"]
_BUS_WORDS = {measure.word: i for i, measure in enumerate(OF_BUS)}


@dataclass(slots=True)
class Numbers:
    """What a meter said at a time, to tell what has happened since."""

    at: float = 0.0
    requests: int = 0
    busy: float = 0.0
    back_off: float = 0.0
    failures: dict[Failure, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    @classmethod
    def of(cls, meter: Meter, now: float, back_off: float) -> Numbers:
        """The meter now."""
        return cls(now, meter.requests, meter.busy, back_off, dict(meter.failures))

    def failed(self, meter: Meter) -> dict[Failure, int]:
        """Failures since, by kind."""
        return {kind: count - self.failures[kind] for kind, count in meter.failures.items()}


class BusHealth:
    """One bus and the devices behind it. `values` are its points in the order of the image."""

    def __init__(self, runner: BusRunner, scan: Scan, events: Events) -> None:
        self.runner = runner
        self._scan, self._events = scan, events
        self._first = scan.index[f"{runner.bus.id}.bus.{OF_BUS[0].word}"]
        self.values: Floats = np.full(len(OF_BUS) + len(OF_DEVICE) * len(runner.devices), math.nan)
        self._bus = self.values[: len(OF_BUS)]
        rows = self.values[len(OF_BUS) :].reshape(-1, len(OF_DEVICE))
        self._rows = dict(zip(runner.devices, rows, strict=True))
        polled = dict.fromkeys(runner.devices, 0)
        for poll in runner.bus.polls:
            polled[poll.device] += len(poll.points)
        self._polled = [device for device, count in polled.items() if count]
        self._starts = np.cumsum([0, *(polled[device] for device in self._polled)])
        self._at = scan.index[runner.bus.polls[0].points[0]] if runner.bus.polls else 0
        self._looks = 0
        self._busy: deque[tuple[float, float]] = deque(maxlen=MINUTE + 1)
        self._since = math.nan
        self._told: dict[str, Numbers] = {}

    @property
    def load(self) -> float:
        """Share of the last minute (0-1) with a request under way, NaN before the second look."""
        if len(self._busy) < 2:
            return math.nan
        (then, before), (now, busy) = self._busy[0], self._busy[-1]
        return min((busy - before) / (now - then), 1.0) if now > then else math.nan

    def of(self, device: str, word: str) -> float:
        """A device's measure as it is in the image, NaN while there is none."""
        return float(self._rows[device][_WORDS[word]])

    def of_bus(self, word: str) -> float:
        """The bus's own measure, the same way."""
        return float(self._bus[_BUS_WORDS[word]])

    def look(self, now: float) -> None:
        """Measure, and put all of it into the image: one arrival, no reason to hurry the scan."""
        if math.isnan(self._since):
            self._since = now
            self._told = {id: Numbers(now) for id in ("", *self.runner.devices)}
        self._busy.append((now, self.runner.meter.busy))
        ages, refused = self._points(now)
        for k, (id, device) in enumerate(self.runner.devices.items()):
            fresh = (self._looks + k) % SORTED == 0
            row = self._rows[id]
            self._look_at(row, device, now, fresh=fresh)
            row[_AGE] = ages.get(id, math.nan)
            known = device.online and self.runner.up
            row[_REFUSED] = refused.get(id, 0) if known else math.nan
            row[_WRONG] = float(device.wrong is not None) if self.runner.up else math.nan
        self._look_at_bus(max(ages.values(), default=math.nan))
        self._looks += 1
        bits = np.where(np.isnan(self.values), quality.NEVER, quality.GOOD).astype(np.uint16)
        self._scan.put(self._first, self.values, bits, now)
        if now - self._told[""].at >= LOG_EVERY:
            self._tell(now)

    def _look_at(self, row: Floats, device: DeviceState, now: float, *, fresh: bool) -> None:
        meter = device.meter
        trips = row[_TRIPS]
        if fresh or math.isnan(trips[0]):
            trips[:] = meter.round_trips()
        row[_COUNTS] = meter.requests, *meter.failures.values()
        row[_BACK_OFF] = meter.back_off + max(now - device.resting_since, 0.0)

    def _look_at_bus(self, age: float) -> None:
        runner, meter = self.runner, self.runner.meter
        known = runner.up or runner.down_reason is not None
        self._bus[:] = (
            float(runner.up) if known else math.nan, meter.requests, sum(meter.failures.values()),
            *meter.failures.values(), 100.0 * self.load, runner.overruns, *meter.round_trips(), age,
            meter.back_off,
        )  # fmt: skip

    def _points(self, now: float) -> tuple[dict[str, float], dict[str, float]]:
        """By device: the age of its oldest point, and how many it refuses.

        What is refused for good has no age: it is counted. What was never read is as old as we are.
        """
        if not self._polled:
            return {}, {}
        at = slice(self._at, self._at + int(self._starts[-1]))
        bits, stamp = self._scan.image.quality[at], self._scan.image.stamp[at]
        starts = self._starts[:-1]
        read = np.where(bits & quality.CONFIG, math.inf, np.maximum(stamp, self._since))
        ages = now - np.minimum.reduceat(read, starts)
        ages[np.isinf(ages)] = math.nan
        refused = (bits & (quality.CONFIG | quality.COMM) != 0).astype(np.int64)
        counts = np.add.reduceat(refused, starts)
        return (
            dict(zip(self._polled, ages.tolist(), strict=True)),
            dict(zip(self._polled, counts.tolist(), strict=True)),
        )

    def _tell(self, now: float) -> None:
        """One line for the bus, and one for each device that had failures."""
        before, meter = self._told[""], self.runner.meter
        self._events.emit(
            BUS_HEALTH, bus=self.runner.bus.id,
            load=100 * min((meter.busy - before.busy) / (now - before.at), 1.0),
            age=_spoken(self.of_bus("age")), **_common(before, meter, now),
        )  # fmt: skip
        self._told[""] = Numbers.of(meter, now, meter.back_off)
        for id, device in self.runner.devices.items():
            before = self._told[id]
            if any(before.failed(device.meter).values()):
                rested = self.of(id, "back_off") - before.back_off
                self._events.emit(
                    DEVICE_HEALTH, device=id, age=_spoken(self.of(id, "age")), back_off=rested,
                    **_common(before, device.meter, now),
                )  # fmt: skip
            self._told[id] = Numbers.of(device.meter, now, self.of(id, "back_off"))


class Health:
    """All buses of a site; each is looked at once a second, and when its link changes."""

    def __init__(
        self, runners: Mapping[str, BusRunner], scan: Scan, clock: Clock, events: Events
    ) -> None:
        self.buses = {id: BusHealth(runner, scan, events) for id, runner in runners.items()}
        self._clock = clock
        events.watch(self._noticed)

    async def run(self) -> None:
        """Look for ever, spread over the second."""
        pause = EVERY / max(len(self.buses), 1)
        while True:
            for bus in self.buses.values():
                bus.look(self._clock.now())
                await asyncio.sleep(pause)
            if not self.buses:
                await asyncio.sleep(LOG_EVERY)

    def _noticed(self, event: Event, fields: dict[str, Any]) -> None:
        """Look at once when a link changes: its devices go and come with it, in the same step."""
        if event in (LINK_DOWN, LINK_UP):
            self.buses[fields["bus"]].look(self._clock.now())


def _common(before: Numbers, meter: Meter, now: float) -> dict[str, object]:
    median, p99 = meter.round_trips()
    return {
        "minutes": (now - before.at) / 60.0,
        "requests": meter.requests - before.requests,
        "failures": failures_text(before.failed(meter)),
        "median": _spoken(median),
        "p99": _spoken(p99),
    }


def failures_text(failures: Mapping[Failure, int]) -> Text:
    """`4 failed (3 unanswered, 1 refused)`."""
    some = {KINDS[kind]: count for kind, count in failures.items() if count}
    if not some:
        return Text("无失败", "none failed")
    zh = ", ".join(f"{kind.zh} {count}" for kind, count in some.items())
    en = ", ".join(f"{count} {kind.en}" for kind, count in some.items())
    total = sum(some.values())
    return Text(f"{total} 次失败 ({zh})", f"{total} failed ({en})")


def _spoken(seconds: float) -> Text:
    """A time with its unit; a dash for none."""
    if math.isnan(seconds):
        return Text("--", "--")
    if seconds < 1.0:
        return Text(f"{seconds * 1e3:.1f} 毫秒", f"{seconds * 1e3:.1f} ms")
    return Text(f"{seconds:.1f} 秒", f"{seconds:.1f} s")
