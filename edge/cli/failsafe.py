"""`edge failsafe`: drive the explicit failsafe values of a site once, without a controller."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from edge.cli.command import OK, REFUSED, command, option, say
from edge.driver import Write
from edge.text import Text

WRITTEN = Text("{point} = {value:g}: 已写", "{point} = {value:g}: written")
NOT_WRITTEN = Text(
    "{point} = {value:g}: 未写, {reason}", "{point} = {value:g}: not written, {reason}"
)
NOTHING = Text(
    "站点没有明确的故障安全值, 也没有报警继电器: 什么也不写",
    "the site has no explicit failsafe value and no alarm relay: nothing is written",
)


@command(
    Text(
        """
把每个有明确故障安全值的输出写到该值, 断开报警继电器, 然后结束。

  edge failsafe site.yaml

控制器运行时拒绝执行。systemd 放弃重启后由 edge-failsafe.service 调用。
退出码: 0 全部写入, 1 有未写入的, 78 配置有误
""",
        """
Write every explicit failsafe value of the site, drop the alarm relay, and end.

  edge failsafe site.yaml

Refused while a controller runs. Called by edge-failsafe.service when systemd
gives up restarting.
Exit codes: 0 all written, 1 some were not, 78 the configuration is wrong
""",
    )
)
@click.argument("site", type=click.Path(path_type=Path))
@option("--state", type=click.Path(path_type=Path), metavar="DIR",
        text=Text("状态目录", "the state directory of the controller"))  # fmt: skip
def failsafe(site: Path, state: Path | None) -> int:
    """Load the site and write."""
    from edge.app.failsafe import drive_failsafe, failsafe_values
    from edge.cli.site import load
    from edge.store.state import locate

    loaded = load(site)
    if not failsafe_values(loaded):
        say(NOTHING)
    return OK if asyncio.run(drive_failsafe(loaded, locate(loaded.id, state), _tell)) else REFUSED


def _tell(write: Write, reason: Text | None) -> None:
    if reason is None:
        say(WRITTEN, point=write.point, value=write.value)
    else:
        say(NOT_WRITTEN, point=write.point, value=write.value, reason=reason)
