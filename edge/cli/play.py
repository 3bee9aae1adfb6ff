"""The steps of `edge demo --headless` on config/demo: what goes wrong, and what must be seen."""

from __future__ import annotations

from edge.cli.script import (
    Step,
)


def steps() -> list[Step]:
    """The whole script, in order."""
    return []
