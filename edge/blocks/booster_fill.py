"""How a booster fills an empty pipe: slowly, with one pump, then more, and never for ever.

Fast filling ends in water hammer; a pipe that never fills has burst. Called by the booster's step.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.booster_layout import (
    FILL_ALL,
    FILL_BEST,
    FILL_LATE,
    FILL_LIMIT,
    FILL_READY,
    FILL_SPEED,
    FILL_STILL,
    GOAL,
    INTEGRAL,
    PF,
    RAMPED,
    SLEW,
    STAGE,
    SUCTION_I,
    U,
)
from edge.blocks.ramp import toward
from edge.blocks.timing import lasted
from edge.image.image import Floats

EMPTY, FILLED = 0.3, 0.5  # of the setpoint
READY = 10.0  # s
STILL = 60.0  # s without a rise
RISE = 0.002  # MPa
FAST = 85.0  # %, the most while filling


def is_empty(st: Floats, s: int) -> bool:
    """Whether the pipe has lost so much pressure that it must be filled."""
    return bool(st[s + PF] < EMPTY * st[s + GOAL])


def begin_fill(par: Floats, p: int, st: Floats, s: int) -> None:
    """One pump at the fill speed."""
    st[s + STAGE], st[s + U], st[s + FILL_BEST] = 1.0, par[p + FILL_SPEED], st[s + PF]
    st[s + FILL_STILL], st[s + FILL_READY] = nan, nan
    st[s + FILL_ALL], st[s + FILL_LATE] = nan, nan


def fill(
    n: int, most: int, par: Floats, p: int, st: Floats, s: int, now: float, dt: float
) -> bool:  # fmt: skip
    """One step with `n` pumps running of `most` that could; True when the PI may take over.

    The setpoint stands at the pressure and the integral at the speed, so that it begins there.
    """
    st[s + RAMPED] = st[s + PF]
    still = st[s + PF] < FILLED * st[s + GOAL] and st[s + PF] <= st[s + FILL_BEST] + RISE
    if not still:
        st[s + FILL_BEST] = max(st[s + PF], st[s + FILL_BEST])
    stuck = lasted(st, s + FILL_STILL, still, now, STILL)
    late = lasted(st, s + FILL_ALL, n >= most, now, par[p + FILL_LIMIT])
    if late and isnan(st[s + FILL_LATE]):
        st[s + FILL_LATE] = now
    goal = par[p + FILL_SPEED]
    if not isnan(st[s + FILL_LATE]):
        st[s + STAGE] = 1.0
    elif stuck and n < most:
        st[s + STAGE], st[s + FILL_STILL] = n + 1.0, nan
    elif stuck or st[s + U] > goal:
        goal = FAST
    step = par[p + SLEW] * dt
    st[s + U] = toward(st[s + U], goal, step, step)
    st[s + INTEGRAL], st[s + SUCTION_I] = st[s + U], st[s + U]
    ready = st[s + PF] >= FILLED * st[s + GOAL]
    return lasted(st, s + FILL_READY, ready, now, READY)
