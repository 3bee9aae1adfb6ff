"""`edge run`: the controller itself, as a service or in a terminal."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import click

from edge.cli.command import command, language, option
from edge.text import Text


@command(
    Text(
        """
运行控制器, 直到 SIGTERM 或 Ctrl-C。

  edge run site.yaml --observe    第一天: 计算一切, 不写任何设备
  edge run site.yaml
  edge run site.yaml --local      对着本机的仿真设备 (另一终端: edge equipment site.yaml)

状态目录: --state, 否则 $STATE_DIRECTORY, 否则 ~/.local/state/edge/<站点>
退出码: 0 正常停止, 1 不能启动, 78 配置有误 (systemd 不再重启)
""",
        """
Run the controller until SIGTERM or Ctrl-C.

  edge run site.yaml --observe    the first day: compute all, write nothing
  edge run site.yaml
  edge run site.yaml --local      on simulated equipment of this machine
                                  (another terminal: edge equipment site.yaml)

State: --state, else $STATE_DIRECTORY, else ~/.local/state/edge/<site>
Exit codes: 0 stopped as asked, 1 cannot start, 78 the configuration is wrong
(systemd does not restart on it)
""",
    )
)
@click.argument("site", type=click.Path(path_type=Path))
@option("--state", type=click.Path(path_type=Path), metavar="DIR",
        text=Text("状态目录", "where alarms, leases and unsent messages are kept"))  # fmt: skip
@option("--observe", is_flag=True,
        text=Text("计算一切, 不写任何设备", "compute everything, write nothing"))  # fmt: skip
@option("--local", is_flag=True,
        text=Text("连接本机的仿真设备 (edge equipment), 不接触外部, 状态另存",
                  "on `edge equipment` here; reach nothing outside"))  # fmt: skip
@option("--socket", type=click.Path(path_type=Path), metavar="PATH",
        text=Text("本地 API 的套接字", "the local API's socket"))  # fmt: skip
@option("--record", type=click.Path(path_type=Path), metavar="FILE",
        text=Text("记录全部输入, 供 edge replay 重演 (最多 500 MB)",
                  "keep all inputs for edge replay, at most 500 MB"))  # fmt: skip
def run(
    site: Path, state: Path | None, observe: bool, local: bool, socket: Path | None,
    record: Path | None,
) -> int:  # fmt: skip
    """Set up the log and hand over to the app."""
    from edge.app import run_site
    from edge.cli.logs import set_up
    from edge.cli.site import load

    loaded = load(site)
    if local:
        from edge.hmi.socket import place
        from edge.proof.local import local as on_this_machine
        from edge.store.state import locate

        loaded = on_this_machine(loaded)
        state = state or locate(f"{loaded.id}-local", None)
        socket = socket or place(f"{loaded.id}-local")
    if "EDGE_LANG" in os.environ or sys.stderr.isatty():  # a person reads: in his language
        loaded = dataclasses.replace(loaded, language=language())
    set_up()
    return run_site(loaded, state=state, observe=observe, socket=socket, record=record)
