"""Whether a valve's command moves no faster than the water behind it allows (domain §1.3), whether
one point says where each valve stands (§1.13), and whether the valves of a must-supply path exist.

The checks of `edge/site/checks.py`; the actuator's own stroke is refused by the rule's model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.blocks.expression import ExpressionError, Name, parse
from edge.blocks.valve import Valve
from edge.blocks.water_hammer import too_fast
from edge.blocks.zone_loss import ZoneLoss
from edge.schema.problem import Problem
from edge.schema.units import split_quantity
from edge.site.positions import mentions
from edge.site.references import not_commandable, unknown_point
from edge.text import Text

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


def check_positions(scene: Scene) -> Iterator[Problem]:
    """An automatic move is bound by where the valve was last seen: that takes a point, and one."""
    first: dict[str, str] = {}
    for rule, command, position in mentions(scene.site.rules, scene.kinds):
        point = scene.points.get(command)
        if point is None or point.output is None or split_quantity(position) is not None:
            continue
        mark = scene.sources.at("rules", rule.id).key()
        if position not in scene.points:
            if not _is_name(position):  # a wrong name is told by the references
                yield Problem("valve-position", mark, _EXPRESSION.format(text=position))
        elif first.setdefault(command, position) != position:
            text = _TWO.format(command=command, one=first[command], other=position)
            yield Problem("valve-position", mark, text)


_EXPRESSION = Text(
    '阀位应为一个点, 而不是表达式 "{text}": 反馈失效时, 自动控制只能在最后已知位置附近动作; '
    "请在 rules 里用 value 先算成一个点",
    'the position of a valve is a point, not the expression "{text}": when it is bad, automatic '
    "moves stay near the last known place; make it a point first, with a `value` rule",
)
_TWO = Text(
    "{command} 的阀位有两个说法: {one} 和 {other}; 请统一",
    "the position of {command} is {one} in one rule and {other} in another; name the same",
)


def check_supplies(scene: Scene) -> Iterator[Problem]:
    """A valve with a wrong name would not count as shut when it is: what is on a path is driven."""
    for rule in scene.site.rules:
        if not isinstance(rule.model, ZoneLoss):
            continue
        for i, path in enumerate(rule.model.must_supply):
            for j, name in enumerate(path.through):
                mark = scene.sources.at("rules", rule.id).value(("must_supply", i, "through", j))
                point = scene.points.get(name)
                if point is None:
                    yield unknown_point(name, mark, scene.points)
                elif point.output is None:
                    yield not_commandable(point, mark)


def _is_name(text: str) -> bool:
    try:
        return isinstance(parse(text).tree, Name)
    except ExpressionError:
        return True  # said elsewhere
