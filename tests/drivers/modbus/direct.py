"""A Modbus driver whose requests are answered at once, without a medium: for tests of what it asks.

Not for anything about frames, sockets or time-outs: there the device of `tests/support` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from drivers.modbus import MODBUS
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.exceptions import refused
from drivers.modbus.link import Link
from drivers.modbus.pdu import Request, answers, refusal
from drivers.modbus.plan import check
from edge.driver import FieldDevice, FieldPoint, Poll
from edge.errors import DeviceTimeout
from edge.text import Text
from tests.support.modbus_units import Unit, reply
from tests.support.told import Told

BUS = BusConfig(tcp="192.0.2.1")


class Direct:
    """Stands in for a link: `unit` answers every request, or is `silent`.

    `code(pdu)` may answer a request by an exception. `asked` are the requests as (function,
    address, count), `refused` how many of them were; `written` the writes as (function, address).
    """

    def __init__(self, unit: Unit, *, most: int = 125) -> None:
        self.unit = unit
        self.most = most
        self.silent = False
        self.code: Callable[[bytes], int] = lambda _pdu: 0
        self.asked: list[tuple[int, int, int]] = []
        self.refused = 0
        self.written: list[tuple[int, int]] = []

    async def ask(self, unit: int, request: Request, timeout: float) -> bytes:
        pdu = request.pdu
        where = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        self.asked.append((pdu[0], *where))
        if self.silent:
            raise DeviceTimeout(Text("无应答", "no answer"))
        answer = bytes((pdu[0] | 0x80, code)) if (code := self.code(pdu)) else self._reply(pdu)
        code = refusal(request, answer) or 0
        if code:
            self.refused += 1
            raise refused(unit, code)
        assert answers(request, answer)
        return answer

    async def close(self) -> None:
        """Nothing to close."""

    def _reply(self, pdu: bytes) -> bytes:
        return reply(
            self.unit,
            pdu,
            most_registers=self.most,
            served=lambda _table, _address, _value: None,
            written=lambda function, address, _values: self.written.append((function, address)),
        )


def direct(
    link: Direct, points: Sequence[FieldPoint], host: Told, *, bus: BusConfig = BUS, **device: Any
) -> tuple[ModbusDriver, list[Poll]]:
    """A driver of one device, called d, that is connected to `link`; and its polls."""
    field = FieldDevice("d", DeviceConfig(**device), tuple(points))
    assert not [text.en for _, text in check(bus, field)]
    polls = list(MODBUS.plan(bus, field))
    driver = ModbusDriver(bus, [field], polls, host)
    driver._link = cast(Link, link)
    return driver, polls
