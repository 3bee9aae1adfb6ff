"""Loading a site for a command: its problems on stderr, one per line, and exit code 78.

Not `edge check`, which also says what is well. Imports the drivers, never the kernel.
"""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.command import CONFIG, Failed, language
from edge.site.site import Site
from edge.text import Text

NOT_VALID = Text(
    "站点 {site} 有误, 未执行; 改正后可先用 edge check 检查",
    "the site {site} is not valid, nothing was done; check it with `edge check` when mended",
)


def load(path: Path) -> Site:
    """The site from its files; `Failed` when it is wrong."""
    from drivers import DRIVERS
    from edge.blocks import KINDS
    from edge.site.load import ConfigProblems, load_site

    try:
        return load_site(path, DRIVERS, KINDS)
    except ConfigProblems as found:
        for problem in found.problems:
            click.echo(problem.line(language()), err=True)
        raise Failed(NOT_VALID.format(site=path), CONFIG) from None
