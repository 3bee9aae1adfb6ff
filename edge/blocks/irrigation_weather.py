"""When irrigation may water: its window by the clock on the wall, rain, frost and wind.

Called by the step in `irrigation.py`; the agenda by the scan.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from math import nan
from zoneinfo import ZoneInfo

from edge.blocks.irrigation_layout import (
    ACTIVE,
    AIR,
    BLOWS,
    CALM_AT,
    FROST_LIMIT,
    OPEN,
    PAUSED,
    RAIN_LIMIT,
    RAINED,
    STATES,
    WHY,
    WIND_LIMIT,
    ZONES,
)
from edge.blocks.irrigation_model import Irrigation, seconds_of
from edge.blocks.irrigation_shown import FROST, NONE, RAIN, WIND
from edge.blocks.kind import Agenda, Place, usable
from edge.blocks.schedule import local_time
from edge.blocks.timing import lasted
from edge.image.image import Bits, Floats, Index

CALM, CALM_TIME = 0.8, 300.0  # of the wind's limit, for so many s: then it goes on


def weather(v: Floats, q: Bits, ops: Index, i: int, par: Floats, p: int) -> float:
    """Why nothing may be watered today."""
    rain, air = ops[i + RAINED], ops[i + AIR]
    if usable(v, q, rain) and v[rain] >= par[p + RAIN_LIMIT] - 1e-9:
        return RAIN
    if usable(v, q, air) and v[air] < par[p + FROST_LIMIT]:
        return FROST
    return NONE


def pause(
    v: Floats, q: Bits, ops: Index, i: int, now: float, dt: float, count: int,
    par: Floats, p: int, st: Floats, s: int,
) -> None:  # fmt: skip
    """A gust shuts the valves; what is owed waits for five calm minutes within the window."""
    wind, limit = ops[i + BLOWS], par[p + WIND_LIMIT]
    known = usable(v, q, wind)
    if dt == 0.0:
        st[s + CALM_AT] = nan  # nobody felt the wind meanwhile
    if known and v[wind] > limit:
        st[s + PAUSED] = 1.0
    calm = not known or v[wind] <= CALM * limit
    if lasted(st, s + CALM_AT, st[s + PAUSED] == 1.0 and calm, now, CALM_TIME):
        st[s + PAUSED] = 0.0
    if st[s + ACTIVE] != 1.0:
        return
    st[s + WHY] = WIND if st[s + PAUSED] == 1.0 else NONE
    for k in range(count):
        if st[s + PAUSED] == 1.0:
            st[s + ZONES + k * STATES + OPEN] = 0.0


def agenda(model: Irrigation, place: Place, wall: float) -> Agenda:
    """The number of the day, and a half more within its window."""
    day: date = datetime.fromtimestamp(wall, ZoneInfo(place.timezone)).date()
    moments = [
        (local_time(day, seconds_of(model.begin), place.timezone), 0.5),
        (local_time(day, seconds_of(model.end), place.timezone), 0.0),
    ]
    passed = [part for at, part in moments if at <= wall]
    midnight = local_time(day + timedelta(1), 0.0, place.timezone)
    until = min([at for at, _ in moments if at > wall], default=midnight)
    return Agenda(day.toordinal() + (passed[-1] if passed else 0.0), until)
