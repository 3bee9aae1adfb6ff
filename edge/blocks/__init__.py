"""What rules are made of: a flat table of block kinds, each one model and one step function.

The table is explicit: a kind that is not listed does not exist. Read by the site (schema, checks)
and by `edge/rules` (compile, kernel).
"""

from __future__ import annotations

from edge.blocks.kind import Kind

_ALL: tuple[Kind, ...] = ()

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
