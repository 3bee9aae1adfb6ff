"""What rules are made of: a flat table of block kinds, each one model and one step function.

The tables are explicit: a kind that is not listed does not exist. Read by the site (schema, checks)
and by `edge/rules` (compile, kernel).
"""

from __future__ import annotations

from edge.blocks.alarming import CONDITION, LIMIT
from edge.blocks.booster import BOOSTER
from edge.blocks.calendar import CALENDAR, CLOCK
from edge.blocks.conditioning import CONDITIONING
from edge.blocks.cooling_tower import COOLING_TOWER
from edge.blocks.correction import CORRECTION
from edge.blocks.dali import ANALOG_DIMMER, DALI
from edge.blocks.daylight import DAYLIGHT
from edge.blocks.daylight_open import DAYLIGHT_OPEN
from edge.blocks.dry_run import DRY_RUN
from edge.blocks.fire_water import FIRE_WATER
from edge.blocks.irrigation import IRRIGATION
from edge.blocks.kind import Kind
from edge.blocks.lamp_power import LAMP_POWER
from edge.blocks.lift import LIFT
from edge.blocks.logic import HYSTERESIS, SCALE, VALUE
from edge.blocks.occupancy import OCCUPANCY
from edge.blocks.photocell import PHOTOCELL
from edge.blocks.pid import PID
from edge.blocks.protection import FIRST_OUT, INTERLOCK, PERMISSIVE, TRIP_KIND
from edge.blocks.ramp import RAMP
from edge.blocks.rotation import ROTATION
from edge.blocks.schedule import SCHEDULE
from edge.blocks.sump import SUMP
from edge.blocks.timing import DELAY
from edge.blocks.tower_guard import TOWER_GUARD
from edge.blocks.valve import VALVE
from edge.blocks.valve_exercise import VALVE_EXERCISE
from edge.blocks.zone_loss import ZONE_LOSS

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        VALUE, DELAY, HYSTERESIS, SCALE, CONDITIONING, RAMP, PID, SCHEDULE, DAYLIGHT, VALVE,
        BOOSTER, ZONE_LOSS, SUMP, DRY_RUN, IRRIGATION,
        DAYLIGHT_OPEN, PHOTOCELL, OCCUPANCY, DALI, ANALOG_DIMMER, LAMP_POWER,
        CORRECTION, VALVE_EXERCISE,
        COOLING_TOWER, TOWER_GUARD,
        ROTATION, FIRE_WATER, LIFT,
    )
}  # fmt: skip
"""What `block:` may name in `rules:`; `value` is the kind of `value: <expression>`."""

INTERNAL: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        INTERLOCK, PERMISSIVE, FIRST_OUT, TRIP_KIND, LIMIT, CONDITION, CALENDAR, CLOCK,
    )
}  # fmt: skip
"""What interlocks, alarms, calendars and the clock are compiled to; not for `rules:`."""
