"""What the planned polls take from their bus, where its driver can calculate it.

Pure. Called by the checks and by `edge check --plan`.
"""

from __future__ import annotations

from edge.driver import Poll
from edge.site.site import Bus


def cost(bus: Bus, poll: Poll) -> float | None:
    """Seconds of its bus that one turn of a poll takes."""
    return None if bus.kind.cost is None else bus.kind.cost(bus.config, poll)


def share(bus: Bus, poll: Poll) -> float | None:
    """The part of its bus's time (1 is all of it) that a poll takes."""
    seconds = cost(bus, poll)
    return None if seconds is None else seconds / poll.period


def load(bus: Bus) -> float | None:
    """The part of its time that all polls of a bus take; None where nothing can be calculated."""
    shares = [found for poll in bus.polls if (found := share(bus, poll)) is not None]
    return sum(shares) if shares else None
