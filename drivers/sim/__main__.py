"""Serves the demo's plant until it is stopped: `python -m drivers.sim`.

For trying a site without equipment, and for tests whose controller is killed while its devices
live on. Not the demo itself: that is `edge demo`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

from drivers.sim.plant import LOBBY_ADDRESS, MODBUS_PORT, Plant
from edge.errors import Unusable


def main() -> int:
    """Serve; 69 when a port is taken."""
    parser = argparse.ArgumentParser(prog="python -m drivers.sim", description=__doc__)
    parser.add_argument("--modbus-port", type=int, default=MODBUS_PORT)
    parser.add_argument("--bacnet-address", default=LOBBY_ADDRESS, help="address/prefix:port")
    parser.add_argument(
        "--serial", nargs="?", const="", metavar="LINK",
        help="the Modbus units on a pseudo-terminal too, with a link to it",
    )  # fmt: skip
    parser.add_argument("--noise", type=float, default=1.0, help="sensor noise: 0 none, 1 real")
    parser.add_argument("--log", type=Path, help="append a JSON line for each value first served")
    parser.add_argument("--fault", action="append", default=[], help="one that is there from start")
    given = parser.parse_args()
    with ExitStack() as stack:
        log = stack.enter_context(given.log.open("a")) if given.log else None
        plant = Plant(
            given.modbus_port, given.bacnet_address, noise=given.noise, log=log,
            serial=given.serial is not None, link=Path(given.serial) if given.serial else None,
        )  # fmt: skip
        if unknown := sorted(set(given.fault) - plant.faults.keys()):
            parser.error(f"no fault {unknown[0]}; there are {', '.join(plant.faults)}")
        try:
            asyncio.run(_serve(plant, given.fault))
        except KeyboardInterrupt:
            return 0
        except Unusable as error:
            sys.stderr.write(f"{error.text.zh}\n{error.text.en}\n")
            return 69
    return 0


async def _serve(plant: Plant, faults: list[str]) -> None:
    async with plant:
        for name in faults:
            plant.faults[name].start()
        units = ", ".join(map(str, sorted(plant.modbus.units)))
        sys.stdout.write(f"modbus tcp 127.0.0.1:{plant.modbus.port}, units {units}\n")
        if plant.serial is not None:
            sys.stdout.write(f"modbus rtu {plant.serial.path}, units {units}\n")
        sys.stdout.write(f"bacnet/ip device {plant.bacnet.device}\n")
        sys.stdout.flush()
        await plant.run()


if __name__ == "__main__":
    sys.exit(main())
