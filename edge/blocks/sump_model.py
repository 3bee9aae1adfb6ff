"""What a technician says about a sump, and what is wrong with it (domain §1.14).

Options only; what they mean is `sump.py`, whose kind uses them.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from edge.blocks.kind import Input, Known, Source
from edge.blocks.motor import Motor
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Level = Annotated[float, Quantity("m"), Field(ge=0, le=50)]


class Sump(Model):
    """Levels are those of the transmitter; `float_switch` is the high-high float, 1 when it is up.

    `area` is the pit's in m², `capacity` what one pump did at commissioning: with them inflow,
    capacity and wear are shown. `rising_rate` is m/min, `rising_time: null` switches that rule off.
    After the float has fallen and where the level cannot be believed the pumps go on for
    `float_run`; so they do at `stop` while the float is up although the level fell with them: then
    it seems stuck, they rest for `retry`, and try again. A rise of `test` starts the readiness
    test. Minimum off-times and starts per hour stand at the output points.
    """

    level: Annotated[Source, Input("m")]
    float_switch: Annotated[Source | None, Input("")] = None
    test: Annotated[Source | None, Input("")] = None
    reset: Annotated[Source | None, Input("")] = None
    pumps: tuple[Motor, ...] = Field(min_length=1, max_length=4)
    area: Annotated[float, Field(gt=0, le=10000)] | None = None
    capacity: Annotated[float, Quantity("m³/h"), Field(gt=0)] | None = None
    stop: Level = 0.40
    start_lead: Level = 0.90
    start_lag: Level = 1.10
    high_high: Level = 1.30
    spill: Level = 1.60
    rising_rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    rising_time: Annotated[Duration, Field(ge=30, le=3600)] | None = 120.0
    start_time: Annotated[Duration, Field(ge=1, le=60)] = 5.0
    retry: Duration = 600.0
    longest_run: Annotated[Duration, Field(ge=60)] = 3600.0
    exercise: Annotated[Duration, Field(ge=0, le=60)] = 10.0
    exercise_after: Annotated[Duration, Field(ge=86400)] = 7 * 86400.0
    float_run: Annotated[Duration, Field(ge=0, le=3600)] = 120.0
    hold: Duration = 30.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = ("stop", "start_lead", "start_lag", "high_high", "spill")
        levels = [getattr(self, name) for name in names]
        for i in range(4):
            below = levels[i] <= levels[i + 1] if i == 3 else levels[i] < levels[i + 1]
            if not below:
                low, high = names[i], names[i + 1]
                raise Refusal(
                    Text(
                        f"{low} ({levels[i]:g} m) 应低于 {high} ({levels[i + 1]:g} m); 水位次序为 "
                        f"stop < start_lead < start_lag < high_high ≤ spill",
                        f"{low} ({levels[i]:g} m) must be below {high} ({levels[i + 1]:g} m); the "
                        f"levels are stop < start_lead < start_lag < high_high ≤ spill",
                    )
                )
        return self


USUAL_STARTS = 6.0  # an hour that a submersible pump may make (domain §1.4)


def advice(model: Sump, _: Known) -> tuple[Text, ...]:
    """What wears the pumps out: at an inflow of half a pump the pit needs Z = Qp/(4·V) starts an
    hour, shared by the pumps that take turns."""
    if model.area is None or model.capacity is None:
        return ()
    volume = model.area * (model.start_lead - model.stop)
    starts = model.capacity / (4.0 * volume) / len(model.pumps)
    if starts <= USUAL_STARTS:
        return ()
    return (
        Text(
            f"每台泵每小时可能启动 {starts:.0f} 次, 潜水泵一般不超过 {USUAL_STARTS:g} 次: "
            f"stop 与 start_lead 之间只有 {volume:.2g} m³, 拉开两个水位",
            f"each pump may start {starts:.0f} times an hour, where {USUAL_STARTS:g} are usual: "
            f"there are only {volume:.2g} m³ between stop and start_lead; set them farther apart",
        ),
    )
