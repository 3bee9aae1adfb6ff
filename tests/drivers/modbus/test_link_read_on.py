"""Polls that follow each other over one TCP connection, and everything that may come between."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
import uvloop

from drivers.modbus import MODBUS, pdu
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.link import Framed, TcpLink, frame
from edge.driver import FieldDevice, Poll, Sample
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, DriverError
from edge.proof.virtual_loop import run_virtual
from tests.contract.drivers import field_point
from tests.drivers.modbus.wire import Wire, receive
from tests.support.modbus_device import Fault, ModbusDevice, Unit
from tests.support.told import Told

TIMEOUT = 0.5
Served = tuple[ModbusDriver, list[Poll]]


class Line:
    """A link with polls p0, p1 … of two registers each; `values` is what was taken, in order.

    `plan` are the polls that follow, by number; `failed` what went wrong, by poll.
    """

    def __init__(self, polls: int = 3, pipeline: int = 1) -> None:
        self.link = TcpLink("192.0.2.1:502", pipeline)
        self.wire = Wire(self.link)
        self.link.connection_made(self.wire)
        self.polls = [Poll("d", (f"p{i}",), 1.0, object(), f"p{i}") for i in range(polls)]
        self.framed = [self._framed(i) for i in range(polls)]
        for poll, framed in zip(self.polls, self.framed, strict=True):
            self.link.polls[poll.request] = framed
        self.plan: list[int] = []
        self.values: list[tuple[int, int]] = []
        self.failed: list[int] = []

    def _framed(self, i: int) -> Framed:
        sample = Sample(np.zeros(2), np.zeros(2, np.uint16))

        def decode() -> None:
            sample.values[:] = np.frombuffer(self.link.answer, ">u2", 2, 2)
            self.values.append((i, int(sample.values[0])))

        def failed(error: DriverError) -> DriverError:
            self.failed.append(i)
            return error

        return frame(7, pdu.read(3, 100 + i, 2), TIMEOUT, sample, decode, failed)

    def following(self, _sample: Sample) -> Poll | None:
        return self.polls[self.plan.pop(0)] if self.plan else None

    def read_on(self, *plan: int) -> asyncio.Future[Poll | None]:
        """Begin with the first poll and go on with the others."""
        self.plan = list(plan[1:])
        return self.link.read_on(self.framed[plan[0]], self.following)

    def answer(self, *, value: int, sent: int = -1, body: bytes | None = None) -> None:
        """Answer a request that was sent; the last one unless said."""
        body = struct.pack(">BBHH", 3, 4, value, 0) if body is None else body
        head = struct.pack(">HHB", 0, len(body) + 1, 7)
        receive(self.link, self.wire.sent[sent][:2] + head + body)

    def addresses(self) -> list[int]:
        """What was asked for, in order, counted from 100."""
        return [int.from_bytes(sent[8:10]) - 100 for sent in self.wire.sent]


def test_the_next_poll_is_sent_from_within_the_answer() -> None:
    """One future for all of them, and no turn of the loop between; it ends when none follows."""

    async def main() -> None:
        line = Line()
        waiting = line.read_on(0, 2, 2, 1)
        for n in range(1, 5):
            assert len(line.wire.sent) == n
            assert not waiting.done()
            line.answer(value=n)
        assert await waiting is None
        assert line.addresses() == [0, 2, 2, 1]
        assert line.values == [(0, 1), (2, 2), (2, 3), (1, 4)]
        assert len({sent[:2] for sent in line.wire.sent}) == 4

    run_virtual(main)


def test_a_poll_that_is_not_ready_is_handed_back_unsent() -> None:
    """Whoever waits reads it by another way."""

    async def main() -> None:
        line = Line()
        del line.link.polls[line.polls[1].request]
        waiting = line.read_on(0, 1, 2)
        line.answer(value=5)
        assert await waiting is line.polls[1]
        assert line.addresses() == [0]

    run_virtual(main)


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"\x83\x02", DeviceRefused), (b"\x04\x04abcd", BadAnswer), (b"\x03\x02ab", BadAnswer)],
)
def test_what_is_no_answer_ends_it(body: bytes, error: type[DriverError]) -> None:
    """It is the error of the poll that it came to, nothing is decoded and nothing follows."""

    async def main() -> None:
        line = Line()
        waiting = line.read_on(0, 1, 2)
        line.answer(value=5)
        line.answer(value=0, body=body)
        with pytest.raises(error):
            await waiting
        assert (line.values, line.failed, line.addresses()) == ([(0, 5)], [1], [0, 1])

    run_virtual(main)


def test_each_poll_has_its_own_time() -> None:
    """The time-out counts from its own request, however long others took before it."""

    async def main() -> None:
        line = Line()
        loop = asyncio.get_running_loop()
        waiting = line.read_on(0, 1, 2)
        for n in range(2):
            await asyncio.sleep(0.9 * TIMEOUT)
            line.answer(value=n)
        sent = loop.time()
        with pytest.raises(DeviceTimeout):
            await waiting
        assert loop.time() - sent == pytest.approx(TIMEOUT, abs=0.02)
        assert line.failed == [2]

    run_virtual(main)


def test_a_late_answer_is_not_the_one_of_the_next_poll() -> None:
    """Nor of the same poll asked again: it is counted and dropped."""

    async def main() -> None:
        line = Line()
        with pytest.raises(DeviceTimeout):
            await line.read_on(0)
        waiting = line.read_on(0, 0)
        line.answer(value=1, sent=0)
        assert (line.values, line.link.late) == ([], 1)
        line.answer(value=2)
        line.answer(value=2, sent=1)  # twice
        assert (line.values, line.link.late) == ([(0, 2)], 2)
        line.answer(value=3)
        assert await waiting is None
        assert line.values == [(0, 2), (0, 3)]

    run_virtual(main)


def test_pieces_and_lumps_are_read_on_too() -> None:
    """An answer in two pieces, and two answers at once, are as good as one."""

    async def main() -> None:
        line = Line(pipeline=2)
        first, second = line.read_on(0, 1), line.link.read_on(line.framed[2], lambda _: None)
        answers = [
            line.wire.sent[n][:2] + struct.pack(">HHBBBHH", 0, 7, 7, 3, 4, n, 0) for n in (0, 1)
        ]
        receive(line.link, answers[0][:8])
        receive(line.link, answers[0][8:] + answers[1])
        assert line.values == [(0, 0), (2, 1)]
        assert await second is None
        line.answer(value=9)
        assert await first is None
        assert line.values[-1] == (1, 9)

    run_virtual(main)


def test_several_lanes_read_on_beside_each_other() -> None:
    """Each answer goes to who asked, in whatever order they come."""

    async def main() -> None:
        line = Line(pipeline=3)
        taken: list[list[float]] = [[], [], []]

        def lane(i: int) -> asyncio.Future[Poll | None]:
            def following(sample: Sample) -> Poll | None:
                taken[i].append(sample.values[0])
                return line.polls[i] if len(taken[i]) < 4 else None

            return line.link.read_on(line.framed[i], following)

        waiting = [lane(i) for i in range(3)]
        for turn in range(4):
            under_way = sorted(range(-3, 0), key=lambda n: (n * 7 + turn) % 3)
            sent = [line.wire.sent[n] for n in under_way]
            for request in sent:
                address = int.from_bytes(request[8:10]) - 100
                line.answer(value=10 * address + turn, sent=line.wire.sent.index(request))
        assert await asyncio.gather(*waiting) == [None] * 3
        assert taken == [[10 * i + turn for turn in range(4)] for i in range(3)]

    run_virtual(main)


def test_who_no_longer_waits_is_not_read_on_for() -> None:
    """After a cancellation the answer is late, and nothing is sent."""

    async def main() -> None:
        line = Line()
        waiting = line.read_on(0, 1, 2)
        waiting.cancel()
        line.answer(value=1)
        assert (line.values, line.addresses(), line.link.late) == ([], [0], 1)

    run_virtual(main)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_bug_behind_an_answer_is_told_to_who_waits(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """It ends the connection, and whoever waits raises it: nobody waits for ever."""

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        def following(_sample: Sample) -> Poll | None:
            raise ZeroDivisionError

        fake = ModbusDevice({1: Unit(holding={0: 100})})
        async with fake, driver_of(fake, 1) as (driver, polls):
            await driver.read(polls[0])  # from now on by one request
            with pytest.raises(ZeroDivisionError):
                async with asyncio.timeout(5.0):
                    await driver.read_on(polls[0], following)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_the_driver_reads_on_over_a_socket() -> None:
    """Polls of two units in turn; one of them falls silent, and the error is that one's."""

    async def main() -> None:
        fake = ModbusDevice({n: Unit(holding={0: 100 + n}) for n in (1, 2)})
        async with fake, driver_of(fake, 1, 2) as (driver, polls):
            seen: list[float] = []

            def following(sample: Sample) -> Poll | None:
                seen.append(float(sample.values[0]))
                if len(seen) == 21:
                    fake.faults[2] = Fault.SILENT
                return polls[len(seen) % 2]

            assert await driver.read_on(polls[0], following) is polls[1]
            assert await driver.read_on(polls[1], following) is polls[0]
            with pytest.raises(DeviceTimeout) as caught:
                await driver.read_on(polls[0], following)
            assert "unit 2" in caught.value.reason.en
            assert seen == [101.0, 102.0] * 10 + [101.0]
            assert (await driver.read(polls[0])).values.tolist() == [101.0]

    asyncio.run(main())


@asynccontextmanager
async def driver_of(fake: ModbusDevice, *units: int) -> AsyncIterator[Served]:
    """A driver with one poll for each unit of a device."""
    bus = BusConfig(tcp=fake.address, timeout="100ms")
    point = (field_point("r0", PointConfig(holding=0)),)
    devices = [FieldDevice(f"d{n}", DeviceConfig(unit=n), point) for n in units]
    polls = [poll for device in devices for poll in MODBUS.plan(bus, device)]
    async with ModbusDriver(bus, devices, polls, Told()) as driver:
        yield driver, polls
