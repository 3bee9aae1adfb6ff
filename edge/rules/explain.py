"""Why a point has its value: the ladder slot by slot, the rule behind it, its inputs, recursively.

Reads the site, the programs and the image; computes nothing anew and changes nothing. Made for
`edge explain` and the local API: plain data, and lines of text from that data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from edge.blocks import KINDS
from edge.blocks.expression import parse, quantity
from edge.blocks.kind import NOTHING, Kind, layout, trips
from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import NAMES_ZH, SLOTS, Slot
from edge.rules.program import Programs
from edge.site.positions import positions
from edge.site.requests import requests
from edge.site.site import Interlock, Point, Role, Rule, Site
from edge.text import Language, Text

Who = Mapping[tuple[str, int], str]
"""Who made the request at (point, slot): a command's id and person; for the slots of people."""

DEEPEST = 12  # virtual points behind one another


@dataclass(frozen=True, slots=True)
class Level:
    """One slot of a point's ladder that asks for something. `expires` in seconds from now."""

    slot: int
    name: Text
    value: float
    who: str
    expires: float
    wins: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """Automatic requests are kept between `low` and `high` because `because` is bad; both are None
    where nobody knows the place, and nothing automatic moves it.
    """

    low: float | None
    high: float | None
    because: str


@dataclass(frozen=True, slots=True)
class Read:
    """One input of a rule: the option, what stands there, and the points in it."""

    option: str
    text: str
    points: tuple[Explanation, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """A rule or an interlock ("rules.supply", "interlocks.dry") with what it reads.

    `note` says of several that stopped an output which came first.
    """

    owner: str
    kind: str
    text: Text
    inputs: tuple[Read, ...]
    note: Text = NOTHING


@dataclass(frozen=True, slots=True)
class Explanation:
    """One point: what it is now, where that comes from, and for outputs who asks for what.

    `age` is in seconds, `source` says where a value that nobody here makes comes from. `decided` is
    what the arbiter chose (NaN nobody asks), `winner` its slot, 0 nobody. `causes` are what makes a
    virtual point, or the rule and the interlocks behind the winning slot. `bound`: of a valve that
    nobody sees.
    """

    point: str
    name: Text
    role: str
    unit: str
    decimals: int
    value: float
    label: Text
    bits: tuple[str, ...]
    bits_zh: tuple[str, ...]
    age: float
    source: Text
    decided: float
    winner: int
    levels: tuple[Level, ...]
    causes: tuple[Cause, ...]
    bound: Bound | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data: texts as {"zh", "en"}, None where there is no number."""
        found = _plain(self)
        assert isinstance(found, dict)
        return found


def explain(
    site: Site, programs: Programs, image: ProcessImage, point: str, now: float,
    *, commands: Who | None = None, kinds: Mapping[str, Kind] = KINDS,
) -> Explanation:  # fmt: skip
    """Explain one point of the site at site time `now`. KeyError when there is no such point."""
    return _Explainer(site, programs, image, now, commands or {}, kinds).point(point, ())


class _Explainer:
    def __init__(
        self, site: Site, programs: Programs, image: ProcessImage, now: float, commands: Who,
        kinds: Mapping[str, Kind],
    ) -> None:  # fmt: skip
        self._site, self._image, self._now = site, image, now
        self._commands, self._kinds = commands, kinds
        self._index = site.index()
        self._ordinal = {site.points[i].id: c for c, i in enumerate(programs.commandable)}
        self._makers = dict(_makers(site, kinds))
        self._requests = {(r.point, r.slot): r for r in requests(site, kinds)}
        self._rules = {rule.id: rule for rule in site.rules}
        self._tripped_at = programs.tripped
        self._valves = positions(site.rules, kinds)
        self._guards: dict[str, list[Rule | Interlock]] = {}
        for interlock in site.interlocks:
            for point in interlock.trip:
                self._guards.setdefault(point, []).append(interlock)
        for rule in site.rules:
            for point in trips(rule.model):
                self._guards.setdefault(point, []).append(rule)
        self._urged = [
            (urge.point, f"{rule.id}.{urge.when}", rule)
            for rule in site.rules
            for urge in kinds[rule.kind].urges(rule.model)
        ]

    def point(self, name: str, above: tuple[str, ...]) -> Explanation:
        """`above` are the points on the way here: none is explained within itself."""
        at, image = self._index[name], self._image
        point = self._site.points[at]
        bits, value = int(image.quality[at]), float(image.value[at])
        levels = self._levels(point) if name in self._ordinal else ()
        winner = next((level.slot for level in levels if level.wins), 0)
        deeper = () if name in above or len(above) >= DEEPEST else self._behind(name, winner)
        ordinal = self._ordinal.get(name)
        return Explanation(
            point=name, name=point.name, role=str(point.role), unit=point.unit,
            decimals=point.decimals, value=value, label=_label(point, value),
            bits=quality.names(bits), bits_zh=quality.names_zh(bits),
            age=self._now - float(image.stamp[at]), source=self._source(point),
            decided=math.nan if ordinal is None else float(image.target[ordinal]),
            winner=winner, levels=levels,
            causes=tuple(self._cause(item, (*above, name)) for item in deeper),
            bound=None if ordinal is None else self._bound(name, ordinal),
        )  # fmt: skip

    def _bound(self, name: str, ordinal: int) -> Bound | None:
        low, high = map(float, self._image.span[:, ordinal])
        if math.isnan(low):
            return None
        nowhere = low > high
        return Bound(None if nowhere else low, None if nowhere else high, self._valves[name])

    def _behind(self, name: str, winner: int) -> list[Rule | Interlock]:
        """What makes a virtual point, or what asks at the winning slot of an output."""
        if name in self._makers:
            return [self._makers[name]]
        if winner == Slot.PROTECT:
            return self._tripped(name)
        request = self._requests.get((name, winner))
        rule = request and self._rules.get(request.id)
        return [rule] if rule else []

    def _tripped(self, point: str) -> list[Rule | Interlock]:
        """What keeps a point at slot 5, what came first before the others; where nothing stops it,
        the rules that urge it."""
        value = self._image.value
        asked = float(self._image.request[Slot.PROTECT - 1, self._ordinal[point]])
        found = [item for item in self._guards.get(point, ()) if self._stops(item, asked)]
        urging = (r for name, when, r in self._urged if name == point and value[self._index[when]])
        return sorted(found, key=lambda item: not self._first_out(item)) or list(urging)

    def _stops(self, item: Rule | Interlock, asked: float) -> bool:
        value, bits = self._image.value, self._image.quality
        if isinstance(item, Interlock) and item.permissive:
            at = self._index[item.shown]
            return asked == 0.0 and bool(value[at] == 0.0) and not bits[at] & quality.BAD
        return bool(value[self._tripped_at[item.id]] == 1.0)

    def _first_out(self, item: Rule | Interlock) -> int:
        """0: not, 1: it came first, 2: with another one in the same scan."""
        at = self._index.get(f"{item.id}.first_out")
        return 0 if at is None or not self._image.value[at] > 0 else int(self._image.value[at])

    def _cause(self, item: Rule | Interlock, above: tuple[str, ...]) -> Cause:
        if isinstance(item, Interlock):
            read = Read("when", item.when, self._points(item.when, above))
            text = Text("联锁", "interlock") if item.name == Text("", "") else item.name
            kind_ = "permissive" if item.permissive else "interlock"
            return Cause(_owner(item), kind_, text, (read,), _FIRST[self._first_out(item)])
        kind, inputs = self._kinds[item.kind], []
        for operand in layout(kind, item.model).operands:
            if operand.role != "input" or operand.source is None:
                continue
            option, source = ".".join(map(str, operand.loc)), operand.source
            expression = isinstance(source, str) and quantity(source, operand.unit) is None
            points = self._points(str(source), above) if expression else ()
            inputs.append(Read(option, str(source), points))
        inputs += self._told(item, kind, above)
        note = _FIRST[self._first_out(item)]
        return Cause(_owner(item), item.kind, kind.text, tuple(inputs), note)

    def _told(
        self, rule: Rule, kind: Kind, above: tuple[str, ...]
    ) -> Iterator[Read]:  # fmt: skip
        """Results that say how the rule works at present, without what they are made of again."""
        for published in kind.publishes(rule.model):
            name = f"{rule.id}.{published.name}"
            if published.told and name not in above:
                yield Read(published.name, name, (self.point(name, (*above, name)),))

    def _points(self, text: str, above: tuple[str, ...]) -> tuple[Explanation, ...]:
        return tuple(self.point(name, above) for name in parse(text).names if name in self._index)

    def _levels(self, point: Point) -> tuple[Level, ...]:
        image, ordinal = self._image, self._ordinal[point.id]
        winner = int(image.owner[ordinal])
        return tuple(
            Level(
                slot, _slot_name(slot), float(image.request[slot - 1, ordinal]),
                self._who(point, slot), float(image.expires[slot - 1, ordinal]) - self._now,
                slot == winner,
            )
            for slot in range(1, SLOTS + 1)
            if not math.isnan(image.request[slot - 1, ordinal])
        )  # fmt: skip

    def _who(self, point: Point, slot: int) -> str:
        if (point.id, slot) in self._commands:
            return self._commands[point.id, slot]
        if slot == Slot.PROTECT:
            return ", ".join(_owner(item) for item in self._tripped(point.id))
        request = self._requests.get((point.id, slot))
        return "" if request is None else f"{request.section}.{request.id}"

    def _source(self, point: Point) -> Text:
        """Where a value comes from that no rule makes: the poll, or the ladder of a setpoint."""
        for bus in self._site.buses:
            for poll in bus.polls:
                if point.id in poll.points:
                    where, every = f"{poll.device}, {poll.label}", f"{poll.period:g}"
                    return Text(
                        f"设备 {where} (总线 {bus.id}, 每 {every} 秒)",
                        f"device {where} (bus {bus.id}, every {every} s)",
                    )
        if point.device is not None:
            return Text(
                f"设备 {point.device}, 只写不读", f"device {point.device}, written and never read"
            )
        if point.role is Role.SETPOINT:
            return Text("设定值, 由人或系统给定", "a setpoint, given by people or systems")
        if point.local:
            return Text("由控制器每秒测得", "measured by the controller each second")
        return Text("", "")


def _owner(item: Rule | Interlock) -> str:
    return f"{item.section if isinstance(item, Interlock) else 'rules'}.{item.id}"


_FIRST = (NOTHING, Text("首出", "first-out"), Text("同时动作", "simultaneous"))


def _makers(site: Site, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Rule | Interlock]]:
    for rule in site.rules:
        for published in kinds[rule.kind].publishes(rule.model):
            yield (f"{rule.id}.{published.name}" if published.name else rule.id), rule
    for interlock in site.interlocks:
        yield interlock.shown, interlock


def _slot_name(slot: int) -> Text:
    if slot not in NAMES_ZH:
        return Text(str(slot), str(slot))
    return Text(NAMES_ZH[Slot(slot)], Slot(slot).name.lower().replace("_", " "))


def _label(point: Point, value: float) -> Text:
    known = math.isfinite(value) and value == int(value)
    return point.labels.get(int(value), Text("", "")) if known else Text("", "")


def _plain(value: object) -> object:
    if isinstance(value, Text):
        return {"zh": value.zh, "en": value.en}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def render(data: Mapping[str, Any], language: Language) -> list[str]:
    """Lines of text for what `Explanation.as_json` gives, as it comes over the local API too.

    The API adds `notes`: what keeps the controller from driving an output, whatever is asked.
    """
    return _Pen(language).explanation(data)


class _Pen:
    def __init__(self, language: Language) -> None:
        self._language = language

    def explanation(self, data: Mapping[str, Any]) -> list[str]:
        lines = [self._headline(data)]
        lines += [f"  {note[self._language]}" for note in data.get("notes", ())]
        lines += [f"  {line}" for line in self._bound(data)]
        lines += [f"  {self._level(level, data)}" for level in data["levels"]]
        if data["role"] in ("output", "setpoint") and not data["levels"]:
            lines.append("  " + self._say("没有任何请求", "nobody asks for anything"))
        for cause in data["causes"]:
            lines += [f"  {line}" for line in self._cause(cause)]
        return lines

    def _bound(self, data: Mapping[str, Any]) -> Iterator[str]:
        bound = data.get("bound")
        if not bound:
            return
        because = bound["because"]
        if bound["low"] is None:
            yield self._say(
                f"位置未知 ({because} 无效): 自动控制不动它, 只有人可以",
                f"nobody knows where it stands ({because} is bad): only people move it",
            )
            return
        low = f"{bound['low']:.{data['decimals']}f}"
        span = f"{low}..{self._number(data, bound['high'])}"
        whose = "" if data["winner"] >= Slot.CORRECT else "automatic control is "
        yield self._say(
            f"{because} 无效, 自动控制限于 {span}",
            f"{whose}held to {span} because {because} is bad",
        )

    def _say(self, zh: str, en: str) -> str:
        return zh if self._language == "zh" else en

    def _number(self, data: Mapping[str, Any], value: float | None) -> str:
        if value is None:
            return self._say("无值", "no value")
        return f"{value:.{data['decimals']}f} {data['unit']}".rstrip()

    def _headline(self, data: Mapping[str, Any]) -> str:
        parts = [f"{data['point']} = {self._number(data, data['value'])}"]
        if data["label"][self._language]:
            parts[0] += f" ({data['label'][self._language]})"
        bits = data["bits_zh"] if self._language == "zh" else data["bits"]
        parts.append(", ".join(bits) or self._say("正常", "good"))
        if data["age"] is not None:
            parts.append(self._say(f"{data['age']:.1f} 秒前", f"{data['age']:.1f} s ago"))
        if data["source"][self._language]:
            parts.append(data["source"][self._language])
        return " · ".join(parts)

    def _level(self, level: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        name = level["name"][self._language]
        head = f"{'→' if level['wins'] else ' '} {level['slot']:2d} {name}"
        parts = [f"{head}: {self._number(data, level['value'])}"]
        if level["who"]:
            parts.append(level["who"])
        if level["expires"] is not None:
            left = level["expires"]
            parts.append(self._say(f"{left:.0f} 秒后到期", f"expires in {left:.0f} s"))
        if level["wins"] and data["decided"] not in (None, level["value"]):
            decided = self._number(data, data["decided"])
            limited = self._say("按变化率限制, 现为", "rate-limited, now")
            bound = data.get("bound") and level["slot"] >= Slot.CORRECT
            word = self._say("现为", "now") if bound else limited
            parts.append(f"{word} {decided}")
        return " · ".join(parts)

    def _cause(self, cause: Mapping[str, Any]) -> list[str]:
        lines = [f"{cause['owner']} ({cause['text'][self._language]})"]
        if cause["note"][self._language]:
            lines[0] += f" · {cause['note'][self._language]}"
        for read in cause["inputs"]:
            points = read["points"]
            alone = len(points) == 1 and points[0]["point"] == read["text"]
            if not alone:
                lines.append(f"  {read['option']}: {read['text']}")
            for nested in points:
                inner = self.explanation(nested)
                lines.append(f"  {read['option']}: {inner[0]}" if alone else f"    {inner[0]}")
                lines += [("  " if alone else "    ") + line for line in inner[1:]]
        return lines
