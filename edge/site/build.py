"""Typed records → the resolved `Site`: units converted, polls planned, points in image order.

The third phase. What it cannot convert or plan is a problem; what the whole must agree on is left
to `edge/site/checks.py`, which reads the result. Called by `edge/site/load.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.blocks.kind import AlarmTemplate, Kind
from edge.driver import FieldDevice, Poll
from edge.schema.model import Refusal
from edge.schema.problem import Problem
from edge.site.alarms import (
    build_alarms,
    bypassed,
    down,
    expand,
    of_device,
    told_once,
    upstream,
)
from edge.site.calendars import dated, watches
from edge.site.files import Files, Source
from edge.site.health import bus_points, link_points
from edge.site.interlocks import build_interlocks, protection_points
from edge.site.model import GrantOptions, Tls, UplinkOptions, ValueRule
from edge.site.origins import deciding
from edge.site.parts import BusPart, DevicePart, Parts, Record, RulePart
from edge.site.points import (
    Amounts,
    Flag,
    device_point,
    field_device,
    setpoint,
    virtual,
)
from edge.site.registers import Bms
from edge.site.site import (
    Annunciator,
    Bus,
    Grant,
    Point,
    Role,
    Rule,
    Site,
    Uplink,
    User,
)
from edge.text import Text

LEASE_SETPOINT = 8 * 3600.0  # seconds; domain.md 5.5: longest lease of a setpoint
LEASE_OUTPUT = 3600.0  # and of a forced output
PORT = 1883
PORT_TLS = 8883


@dataclass(slots=True)
class Sources:
    """Where each thing of a site was written, for the checks: by section and id."""

    root: Source
    of: dict[tuple[str, str], Source] = field(default_factory=dict)

    def at(self, section: str, id: str) -> Source:
        """The source of a record; of what nobody wrote, the whole file."""
        return self.of.get((section, id), self.root)


def build_site(
    parts: Parts, files: Files, kinds: Mapping[str, Kind]
) -> tuple[Site | None, Sources, list[Problem]]:
    """Resolve; the site is there only when nothing was wrong."""
    builder = _Builder(parts, files, kinds)
    site = builder.build()
    return site, builder.sources, builder.amounts.problems


class _Builder:
    def __init__(self, parts: Parts, files: Files, kinds: Mapping[str, Kind]) -> None:
        self.parts = parts
        self.files = files
        self.kinds = kinds
        self.amounts = Amounts()
        self.sources = Sources(parts.root)
        self.points: dict[str, Point] = {}
        self.watches = tuple(watches(parts, kinds))
        self.locks = build_interlocks(parts, self.amounts.problems)
        for lock, source in self.locks:
            self.sources.of[lock.section, lock.id] = source

    def build(self) -> Site | None:
        parts = self.parts
        fields = {id: field_device(d, self.amounts) for id, d in parts.devices.items()}
        self._check_devices(fields)
        if self.amounts.problems:
            return None  # a driver plans only what is right
        buses = self._buses(fields)
        self._order(buses, fields)
        self._drop_relays()
        self._flash_beacons()
        alarms = build_alarms(self._templates(), parts.alarms, self.points, self.amounts)
        for alarm in alarms:
            if alarm.id in parts.alarms:
                self.sources.of["alarms", alarm.id] = parts.alarms[alarm.id].source
        grants = tuple(self._grant(record) for record in parts.commands.values())
        header = parts.header
        return Site(
            id=header.id,
            name=header.name or Text(header.id, header.id),
            controller=header.controller,
            language=header.language,
            timezone=header.timezone,
            latitude=header.location.latitude if header.location else math.nan,
            longitude=header.location.longitude if header.location else math.nan,
            clock_trust=parts.clock.trust,
            scan_min=parts.scan.min,
            scan_max=parts.scan.max,
            startup_delay=parts.scan.startup_delay,
            points=tuple(self.points.values()),
            buses=buses,
            rules=tuple(self._rules()),
            interlocks=tuple(lock for lock, _ in self.locks),
            alarms=alarms,
            annunciators=tuple(self._annunciators()),
            users=tuple(User(id, user.options.role) for id, user in parts.users.items()),
            grants=grants,
            uplinks=tuple(self._uplinks()),
            outbox_bytes=parts.outbox.size,
            outbox_age=parts.outbox.age,
            file=self.files.main,
            digest=self.files.digest(),
            watches=tuple(watch.rule() for watch in self.watches),
            bms=self._bms(),
        )

    def _check_devices(self, fields: Mapping[str, FieldDevice]) -> None:
        """Ask each driver what is wrong with a device and its points together."""
        for id, device in self.parts.devices.items():
            bus = self.parts.buses[device.options.bus]
            if bus.kind.check is None:
                continue
            sources = {f"{id}.{point.id}": point.source for point in device.points}
            for point, text in bus.kind.check(bus.config, fields[id]):
                mark = sources.get(point, device.source).key()
                self.amounts.problems.append(Problem("wrong-point", mark, text))

    def _buses(self, fields: Mapping[str, FieldDevice]) -> tuple[Bus, ...]:
        found = []
        for id, bus in self.parts.buses.items():
            devices = tuple(
                fields[name] for name, d in self.parts.devices.items() if d.options.bus == id
            )
            config = self._within(bus)
            polls = tuple(p for device in devices for p in bus.kind.plan(config, device))
            for device in devices:
                _covers(device, polls)
            self.sources.of["buses", id] = bus.source
            found.append(Bus(id, bus.kind, config, devices, polls))
        return tuple(found)

    def _within(self, bus: BusPart) -> Any:
        """The bus's options with file names counted from the site's folder."""
        if not hasattr(bus.config, "within"):
            return bus.config
        try:
            return bus.config.within(self.files.folder)
        except Refusal as refusal:
            problem = Problem(refusal.code, bus.source.key(), refusal.text)
            self.amounts.problems.append(problem)
            return bus.config

    def _order(self, buses: tuple[Bus, ...], fields: Mapping[str, FieldDevice]) -> None:
        """Number the points as `Site.points` says."""
        resolved = self._resolved(fields)
        for id in [id for bus in buses for poll in bus.polls for id in poll.points]:
            self._own(*resolved.pop(id))
        for bus in buses:
            self._measured(bus)
        for point, source in resolved.values():  # what is only written
            self._own(point, source)
        for record in self.parts.setpoints.values():
            self._own(setpoint(record, self.amounts), record.source)
        for rule in self.parts.rules.values():
            for point in self._published(rule):
                self._own(point, rule.source)
        for watch in self.watches:
            for point in watch.points():
                self._own(point, watch.source)
        for point, source in protection_points(self.parts, self.locks):
            self._own(point, source)
        for device in self.parts.devices.values():
            self._own(_ONLINE.of(device.id, device.options.name), device.source)
            if self._drives(device):
                self._own(_FOLLOWING.of(device.id, device.options.name), device.source)
        for uplink in self.parts.uplinks.values():
            self._own(_ONLINE.of(uplink.id, None), uplink.source)

    def _resolved(self, fields: Mapping[str, FieldDevice]) -> dict[str, tuple[Point, Source]]:
        """Every point of every device, by id."""
        field_points = {p.id: p for device in fields.values() for p in device.points}
        resolved: dict[str, tuple[Point, Source]] = {}
        for device in self.parts.devices.values():
            self.sources.of["devices", device.id] = device.source
            for part in device.points:
                id = f"{device.id}.{part.id}"
                point = device_point(device, part, field_points[id], self.amounts)
                resolved[id] = point, part.source
        return resolved

    def _measured(self, bus: Bus) -> None:
        """What is measured of a bus and of the devices behind it, side by side."""
        for point in bus_points(bus.id):
            self._own(point, self.parts.buses[bus.id].source)
        for device in map(self.parts.devices.__getitem__, [d.id for d in bus.devices]):
            for point in link_points(device.id, device.options.name or Text(device.id, device.id)):
                self._own(point, device.source)

    def _drives(self, device: DevicePart) -> bool:
        points = (self.points.get(f"{device.id}.{part.id}") for part in device.points)
        return any(point is not None and point.output is not None for point in points)

    def _drop_relays(self) -> None:
        """An alarm relay that nobody drives means alarm: its failsafe is 0 unless the site says."""
        for panel in self.parts.annunciators.values():
            relay = self.points.get(panel.options.relay or "")
            if relay is None or relay.output is None:
                continue
            if not self.sources.at("points", relay.id).holds(("failsafe",)):
                output = replace(relay.output, failsafe=0.0)
                self.points[relay.id] = replace(relay, output=output)

    def _flash_beacons(self) -> None:
        """A beacon flashes twice a second: nothing holds its writes back unless the site says."""
        for panel in self.parts.annunciators.values():
            beacon = self.points.get(panel.options.beacon or "")
            if beacon is None or beacon.output is None:
                continue
            if not self.sources.at("points", beacon.id).holds(("write_interval",)):
                output = replace(beacon.output, write_interval=0.0)
                self.points[beacon.id] = replace(beacon, output=output)

    def _own(self, point: Point, source: Source) -> None:
        if point.id in self.points:
            other = self.sources.at("points", point.id).key()
            text = Text(
                f'点 "{point.id}" 已在 {other} 定义; 请改名',
                f'the point "{point.id}" exists already, from {other}; choose another name',
            )
            self.amounts.problems.append(Problem("duplicate-id", source.key(), text))
            return
        self.points[point.id] = point
        self.sources.of["points", point.id] = source

    def _published(self, rule: RulePart) -> Iterator[Point]:
        """What a rule shows: `<rule>.<name>`, or `<rule>` where the name is empty."""
        for result in self.kinds[rule.kind].publishes(rule.model):
            id = f"{rule.id}.{result.name}" if result.name else rule.id
            if rule.shown is not None:
                yield self._value_point(rule, rule.shown)
                continue
            name = Text(f"{rule.id} {result.text.zh}", f"{rule.id} {result.text.en}")
            yield virtual(id, result.unit, name, labels=result.labels)

    def _value_point(self, rule: RulePart, shown: ValueRule) -> Point:
        low, high = self.amounts.span(shown.range, shown.unit, rule.source)
        report = self.amounts.of(shown.report, shown.unit, rule.source, "report", difference=True)
        return virtual(
            rule.id,
            shown.unit,
            shown.name or Text(rule.id, rule.id),
            low=low,
            high=high,
            shown=shown.decimals,
            report=report,
            labels=shown.labels,
        )

    def _rules(self) -> Iterator[Rule]:
        parts = self.parts
        for id, rule in parts.rules.items():
            self.sources.of["rules", id] = rule.source
            yield Rule(
                id,
                rule.kind,
                dated(rule, parts.calendars, self.amounts.problems),
                rule.source.key(),
            )

    def _templates(self) -> dict[str, tuple[AlarmTemplate, Source]]:
        found: dict[str, tuple[AlarmTemplate, Source]] = {}
        explained = self._explained()
        every = []
        for rule in self.parts.rules.values():
            for template in self.kinds[rule.kind].alarms(rule.model):
                mine = expand(template, rule.id, Text(rule.id, rule.id))
                mine = told_once(mine, explained, (template.about,), rule.kind)
                every.append((mine, rule.source))
        locks = [lock for lock, _ in self.locks]
        decide = deciding(self.parts.devices, self._rules(), locks, self.kinds)
        for id, device in self.parts.devices.items():
            outputs = [f"{id}.{part.id}" for part in device.points]
            brought = of_device(device, drives=self._drives(device), decides=id in decide)
            every += [
                (told_once(t, explained, outputs) if t.about else t, device.source) for t in brought
            ]
        for watch in self.watches:
            every += [(template, watch.source) for template in watch.alarms()]
        every += [(bypassed(lock.id, lock.name), s) for lock, s in self.locks if lock.bypassable]
        every += [(down(bus.id), bus.source) for bus in self.parts.buses.values()]
        every += [(upstream(uplink.id), uplink.source) for uplink in self.parts.uplinks.values()]
        for template, source in every:
            if template.id in found:
                text = Text(
                    f"报警 {template.id} 来自两处; 请改名其中之一",
                    f"alarm {template.id} would come from two places; rename one of them",
                )
                self.amounts.problems.append(Problem("duplicate-id", source.key(), text))
            found[template.id] = (template, source)
            self.sources.of["alarms", template.id] = source
        return found

    def _explained(self) -> dict[str, list[tuple[str, str]]]:
        """By commandable point: which kinds of rules explain its faults, and when."""
        found: dict[str, list[tuple[str, str]]] = {}
        for rule in self.parts.rules.values():
            for point, when in self.kinds[rule.kind].explains(rule.model).items():
                found.setdefault(point, []).append((rule.kind, when.replace("{rule}", rule.id)))
        return found

    def _annunciators(self) -> Iterator[Annunciator]:
        for id, record in self.parts.annunciators.items():
            self.sources.of["annunciators", id] = record.source
            yield Annunciator(id, **record.options.model_dump())

    def _grant(self, record: Record[GrantOptions]) -> Grant:
        options, source = record.options, record.source
        self.sources.of["commands", record.id] = source
        point = self.points.get(record.id)
        unit = point.unit if point else ""
        longest = LEASE_SETPOINT if point and point.role is Role.SETPOINT else LEASE_OUTPUT
        low, high = (point.low, point.high) if point else (-math.inf, math.inf)
        if options.range is not None and point is not None:
            low, high = self.amounts.span(options.range, unit, source)
        step = options.step if point is not None else None
        return Grant(
            point=record.id,
            low=low,
            high=high,
            step=self.amounts.of(step, unit, source, "step", absent=math.inf, difference=True),
            roles=frozenset(options.roles),
            lease=options.lease,
            lease_max=max(longest, options.lease) if options.lease_max is None
            else options.lease_max,
        )  # fmt: skip

    def _bms(self) -> Bms | None:
        record = self.parts.bms
        if record is None:
            return None
        self.sources.of["bms", record.id] = record.source
        return record.options.resolved()

    def _uplinks(self) -> Iterator[Uplink]:
        for id, record in self.parts.uplinks.items():
            self.sources.of["uplink", id] = record.source
            yield self._uplink(id, record.options, record.source)

    def _uplink(self, id: str, options: UplinkOptions, source: Source) -> Uplink:
        header, folder = self.parts.header, self.files.folder
        secure = options.tls is not False
        tls = options.tls if isinstance(options.tls, Tls) else Tls()
        host, _, port = options.mqtt.partition(":")
        if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
            text = Text(
                f'"{options.mqtt}" 不是服务器地址; 应写如 broker.example.org:8883',
                f'"{options.mqtt}" is no broker; write it like broker.example.org:8883',
            )
            self.amounts.problems.append(Problem("wrong-value", source.value(("mqtt",)), text))
            port = ""
        standard = PORT_TLS if secure else PORT
        return Uplink(
            id=id,
            host=host,
            port=int(port) if port else standard,
            protocol="3.1.1" if options.protocol == "3.1.1" else "5",
            tls=secure,
            ca=_file(folder, tls.ca),
            certificate=_file(folder, tls.certificate),
            key=_file(folder, tls.key),
            username=options.username,
            password=_file(folder, options.password.file if options.password else None),
            client_id=options.client_id or f"edge-{header.id}-{header.controller}",
            root=options.root or f"edge/{header.id}/{header.controller}",
            report=options.report,
            keepalive=options.keepalive,
        )


def _file(folder: Path, name: str | None) -> Path | None:
    return None if name is None else folder / name


_ONLINE = Flag("online", Text("在线", "online"), Text("离线", "offline"), Text("在线", "online"))
_FOLLOWING = Flag(
    "following",
    Text("控制生效", "follows"),
    Text("未跟随", "does not follow"),
    Text("跟随", "follows"),
)


def _covers(device: FieldDevice, polls: tuple[Poll, ...]) -> None:
    """A plan that leaves a point out or brings it twice is a bug of the driver."""
    planned = sorted(id for poll in polls if poll.device == device.id for id in poll.points)
    wanted = sorted(point.id for point in device.points if point.readable)
    if planned != wanted:
        raise AssertionError(f"the plan of {device.id} does not cover each point exactly once")
