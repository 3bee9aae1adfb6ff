"""`edge explain`: why a point has its value, level by level."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edge.cli.client import Client, place
from edge.cli.command import (
    OK,
    USAGE,
    Failed,
    command,
    json_option,
    language,
    option,
    socket_option,
)
from edge.cli.completion import points as complete_points
from edge.text import Text


@command(
    Text(
        """
逐级说明一个点为何是此值: 优先级各槽的请求与胜者, 背后的规则或联锁, 规则读了什么,
各输入的质量与时效, 一直到设备。

  edge explain v3.position
  edge explain booster.p1.run --json
  edge explain v3.position --record day.rec --at 14:03:20     记录中的某一时刻
""",
        """
Say why a point has its value: the requests on its ladder and which one wins, the
rule or interlock behind it, what that rule reads, with quality and age, down to
the device.

  edge explain v3.position
  edge explain booster.p1.run --json
  edge explain v3.position --record day.rec --at 14:03:20     a moment of a record
""",
    )
)
@click.argument("point", nargs=-1, required=True, shell_complete=complete_points)
@option("--record", type=click.Path(path_type=Path), metavar="FILE",
        text=Text("一次记录下来的运行", "a recorded run, of edge run --record"))  # fmt: skip
@option("--site", type=click.Path(path_type=Path), metavar="SITE",
        text=Text("与 --record 同用: 当时的站点",
                  "with --record: the site as it was then"))  # fmt: skip
@option("--at", metavar="TIME",
        text=Text("与 --record 同用: 时刻, 缺省为结束时",
                  "with --record: a time like 14:03:20, its end unless given"))  # fmt: skip
@json_option
@socket_option
def explain(
    point: Sequence[str], record: Path | None, site: Path | None, at: str | None, as_json: bool,
    socket: str | None,
) -> int:  # fmt: skip
    """Print the explanation of each point."""
    if record is None:
        if site is not None or at is not None:
            raise Failed(ONLY_WITH_RECORD, USAGE)
        client = Client(socket)
        found = [client.get(place("explain", name)) for name in point]
    else:
        found = _recorded(point, record, site, at)
    if as_json:
        click.echo("\n".join(json.dumps(one, ensure_ascii=False) for one in found))
        return OK
    from edge.rules.explain import render

    click.echo("\n\n".join("\n".join(render(one, language())) for one in found))
    return OK


def _recorded(
    points: Sequence[str], record: Path, site: Path | None, at: str | None
) -> list[dict[str, Any]]:
    """What stood behind each point at a moment of a recorded run."""
    from edge.cli.replay import until
    from edge.rules.explain import explain as explain_point
    from edge.schema.validate import did_you_mean

    run = until(record, site, at)
    for name in points:
        if name not in run.scan.index:
            raise Failed(NO_POINT.format(point=name, near=did_you_mean(name, run.scan.index)))
    return [
        explain_point(run.site, run.programs, run.scan.image, name, run.now).as_json()
        for name in points
    ]


ONLY_WITH_RECORD = Text("--site 和 --at 只与 --record 同用", "--site and --at go with --record")
NO_POINT = Text("没有点 {point}{near}", "no point {point}{near}")
