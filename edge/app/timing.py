"""How long the last scans took, for health and for the overrun event."""

from __future__ import annotations

import numpy as np


class Timings:
    """The last 4,096 durations in seconds."""

    def __init__(self) -> None:
        self._last = np.zeros(4096)
        self.count = 0
        self.overruns = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Take one in."""
        self._last[self.count % len(self._last)] = seconds
        self.count += 1
        self.longest = max(self.longest, seconds)

    def percentile(self, percent: float) -> float:
        """The percentile over what is kept, 0 before the first."""
        kept = self._last[: min(self.count, len(self._last))]
        return float(np.percentile(kept, percent)) if len(kept) else 0.0
