"""The points that tell how buses and devices are: what rules can know of the wiring.

Declared here, filled once a second by `edge/app/health.py` in this order. They are local: the log
on the machine and its own screens have them, no broker does. Called by `edge/site/build.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from edge.site.site import Point, Role
from edge.text import Text

LINK = "link"  # `<device>.link.<word>`
BUS = "bus"  # `<bus>.bus.<word>`


class Measure(NamedTuple):
    """One number of a device or a bus."""

    word: str
    unit: str
    decimals: int
    text: Text


_REQUESTS = Measure("requests", "", 0, Text("请求次数", "requests"))
_KINDS = (  # in the order of `edge.bus.meter.KINDS`
    Measure("timeouts", "", 0, Text("无应答次数", "unanswered requests")),
    Measure("refusals", "", 0, Text("拒绝次数", "refusals")),
    Measure("bad_answers", "", 0, Text("错误应答次数", "wrong answers")),
    Measure("breaks", "", 0, Text("断线次数", "lost connections")),
)
_TRIP = Measure("round_trip", "s", 4, Text("响应时间中位数", "round trip, median"))
_TRIP_P99 = Measure("round_trip_p99", "s", 4, Text("响应时间 p99", "round trip, p99"))
_AGE = Measure("age", "s", 1, Text("最旧数据的时效", "age of the oldest point"))
_BACK_OFF = Measure("back_off", "s", 0, Text("退避累计时长", "time in back-off"))

OF_DEVICE: tuple[Measure, ...] = (
    _REQUESTS,
    *_KINDS,
    _TRIP,
    _TRIP_P99,
    _AGE,
    _BACK_OFF,
    Measure("refused", "", 0, Text("被拒点数", "refused points")),
    Measure("wrong", "", 0, Text("身份", "identity")),
)

OF_BUS: tuple[Measure, ...] = (
    Measure("online", "", 0, Text("连接", "connection")),
    _REQUESTS,
    Measure("failures", "", 0, Text("失败次数", "failures")),
    *_KINDS,
    Measure("load", "%", 1, Text("负载率", "load")),
    Measure("overruns", "", 0, Text("错过的轮询", "missed polls")),
    _TRIP,
    _TRIP_P99,
    _AGE,
    _BACK_OFF,
)

_LABELS = {
    "online": {0: Text("中断", "down"), 1: Text("正常", "up")},
    "wrong": {0: Text("相符", "as configured"), 1: Text("不符", "another device")},
}


def link_points(device: str, name: Text) -> tuple[Point, ...]:
    """What is measured of a device, in the order of `OF_DEVICE`."""
    return tuple(_point(f"{device}.{LINK}", name, measure) for measure in OF_DEVICE)


def bus_points(bus: str) -> tuple[Point, ...]:
    """What is measured of a bus, in the order of `OF_BUS`."""
    name = Text(f"总线 {bus}", f"bus {bus}")
    return tuple(_point(f"{bus}.{BUS}", name, measure) for measure in OF_BUS)


def _point(prefix: str, name: Text, measure: Measure) -> Point:
    return Point(
        id=f"{prefix}.{measure.word}",
        role=Role.VIRTUAL,
        unit=measure.unit,
        name=Text(f"{name.zh} {measure.text.zh}", f"{name.en} {measure.text.en}"),
        device=None,
        low=0.0,
        high=float("inf"),
        period=0.0,
        max_age=float("inf"),
        report=0.0,
        decimals=measure.decimals,
        labels=_LABELS.get(measure.word, {}),
        local=True,
    )
