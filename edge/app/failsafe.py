"""The last resort: when systemd gives up restarting, bring the outputs to their failsafe values.

One attempt per bus, then the end; no scan, no rules. Run by `edge failsafe` from
`edge-failsafe.service`. Drives explicit values only and drops every alarm relay.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge.bus.host import BusHost
from edge.driver import Driver, Write
from edge.errors import DriverError, LinkDown
from edge.image.slots import Slot
from edge.site.site import Bus, Site
from edge.store.state import Lock
from edge.text import Text

PATIENCE = 10.0  # seconds for one bus, connecting included

NO_TIME = Text("总线 10 秒内未完成", "the bus did not get it done within 10 s")

Tell = Callable[[Write, Text | None], None]
"""Called for each value with what went wrong, None when the device acknowledged it."""


def failsafe_values(site: Site) -> dict[str, float]:
    """The explicit failsafe value of every field output; an alarm relay's is to drop."""
    return {
        point.id: float(point.output.failsafe)
        for point in site.points
        if point.device is not None
        and point.output is not None
        and not isinstance(point.output.failsafe, str)
    }


async def drive_failsafe(site: Site, directory: Path, tell: Tell) -> bool:
    """Write all values, on all buses at once; True when all were acknowledged.

    Raises `Unusable` when a controller is running on the state directory: it decides, not we.
    """
    values = failsafe_values(site)
    with Lock(directory):
        async with asyncio.TaskGroup() as group:  # a dead bus must not use up the others' time
            tasks = [group.create_task(_bus(bus, values, tell)) for bus in site.buses]
    return all(task.result() for task in tasks)


async def _bus(bus: Bus, values: dict[str, float], tell: Tell) -> bool:
    left = deque(
        Write(device.id, point.id, values[point.id], Slot.PROTECT)
        for device in bus.devices
        for point in device.points
        if point.id in values
    )
    done, reason = True, NO_TIME
    try:
        async with (
            asyncio.timeout(PATIENCE),
            bus.kind.connect(bus.config, bus.devices, bus.polls, BusHost()) as driver,
        ):
            while left:
                write = left[0]
                refusal = await _write(driver, write)
                tell(left.popleft(), refusal)
                if refusal is not None:
                    done = False  # the others first: a dead device must not use up their time
                    left = deque(sorted(left, key=lambda other: other.device == write.device))
    except LinkDown as error:
        reason = error.reason
    except TimeoutError:
        pass
    for write in left:
        tell(write, reason)
    return done and not left


async def _write(driver: Driver, write: Write) -> Text | None:
    """A device that refuses or is silent must not keep the others from their values."""
    try:
        await driver.write((write,))
    except LinkDown:
        raise
    except DriverError as error:
        return error.reason
    return None
