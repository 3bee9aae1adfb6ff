"""Loading a site for a command: its problems on stderr, one per line, and exit code 78.

Not `edge check`, which also says what is well. Imports the drivers, never the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.cli.command import CONFIG, Failed, language
from edge.site.site import Site
from edge.text import Text

if TYPE_CHECKING:
    from edge.proof.setting import Setting

Loaded = TypeVar("Loaded")

NOT_VALID = Text(
    "站点 {site} 有误, 未执行; 改正后可先用 edge check 检查",
    "the site {site} is not valid, nothing was done; check it with `edge check` when mended",
)


NO_PLANT = Text(
    "没有可仿真的设备: {plant} 应说明各设备背后的模型 (models, devices)",
    "nothing is simulated: {plant} should say which models stand behind the devices "
    "(models, devices)",
)


def load(path: Path) -> Site:
    """The site from its files; `Failed` when it is wrong."""
    from drivers import DRIVERS
    from edge.blocks import KINDS
    from edge.site.load import load_site

    return _told(path, lambda: load_site(path, DRIVERS, KINDS))


def load_setting(
    path: Path, minute: float, plant: Path | None = None,
    equipment: Mapping[str, Mapping[str, Any]] | None = None,
) -> Setting:  # fmt: skip
    """The site with what stands behind it at a `minute` of the day; `Failed` when either is wrong
    or nothing is simulated."""
    from drivers import DRIVERS
    from edge.proof.setting import PLANT, setting

    found = _told(path, lambda: setting(path, DRIVERS, plant, equipment, minute=minute))
    if not found.field.rig.models:
        raise Failed(NO_PLANT.format(plant=plant or found.site.file.with_name(PLANT)), CONFIG)
    return found


def _told(path: Path, load: Callable[[], Loaded]) -> Loaded:
    from edge.site.load import ConfigProblems

    try:
        return load()
    except ConfigProblems as found:
        for problem in found.problems:
            click.echo(problem.line(language()), err=True)
        raise Failed(NOT_VALID.format(site=path), CONFIG) from None
