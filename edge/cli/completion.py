"""`edge completion`: click's own completion scripts, and where each shell wants them."""

from __future__ import annotations

import sys

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from edge.cli.command import OK, command, note
from edge.text import Text

SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}
WHERE = {
    "bash": "edge completion bash > ~/.local/share/bash-completion/completions/edge",
    "zsh": "edge completion zsh > ~/.zfunc/_edge  # fpath+=~/.zfunc; compinit",
    "fish": "edge completion fish > ~/.config/fish/completions/edge.fish",
}


def points(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The running controller's points, for the shell; nothing when none answers."""
    return [name for name in _known(ctx, "points") if name.startswith(begun)]


def alarms(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The running controller's alarms and interlocks, for the shell."""
    return [name for name in _known(ctx, "alarms") if name.startswith(begun)]


def bypasses(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """What the running controller lets people bypass, for the shell."""
    end = ".bypass"
    known = (n.removesuffix(end) for n in _known(ctx, "points") if n.endswith(end))
    return [name for name in known if name.startswith(begun)]


def places(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The running controller's buses and devices, for the shell."""
    return [name for name in _known(ctx, "buses") if name.startswith(begun)]


def _known(ctx: click.Context, what: str) -> list[str]:
    from edge.cli.client import Client
    from edge.cli.command import Failed

    try:
        model = Client(ctx.params.get("socket")).get("model")
    except Failed:
        return []
    if what == "points":
        return [point["id"] for point in model["points"]]
    if what == "buses":
        return [name for bus in model["buses"] for name in (bus["id"], *bus["devices"])]
    return [*model["alarms"], *model["interlocks"]]


@command(
    Text(
        """
输出命令补全脚本。

  edge completion bash > ~/.local/share/bash-completion/completions/edge
""",
        """
Print the completion script for a shell.

  edge completion bash > ~/.local/share/bash-completion/completions/edge
""",
    )
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> int:
    """Print the script; on a terminal also where it belongs."""
    from edge.cli import group

    click.echo(SHELLS[shell](group, {}, "edge", "_EDGE_COMPLETE").source())
    if sys.stdout.isatty():
        note(Text("安装: {command}", "to install it: {command}"), command=WHERE[shell])
    return OK
