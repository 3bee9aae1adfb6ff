"""`edge health`: how buses, devices, uplinks and the scan are."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from edge.bus.meter import KINDS
from edge.cli.client import Client, Json
from edge.cli.command import OK, command, json_option, language, socket_option, width
from edge.cli.points import duration_text
from edge.text import Language, Text


@command(
    Text(
        """
总线, 设备, 上行, 扫描的状况; 有离线时首先看这里。
每台设备: 是否为配置的那台, 响应时间的中位数与 p99, 最旧数据, 各类失败, 被拒的点, 何时再试
(edge retry 立即重试)。

  edge health
  edge health --json | jq .buses
""",
        """
How buses, devices, uplinks and the scan are; the first place to look when
something is offline. Of each device: whether it is the one that is configured,
round trip as median and p99, its oldest point, failures by kind, refused
points, when it is tried next (`edge retry` tries now).

  edge health
  edge health --json | jq .buses
""",
    )
)
@json_option
@socket_option
def health(as_json: bool, socket: str | None) -> int:
    """Print the health of the running controller."""
    client = Client(socket)
    found = client.get("health")
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return OK
    now = client.get("snapshot")["t"]
    click.echo("\n".join(lines(found, now, language())))
    return OK


def lines(health: Json, now: float, spoken: Language) -> list[str]:
    """The health as text: the controller, each bus with its devices, the uplinks, the BMS."""
    scan = health["scan"]
    made = [
        HEAD.of(spoken).format(
            site=health["site"], version=health["version"], pid=health["pid"],
            up=duration_text(now - health["started"], spoken), **scan,
        )
    ]  # fmt: skip
    told = health["events"]
    if told.get("store-full", 0) > told.get("store-back", 0):
        made.append(DISK.of(spoken))
    for bus in health["buses"]:
        notes = retry_notes(bus, now, spoken) + bus_notes(bus, spoken)
        made.append(bus_text(bus, spoken) + _after(notes))
        rows = [device_cells(device, spoken) for device in bus["devices"]]
        below = [device_notes(device, now, spoken) for device in bus["devices"]]
        titles = [title.of(spoken) for title in TITLES]
        for row, note in zip(aligned([titles, *rows]), [[], *below], strict=True):
            made.append(f"  {row}{_after(note)}".rstrip())
    made += [uplink_text(uplink, spoken) for uplink in health["uplinks"]]
    if health.get("bms"):
        made.append(bms_text(health["bms"], spoken))
    return made


def _after(notes: Sequence[str]) -> str:
    return "  " + ", ".join(notes) if notes else ""


def bus_text(bus: Json, spoken: Language) -> str:
    """One bus in a line."""
    reason = "" if bus["reason"] is None else f"  {bus['reason'][spoken]}"
    state = (UP if bus["up"] else DOWN).of(spoken)
    counts = BUS.of(spoken).format(
        requests=bus["requests"], errors=bus["errors"], load=load_text(bus)
    )
    return f"{bus['id']} ({bus['driver']}) {state}{reason}  {counts}"


def load_text(bus: Json) -> str:
    """How busy the bus was in the last minute."""
    return "-- %" if bus["load"] is None else f"{100 * bus['load']:.0f} %"


def bus_notes(bus: Json, spoken: Language) -> list[str]:
    """Round trips, and what went wrong on a bus since the start."""
    return [ROUND_TRIP.of(spoken).format(trip=trip_text(bus, spoken)), *trouble(bus, spoken)]


def trouble(bus: Json, spoken: Language) -> list[str]:
    """Failures of a bus by kind, and the polls that it missed."""
    notes = failure_notes(bus, spoken)
    if bus["overruns"]:
        notes.append(MISSED.of(spoken).format(count=bus["overruns"]))
    return notes


def retry_notes(waiting: Json, now: float, spoken: Language) -> list[str]:
    """When a bus or a device is tried next, if it waits for that."""
    if waiting["retry"] is None:
        return []
    soon = duration_text(max(0.0, waiting["retry"] - now), spoken)
    return [RETRY.of(spoken).format(time=soon)]


def device_text(device: Json, now: float, spoken: Language) -> str:
    """One device in a line."""
    return " ".join([f"{device['id']} {_state(device, spoken)}", *_silent_for(device, now, spoken)])


def _state(device: Json, spoken: Language) -> str:
    if device["wrong"]:
        return WRONG.of(spoken)
    return (UP if device["online"] else DOWN).of(spoken)


def _silent_for(device: Json, now: float, spoken: Language) -> list[str]:
    if device["online"] or device["since"] is None:
        return []
    return [duration_text(max(0.0, now - device["since"]), spoken)]


def device_cells(device: Json, spoken: Language) -> list[str]:
    """Name, state, round trips, age, requests: the columns of `TITLES`."""
    return [
        device["id"], _state(device, spoken), trip_text(device, spoken),
        duration_text(device["age_s"], spoken), str(device["requests"]),
    ]  # fmt: skip


def device_notes(device: Json, now: float, spoken: Language) -> list[str]:
    """What is wrong with a device, worst first; nothing when all is well."""
    since = OTHER if device["wrong"] else SILENT
    notes = [since.of(spoken).format(time=time) for time in _silent_for(device, now, spoken)]
    notes += retry_notes(device, now, spoken)
    if device["refused"]:
        notes.append(REFUSED.of(spoken).format(count=device["refused"]))
    notes += failure_notes(device, spoken)
    if device["back_off_s"]:
        rested = duration_text(device["back_off_s"], spoken)
        notes.append(BACK_OFF.of(spoken).format(time=rested))
    if device["reason"] is not None:
        notes.append(device["reason"][spoken])
    return notes


def failure_notes(measured: Json, spoken: Language) -> list[str]:
    """Failures since the start, by kind."""
    return [
        f"{KINDS[kind].zh} {count} 次" if spoken == "zh" else f"{count} {KINDS[kind].en}"
        for kind, count in measured["failures"].items()
        if count
    ]


def trip_text(measured: Json, spoken: Language) -> str:
    """Median and p99 of the round trips: `21/60 ms`."""
    if measured["p50_ms"] is None:
        return "--"
    unit = "毫秒" if spoken == "zh" else "ms"
    return "/".join(_ms(measured[key]) for key in ("p50_ms", "p99_ms")) + f" {unit}"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other; a Chinese character takes two places."""
    wide = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(text + " " * (w - width(text)) for text, w in zip(row, wide, strict=True))
        for row in rows
    ]


def uplink_text(uplink: Json, spoken: Language) -> str:
    """One uplink in a line."""
    state = (UP if uplink["up"] else DOWN).of(spoken)
    return UPLINK.of(spoken).format(**uplink, state=state)


def bms_text(bms: Json, spoken: Language) -> str:
    """The server for a BMS in a line, with who is connected."""
    state = (UP if bms["up"] else DOWN).of(spoken)
    return BMS.of(spoken).format(**bms, state=state) + _after(bms["clients"])


DISK = Text(
    "磁盘不可写: 控制照常, 但数据不再落盘; 请清理磁盘 (原因见日志)",
    "the disk CANNOT BE WRITTEN: control goes on, nothing is kept; make room (see the log)",
)
UP = Text("正常", "up")
DOWN = Text("中断", "DOWN")
HEAD = Text(
    "{site} 版本 {version}, 进程 {pid}, 已运行 {up}; 扫描 {steps} 次, p99 {p99_ms:.1f} 毫秒",
    "{site} version {version}, process {pid}, up {up}; {steps} scans, p99 {p99_ms:.1f} ms",
)
BUS = Text(
    "{requests} 次请求, {errors} 次失败, 负载 {load}",
    "{requests} requests, {errors} failed, load {load}",
)
ROUND_TRIP = Text("响应 {trip}", "round trip {trip}")
MISSED = Text("错过轮询 {count} 次", "{count} polls missed")
WRONG = Text("不符", "WRONG")
OTHER = Text("换成另一台设备已 {time}", "another device for {time}")
SILENT = Text("已中断 {time}", "silent for {time}")
RETRY = Text("{time}后再试", "next try in {time}")
REFUSED = Text("现拒读 {count} 个点", "refuses {count} of its points")
BACK_OFF = Text("退避累计 {time}", "backed off {time} in all")
TITLES = (
    Text("设备", "device"),
    Text("状态", "state"),
    Text("响应/p99", "trip/p99"),
    Text("最旧数据", "oldest"),
    Text("请求", "requests"),
)
BMS = Text(
    "楼控接口 {listen} {state}  请求 {requests}, 拒绝写入 {refused}",
    "BMS on {listen} {state}  {requests} requests, {refused} writes refused",
)
UPLINK = Text(
    "{id} {state}  已发 {sent}, 积压 {backlog}, 被拒 {refused}",
    "{id} {state}  {sent} sent, {backlog} waiting, {refused} refused",
)
