"""The expressions of `then`: checked, then evaluated over the words of `seeing.py`.

A sentence is Python's syntax, but only what `ALLOWED` lists: no attributes but dotted names of
points, no calls but words, no loops, no keywords. What passed that is evaluated by Python itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from edge.schema.model import Refusal
from edge.schema.validate import did_you_mean
from edge.text import Text

VALUES: Mapping[str, Callable[..., Any]] = {
    "abs": abs, "len": len, "sum": sum, "sorted": sorted, "set": set, "list": list,
}  # fmt: skip
ALLOWED = (
    ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Slice, ast.List, ast.Tuple,
    ast.Set, ast.Load, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.Mod, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot,
)  # fmt: skip
LONGEST = 1000  # characters: Python's parser is recursive
_AROUND = re.compile(r"(-?[\d.]+)\s*±\s*([\d.]+)")


@dataclass(frozen=True)
class Around:
    """`0.380 ± 0.01`: equal to whatever is not further away."""

    centre: float
    width: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float | int) and abs(other - self.centre) <= self.width + 1e-9

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.centre:g} ± {self.width:g}"


@dataclass(frozen=True)
class Names:
    """What a site has, by what a word's parameter is called: `point`, `device`, `alarm`, …

    `bare` are the names that may stand alone and mean themselves.
    """

    known: Mapping[str, Collection[str]]
    bare: Collection[str] = ()

    def check(self, parameter: str, name: object) -> None:
        """Refuse a name that the site does not have; "" stands for none where it is a default."""
        known = self.known.get(parameter)
        if known is not None and isinstance(name, str) and name not in known and name:
            raise _unknown(WHAT[parameter], name, known)


@dataclass
class Sentence:
    """One expression, checked. `looks` is what to show when it is false, each with its text."""

    text: str
    tree: ast.expr
    looks: list[tuple[str, ast.expr]] = field(default_factory=list)
    points: list[str] = field(default_factory=list)  # that it is about, in order

    def value(self, node: ast.expr, words: Mapping[str, Callable[..., Any]]) -> Any:
        """Evaluate the whole (`tree`) or one of `looks`. Raises whatever the words raise."""
        code = compile(ast.fix_missing_locations(ast.Expression(node)), "then", "eval")
        return eval(code, {"__builtins__": {}}, {**VALUES, "around": Around, **words})


def parse_sentence(
    text: str, words: Mapping[str, Callable[..., Any]], names: Names
) -> Sentence:  # fmt: skip
    """Check a sentence. Raises `Refusal`: what is wrong, and which word was perhaps meant."""
    if len(text) > LONGEST:
        raise Refusal(Text(f"超过 {LONGEST} 字符", f"longer than {LONGEST} characters"))
    try:
        tree = ast.parse(_AROUND.sub(r"around(\1, \2)", text), mode="eval")
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise Refusal(
            Text(f'"{text}" 不是表达式: {reason}', f'"{text}" is no expression: {reason}'),
            "wrong-expression",
        ) from error
    reader = _Reader(words, names)
    made = reader.visit(tree.body)
    found = Sentence(text, made, reader.looks)
    found.points = list(dict.fromkeys(reader.points))
    return found


class _Reader(ast.NodeTransformer):
    """Makes a dotted name a point's value, or a word's argument where a word takes a name."""

    def __init__(self, words: Mapping[str, Callable[..., Any]], names: Names) -> None:
        self._words, self._names = words, names
        self.looks: list[tuple[str, ast.expr]] = []
        self.points: list[str] = []

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, ALLOWED):
            raise Refusal(
                Text(
                    f"表达式中不能用 {type(node).__name__}",
                    f"{type(node).__name__} is not possible in an expression",
                ),
                "wrong-expression",
            )
        return super().visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in VALUES and name not in self._words and name != "around":
            known = {*VALUES, *self._words}
            raise _unknown(Text("词", "word"), ast.unparse(node.func), known)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise Refusal(
                Text(f"{name} 的参数按顺序写", f"the arguments of {name} go by their order"),
                "wrong-expression",
            )
        if name not in self._words:
            node.args = [self.visit(argument) for argument in node.args]
            return node
        text = ast.unparse(node)
        parameters = _parameters(name, self._words[name], len(node.args))
        node.args = [
            self._argument(parameter, argument)
            for parameter, argument in zip(parameters, node.args, strict=False)
        ]
        self.looks.append((text, node))
        return node

    def _argument(self, parameter: str, node: ast.expr) -> ast.expr:
        name = _dotted(node)
        if not name:
            if isinstance(node, ast.Constant):
                self._names.check(parameter, node.value)
            return self.visit(node)  # type: ignore[no-any-return]
        self._names.check(parameter, name)
        if parameter == "point":
            self.points.append(name)
        return ast.Constant(name)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._point(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._point(node)

    def _point(self, node: ast.expr) -> ast.expr:
        name, points = _dotted(node), self._names.known["point"]
        if name in points:
            look = ast.Call(ast.Name("value", ast.Load()), [ast.Constant(name)], [])
            self.looks.append((name, look))
            self.points.append(name)
            return look
        if name not in self._names.bare:
            written, point = name or ast.unparse(node), not name or "." in name or name.islower()
            close = points if point else self._names.bare
            raise _unknown(WHAT["point" if point else "name"], written, close)
        return ast.Constant(name)


def _parameters(name: str, word: Callable[..., Any], count: int) -> list[str]:
    found = [p for p in signature(word).parameters.values() if p.name != "self"]
    least = sum(p.default is Parameter.empty for p in found)
    if not least <= count <= len(found):
        wanted = ", ".join(p.name for p in found)
        raise Refusal(
            Text(f"{name} 的参数是: {name}({wanted})", f"{name} takes {name}({wanted})"),
            "wrong-expression",
        )
    return [p.name for p in found]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def _unknown(what: Text, name: str, known: Collection[str]) -> Refusal:
    hint = did_you_mean(name, known)
    text = Text(f'没有{what.zh} "{name}"{hint.zh}', f'no {what.en} "{name}"{hint.en}')
    return Refusal(text, "unknown-name")


WHAT: Mapping[str, Text] = {
    "point": Text("点", "point"),
    "name": Text("点、报警或状态", "point, alarm or state"),
    "device": Text("设备", "device"),
    "alarm": Text("报警", "alarm"),
    "latch": Text("报警或联锁", "alarm or interlock"),
    "state": Text("报警状态", "state of an alarm"),
    "answer": Text("应答", "answer"),
    "code": Text("事件", "event"),
    "language": Text("语言", "language"),
    "program": Text("程序", "program"),
}
