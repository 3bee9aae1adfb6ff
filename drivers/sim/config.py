"""What a site may say of a simulated bus, its devices and their points.

Only shapes; which variable belongs to which model is known by `drivers/sim/rig.py`. Used by
`edge.site` through the `DriverKind`.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, Field

from drivers.sim.models import MODELS
from edge.schema.model import Model, Refusal
from edge.text import Text

VARIABLES = frozenset(variable for make in MODELS.values() for variable in make().readings())


def _known_model(name: str) -> str:
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise Refusal(
            Text(f'没有模型 "{name}"; 可用: {known}', f'no model "{name}"; there are {known}')
        )
    return name


def _known_variable(name: str) -> str:
    if name not in VARIABLES:
        near = ", ".join(get_close_matches(name, sorted(VARIABLES), 3)) or "–"
        raise Refusal(
            Text(f'没有变量 "{name}"; 相近的有: {near}', f'no variable "{name}"; near it: {near}')
        )
    return name


class SimBus(Model):
    """A plant in the machine's memory: each model stands in it once, devices share it."""

    speed: float = Field(1.0, gt=0, le=3600, description="simulated seconds per second")
    noise: float = Field(0.0, ge=0, le=10, description="sensor noise: 0 none, 1 realistic")
    seed: int = Field(1, description="equal seeds give equal noise")


class SimDevice(Model):
    """A device is a view on one model; two devices may look at the same one."""

    model: Annotated[str, AfterValidator(_known_model)] = Field(description=", ".join(MODELS))


class SimPoint(Model):
    """A point is one variable of the device's model."""

    variable: Annotated[str, AfterValidator(_known_variable)] = Field(
        description="the model's name for it, e.g. discharge_pressure"
    )
    readable: bool = Field(
        default=True, description="whether the device shows it; a command may be hidden"
    )
