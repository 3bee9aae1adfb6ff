"""A site on this machine: its buses lead to simulated equipment here, and nothing leads outside.

For whoever tries a site before it is built: `edge equipment` serves what stands behind it,
`edge run --local` controls that. Which address becomes which is `drivers/sim/local.py`.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from drivers.sim.local import at_home, localised
from edge.errors import Unusable
from edge.site.site import Site
from edge.text import Text


def local(site: Site) -> Site:
    """The site with addresses of this machine; brokers and a BMS server elsewhere are left out.

    Both processes find the same addresses, ports and links. `Unusable`: what cannot be simulated.
    """
    return replace(
        site,
        buses=localised(site.buses, lines(site.id)),
        uplinks=tuple(uplink for uplink in site.uplinks if at_home(uplink.host)),
        bms=site.bms if site.bms is not None and at_home(site.bms.host) else None,
    )


def lines(site: str) -> Path:
    """The folder for the links to a site's serial lines: this user's alone."""
    folder = Path(tempfile.gettempdir()) / f"edge-local-{os.getuid()}" / site
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.parent.is_symlink() or folder.parent.stat().st_uid != os.getuid():
            raise PermissionError(1, "", str(folder.parent))
    except OSError as error:
        raise Unusable(_NO_FOLDER.format(folder=folder, reason=error.strerror)) from error
    return folder


_NO_FOLDER = Text(
    "无法使用文件夹 {folder} ({reason})", "the folder {folder} cannot be used ({reason})"
)
