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
