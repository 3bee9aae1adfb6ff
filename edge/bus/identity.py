"""Who a device is, asked by a person and out of turn; not every driver can.

Not the comparison with what is configured: that is the driver's own. Called by the bus task, and by
what opens a bus for a moment (`edge read --identify`).
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.driver import Driver, Identifying
from edge.errors import DeviceRefused
from edge.text import Text

CANNOT = Text("该驱动无法询问设备身份", "its driver cannot ask a device who it is")


async def identity(driver: Driver, device: str) -> Mapping[str, str]:
    """What the device says of itself; `DeviceRefused` also where its driver cannot ask."""
    if not isinstance(driver, Identifying):
        raise DeviceRefused(CANNOT, "identity", permanent=True)
    return await driver.identify(device)
