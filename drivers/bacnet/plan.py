"""How a BACnet device's points are grouped into polls, and what is wrong with them together.

Pure. Called by `edge.site` through the table of drivers when a site is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator

from drivers.bacnet.config import BusConfig, DeviceConfig, PointConfig
from edge.driver import FieldDevice, FieldPoint, Poll
from edge.text import Text


def plan(bus: BusConfig, device: FieldDevice) -> tuple[Poll, ...]:
    """One ReadPropertyMultiple per poll: points of one period, in order, `batch` at most."""
    config: DeviceConfig = device.config
    periods: dict[float, list[FieldPoint]] = {}
    for point in device.points:
        if point.readable:
            periods.setdefault(point.period, []).append(point)
    return tuple(
        Poll(
            device=device.id,
            points=tuple(point.id for point in batch),
            period=period,
            request=batch,
            label=_label(batch),
        )
        for period, points in periods.items()
        for batch in _batches(points, config.batch)
    )


def _batches(points: list[FieldPoint], size: int) -> list[tuple[FieldPoint, ...]]:
    return [tuple(points[i : i + size]) for i in range(0, len(points), size)]


def _label(points: tuple[FieldPoint, ...]) -> str:
    """`analog-input,1 … analog-output,3`."""
    first, last = points[0].config.name, points[-1].config.name
    return first if len(points) == 1 else f"{first} … {last}"


def check(bus: BusConfig, device: FieldDevice) -> Iterator[tuple[str, Text]]:
    """What no single point shows: inputs to be driven, a property driven by two points."""
    driven: dict[object, str] = {}
    for point in device.points:
        if not point.writable:
            continue
        config: PointConfig = point.config
        if config.measured:
            yield (
                point.id,
                Text(
                    f"{config.object} 是输入, 设备不让写",
                    f"{config.object} is an input: it is not written",
                ),
            )
        other = driven.setdefault(config.target(), point.id)
        if other != point.id:
            yield (
                point.id,
                Text(
                    f"{config.name} 已由 {other} 驱动",
                    f"{config.name} is driven by {other} already",
                ),
            )
