"""The virtual field: real drivers' profiles and polls, with a plant behind them instead of a wire.

Every kind of a table of drivers keeps its models, `plan`, `check` and `cost`; only `connect` is
ours. Not the plant itself (`plant_file.py`). Used by `edge/proof`, which knows the site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import isnan, nan
from typing import Any

from drivers.sim.driver import InProcess, Line, sim_kind
from drivers.sim.rig import Rig
from edge.driver import DriverKind, FieldDevice, FieldPoint, Host, Poll


@dataclass(slots=True)
class Cell:
    """What stands behind one point: `variable` of `model`, converted to the point's unit by `scale`
    and `offset`; without a model it keeps `value`. A relinquished output falls back to `rest`."""

    model: str = ""
    variable: str = ""
    scale: float = 1.0
    offset: float = 0.0
    value: float = nan
    rest: float = nan


@dataclass
class Field:
    """A rig and the cells of all points that are not of `driver: sim`; `line` is what breaks.

    Both may be filled after the site was read with `drivers`: they are looked at from the first
    request on.
    """

    line: Line = field(default_factory=Line)
    rig: Rig = field(default_factory=lambda: Rig({}))
    cells: dict[str, Cell] = field(default_factory=dict)

    def drivers(self, table: Mapping[str, DriverKind]) -> dict[str, DriverKind]:
        """The same table with this field behind every kind."""
        return {
            name: replace(kind, connect=partial(self._connect, kind))
            for name, kind in table.items()
        }

    def value(self, point: str) -> float:
        """What stands behind a point, in its unit; NaN for a broken sensor."""
        cell = self.cells[point]
        if not cell.model:
            return cell.value
        return self.rig.read(cell.model, cell.variable) * cell.scale + cell.offset

    def put(self, point: str, value: float) -> None:
        """Command what stands behind a point. KeyError, ValueError: it does not take that."""
        cell = self.cells[point]
        if cell.model:
            self.rig.write(cell.model, cell.variable, (value - cell.offset) / cell.scale)
        else:
            cell.value = value

    def _connect(
        self, kind: DriverKind, bus: Any, devices: Sequence[FieldDevice], polls: Sequence[Poll],
        host: Host,
    ) -> Any:  # fmt: skip
        if kind.name == "sim":
            return sim_kind(self.rig, self.line).connect(bus, devices, polls, host)
        return FieldDriver(self, devices, priorities=kind.priorities)


class FieldDriver(InProcess):
    """One bus of a real driver's kind, over a `Field`."""

    def __init__(
        self, field: Field, devices: Sequence[FieldDevice], *, priorities: bool
    ) -> None:  # fmt: skip
        super().__init__([_of_light(device) for device in devices], field.line)
        self._field, self._priorities = field, priorities

    def advance_to(self, now: float) -> None:
        """Step the models."""
        self._field.rig.advance_to(now)

    def value(self, device: FieldDevice, point: FieldPoint) -> float:
        """What the model or the cell shows."""
        return self._field.value(point.id)

    def command(self, device: FieldDevice, point: FieldPoint, value: float) -> None:
        """Where the device has priorities, NaN brings back what it rests at; else nothing."""
        cell = self._field.cells[point.id]
        if isnan(value):
            if not self._priorities or isnan(cell.rest):
                return
            value = cell.rest
        self._field.put(point.id, value)


def _of_light(device: FieldDevice) -> FieldDevice:
    """The device with its dimmers in %, as the models behind it have them."""
    points = tuple(
        replace(p, low=0.0, high=100.0, curve="linear") if p.curve == "dali" else p
        for p in device.points
    )
    return replace(device, points=points)
