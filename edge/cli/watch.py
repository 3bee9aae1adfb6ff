"""`edge watch`: points, outputs, alarms and buses of a running controller, live."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Sequence

import click

from edge.cli.client import Client, Json
from edge.cli.command import OK, command, json_option, language, option, socket_option
from edge.cli.completion import points as complete_points
from edge.cli.points import (
    Shown,
    chosen,
    duration_text,
    owner_text,
    quality_text,
    shown,
    value_text,
)
from edge.image.quality import names
from edge.text import Language, Text


@command(
    Text(
        """
实时查看点的值, 质量, 时效, 输出由谁给定, 报警与总线。

  edge watch                     全部, 全屏; h 总线与设备的健康, q 退出
  edge watch v3 'booster.p*'     一台设备, 或按样式
  edge watch v3.link pump.bus    通信质量的点, 只在点名或加 --all 时显示
  edge watch --once              打印一次
  edge watch --json | jq .       每秒一行 JSON, 只含变化
""",
        """
Watch values with quality and age, who holds each output, alarms and buses.

  edge watch                     everything, full screen; h health, q ends
  edge watch v3 'booster.p*'     one device, or a pattern
  edge watch v3.link pump.bus    how a device or a bus answers: when named, or --all
  edge watch --once              print once
  edge watch --json | jq .       a line of JSON each second, what changed
""",
    )
)
@click.argument("points", nargs=-1, shell_complete=complete_points)
@option("--once", is_flag=True, text=Text("打印一次后退出", "print once and end"))
@option(
    "--all",
    "everything",
    is_flag=True,
    text=Text("也显示总线和设备的通信质量", "also how buses and devices answer"),
)
@json_option
@socket_option
def watch(
    points: Sequence[str], once: bool, everything: bool, as_json: bool, socket: str | None
) -> int:
    """Show a running controller, in the way that the output asks for."""
    client = Client(socket)
    model, snapshot = client.get("model"), client.get("snapshot")
    known = chosen(shown(model, snapshot), points, everything=everything)
    if as_json:
        return _json_lines(client, model, snapshot, known, once=once)
    if not once and sys.stdout.isatty() and sys.stdin.isatty():
        return _screen(client, model, points, everything=everything)
    click.echo("\n".join(table(known, language())))
    if not once:
        _changes(client, model, snapshot, [p.id for p in known])
    return OK


def table(points: Sequence[Shown], spoken: Language) -> list[str]:
    """A line per point in plain columns."""
    from rich.cells import cell_len

    rows = [
        (p.id, value_text(p, spoken), quality_text(p, spoken) or "-",
         duration_text(p.age, spoken), owner_text(p, spoken))
        for p in points
    ]  # fmt: skip
    wide = [max((cell_len(row[i]) for row in rows), default=0) for i in range(4)]
    return [
        "  ".join([*(c + " " * (w - cell_len(c)) for c, w in zip(row, wide, strict=False)), row[4]])
        .rstrip()
        for row in rows
    ]  # fmt: skip


def as_record(point: Shown) -> Json:
    """One point for scripts."""
    made: Json = {"value": point.value, "unit": point.unit, "quality": list(names(point.bits)),
                  "age": point.age}  # fmt: skip
    if point.role in ("output", "setpoint"):
        made |= {"target": point.target, "slot": point.slot, "by": point.by}
    if point.bound is not None:
        made["held"] = list(point.bound)
    return made


def _json_lines(
    client: Client, model: Json, snapshot: Json, known: Sequence[Shown], *, once: bool
) -> int:
    """The whole state, then one line per second with what changed."""
    first = {
        "t": snapshot["t"],
        "points": {p.id: as_record(p) for p in known},
        "alarms": snapshot["alarms"],
        "holds": snapshot["holds"],
    }
    click.echo(json.dumps(first, ensure_ascii=False))
    if once:
        return OK
    wanted = {p.id for p in known}
    pending: Json = {}
    for name, data in client.stream():
        if name != "values":
            pending[name] = data
            continue
        changes = {point: value for point, value in _decoded(model, data["v"]) if point in wanted}
        click.echo(json.dumps({"t": data["t"], "points": changes} | pending, ensure_ascii=False))
        sys.stdout.flush()
        pending = {}
    return OK


def _decoded(model: Json, entries: Json) -> list[tuple[str, Json]]:
    made = []
    for i, entry in entries.items():
        value, bits = entry[:2] if isinstance(entry, list) else (entry, 0)
        point = model["points"][int(i)]
        made.append((point["id"], {"value": value, "unit": point["unit"],
                                   "quality": list(names(bits))}))  # fmt: skip
    return made


def _changes(client: Client, model: Json, snapshot: Json, wanted: Sequence[str]) -> None:
    """A line per change, until the controller or the reader ends."""
    spoken = language()
    for name, data in client.stream():
        if name == "alarms":
            for alarm in data:
                click.echo(f"! P{alarm['priority']} {alarm['id']} #{alarm['n']} {alarm['state']}")
        if name != "values":
            continue
        time = datetime.datetime.fromtimestamp(data["t"]).astimezone()
        zeros = [0.0] * len(model["points"])
        changed = {model["points"][int(i)]["id"] for i in data["v"]}
        for point in shown(model, snapshot | {"v": data["v"], "age": zeros}):
            if point.id in changed and point.id in wanted:
                said = f"{value_text(point, spoken)}  {quality_text(point, spoken)}".rstrip()
                click.echo(f"{time:%H:%M:%S}  {point.id}  {said}")
        sys.stdout.flush()


def _screen(client: Client, model: Json, wanted: Sequence[str], *, everything: bool) -> int:
    """Full screen until q; h turns to the health of buses and devices, and back."""
    from rich.console import Console
    from rich.live import Live

    from edge.cli.health_view import draw_health
    from edge.cli.keys import Keys
    from edge.cli.view import Scene, draw

    console = Console()
    scroll, spoken, health_page = 0, language(), False
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            snapshot, health = client.get("snapshot"), client.get("health")
            all_points = shown(model, snapshot)
            some = wanted or everything
            only = tuple(chosen(all_points, wanted, everything=everything)) if some else None
            hint = HEALTH_KEYS if health_page else KEYS
            scene = Scene(model, snapshot, health, spoken, hint, None, scroll, only)
            picture = (draw_health if health_page else draw)(scene, console.width, console.height)
            live.update(picture, refresh=True)
            for key in keys.pressed(1.0):
                if key == "q":
                    return OK
                if key == "l":
                    spoken = "en" if spoken == "zh" else "zh"
                if key == "h":
                    health_page, scroll = not health_page, 0
                scroll = scrolled(scroll, key, len(model["points"]))


def scrolled(scroll: int, key: str, count: int) -> int:
    """The first visible point after an arrow key."""
    steps = {"up": -1, "down": 1, "page-up": -10, "page-down": 10}
    return max(0, min(count - 1, scroll + steps.get(key, 0)))


KEYS = Text("q 退出  上下键 滚动  h 健康  l English", "q quit  arrows scroll  h health  l 中文")
HEALTH_KEYS = Text(
    "q 退出  上下键 滚动  h 返回  l English", "q quit  arrows scroll  h points  l 中文"
)
