"""Which devices bring `<DEVICE>_WRONG`, how urgent it is, and what it stands for."""

from __future__ import annotations

import pytest

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.site.load import load_site
from edge.site.site import Alarm

SITE = """
site: {id: who, timezone: Asia/Shanghai}
buses: {line: {driver: modbus, tcp: 127.0.0.1}}
devices:
  plain:   {bus: line, unit: 1, points: {p: {holding: 0}}}
  shown:   {bus: line, unit: 2, identity: {vendor: ACME}, points: {p: {holding: 0}}}
  driven:  {bus: line, unit: 3, identity: {vendor: ACME}, points: {p: {holding: 0, output: true}}}
  behind:  {bus: line, unit: 4, identity: {vendor: ACME}, points: {p: {holding: 0}}}
  guarded: {bus: line, unit: 5, identity: {vendor: ACME}, points: {p: {holding: 0}}}
  there:   {bus: line, unit: 6, identity: {vendor: ACME}, points: {p: {holding: 0}}}
rules:
  mean:   {value: behind.p / 2}
  only:   {value: shown.p > 3}
  follow: {block: ramp, input: mean, output: driven.p, up: 1, down: 1}
interlocks:
  dry: {when: guarded.p < 1 or not there.online, trip: [driven.p]}
"""


@pytest.fixture(scope="module")
def alarms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Alarm]:
    path = tmp_path_factory.mktemp("wrong") / "site.yaml"
    path.write_text(SITE)
    return {alarm.id: alarm for alarm in load_site(path, DRIVERS, KINDS).alarms}


def test_urgent_where_something_is_driven_or_decided(alarms: dict[str, Alarm]) -> None:
    """P2 for outputs, for what an output's rule or a protection depends on; else P3."""
    found = {id: a.priority for id, a in alarms.items() if id.endswith("_WRONG")}
    assert found == {
        "SHOWN_WRONG": 3, "DRIVEN_WRONG": 2, "BEHIND_WRONG": 2, "GUARDED_WRONG": 2, "THERE_WRONG": 2
    }  # fmt: skip
    assert "edge read --identify shown" in alarms["SHOWN_WRONG"].checks[0].en


def test_what_follows_from_it_is_suppressed(alarms: dict[str, Alarm]) -> None:
    """Of devices that say who they must be; the others are as they were."""
    suppressed = {id: alarms[id].suppressed_by for id in alarms if id.startswith(("DRIVEN", "PL"))}
    assert suppressed == {
        "DRIVEN_OFFLINE": "not line.bus.online or driven.link.wrong",
        "DRIVEN_REFUSING": "driven.link.wrong",
        "DRIVEN_NOT_FOLLOWING": "driven.link.wrong",
        "DRIVEN_WRONG": "not line.bus.online",
        "PLAIN_OFFLINE": "not line.bus.online",
        "PLAIN_REFUSING": "",
    }
