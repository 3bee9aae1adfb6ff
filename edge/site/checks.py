"""What a whole site must agree on: one function per noun, in one list.

The last phase, on the resolved site. Called by `edge/site/load.py`. Whether the points named
anywhere exist and fit is `edge/site/references.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from edge.blocks.kind import Kind, trips
from edge.image.slots import Slot
from edge.schema.model import Refusal
from edge.schema.problem import Mark, Problem
from edge.schema.units import parse_quantity, split_quantity
from edge.schema.validate import did_you_mean
from edge.site import cost
from edge.site.build import Sources
from edge.site.check_bms import check_bms
from edge.site.check_corrections import check_corrections
from edge.site.check_loops import check_loops
from edge.site.check_valves import check_positions, check_supplies, check_valves
from edge.site.references import Use, judge, not_commandable, unknown_point, uses
from edge.site.site import Point, Role, Site
from edge.text import Text


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks look at."""

    site: Site
    sources: Sources
    kinds: Mapping[str, Kind]
    points: Mapping[str, Point]
    uses: tuple[Use, ...]


def check_site(site: Site, sources: Sources, kinds: Mapping[str, Kind]) -> list[Problem]:
    """Every problem of every check."""
    points = {point.id: point for point in site.points}
    scene = Scene(site, sources, kinds, points, tuple(uses(site, sources)))
    return [problem for check in CHECKS for problem in check(scene)]


def check_references(scene: Scene) -> Iterator[Problem]:
    """Every point that is named exists and fits; fire devices have a word of their own."""
    for use in scene.uses:
        point = scene.points.get(use.text)
        if use.role in ("target", "start") and point is not None and point.fire:
            yield _fire(use.mark, point.id)
        else:
            yield from judge(use, scene.points)


def check_fire(scene: Scene) -> Iterator[Problem]:
    """Fire equipment is watched, never driven (domain.md 1.20)."""
    for point in scene.site.points:
        if point.fire and point.role is Role.OUTPUT:
            yield _fire(scene.sources.at("points", point.id).key(), point.id)
    for device in (device for bus in scene.site.buses for device in bus.devices if device.fire):
        if option := getattr(device.config, "written", ""):
            yield _fire(scene.sources.at("devices", device.id).key((option,)), device.id)
    for grant in scene.site.grants:
        point_ = scene.points.get(grant.point)
        if point_ is not None and point_.fire:
            yield _fire(scene.sources.at("commands", grant.point).key(), grant.point)


def _fire(mark: Mark, point: str) -> Problem:
    text = Text(
        f"{point} 属于消防设备 (fire: true): 只监视, 不控制",
        f"{point} belongs to a fire device (fire: true): watched, never driven",
    )
    return Problem("fire-device", mark, text)


def check_requests(scene: Scene) -> Iterator[Problem]:
    """Two owners never ask for the same output at the same slot with different intentions."""
    rules = {rule.id: rule for rule in scene.site.rules}
    values = {i.id: i.value for i in scene.site.interlocks if not i.permissive}
    values |= {rule.id: 0.0 for rule in scene.site.rules if trips(rule.model)}
    asked: dict[tuple[str, int], Use] = {}
    for use in scene.uses:
        if use.role != "target":
            continue
        rule = rules.get(use.owner)
        own = scene.kinds[rule.kind].slot if rule else Slot.CONTROL  # a panel's
        slot = Slot.PROTECT if use.owner in values else own
        first = asked.setdefault((use.text, slot), use)
        agreed = use.owner in values and values[use.owner] == values.get(first.owner)
        if first is not use and not agreed:
            text = Text(
                f"{use.text} 已由 {first.owner} ({first.mark}) 在优先级 {int(slot)} 控制",
                f"{use.text} is driven at slot {int(slot)} by {first.owner} already ({first.mark})",
            )
            yield Problem("output-conflict", use.mark, text)


def check_ranges(scene: Scene) -> Iterator[Problem]:
    """Defaults, failsafes, limits and grants lie within what is physically possible."""
    for point in scene.site.points:
        source = scene.sources.at("points", point.id)
        if point.output is not None:
            for key, value in (
                ("default", point.output.default),
                ("failsafe", point.output.failsafe),
            ):
                if isinstance(value, float) and _outside(value, point):
                    yield _out_of_range(source.value((key,)), key, value, point)
    for alarm in scene.site.alarms:
        watched = scene.points.get(alarm.point or "")
        source = scene.sources.at("alarms", alarm.id)
        for key, value in (("above", alarm.above), ("below", alarm.below)):
            if watched is not None and _outside(value, watched):
                yield _out_of_range(source.value((key,)), key, value, watched)
    for grant in scene.site.grants:
        granted = scene.points.get(grant.point)
        source = scene.sources.at("commands", grant.point)
        for i, value in enumerate((grant.low, grant.high)):
            if granted is not None and _outside(value, granted):
                yield _out_of_range(source.value(("range", i)), "range", value, granted)
    for interlock in scene.site.interlocks:
        source = scene.sources.at(interlock.section, interlock.id)
        for name in interlock.trip:
            tripped = scene.points.get(name)
            if tripped is not None and _outside(interlock.value, tripped):
                yield _out_of_range(source.value(("value",)), "value", interlock.value, tripped)


def _outside(value: float, point: Point) -> bool:
    return value < point.low or value > point.high


def _out_of_range(mark: Mark, key: str, value: float, point: Point) -> Problem:
    unit = f" {point.unit}" if point.unit else ""
    span = f"[{point.low:g}, {point.high:g}]{unit}"
    text = Text(
        f"{key} {value:g}{unit} 超出 {point.id} 的量程 {span}",
        f"{key} {value:g}{unit} lies outside the range of {point.id}, {span}",
    )
    return Problem("outside-range", mark, text)


def check_alarms(scene: Scene) -> Iterator[Problem]:
    """An alarm says when it comes and what a person does first (domain.md 2.1)."""
    for alarm in scene.site.alarms:
        mark = scene.sources.at("alarms", alarm.id).key()
        limits = not (math.isnan(alarm.above) and math.isnan(alarm.below))
        if not alarm.checks:
            yield Problem("alarm-without-checks", mark, _NO_CHECKS)
        if bool(alarm.when) == bool(alarm.point):
            yield Problem("alarm-condition", mark, _ONE_CONDITION)
        elif alarm.point in scene.points and not limits:
            yield Problem("alarm-condition", mark, _NO_LIMIT)
        elif alarm.below > alarm.above:
            yield Problem("range-inverted", mark, _CROSSED)


_NO_CHECKS = Text(
    "报警没有首查步骤 (checks): 值班人员先看什么?",
    "the alarm has no first checks: what does a person look at first?",
)
_ONE_CONDITION = Text(
    "报警要有 point (带 above 或 below) 或 when, 二者取一",
    "an alarm has either a point (with above or below) or when",
)
_NO_LIMIT = Text("缺少 above 或 below", "above or below is missing")
_CROSSED = Text("below 不得大于 above", "below must not be greater than above")


def check_addresses(scene: Scene) -> Iterator[Problem]:
    """No two buses use the same port of the machine, no two devices one address on a bus."""
    ports: dict[str, str] = {}
    for bus in scene.site.buses:
        yield from _claims(bus.config, bus.id, ports, scene.sources.at("buses", bus.id).key())
        units: dict[str, str] = {}
        for device in bus.devices:
            mark = scene.sources.at("devices", device.id).key()
            yield from _claims(device.config, device.id, units, mark)


def _claims(config: object, id: str, taken: dict[str, str], mark: Mark) -> Iterator[Problem]:
    for claim in getattr(config, "claims", ()):
        owner = taken.setdefault(claim, id)
        if owner != id:
            text = Text(f"{claim} 已被 {owner} 使用", f"{claim} is used by {owner} already")
            yield Problem("duplicate-address", mark, text)


def check_grants(scene: Scene) -> Iterator[Problem]:
    """Remote commands move commandable points only, within bounds, for a while."""
    for grant in scene.site.grants:
        source = scene.sources.at("commands", grant.point)
        point = scene.points.get(grant.point)
        if point is None:
            yield unknown_point(grant.point, source.key(), scene.points)
            continue
        if point.fire:
            continue
        if point.bypass or point.role not in (Role.OUTPUT, Role.SETPOINT):
            yield not_commandable(point, source.key())
        elif math.isinf(grant.low) or math.isinf(grant.high):
            yield Problem("grant-without-range", source.key(), _NO_RANGE)
        if grant.lease > grant.lease_max:
            yield Problem("range-inverted", source.value(("lease",)), _LEASE)


_NO_RANGE = Text(
    "远程命令要有 range, 在此处或在点上", "a remote command needs a range, here or at the point"
)
_LEASE = Text("lease 不得大于 lease_max", "lease must not be greater than lease_max")


def check_uplinks(scene: Scene) -> Iterator[Problem]:
    """The files of an uplink are there; a password may still come."""
    for uplink in scene.site.uplinks:
        source = scene.sources.at("uplink", uplink.id)
        for key in ("ca", "certificate", "key"):
            path = getattr(uplink, key)
            if path is not None and not path.is_file():
                text = Text(f"没有文件 {path}", f"there is no file {path}")
                yield Problem("missing-file", source.value(("tls", key)), text)
        if (uplink.certificate is None) != (uplink.key is None):
            text = Text("certificate 和 key 要一起写", "certificate and key go together")
            yield Problem("missing-key", source.key(("tls",)), text)
        if uplink.password is not None and not uplink.password.is_file():
            text = Text(
                f"没有密码文件 {uplink.password}; 连接时会失败",
                f"there is no password file {uplink.password}; connecting will fail",
            )
            yield Problem("missing-file", source.value(("password", "file")), text, "warning")


def check_timezone(scene: Scene) -> Iterator[Problem]:
    """The time zone is one of the tz database."""
    name = scene.site.timezone
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones(), listed=0)
        text = Text(f'没有时区 "{name}"{hint.zh}', f'no time zone "{name}"{hint.en}')
        yield Problem("wrong-timezone", scene.sources.root.value(("site", "timezone")), text)


def check_periods(scene: Scene) -> Iterator[Problem]:
    """Nothing is polled faster than the site is scanned, and nothing goes stale between polls."""
    site = scene.site
    if site.scan_min > site.scan_max:
        mark = scene.sources.root.value(("scan", "min"))
        text = Text("min 不得大于 max", "min must not be greater than max")
        yield Problem("range-inverted", mark, text)
    for point in site.points:
        source = scene.sources.at("points", point.id)
        if 0 < point.period < site.scan_min:
            text = Text(
                f"轮询周期 {point.period:g}s 短于最短扫描周期 {site.scan_min:g}s",
                f"polled every {point.period:g}s, faster than the shortest scan of "
                f"{site.scan_min:g}s",
            )
            yield Problem("poll-too-short", source.value(("poll",)), text)
        elif point.max_age <= point.period:
            text = Text(
                f"max_age {point.max_age:g}s 不长于轮询周期 {point.period:g}s, 该点总会过期",
                f"max_age {point.max_age:g}s is not longer than the poll period "
                f"{point.period:g}s: the point would always be stale",
            )
            yield Problem("poll-too-short", source.value(("max_age",)), text)


def check_load(scene: Scene) -> Iterator[Problem]:
    """The polls of a line leave it time for writes, repeats and probes (domain.md 4.3)."""
    for bus in scene.site.buses:
        load = cost.load(bus)
        if load is None or load <= LOAD_WARNING:
            continue
        worst = max(bus.polls, key=lambda poll: cost.share(bus, poll) or 0.0)
        text = _LOAD.format(
            load=100 * load, most=100 * LOAD_MOST, device=worst.device, label=worst.label,
            period=worst.period, share=100 * (cost.share(bus, worst) or 0.0),
            slower=math.ceil(10 * load / LOAD_WARNING) / 10,
        )  # fmt: skip
        mark = scene.sources.at("buses", bus.id).key()
        if load > LOAD_MOST:
            yield Problem("bus-overloaded", mark, text)
        else:
            yield Problem("bus-busy", mark, text, "warning")


LOAD_MOST, LOAD_WARNING = 0.8, 0.6
_LOAD = Text(
    "轮询占线路时间的 {load:.0f} % (上限 {most:.0f} %), 其中最多的是 {device} 的 {label}: "
    "每 {period:g} 秒一次, 占 {share:.0f} %; 请把轮询周期延长到 {slower:g} 倍, 提高波特率, "
    "或分到另一条线",
    "its polls take {load:.0f} % of the line's time (at most {most:.0f} %), most of it {label} of "
    "{device}, every {period:g} s, with {share:.0f} %; poll {slower:g} times as slowly, raise the "
    "baud rate or use another line",
)


def check_failsafes(scene: Scene) -> Iterator[Problem]:
    """Only a protocol with priorities can relinquish."""
    drivers = {device.id: bus.kind for bus in scene.site.buses for device in bus.devices}
    for point in scene.site.points:
        if point.output is None or point.device is None:
            continue
        kind = drivers[point.device]
        if point.output.failsafe == "relinquish" and not kind.priorities:
            mark = scene.sources.at("points", point.id).value(("failsafe",))
            text = Text(
                f"{kind.name} 没有优先级, 不能 relinquish; 请写 hold 或一个值",
                f"{kind.name} has no priorities to relinquish; write hold or a value",
            )
            yield Problem("wrong-value", mark, text)


def check_simulated(scene: Scene) -> Iterator[Problem]:
    """What a model computes never drives real equipment (domain.md 0.1): not in one site."""
    simulated = [bus for bus in scene.site.buses if bus.kind.simulated]
    if not simulated:
        return
    for bus in scene.site.buses:
        driven = [p.id for device in bus.devices for p in device.points if p.writable]
        if not driven or bus.kind.simulated:
            continue
        text = Text(
            f"{bus.id} 有真实输出 ({driven[0]}), 而 {simulated[0].id} 是仿真: "
            "仿真值不得驱动真实设备; 请分成两个站点",
            f"{bus.id} drives real outputs ({driven[0]}) and {simulated[0].id} is simulated: "
            "simulated values never drive real equipment; make them two sites",
        )
        yield Problem("simulated-and-real", scene.sources.at("buses", bus.id).key(), text)


def check_defaults(scene: Scene) -> Iterator[Problem]:
    """What a rule may let go of should have something to fall back to, or say what is meant."""
    rules = {rule.id for rule in scene.site.rules if not trips(rule.model)}
    seen: set[str] = set()
    for use in scene.uses:
        point = scene.points.get(use.text)
        if use.role != "target" or use.owner not in rules or point is None or point.id in seen:
            continue
        meant = scene.sources.at("points", point.id).holds(("failsafe",))
        if point.output is not None and math.isnan(point.output.default) and not meant:
            seen.add(point.id)
            text = Text(
                f"{point.id} 没有 default: {use.owner} 撤销请求后保持最后的值; "
                "请写 default, 或写 failsafe: hold 表示有意如此",
                f"{point.id} has no default: it keeps its last value when {use.owner} lets go; "
                "write one, or failsafe: hold if that is meant",
            )
            yield Problem("no-default", use.mark, text, "warning")


def check_advice(scene: Scene) -> Iterator[Problem]:
    """What a kind says of its own options: they are possible, and will work badly."""

    def known(source: str | float, unit: str) -> float | None:
        if isinstance(source, float | int):
            return float(source)
        point = scene.points.get(source)
        if point is None and split_quantity(source):
            with suppress(Refusal):  # a wrong unit: reported with the reference
                return parse_quantity(source, unit)
        default = math.nan if point is None or point.output is None else point.output.default
        return None if math.isnan(default) else default

    for rule in scene.site.rules:
        for text in scene.kinds[rule.kind].advice(rule.model, known):
            mark = scene.sources.at("rules", rule.id).key()
            yield Problem("rule-advice", mark, text, "warning")


CHECKS: tuple[Callable[[Scene], Iterator[Problem]], ...] = (
    check_references,
    check_fire,
    check_requests,
    check_loops,
    check_ranges,
    check_alarms,
    check_addresses,
    check_grants,
    check_uplinks,
    check_bms,
    check_timezone,
    check_periods,
    check_load,
    check_failsafes,
    check_simulated,
    check_defaults,
    check_advice,
    check_corrections,
    check_valves,
    check_positions,
    check_supplies,
)
