"""A device that answers late, out of order, or never: no value of one request becomes another's.

The device's registers hold their own numbers, so that each value tells which request it answers.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus import pdu
from drivers.modbus.line import RtuLink
from drivers.modbus.link import Link, TcpLink
from edge.errors import DriverError, NotYet
from edge.proof.virtual_loop import run_virtual
from tests.drivers.modbus.wire import receive
from tests.support.bad_line import crc

TIMEOUT = 0.5
LOST = -1.0
LATENCIES = st.sampled_from([0.01, 0.01, 0.3, 0.52, 0.6, 0.9, 1.2, 1.4, LOST])
READS = st.lists(
    st.tuples(
        st.sampled_from([7, 7, 8]),
        st.sampled_from([100, 200, 300]),
        st.sampled_from([2, 2, 3]),
        LATENCIES,
        st.sampled_from(["answer", "answer", "refusal"]),
        st.sampled_from([0.0, 0.0, 0.2, 3.0]),
    ),
    min_size=2,
    max_size=12,
)


class Device(asyncio.Transport):
    """Answers each request after the latency that is set when it comes."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link, self.rtu = link, isinstance(link, RtuLink)
        self.latency = 0.0
        self.refuses = False
        self.open = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        if self.latency != LOST:
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency, self._give, self._answer(bytes(data)))

    def _answer(self, data: bytes) -> bytes:
        unit, body = (data[0], data[1:-2]) if self.rtu else (data[6], data[7:])
        first, count = struct.unpack_from(">HH", body, 1)
        answer = bytes([body[0], 2 * count])
        answer += b"".join(struct.pack(">H", 1000 * unit + first + i) for i in range(count))
        if self.refuses:
            answer = bytes([body[0] | 0x80, 2])
        if self.rtu:
            return bytes([unit]) + answer + crc(bytes([unit]) + answer)
        return data[:2] + struct.pack(">HHB", 0, len(answer) + 1, unit) + answer

    def _give(self, data: bytes) -> None:
        if self.open:
            receive(self.link, data)

    def abort(self) -> None:
        if self.open:
            self.open = False
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)


MEDIA = {
    "tcp": lambda: TcpLink("h"),
    "serial": lambda: RtuLink("/dev/ttyUSB0", 19200),
    "rtu_tcp": lambda: RtuLink("h:4001"),
}


async def _ask(link: Link, unit: int, request: pdu.Request) -> bytes:
    while True:
        try:
            return await link.ask(unit, request, TIMEOUT)
        except NotYet as later:
            await asyncio.sleep(later.wait)


@pytest.mark.parametrize("medium", MEDIA)
@settings(max_examples=150, deadline=None)
@given(reads=READS)
def test_no_value_of_another_request(medium: str, reads: list[Any]) -> None:
    """Whatever is late or lost, a value is that of the register asked for, or there is none."""

    async def main() -> None:
        link = MEDIA[medium]()
        device = Device(link)
        link.connection_made(device)
        refused = set()
        for unit, first, count, latency, kind, pause in reads:
            device.latency, device.refuses = latency, kind == "refusal"
            if device.refuses:
                refused.add((unit, first, count))
            try:
                answer = await _ask(link, unit, pdu.read(3, first, count))
            except DriverError as error:
                if getattr(error, "code", None) == "02":
                    assert (unit, first, count) in refused, "a refusal of another request"
            else:
                values = struct.unpack_from(f">{count}H", answer, 2)
                assert values == tuple(1000 * unit + first + i for i in range(count))
            await asyncio.sleep(pause)
            if not device.open:
                break
        await link.close()

    run_virtual(main)
