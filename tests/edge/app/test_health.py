"""Health of buses: into the image once a second, into the log every ten minutes."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.app.health import BusHealth, failures_text
from edge.bus.meter import Failure, Meter
from edge.bus.schedule import DeviceState
from edge.events import BUS_HEALTH, DEVICE_HEALTH, Event, Events
from edge.image import quality
from edge.image.image import ProcessImage
from edge.scan.arrivals import Arrivals
from edge.site.health import OF_BUS, OF_DEVICE
from edge.site.load import load_site
from edge.text import Text
from tests.support.bench_site import DRIVERS, KINDS

SITE = """
site: {id: yard, timezone: Asia/Shanghai}
buses: {line: {driver: bench, port: /dev/ttyS0}}
devices:
  a: {bus: line, unit: 1, points: {p: {address: 0}, q: {address: 1}, slow: {address: 2, poll: 1h}}}
  b: {bus: line, unit: 2, points: {run: {address: 2, access: write, output: true}}}
  c: {bus: line, unit: 3, points: {p: {address: 0}}}
"""


class Bench:
    """A bus whose meters and points a test sets, and its health."""

    def __init__(self, folder: Path) -> None:
        (folder / "site.yaml").write_text(SITE)
        site = load_site(folder, DRIVERS, KINDS)
        self.index = site.index()
        self.image = ProcessImage(len(site.points), [], 0)
        self.runner = SimpleNamespace(
            bus=site.buses[0], meter=Meter(), up=True, down_reason=None, overruns=0,
            devices={d.id: DeviceState(d.id) for d in site.buses[0].devices},
        )  # fmt: skip
        self.told: list[tuple[Event, dict[str, Any]]] = []
        events = Events()
        events.watch(lambda event, fields: self.told.append((event, fields)))
        self.arrivals = Arrivals(self.image)
        scan: Any = SimpleNamespace(index=self.index, image=self.image, put=self.arrivals.put)
        self.health = BusHealth(self.runner, scan, events)  # type: ignore[arg-type]

    def look(self, now: float) -> None:
        """As the task does, and the scan's next step."""
        self.health.look(now)
        self.arrivals.latch()

    def read(self, point: str, at: float, bits: int = 0) -> None:
        self.image.stamp[self.index[point]] = at
        self.image.quality[self.index[point]] = bits

    def __getitem__(self, point: str) -> float:
        """The value; NaN must be NEVER and nothing else may be."""
        value, bits = self.image.value[self.index[point]], self.image.quality[self.index[point]]
        assert bits == (quality.NEVER if math.isnan(value) else quality.GOOD)
        return float(value)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    for point in ("a.p", "a.q", "a.slow", "c.p"):
        made.read(point, 100.0)
    return made


def test_counts_and_round_trips_of_a_device(bench: Bench) -> None:
    """Failures by kind, median and p99 of the answers, and what is not known yet is NEVER."""
    meter = bench.runner.devices["a"].meter
    for took in (0.010, 0.020, 0.030):
        meter.answered(took)
    meter.failed("timeout", 0.3)
    meter.failed("refused", 0.01)
    meter.failed("bad_answer", 0.01)
    bench.look(101.0)
    words = ("requests", "timeouts", "refusals", "bad_answers", "round_trip", "round_trip_p99")
    assert [bench[f"a.link.{word}"] for word in words] == [6, 1, 1, 1, 0.020, 0.030]
    assert math.isnan(bench["b.link.round_trip"])
    assert bench["b.link.requests"] == 0


def test_the_age_is_that_of_the_oldest_point_that_can_be_read(bench: Bench) -> None:
    """What is refused for good is counted and has no age; what was never read is as old as we."""
    bench.look(100.0)
    bench.read("a.p", 107.0)
    bench.read("a.q", 104.0)
    bench.read("a.slow", 40.0, quality.CONFIG)
    bench.read("c.p", -math.inf, quality.NEVER)
    bench.look(110.0)
    assert (bench["a.link.age"], bench["c.link.age"], bench["line.bus.age"]) == (6.0, 10.0, 10.0)
    assert (bench["a.link.refused"], bench["c.link.refused"]) == (1, 0)
    assert math.isnan(bench["b.link.age"])  # nothing is read of it


def test_a_silent_device_refuses_nothing(bench: Bench) -> None:
    """Its points are COMM because nobody answers: how many it would refuse is not known."""
    bench.read("a.p", 100.0, quality.COMM)
    bench.look(100.0)
    assert bench["a.link.refused"] == 1
    bench.runner.devices["a"].online = False
    bench.look(101.0)
    assert math.isnan(bench["a.link.refused"])
    bench.runner.devices["a"].online = True
    bench.runner.up = False
    bench.look(102.0)
    assert math.isnan(bench["a.link.refused"])


def test_a_wrong_device_is_known_while_its_bus_is_up(bench: Bench) -> None:
    """1 while another one answers in its place; behind a bus that is down nobody can tell."""
    bench.look(100.0)
    assert bench["a.link.wrong"] == 0
    bench.runner.devices["a"].wrong = Text("另一台", "another one")
    bench.look(101.0)
    assert (bench["a.link.wrong"], bench["c.link.wrong"]) == (1, 0)
    bench.runner.up = False
    bench.look(102.0)
    assert math.isnan(bench["a.link.wrong"])


def test_back_off_grows_while_a_device_is_left_alone(bench: Bench) -> None:
    """What is over, and what is under way."""
    device = bench.runner.devices["a"]
    device.meter.rested(10.0)
    device.resting_since = 110.0
    bench.look(115.0)
    assert bench["a.link.back_off"] == 15.0
    assert bench["c.link.back_off"] == 0.0


def test_failures_are_counted_by_kind_for_a_bus_as_for_its_devices(bench: Bench) -> None:
    """As points, so that a rule can tell a noisy line from a dead device."""
    kinds: tuple[tuple[Failure, str], ...] = (
        ("timeout", "timeouts"), ("refused", "refusals"), ("bad_answer", "bad_answers"),
        ("link", "breaks"),
    )  # fmt: skip
    for count, (kind, _) in enumerate(kinds, 1):
        for meter in (bench.runner.meter, bench.runner.devices["c"].meter):
            for _ in range(count):
                meter.failed(kind, 0.1)
    bench.look(1.0)
    for count, (_, word) in enumerate(kinds, 1):
        assert bench[f"line.bus.{word}"] == bench[f"c.link.{word}"] == count
    assert bench["line.bus.failures"] == bench["line.bus.requests"] == 10


def test_the_load_is_that_of_the_last_minute(bench: Bench) -> None:
    """A quarter of each second at first, then nothing: after a minute the load is 0."""
    for second in range(61):
        bench.runner.meter.answered(0.25)
        bench.look(1000.0 + second)
    assert bench["line.bus.load"] == pytest.approx(25.0)
    for second in range(30):
        bench.look(1061.0 + second)
    assert bench["line.bus.load"] == pytest.approx(12.5)
    for second in range(31):
        bench.look(1091.0 + second)
    assert bench["line.bus.load"] == 0.0


def test_a_bus_is_not_down_before_it_was_tried(bench: Bench) -> None:
    """Unknown until it is connected or has failed."""
    bench.runner.up = False
    bench.look(1.0)
    assert math.isnan(bench["line.bus.online"])
    bench.runner.down_reason = Text("拒绝", "refused")
    bench.look(2.0)
    assert bench["line.bus.online"] == 0.0
    bench.runner.up, bench.runner.down_reason = True, None
    bench.look(3.0)
    assert bench["line.bus.online"] == 1.0


def test_the_log_has_a_line_per_bus_and_one_per_device_with_failures(bench: Bench) -> None:
    """Every ten minutes, with what happened since the last line."""
    silent = bench.runner.devices["c"]
    bench.look(0.0)
    for meter in (bench.runner.meter, silent.meter):
        meter.answered(0.0214)
        meter.failed("timeout", 60.0)
    bench.look(599.0)
    assert bench.told == []
    bench.look(600.0)
    assert [event for event, _ in bench.told] == [BUS_HEALTH, DEVICE_HEALTH]
    fields = bench.told[0][1]
    assert (fields["bus"], fields["requests"], round(fields["load"], 1)) == ("line", 2, 10.0)
    assert bench.told[1][0].text.format(**bench.told[1][1]) == Text(
        "设备 c 近 10 分钟: 2 次请求, 1 次失败 (无应答 1), 响应时间中位数 21.4 毫秒, "
        "p99 21.4 毫秒, 最旧数据 500.0 秒, 退避 0 秒",
        "device c in 10 min: 2 requests, 1 failed (1 unanswered), round trip 21.4 ms, p99 21.4 ms, "
        "oldest point 500.0 s, backed off 0 s",
    )
    bench.look(1200.0)
    assert [event for event, _ in bench.told[2:]] == [BUS_HEALTH]
    assert bench.told[2][1]["requests"] == 0


def test_one_arrival_carries_a_bus(bench: Bench) -> None:
    """Bus and devices side by side, one slice: nothing per point."""
    bench.health.look(1.0)
    (first, stop), *others = bench.arrivals.latch()
    assert others == []
    assert stop - first == len(OF_BUS) + 3 * len(OF_DEVICE)
    assert first == bench.index["line.bus.online"]
    assert np.isfinite(bench.image.stamp[first:stop]).all()


def test_failures_in_words() -> None:
    """Only kinds that happened."""
    assert failures_text({"timeout": 3, "refused": 1, "link": 0}).en == (
        "4 failed (3 unanswered, 1 refused)"
    )
    assert failures_text({"timeout": 0}).zh == "无失败"
