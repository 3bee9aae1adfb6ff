"""What one device has taught, kept over reconnects and restarts, and said once in plain words.

Its JSON is matched with the plan when a driver is made: what no longer fits is forgotten, so a
changed map is asked for anew. Not how it is learned (`dividing.py`). Called by `driver.py` and
`contact.py`; `learned` by `edge check --plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from drivers.modbus.config import DeviceConfig, Table
from drivers.modbus.parts import Findings, Place, Reading
from drivers.modbus.plan import Spot, span, spot_of
from edge.driver import FieldDevice, Host, Kept
from edge.events import BLOCK_DIVIDED, REGISTER_ACCEPTED, REGISTER_REFUSED, Event
from edge.schema.model import Model
from edge.text import Text

_LISTED = 5  # points named in one sentence


class KeptBlock(Model):
    """A block that cannot be read whole: parts as (address, count, points), bad places as (address,
    size, loop time of the next trial), all as on the wire."""

    unit: int
    table: Table
    address: int
    count: int
    parts: tuple[tuple[int, int, int], ...]
    bad: tuple[tuple[int, int, float], ...]
    joins: bool


class Tried(Model):
    """A setting that was written, or could not even be read: its value, the loop time until which
    it is not written again, and whether it has been told that the device does not hold it."""

    value: float
    until: float
    told: bool = False


class KeptDevice(Model):
    """All that is kept of a device; `program` by setting."""

    blocks: tuple[KeptBlock, ...] = ()
    program: Mapping[str, Tried] = {}


class Knowledge:
    """What is known of one device. `readings` are those of its polls."""

    def __init__(self, device: FieldDevice, host: Host, readings: Sequence[Reading]) -> None:
        self._device = device
        self._host = host
        self._kept: dict[Reading, KeptBlock] = {}
        known = _parsed(host.recall(device.id))
        self.program: dict[str, Tried] = dict(known.program)
        for reading in readings:
            for kept in known.blocks:
                if _is_of(kept, reading, device.config) and reading.recall(_findings(kept)):
                    self._kept[reading] = kept
                    break

    def learn(self, reading: Reading) -> None:
        """Keep and tell what is new of a reading."""
        reading.changed = False
        old, new = self._kept.pop(reading, None), _kept_of(reading, self._device.config)
        if new is not None:
            self._kept[reading] = new
        for event, fields in _news(self._device, reading.block.spots, old, new):
            self._host.emit(event, **fields)
        self.keep()

    def keep(self) -> None:
        """Hand it to the bus's memory."""
        kept = KeptDevice(blocks=tuple(self._kept.values()), program=self.program)
        self._host.keep(self._device.id, kept.model_dump(mode="json", exclude_defaults=True))


def learned(device: FieldDevice, kept: Kept) -> Iterator[Text]:
    """The sentences of what is kept of a device, as far as it still has these points."""
    config: DeviceConfig = device.config
    classes: dict[tuple[Table, float, bool], list[Spot]] = {}
    for spot in (spot_of(config, p) for p in device.points if p.readable):
        classes.setdefault((spot.table, spot.period, spot.clears), []).append(spot)
    for block in _parsed(kept).blocks:
        for (table, _, _), spots in classes.items():
            inside = [s for s in spots if _within(block, s)]
            if (block.unit, block.table) == (config.unit, table) and _fits(block, inside):
                for event, fields in _news(device, inside, None, block):
                    yield event.text.format(**fields)
                break


def _parsed(kept: Kept) -> KeptDevice:
    """Nothing, when it is of another version."""
    try:
        return KeptDevice.model_validate(kept)
    except ValidationError:
        return KeptDevice()


def _is_of(kept: KeptBlock, reading: Reading, config: DeviceConfig) -> bool:
    block = reading.block
    return (kept.unit, kept.table, kept.address, kept.count) == (
        config.unit, block.table, block.address, block.count,
    )  # fmt: skip


def _findings(kept: KeptBlock) -> Findings:
    return Findings(kept.parts, {Place(a, n): at for a, n, at in kept.bad}, kept.joins)


def _kept_of(reading: Reading, config: DeviceConfig) -> KeptBlock | None:
    found, block = reading.findings(), reading.block
    if found is None:
        return None
    return KeptBlock(
        unit=config.unit,
        table=block.table,
        address=block.address,
        count=block.count,
        parts=found.parts,
        bad=tuple((*place, at) for place, at in found.bad.items()),
        joins=found.joins,
    )


def _within(block: KeptBlock, spot: Spot) -> bool:
    return block.address <= spot.address and spot.end <= block.address + block.count


def _news(
    device: FieldDevice, spots: Sequence[Spot], old: KeptBlock | None, new: KeptBlock | None
) -> Iterator[tuple[Event, dict[str, Any]]]:
    """What differs between two states of a block whose points are `spots`, as events."""
    before, after = _bad(old), _bad(new)
    for event, places in (
        (REGISTER_REFUSED, after - before),
        (REGISTER_ACCEPTED, before - after),
    ):
        for run in _neighbours(places):
            concerned = [s for s in spots if (s.address, s.size) in run]
            if concerned:
                yield event, _named(device, concerned)
    if new is not None and old is None and not after:
        yield BLOCK_DIVIDED, _divided(device.id, device.config.base, new)


def _bad(block: KeptBlock | None) -> set[Place]:
    return {Place(a, n) for a, n, _ in block.bad} if block is not None else set()


def _neighbours(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Places that touch, together: a missing range is one sentence."""
    run: list[Place] = []
    end = 0
    for place in sorted(places):
        if run and place.address > end:
            yield run
            run = []
        run.append(place)
        end = max(end, sum(place))
    if run:
        yield run


def _named(device: FieldDevice, spots: Sequence[Spot]) -> dict[str, Any]:
    first = min(s.address for s in spots)
    count = max(s.end for s in spots) - first
    names = [s.point for s in spots]
    points = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    register = span(spots[0].table, first + device.config.base, count)
    return {"device": device.id, "register": register, "points": points}


def _fits(block: KeptBlock, spots: Sequence[Spot]) -> bool:
    """Whether a block with these points can have been found to be so."""
    places, bad = {(s.address, s.size) for s in spots}, _bad(block)
    starts, ends = {s.address for s in spots}, {s.end for s in spots}
    return (
        {block.address, *(a for a, _, _ in block.parts)} <= starts
        and {block.address + block.count, *(a + n for a, n, _ in block.parts)} <= ends
        and bad <= places
        and all(any(a <= p[0] and sum(p) <= a + n for a, n, _ in block.parts) for p in places - bad)
    )


def _divided(device: str, base: int, block: KeptBlock) -> dict[str, Any]:
    parts = [span(block.table, a + base, n) for a, n, _ in block.parts]
    hole = any(b[0] > sum(a[:2]) for a, b in pairwise(block.parts))
    if hole:
        advice = _HOLE
    elif not block.joins and block.table in ("holding", "input"):
        advice = _TOO_LONG.format(most=max(n for _, n, _ in block.parts))
    else:
        advice = _BORDER
    return {
        "device": device,
        "block": span(block.table, block.address + base, block.count),
        "parts": ", ".join(parts),
        "advice": advice,
    }


_HOLE = Text(
    "设备的寄存器表有空洞, 可设 max_gap: 0", "its map has holes, for which max_gap: 0 is made"
)
_TOO_LONG = Text("可设 max_regs: {most}", "max_regs: {most} would say so from the start")
_BORDER = Text("无需处理", "nothing needs to be done")
