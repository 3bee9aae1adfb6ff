"""Every place of a site that names points, and whether what it names exists and fits.

Rules, interlocks, alarms, panels, outputs' own feedback. Called by `edge/site/checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from edge.blocks.expression import ExpressionError, parse
from edge.blocks.kind import references
from edge.schema.loader import Loc
from edge.schema.model import Refusal
from edge.schema.problem import Mark, Problem
from edge.schema.units import parse_quantity, split_quantity
from edge.schema.validate import did_you_mean
from edge.site.build import Sources
from edge.site.expressions import unit_of
from edge.site.files import Source
from edge.site.site import Point, Role, Site
from edge.text import Text

CONDITION = ""  # the unit of a condition, as of every boolean
PANEL_OUTPUTS = ("beacon", "buzzer", "relay")
PANEL_INPUTS = ("silence", "acknowledge", "reset", "test")


@dataclass(frozen=True, slots=True)
class Use:
    """One mention: `text` at `mark`, by `owner`; `unit` is what is expected there, None any.

    "input" may be an expression or a quantity, "point" is one point, "target" one that is driven,
    "start" one that needs a permissive.
    """

    owner: str
    text: str
    role: Literal["input", "point", "target", "start"]
    unit: str | None
    mark: Mark


def uses(site: Site, sources: Sources) -> Iterator[Use]:
    """All mentions of points, section by section."""
    for rule in site.rules:
        source = sources.at("rules", rule.id)
        for reference in references(rule.model):
            mark = source.value(_as_written(rule.model, reference.loc))
            role: Literal["input", "target"] = "input" if reference.role == "input" else "target"
            yield Use(rule.id, reference.text, role, reference.unit, mark)
    for interlock in site.interlocks:
        source = sources.at(interlock.section, interlock.id)
        when = source.value(("when",))
        yield Use(interlock.id, interlock.when, "input", CONDITION, when)
        for i, target in enumerate(interlock.trip):
            if interlock.permissive:
                yield Use(interlock.id, target, "start", None, source.value(("start", i)))
            else:
                yield Use(interlock.id, target, "target", None, source.value(("trip", i)))
    yield from _alarm_uses(site, sources)
    yield from _panel_uses(site, sources)
    for point in site.points:
        yield from _point_uses(point, sources.at("points", point.id))


def _alarm_uses(site: Site, sources: Sources) -> Iterator[Use]:
    for alarm in site.alarms:
        source = sources.at("alarms", alarm.id)
        if alarm.when:
            yield Use(alarm.id, alarm.when, "input", CONDITION, source.value(("when",)))
        if alarm.suppressed_by:
            mark = source.value(("suppressed_by",))
            yield Use(alarm.id, alarm.suppressed_by, "input", CONDITION, mark)
        if alarm.point:
            yield Use(alarm.id, alarm.point, "point", None, source.value(("point",)))
        for i, shown in enumerate(alarm.shows):
            if shown != alarm.point:
                yield Use(alarm.id, shown, "point", None, source.value(("shows", i)))


def _panel_uses(site: Site, sources: Sources) -> Iterator[Use]:
    for panel in site.annunciators:
        source = sources.at("annunciators", panel.id)
        for name in (*PANEL_OUTPUTS, *PANEL_INPUTS):
            text = getattr(panel, name)
            if text is not None:
                role: Literal["point", "target"] = "target" if name in PANEL_OUTPUTS else "point"
                yield Use(panel.id, text, role, CONDITION, source.value((name,)))


def _point_uses(point: Point, source: Source) -> Iterator[Use]:
    if point.output is not None and point.output.feedback is not None:
        mark = source.value(("feedback",))
        yield Use(point.id, point.output.feedback, "point", point.unit, mark)
    if point.hoa is not None:
        yield Use(point.id, point.hoa, "point", CONDITION, source.value(("hoa",)))


def _as_written(model: BaseModel, loc: Loc) -> list[str | int]:
    """A path of field names as the keys that stand in the file."""
    path: list[str | int] = []
    here: object = model
    for part in loc:
        if isinstance(here, BaseModel) and isinstance(part, str):
            path.append(type(here).model_fields[part].alias or part)
            here = getattr(here, part)
        elif isinstance(here, list | tuple) and isinstance(part, int):
            path.append(part)
            here = here[part]
    return path


def judge(use: Use, points: Mapping[str, Point]) -> Iterator[Problem]:
    """What is wrong with one mention."""
    quantity = split_quantity(use.text) if use.role == "input" else None
    if quantity is not None:
        yield from _quantity(use)
    elif use.text in points:
        yield from _fits(use, points[use.text])
    elif use.role == "input":
        yield from _expression(use, points)
    else:
        yield unknown_point(use.text, use.mark, points)


def _quantity(use: Use) -> Iterator[Problem]:
    """A literal such as "0.40 MPa" where a point could stand."""
    if use.unit is None:
        return
    try:
        parse_quantity(use.text, use.unit)
    except Refusal as refusal:
        yield Problem(refusal.code, use.mark, refusal.text)


def _fits(use: Use, point: Point) -> Iterator[Problem]:
    driven = use.role in ("target", "start")
    if driven and (point.bypass or point.role not in (Role.OUTPUT, Role.SETPOINT)):
        yield not_commandable(point, use.mark)
    elif use.unit is not None and use.unit != point.unit:
        yield _wrong_unit(use, point.id, point.unit)


def not_commandable(point: Point, mark: Mark) -> Problem:
    """The problem of driving what cannot be driven."""
    text = _BYPASS if point.bypass else _ROLES[point.role]
    return Problem("not-commandable", mark, text.format(point=point.id))


_BYPASS = Text(
    "{point} 只能由现场人员用 edge bypass 操作, 规则和远程命令都不能控制",
    "{point} is for people on site (edge bypass): neither rules nor remote commands drive it",
)


_ROLES = {
    Role.INPUT: Text(
        "{point} 是输入点, 不能控制; 输出请写 output: true",
        "{point} is an input and cannot be driven; an output says output: true",
    ),
    Role.VIRTUAL: Text(
        "{point} 是虚拟点, 不能控制",
        "{point} is a virtual point and cannot be driven",
    ),
}


def _wrong_unit(use: Use, what: str, unit: str) -> Problem:
    wanted, found = _spoken(use.unit or ""), _spoken(unit)
    text = Text(
        f"{what} 是{found.zh}, 此处应为{wanted.zh}",
        f"{what} is {found.en}, here {wanted.en} is wanted",
    )
    return Problem("wrong-unit", use.mark, text)


def _spoken(unit: str) -> Text:
    if unit:
        return Text(f'以 "{unit}" 为单位的量', f'a quantity in "{unit}"')
    return Text("开关量或计数 (无单位)", "a condition or a count (no unit)")


def _expression(use: Use, points: Mapping[str, Point]) -> Iterator[Problem]:
    try:
        expression = parse(use.text)
    except ExpressionError as error:
        zh = f'"{use.text}" 第 {error.column} 个字符: {error.text.zh}'
        en = f'"{use.text}" at character {error.column}: {error.text.en}'
        yield Problem("wrong-expression", use.mark, Text(zh, en))
        return
    unknown = [name for name in expression.names if name not in points]
    if unknown:
        yield from (unknown_point(name, use.mark, points) for name in unknown)
        return
    try:
        unit = unit_of(expression.tree, {name: points[name].unit for name in expression.names})
    except Refusal as refusal:
        yield Problem(refusal.code, use.mark, refusal.text)
        return
    if use.unit is not None and unit is not None and unit != use.unit:
        yield _wrong_unit(use, f'"{use.text}"', unit)


def unknown_point(name: str, mark: Mark, points: Mapping[str, Point]) -> Problem:
    """The problem of a point that does not exist, with the nearest that does."""
    hint = did_you_mean(name, points, listed=0, near=0.75)
    text = Text(f'没有点 "{name}"{hint.zh}', f'no point "{name}"{hint.en}')
    return Problem("unknown-point", mark, text)
