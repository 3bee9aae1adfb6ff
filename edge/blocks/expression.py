"""Expressions over points: a small, safe part of Python's own syntax, parsed once, never executed.

    tank.level < 0.3 and not booster.p1.run        max(zone1.pressure, zone2.pressure) - 0.05
    0.2 < lobby.lux <= 2000                        150 if hall.occupied else 50

Not an evaluator: `edge/rules/compile.py` turns the tree into instructions of the kernel. Read by
the site checks too, for the names in it.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from edge.errors import EdgeError
from edge.schema.model import Refusal
from edge.schema.units import UNITS, canonical, conversion, parse_quantity, split_quantity
from edge.text import Text

LONGEST = 1000  # characters
DEEPEST = 40  # levels of the tree

# In Python a point id such as `fan.in` or `zone.3` is no name. With its dots replaced by a middle
# dot it is one, of the same length, so that columns stay true.
_DOTTED = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)+", re.ASCII)
_DOT = "\u00b7"

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_FUNCTIONS = {"min": "min", "max": "max", "abs": "abs"}
_CONSTANTS = {"true": 1.0, "false": 0.0}
_ALLOWED = Text(
    "可用点、数字(不带单位)、and/or/not、== != < <= > >=、+ - * /、min、max、abs、"
    "x if c else y、true、false",
    "use points, numbers (without unit), and/or/not, == != < <= > >=, + - * /, min, max, abs, "
    "x if c else y, true, false",
)


class ExpressionError(EdgeError):
    """The text is no expression we take. `column` counts from 1 within it."""

    def __init__(self, text: Text, column: int) -> None:
        super().__init__(text.en)
        self.text = text
        self.column = column


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; true and false are 1 and 0."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A point, by id."""

    id: str


@dataclass(frozen=True, slots=True)
class Call:
    """An operator of `edge/blocks/operators.py` on its operands."""

    operator: str
    operands: tuple[Tree, ...]


Tree = Number | Name | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; `names` are the points in it, each once, in order of appearance."""

    text: str
    tree: Tree
    names: tuple[str, ...]


def parse(text: str) -> Expression:
    """Parse `text`; raises ExpressionError, which says where and what would be right."""
    if len(text) > LONGEST:
        raise _error("too long; split it into virtual points", "过长, 请拆成虚拟点", LONGEST)
    # A comment sign would silently cut off the rest; other scripts are typing slips (full-width).
    strange = re.search(r"[^\x20-\x22\x24-\x7e\s]", text)
    if strange:
        plain = unicodedata.normalize("NFKC", strange.group())
        known = "\uff01" <= strange.group() <= "\uff5e"  # full-width forms
        raise _error(
            f"{strange.group()!r} is no part of an expression"
            + (f"; write the plain {plain!r}" if known else ""),
            f"表达式不能含有 {strange.group()!r}" + (f"; 请改用半角 {plain!r}" if known else ""),
            strange.start(),
        )
    if not text.strip():
        raise _error("an empty expression", "表达式为空", 0)
    tree = _Reader(text).read()
    return Expression(text, tree, tuple(dict.fromkeys(_names(tree))))


def quantity(source: str | float, unit: str | None) -> float | None:
    """The number when `source` is one, with or without its unit; None when it is an expression.

    In `unit`, or, where any unit fits, in the canonical unit of what is written. Raises Refusal
    for a unit that does not fit.
    """
    if not isinstance(source, str):
        return float(source)
    parts = split_quantity(source)
    if parts is None:
        return None
    return parse_quantity(source, _home(parts[1]) if unit is None else unit)


def _home(written: str) -> str:
    """The canonical unit of a written one: kPa is held in MPa, and K stays K, no temperature."""
    try:
        return canonical(written)
    except Refusal:
        pass
    for unit in UNITS:
        try:
            conversion(written, unit)
        except Refusal:
            continue
        return unit
    return ""  # unknown: parse_quantity says so


class _Reader:
    """Walks Python's tree of one text and takes what is allowed."""

    def __init__(self, text: str) -> None:
        flat = re.sub(r"\s", " ", text)
        dotted = _DOTTED.sub(lambda match: match.group().replace(".", _DOT), flat)
        self._source = dotted.strip()
        self._indent = len(dotted) - len(dotted.lstrip())

    def read(self) -> Tree:
        try:
            root = ast.parse(self._source, mode="eval").body
        except SyntaxError as error:
            raise _error(
                f"no expression from here on: {_ALLOWED.en}",
                f"从此处起不是表达式: {_ALLOWED.zh}",
                self._indent + (error.offset or 1) - 1,
            ) from None
        except (RecursionError, MemoryError, ValueError):
            raise _too_deep(self._indent) from None
        return self._tree(root, 1)

    def _tree(self, item: ast.expr, depth: int) -> Tree:
        if depth > DEEPEST:
            raise _too_deep(self._column(item))
        match item:
            case ast.Name(id=name) if name in _CONSTANTS:
                return Number(_CONSTANTS[name])
            case ast.Name(id=name):
                return Name(name.replace(_DOT, "."))
            case ast.Constant(value=value):
                return self._number(item, value)
            case ast.BoolOp(op=op, values=values):
                name = "and" if isinstance(op, ast.And) else "or"
                return self._call(name, values, depth)
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(op, operand, depth, item)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._call(_BINARY[type(op)], [left, right], depth)
            case ast.Compare():
                return self._compare(item, depth)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._call("if", [test, body, other], depth)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                return self._function(item, name, args, depth)
        raise self._refused(item)

    def _call(self, operator: str, operands: list[ast.expr], depth: int) -> Call:
        return Call(operator, tuple(self._tree(operand, depth + 1) for operand in operands))

    def _number(self, item: ast.expr, value: object) -> Number:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refused(item)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise _error("the number is too large", "数值过大", self._column(item))
        return Number(number)

    def _unary(self, op: ast.unaryop, operand: ast.expr, depth: int, item: ast.expr) -> Tree:
        if isinstance(op, ast.UAdd):
            return self._tree(operand, depth + 1)
        if isinstance(op, ast.Not):
            return self._call("not", [operand], depth)
        if isinstance(op, ast.USub):
            inner = self._tree(operand, depth + 1)
            return Number(-inner.value) if isinstance(inner, Number) else Call("neg", (inner,))
        raise self._refused(item)

    def _compare(self, item: ast.Compare, depth: int) -> Tree:
        if not all(type(op) in _COMPARE for op in item.ops):
            raise self._refused(item)
        sides = [self._tree(side, depth + 1) for side in (item.left, *item.comparators)]
        pairs = tuple(
            Call(_COMPARE[type(op)], (sides[i], sides[i + 1])) for i, op in enumerate(item.ops)
        )
        return pairs[0] if len(pairs) == 1 else Call("and", pairs)

    def _function(self, item: ast.expr, name: str, args: list[ast.expr], depth: int) -> Call:
        single = name == "abs"
        if (len(args) != 1) if single else (len(args) < 2):
            raise _error(
                f"{name} takes {'one value' if single else 'two values or more'}",
                f"{name} 需要{'一个值' if single else '两个或更多值'}",
                self._column(item),
            )
        return self._call(_FUNCTIONS[name], args, depth)

    def _refused(self, item: ast.expr) -> ExpressionError:
        piece = (ast.get_source_segment(self._source, item) or "").replace(_DOT, ".")
        shown = piece if len(piece) <= 40 else piece[:37] + "..."
        return _error(
            f"{shown!r} is not allowed: {_ALLOWED.en}",
            f"不能使用 {shown!r}: {_ALLOWED.zh}",
            self._column(item),
        )

    def _column(self, item: ast.expr) -> int:
        before = self._source.encode()[: item.col_offset]  # ast counts bytes, people characters
        return self._indent + len(before.decode())


def _names(tree: Tree) -> Iterator[str]:
    if isinstance(tree, Name):
        yield tree.id
    elif isinstance(tree, Call):
        for operand in tree.operands:
            yield from _names(operand)


def _too_deep(start: int) -> ExpressionError:
    return _error(
        "nested too deeply; split it into virtual points", "嵌套过深, 请拆成虚拟点", start
    )


def _error(en: str, zh: str, start: int) -> ExpressionError:
    return ExpressionError(Text(zh, en), start + 1)
