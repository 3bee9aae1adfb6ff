"""`edge demo`: simulated equipment, a broker, a controller and what a visitor sees of them.

With a terminal: a live screen whose keys start and end faults. Without one: a script of faults, a
table of what was expected and seen, and an exit code.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from edge.cli.alarms import seconds
from edge.cli.command import OK, REFUSED, Failed, command, language, note, option, say
from edge.errors import EdgeError, Unusable
from edge.text import Language, Text

if TYPE_CHECKING:
    from edge.cli.client import Client, Json
    from edge.cli.stage import Stage

KEYS = {"1": "valve_drift", "2": "pump_trip", "3": "lux_covered", "4": "device_silent",
        "5": "broker_down", "6": "tank_low", "7": "flood", "8": "vibration"}  # fmt: skip
TERMINATED = 143  # 128 + SIGTERM, as a shell says it
LOOK = 1.0  # seconds between pictures
REMOTE = (67.0, 75.0)  # % that key c asks of the zone 3 valve, in turn


@command(
    Text(
        """
在本机演示: 仿真的泵房、大堂与冷却塔 (真实的 Modbus TCP 与 BACnet/IP 套接字), 内置 MQTT
服务器 (amqtt, 仅 MQTT 3.1.1, 仅供演示), 控制器, 实时画面。按一个键制造一个故障。

  edge demo
  edge demo --headless --for 60s    按剧本注入故障并核对, 全部见到才返回 0

演示运行时, 可在另一个终端试: edge watch, edge explain v3.position, edge alarms
""",
        """
Try it on this machine: a simulated pump room, lobby and cooling tower on real
Modbus TCP and BACnet/IP sockets, an embedded MQTT broker (amqtt: MQTT 3.1.1 only,
for the demo only), the controller, a live view. One key starts a fault.

  edge demo
  edge demo --headless --for 60s    scripted faults; 0 only if all was seen

While it runs, try in another terminal: edge watch, edge explain v3.position,
edge alarms
""",
    )
)
@option("--headless", is_flag=True,
        text=Text("不用画面, 按剧本运行并核对", "no screen: play a script and check"))  # fmt: skip
@option("--for", "lasting", metavar="DURATION",
        text=Text("最长时间", "at most so long"))  # fmt: skip
def demo(headless: bool, lasting: str | None) -> int:
    """Build everything up, show or play, clear away."""
    try:
        from edge.cli.stage import Stage
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "amqtt":
            raise
        raise Failed(NO_AMQTT) from None
    limit = seconds(lasting) if lasting is not None else None
    if not headless and not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise Failed(NO_TERMINAL)
    stage = Stage(visible=not headless)
    try:
        return asyncio.run(_play(stage, limit or 60.0) if headless else _show(stage, limit))
    except asyncio.CancelledError:
        return TERMINATED
    except BaseExceptionGroup as group:  # a task group wraps what ends it
        told = group.subgroup((Failed, Unusable))
        if told is None:
            raise
        raise _first(told) from None


def _first(error: EdgeError | BaseExceptionGroup[EdgeError]) -> EdgeError:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _play(stage: Stage, limit: float) -> int:
    """The script; everything around it runs beside it."""
    from rich.console import Console

    from edge.cli.play import steps
    from edge.cli.script import Play, summary

    spoken = language()
    async with stage, asyncio.TaskGroup() as group:
        around = [
            group.create_task(stage.equipment.run()),
            group.create_task(stage.subscriber.run()),
        ]
        client = await stage.ready(_waiting())
        model = await asyncio.to_thread(client.get, "model")
        play = Play(stage, client, model, spoken, lambda text: click.echo(f"- {text}"), steps())
        passed = await play.run(limit)
        for task in around:
            task.cancel()
    click.echo()
    Console(width=max(120, Console().width)).print(summary(play.steps, spoken))
    checks = [check for step in play.steps for check in step.checks]
    seen = sum(check.after is not None for check in checks)
    say(RESULT, seen=seen, count=len(checks))
    return OK if passed else REFUSED


async def _show(stage: Stage, limit: float | None) -> int:
    """The live screen; everything around it runs beside it."""
    async with stage, asyncio.TaskGroup() as group:
        around = [
            group.create_task(stage.equipment.run()),
            group.create_task(stage.subscriber.run()),
        ]
        client = await stage.ready(_waiting())
        model = await asyncio.to_thread(client.get, "model")
        ended = await _screen(stage, client, model, limit)
        for task in around:
            task.cancel()
    return ended


async def _screen(stage: Stage, client: Client, model: Json, limit: float | None) -> int:
    """Draw once a second and answer keys, until q or the end of the controller."""
    from rich.console import Console
    from rich.live import Live

    from edge.cli.keys import Keys
    from edge.cli.view import Scene, draw
    from edge.cli.watch import scrolled

    console = Console()
    loop = asyncio.get_running_loop()
    spoken: Language = language()
    scroll, drawn, ends = 0, 0.0, loop.time() + limit if limit else float("inf")
    notice: Text | None = WELCOME
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while stage.running and loop.time() < ends:
            pressed = keys.pressed()
            for key in pressed:
                if key == "q":
                    return OK
                if key == "l":
                    spoken = "en" if spoken == "zh" else "zh"
                scroll = scrolled(scroll, key, len(model["points"]))
                notice = await _answer(stage, client, key) or notice
            if pressed or loop.time() - drawn >= LOOK:
                drawn = loop.time()
                snapshot = await asyncio.to_thread(client.get, "snapshot")
                health = await asyncio.to_thread(client.get, "health")
                scene = Scene(model, snapshot, health, spoken, _keys(stage), notice, scroll)
                live.update(draw(scene, console.width, console.height), refresh=True)
            await asyncio.sleep(0.05)
    if stage.running:
        return OK
    raise Failed(ENDED.format(log=stage.tail()))


async def _answer(stage: Stage, client: Client, key: str) -> Text | None:
    """Do what a key asks for; the sentence that says what was done."""
    if key in KEYS:
        switch = stage.switches[KEYS[key]]
        await switch.toggle()
        return (FAULT if switch.on else REPAIRED).format(fault=switch.text)
    if key == "a":
        return await asyncio.to_thread(_acknowledge, client)
    if key == "r":
        return await asyncio.to_thread(_reset, client)
    if key == "c":
        value = REMOTE[stage.commands % len(REMOTE)]
        command = await stage.command(value)
        return COMMANDED.format(value=value, id=command[:8])
    return None


def _acknowledge(client: Client) -> Text:
    """Acknowledge what is on the screen, as a person at the panel would."""
    from edge.cli.client import place

    done = []
    for entry in client.get("snapshot")["alarms"]:
        if entry["state"] in ("UNACK", "LATCHED_UNACK", "RTN_UNACK"):
            client.post(place("alarms", entry["id"]), {"op": "ack", "n": entry["n"]})
            done.append(entry["id"])
    return ACKED.format(alarms=", ".join(done)) if done else NOTHING_TO_ACK


def _reset(client: Client) -> Text:
    """Reset what has tripped, as the button of the panel does; what still stands trips again."""
    from edge.cli.client import place
    from edge.cli.points import shown

    model = client.get("model")
    values = {point.id: point.value for point in shown(model, client.get("snapshot"))}
    tripped = [name for name in model["interlocks"] if values.get(f"{name}.tripped")]
    for name in tripped:
        client.post(place("alarms", name), {"op": "reset", "n": 0})
    return RESET.format(names=", ".join(tripped)) if tripped else NOTHING_TO_RESET


def _keys(stage: Stage) -> Text:
    """The last line: each key with its fault, those that are on marked."""
    marks = {key: "*" if stage.switches[name].on else " " for key, name in KEYS.items()}
    zh = "".join(f"{marks[key]}{key}{SHORT[name].zh}" for key, name in KEYS.items())
    en = "".join(f"{marks[key]}{key}{SHORT[name].en}" for key, name in KEYS.items())
    return Text(f"{zh} c远程 a确认 r复位 l EN q", f"{en} c cmd a ack r reset l 中文 q")


def _waiting() -> Callable[[float], None]:
    """Say once that it takes a moment, and once that it takes longer."""
    told: set[str] = set()

    def waiting(lasted: float) -> None:
        for limit, text in ((0.0, STARTING), (8.0, COMPILING)):
            if lasted >= limit and text.en not in told:
                told.add(text.en)
                note(text)

    return waiting


WELCOME = Text(
    "按 1-8 制造或排除故障; 在另一个终端试 edge explain v3.position",
    "keys 1-8 start and end faults; elsewhere try `edge explain v3.position`",
)
STARTING = Text(
    "正在启动: 仿真设备, MQTT 服务器 (amqtt, 仅 3.1.1), 控制器",
    "starting: simulated equipment, MQTT broker (amqtt, 3.1.1 only), controller",
)
COMPILING = Text(
    "首次启动要编译内核, 可能需要一两分钟",
    "the first start compiles the kernel, this can take a minute or two",
)
FAULT = Text("故障: {fault} (再按一次排除)", "fault: {fault} (same key again ends it)")
REPAIRED = Text("已排除: {fault}", "put right: {fault}")
ACKED = Text("已确认: {alarms}", "acknowledged: {alarms}")
NOTHING_TO_ACK = Text("没有待确认的报警", "nothing to acknowledge")
RESET = Text("已复位: {names}", "reset: {names}")
NOTHING_TO_RESET = Text("没有待复位的保护", "nothing to reset")
COMMANDED = Text(
    "经 MQTT 发出: v3.position = {value:.0f} %, 限时 60 秒 ({id})",
    "sent over MQTT: v3.position = {value:.0f} % for 60 s ({id})",
)
RESULT = Text("见到 {seen} / {count} 项", "{seen} of {count} seen")
NO_TERMINAL = Text(
    "没有终端; 请用 edge demo --headless --for 60s",
    "there is no terminal; use `edge demo --headless --for 60s`",
)
NO_AMQTT = Text(
    "演示需要内置 MQTT 服务器; 请执行 pip install 'edge-controller[demo]'",
    "the demo needs its MQTT broker; `pip install 'edge-controller[demo]'`",
)
ENDED = Text("控制器已停止:\n{log}", "the controller has ended:\n{log}")
SHORT = {
    "valve_drift": Text("阀漂", "valve"),
    "pump_trip": Text("泵跳停", "pump"),
    "lux_covered": Text("遮光", "lux"),
    "device_silent": Text("失联", "silent"),
    "broker_down": Text("断MQTT", "MQTT"),
    "tank_low": Text("缺水", "tank"),
    "flood": Text("进水", "pit"),
    "vibration": Text("振动", "fan"),
}
