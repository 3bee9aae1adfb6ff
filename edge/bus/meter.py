"""What requests cost and how they ended: one meter per device, one per bus.

Counts and keeps the latest round trips; it decides nothing and knows no clock. The bus task counts
here with every request; `edge.app.health` and the local API read it.
"""

from __future__ import annotations

import math
from typing import Literal

from edge.text import Text

Failure = Literal["timeout", "refused", "bad_answer", "link"]

KINDS: dict[Failure, Text] = {
    "timeout": Text("无应答", "unanswered"),
    "refused": Text("被拒", "refused"),
    "bad_answer": Text("错误应答", "wrong answer"),
    "link": Text("断线", "link lost"),
}

TRIPS = 256  # round trips that are remembered; a power of two


class Meter:
    """Totals since the start; every request ends in one call of `answered` or `failed`.

    `busy` is seconds of requests under way, divided by the `lanes` of a bus that has several under
    way at once: its share of a time is the load. `back_off` is seconds in which nothing was asked
    on purpose: of a device because it was silent, of a bus between two attempts to connect.
    """

    __slots__ = ("_at", "_lanes", "_trips", "back_off", "busy", "failures", "requests")

    def __init__(self, lanes: int = 1) -> None:
        self.requests = 0
        self.failures: dict[Failure, int] = dict.fromkeys(KINDS, 0)
        self.busy = 0.0
        self.back_off = 0.0
        self._lanes = lanes
        self._trips = [math.nan] * TRIPS
        self._at = 0

    @property
    def answers(self) -> int:
        """Requests that were answered as they should be."""
        return self.requests - sum(self.failures.values())

    def answered(self, took: float) -> None:
        """Count a request that was answered after `took` seconds."""
        self.requests += 1
        self.busy += took / self._lanes
        self._trips[self._at] = took
        self._at = (self._at + 1) & (TRIPS - 1)

    def failed(self, kind: Failure, took: float) -> None:
        """Count a request that failed after `took` seconds; a refusal is no round trip either."""
        self.requests += 1
        self.busy += took / self._lanes
        self.failures[kind] += 1

    def rested(self, seconds: float) -> None:
        """Count a pause that is over."""
        self.back_off += seconds

    def round_trips(self) -> tuple[float, float]:
        """Median and 99th percentile of the remembered round trips in seconds, NaN for none.

        Nearest rank, so both are times that were measured.
        """
        trips = sorted(trip for trip in self._trips if trip == trip)  # noqa: PLR0124 - not NaN
        if not trips:
            return math.nan, math.nan
        count = len(trips)
        return trips[(count - 1) // 2], trips[math.ceil(0.99 * count) - 1]
