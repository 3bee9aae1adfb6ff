"""Simulated equipment, one module for each kind of plant; `MODELS` is the table of all of them.

A model that is not listed does not exist. Used by `drivers/sim/rig.py` and by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drivers.sim.models.bearing import Machine
from drivers.sim.models.booster import Booster
from drivers.sim.models.cooling import Tower
from drivers.sim.models.day import Day
from drivers.sim.models.drainage import Sump
from drivers.sim.models.fire import FireMain
from drivers.sim.models.irrigation import Irrigation
from drivers.sim.models.lighting import Garage, Lobby, Outdoor
from drivers.sim.models.meter import Meter
from drivers.sim.models.model import Model
from drivers.sim.models.panel import IoModule
from drivers.sim.models.zones import ZoneNetwork

MODELS: Mapping[str, Callable[..., Model]] = {
    "booster": Booster,
    "zones": ZoneNetwork,
    "day": Day,
    "lobby": Lobby,
    "garage": Garage,
    "outdoor": Outdoor,
    "io": IoModule,
    "fire_main": FireMain,
    "sump": Sump,
    "irrigation": Irrigation,
    "tower": Tower,
    "bearing": Machine,
    "meter": Meter,
}
"""By the name that a site, a scenario or a plant calls them; arguments are the model's own."""
