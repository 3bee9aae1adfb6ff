"""One BACnet/IP device with four objects, a process of its own: `python -m bench.bacnet PORT`."""

from __future__ import annotations

import asyncio
import sys

from drivers.sim.serve_bacnet import BacnetDevice, ObjectSpec


async def main(port: int) -> None:
    """Serve four objects until killed."""
    objects = [
        ObjectSpec(f"analog-input,{i}", f"ai{i}", get=lambda i=i: 20.0 + i) for i in range(4)
    ]
    async with BacnetDevice(4001, f"127.0.0.1/32:{port}", objects) as device:
        print("ready", flush=True)
        while True:
            device.tick()
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
