"""What a model of equipment is: state, `step(dt)`, commands, readings and faults by name.

Not a clock and not a protocol. `step` moves the state by explicit Euler (commands are its inputs)
and nothing else does, so equal steps give equal values. Driven by `drivers/sim/rig.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

from pydantic import Field

# What an option of a model may be; a plant file that says something else is refused.
Count = Annotated[int, Field(ge=1, le=100)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]

MPA_PER_METRE = 0.00980665


class Model(Protocol):
    """One piece of equipment.

    `dt` is the length of its Euler step in seconds. `commands` are the variables that may be
    written: `switches` (0, 1) and else percentages (0-100). `faults` are the names that `active`
    may hold. `noise` is the standard deviation of each sensor that has one.
    """

    dt: float
    commands: dict[str, float]
    switches: frozenset[str]
    faults: frozenset[str]
    active: set[str]
    noise: Mapping[str, float]

    def step(self, dt: float) -> None:
        """Move actuators, then the plant, by `dt` seconds."""

    def readings(self) -> dict[str, float]:
        """Every variable that can be read, commands included."""


def approach(value: float, target: float, limit: float) -> float:
    """Return `value` moved towards `target` by at most `limit`."""
    return value + min(max(target - value, -limit), limit)


def numbered(names: tuple[str, ...], count: int) -> frozenset[str]:
    """The faults `name:1` to `name:count`."""
    return frozenset(f"{name}:{i}" for name in names for i in range(1, count + 1))
