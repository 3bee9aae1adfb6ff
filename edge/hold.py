"""A command that has its slot: what it asked for, since when, until when, and how far it came.

Only the record and what follows from it alone; the course of a command is `edge/commands.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Hold:
    """Times are site time in seconds, `value` NaN for a release.

    `valid` is until when its write may go out at the latest, beside the lease (`expires`).
    """

    id: str
    point: str
    slot: int
    value: float
    expires: float
    since: float
    asked: float  # since when the slot may be expected to win
    began: float  # the present value when it was asked
    wins: float = math.nan  # since when it has won and its write has not had to wait
    pending: bool = True
    valid: float = math.inf
    waits: bool = False  # it was told that its write waits

    @property
    def last(self) -> float:
        """The last moment at which its write makes sense."""
        return min(self.expires, self.valid)

    def moved(self, seen: float) -> bool:
        """Whether at least half the way was made: a stuck valve is near a small step's end."""
        way = abs(self.value - self.began)
        return math.isnan(way) or abs(seen - self.value) <= max(way / 2, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """As plain data; None for what is no finite number."""
        return {k: _plain(v) for k, v in asdict(self).items()}


def hold_from_json(data: Mapping[str, Any], now: float) -> Hold:
    """A hold that begins anew after a restart."""
    hold = Hold(**data)
    hold.expires = math.inf if data["expires"] is None else data["expires"]
    hold.valid = math.inf if data.get("valid") is None else data["valid"]
    hold.began = math.nan if data["began"] is None else data["began"]
    hold.wins, hold.asked, hold.waits = math.nan, now, False
    return hold


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
