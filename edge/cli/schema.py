"""`edge schema`: the JSON schema of a site file, for completion and checks in an editor."""

from __future__ import annotations

import json

import click

from edge.cli.command import OK, command
from edge.site.document import site_schema
from edge.text import Text


@command(
    Text(
        """
输出站点文件的 JSON Schema, 含各驱动和功能块的选项。编辑器据此补全和提示。

  edge schema > site.schema.json
  # site.yaml 第一行: # yaml-language-server: $schema=site.schema.json
""",
        """
Print the JSON schema of a site file, options of drivers and blocks included, for
completion in an editor.

  edge schema > site.schema.json
  # first line of site.yaml: # yaml-language-server: $schema=site.schema.json
""",
    )
)
def schema() -> int:
    """Print the schema."""
    from drivers import DRIVERS
    from edge.blocks import KINDS

    click.echo(json.dumps(site_schema(DRIVERS, KINDS), ensure_ascii=False, indent=1))
    return OK
