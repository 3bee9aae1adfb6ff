"""`edge bypass`: take an interlock or a permissive out of force for a while, with a reason.

A command to its setpoint `<id>.bypass`, like `edge set`; only for those that the site allows it.
"""

from __future__ import annotations

import time
import uuid

import click

from edge.cli.alarms import seconds
from edge.cli.client import Client
from edge.cli.command import Failed, command, option, socket_option
from edge.cli.completion import bypasses as complete_bypasses
from edge.cli.set import VALID, follow, point_of
from edge.text import Text


@command(
    Text(
        """
旁路一条联锁或允许条件, 到时自动恢复; 期间一直有报警, 操作记入日志。

  edge bypass fan_door --for 2h --reason 更换门磁
  edge release fan_door.bypass              提前恢复

只限站点里写了 bypassable: true 的联锁, 最长 8 小时; 安全联锁不得旁路。
""",
        """
Take an interlock or a permissive out of force; it comes back when the time is
over. An alarm stands all the while, and the log keeps who, why and how long.

  edge bypass fan_door --for 2h --reason "new door contact"
  edge release fan_door.bypass              back in force now

Only where the site says bypassable: true, for at most 8 hours; never for safety.
""",
    )
)
@click.argument("interlock", shell_complete=complete_bypasses)
@option("--for", "lasting", required=True, metavar="DURATION",
        text=Text("多久, 如 2h, 最长 8h", "for how long, as 2h; at most 8h"))  # fmt: skip
@option("--reason", required=True, text=Text("原因, 记入操作日志", "why; goes into the audit log"))
@socket_option
def bypass(interlock: str, lasting: str, reason: str, socket: str | None) -> int:
    """Send the command and follow it to its end."""
    lease = seconds(lasting)
    client = Client(socket)
    point = f"{interlock}.bypass"
    if not any(known["id"] == point for known in client.get("model")["points"]):
        raise Failed(NOT_BYPASSABLE.format(interlock=interlock))
    envelope = {
        "id": uuid.uuid4().hex,
        "point": point,
        "op": "set",
        "value": 1.0,
        "lease_s": lease,
        "on_expiry": "release",
        "reason": reason,
        "expires": time.time() + VALID,  # noqa: TID251 - this process has no clock of its own
    }
    return follow(client, point_of(client, point), client.post("commands", envelope))


NOT_BYPASSABLE = Text(
    "没有可旁路的联锁 {interlock}: 站点里没有它, 或没有写 bypassable: true",
    "{interlock} cannot be bypassed: the site has none of that name, or without bypassable: true",
)
