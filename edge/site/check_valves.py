"""Whether a valve's command moves no faster than the water behind it allows (domain §1.3).

One check of `edge/site/checks.py`; the actuator's own stroke is refused by the rule's model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.blocks.valve import Valve
from edge.blocks.water_hammer import too_fast
from edge.schema.problem import Problem

if TYPE_CHECKING:
    from edge.site.checks import Scene


def check_valves(scene: Scene) -> Iterator[Problem]:
    """The `rate` of a supervised valve whose pipe is known."""
    for rule in scene.site.rules:
        if not isinstance(rule.model, Valve) or rule.model.pipe_length is None:
            continue
        point = scene.points.get(str(rule.model.command))
        if point is None or point.output is None or math.isinf(point.output.rate):
            continue
        text = too_fast(100.0 / point.output.rate, rule.model.pipe_length)
        if text is not None:
            mark = scene.sources.at("points", point.id).value(("rate",))
            yield Problem("water-hammer", mark, text)
