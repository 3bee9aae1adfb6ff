"""`edge retry`: end the pause before the next try to connect, or to ask a silent device."""

from __future__ import annotations

import json

import click

from edge.cli.client import Client, place
from edge.cli.command import OK, command, json_option, say, socket_option
from edge.cli.completion import places as complete_places
from edge.text import Text


@command(
    Text(
        """
立即重试: 不等下一次连接总线或询问离线设备。换好转换器, 设备送电后使用。
不写名称: 重试全部; 写总线: 连接, 并询问其全部离线设备; 写设备: 只询问这一台。

  edge retry
  edge retry meters
  edge retry v3

未在等待时退出码为 1。结果见 edge health。
""",
        """
Try again now, instead of waiting for the next try to connect a bus or to ask
a silent device: after an adapter was replugged or a device switched on.
Without a name, all that waits; a bus, its connection and every silent device
behind it; a device, that one.

  edge retry
  edge retry meters
  edge retry v3

Exit code 1 when nothing waits. `edge health` shows what came of it.
""",
    )
)
@click.argument("name", required=False, metavar="[BUS|DEVICE]", shell_complete=complete_places)
@json_option
@socket_option
def retry(name: str | None, as_json: bool, socket: str | None) -> int:
    """Ask the running controller, and say what it tries."""
    path = "retry" if name is None else place("retry", name)
    tried = Client(socket).post(path, {})
    if as_json:
        click.echo(json.dumps(tried, ensure_ascii=False))
        return OK
    for bus in tried["buses"]:
        say(CONNECTS, bus=bus)
    for device in tried["devices"]:
        say(ASKED, device=device)
    say(LOOK)
    return OK


CONNECTS = Text("{bus}: 正在连接", "{bus}: connecting now")
ASKED = Text(
    "{device}: 即将询问 (同一总线上的多台依次进行)",
    "{device}: is asked now, in turn with others of its bus",
)
LOOK = Text("结果见 edge health", "`edge health` shows what came of it")
