"""A whole controller in the loop of the test, in real time, beside devices that the test plays.

Not a process of its own (`controller.py`), not virtual time (`stage.py`). Used where a test must
see what happened on the wire and what the controller made of it, in one order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from drivers import DRIVERS
from edge.app import build
from edge.app.controller import Controller
from edge.blocks import KINDS
from edge.site.load import load_site


@asynccontextmanager
async def controller_on(site: str, folder: Path) -> AsyncIterator[Controller]:
    """The controller of a site given as YAML; it is stopped in order at the end."""
    path = folder / "site.yaml"
    path.write_text(site)
    controller = build(
        load_site(path, DRIVERS, KINDS), state=folder / "state", socket=folder / "edge.sock",
        threaded=False,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()
    running = loop.create_task(controller.run(stop))
    try:
        await until(lambda: controller.started.is_set() or running.done(), "the first scan", 60.0)
        yield controller
    finally:
        if not running.done():
            stop.set_result("test")
        await running


async def until(condition: Callable[[], Any], what: str, within: float = 20.0) -> Any:
    """What `condition` returns once it is true; fails with `what` after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not (found := condition()):
        assert asyncio.get_running_loop().time() < deadline, f"after {within:g} s still not: {what}"
        await asyncio.sleep(0.01)
    return found


def value_of(controller: Controller, point: str) -> tuple[float, int]:
    """A point's value and quality bits."""
    image, at = controller.scan.image, controller.site.index()[point]
    return float(image.value[at]), int(image.quality[at])
