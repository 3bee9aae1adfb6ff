"""A snapshot of the local API as records and as words: value, quality, age, owner.

Pure; used by the live view, by `watch`, and by whoever prints a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from edge.cli.command import Failed
from edge.image.quality import BAD, names, names_zh
from edge.image.slots import NAMES_ZH, Slot
from edge.text import Language, Text

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """One point as a person sees it. `target`, `slot`, `by` are of commandable points only.

    `age` is in seconds, None when nothing has arrived yet; `left` are the seconds until a person's
    hold ends, None without end.
    """

    id: str
    name: Text
    device: str  # "" for virtual points and setpoints
    role: str
    unit: str
    decimals: int
    labels: dict[str, Json]
    value: float | None
    bits: int
    age: float | None
    target: float | None = None
    slot: int = 0
    by: str = ""
    held: bool = False
    left: float | None = None
    bound: tuple[float | None, float | None] | None = None  # see `outputs` of `View.state`
    local: bool = False  # tells of a bus or a device: shown when asked for

    @property
    def bad(self) -> bool:
        """Whether the value must not be used."""
        return bool(self.bits & BAD)


def shown(model: Json, snapshot: Json) -> list[Shown]:
    """Every point of a snapshot, in the site's order."""
    made = []
    for i, point in enumerate(model["points"]):
        entry = snapshot["v"].get(str(i))
        value, bits = entry[:2] if isinstance(entry, list) else (entry, 0)
        output = snapshot["outputs"].get(point["id"], {})
        hold = snapshot["holds"].get(point["id"])
        until = hold["until"] if hold else None
        made.append(
            Shown(
                id=point["id"],
                name=Text(point["name"]["zh"], point["name"]["en"]),
                device=point.get("device", ""),
                role=point["role"],
                unit=point["unit"],
                decimals=point["d"],
                labels=point.get("labels", {}),
                value=value,
                bits=bits,
                age=snapshot["age"][i],
                target=output.get("value"),
                slot=output.get("slot", 0),
                by=hold["by"] if hold else output.get("by", ""),
                held=hold is not None,
                left=None if until is None else until - snapshot["t"],
                bound=None if "held" not in output else tuple(output["held"]),
                local=point.get("local", False),
            )
        )
    return made


def chosen(
    points: Sequence[Shown], wanted: Sequence[str], *, everything: bool = False
) -> list[Shown]:
    """The points that were asked for by id, by device or by pattern; all when nothing was.

    What tells of buses and devices would drown the others: it is left out where a word fits other
    points too. `v3` is the valve's own, `v3.link` and `*.link.age` are what is measured of it.
    """
    if not wanted:
        return [point for point in points if everything or not point.local]
    found: list[Shown] = []
    for word in wanted:
        matching = [p for p in points if matches(p.id, word)]
        if not everything and not all(p.local for p in matching):
            matching = [p for p in matching if not p.local]
        if not matching:
            raise unknown(word, [p.id for p in points])
        found += [p for p in matching if p not in found]
    return found


def matches(point: str, word: str) -> bool:
    """Whether `word` is the point, its device, or a pattern that fits it."""
    return point == word or point.startswith(word + ".") or fnmatchcase(point, word)


def unknown(word: str, known: Sequence[str]) -> Failed:
    """A name that is no point, with the nearest one."""
    close = get_close_matches(word, known, 1, 0.5)
    zh = f'; 是不是 "{close[0]}"?' if close else "; 用 edge watch --once 列出全部点"
    en = f'; did you mean "{close[0]}"?' if close else "; `edge watch --once` lists all points"
    return Failed(Text(f'没有点 "{word}"{zh}', f'there is no point "{word}"{en}'))


def number_text(point: Shown, value: float | None, language: Language) -> str:
    """A value of this point: its label, or digits and unit; a dash for none."""
    return written(value, point.labels, point.decimals, point.unit, language)


def written(value: float | None, labels: Json, decimals: int, unit: str, language: Language) -> str:
    """A value in words, from what the model says of its point."""
    if value is None:
        return "--"
    label = labels.get(f"{value:.0f}")
    return str(label[language]) if label is not None else f"{value:.{decimals}f} {unit}".rstrip()


def value_text(point: Shown, language: Language) -> str:
    """The value now; a bad one keeps its last number in brackets, never unmarked."""
    text = number_text(point, point.value, language)
    return f"({text})" if point.bad and point.value is not None else text


def quality_text(point: Shown, language: Language) -> str:
    """What is known about the value, "" when it is good."""
    return " ".join(names_zh(point.bits) if language == "zh" else names(point.bits))


def owner_text(point: Shown, language: Language) -> str:
    """What is asked of an output, by which slot and whom: `80 % control 14 supply`."""
    if point.role not in ("output", "setpoint"):
        return ""
    if point.bound == (None, None):
        return Text("位置未知, 不动", "place unknown, not moved").of(language)
    if not point.slot:
        return Text("无人请求", "nobody asks").of(language)
    slot = slot_text(point.slot, language)
    left = "" if point.left is None else f" {duration_text(max(0.0, point.left), language)}"
    held = ""
    if point.bound is not None and point.slot >= Slot.CORRECT:
        low, high = point.bound
        word = Text("限于", "held to").of(language)
        held = f" {word} {low:.{point.decimals}f}..{high:.{point.decimals}f}"
    return f"{number_text(point, point.target, language)} {slot}{left}{held} {point.by}".rstrip()


def slot_text(slot: int, language: Language) -> str:
    """Name and number of a slot of the ladder; a foreign one has its number only."""
    try:
        named = Slot(slot)
    except ValueError:
        return f"{slot}"
    name = NAMES_ZH[named] if language == "zh" else named.name.lower().replace("_", " ")
    return f"{name} {slot}"


def duration_text(seconds: float | None, language: Language) -> str:
    """A duration in the unit that suits it; a dash for none."""
    if seconds is None:
        return "--"
    for limit, size, zh, en in DURATIONS:
        if seconds < limit:
            digits = 1 if size == 1.0 and seconds < 10 else 0
            return f"{seconds / size:.{digits}f} {zh if language == 'zh' else en}"
    return f"{seconds / 86400:.0f} {'天' if language == 'zh' else 'd'}"


DURATIONS = (
    (120.0, 1.0, "秒", "s"),
    (7200.0, 60.0, "分钟", "min"),
    (172800.0, 3600.0, "小时", "h"),
)
