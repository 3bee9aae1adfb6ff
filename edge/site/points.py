"""Points of devices and setpoints, resolved: units converted, defaults filled in.

Called by `edge/site/build.py`; what a point is called and how it is driven is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from edge.blocks.dali import arc_level
from edge.driver import FieldDevice, FieldPoint
from edge.schema.model import Refusal
from edge.schema.problem import Problem
from edge.site.files import Source
from edge.site.model import OUTPUT_OPTIONS, Amount, PointOptions, SetpointOptions, Span
from edge.site.parts import DevicePart, PointPart, Record
from edge.site.profiles import amount, device_scale
from edge.site.site import Output, Point, Role
from edge.text import Text

MIN_AGE = 5.0  # seconds; domain.md 0.1: stale after three polls, at least five seconds
STALE_POLLS = 3
DARKEST = 0.05  # %: half of arc level 1; what we sent reads back as it was sent
ARC_STEP = 1.5  # %: a level elsewhere, at the bright end, may be 1.4 % more or less light

_DECIMALS = {
    "MPa": 3, "m": 2, "°C": 1, "K": 1, "lx": 0, "%": 1, "kWh": 1, "V": 1, "h": 1, "s": 1,
    "m³/h": 1, "r/min": 0, "ppm": 0, "": 0,
}  # fmt: skip


class Amounts:
    """Converts what is written into a point's unit and collects what cannot be."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def of(
        self,
        written: Amount | None,
        unit: str,
        source: Source,
        *loc: str | int,
        absent: float = math.nan,
        difference: bool = False,
    ) -> float:
        """The number in `unit`; `absent` for None, NaN when it cannot be converted."""
        if written is None:
            return absent
        try:
            return amount(written, unit, difference=difference)
        except Refusal as refusal:
            self.problems.append(Problem(refusal.code, source.value(loc), refusal.text))
            return math.nan

    def span(self, written: Span | None, unit: str, source: Source) -> tuple[float, float]:
        """Both ends of `range`, infinite where nothing is said; they must be in order."""
        if written is None:
            return -math.inf, math.inf
        low = self.of(written[0], unit, source, "range", 0)
        high = self.of(written[1], unit, source, "range", 1)
        if low >= high:
            text = Text(
                f"range 应为 [小, 大], 而不是 [{low:g}, {high:g}]",
                f"range is [low, high], not [{low:g}, {high:g}]",
            )
            self.problems.append(Problem("range-inverted", source.value(("range",)), text))
        return low, high


def decimals(unit: str) -> int:
    """How many digits after the point are shown where nothing is said."""
    return _DECIMALS.get(unit, 2)


def is_output(part: PointPart) -> bool:
    """Whether a device's point is driven: said, implied by an option, or so by nature."""
    if part.options.output is not None:
        return part.options.output
    given = OUTPUT_OPTIONS & part.options.model_fields_set
    return bool(given) or bool(getattr(part.config, "commandable", False))


def field_device(device: DevicePart, amounts: Amounts) -> FieldDevice:
    """The device as its driver sees it."""
    points = tuple(_field_point(device, part, amounts) for part in device.points)
    return FieldDevice(device.id, device.config, points, device.options.fire)


def _field_point(device: DevicePart, part: PointPart, amounts: Amounts) -> FieldPoint:
    options = part.options
    try:
        scale, offset = device_scale(options)
    except Refusal as refusal:
        mark = part.source.value(("device_unit",))
        amounts.problems.append(Problem(refusal.code, mark, refusal.text))
        scale, offset = 1.0, 0.0
    if scale == 0:
        text = Text("scale 不能为 0", "scale cannot be 0")
        amounts.problems.append(Problem("out-of-range", part.source.value(("scale",)), text))
    low, high = amounts.span(options.range, options.unit, part.source)
    if options.curve == "dali":
        _refuse_curve(part, amounts)
        low, high = arc_level(low), arc_level(high)
    return FieldPoint(
        id=f"{device.id}.{part.id}",
        config=part.config,
        scale=scale,
        offset=offset,
        low=low,
        high=high,
        period=options.poll or device.options.poll,
        readable=bool(getattr(part.config, "readable", True)),
        writable=is_output(part),
        curve=options.curve,
    )


def _refuse_curve(part: PointPart, amounts: Amounts) -> None:
    """A curve makes light in % of a level: nothing else, and nothing that already is light."""
    if part.options.unit != "%" or part.options.device_unit is not None:
        where = part.source.value(("curve",))
        amounts.problems.append(Problem("wrong-value", where, _ONLY_LIGHT))


def device_point(device: DevicePart, part: PointPart, field: FieldPoint, amounts: Amounts) -> Point:
    """The same point as the rest of the controller sees it."""
    options = part.options
    if options.output is False:
        _refuse_output_options(part, amounts)
    low, high = field.low, field.high
    if field.curve == "dali":
        low, high = amounts.span(options.range, options.unit, part.source)
        low, high = max(low, 0.0), min(high, 100.0)
    output = _output(device, part, field, high - low, amounts) if field.writable else None
    return Point(
        id=field.id,
        role=Role.OUTPUT if field.writable else Role.INPUT,
        unit=options.unit,
        name=_name(device, part),
        device=device.id,
        low=low,
        high=high,
        period=field.period if field.readable else 0.0,
        max_age=_max_age(options, field),
        report=amounts.of(options.report, options.unit, part.source, "report", difference=True),
        decimals=decimals(options.unit) if options.decimals is None else options.decimals,
        fire=device.options.fire,
        hoa=_near(device, options.hoa),
        output=output,
        labels=options.labels,
    )


def _refuse_output_options(part: PointPart, amounts: Amounts) -> None:
    for key in sorted(OUTPUT_OPTIONS & part.options.model_fields_set):
        text = Text(
            f'"{key}" 只用于输出, 而此点写了 output: false',
            f'"{key}" is for outputs, and this point says output: false',
        )
        amounts.problems.append(Problem("unknown-key", part.source.key((key,)), text))


def _name(device: DevicePart, part: PointPart) -> Text:
    """`三区调节阀 阀位`: the device's name, then the point's."""
    own = part.options.name or Text(part.id, part.id)
    owner = device.options.name or Text(device.id, device.id)
    if part.options.name is None and device.options.name is None:
        return Text(f"{device.id}.{part.id}", f"{device.id}.{part.id}")
    return Text(f"{owner.zh} {own.zh}", f"{owner.en} {own.en}")


def _max_age(options: PointOptions, field: FieldPoint) -> float:
    if options.max_age is not None:
        return options.max_age
    return max(STALE_POLLS * field.period, MIN_AGE) if field.readable else math.inf


def _near(device: DevicePart, name: str | None) -> str | None:
    """A point named from within a device: its own `running` or another's `io.input3`."""
    own = {part.id for part in device.points}
    return f"{device.id}.{name}" if name in own else name


def _output(
    device: DevicePart, part: PointPart, field: FieldPoint, span: float, amounts: Amounts
) -> Output:  # fmt: skip
    options, unit, source = part.options, part.options.unit, part.source
    failsafe: str | float = options.failsafe
    if failsafe not in ("hold", "relinquish"):
        failsafe = amounts.of(failsafe, unit, source, "failsafe")
    deadband = amounts.of(options.deadband, unit, source, "deadband", difference=True)
    close = max(deadband, 0.01 * span if math.isfinite(span) else 0.01)
    if field.curve == "dali":
        close = max(deadband, DARKEST if options.feedback is None else ARC_STEP)
    _refuse_refresh(part, amounts)
    return Output(
        default=amounts.of(options.default, unit, source, "default"),
        failsafe=failsafe,  # type: ignore[arg-type] # one of the two words by now, or a number
        deadband=deadband,
        refresh=math.inf if options.refresh == "never" else options.refresh,
        rate=amounts.of(options.rate, unit, source, "rate", absent=math.inf, difference=True),
        min_on=options.min_on,
        min_off=options.min_off,
        max_starts=options.max_starts,
        feedback=_near(device, options.feedback),
        tolerance=amounts.of(
            options.tolerance, unit, source, "tolerance", absent=close, difference=True
        ),
        settle=options.settle,
        write_interval=options.write_interval,
        eeprom=options.eeprom,
        start_spread=options.start_spread,
    )


def _refuse_refresh(part: PointPart, amounts: Amounts) -> None:
    options = part.options
    if options.refresh == "never":
        return
    text = _WEARS if options.eeprom else _HURRIES
    if options.eeprom or options.refresh < options.write_interval:
        where = part.source.value(("refresh",))
        amounts.problems.append(Problem("wrong-value", where, text))


_ONLY_LIGHT = Text(
    'curve: dali 只用于 unit: "%" 的调光点, 且不能有 device_unit',
    'curve: dali is for a dimming point with unit: "%" and without device_unit',
)
_WEARS = Text(
    "refresh 会磨损 eeprom: true 的寄存器 (24 小时内最多写 10 次); 请去掉二者之一",
    "refresh wears out a register with eeprom: true (at most 10 writes in 24 h); drop one of them",
)
_HURRIES = Text(
    "refresh 不得短于 write_interval; 请延长 refresh 或缩短 write_interval",
    "refresh must not be shorter than write_interval; lengthen it, or shorten write_interval",
)


def setpoint(record: Record[SetpointOptions], amounts: Amounts) -> Point:
    """A commandable point of the controller itself."""
    options, unit, source = record.options, record.options.unit, record.source
    low, high = amounts.span(options.range, unit, source)
    output = Output(
        default=amounts.of(options.default, unit, source, "default"),
        failsafe="hold",
        deadband=0.0,
        refresh=math.inf,
        rate=amounts.of(options.rate, unit, source, "rate", absent=math.inf, difference=True),
        min_on=0.0,
        min_off=0.0,
        max_starts=0,
        feedback=None,
        tolerance=0.0,
        settle=0.0,
    )
    return Point(
        id=record.id,
        role=Role.SETPOINT,
        unit=unit,
        name=options.name or Text(record.id, record.id),
        device=None,
        low=low,
        high=high,
        period=0.0,
        max_age=math.inf,
        report=amounts.of(options.report, unit, source, "report", difference=True),
        decimals=decimals(unit) if options.decimals is None else options.decimals,
        output=output,
        labels=options.labels,
    )


def bypass(id: str, name: Text) -> Point:
    """The setpoint with which a person on site takes an interlock or permissive out of force."""
    output = Output(
        default=0.0, failsafe="hold", deadband=0.0, refresh=math.inf, rate=math.inf, min_on=0.0,
        min_off=0.0, max_starts=0, feedback=None, tolerance=0.0, settle=0.0,
    )  # fmt: skip
    shown = Text(f"{name.zh} 旁路", f"{name.en} bypass")
    labels = {0: Text("有效", "in force"), 1: Text("旁路", "bypassed")}
    point = virtual(f"{id}.bypass", "", shown, low=0.0, high=1.0, labels=labels)
    return replace(point, role=Role.SETPOINT, output=output, bypass=True)


def first_out(id: str) -> Point:
    """Which of the protections of a point came first."""
    labels = {0: Text("否", "no"), 1: Text("首出", "first"), 2: Text("同时", "simultaneous")}
    return virtual(f"{id}.first_out", "", Text(f"{id} 首出", f"{id} first-out"), labels=labels)


def virtual(
    id: str,
    unit: str,
    name: Text,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    shown: int | None = None,
    report: float = 0.0,
    labels: Mapping[int, Text] | None = None,
) -> Point:
    """A point that a rule or the controller itself computes."""
    return Point(
        id=id,
        role=Role.VIRTUAL,
        unit=unit,
        name=name,
        device=None,
        low=low,
        high=high,
        period=0.0,
        max_age=math.inf,
        report=report,
        decimals=decimals(unit) if shown is None else shown,
        labels=labels or {},
    )


class Flag(NamedTuple):
    """A virtual point `<id>.<word>` that is 0 or 1, of a device, an uplink or an interlock."""

    word: str
    text: Text
    off: Text
    on: Text

    def of(self, id: str, name: Text | None) -> Point:
        """The point of one of them."""
        shown = name or Text(id, id)
        text = Text(f"{shown.zh} {self.text.zh}", f"{shown.en} {self.text.en}")
        labels = {0: self.off, 1: self.on}
        return virtual(f"{id}.{self.word}", "", text, low=0.0, high=1.0, labels=labels)
