"""Changes of points on their way to the outbox: gathered per step, one message per device a period.

Each change keeps its own time, also several of one point within a period. A full picture goes out
at each connection and every five minutes, so that a receiver knows what did not change. The scan
task calls `changed`; `run` is a task of the app.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from edge.clock import Clock
from edge.image import quality
from edge.image.image import ProcessImage
from edge.site.site import Point
from edge.store.outbox import Outbox
from edge.store.outbox_file import SAMPLE
from edge.uplink.payload import data, place

FULL_EVERY = 300.0  # seconds between full pictures
MOST = 1000  # values in one message: some 50 kB, below what brokers commonly take
GOOD = 192
GENTLY = 0.25  # of the period, over which a report is spread

Change = tuple[int, int, float, int]
"""Wall ms, point index, value, quality bits."""


class Reporter:
    """For one outbox. `period` in seconds."""

    def __init__(
        self,
        points: Sequence[Point],
        image: ProcessImage,
        outbox: Outbox,
        clock: Clock,
        period: float,
    ) -> None:
        self._image = image
        self._outbox = outbox
        self._clock = clock
        self._period = period
        places = [place(point) for point in points]
        self._devices = list(dict.fromkeys(device for device, _ in places))
        numbers = {device: k for k, (device) in enumerate(self._devices)}
        self._device = [numbers[device] for device, _ in places]
        self._names = [json.dumps(name, ensure_ascii=False) for _, name in places]
        self._members: list[list[int]] = [[] for _ in self._devices]
        for i, number in enumerate(self._device):
            if not points[i].local:
                self._members[number].append(i)
        self._changes: list[Change] = []

    def changed(self, indices: Sequence[int], image: ProcessImage, now: float, wall: float) -> None:
        """Take in the points that changed in the step at `now`; called after every step.

        None of them is local: the scan sees to that, as `full` does here.

        A usable value has the time at which it was measured, a bad one the time of the step.
        """
        value, bits, stamp = image.value.item, image.quality.item, image.stamp.item
        offset = wall - now
        for i in indices:
            q, at = bits(i), stamp(i)
            if q & quality.BAD or at == -math.inf:
                at = now
            self._changes.append((round((offset + at) * 1000), i, value(i), q))

    def report(self) -> None:
        """Turn what was gathered into messages, one or more per device."""
        for device, changes in self._gathered():
            self._send(device, changes, full=False)

    def _gathered(self) -> list[tuple[str, list[Change]]]:
        """What changed since the last call, by device, in order of time."""
        changes, self._changes = self._changes, []
        by_device: dict[int, list[Change]] = {}
        for change in sorted(changes, key=_time):
            by_device.setdefault(self._device[change[1]], []).append(change)
        return [(self._devices[device], mine) for device, mine in by_device.items()]

    async def _report_gently(self) -> None:
        """As `report`, but over a quarter of the period: a burst would delay the control loop."""
        gathered = self._gathered()
        pause = GENTLY * self._period / max(len(gathered), 1)
        try:
            while gathered:
                device, changes = gathered.pop(0)
                self._send(device, changes, full=False)
                await asyncio.sleep(pause)
        finally:  # stopped meanwhile: the rest is sent at once
            for device, changes in gathered:
                self._send(device, changes, full=False)

    async def full(self) -> None:
        """Send every point as it is now; a device at a time, so that nobody waits long."""
        image = self._image
        for device, members in zip(self._devices, self._members, strict=True):
            ts = round(self._clock.wall() * 1000)
            mine = [(ts, i, float(image.value[i]), int(image.quality[i])) for i in members]
            self._send(device, mine, full=True)
            await asyncio.sleep(GENTLY * self._period / len(self._devices))

    async def run(self, online: asyncio.Event) -> None:
        """Report each period; the full picture when `online` was set, and then every 5 minutes.

        While the broker is away only changes are kept: the picture would be old when it arrives.
        """
        due = -math.inf
        while True:
            began = self._clock.now()
            await self._report_gently()
            if not online.is_set():
                due = -math.inf
            elif self._clock.now() >= due:
                due = self._clock.now() + FULL_EVERY
                await self.full()
            await self._outbox.flush()
            await asyncio.sleep(max(began + self._period - self._clock.now(), 0.0))

    def _send(self, device: str, changes: Iterable[Change], *, full: bool) -> None:
        head = '{"full":true,"s":[' if full else '{"s":['
        rest = iter(changes)
        while part := list(islice(rest, MOST)):
            body = head + ",".join(self._entries(part)) + "]}"
            self._outbox.add(SAMPLE, data(device), body)

    def _entries(self, changes: Sequence[Change]) -> Iterator[str]:
        """One object per time; a point that changed twice at the same time begins another."""
        start = 0
        seen: set[int] = set()
        for k, change in enumerate(changes):
            if change[0] != changes[start][0] or change[1] in seen:
                yield self._entry(changes[start:k])
                start = k
                seen.clear()
            seen.add(change[1])
        yield self._entry(changes[start:])

    def _entry(self, changes: Sequence[Change]) -> str:
        """`{"ts":…,"v":{…},"q":{…}}`; ten digits hide the noise of 32-bit floats and scaling."""
        names = self._names
        values = ",".join(
            f"{names[i]}:{v:.10g}" if math.isfinite(v) else f"{names[i]}:null"
            for _, i, v, _ in changes
        )
        codes = ",".join(
            f"{names[i]}:{code}"
            for _, i, _, q in changes
            if q and (code := quality.sparkplug(q)) != GOOD
        )
        codes = f',"q":{{{codes}}}' if codes else ""
        return f'{{"ts":{changes[0][0]},"v":{{{values}}}{codes}}}'


def _time(change: Change) -> int:
    return change[0]
