"""From a site to a running controller, and back to an exit code.

Called by `edge run` and by tests; the drivers are in the site.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np

from edge.app.controller import Controller
from edge.blocks import KINDS
from edge.clock import Clock
from edge.hmi.socket import place
from edge.site.site import Site
from edge.store.state import locate


def run_site(
    site: Site, *, state: Path | None, observe: bool, socket: Path | None,
    record: Path | None = None,
) -> int:  # fmt: skip
    """Run the controller on a site until SIGTERM or SIGINT; returns the exit code.

    Raises `Unusable` when a directory, a socket or a lock is not to be had.
    """
    controller = build(site, state=state, observe=observe, socket=socket, record=record)
    return run_loop(lambda: _until_stopped(controller))


def build(
    site: Site,
    *,
    state: Path | None = None,
    observe: bool = False,
    socket: Path | None = None,
    clock: Clock | None = None,
    threaded: bool = True,
    record: Path | None = None,
) -> Controller:
    """Put a controller together; nothing is opened yet. Tests inject a virtual clock."""
    trusted = (lambda: True) if site.clock_trust == "always" else None
    return Controller(
        site,
        KINDS,
        directory=locate(site.id, state),
        socket=place(site.id, socket),
        observe=observe,
        clock=clock or Clock(trusted=trusted),
        threaded=threaded,
        record=record,
    )


def run_loop(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine function on uvloop where it is installed, else on asyncio's own loop."""
    # The store's thread may hold the interpreter for so long before the scan gets it back.
    sys.setswitchinterval(0.0005)
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    # NaN and infinity are quality here, and no warnings on the way.
    with np.errstate(all="ignore"), asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


async def _until_stopped(controller: Controller) -> int:
    stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def asked(name: str) -> None:
        if stop.done():
            os._exit(130)  # asked twice: the person means it
        stop.set_result(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked, number.name)
    return await controller.run(stop)
