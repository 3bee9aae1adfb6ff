"""Site records with sane defaults, for tests that build a site by hand."""

from __future__ import annotations

import math
from typing import Any

from edge.schema.problem import Mark
from edge.site.site import Alarm, Output, Point, Role
from edge.text import Text

HERE = Mark("test.yaml", 1, 1)


def output(**fields: Any) -> Output:
    """An output that nothing limits."""
    values: dict[str, Any] = {
        "default": math.nan, "failsafe": "hold", "deadband": 0.0, "refresh": math.inf,
        "rate": math.inf, "min_on": 0.0, "min_off": 0.0, "max_starts": 0, "feedback": None,
        "tolerance": 1.0, "settle": 5.0,
    }  # fmt: skip
    return Output(**values | fields)


def point(name: str, role: Role = Role.INPUT, **fields: Any) -> Point:
    """A point that never grows old; outputs and setpoints get an unlimited `output`."""
    values: dict[str, Any] = {
        "id": name, "role": role, "unit": "", "name": Text(name, name), "device": None,
        "low": -math.inf, "high": math.inf, "period": 1.0 if role is Role.INPUT else 0.0,
        "max_age": math.inf, "report": 0.0, "decimals": 1,
    }  # fmt: skip
    if role in (Role.OUTPUT, Role.SETPOINT):
        values["output"] = output()
    return Point(**values | fields)


def alarm(name: str, **fields: Any) -> Alarm:
    """A priority 2 alarm without delays."""
    values: dict[str, Any] = {
        "id": name, "text": Text(name, name), "checks": (Text("看", "look"),),
        "cause": Text("", ""), "consequence": Text("", ""), "priority": 2, "when": "",
        "point": None, "above": math.nan, "below": math.nan, "deadband": 0.0,
        "on_delay": 0.0, "off_delay": 0.0,
        "latch": False, "suppressed_by": "", "shows": (), "responsible": "", "re_alarm": math.inf,
        "mark": HERE,
    }  # fmt: skip
    return Alarm(**values | fields)
