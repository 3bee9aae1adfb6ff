"""A block kind's page, made of its declaration: options, inputs, outputs, points, alarms, example.

Markdown, in one language or in both. Called by `edge blocks`; `docs/blocks.md` is all of them.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from edge.blocks import KINDS
from edge.blocks.kind import Input, Kind, Target, Trips
from edge.schema.model import Model
from edge.schema.units import Duration, Quantity
from edge.text import Language, Text

PLAIN = re.compile(r"[A-Za-z_][\w.]*( (and|or|[<>+*/-]=?|[\w.]+))*|\d+(\.\d+)? ?[^\s\"'#:,{}\[\]]+")
OPTION, UNIT, DEFAULT, RANGE = (
    Text("选项", "option"), Text("单位", "unit"), Text("缺省", "default"), Text("范围", "range"),
)  # fmt: skip
REQUIRED = Text("必填", "required")
INPUT, OUTPUT, PROTECTS = Text("输入", "input"), Text("输出", "output"), Text("保护", "protects")
OPTIONS = Text("选项", "Options")
SHOWN = Text("显示的点", "Points")
ALARMS = Text("报警", "Alarms")
EXAMPLE = Text("示例", "Example")
NAME, MEANING = Text("名称", "name"), Text("含义", "meaning")
PERIOD = Text("周期 {every} s, 优先级 {slot}", "every {every} s, slot {slot}")
SCAN = Text("每次扫描, 优先级 {slot}", "every scan, slot {slot}")
INTRODUCTION = Text(
    "规则里 `block:` 可写的功能块。一页说明一种: 选项, 输入输出, 显示的点, 报警, 示例。"
    "报警编号以规则名开头, 但只写一次: 规则 `fire` 的是 FIRE_PUMP_NOT_AUTO。"
    "本文件由 `edge blocks --all` 生成。",
    "What `block:` may name in a rule. For each kind its options, inputs and outputs, the points "
    "it shows, its alarms and a worked example. An alarm's id begins with the rule's name, once: a "
    "rule `fire` brings FIRE_PUMP_NOT_AUTO. Made by `edge blocks --all`.",
)


class Page:
    """Writes in one language, or in both when `language` is None."""

    def __init__(self, language: Language | None) -> None:
        self._language = language

    def of(self, text: Text) -> str:
        """The text in the page's language or languages."""
        if self._language is not None:
            return text.of(self._language)
        return text.en if text.zh == text.en else f"{text.zh} · {text.en}"

    def document(self) -> str:
        """All kinds: `docs/blocks.md`."""
        lines = [f"# {self.of(Text('功能块', 'Blocks'))}", "", self.of(INTRODUCTION), ""]
        lines += self._table(
            (self.of(NAME), self.of(MEANING)),
            [(f"[`{k.name}`](#{k.name})", self.of(k.text)) for k in KINDS.values()],
        )
        for kind in KINDS.values():
            lines += ["", *self.kind(kind)]
        return "\n".join(lines).rstrip() + "\n"

    def kind(self, kind: Kind) -> list[str]:
        """One kind."""
        when = SCAN if kind.every == 0.0 else PERIOD
        about = self.of(when.format(every=f"{kind.every:g}", slot=kind.slot))
        lines = [f"## {kind.name}", "", f"**{self.of(kind.text)}** ({about})", ""]
        lines += [*_paragraphs(kind.model), ""]
        lines += [f"### {self.of(OPTIONS)}", "", *self._options(kind.model)]
        model = kind.model.model_validate(dict(kind.examples[0].options))
        lines += ["", f"### {self.of(SHOWN)}", "", *self._points(kind, model)]
        if kind.alarms(model):
            lines += ["", f"### {self.of(ALARMS)}", "", *self._alarms(kind, model)]
        lines += ["", f"### {self.of(EXAMPLE)}", "", kind.examples[0].title, ""]
        lines += ["```yaml", *_example(kind), "```", ""]
        return [*lines, f"![{kind.name}](blocks/{kind.name}.svg)"]

    def _options(self, model: type[Model]) -> list[str]:
        rows = [self._row(name, info) for name, info in _fields(model)]
        return self._table([self.of(t) for t in (OPTION, UNIT, DEFAULT, RANGE)], rows)

    def _row(self, name: str, info: FieldInfo) -> tuple[str, ...]:
        marks = _marks(info)
        role = next((r for m, r in ((Input, INPUT), (Target, OUTPUT), (Trips, PROTECTS))
                     if any(isinstance(each, m) for each in marks)), None)  # fmt: skip
        unit = _unit(info, marks)
        if role is not None:
            unit = f"{self.of(role)} {unit}".strip()
        required = info.is_required()
        return f"`{name}`", unit, self.of(REQUIRED) if required else _shown(info), _range(info)

    def _points(self, kind: Kind, model: Model) -> list[str]:
        rows = []
        for point in kind.publishes(model):
            labels = "; ".join(f"{n} {self.of(text)}" for n, text in point.labels.items())
            meaning = self.of(point.text) + (f" ({labels})" if labels else "")
            rows.append((f"`<rule>{'.' * bool(point.name)}{point.name}`", point.unit, meaning))
        return self._table([self.of(t) for t in (NAME, UNIT, MEANING)], rows)

    def _alarms(self, kind: Kind, model: Model) -> Iterator[str]:
        for alarm in kind.alarms(model):
            identity = alarm.id.replace("{RULE}", "<RULE>").replace("{rule}", "<rule>")
            yield f"* `{identity}` P{alarm.priority} {self.of(alarm.text)}"
            yield from (f"  * {self.of(check)}" for check in alarm.checks)

    def _table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        return [
            f"| {' | '.join(head)} |",
            "|" + "---|" * len(head),
            *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
        ]


def _paragraphs(model: type[Model]) -> list[str]:
    said = inspect.cleandoc(model.__doc__ or "")
    return said.splitlines()


def _fields(model: type[Model], before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The options, those of list elements after the list."""
    for name, info in model.model_fields.items():
        yield before + name, info
        elements = get_args(info.annotation)
        if elements and isinstance(elements[0], type) and issubclass(elements[0], Model):
            yield from _fields(elements[0], f"{before}{name}[].")


def _marks(info: FieldInfo) -> list[Any]:
    """Everything that annotates a field, inside an optional one too."""
    found = list(info.metadata)
    if get_origin(info.annotation) in (Union, UnionType):
        for member in get_args(info.annotation):
            if get_origin(member) is Annotated:
                for mark in get_args(member)[1:]:
                    found += mark.metadata if isinstance(mark, FieldInfo) else [mark]
    return found


def _unit(info: FieldInfo, marks: Sequence[Any]) -> str:
    if any(type(mark) is type(get_args(Duration)[2]) for mark in marks):
        return "s"
    for mark in marks:
        if isinstance(mark, Quantity | Input | Target):
            return mark.unit or ""
    return ""


def _shown(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    if value in (None, (), ""):
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _range(info: FieldInfo) -> str:
    members = get_args(info.annotation) if info.annotation is not None else ()
    for annotation in (info.annotation, *members):
        if get_origin(annotation) is Literal:
            return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    signs = ((Gt, "gt", ">"), (Ge, "ge", "≥"), (Lt, "lt", "<"), (Le, "le", "≤"))
    marks = _marks(info)
    return ", ".join(
        f"{sign} {getattr(mark, word):g}"
        for kind, word, sign in signs
        for mark in marks
        if isinstance(mark, kind)
    )


def _example(kind: Kind) -> Iterator[str]:
    yield "rules:"
    yield "  example:"
    if kind.name != "value":
        yield f"    block: {kind.name}"
    yield from _yaml(kind.examples[0].options, "    ")


def _yaml(options: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in options.items():
        nested = isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value)
        if nested:
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {_flow(element)}" for element in value)
        else:
            yield f"{indent}{key}: {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
