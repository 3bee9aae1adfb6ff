"""A site with a plant behind it instead of the field: what every trial of a site begins with.

Reads the site through the virtual field and the plant file beside it; runs nothing. Called by
`stage.py` (the whole controller in virtual time) and for `simulate.py` (the scan alone).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from drivers.sim.field import Cell, Field
from drivers.sim.plant_file import Place, read_plant
from edge.blocks import KINDS
from edge.driver import DriverKind, FieldPoint
from edge.schema.validate import Marks
from edge.site.load import ConfigProblems, load_site
from edge.site.site import Point, Site

PLANT: Final = "plant.yaml"


@dataclass(frozen=True, slots=True)
class Setting:
    """A site and what stands behind its points. `uplinks` are those that are not to be reached."""

    site: Site
    field: Field
    uplinks: frozenset[str]


def setting(
    path: Path,
    drivers: Mapping[str, DriverKind],
    plant: Path | None = None,
    equipment: Mapping[str, Mapping[str, Any]] | None = None,
    marks: Marks | None = None,
    minute: float = 0.0,
    *,
    alone: bool = True,
) -> Setting:
    """Read a site and its plant; `equipment` are options of its models, written at `marks`.

    `minute` of the day is where the sun stands. `alone`: no broker and no BMS is reached. Raises
    `ConfigProblems`: what is wrong with the site, the plant or the options.
    """
    field = Field()
    loaded = load_site(path, field.drivers(drivers), KINDS)
    uplinks = frozenset(uplink.id for uplink in loaded.uplinks if alone)
    site = replace(loaded, uplinks=(), bms=None) if alone else loaded
    file = read_plant(site.file.with_name(PLANT) if plant is None else plant)
    if not file.problems:
        field.rig = file.rig(equipment or {}, marks or file.marks, _simulated(site), minute)
        field.cells.update(file.cells(field.rig, places(site)))
        field.cells.update(_cells(site))
    if file.problems:
        raise ConfigProblems(file.problems)
    return Setting(site, field, uplinks)


def _cells(site: Site) -> dict[str, Cell]:
    """What stands behind the points of the simulated driver: their own variables."""
    return {
        point.id: Cell(device.config.model, point.config.variable, point.scale, point.offset)
        for bus in site.buses if bus.kind.simulated
        for device in bus.devices for point in device.points
    }  # fmt: skip


def places(site: Site) -> dict[str, dict[str, Place]]:
    """The points of a site's real devices, by device and name, as a plant file sees them."""
    index = site.index()
    return {
        device.id: {
            point.id.removeprefix(f"{device.id}."): _place(site.points[index[point.id]], point)
            for point in device.points
        }
        for bus in site.buses if not bus.kind.simulated for device in bus.devices
    }  # fmt: skip


def _place(point: Point, field: FieldPoint) -> Place:
    value = point.output.default if point.output is not None else math.nan
    if math.isnan(value) and not point.unit:
        value = 0.0
    return Place(point.unit, field.readable, field.writable, value)


def _simulated(site: Site) -> set[str]:
    return {d.config.model for b in site.buses if b.kind.simulated for d in b.devices}
