"""The `edge` command: a table of subcommands, each in its own module.

Thin: a subcommand talks to the app, to the site's files or to a running controller's socket.
"""

from __future__ import annotations

from edge.cli.command import Edge
from edge.text import Text

TABLE: dict[str, tuple[str, str, Text]] = {
    "demo": (
        "edge.cli.demo", "demo",
        Text("在本机演示: 仿真设备, 控制器, 实时画面", "try it: simulated equipment, live view"),
    ),
    "check": (
        "edge.cli.check", "check",
        Text("检查站点文件, 一次列出全部问题", "check a site, show all problems at once"),
    ),
    "test": (
        "edge.cli.test", "test",
        Text("在虚拟时间中试验站点的场景", "play a site's scenarios in virtual time"),
    ),
    "simulate": (
        "edge.cli.simulate", "simulate",
        Text("仿真站点的一天或一个月, 写出报告", "a day or a month of a site simulated, a report"),
    ),
    "equipment": (
        "edge.cli.equipment", "equipment",
        Text("在本机套接字上提供站点的仿真设备", "a site's simulated equipment on sockets here"),
    ),
    "run": ("edge.cli.run", "run", Text("运行控制器", "run the controller")),
    "watch": (
        "edge.cli.watch", "watch",
        Text("实时查看点, 输出, 报警, 总线", "watch points, outputs, alarms and buses live"),
    ),
    "explain": (
        "edge.cli.explain", "explain",
        Text("逐级说明一个点为何是此值", "say level by level why a point has its value"),
    ),
    "replay": (
        "edge.cli.replay", "replay",
        Text("重演一次记录的运行, 逐位比对", "go through a recorded run again, bit for bit"),
    ),
    "alarms": (
        "edge.cli.alarms", "alarms",
        Text("列出报警, 原因和首先检查什么", "list alarms with what to check first"),
    ),
    "ack": ("edge.cli.alarms", "ack", Text("确认报警", "acknowledge an alarm")),
    "reset": (
        "edge.cli.alarms", "reset",
        Text("复位锁存的报警, 联锁, 跳停的水泵", "reset latched alarms, interlocks, tripped pumps"),
    ),
    "set": (
        "edge.cli.set", "set_point",
        Text("就地手动给定一个输出, 限时", "hold an output by hand for a limited time"),
    ),
    "bypass": (
        "edge.cli.bypass", "bypass",
        Text("旁路一条联锁, 限时, 须写原因", "take an interlock out of force for a limited time"),
    ),
    "release": (
        "edge.cli.set", "release",
        Text("交还自动", "give an output back to automatic control"),
    ),
    "read": (
        "edge.cli.read", "read",
        Text("直接读设备, 显示四种字序下的原始值", "read a device now, raw words in all orders"),
    ),
    "health": (
        "edge.cli.health", "health",
        Text("总线, 设备, 上行, 扫描的状况", "how buses, devices, uplinks and the scan are"),
    ),
    "retry": (
        "edge.cli.retry", "retry",
        Text("立即重试中断的总线和设备", "try silent buses and devices again now"),
    ),
    "failsafe": (
        "edge.cli.failsafe", "failsafe",
        Text("输出故障安全值, 断开报警继电器", "drive the failsafe values, drop the alarm relay"),
    ),
    "compile": (
        "edge.cli.compile", "compile",
        Text("预先编译内核, 供安装时使用", "compile the kernel ahead, at installation"),
    ),
    "blocks": (
        "edge.cli.blocks", "blocks",
        Text("列出功能块, 显示选项和示例", "list the blocks, show options and an example"),
    ),
    "schema": (
        "edge.cli.schema", "schema",
        Text("输出站点文件的 JSON Schema, 供编辑器使用", "print the JSON schema for an editor"),
    ),
    "completion": (
        "edge.cli.completion", "completion",
        Text("命令补全: bash, zsh, fish", "completion for bash, zsh, fish"),
    ),
}  # fmt: skip

ABOUT = Text(
    """
楼宇设备边缘控制器: 采集 Modbus 与 BACnet, 本地联动与报警, MQTT 上行。

先试一试:    edge demo
自己的站点:  edge check site.yaml, 再 edge run site.yaml --observe

退出码: 0 成功, 1 被拒绝或失败, 2 命令行有误, 69 没有控制器应答, 78 配置有误
""",
    """
Edge controller for building equipment: Modbus and BACnet in, local rules and
alarms, MQTT up.

Try it:          edge demo
Your own site:   edge check site.yaml, then edge run site.yaml --observe

Exit codes: 0 done, 1 refused or failed, 2 mistake on the command line,
69 no controller answers, 78 the configuration is wrong
""",
)

group = Edge(TABLE, ABOUT, name="edge")


def main() -> None:
    """The console script."""
    group.main()
