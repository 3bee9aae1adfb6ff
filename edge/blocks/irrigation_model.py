"""What a technician says about irrigation, its zones too, and what is wrong with it (domain §1.15).

Options only; what they mean is `irrigation.py`, whose kind uses them.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import Input, Source, Target
from edge.blocks.schedule import ClockTime
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Depth = Annotated[float, Quantity("m"), Field(ge=0, le=1)]


class Zone(Model):
    """`rate` is what the heads lay down in mm/h, `coefficient` the plants' Kc, `area` in m².

    `duration` is what it gets where no evaporation is known. On slopes: at most `cycle` at a time,
    then `soak`. `flow` left out: learnt in the first run. `soil` at or above `soil_limit` skips it.
    """

    valve: Annotated[str, Target("")]
    soil: Annotated[Source | None, Input("%")] = None
    rate: Annotated[float, Field(gt=0, le=200)] = 12.0
    coefficient: Annotated[float, Field(gt=0, le=2)] = 0.8
    efficiency: Annotated[float, Field(gt=0.1, le=1)] = 0.75
    area: Annotated[float, Field(gt=0, le=1e6)] | None = None
    duration: Annotated[Duration, Field(ge=0, le=7200)] | None = None
    cycle: Annotated[Duration, Field(ge=60)] | None = None
    soak: Duration = 1800.0
    flow: Annotated[float, Quantity("m³/h"), Field(gt=0)] | None = None
    soil_limit: Annotated[float, Quantity("%"), Field(gt=0, le=100)] = 60.0


class Irrigation(Model):
    """`et0` is the reference evaporation of the day, `rain` that of the last 24 h, both depths.

    `flow` is the meter behind the master valve. Watered daily from `begin` until `end` by the clock
    on the wall; what is not done by then is left. Wind above `wind_limit` shuts the valves until it
    was below 80 % of that for 5 min. A zone whose flow is wrong stays closed until `reset` or the
    next day; while zones run in parallel it is found by running them one at a time. `edge reset`
    frees closed zones too, and while none is closed it has all flows learnt again.
    """

    master: Annotated[str | None, Target("")] = None
    pump: Annotated[str | None, Target("")] = None
    et0: Annotated[Source | None, Input("m")] = None
    rain: Annotated[Source | None, Input("m")] = None
    wind: Annotated[Source | None, Input("mm/s")] = None
    air: Annotated[Source | None, Input("°C")] = None
    flow: Annotated[Source | None, Input("m³/h")] = None
    reset: Annotated[Source | None, Input("")] = None
    begin: ClockTime = "04:00"
    end: ClockTime = "07:00"
    zones: tuple[Zone, ...] = Field(min_length=1, max_length=48)
    max_parallel: Annotated[int, Field(ge=1, le=8)] = 1
    overlap: Annotated[Duration, Field(le=30)] = 2.0
    rain_limit: Depth = 0.005
    wind_limit: Annotated[float, Quantity("mm/s"), Field(gt=0)] = 8000.0
    frost_limit: Annotated[float, Quantity("°C"), Field(ge=-10, le=15)] = 4.0
    longest_day: Annotated[Duration, Field(gt=0, le=86400)] = 7200.0
    settle: Annotated[Duration, Field(ge=5, le=300)] = 20.0
    leak_flow: Annotated[float, Quantity("m³/h"), Field(gt=0)] = 0.05
    leak_time: Duration = 600.0

    @model_validator(mode="after")
    def _has_a_window_and_a_demand(self) -> Self:
        if seconds_of(self.begin) >= seconds_of(self.end):
            raise Refusal(
                Text(
                    f"begin {self.begin} 应早于 end {self.end}",
                    f"begin {self.begin} must be before end {self.end}",
                )
            )
        for i, zone in enumerate(self.zones, 1):
            if self.et0 is None and zone.duration is None:
                raise Refusal(
                    Text(
                        f"{i} 区既无 et0 也无 duration, 不知浇多久",
                        f"zone {i} has neither et0 nor a duration: for how long?",
                    )
                )
        return self


def seconds_of(clock: str) -> float:
    """Seconds after midnight of "04:00" or "04:00:30"."""
    parts = [int(part) for part in clock.strip().split(":")]
    return float(sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False)))
