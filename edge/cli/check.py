"""`edge check SITE`: every problem of a site at once, each with its place; starts without numba."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edge.cli import plan
from edge.cli.command import CONFIG, OK, USAGE, Failed, command, json_option, language, option
from edge.schema.problem import Problem
from edge.site.load import read_site
from edge.site.site import Role, Site
from edge.store.state import locate
from edge.text import Text


@command(
    Text(
        """
检查站点文件: 语法、选项、单位、引用、地址冲突、设备模板的测试向量。
一次列出全部问题, 每条一行: 文件:行:列 路径: 问题 [代码]。警告不算失败。
退出码: 0 可以运行, 78 有错误。
--plan 列出每条总线的轮询请求: 周期, 点数, 顺带多读的寄存器, 占用的线路时间,
以及运行中的驱动对设备的了解 (被拒的寄存器等); 控制器运行时也可用。

  edge check config/demo
  edge check site.yaml --json
  edge check my-site --plan --state /var/lib/edge
""",
        """
Check a site: syntax, options, units, references, addresses used twice, the test
vectors of its device profiles. All problems at once, one line each:
file:line:column path: what is wrong [code]. Warnings are no failure.
Exit code: 0 it can run, 78 there are errors.
--plan lists the requests that each bus will carry: period, points, registers read
along for nothing, time on the line, and what drivers have learned of the devices
(registers that they refuse); also while a controller is running.

  edge check config/demo
  edge check site.yaml --json
  edge check my-site --plan --state /var/lib/edge
""",
    )
)
@click.argument("site", metavar="SITE")
@option(
    "--plan",
    "with_plan",
    is_flag=True,
    text=Text("列出轮询请求与总线负载", "list the planned requests and what they cost"),
)
@option(
    "--state",
    type=click.Path(),
    metavar="DIR",
    text=Text("与 --plan 同用: 控制器的状态目录", "with --plan: the controller's state directory"),
)
@json_option
def check(site: str, with_plan: bool, state: str | None, as_json: bool) -> int:
    """Print what is wrong, or what the site consists of."""
    from drivers import DRIVERS
    from edge.blocks import KINDS

    if state is not None and not with_plan:
        raise Failed(ONLY_WITH_PLAN, USAGE)
    checked = read_site(Path(site), DRIVERS, KINDS)
    planned = checked.resolved if with_plan else None
    if as_json:
        found = _as_json(checked.site, checked.problems)
        if planned is not None:
            directory, made = _plan(planned, state)
            found["plan"] = made
        click.echo(json.dumps(found, ensure_ascii=False))
        return OK if checked.site is not None else CONFIG
    for problem in checked.problems:
        click.echo(_line(problem), color=False if "NO_COLOR" in os.environ else None)
    if checked.site is None:
        click.echo(_count(checked.problems).of(language()))
    else:
        click.echo(summary(checked.site, checked.problems).of(language()))
    if planned is not None:
        directory, made = _plan(planned, state)
        click.echo("\n".join(plan.lines(made, directory, language())))
    return OK if checked.site is not None else CONFIG


def _plan(site: Site, state: str | None) -> tuple[Path, dict[str, Any]]:
    directory = locate(site.id, None if state is None else Path(state))
    return directory, plan.as_json(site, directory, plan.remembered(directory))


def _line(problem: Problem) -> str:
    """The problem as golden tests know it, in colour on a terminal; a warning says that it is."""
    colour = "red" if problem.level == "error" else "yellow"
    warning = Text("警告: ", "warning: ").of(language()) if problem.level == "warning" else ""
    place, _, rest = problem.line(language()).partition(" ")
    return f"{click.style(place, bold=True)} {click.style(warning, fg=colour)}{rest}"


def _count(problems: Sequence[Problem]) -> Text:
    levels = Counter(problem.level for problem in problems)
    errors, warnings = levels["error"], levels["warning"]
    if not warnings:
        return Text(f"{errors} 个错误", f"{errors} error{'s' * (errors != 1)}")
    return Text(
        f"{errors} 个错误, {warnings} 个警告",
        f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}",
    )


def summary(site: Site, problems: Sequence[Problem]) -> Text:
    """What a site consists of: points by role, devices and polls by bus, rules and the rest."""
    points = [point for point in site.points if not point.local]
    roles = Counter(point.role for point in points)
    zh = [
        f"{site.name.zh} ({site.id}): {len(points)} 点 = {roles[Role.INPUT]} 输入 + "
        f"{roles[Role.OUTPUT]} 输出 + {roles[Role.SETPOINT]} 设定值 + {roles[Role.VIRTUAL]} 虚拟点"
    ]
    en = [
        f"{site.name.en} ({site.id}): {len(points)} points = {roles[Role.INPUT]} inputs + "
        f"{roles[Role.OUTPUT]} outputs + {roles[Role.SETPOINT]} setpoints + "
        f"{roles[Role.VIRTUAL]} virtual"
    ]
    for bus in site.buses:
        rate = sum(1 / poll.period for poll in bus.polls)
        head = f"  {bus.id} ({bus.kind.name}): "
        zh.append(
            f"{head}{len(bus.devices)} 台设备, {len(bus.polls)} 个轮询请求, 每秒 {rate:.3g} 次"
        )
        en.append(f"{head}{len(bus.devices)} devices, {len(bus.polls)} polls, {rate:.3g} a second")
    zh.append(
        f"  {len(site.rules)} 条规则, {len(site.interlocks)} 条联锁, {len(site.alarms)} 条报警, "
        f"{len(site.grants)} 个可远程控制的点, {len(site.uplinks)} 个上行"
    )
    en.append(
        f"  {len(site.rules)} rules, {len(site.interlocks)} interlocks, {len(site.alarms)} alarms, "
        f"{len(site.grants)} points for remote commands, {len(site.uplinks)} uplinks"
    )
    total = _count(problems)
    zh.append(f"  {total.zh}" if problems else "  没有问题")
    en.append(f"  {total.en}" if problems else "  no problems")
    return Text("\n".join(zh), "\n".join(en))


def _as_json(site: Site | None, problems: Sequence[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ok": site is not None,
        "problems": [problem.as_json() for problem in problems],
    }
    if site is not None:
        found["site"] = {
            "id": site.id,
            "digest": site.digest,
            "points": sum(not point.local for point in site.points),
            "polls": {bus.id: len(bus.polls) for bus in site.buses},
            "rules": len(site.rules),
            "interlocks": len(site.interlocks),
            "alarms": len(site.alarms),
        }
    return found


ONLY_WITH_PLAN = Text(
    "--state 只与 --plan 同用: edge check SITE --plan --state DIR",
    "--state goes with --plan: `edge check SITE --plan --state DIR`",
)
