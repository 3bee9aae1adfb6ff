"""Every record of a site as its frozen model: options of drivers and block kinds included.

The second phase: files → models. What one record alone can get wrong is found here; what takes
several is left to `edge/site/checks.py`. Called by `edge/site/load.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from edge.blocks.calendar import Calendar
from edge.blocks.kind import Kind
from edge.driver import DriverKind
from edge.schema.model import Model, Refusal
from edge.schema.problem import Problem
from edge.schema.validate import did_you_mean, validate
from edge.site.bms import BmsOptions
from edge.site.files import Files, Part, Source
from edge.site.model import (
    AlarmOptions,
    AnnunciatorOptions,
    BusOptions,
    DeviceOptions,
    GrantOptions,
    Header,
    InterlockOptions,
    Outbox,
    PermissiveOptions,
    PointOptions,
    Scan,
    SetpointOptions,
    Time,
    UplinkOptions,
    UserOptions,
    ValueRule,
    identifier,
    word,
)
from edge.site.profiles import Map, Profiles, unknown_driver
from edge.site.split import Pair, validate_pair
from edge.text import Text

M = TypeVar("M", bound=Model)
T = TypeVar("T")

VALUE = "value"  # the kind that a rule with `value:` is an instance of


@dataclass(frozen=True, slots=True)
class Record(Generic[M]):
    """One record of a section and where it was written."""

    id: str
    options: M
    source: Source


@dataclass(frozen=True, slots=True)
class BusPart:
    """A bus with its driver's options."""

    id: str
    kind: DriverKind
    config: Any
    source: Source


@dataclass(frozen=True, slots=True)
class PointPart:
    """A device's point; `id` is its name within the device."""

    id: str
    options: PointOptions
    config: Any
    source: Source


@dataclass(frozen=True, slots=True)
class DevicePart:
    """A device with its driver's options and its points, the profile's first."""

    id: str
    options: DeviceOptions
    config: Any
    points: tuple[PointPart, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class RulePart:
    """A rule; `model` is its block kind's. `shown` is how a `value:` rule's point is shown."""

    id: str
    kind: str
    model: Model
    source: Source
    shown: ValueRule | None = None


@dataclass(slots=True)
class Parts:
    """All records of a site, typed."""

    header: Header
    root: Source
    scan: Scan = field(default_factory=Scan)
    clock: Time = field(default_factory=Time)
    outbox: Outbox = field(default_factory=Outbox)
    buses: dict[str, BusPart] = field(default_factory=dict)
    devices: dict[str, DevicePart] = field(default_factory=dict)
    rules: dict[str, RulePart] = field(default_factory=dict)
    setpoints: dict[str, Record[SetpointOptions]] = field(default_factory=dict)
    interlocks: dict[str, Record[InterlockOptions]] = field(default_factory=dict)
    permissives: dict[str, Record[PermissiveOptions]] = field(default_factory=dict)
    alarms: dict[str, Record[AlarmOptions]] = field(default_factory=dict)
    annunciators: dict[str, Record[AnnunciatorOptions]] = field(default_factory=dict)
    users: dict[str, Record[UserOptions]] = field(default_factory=dict)
    commands: dict[str, Record[GrantOptions]] = field(default_factory=dict)
    uplinks: dict[str, Record[UplinkOptions]] = field(default_factory=dict)
    calendars: dict[str, Record[Calendar]] = field(default_factory=dict)
    bms: Record[BmsOptions] | None = None


def read_parts(
    files: Files, drivers: Mapping[str, DriverKind], kinds: Mapping[str, Kind]
) -> tuple[Parts | None, list[Problem]]:
    """Validate everything that `files` holds; all problems at once, parts only without any."""
    reader = _Reader(files, drivers, kinds)
    parts = reader.read()
    failed = any(problem.level == "error" for problem in reader.problems)
    return (None if failed else parts), reader.problems


class _Reader:
    def __init__(
        self, files: Files, drivers: Mapping[str, DriverKind], kinds: Mapping[str, Kind]
    ) -> None:
        self.problems: list[Problem] = []
        self._files = files
        self._drivers = drivers
        self._kinds = kinds
        self._profiles = Profiles(files, drivers)

    def read(self) -> Parts | None:
        root = self._files.root
        if root is None:
            return None
        header = self._one("site", Header, root)
        scan = self._one("scan", Scan, root)
        clock = self._one("clock", Time, root)
        outbox = self._one("outbox", Outbox, root)
        buses = self._each("buses", self._bus)
        parts = {
            "devices": self._each("devices", self._device),
            "rules": self._each("rules", self._rule),
            "setpoints": self._each("setpoints", self._record(SetpointOptions), identifier),
            "interlocks": self._each("interlocks", self._record(InterlockOptions)),
            "permissives": self._each("permissives", self._record(PermissiveOptions)),
            "alarms": self._each("alarms", self._record(AlarmOptions)),
            "annunciators": self._each("annunciators", self._record(AnnunciatorOptions)),
            "calendars": self._each("calendars", self._record(Calendar)),
            "users": self._each("users", self._record(UserOptions), str),
            "commands": self._each("commands", self._record(GrantOptions), identifier),
            "uplinks": self._each("uplink", self._record(UplinkOptions)),
        }
        bms = self._files.single.get("bms")
        served = self._record(BmsOptions)("", bms) if bms else None
        self.problems += self._profiles.problems
        if header is None or scan is None or clock is None or outbox is None:
            return None
        return Parts(header, root, scan, clock, outbox, buses, **parts, bms=served)

    def _one(self, section: str, model: type[M], root: Source) -> M | None:
        part = self._files.single.get(section, Part({}, root))
        if section == "site" and section not in self._files.single:
            text = Text('缺少 "site" 一节', 'the section "site" is missing')
            self.problems.append(Problem("missing-key", root.value(), text))
            return None
        return self._keep(validate(model, part.data, part.source))

    def _each(
        self,
        section: str,
        read: Callable[[str, Part], Any],
        name: Callable[[str], str] = word,
    ) -> dict[str, Any]:
        found = {}
        for id, part in self._files.tables[section].items():
            try:
                name(id)
            except Refusal as refusal:
                self.problems.append(Problem(refusal.code, part.source.key(), refusal.text))
                continue
            record = read(id, part)
            if record is not None:
                found[id] = record
        return found

    def _record(self, model: type[M]) -> Callable[[str, Part], Record[M] | None]:
        def read(id: str, part: Part) -> Record[M] | None:
            options = self._keep(validate(model, part.data, part.source))
            return None if options is None else Record(id, options, part.source)

        return read

    def _keep(self, result: tuple[T | None, list[Problem]]) -> T | None:
        self.problems += result[1]
        return result[0]

    def _bus(self, id: str, part: Part) -> BusPart | None:
        kind = self._driver(part)
        if kind is not None:
            pair = self._keep(validate_pair(BusOptions, kind.bus, part.data, part.source))
            return None if pair is None else BusPart(id, kind, pair.config, part.source)
        name = part.data.get("driver") if isinstance(part.data, Mapping) else None
        if isinstance(name, str):
            self.problems.append(unknown_driver(name, part.source, self._drivers))
        else:
            self._only("driver", BusOptions, part)
        return None

    def _driver(self, bus: Part) -> DriverKind | None:
        name = bus.data.get("driver") if isinstance(bus.data, Mapping) else None
        return self._drivers.get(name) if isinstance(name, str) else None

    def _only(self, key: str, model: type[Model], part: Part) -> None:
        """Say what is wrong with the one key that decides what the others mean."""
        data = part.data
        if isinstance(data, Mapping):
            data = {key: data[key]} if key in data else {}
        self._keep(validate(model, data, part.source))

    def _device(self, id: str, part: Part) -> DevicePart | None:
        data = part.data if isinstance(part.data, Mapping) else {}
        kind = self._driver_of(data.get("bus"), part)
        name = data.get("profile")
        mark = part.source.value(["profile"])
        profile = self._profiles.get(name, mark) if isinstance(name, str) else None
        if kind is None or (profile is None and isinstance(name, str)):
            return None
        if profile is not None and profile.profile.driver != kind.name:
            other, bus = profile.profile.driver, data["bus"]
            text = Text(
                f'模板 "{name}" 用于 {other}, 总线 {bus} 是 {kind.name}',
                f'profile "{name}" is for {other}, bus {bus} is {kind.name}',
            )
            self.problems.append(Problem("wrong-driver", mark, text))
            return None
        joined, source = part.data, part.source
        if profile is not None and isinstance(part.data, Mapping):
            joined = {**profile.profile.device, **part.data}
            source = source.over(profile.source.below("device"))
        pair = self._keep(validate_pair(DeviceOptions, kind.device, joined, source))
        if pair is None:
            return None
        points = self._points(pair.options, kind, part.source, profile)
        return DevicePart(id, pair.options, pair.config, points, part.source)

    def _driver_of(self, bus: object, part: Part) -> DriverKind | None:
        """The driver of the device's bus; a bus without one is not reported again."""
        if not isinstance(bus, str):
            self._only("bus", DeviceOptions, part)
            return None
        buses = self._files.tables["buses"]
        if bus not in buses:
            hint = did_you_mean(bus, buses)
            text = Text(f'没有总线 "{bus}"{hint.zh}', f'no bus "{bus}"{hint.en}')
            self.problems.append(Problem("unknown-bus", part.source.value(["bus"]), text))
            return None
        return self._driver(buses[bus])

    def _points(
        self, options: DeviceOptions, kind: DriverKind, site: Source, profile: Map | None
    ) -> tuple[PointPart, ...]:
        """The profile's points with what the site changes, then the site's own."""
        base = profile.profile.points if profile else {}
        found = []
        for id in dict.fromkeys((*base, *options.points)):
            source = site.below("points", id)
            if profile is not None and id in base:
                source = source.over(profile.source.below("points", id))
            if profile is not None and id not in options.points:
                pair: Pair[PointOptions] | None = profile.points[id]
            else:
                data = {**base.get(id, {}), **options.points.get(id, {})}
                pair = self._keep(validate_pair(PointOptions, kind.point, data, source))
            if pair is not None:
                found.append(PointPart(id, pair.options, pair.config, source))
        return tuple(found)

    def _rule(self, id: str, part: Part) -> RulePart | None:
        data = part.data
        if not isinstance(data, Mapping) or ("block" not in data and "value" not in data):
            text = Text(
                '规则要有 "block: 类型" 或 "value: 表达式"',
                'a rule has "block: kind" or "value: expression"',
            )
            self.problems.append(Problem("missing-key", part.source.key(), text))
            return None
        if "block" not in data:
            return self._value_rule(id, part)
        name = data["block"]
        if not isinstance(name, str):
            text = Text("应为功能块的名称", "should be the name of a block")
            self.problems.append(Problem("wrong-type", part.source.value(["block"]), text))
            return None
        if name not in self._kinds:
            hint = did_you_mean(name, self._kinds)
            text = Text(f'没有功能块 "{name}"{hint.zh}', f'no block "{name}"{hint.en}')
            self.problems.append(Problem("unknown-block", part.source.value(["block"]), text))
            return None
        rest = {key: value for key, value in data.items() if key != "block"}
        kind = self._kinds[name]
        model = self._keep(validate(kind.model, rest, part.source, also=("block",)))
        return None if model is None else RulePart(id, kind.name, model, part.source)

    def _value_rule(self, id: str, part: Part) -> RulePart | None:
        shown = self._keep(validate(ValueRule, part.data, part.source))
        if shown is None:
            return None
        kind = self._kinds[VALUE]
        model = kind.model.model_validate({"value": shown.value, "unit": shown.unit})
        return RulePart(id, VALUE, model, part.source, shown)
