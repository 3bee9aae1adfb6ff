"""From YAML to the resolved site: order, units, defaults, and what rules and devices bring."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edge.schema.problem import Mark
from edge.site.health import OF_BUS, OF_DEVICE
from edge.site.load import ConfigProblems, load_site, read_site
from edge.site.site import Alarm, Point, Role, Site
from edge.text import Text
from tests.support.bench_site import DRIVERS, KINDS

PLANT = """
site:
  id: yard
  name: {zh: 院子, en: Yard}
  timezone: Asia/Shanghai
  location: {latitude: 31.23, longitude: 121.47}
buses:
  line: {driver: bench, port: /dev/ttyS0}
  far:  {driver: other, port: /dev/ttyS1}
devices:
  pump:
    bus: line
    unit: 1
    name: {zh: 水泵, en: Pump}
    poll: 500ms
    points:
      pressure: {address: 0, unit: MPa, device_unit: kPa, scale: 0.1, offset: 5, range: [0, 16 bar],
                 name: {zh: 压力, en: pressure}, report: 2 kPa}
      running:  {address: 2, poll: 5s,
                 labels: {0: {zh: 停, en: stopped}, 1: {zh: 运行, en: running}}}
      order:    {address: 9, access: write, output: true}
      speed:    {address: 10, unit: "%", range: [0, 100], default: 30, failsafe: 40, deadband: 0.5,
                 feedback: running_speed, hoa: running, rate: 5, refresh: never, max_age: 2s}
      running_speed: {address: 11, unit: "%"}
      valve:    {address: 12, access: both}
  meter:
    bus: far
    unit: 1
    points: {energy: {address: 3, unit: kWh, poll: 60s}}
setpoints:
  target: {unit: MPa, default: 400 kPa, range: [0.3, 0.5], rate: 0.02}
rules:
  supply: {block: follow, pressure: pump.pressure, output: pump.speed}
  low: {value: pump.pressure < target - 0.05, name: {zh: 压力低, en: low}}
interlocks:
  dry: {when: pump.pressure < 0.01, for: 2s, trip: [pump.speed], name: {zh: 缺水, en: dry}}
alarms:
  high: {point: pump.pressure, above: 6 bar, deadband: 10 kPa, for: 3s, clear_after: 30s,
         priority: P1, text: {zh: 压力高, en: high}, checks: {zh: [看表], en: [look at the gauge]}}
  odd: {when: low and not meter.online, text: t, checks: [c], re_alarm: 1h, shows: [pump.speed]}
  SUPPLY_FAR: {priority: P3, for: 1min}
  PUMP_OFFLINE: {text: {zh: 水泵没有应答, en: no answer from the pump}}
annunciators:
  panel: {buzzer: pump.order, acknowledge: pump.running}
users:
  zhang.san: {role: engineer}
commands:
  pump.speed: {range: [10, 90], step: 20, roles: [engineer, operator]}
  target: {roles: [engineer], lease: 1h}
uplink:
  cloud: {mqtt: broker.example.org, tls: true, username: yard}
  plain: {mqtt: "10.0.0.2:1884", protocol: 3.1.1, root: our/own}
outbox: {size: 50 MB, age: 2d}
scan: {startup_delay: 0s}
"""


def load(folder: Path, text: str) -> Site:
    (folder / "site.yaml").write_text(text)
    return load_site(folder, DRIVERS, KINDS)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return load(tmp_path, PLANT)


def line(text: str, words: str) -> int:
    """The line in which `words` stand."""
    return text[: text.index(words)].count("\n") + 1


def point(site: Site, name: str) -> Point:
    return site.points[site.index()[name]]


def alarm(site: Site, name: str) -> Alarm:
    return next(alarm for alarm in site.alarms if alarm.id == name)


def test_points_stand_poll_by_poll(site: Site) -> None:
    """As the drivers plan, then what is only written, setpoints, and what is computed."""
    assert [p.id for p in site.points if not p.local] == [
        "pump.valve", "pump.running_speed", "pump.speed", "pump.pressure",  # polled each 0.5 s
        "pump.running",  # its own period
        "meter.energy",
        "pump.order",  # cannot be read
        "target",
        "supply.error", "low", "dry.tripped",
        "pump.online", "pump.following", "meter.online",
            "cloud.online", "plain.online",
    ]  # fmt: skip
    polls = [poll for bus in site.buses for poll in bus.polls]
    assert [id for poll in polls for id in poll.points] == [p.id for p in site.points[:6]]


def test_what_is_measured_of_a_bus_stands_side_by_side(site: Site) -> None:
    """After the polls: a bus and then its devices, so that one arrival carries them all."""
    local = [p.id for p in site.points if p.local]
    assert [p.id for p in site.points[6 : 6 + len(local)]] == local
    assert local == [
        f"{prefix}.{word}"
        for prefix, words in (
            ("line.bus", OF_BUS), ("pump.link", OF_DEVICE),
            ("far.bus", OF_BUS), ("meter.link", OF_DEVICE),
        )
        for word in (measure.word for measure in words)
    ]  # fmt: skip
    load, trip = point(site, "line.bus.load"), point(site, "pump.link.round_trip")
    assert (load.role, load.unit, load.name) == (
        Role.VIRTUAL, "%", Text("总线 line 负载率", "bus line load"),
    )  # fmt: skip
    assert (trip.unit, trip.name) == ("s", Text("水泵 响应时间中位数", "Pump round trip, median"))


def test_a_device_keeps_off_the_names_of_what_is_measured(tmp_path: Path) -> None:
    """A point `link.age` of a device would be the second of that name."""
    bad = PLANT.replace("energy: {address: 3", "link.age: {address: 3")
    with pytest.raises(ConfigProblems) as refused:
        load(tmp_path, bad)
    assert [p.code for p in refused.value.problems] == ["duplicate-id"]


def test_roles(site: Site) -> None:
    """An output is said, implied by its options or so by nature; the rest follows."""
    roles = {p.id: p.role for p in site.points}
    assert roles["pump.order"] is roles["pump.speed"] is roles["pump.valve"] is Role.OUTPUT
    assert roles["pump.pressure"] is roles["pump.running_speed"] is Role.INPUT
    assert roles["target"] is Role.SETPOINT
    assert roles["low"] is roles["pump.online"] is roles["cloud.online"] is Role.VIRTUAL


def test_units_are_converted_once(site: Site) -> None:
    """Raw to device unit to point unit is one scale and one offset; options follow the point."""
    field = site.buses[0].devices[0].points[0]
    assert field.scale * 4000 + field.offset == pytest.approx((4000 * 0.1 + 5) / 1000)
    pressure = point(site, "pump.pressure")
    assert (pressure.low, pressure.high) == (field.low, field.high) == (0.0, 1.6)
    assert pressure.report == pytest.approx(0.002)
    high = alarm(site, "high")
    assert (high.above, high.deadband) == (0.6, 0.01)
    assert math.isnan(high.below)


def test_names(site: Site) -> None:
    """A point is called by its device's name and its own; without any, by its id."""
    assert point(site, "pump.pressure").name == Text("水泵 压力", "Pump pressure")
    assert point(site, "pump.running").name == Text("水泵 running", "Pump running")
    assert point(site, "meter.energy").name == Text("meter.energy", "meter.energy")
    assert point(site, "pump.online").name == Text("水泵 在线", "Pump online")
    assert point(site, "low").name == Text("压力低", "low")


def test_ages(site: Site) -> None:
    """Stale after three polls, at least five seconds, or as said; our own points never."""
    ages = {p.id: (p.period, p.max_age) for p in site.points}
    assert ages["pump.pressure"] == (0.5, 5.0)
    assert ages["pump.running"] == (5.0, 15.0)
    assert ages["pump.speed"] == (0.5, 2.0)
    assert ages["target"] == ages["low"] == ages["pump.order"] == (0.0, math.inf)


def test_outputs(site: Site) -> None:
    """What binds every requester, with its defaults; names within the device are found."""
    speed = point(site, "pump.speed").output
    assert speed is not None
    assert (speed.default, speed.failsafe, speed.rate, speed.refresh) == (30, 40, 5, math.inf)
    assert (speed.feedback, point(site, "pump.speed").hoa) == ("pump.running_speed", "pump.running")
    assert speed.tolerance == 1.0  # a hundredth of the range
    order = point(site, "pump.order").output
    assert order is not None
    assert math.isnan(order.default)
    assert (order.failsafe, order.refresh, order.rate) == ("hold", math.inf, math.inf)
    assert (order.write_interval, order.eeprom) == (1.0, False)


def test_setpoints(site: Site) -> None:
    """A setpoint is commandable, holds its default and is written nowhere."""
    target = point(site, "target")
    assert target.output is not None
    assert (target.output.default, target.output.rate, target.output.refresh) == (
        0.4, 0.02, math.inf,
    )  # fmt: skip


def test_labels(site: Site) -> None:
    """Values of an enumeration have names; `online` has them of its own."""
    assert point(site, "pump.running").labels[1] == Text("运行", "running")
    assert point(site, "pump.online").labels[0] == Text("离线", "offline")


def test_rules(site: Site) -> None:
    """A rule is an instance of its kind; one with `value:` is of the kind `value`."""
    assert [(r.id, r.kind) for r in site.rules] == [("supply", "follow"), ("low", "value")]
    assert isinstance(site.rules[0].model, KINDS["follow"].model)
    assert isinstance(site.rules[1].model, KINDS["value"].model)
    mark = site.rules[1].mark
    assert (mark.line, mark.column, mark.path) == (line(PLANT, "low: {value"), 3, "rules.low")


def test_interlocks(site: Site) -> None:
    """An interlock trips to 0 and waits for a person unless it says otherwise."""
    dry = site.interlocks[0]
    assert (dry.delay, dry.value, dry.reset, dry.on_bad) == (2.0, 0.0, "manual", "trip")


def test_alarms_come_with_rules_and_devices(site: Site) -> None:
    """Rules' templates, one per device for silence, then the site's own; all with checks."""
    assert [a.id for a in site.alarms] == [
        "SUPPLY_FAR", "PUMP_OFFLINE", "PUMP_REFUSING", "PUMP_NOT_FOLLOWING",
        "METER_OFFLINE", "METER_REFUSING", "LINE_DOWN", "FAR_DOWN", "CLOUD_DOWN", "PLAIN_DOWN",
        "high", "odd",
    ]  # fmt: skip
    silent = alarm(site, "METER_OFFLINE")
    assert (silent.when, silent.on_delay, silent.off_delay, silent.priority) == (
        "not meter.online and far.bus.online", 30.0, 10.0, 3,
    )  # fmt: skip
    assert silent.suppressed_by == "not far.bus.online"
    lost, refusing = alarm(site, "FAR_DOWN"), alarm(site, "METER_REFUSING")
    assert (lost.when, lost.priority, lost.suppressed_by) == ("not far.bus.online", 2, "")
    assert (refusing.when, refusing.on_delay, refusing.priority, refusing.suppressed_by) == (
        "meter.link.refused > 0", 60.0, 4, "",
    )  # fmt: skip
    assert silent.text == Text("meter离线", "meter offline")
    assert all(a.checks for a in site.alarms)


def test_a_site_changes_what_it_names(site: Site) -> None:
    """Under the same id only the given options change."""
    far = alarm(site, "SUPPLY_FAR")
    assert (far.priority, far.on_delay) == (3, 60.0)
    assert (far.when, far.text.en) == ("supply.error > 0.1", "supply is far off")
    pump = alarm(site, "PUMP_OFFLINE")
    assert (pump.text.en, pump.when, pump.on_delay) == (
        "no answer from the pump", "not pump.online and line.bus.online", 30.0,
    )  # fmt: skip


def test_alarm_defaults(site: Site) -> None:
    """P1 sounds again after half an hour; what is shown is what the condition reads."""
    high, odd = alarm(site, "high"), alarm(site, "odd")
    assert (high.re_alarm, odd.re_alarm) == (1800.0, 3600.0)
    assert alarm(site, "METER_OFFLINE").re_alarm == math.inf
    assert (high.shows, odd.shows) == (("pump.pressure",), ("pump.speed",))


def test_grants(site: Site) -> None:
    """A grant takes the point's range unless it has its own; leases by what is driven."""
    speed, target = site.grants
    assert (speed.low, speed.high, speed.step) == (10, 90, 20)
    assert (speed.lease, speed.lease_max) == (1800.0, 3600.0)
    assert (target.low, target.high, target.step) == (0.3, 0.5, math.inf)
    assert (target.lease, target.lease_max) == (3600.0, 8 * 3600.0)
    assert speed.roles == {"engineer", "operator"}


def test_uplinks(site: Site) -> None:
    """Ports and topics have their defaults."""
    cloud, plain = site.uplinks
    assert (cloud.port, cloud.tls, cloud.protocol, cloud.root, cloud.client_id) == (
        8883, True, "5", "edge/yard/main", "edge-yard-main",
    )  # fmt: skip
    assert (plain.host, plain.port, plain.tls, plain.protocol, plain.root) == (
        "10.0.0.2", 1884, False, "3.1.1", "our/own",
    )  # fmt: skip


def test_the_rest(site: Site) -> None:
    """Header, outbox, scan, panel and users."""
    assert (site.name.zh, site.latitude, site.startup_delay) == ("院子", 31.23, 0.0)
    assert (site.outbox_bytes, site.outbox_age) == (50_000_000, 172800.0)
    assert (site.annunciators[0].buzzer, site.annunciators[0].beacon) == ("pump.order", None)
    assert [(u.id, u.role) for u in site.users] == [("zhang.san", "engineer")]


def test_without_a_location_there_is_no_sun(tmp_path: Path) -> None:
    """Latitude and longitude are NaN, not zero."""
    bare = load(tmp_path, "site: {id: yard, timezone: Asia/Shanghai}")
    assert math.isnan(bare.latitude)
    assert bare.points == ()


def test_included_files_belong_to_the_site(tmp_path: Path) -> None:
    """Sections are joined; the digest covers every file, and problems name theirs."""
    (tmp_path / "zones").mkdir()
    main = PLANT + "include: [zones/one.yaml]\n"
    (tmp_path / "zones" / "one.yaml").write_text("users: {lisi: {role: viewer}}\n")
    first = load(tmp_path, main)
    assert [user.id for user in first.users] == ["zhang.san", "lisi"]
    (tmp_path / "zones" / "one.yaml").write_text("users: {lisi: {role: admin}}\n")
    assert load(tmp_path, main).digest != first.digest
    (tmp_path / "zones" / "one.yaml").write_text("scan: {max: 1s}\nusers: {lisi: {rol: x}}\n")
    problems = read_site(tmp_path, DRIVERS, KINDS).problems
    assert [(p.code, p.mark.line) for p in problems] == [
        ("unknown-key", 1), ("missing-key", 2), ("unknown-key", 2),
    ]  # fmt: skip
    assert {Path(p.mark.file).name for p in problems} == {"one.yaml"}


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    """The same files give the same digest, one changed character another."""
    digest = load(tmp_path, PLANT).digest
    assert load(tmp_path, PLANT).digest == digest
    assert load(tmp_path, PLANT + "\n").digest != digest


def test_an_output_option_contradicts_output_false(tmp_path: Path) -> None:
    """`output: false` with a failsafe is no guess to make."""
    bad = PLANT.replace("failsafe: 40,", "failsafe: 40, output: false,")
    with pytest.raises(ConfigProblems) as refused:
        load(tmp_path, bad)
    texts = [problem.text.en for problem in refused.value.problems]
    assert any('"failsafe" is for outputs' in text for text in texts)


def test_all_problems_of_a_phase_at_once(tmp_path: Path) -> None:
    """Three mistakes in three sections are three problems, in the order of the file."""
    bad = PLANT.replace("poll: 500ms", "poll: 500").replace("block: follow", "block: folow")
    bad = bad.replace("role: engineer}\n", "role: enginer}\n")
    with pytest.raises(ConfigProblems) as refused:
        load(tmp_path, bad)
    found = [(p.code, p.mark.line) for p in refused.value.problems]
    assert found == [
        ("wrong-value", line(bad, "poll: 500")),
        ("unknown-block", line(bad, "folow")),
        ("wrong-choice", line(bad, "enginer}")),
    ]
    assert all(isinstance(p.mark, Mark) for p in refused.value.problems)
