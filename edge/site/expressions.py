"""Units of expressions: what may be compared or added, and what comes out.

Numbers without a unit fit anything. Called by `edge/site/references.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.blocks.expression import Call, Name, Number, Tree
from edge.schema.model import Refusal
from edge.text import Text

_SAME = frozenset({"add", "sub", "min", "max", "neg", "abs"})
_COMPARE = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})


def unit_of(tree: Tree, units: Mapping[str, str]) -> str | None:
    """The unit of `tree`, None where it fits any or is not known; raises `Refusal` on a mixture."""
    match tree:
        case Number():
            return None
        case Name(id=id):
            return units[id]
        case Call(operator=operator, operands=operands):
            inner = [unit_of(operand, units) for operand in operands]
            return _result(operator, inner)


def _result(operator: str, inner: list[str | None]) -> str | None:
    if operator in _COMPARE:
        _same(inner)
        return ""
    if operator == "if":
        return _same(inner[1:])
    if operator in ("add", "sub") and set(inner) & {"°C", "K"}:
        return _temperature(operator, inner)
    if operator in _SAME:
        return _same(inner)
    if operator in ("mul", "div"):
        return _scaled(operator, inner)
    return ""  # and, or, not


def _same(inner: list[str | None]) -> str | None:
    known = list(dict.fromkeys(unit for unit in inner if unit is not None))
    if len(known) > 1:
        raise _mixed(known[0], known[1])
    return known[0] if known else None


def _temperature(operator: str, inner: list[str | None]) -> str | None:
    """°C - °C are K, °C ± K are °C, and so with plain numbers."""
    left, right = inner
    if left == right == "°C" and operator == "sub":
        return "K"
    if left is None or right is None:
        return None if operator == "sub" else left or right
    if {left, right} == {"°C", "K"}:
        return "°C"
    return _same(inner)


def _scaled(operator: str, inner: list[str | None]) -> str | None:
    """A quantity times or by a plain number keeps its unit; of two, the unit is not known."""
    known = [unit for unit in inner if unit]
    if len(known) != 1:
        return None
    return None if operator == "div" and inner[1] else known[0]


def _mixed(first: str, second: str) -> Refusal:
    return Refusal(
        Text(
            f"单位不同, 不能比较或相加: {_spoken(first).zh} 与 {_spoken(second).zh}",
            f"different units cannot be compared or added: {_spoken(first).en} and "
            f"{_spoken(second).en}",
        ),
        "wrong-unit",
    )


def _spoken(unit: str) -> Text:
    return Text(f'"{unit}"', f'"{unit}"') if unit else Text("无单位", "no unit")
