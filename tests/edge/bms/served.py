"""A site's points behind the real server on a real socket, with an arbiter of one line.

Equipment follows at once; commands are the real ones. Used by the tests of this folder.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

from edge.bms.registers import Registers, Status
from edge.bms.server import Server
from edge.bms.writes import Writes
from edge.clock import Clock
from edge.commands import Answer, Commands
from edge.events import Event, Events
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.site.registers import Bms, Register
from edge.site.site import Grant, Role, User
from tests.edge.test_commands import site
from tests.support.mosquitto import free_port
from tests.support.records import output, point

POINTS: Final = (
    replace(point("v3.position", Role.OUTPUT, unit="%", low=0.0, high=100.0),
            output=output(settle=0.0)),
    point("lamp.on", Role.OUTPUT, low=0.0, high=1.0),
    point("pressure", Role.SETPOINT, unit="MPa", low=0.2, high=0.6),
    point("supply.pressure", unit="MPa"),
    point("meter.volume", unit="m³"),
    point("pump.fault"),
    point("tank.level", unit="m"),
)  # fmt: skip
REGISTERS: Final = (
    Register("supply.pressure", "input", 0, "f32"),
    Register("meter.volume", "input", 2, "u32", 0.1),
    Register("tank.level", "input", 10, "i16", 0.01),
    Register("pump.fault", "discrete", 0, "bit", bad=True),
    Register("lamp.on", "coil", 7, "bit", write=True),
    Register("v3.position", "holding", 100, "u16", 0.1, write=True),
    Register("pressure", "holding", 101, "f32", write=True),
    Register("tank.level", "holding", 103, "u16", 0.01),
)
BMS: Final = Bms("127.0.0.1", 0, 5, (ip_network("127.0.0.0/8"),), "bms", "ABCD", REGISTERS)
GRANTS: Final = tuple(
    Grant(name, low, high, step, frozenset({"integration", "engineer"}), 60.0, 600.0)
    for name, low, high, step in (
        ("v3.position", 10.0, 90.0, 20.0), ("lamp.on", 0.0, 1.0, math.inf),
        ("pressure", 0.35, 0.45, math.inf),
    )
)  # fmt: skip
PRESENT: Final = {
    "v3.position": 80.0, "lamp.on": 0.0, "pressure": 0.4, "supply.pressure": 0.35,
    "meter.volume": 123456.7, "pump.fault": 0.0, "tank.level": -1.5,
}  # fmt: skip


class Served:
    """`now` is site time, which tests move; `answers` are those of the commands."""

    def __init__(self, **changes: Any) -> None:
        self.now, self.wall = 1000.0, 1_795_000_000.0
        self.site = site(
            points=POINTS, grants=GRANTS, interlocks=(),
            users=(User("bms", "integration"), User("zhangsan", "engineer")),
        )  # fmt: skip
        self.index = self.site.index()
        self.image = ProcessImage(len(POINTS), [0, 1, 2], 0)
        for name, value in PRESENT.items():
            self.set(name, value)
        self.answers: list[Answer] = []
        self.asked: list[tuple[int, str, float, float]] = []
        self.told: list[tuple[Event, dict[str, Any]]] = []
        events = Events()
        events.watch(lambda event, fields: self.told.append((event, fields)))
        clock = Clock(
            monotonic=lambda: self.now, wall=lambda: self.wall + self.now, origin=self.now
        )  # fmt: skip
        self.commands = Commands(
            self.site, self.image, session="boot", ask=self._ask, answer=self.answers.append
        )
        self.status = Status(70_001, (1, 2, 0, 70_000), 3)
        self.bms = replace(BMS, port=free_port(), **changes)
        registers = Registers(self.bms, self.index, self.image, lambda: self.status)
        self.writes = Writes(
            self.commands, clock, user="bms", session="boot", trusted=lambda: True
        )  # fmt: skip
        self.registers = registers
        self.server = Server(
            self.bms, registers, self.writes, ("edge", "court/main", "1.2"), clock, events
        )

    def set(self, name: str, value: float, bits: int = 0) -> None:
        at = self.index[name]
        self.image.value[at], self.image.quality[at] = value, bits

    def get(self, name: str) -> float:
        return float(self.image.value[self.index[name]])

    def _ask(self, slot: int, name: str, value: float, expires: float) -> None:
        self.asked.append((slot, name, value, expires))
        at = self.index[name]
        self.image.request[slot - 1, at] = value
        if slot == Slot.REMOTE and not math.isnan(value):
            self.set(name, value)
            self.image.owner[at] = slot

    def serve(self, talk: Callable[[int], Awaitable[None]]) -> None:
        """Run `talk` with the port while the server runs."""

        async def main() -> None:
            serving = asyncio.create_task(self.server.run())
            await self.server.up.wait()
            try:
                async with asyncio.timeout(20):
                    await talk(self.bms.port)
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving

        asyncio.run(main())


class Wire:
    """A bare client: whole frames out, whole frames in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, pdu: bytes, unit: int = 5, transaction: int = 77) -> bytes:
        """The PDU of the answer; its header must repeat ours."""
        self.send(pdu, unit, transaction)
        return await self.answer(unit, transaction)

    def send(self, pdu: bytes, unit: int = 5, transaction: int = 77) -> None:
        head = transaction.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big")
        self.writer.write(head + bytes([unit]) + pdu)

    async def answer(self, unit: int = 5, transaction: int = 77) -> bytes:
        head = await self.reader.readexactly(7)
        assert head[:4] == transaction.to_bytes(2, "big") + b"\0\0"
        assert head[6] == unit
        return await self.reader.readexactly(int.from_bytes(head[4:6], "big") - 1)

    async def closed(self) -> bool:
        """Whether the server has ended this connection."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True
