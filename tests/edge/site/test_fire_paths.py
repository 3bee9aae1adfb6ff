"""Fire equipment is watched: every way in which a site could have it written is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.site.load import read_site

SITE = """
site: {id: tower, timezone: Asia/Shanghai}
buses:
  room: {driver: modbus, tcp: "127.0.0.1:1502"}
  bms:  {driver: bacnet, address: "127.0.0.1/32:47809"}
devices:
  cabinet:
    bus: room
    unit: 1
    fire: true
    points:
      pressure: {input: 0, scale: 0.001, unit: MPa, range: [0, 2.5]}
      start:    {coil: 0}
      speed:    {holding: 1, unit: "%", range: [0, 100]}
      running:  {discrete: 0}
      fault:    {discrete: 1}
  hall:
    bus: room
    unit: 2
    points:
      lux:  {input: 0, unit: lx, range: [0, 2000]}
      lamp: {coil: 0, default: 0}
"""
USERS = "users: {li: {role: engineer}, plc: {role: integration}}\n"
DUTY = "{run: cabinet.start, running: cabinet.running, fault: cabinet.fault}"

PATHS = {
    "output of the device": "devices:\n  tank: {bus: room, unit: 3, fire: true, points: "
    "{valve: {coil: 0, output: true}}}",
    "output by an option": "devices:\n  tank: {bus: room, unit: 3, fire: true, points: "
    "{valve: {coil: 0, default: 0}}}",
    "output by nature": "devices:\n  tank: {bus: bms, device: 5, fire: true, points: "
    '{valve: {object: "analog-output,1", unit: "%"}}}',
    "settings that the driver keeps": "devices:\n  tank: {bus: room, unit: 3, fire: true, program: "
    "{failsafe: {holding: 9, value: 1}}, points: {level: {input: 0, unit: m}}}",
    "pid": "rules: {r: {block: pid, input: cabinet.pressure, setpoint: 0.4 MPa, kp: 1, ti: 6s, "
    "output: cabinet.speed}}",
    "schedule": "rules: {r: {block: schedule, output: cabinet.start, entries: "
    "[{at: sunrise, value: 1}]}}",
    "dali": "rules: {r: {block: dali, level: hall.lux / 20, output: cabinet.speed}}",
    "sump": f"rules: {{r: {{block: sump, level: 1 m, pumps: [{DUTY}]}}}}",
    "rotation": f"rules: {{r: {{block: rotation, demand: 1, pumps: [{DUTY}, {DUTY}]}}}}",
    "dry run": "rules: {r: {block: dry_run, level: 1 m, low_low: 0.3 m, trip: [cabinet.start]}}",
    "correction": "rules: {r: {block: correction, cause: communication, fault: hall.lux > 1, "
    "output: cabinet.start, run: hall.lamp, running: hall.lamp}}",
    "interlock": "interlocks: {i: {when: hall.lux > 3, trip: [cabinet.start]}}",
    "permissive": "permissives: {p: {when: hall.lux > 3, start: [cabinet.start]}}",
    "panel": "annunciators: {panel: {beacon: cabinet.start}}",
    "command": USERS + "commands: {cabinet.start: {range: [0, 1], roles: [engineer]}}",
    "bms": USERS + "commands: {cabinet.start: {range: [0, 1], roles: [integration]}}\n"
    'bms: {listen: "127.0.0.1:1503", user: plc, points: {cabinet.start: {coil: 0, write: true}}}',
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_write_path_is_refused(tmp_path: Path, path: str) -> None:
    """A crafted site is refused, with a sentence about fire equipment at the right place."""
    extra = PATHS[path]
    site = SITE + (extra.partition("\n")[2] if extra.startswith("devices:") else extra)
    (tmp_path / "site.yaml").write_text(site + "\n")
    checked = read_site(tmp_path, DRIVERS, KINDS)
    fire = [p for p in checked.problems if p.code == "fire-device"]
    assert checked.site is None
    assert fire, [p.text.en for p in checked.problems]
    assert all(p.mark.line > SITE.count("\n") for p in fire)


def test_what_only_watches_is_well(tmp_path: Path) -> None:
    """The same device watched: no output among its points, nothing that its driver may write."""
    (tmp_path / "site.yaml").write_text(
        SITE + "rules: {fire: {block: fire_water, pressure: cabinet.pressure}}\n"
    )
    checked = read_site(tmp_path, DRIVERS, KINDS)
    assert checked.site is not None
    assert {p.code for p in checked.problems} <= {"no-default"}
    cabinet = next(d for bus in checked.site.buses for d in bus.devices if d.id == "cabinet")
    assert cabinet.fire
    assert not any(point.writable for point in cabinet.points)
    assert all(p.output is None for p in checked.site.points if p.fire)
