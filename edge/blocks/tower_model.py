"""What a technician says about a cooling tower, and what is wrong with it (domain §1.16).

Options only; what they mean is `cooling_tower.py`, whose kind uses them.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import Input, Source, Target
from edge.blocks.tower_guard import Band
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Temperature = Annotated[float, Quantity("°C"), Field(ge=-10, le=60)]
Kelvin = Annotated[float, Quantity("K", difference=True), Field(gt=0, le=20)]
Percent = Annotated[float, Quantity("%"), Field(gt=0, le=100)]
Level = Annotated[float, Quantity("m"), Field(ge=0, le=20)]


class Cell(Model):
    """One fan. With a drive: `run` and `speed`. Two-speed: `run` is the contactor of the low speed,
    `high` that of the high one. `running`, `fault` and `hoa` as of a pump.
    """

    run: Annotated[str, Target("")]
    speed: Annotated[str | None, Target("%")] = None
    high: Annotated[str | None, Target("")] = None
    running: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    hoa: Annotated[Source | None, Input("")] = None


class CoolingTower(Model):
    """SP = max(`setpoint_min`, wet bulb + `approach`); `setpoint` where there is no wet bulb.

    `kp` is %/K. `enable` 0 stops the fans (no condenser water). `bands` are skipped speeds.
    `makeup` opens below `basin_low` and shuts at `basin_high`; `pump_permitted` says that there is
    water, from `basin_low` on until it falls below `basin_stop`: write an interlock on it. Minimum
    times and starts per hour stand at the output points.
    """

    makeup: Annotated[str | None, Target("")] = None
    heater: Annotated[str | None, Target("")] = None
    leaving: Annotated[Source, Input("°C")]
    wet_bulb: Annotated[Source | None, Input("°C")] = None
    enable: Annotated[Source | None, Input("")] = None
    basin_level: Annotated[Source | None, Input("m")] = None
    basin_temperature: Annotated[Source | None, Input("°C")] = None
    reset: Annotated[Source | None, Input("")] = None
    cells: tuple[Cell, ...] = Field(min_length=1, max_length=16)
    bands: tuple[Band, ...] = ()
    setpoint_min: Temperature = 20.0
    approach: Kelvin = 4.0
    setpoint: Temperature = 30.0
    kp: Annotated[float, Field(gt=0, le=100)] = 8.0
    ti: Annotated[Duration, Field(ge=10, le=3600)] = 180.0
    minimum_speed: Percent = 30.0
    slew: Annotated[float, Field(gt=0, le=20)] = 1.0
    hysteresis: Kelvin = 1.0
    stage_time: Annotated[Duration, Field(ge=30)] = 300.0
    up_delay: Duration = 10.0
    coast: Duration = 30.0
    freeze: Temperature = 5.0
    fallback_speed: Percent = 60.0
    hold: Duration = 30.0
    start_time: Annotated[Duration, Field(ge=1, le=120)] = 30.0
    retry: Duration = 1800.0
    basin_low: Level = 0.30
    basin_high: Level = 0.45
    basin_stop: Level = 0.10
    heater_on: Temperature = 4.0

    @model_validator(mode="after")
    def _one_sort_of_fans(self) -> Self:
        drives = [cell.speed is not None for cell in self.cells]
        fast = [cell.high is not None for cell in self.cells]
        if (any(drives) and (not all(drives) or any(fast))) or (any(fast) and not all(fast)):
            raise Refusal(
                Text(
                    "各风机应同一方式: 都有 speed, 或都有 high, 或都没有",
                    "the cells must be of one sort: all with speed, all with high, or all without",
                )
            )
        if (self.makeup and self.basin_level is None) or (
            self.heater and self.basin_temperature is None
        ):
            raise Refusal(
                Text(
                    "makeup 还需要 basin_level, heater 还需要 basin_temperature",
                    "makeup takes basin_level as well, heater takes basin_temperature",
                )
            )
        if not self.basin_stop < self.basin_low < self.basin_high:
            raise Refusal(
                Text(
                    "水位次序为 basin_stop < basin_low < basin_high",
                    "the levels are basin_stop < basin_low < basin_high",
                )
            )
        return self
