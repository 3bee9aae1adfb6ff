"""Where irrigation keeps its numbers: operands, parameters, state, of the whole and of each zone.

The order is that of the model and of `irrigation_shown.py`.
"""

from __future__ import annotations

from edge.blocks.irrigation_shown import PER_ZONE, SHOWN
from edge.blocks.kind import TARGET_OPERANDS

STATE, REASON, LEAK, VOLUME, TRIPPED = range(SHOWN)
ZONE, TIME, LEARNT, OVER_LIMIT = range(PER_ZONE)
MASTER, PUMP, RESULTS = 0, TARGET_OPERANDS, 2 * TARGET_OPERANDS
ET0, RAINED, BLOWS, AIR, METER, RESET, AGENDA, RESET_CELL, INPUTS = range(9)
(N, PARALLEL, OVERLAP, RAIN_LIMIT, WIND_LIMIT, FROST_LIMIT, LONGEST, SETTLE, LEAK_FLOW, LEAK_TIME,
 OWN) = range(11)  # fmt: skip
RATE, KC, EFFICIENCY, AREA, DURATION, CYCLE, SOAK, NOMINAL, SOIL_LIMIT, PAR = range(10)
MOISTURE, OPERANDS = TARGET_OPERANDS, TARGET_OPERANDS + 1  # of a zone
(DAY, ACTIVE, WHY, AT, LEAK_AT, LEAKS, OPENED_AT, PUMP_AT, HIGH_AT, LOW_AT, PLANNED, DAY_AT,
 PAUSED, CALM_AT, OPENED, ODD_AT, ALONE, FREED_AT, ZONES) = range(19)  # fmt: skip
(REMAIN, LEFT, SOAKED_AT, OPEN, FAULT, TODAY, PLAN, NORMAL, SUM, SUM_TIME, CHECKED_AT,
 STATES) = range(12)  # fmt: skip
