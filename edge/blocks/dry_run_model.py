"""What a technician says about a dry-run protection, and what is wrong with it (domain §1.11).

Options only; what they mean is `dry_run.py`, whose kind uses them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import Input, Source, Trips
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Level = Annotated[float, Quantity("m"), Field(ge=0, le=100)]
Delay = Annotated[Duration, Field(le=600)]
Speed = Annotated[float, Quantity("%"), Field(gt=0, le=100)]
Flow = Annotated[float, Quantity("m³/h"), Field(gt=0)]


class DryRun(Model):
    """Give what the plant measures; each part works alone.

    Tank: below `low_low` it stops, above `restart_level` (0.3 m higher unless given) it may run
    again. `float_switch` is 1 while there is water; it stands in for a level that is lost, and
    stops the pumps when it falls. `suction` is a pressure; in sets connected to the main write
    `minimum_suction: 0.10 MPa`.

    No flow and underload are judged while pumps run: `speed` is their feedback, `running` how many
    of them run (a contact is one). What flow should be there comes from `expected_flow` of one pump
    and `no_flow_speed`, or from the curve H0·s² - a·Q² (`shutoff_head`, `curve`) with `setpoint`.
    `closed_power` is what one pump takes at full speed against a shut valve, measured at
    commissioning.

    `restarts` are those of an hour; 0: a person always resets. `on_bad` says what it means when a
    level or suction stays bad for 10 s and nothing else tells of water; a bad flow, power or
    temperature never trips.
    """

    trip: Annotated[tuple[str, ...], Trips(), Field(min_length=1)]
    level: Annotated[Source | None, Input("m")] = None
    float_switch: Annotated[Source | None, Input("")] = None
    suction: Annotated[Source | None, Input("MPa")] = None
    speed: Annotated[Source | None, Input("%")] = None
    running: Annotated[Source | None, Input("")] = None
    flow: Annotated[Source | None, Input("m³/h")] = None
    power: Annotated[Source | None, Input("kW")] = None
    pressure: Annotated[Source | None, Input("MPa")] = None
    setpoint: Annotated[Source | None, Input("MPa")] = None
    temperature: Annotated[Source | None, Input("°C")] = None
    low_low: Level | None = None
    restart_level: Level | None = None
    level_delay: Delay = 0.0
    minimum_suction: Annotated[float, Quantity("MPa"), Field(ge=-0.1, le=1)] = 0.02
    suction_delay: Delay = 5.0
    expected_flow: Flow | None = None
    no_flow_speed: Speed | None = None
    shutoff_head: Annotated[float, Quantity("m"), Field(gt=0)] | None = None
    curve: Annotated[float, Field(gt=0)] | None = None
    flow_delay: Delay = 20.0
    closed_power: Annotated[float, Quantity("kW"), Field(gt=0)] | None = None
    power_delay: Delay = 10.0
    maximum_temperature: Annotated[float, Quantity("°C"), Field(gt=0, le=250)] | None = None
    temperature_delay: Delay = 10.0
    restart_delay: Annotated[Duration, Field(le=3600)] = 60.0
    restarts: Annotated[int, Field(ge=0, le=10)] = 3
    on_bad: Literal["trip", "ok"] = "trip"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        watched = (self.level, self.float_switch, self.suction, self.flow, self.power)
        known_flow = self.expected_flow is not None or self.curve is not None
        known_speed = self.no_flow_speed is not None or self.shutoff_head is not None
        turning = self.speed is not None or self.running is not None
        judged = self.flow is not None or self.power is not None
        refused = (
            (all(x is None for x in (*watched, self.temperature)), _NOTHING),
            (self.level is not None and self.low_low is None, _NO_LOW_LOW),
            (self.low_low is not None and self.restart_level is not None
             and self.restart_level <= self.low_low, _CROSSED),
            (self.flow is not None and not (known_flow and known_speed), _NO_FLOW),
            (self.curve is not None and None in (self.shutoff_head, self.setpoint), _NO_CURVE),
            (self.power is not None and self.closed_power is None, _NO_POWER),
            (judged and not turning, _NO_SPEED),
            (self.temperature is not None and self.maximum_temperature is None, _NO_MAXIMUM),
        )  # fmt: skip
        for wrong, text in refused:
            if wrong:
                raise Refusal(text)
        return self


_NOTHING = Text(
    "没有可看的量: 请给 level、float_switch、suction、flow、power 或 temperature",
    "nothing to look at: give level, float_switch, suction, flow, power or temperature",
)
_NO_LOW_LOW = Text("level 要有 low_low (停泵水位)", "level needs low_low, where the pumps stop")
_CROSSED = Text("restart_level 必须高于 low_low", "restart_level must be above low_low")
_NO_FLOW = Text(
    "flow 要有 expected_flow 和 no_flow_speed, 或 shutoff_head、curve 和 setpoint",
    "flow needs expected_flow and no_flow_speed, or shutoff_head, curve and setpoint",
)
_NO_CURVE = Text(
    "curve 要同时给出 shutoff_head 和 setpoint", "curve needs shutoff_head and setpoint with it"
)
_NO_POWER = Text(
    "power 要有 closed_power (闭阀全速功率, 调试时实测)",
    "power needs closed_power, measured against a shut valve at full speed",
)
_NO_SPEED = Text(
    "flow 和 power 要知道泵是否在转: 请给 speed 或 running",
    "flow and power need to know whether pumps turn: give speed or running",
)
_NO_MAXIMUM = Text("temperature 要有 maximum_temperature", "temperature needs maximum_temperature")
