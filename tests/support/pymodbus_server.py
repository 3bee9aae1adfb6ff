"""pymodbus as a server, a process of its own: `MEDIUM WHERE CONTENT [CERTIFICATE KEY]`.

Serves the content of `foreign.py` by pymodbus' own code alone; says `ready` when it listens.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from itertools import groupby
from typing import Any

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

TABLES = ("coil", "discrete", "holding", "input")


def devices(content: dict[str, Any]) -> list[SimDevice]:
    """The units."""
    refuses = {int(address): ExcCodes(code) for address, code in content["refuses"].items()}

    async def refuse(
        function: int, start: int, address: int, count: int, *_: Any
    ) -> ExcCodes | None:
        wanted = range(address, address + count)
        codes = (code for at, code in refuses.items() if at in wanted and function in (3, 6, 16))
        return next(codes, None)

    return [
        SimDevice(
            id=int(unit),
            simdata=tuple(_blocks(table, tables[table]) for table in TABLES),  # type: ignore[arg-type]
            action=refuse,
        )
        for unit, tables in content["units"].items()
    ]


def _blocks(table: str, cells: dict[str, int]) -> list[SimData]:
    """One block for each run of neighbouring addresses."""
    bits = table in ("coil", "discrete")
    kind = DataType.BITS if bits else DataType.REGISTERS
    addresses = sorted(map(int, cells))
    runs = groupby(enumerate(addresses), key=lambda pair: pair[1] - pair[0])
    blocks = []
    for _, run in runs:
        places = [address for _, address in run]
        values = [bool(cells[str(a)]) if bits else cells[str(a)] for a in places]
        blocks.append(SimData(places[0], values=values, datatype=kind))
    return blocks


async def main(medium: str, where: str, content: dict[str, Any], files: list[str]) -> None:
    """Serve until killed."""
    said = {int(number): text for number, text in content["identity"].items()}
    options: dict[str, Any] = {"identity": ModbusDeviceIdentification(info=said)}
    units = devices(content)
    if medium == "serial":
        server: Any = ModbusSerialServer(
            units, framer=FramerType.RTU, port=where, baudrate=115200, **options
        )
    else:
        address = ("127.0.0.1", int(where))
        if medium == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            server = ModbusTlsServer(units, address=address, sslctx=context, **options)
        else:
            framer = FramerType.RTU if medium == "rtu_tcp" else FramerType.SOCKET
            server = ModbusTcpServer(units, address=address, framer=framer, **options)
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]))
