"""From a site file to a running controller, and back to an exit code.

The only room beside `edge.cli` that knows the drivers. Called by `edge run`, `edge demo` and tests.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from drivers import DRIVERS
from edge.app.controller import Controller
from edge.blocks import KINDS
from edge.clock import Clock
from edge.errors import Unusable
from edge.hmi.socket import place
from edge.site.load import ConfigProblems, load_site
from edge.site.site import Site
from edge.store.state import locate

OK, CANNOT_START, BROKEN, CONFIG = 0, 1, 70, 78


def run_site(path: Path, *, state: Path | None, observe: bool, socket: Path | None) -> int:
    """Run the controller on a site until SIGTERM or SIGINT; returns the exit code."""
    try:
        site = load_site(path, DRIVERS, KINDS)
    except ConfigProblems as found:
        for problem in found.problems:
            print(problem.line("zh" if _chinese() else "en"), file=sys.stderr)  # noqa: T201
        return CONFIG
    controller = build(site, state=state, observe=observe, socket=socket)
    try:
        return run_loop(lambda: _until_stopped(controller))
    except Unusable as error:
        print(error.text.of("zh" if _chinese() else "en"), file=sys.stderr)  # noqa: T201
        return CANNOT_START


def build(
    site: Site,
    *,
    state: Path | None = None,
    observe: bool = False,
    socket: Path | None = None,
    clock: Clock | None = None,
    threaded: bool = True,
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
    with asyncio.Runner(loop_factory=factory) as runner:
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


def _chinese() -> bool:
    language = os.environ.get("EDGE_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG", "")
    return language.lower().startswith("zh")
