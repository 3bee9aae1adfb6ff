"""The Modbus driver over every medium on bad lines: no wrong value, and no way out but its errors.

Several polls of several units have the same function and length and differ only in what they hold,
so that an answer taken for another is seen.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from drivers.modbus import MODBUS
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.line import RtuLink
from edge.bus.host import BusHost
from edge.driver import Driver, FieldDevice, FieldPoint, Poll, Write
from edge.errors import DeviceTimeout, DriverError, LinkDown
from edge.proof.virtual_loop import run_virtual
from tests.contract.drivers import MODBUS_MEDIA, field_point, read
from tests.support.bad_line import BadLine, Line, Several, Trouble
from tests.support.modbus_device import ModbusDevice, Unit
from tests.support.modbus_media import Medium, Memory, Pty

MEDIA = {**MODBUS_MEDIA, "rtu": lambda: Pty(away=0.03)}
TIMEOUT = 0.04
REQUESTS = 130
SHARE = 0.1  # of the frames that are spoilt, of those corrupted half as many
STALLS = 0.05  # share of requests that a busy machine may lose of its own accord
UNITS, BLOCKS, LENGTH = (1, 2, 3), (0, 100, 200), 8
WRITTEN = 4  # the register of a block that is written


def held(unit: int, address: int) -> int:
    """What a register holds: its unit and its address can be told from it."""
    return unit * 0x1000 + address


def device_on(medium: Medium) -> ModbusDevice:
    addresses = [block + i for block in BLOCKS for i in range(LENGTH)]
    return ModbusDevice(
        {unit: Unit(holding={a: held(unit, a) for a in addresses}) for unit in UNITS},
        medium=medium,
    )


def field_devices() -> list[FieldDevice]:
    def point(unit: int, address: int) -> FieldPoint:
        writable = address % 100 == WRITTEN
        return field_point(f"{unit}.{address}", PointConfig(holding=address), writable=writable)

    return [
        FieldDevice(
            f"unit{unit}",
            DeviceConfig(unit=unit, write="multiple" if unit == 2 else "single"),
            tuple(point(unit, block + i) for block in BLOCKS for i in range(LENGTH)),
        )
        for unit in UNITS
    ]


def share_of(trouble: Trouble, *, rtu: bool) -> float:
    """How often it happens; an adapter that hears itself does so always."""
    if trouble is Trouble.CORRUPT:
        return SHARE / 2
    return 1.0 if trouble is Trouble.ECHO and rtu else SHARE


@dataclass
class Course:
    """Reads and writes over one line, each judged at once. `may` is what a point may hold."""

    device: ModbusDevice
    bus: BusConfig
    devices: Sequence[FieldDevice] = field(default_factory=field_devices)
    tried: int = 0
    failed: int = 0
    acknowledged: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.polls = [p for d in self.devices for p in MODBUS.plan(self.bus, d)]
        self.may: dict[str, set[float]] = {
            p.id: {held(*map(int, p.id.split(".")))} for d in self.devices for p in d.points
        }
        self._context = MODBUS.connect(self.bus, self.devices, self.polls, BusHost())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.driver: Driver = await self._context.__aenter__()
        try:
            yield
        finally:
            await self._context.__aexit__(None, None, None)

    async def again(self) -> None:
        """Leave and enter, as the bus task does after LinkDown."""
        await self._context.__aexit__(None, None, None)
        while True:
            try:
                self.driver = await self._context.__aenter__()
            except LinkDown:
                await asyncio.sleep(0.01)
            else:
                return

    async def go(self, requests: int, chance: random.Random) -> None:
        """So many requests, a fifth of them writes. Whatever is raised must be a DriverError."""
        for n in range(requests):
            self.tried += 1
            try:
                if chance.random() < 0.2:
                    await self.write(chance.choice(UNITS), chance.choice(BLOCKS) + WRITTEN, n)
                else:
                    await self.read(chance.choice(self.polls))
            except LinkDown:
                self.failed += 1
                await self.again()
            except DriverError:
                self.failed += 1

    async def read(self, poll: Poll) -> None:
        sample = await read(self.driver, poll)
        seen = dict(zip(poll.points, sample.values.tolist(), strict=True))
        wrong = {p: (v, self.may[p]) for p, v in seen.items() if v not in self.may[p]}
        assert wrong == {}
        assert not sample.quality.any()

    async def write(self, unit: int, address: int, n: int) -> None:
        point, value = f"{unit}.{address}", unit * 0x1000 + 0x400 + n
        self.may[point].add(value)  # it may have been carried out, whatever is heard of it
        await self.driver.write([Write(f"unit{unit}", point, value, 14)])
        self.may[point] = {value}
        self.acknowledged.append(value)


@pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.name.lower())
@pytest.mark.parametrize("make", MEDIA.values(), ids=MEDIA.keys())
def test_bad_line(make: Callable[[], Medium], trouble: Trouble) -> None:
    """Every value is the right one, every failure a DriverError and no more of them than frames
    that were spoilt; nothing is written twice, and a good line is a good line again."""

    async def main() -> None:
        async with asyncio.timeout(30), device_on(make()) as device:
            bus = BusConfig(**device.options, timeout=f"{TIMEOUT}s")
            course = Course(device, bus)
            share = share_of(trouble, rtu=device.medium.rtu)
            line = BadLine(trouble, 7, share=share, timeout=TIMEOUT)
            async with course.running():
                await course.go(10, random.Random(0))
                device.line = line
                await course.go(REQUESTS, random.Random(1))
                device.line = Line()
                lost = course.failed
                print(f"{course.tried} requests, {line.hurt} frames spoilt, {lost} failed")
                await _recovered(course)
            # Over TCP a length that became greater swallows some of what follows.
            cost = 2 if trouble is Trouble.CORRUPT and not device.medium.rtu else 1
            assert lost <= cost * line.hurt + STALLS * REQUESTS
            assert lost <= REQUESTS / 3
            _assert_written_once(course)

    asyncio.run(main())


@pytest.mark.parametrize("make", MEDIA.values(), ids=MEDIA.keys())
def test_nothing_older_than_a_write_is_read_after_it(make: Callable[[], Medium]) -> None:
    """An answer that is late, of before a write, is not what the same request after it reads."""

    async def main() -> None:
        async with asyncio.timeout(30), device_on(make()) as device:
            timeout = 2.5 * TIMEOUT
            course = Course(device, BusConfig(**device.options, timeout=f"{timeout}s"))
            async with course.running():
                for n, poll in enumerate(course.polls[:: len(BLOCKS)]):
                    unit, block = map(int, poll.points[0].split("."))
                    await course.read(poll)
                    device.line = BadLine(Trouble.LATE, n, share=1.0, timeout=timeout)
                    with pytest.raises(DeviceTimeout):
                        await course.read(poll)
                    device.line = Line()
                    await course.write(unit, block + WRITTEN, n)
                    until = asyncio.get_running_loop().time() + 1.6 * timeout
                    while asyncio.get_running_loop().time() < until:
                        await course.read(poll)
                        await asyncio.sleep(timeout / 50)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(24))
def test_troubles_together(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or three troubles at once, far worse than any line, in virtual time: no wrong value.

    But not another unit's number on an answer that is late: that nobody can tell.
    """
    chance = random.Random(seed)
    late = chance.choice((Trouble.LATE, Trouble.LATE_TWICE))  # both would be later than late
    kinds = [late, Trouble.TWICE, Trouble.CORRUPT, Trouble.NOISE, Trouble.DROP]
    chosen = chance.sample(kinds, chance.choice((2, 3)))
    share = chance.choice((0.1, 0.2, 0.4))
    lines = [
        BadLine(trouble, seed * 10 + i, share=share, timeout=TIMEOUT)
        for i, trouble in enumerate(chosen)
    ]
    if seed % 4 == 0:
        lines.insert(0, BadLine(Trouble.ECHO, seed, share=1.0, timeout=TIMEOUT))
    medium = Memory(baud=115200)

    async def opened(bus: BusConfig) -> RtuLink:
        link = RtuLink("line", bus.baud)
        medium.connect(link)
        return link

    async def main() -> None:
        async with device_on(medium) as device:
            course = Course(device, BusConfig(**device.options, timeout=f"{TIMEOUT}s"))
            async with course.running():
                device.line = Several(*lines)
                await course.go(300, chance)
                device.line = Line()
                await _recovered(course)
            _assert_written_once(course)
        names = ", ".join(line.trouble.name for line in lines)
        print(f"{names} at {share:g}: {course.failed} of {course.tried} failed")

    monkeypatch.setattr("drivers.modbus.driver.open_link", opened)
    run_virtual(main)


def _assert_written_once(course: Course) -> None:
    written = [value for entry in course.device.written for value in entry.values]
    assert len(set(written)) == len(written)
    assert set(course.acknowledged) <= set(written)


async def _recovered(course: Course) -> None:
    """Once the last late answer is over, everything is read; a connection that was given up
    meanwhile is made anew once. A busy machine may cost one time-out."""
    await asyncio.sleep(3 * TIMEOUT)
    spare = 1
    try:
        await course.read(course.polls[0])
    except LinkDown:
        await course.again()
    except DeviceTimeout:
        spare = 0
    for poll in 2 * course.polls:
        try:
            await course.read(poll)
        except DeviceTimeout:
            assert spare
            spare = 0
            await course.read(poll)
