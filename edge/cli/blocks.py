"""`edge blocks [KIND]`: what rules are made of, a page for each kind; makes docs/blocks.md."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

import click

from edge.cli.command import OK, USAGE, Failed, columns, command, json_option, language, option
from edge.text import Text

KINDS_HEAD = Text("功能块", "Blocks")


@command(
    Text(
        """
列出规则可用的功能块; 给出名称时显示一种的选项, 点, 报警和示例。

  edge blocks
  edge blocks booster
""",
        """
List the blocks that rules are made of; with a name, its options, points, alarms
and a worked example.

  edge blocks
  edge blocks booster
""",
    )
)
@click.argument("kind", required=False)
@json_option
@option("--all", "directory", metavar="DIRECTORY", type=click.Path(path_type=Path),
        text=Text("把全部写成 DIRECTORY/blocks.md 和图", "write all to DIRECTORY/blocks.md, with "
                  "plots"))  # fmt: skip
def blocks(kind: str | None, as_json: bool, directory: Path | None) -> int:
    """Print the table of kinds, or one kind's page."""
    from edge.blocks import KINDS
    from edge.cli.block_page import Page

    if directory is not None:
        for path, content in documents().items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(content, encoding="utf-8")
        return OK
    if kind is not None and kind not in KINDS:
        raise _unknown(kind, list(KINDS))
    chosen = list(KINDS.values()) if kind is None else [KINDS[kind]]
    if as_json:
        listed = [{"kind": k.name, "zh": k.text.zh, "en": k.text.en, "every": k.every,
                   "slot": k.slot, "schema": k.model.model_json_schema()}
                  for k in chosen]  # fmt: skip
        click.echo(json.dumps(listed, ensure_ascii=False))
    elif kind is None:
        rows = [(k.name, k.text.of(language())) for k in chosen]
        click.echo(columns(KINDS_HEAD, rows), nl=False)
    else:
        click.echo("\n".join(Page(language()).kind(chosen[0])[:-2]))
    return OK


def documents() -> dict[str, str]:
    """`blocks.md` and the plots that it shows, by their path."""
    from edge.blocks import KINDS
    from edge.cli.block_page import Page
    from edge.cli.block_plot import svg

    plots = {f"blocks/{kind.name}.svg": svg(kind) for kind in KINDS.values()}
    return {"blocks.md": Page(None).document(), **plots}


def _unknown(kind: str, known: list[str]) -> Failed:
    close = get_close_matches(kind, known, 1, 0.5)
    zh = f'; 是不是 "{close[0]}"?' if close else ""
    en = f'; did you mean "{close[0]}"?' if close else ""
    return Failed(
        Text(
            f'没有功能块 "{kind}"{zh} (见 edge blocks)',
            f'there is no block "{kind}"{en} (see edge blocks)',
        ),
        USAGE,
    )
