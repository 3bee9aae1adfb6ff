"""The live screen of `edge watch` and `edge demo`: one picture of a running controller.

Draws, and asks nobody: `Scene` brings model, snapshot and health as the local API gives them.
Colour means alarm priority only; a bad value is dim and in brackets; what a person holds is blue.
Alignment counts the places that characters really take, so Chinese stays in line; no box-drawing
or other characters of ambiguous width.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text as Rich

from edge.cli import health as health_words
from edge.cli.alarms import age_text, numbers_text, standing, state_text
from edge.cli.points import Shown, duration_text, owner_text, quality_text, shown, value_text
from edge.image.slots import Slot
from edge.text import Language, Text

Json = dict[str, Any]
Align = Literal["left", "right"]

PRIORITY = {1: "bold white on red", 2: "black on dark_orange", 3: "black on yellow", 4: "reverse"}
HELD = "bold blue"
BAD = "dim italic"
TITLE = "bold"
WIDE = 150  # columns from which outputs stand beside the inputs
OWNED = 68  # columns below which (a telephone) nobody's requests are shown
NAMED = 96  # columns from which a list of points has room for names


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn. `keys` is the last line, `notice` the one above it; `scroll` skips points."""

    model: Json
    snapshot: Json
    health: Json
    language: Language
    keys: Text
    notice: Text | None = None
    scroll: int = 0
    only: tuple[Shown, ...] | None = None  # these points instead of all


def draw(scene: Scene, width: int, height: int) -> Group:
    """The whole screen: at most `height` lines of at most `width` places."""
    head = [headline(scene, width)]
    tail = _tail(scene, width)
    room = height - len(head) - len(tail)
    alarms = _alarms(scene, width, max(2, room // 2))
    points = _points(scene, width, room - len(alarms))
    lines = head + alarms + points
    lines += [Rich("")] * (height - len(lines) - len(tail))
    return Group(*(lines + tail)[:height])


def cell(text: str, width: int, style: str = "", align: Align = "left") -> Rich:
    """A piece of a line that takes exactly `width` places."""
    made = Rich(text, style=style, no_wrap=True)
    if cell_len(text) > width:
        made.truncate(max(0, width - 1))
        made.append("~")
    return pad(made, width, align)


def pad(text: Rich, width: int, align: Align) -> Rich:
    missing = width - text.cell_len
    if missing > 0:
        (text.pad_left if align == "right" else text.pad_right)(missing)
    return text


def row(parts: Sequence[Rich], width: int) -> Rich:
    made = Rich("", no_wrap=True)
    for part in parts:
        made.append_text(part)
    made.truncate(width)
    return made


def headline(scene: Scene, width: int) -> Rich:
    """Site, time, and the sentence that says whether anybody is needed."""
    site = scene.model["site"]
    zone = ZoneInfo(site["timezone"])
    time = datetime.datetime.fromtimestamp(scene.snapshot["t"], zone)
    alarms = standing(scene.snapshot["alarms"])
    count = len(alarms)
    said = ALARMS.format(count=count) if count else NORMAL
    worst = min((alarm["priority"] for alarm in alarms), default=0)
    left = [Rich(f" {site['name'][scene.language]} ", TITLE), Rich(" ")]
    left.append(Rich(f" {said.of(scene.language)} ", PRIORITY.get(worst, "")))
    if scene.snapshot.get("observe"):
        left.append(Rich(f" {OBSERVING.of(scene.language)}", HELD))
    scan = scene.health["scan"]["p99_ms"]
    mark = "" if scene.snapshot["clock"] == "trusted" else "? "
    right = f"{SCAN.of(scene.language).format(ms=scan)}  " if width >= OWNED else " "
    right += f"{mark}{time:%H:%M:%S} "
    line = row(left, width - cell_len(right))
    return row([pad(line, width - cell_len(right), "left"), Rich(right)], width)


def _alarms(scene: Scene, width: int, room: int) -> list[Rich]:
    """The alarms, worst first; first checks of as many as there is room for."""
    entries = standing(scene.snapshot["alarms"])
    lines: list[Rich] = []
    for i, entry in enumerate(entries):
        left = room - len(lines)
        others = len(entries) - i - 1
        if left <= 1 and others:
            more = MORE_ALARMS.format(count=others + 1).of(scene.language)
            return [*lines, cell(f"     {more}", width)]
        lines.append(_alarm_line(scene, entry, width))
        details = _alarm_details(scene, entry)
        lines += [cell(f"     {detail}", width) for detail in details[: max(0, left - 1 - others)]]
    return lines


def _alarm_line(scene: Scene, entry: Json, width: int) -> Rich:
    definition = scene.model["alarms"].get(entry["id"], {})
    text = definition.get("text", {}).get(scene.language, "")
    state = state_text(entry["state"]).of(scene.language)
    age = age_text(entry, scene.snapshot["t"], scene.language)
    style = PRIORITY.get(entry["priority"], "")
    loud = entry["state"] in ("UNACK", "LATCHED_UNACK")
    end = f" {state}  {age} "
    return row(
        [
            Rich(f" {entry['priority']} ", style),
            cell(f" {text}  {entry['id']}", width - 3 - cell_len(end), TITLE if loud else ""),
            Rich(end, TITLE if loud else ""),
        ],
        width,
    )


def _alarm_details(scene: Scene, entry: Json) -> list[str]:
    """Numbers, then the first checks one by one."""
    definition = scene.model["alarms"].get(entry["id"], {})
    numbers = numbers_text(scene.model, entry, scene.language)
    checks = definition.get("checks", [])
    steps = [f"{i}. {check[scene.language]}" for i, check in enumerate(checks, 1)]
    return ([numbers] if numbers else []) + steps


def _points(scene: Scene, width: int, room: int) -> list[Rich]:
    """Outputs and inputs; side by side where there is room."""
    if scene.only is not None:
        points = list(scene.only)
    else:
        concerned = {
            name for alarm in standing(scene.snapshot["alarms"]) for name in alarm["numbers"]
        }
        points = [p for p in shown(scene.model, scene.snapshot) if not p.local]
        points.sort(key=lambda point: _rank(point, concerned))
    driven = [p for p in points if p.role in ("output", "setpoint")]
    seen = [p for p in points if p.role not in ("output", "setpoint")]
    if width >= WIDE and driven and seen:
        half = width // 2
        right = _table(scene, seen, width - half - 1, room)
        left = _table(scene, driven, half, room)
        return [
            row([pad(a or Rich(), half, "left"), Rich(" "), b or Rich()], width)
            for a, b in zip_longest(left, right)
        ]
    return _table(scene, points, width, room)


def _rank(point: Shown, concerned: set[str]) -> int:
    """What needs an eye first, then what is driven, then what is measured, then the rest."""
    protected = point.slot == Slot.PROTECT
    if (point.bad and point.device) or point.held or protected or point.id in concerned:
        return 0
    if 0 < point.slot < Slot.DEFAULT:
        return 1
    return 2 if point.unit else 3


def _table(scene: Scene, points: Sequence[Shown], width: int, room: int) -> list[Rich]:
    """A title and a line per point, from `scroll` on; the last line says what is left out."""
    if room < 2:
        return []
    first = min(scene.scroll, max(0, len(points) - (room - 1)))
    visible = points[first : first + room - 1]
    hidden = len(points) - first - len(visible)
    columns = _columns(points, width)
    titles = [t.of(scene.language) for t in (POINT, NAME, VALUE, QUALITY, OWNER)]
    if hidden or first:
        titles[0] += f" {first + 1}-{first + len(visible)}/{len(points)}"
    cells = [cell(t, w, TITLE, a) for t, w, a in zip(titles, columns, ALIGN, strict=True) if w]
    lines = [row(cells, width)]
    return lines + [_point_line(scene, point, columns, width) for point in visible]


def _columns(points: Sequence[Shown], width: int) -> tuple[int, int, int, int, int]:
    """Widths of id, name, value, quality with age, owner."""
    value, quality = 12, 17
    owner = 0
    if width >= OWNED and any(p.role in ("output", "setpoint") for p in points):
        owner = 26 + min(15, max(0, width - 80) // 2)
    left = width - owner - value - quality
    longest = max((len(p.id) for p in points), default=8) + 2
    identifier = max(12, min(longest, left - (12 if width >= NAMED else 0)))
    name = left - identifier if left - identifier >= 10 else 0
    return identifier + (left - identifier - name), name, value, quality, owner


def _point_line(scene: Scene, point: Shown, columns: Sequence[int], width: int) -> Rich:
    language = scene.language
    style = BAD if point.bad else HELD if point.held else ""
    quality = quality_text(point, language)
    age = duration_text(point.age, language)
    note = f" {quality} {age}" if quality else f" {age}"
    name = _end(point.name.of(language), max(0, columns[1] - 1))
    texts = (point.id, name, value_text(point, language), note,
             f" {owner_text(point, language)}")  # fmt: skip
    return row(
        [cell(t, w, style, a) for t, w, a in zip(texts, columns, ALIGN, strict=True) if w], width
    )


def _end(text: str, width: int) -> str:
    """The end of a name that is too long: its beginning is the device's, as in the point's id."""
    if cell_len(text) <= width:
        return text
    kept = text[1:]
    while kept and cell_len(kept) >= width:
        kept = kept[1:]
    return f"~{kept.lstrip()}"


def _tail(scene: Scene, width: int) -> list[Rich]:
    """Buses with their silent devices, uplinks, what just happened, the keys."""
    language, now = scene.language, scene.snapshot["t"]
    lines = []
    for bus in scene.health["buses"]:
        silent = [d for d in bus["devices"] if not d["online"]]
        text = f" {health_words.bus_text(bus, language)}"
        parts = [Rich(text, "" if bus["up"] else TITLE)]
        parts += [Rich(f"  {health_words.device_text(d, now, language)}", TITLE) for d in silent]
        if bus["up"] and silent and sum(part.cell_len for part in parts) > width:
            parts[0] = Rich(f" {bus['id']}")  # who is silent matters more than counts
        lines.append(row(parts, width))
    for uplink in scene.health["uplinks"]:
        style = "" if uplink["up"] else TITLE
        lines.append(row([Rich(f" {health_words.uplink_text(uplink, language)}", style)], width))
    if scene.notice is not None:
        lines.append(cell(f" {scene.notice.of(language)}", width, TITLE))
    lines.append(cell(f" {scene.keys.of(language)}", width, "reverse"))
    return lines


ALIGN: tuple[Align, ...] = ("left", "left", "right", "left", "left")
POINT = Text("点", "point")
NAME = Text("名称", "name")
VALUE = Text("值", "value")
QUALITY = Text(" 质量与时效", " quality, age")
OWNER = Text(" 给定与来源", " asked for, by")
NORMAL = Text("无报警", "no alarms")
ALARMS = Text("{count} 条报警", "alarms: {count}")
MORE_ALARMS = Text("还有 {count} 条报警", "{count} more alarms")
OBSERVING = Text("只观察, 不写设备", "observing, writes nothing")
SCAN = Text("扫描 {ms:.1f} 毫秒", "scan {ms:.1f} ms")
