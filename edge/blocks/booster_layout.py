"""Where everything of a booster stands: published points, inputs, parameters, state, codes.

Nothing is computed here. The order of inputs and parameters is that of the model in
`booster_model.py` (a test compares them). Read by the booster's step functions.
"""

from __future__ import annotations

from edge.blocks.oscillation import OSCILLATION_STATES

# What the point `state` says; the first word of each text is the state machine's (domain §1.10).
(REGULATING, HELD, FALLBACK, OVER_PRESSURE, NO_PUMP, FOLLOWING, WAITING, FILLING, FILL_TIMEOUT,
 ASLEEP, SUCTION_LOW, PROTECTED, OFF) = range(1, 14)  # fmt: skip

STOPPED_PHASE, CHECK, FILL, RUN, SLEEP, TRIP = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0
"""The phase in the state; MANUAL is RUN while somebody else sets the speed."""

MULTI_VFD, SINGLE_VFD = 0.0, 1.0
FREQUENT, NOT_QUIET = 1.0, 2.0
"""Why sleep is off for a while."""

PUBLISHED = (
    "state", "speed", "pressure", "setpoint", "running", "sensor",
    "no_flow_speed", "destage_speed", "wakes", "sleep_off", "protection", "tripped", "gain_factor",
)  # fmt: skip
(STATE, SPEED_REF, PRESSURE, SETPOINT, COUNT, SENSOR_USED,
 NO_FLOW, DESTAGE, WAKES_SHOWN, SLEEP_OFF, PROTECTION, LOCKOUTS, GAIN_SHOWN,
 SHOWN) = range(14)  # fmt: skip

INPUTS = ("pressure", "second", "setpoint", "flow", "suction", "permissive", "enable", "reset")
(PV, PV2, SP, FLOW_IN, SUCTION_IN, PERMISSIVE, ENABLE, RESET, RESET_CELL,
 INPUT_COUNT) = range(10)  # fmt: skip

PARAMETERS = (
    "duty", "mode", "lead", "kp", "ti", "setpoint_ramp", "deadband", "slew", "filter",
    "minimum_speed", "shutoff_head", "fallback_speed", "sensor_hold", "start_time", "retry",
    "over_pressure", "rating", "friction", "design_flow", "proportional", "fill_speed",
    "fill_timeout", "stage_up", "stage_lock", "stage_down", "destage_speed", "max_lead_run",
    "sleep", "sleep_flow", "sleep_boost", "max_wakes", "suction_setpoint", "suction_limit",
    "elevation",
)  # fmt: skip
(N, DUTY, MODE, LEAD, KP, TI, SP_RAMP, DEADBAND, SLEW, FILTER,
 MINIMUM, HEAD, FALLBACK_SPEED, HOLD, START_TIME, RETRY,
 OVER, RATING, FRICTION, DESIGN_FLOW, PROPORTIONAL, FILL_SPEED,
 FILL_LIMIT, STAGE_UP, STAGE_LOCK, STAGE_DOWN, DESTAGE_SPEED, MAX_LEAD_RUN,
 SLEEPS, SLEEP_FLOW, SLEEP_BOOST, MAX_WAKES, SUCTION_SP, SUCTION_LIMIT) = range(34)  # fmt: skip

HOURS_KEPT, WAKES_KEPT = 24, 30
(INTEGRAL, U, RAMPED, GOAL, PF, BAD_SINCE, SENSOR,  # pressure control
 FLOW, FLOW_BAD, SUCTION, SUCTION_BAD, SUCTION_I, SUCTION_AT, SUCTION_BACK, STARVED,
 OVER_AT, RATED_AT, LOW_AT, ALLOWED, WAIT, ENABLED, PHASE, TURNS,
 STAGE, UP_AT, DOWN_AT, LOCKED, LEADER, LEAD_RUN, SWAP, SWAP_AT,  # staging and rotation
 FILL_BEST, FILL_STILL, FILL_READY, FILL_ALL, FILL_LATE,  # filling
 QUIET_AT, BOOST_AT, STOPPED_AT, WAKE_AT, SLEEP_AFTER, SLEEP_WHY, WAKE_NEXT,  # sleep
 LEARNT, DAY_AT, DAY_HEAD, STEADY_AT, HOUR_SUM, HOUR_TIME, HOUR_NEXT) = range(50)  # fmt: skip
WAKES = 50  # the times of the last wakes
HOURLY = WAKES + WAKES_KEPT  # mean speed of each of the last 24 hours
HUNTING = HOURLY + HOURS_KEPT  # whether the loop hunts
PUMPS = HUNTING + OSCILLATION_STATES

MPA_PER_METRE = 0.00980665
S_HI = 95.0  # % at which a pump counts as full
WAKE, WAKE_TIME = 0.03, 2.0  # MPa below the setpoint, s: start again
LOW = 0.05  # MPa below the setpoint: supply pressure low
