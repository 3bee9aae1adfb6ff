"""Groups a device's registers into as few requests as its limits allow. Pure.

Also what can only be judged with a device and its points together (`check`). Not the bytes
(`pdu.py`), not what the device says to it (`parts.py`). Called by `edge.site` through the table of
drivers, and by tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from drivers.modbus import pdu, rtu
from drivers.modbus.bus import BusConfig
from drivers.modbus.codec import Cell
from drivers.modbus.config import DeviceConfig, PointConfig, Table
from edge.driver import FieldDevice, FieldPoint, Poll
from edge.text import Text

TURNAROUND: Final = 0.005  # seconds that a device on a line takes before it answers
UNITS: Final = 247  # on a line; 0 is all of them, who then say nothing, those above are reserved
GAP: Final = 8  # registers read along where the time on the wire is not what counts

FUNCTIONS: dict[Table, int] = {
    "coil": pdu.READ_COILS,
    "discrete": pdu.READ_DISCRETE,
    "holding": pdu.READ_HOLDING,
    "input": pdu.READ_INPUT,
}


@dataclass(frozen=True, slots=True)
class Unit:
    """How to talk to one device: its number behind the connection, and seconds."""

    number: int
    timeout: float
    delay: float


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one point lies and what stands there."""

    point: str
    table: Table
    size: int
    cell: Cell
    period: float
    clears: bool

    @property
    def address(self) -> int:
        """The wire address of its first register or bit."""
        return self.cell.at

    @property
    def end(self) -> int:
        """The wire address after its last register or bit."""
        return self.cell.at + self.size


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One read request: everything from `address` on, and the points in it by address.

    What `Poll.request` holds.
    """

    unit: Unit
    table: Table
    address: int
    count: int
    spots: tuple[Spot, ...]

    @property
    def bits(self) -> bool:
        """Whether single bits are read."""
        return self.table in ("coil", "discrete")

    def request(self) -> pdu.Request:
        """The request as a PDU."""
        return pdu.read(FUNCTIONS[self.table], self.address, self.count)

    def cells(self) -> list[Cell]:
        """What stands in the answer."""
        return [spot.cell for spot in self.spots]


def unit_of(bus: BusConfig, config: DeviceConfig) -> Unit:
    """The device's own times, or those of its bus."""
    timeout = bus.timeout if config.timeout is None else config.timeout
    return Unit(config.unit, timeout, max(bus.gap, config.delay))


def spot_of(config: DeviceConfig, point: FieldPoint) -> Spot:
    """A point with the device's base and order applied."""
    where: PointConfig = point.config
    cell = Cell(
        where.address - config.base,
        where.kind,
        where.order or config.order,
        where.bit,
        where.length,
        where.sentinel,
        point.scale,
        point.offset,
        point.low,
        point.high,
    )
    return Spot(point.id, where.table, where.size, cell, point.period, where.clears)


def plan(bus: BusConfig, device: FieldDevice) -> tuple[Poll, ...]:
    """The polls that cover each readable point once, in the order table, period, address.

    Registers are read together when they lie in one table, have the same period, and at most
    `max_gap` others lie between them; a value is never divided. What reading clears is read
    neither along nor together with anything that is not.
    """
    config: DeviceConfig = device.config
    gap = gap_of(bus, config)
    spots = [spot_of(config, p) for p in device.points if p.readable]
    cleared = [s for s in spots if s.clears]
    classes: dict[tuple[Table, float, bool], list[Spot]] = {}
    for spot in spots:
        classes.setdefault((spot.table, spot.period, spot.clears), []).append(spot)
    polls = []
    for (table, period, _), members in sorted(
        classes.items(), key=lambda c: (list(FUNCTIONS).index(c[0][0]), *c[0][1:])
    ):
        avoid = [s for s in cleared if s.table == table]
        for run in _runs(config, gap, members, avoid):
            block = block_of(unit_of(bus, config), run)
            points = tuple(spot.point for spot in run)
            named = label(block, config.base)
            polls.append(Poll(device.id, points, period, block, named, spare(block)))
    return tuple(polls)


def gap_of(bus: BusConfig, config: DeviceConfig) -> int:
    """How many registers nobody asked for are cheaper to read along than another request is.

    On a serial line as many as pass in the time that a request takes beside its data: 13
    characters, two silences and the device's turnaround.
    """
    if config.max_gap is not None:
        return config.max_gap
    if bus.serial is None:
        return GAP
    overhead = rtu.wire_time(bus.baud, 13) + 2 * rtu.silence(bus.baud) + TURNAROUND
    return min(int(overhead / rtu.wire_time(bus.baud, 2)), config.max_regs)


def cost(bus: BusConfig, poll: Poll) -> float | None:
    """Seconds of a serial line that a poll takes with a device that answers in 5 ms; else None."""
    if bus.serial is None:
        return None
    block: Block = poll.request
    exchanged = 8 + block.request().size + 3  # the answer's unit and check sum
    silences = 2 * rtu.silence(bus.baud) + block.unit.delay
    return rtu.wire_time(bus.baud, exchanged) + silences + TURNAROUND


def _runs(
    config: DeviceConfig, gap: int, spots: Sequence[Spot], cleared: Sequence[Spot]
) -> Iterator[list[Spot]]:
    """Divide the spots of one class, by address, into runs that one request can read."""
    bits = spots[0].table in ("coil", "discrete")
    most = pdu.MAX_READ_BITS if bits else config.max_regs
    gap *= 16 if bits else 1
    run: list[Spot] = []
    start = end = 0
    for spot in sorted(spots, key=lambda s: (s.address, s.size, s.cell.bit or 0, s.point)):
        fits = (
            run
            and spot.address - end <= (0 if spot.clears else gap)
            and max(end, spot.end) - start <= most
            and not _touches(cleared, end, spot.address)
        )
        if run and not fits:
            yield run
            run = []
        if not run:
            start, end = spot.address, spot.end
        run.append(spot)
        end = max(end, spot.end)
    yield run


def _touches(spots: Sequence[Spot], start: int, end: int) -> bool:
    return any(s.address < end and s.end > start for s in spots)


def block_of(unit: Unit, spots: Sequence[Spot]) -> Block:
    """The one request that reads these spots of one table."""
    address = min(s.address for s in spots)
    count = max(s.end for s in spots) - address
    return Block(unit, spots[0].table, address, count, tuple(spots))


def label(block: Block, base: int) -> str:
    """What a technician sees, counted as in the device's map: "holding 100-131"."""
    return span(block.table, block.address + base, block.count)


def spare(block: Block) -> int:
    """How many registers or bits of a block belong to no point."""
    wanted = {at for spot in block.spots for at in range(spot.address, spot.end)}
    return block.count - len(wanted)


def span(table: Table, first: int, count: int) -> str:
    """Registers or bits as a technician writes them: "holding 100-131", "coil 3"."""
    return f"{table} {first}" if count == 1 else f"{table} {first}-{first + count - 1}"


def check(bus: BusConfig, device: FieldDevice) -> Iterator[tuple[str, Text]]:
    """What is wrong with a device's points that no record shows alone: (point, sentence)."""
    config: DeviceConfig = device.config
    cleared = [s for p in device.points if (s := spot_of(config, p)).clears]
    driven: list[Spot] = []
    if bus.tcp is None and not 1 <= config.unit <= UNITS:
        yield device.id, _NO_UNIT.format(unit=config.unit, most=UNITS)
    yield from ((device.id, text) for text in _wrong_contact(device, cleared))
    for point in device.points:
        spot = spot_of(config, point)
        if point.writable:
            yield from ((point.id, _DRIVEN.format(point=o.point)) for o in driven if _same(o, spot))
            driven.append(spot)
        yield from ((point.id, text) for text in _wrong_place(config, point.config, spot))
        yield from ((point.id, text) for text in _wrong_use(config, point, spot))
        for other in cleared:
            shared = other.table == spot.table and _touches([other], spot.address, spot.end)
            if shared and not spot.clears:
                yield point.id, _READ_ALONG.format(point=other.point)


def _same(one: Spot, other: Spot) -> bool:
    """Whether writing one changes the other; bits of a register may stand side by side."""
    if one.table != other.table or not _touches([one], other.address, other.end):
        return False
    a, b = one.cell, other.cell
    if a.bit is None or b.bit is None:
        return True
    return a.bit < b.bit + b.length and b.bit < a.bit + a.length


def _wrong_place(config: DeviceConfig, where: PointConfig, spot: Spot) -> Iterator[Text]:
    if spot.address < 0:
        yield _BEFORE_FIRST
    elif spot.end > pdu.ADDRESSES:
        yield _PAST_LAST.format(last=pdu.ADDRESSES - 1 + config.base)
    if not where.bits and spot.size > config.max_regs:
        yield _TOO_WIDE.format(type=where.kind, size=spot.size, most=config.max_regs)


def _wrong_use(config: DeviceConfig, point: FieldPoint, spot: Spot) -> Iterator[Text]:
    where: PointConfig = point.config
    if point.readable and not where.readable:
        yield _NOT_READABLE
    if not point.writable:
        return
    if not where.writable:
        yield _NOT_WRITABLE.format(table=where.table)
    elif spot.cell.bit is None or config.mask_write:
        return
    elif not config.read_modify_write:
        yield _NEEDS_PERMISSION
    elif not where.readable:
        yield _NEEDS_READING


def _wrong_contact(device: FieldDevice, cleared: Sequence[Spot]) -> Iterator[Text]:
    """What is wrong with the registers of `identity` and `program`."""
    config: DeviceConfig = device.config
    plate = config.identity.registers if config.identity else None
    if plate is not None:
        cell = Cell(plate.address - config.base)
        yield from _misplaced(config, _own("identity", plate.table, plate.size, cell), cleared)
    taken = [s for p in device.points if p.writable and (s := spot_of(config, p))]
    for name, setting in config.program.items():
        cell = setting.cell(config.base, config.order)
        own = _own(f"program.{name}", "holding", setting.size, cell)
        yield from _misplaced(config, own, cleared)
        yield from (
            _PROGRAMMED.format(name=own.point, other=s.point) for s in taken if _same(s, own)
        )
        taken.append(own)


def _own(name: str, table: Table, size: int, cell: Cell) -> Spot:
    """Registers that no point has, under the name of their option."""
    return Spot(name, table, size, cell, math.inf, clears=False)


def _misplaced(config: DeviceConfig, own: Spot, cleared: Sequence[Spot]) -> Iterator[Text]:
    wrong = []
    if own.address < 0:
        wrong.append(_BEFORE_FIRST)
    elif own.end > pdu.ADDRESSES:
        wrong.append(_PAST_LAST.format(last=pdu.ADDRESSES - 1 + config.base))
    if own.size > config.max_regs:
        wrong.append(_TOO_LONG.format(size=own.size, most=config.max_regs))
    for spot in cleared:
        along = spot.table == own.table and _touches([spot], own.address, own.end)
        wrong += [_READ_ALONG.format(point=spot.point)] * along
    yield from (Text(f"{own.point}: {text.zh}", f"{own.point}: {text.en}") for text in wrong)


_NO_UNIT = Text(
    "串行线路上的站号为 1 至 {most}; {unit} 是广播或保留站号, 不会有应答",
    "a serial line has the units 1 to {most}; {unit} is a broadcast or reserved, and nobody would "
    "answer",
)
_BEFORE_FIRST = Text(
    "base 为 1 时寄存器从 1 开始, 没有 0", "with base 1 the first register is 1, there is no 0"
)
_PAST_LAST = Text("超出最后一个寄存器 {last}", "reaches past the last register, {last}")
_TOO_WIDE = Text(
    "{type} 占 {size} 个寄存器, 必须一次读出, 而 max_regs 为 {most}",
    "{type} takes {size} registers, which must be read at once, and max_regs is {most}",
)
_TOO_LONG = Text(
    "占 {size} 个寄存器, 而 max_regs 为 {most}",
    "it takes {size} registers, and max_regs is {most}",
)
_NOT_READABLE = Text("access 为 write, 该点不能读", "its access is write: it cannot be read")
_NOT_WRITABLE = Text(
    "该点要写, 但 {table} 或 access 不允许写; 应为 holding 或 coil 且 access: read_write",
    "it is to be written, which {table} or its access forbids; it should be a holding or coil "
    "with access: read_write",
)
_NEEDS_PERMISSION = Text(
    "写寄存器中的位: 设备支持功能码 22 时设 mask_write: true; "
    "否则须先读后写, 会覆盖设备在其间的改动, 若可接受, 请设 read_modify_write: true",
    "writing bits of a register: if the device knows function 22, set mask_write: true on it; else "
    "it means reading and writing back, over what the device changed in between, and if that is "
    "acceptable, set read_modify_write: true",
)
_NEEDS_READING = Text(
    "写寄存器中的位须先读, 但 access 为 write; 应为 read_write",
    "writing bits of a register means reading it first, but its access is write; it should be "
    "read_write",
)
_DRIVEN = Text(
    "与输出 {point} 写同一处: 两者会互相覆盖",
    "writes where output {point} writes: each would undo the other",
)
_PROGRAMMED = Text(
    "{name} 与 {other} 写同一处: 两者会互相覆盖",
    "{name} writes where {other} writes: each would undo the other",
)
_READ_ALONG = Text(
    "与读后清零的 {point} 占同一寄存器: 读它会清零另一点",
    "shares a register with {point}, which reading clears: reading this one would clear it",
)
