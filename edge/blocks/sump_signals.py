"""Which of a pit's two level signals is believed: its transmitter, or its high-high float.

A float that is up while the level reads far below it is believed, since a transmitter freezes more
often than a float sticks (S20). It is doubted only where the transmitter has proved itself since
the float went up: the level fell with the pumps, at a rate that pumps can do, down to `stop`, and
stayed there. Then the pumps would run dry for ever. Called by the step in `sump.py`.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import is_off, is_on, usable
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats
from edge.image.quality import BAD, NEVER

DISAGREE_TIME = 30.0  # s that float and level may contradict each other
AGREED = 0.10  # m that the level may be below high-high while the float is up
MOVED = 0.05  # m by which a level that stood still is believed again
JUMP = 0.15  # m from one run to the next: no pump does that, a wet cable does

(_SUSPECT, _WRONG_AT, WRONG, _PROVED, _SEEN, _DRY_AT, _RESTED_AT, SIGNAL_STATES) = range(8)


def forget_signals(st: Floats, g: int) -> None:
    """After a restart: nobody looked meanwhile. What the transmitter has proved stays proved."""
    st[g + _WRONG_AT], st[g + _DRY_AT] = nan, nan


def hangs_free(v: Floats, q: Bits, switch: int) -> bool:
    """Whether the float is read as down; one that was left out is no matter."""
    return is_off(v, q, switch) or bool(q[switch] & BAD == NEVER)


def float_doubted(
    v: Floats, q: Bits, level: int, switch: int, turning: int, stop: float, high: float,
    dry: float, again: float, st: Floats, g: int, now: float,
) -> bool:  # fmt: skip
    """Whether the float is up and a transmitter that proved itself says that the pit is empty.

    From when the pumps have run for `dry` s with the level at `stop`, for `again` s: then the float
    is believed once more, for as long.
    """
    up = is_on(v, q, switch) and usable(v, q, level) and v[level] < high - AGREED
    if not up and st[g + _PROVED] == 1.0:
        st[g + _SUSPECT] = nan  # the float came down, and the level is one that moves
    if not up or abs(v[level] - st[g + _SEEN]) > JUMP:
        st[g + _PROVED], st[g + _RESTED_AT] = nan, nan
    elif turning != 0 and v[level] < st[g + _SUSPECT] - MOVED:
        st[g + _PROVED] = 1.0
    st[g + _SEEN] = v[level] if up else nan
    if not isnan(st[g + _RESTED_AT]):
        if now - st[g + _RESTED_AT] < again:
            return True
        st[g + _RESTED_AT], st[g + _DRY_AT] = nan, nan
    empty = up and turning != 0 and st[g + _PROVED] == 1.0 and v[level] <= stop
    if lasted(st, g + _DRY_AT, empty, now, dry):
        st[g + _RESTED_AT] = now
    return not isnan(st[g + _RESTED_AT])


def contradicted(
    v: Floats, q: Bits, level: int, switch: int, high: float, st: Floats, g: int, now: float
) -> bool:  # fmt: skip
    """Whether the float contradicts the level, from when it does until the level moves.

    A float that stays down is only told of. Both are told of after 30 s.
    """
    good, known = usable(v, q, level), usable(v, q, switch)
    up = is_on(v, q, switch)
    if good and not abs(v[level] - st[g + _SUSPECT]) <= MOVED:
        st[g + _SUSPECT] = v[level] if up and v[level] < high - AGREED else nan
    suspect = not isnan(st[g + _SUSPECT])
    above = good and known and not up and v[level] >= high + AGREED
    wrong = lasted(st, g + _WRONG_AT, suspect or above, now, DISAGREE_TIME)
    st[g + WRONG] = 1.0 if wrong else 0.0
    return suspect
