"""Where a commandable point leads in the field.

Made by `wiring.py`, used by what drives outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.site.site import Output

ROUNDED = 1e-6  # of a value: what a 32-bit register loses of it


@dataclass(frozen=True, slots=True)
class Wire:
    """Where commandable c leads. `device` is None for setpoints, which stay in the image.

    `needs` are the points that must have been read once before the output may be written; `owners`
    the instructions whose rules ask for it. `priorities`: the device keeps a ladder of its own, so
    the slot is written too. `late`: seconds that it starts later than others after a cold start.
    `drivers` are the rules that drive it, no protections: what else they drive may stand in for it.
    `seen`: it moves a valve, and that point says where it stands, within the range `travel`.
    """

    ordinal: int
    point: str
    at: int
    device: str | None
    bus: str
    output: Output
    readable: bool
    priorities: bool
    feedback: int
    hoa: int | None
    needs: tuple[int, ...]
    rules: frozenset[str]
    late: float = 0.0
    drivers: frozenset[str] = frozenset()
    seen: int | None = None
    travel: tuple[float, float] = (0.0, 100.0)
