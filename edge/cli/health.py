"""`edge health`: how buses, devices, uplinks and the scan are."""

from __future__ import annotations

import json

import click

from edge.cli.client import Client, Json
from edge.cli.command import OK, command, json_option, language, socket_option
from edge.cli.points import duration_text
from edge.text import Language, Text


@command(
    Text(
        """
总线, 设备, 上行, 扫描的状况; 有离线时首先看这里。

  edge health
  edge health --json | jq .buses
""",
        """
How buses, devices, uplinks and the scan are; the first place to look when
something is offline.

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
    """The health as text: the controller, then each bus with its devices, then the uplinks."""
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
        made.append(bus_text(bus, spoken))
        made += ["  " + device_text(device, now, spoken) for device in bus["devices"]]
    made += [uplink_text(uplink, spoken) for uplink in health["uplinks"]]
    return made


def bus_text(bus: Json, spoken: Language) -> str:
    """One bus in a line."""
    reason = "" if bus["reason"] is None else f"  {bus['reason'][spoken]}"
    state = (UP if bus["up"] else DOWN).of(spoken)
    counts = BUS.of(spoken).format(
        requests=bus["requests"], errors=bus["errors"], busy=100 * bus["busy"]
    )
    return f"{bus['id']} ({bus['driver']}) {state}{reason}  {counts}"


def device_text(device: Json, now: float, spoken: Language) -> str:
    """One device in a line."""
    state = (UP if device["online"] else DOWN).of(spoken)
    text = f"{device['id']} {state}"
    if not device["online"] and device["since"] is not None:
        text += f" {duration_text(max(0.0, now - device['since']), spoken)}"
    return text


def uplink_text(uplink: Json, spoken: Language) -> str:
    """One uplink in a line."""
    state = (UP if uplink["up"] else DOWN).of(spoken)
    return UPLINK.of(spoken).format(**uplink, state=state)


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
    "{requests} 次请求, {errors} 次失败, 占用 {busy:.0f} %",
    "{requests} requests, {errors} failed, {busy:.0f} % busy",
)
UPLINK = Text(
    "{id} {state}  已发 {sent}, 积压 {backlog}, 被拒 {refused}",
    "{id} {state}  {sent} sent, {backlog} waiting, {refused} refused",
)
