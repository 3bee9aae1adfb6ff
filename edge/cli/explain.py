"""`edge explain`: why a point has its value, level by level."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from edge.cli.client import Client, place
from edge.cli.command import OK, command, json_option, language, socket_option
from edge.cli.completion import points as complete_points
from edge.text import Text


@command(
    Text(
        """
逐级说明一个点为何是此值: 优先级各槽的请求与胜者, 背后的规则或联锁, 规则读了什么,
各输入的质量与时效, 一直到设备。

  edge explain v3.position
  edge explain booster.p1.run --json
""",
        """
Say why a point has its value: the requests on its ladder and which one wins, the
rule or interlock behind it, what that rule reads, with quality and age, down to
the device.

  edge explain v3.position
  edge explain booster.p1.run --json
""",
    )
)
@click.argument("point", nargs=-1, required=True, shell_complete=complete_points)
@json_option
@socket_option
def explain(point: Sequence[str], as_json: bool, socket: str | None) -> int:
    """Print the explanation of each point."""
    client = Client(socket)
    found = [client.get(place("explain", name)) for name in point]
    if as_json:
        click.echo("\n".join(json.dumps(one, ensure_ascii=False) for one in found))
        return OK
    from edge.rules.explain import render

    click.echo("\n\n".join("\n".join(render(one, language())) for one in found))
    return OK
