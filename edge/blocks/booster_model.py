"""What a technician says about a booster set, and what is wrong with it (domain §1.10).

Options only; how they are laid out is `booster_layout.py`. Used by the kind in `booster.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.booster_layout import (
    DAY_AT,
    DAY_HEAD,
    HOUR_NEXT,
    HOUR_SUM,
    HOUR_TIME,
    HOURLY,
    HOURS_KEPT,
    LEARNT,
    MPA_PER_METRE,
    PUMPS,
    STARVED,
    WAKE_NEXT,
    WAKES,
    WAKES_KEPT,
)
from edge.blocks.kind import Input, Known, Source
from edge.blocks.pumps import Pump, pump_memory
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration, Quantity
from edge.text import Text

Percent = Annotated[float, Quantity("%"), Field(gt=0, le=100)]
Pressure = Annotated[float, Quantity("MPa"), Field(gt=0)]
Difference = Annotated[float, Quantity("MPa", difference=True), Field(ge=0)]
Flow = Annotated[float, Quantity("m³/h"), Field(gt=0)]
Positive = Annotated[Duration, Field(gt=0)]


class Booster(Model):
    """`duty` is how many pumps may run together (left out: all but one); the others stand by.

    `kp` is % of speed per MPa, `setpoint_ramp` MPa/s, `slew` %/s. `shutoff_head` is H0: what one
    pump lifts at full speed against a shut valve; with it follow the lowest speed, the cap of the
    fallback speed, the speeds at which pumps are stopped and when the set may sleep. (The rest of
    the pump curve cancels out of all of them.) Without it, it is learnt from a day of supply; until
    then `destage_speed` says when a pump stops. `fallback_speed` left out: the usual speed of the
    last 24 hours. `rating` is the pipes' pressure class. Set `filter` to 0 when the input is
    filtered.

    A pump that tripped or failed to start stays out until a person resets the rule (`edge reset`),
    or `reset` is 1; where fewer than `duty` are left, a failed start is tried again after `retry`.
    A `correction` that resets a drive resets its pump; let its `fault` ask for the pump's state as
    well, where the drive's contact opens by itself. A loop that hunts gets half its `kp`, at most
    twice, until it is reset or an option changes.

    `permissive` true: there is water to pump, asked before a start. `friction` and `design_flow`
    make the pressure proportional: at no flow it is lower by `friction`. `sleep_flow` is the flow
    below which a set with a flow meter sleeps. `suction_setpoint`: connected to the mains without a
    tank; below `suction_limit` (left out: 0.10 MPa) everything stops. `single_vfd`: one pump on a
    converter leads and the others run at full speed. `elevation` is by how much the sensor stands
    above the lowest dwelling (negative: below), for the check of the static pressure.
    """

    pressure: Annotated[Source, Input("MPa")]
    second: Annotated[Source | None, Input("MPa")] = None
    setpoint: Annotated[Source, Input("MPa")]
    flow: Annotated[Source | None, Input("m³/h")] = None
    suction: Annotated[Source | None, Input("MPa")] = None
    permissive: Annotated[Source, Input("")] = 1.0
    enable: Annotated[Source, Input("")] = 1.0
    reset: Annotated[Source | None, Input("")] = None
    pumps: tuple[Pump, ...] = Field(min_length=1, max_length=8)
    duty: Annotated[int, Field(ge=1, le=8)] | None = None
    mode: Literal["multi_vfd", "single_vfd"] = "multi_vfd"
    lead: Literal["least_runtime", "fixed"] = "least_runtime"
    kp: Annotated[float, Field(ge=10, le=2000)] = 400.0
    ti: Annotated[Duration, Field(ge=1, le=600)] = 6.0
    setpoint_ramp: Annotated[float, Field(gt=0, le=1)] = 0.02
    deadband: Annotated[float, Quantity("MPa", difference=True), Field(ge=0, le=0.05)] = 0.002
    slew: Annotated[float, Field(gt=0, le=100)] = 10.0
    filter: Annotated[Duration, Field(le=60)] = 2.0
    minimum_speed: Percent | None = None
    shutoff_head: Annotated[float, Quantity("m"), Field(gt=0)] | None = None
    fallback_speed: Annotated[float, Quantity("%"), Field(gt=0, le=95)] | None = None
    sensor_hold: Duration = 30.0
    start_time: Annotated[Duration, Field(ge=1, le=60)] = 5.0
    retry: Duration = 600.0
    over_pressure: Pressure = 0.10
    rating: Pressure | None = None
    friction: Difference | None = None
    design_flow: Flow | None = None
    proportional: Literal["quadratic", "linear"] = "quadratic"
    fill_speed: Annotated[float, Quantity("%"), Field(ge=30, le=85)] = 70.0
    fill_timeout: Positive = 600.0
    stage_up: Annotated[Duration, Field(ge=3, le=60)] = 8.0
    stage_lock: Annotated[Duration, Field(ge=5, le=120)] = 15.0
    stage_down: Annotated[Duration, Field(ge=10, le=300)] = 20.0
    destage_speed: Percent | None = None
    max_lead_run: Positive = 86400.0
    sleep: bool = True
    sleep_flow: Flow | None = None
    sleep_boost: Annotated[float, Quantity("MPa", difference=True), Field(ge=0, le=0.1)] = 0.02
    max_wakes: Annotated[int, Field(ge=1, lt=WAKES_KEPT)] = 10
    suction_setpoint: Pressure | None = None
    suction_limit: Pressure | None = None
    elevation: Annotated[float, Quantity("m", difference=True)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: Any) -> Any:
        """What follows from other options: the duty pumps, and the suction limit of the mains."""
        if not isinstance(value, dict):
            return value
        pumps = value.get("pumps")
        derived: dict[str, object] = {}
        if value.get("duty") is None and isinstance(pumps, list | tuple):
            derived["duty"] = max(1, len(pumps) - 1)
        if value.get("suction_setpoint") is not None and value.get("suction_limit") is None:
            derived["suction_limit"] = 0.10
        return {**value, **derived}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for wrong, text in self._wrong():
            if wrong:
                raise Refusal(text)
        return self

    def _wrong(self) -> Iterator[tuple[bool, Text]]:
        pumps, drives = len(self.pumps), sum(pump.speed is not None for pump in self.pumps)
        yield (
            (self.duty or 0) > pumps,
            Text(
                f"duty 为 {self.duty}, 但只有 {pumps} 台泵",
                f"duty is {self.duty}, but there are only {pumps} pumps",
            ),
        )
        yield (
            self.mode == "multi_vfd" and drives < pumps,
            Text(
                "multi_vfd 的每台泵都需要 speed; 只有一台变频时用 mode: single_vfd",
                "with multi_vfd every pump takes a speed; with one drive say mode: single_vfd",
            ),
        )
        yield drives == 0, Text("至少一台泵需要 speed", "at least one pump takes a speed")
        proportional = self.friction is not None
        complete = self.design_flow is not None and self.flow is not None
        yield (
            proportional and not complete,
            Text(
                "friction 还需要 flow 和 design_flow", "friction takes flow and design_flow as well"
            ),
        )
        yield (
            self.sleep_flow is not None and self.flow is None,
            Text("sleep_flow 还需要 flow", "sleep_flow takes flow as well"),
        )
        limited = self.suction_setpoint is not None or self.suction_limit is not None
        yield (
            limited and self.suction is None,
            Text(
                "suction_setpoint 和 suction_limit 还需要 suction",
                "suction_setpoint and suction_limit take suction as well",
            ),
        )
        setpoint, limit = self.suction_setpoint, self.suction_limit
        yield (
            setpoint is not None and limit is not None and limit >= setpoint,
            Text(
                "suction_limit 必须低于 suction_setpoint",
                "suction_limit must be below suction_setpoint",
            ),
        )


def memory(model: Booster) -> dict[str, int]:
    """What outlives a change of options. The usual speed is that of a setpoint and of the pumps."""
    usual = {"hour": HOUR_TIME, "sum": HOUR_SUM, "next": HOUR_NEXT}
    usual |= {str(k): HOURLY + k for k in range(HOURS_KEPT)}
    of = f"{model.mode} at {model.setpoint} with {[pump.run for pump in model.pumps]}"
    return {
        **{f"usual speed {name} of {of}": at for name, at in usual.items()},
        **{f"wake {k}": WAKES + k for k in range(WAKES_KEPT)},
        "next wake": WAKE_NEXT,
        "learnt head": LEARNT,
        "head of the day": DAY_HEAD,
        "begin of the day": DAY_AT,
        "suction low": STARVED,
        **pump_memory(model.pumps, PUMPS),
    }


DWELLING, ZONE = 0.35, 0.45  # MPa static at a dwelling's inlet, in a zone
RAMP_MARGIN = 5.0  # s that a pump needs beyond its ramp to be felt
FILL_MARGIN = 0.6  # of the setpoint's head that the fill speed must reach


def advice(model: Booster, known: Known) -> tuple[Text, ...]:
    """What a set will do badly: start a needless pump, give the lowest dwelling too much pressure,
    never fill its pipe."""
    found = []
    ramp = 100.0 / model.slew
    if model.stage_lock < ramp + RAMP_MARGIN:
        found.append(
            Text(
                f"stage_lock 应不短于启动爬升时间加 {RAMP_MARGIN:g} s ({ramp + RAMP_MARGIN:g} s), "
                "否则新泵尚未到速就再加泵",
                f"stage_lock must last the ramp of a start and {RAMP_MARGIN:g} s more"
                f" ({ramp + RAMP_MARGIN:g} s), or another pump starts before this one delivers",
            )
        )
    setpoint = known(model.setpoint, "MPa")
    if setpoint is None:
        return tuple(found)
    if model.elevation is not None:
        static = setpoint + model.elevation * MPA_PER_METRE
        limit = ZONE if static > ZONE else DWELLING
        if static > limit:
            found.append(
                Text(
                    f"最低用户处静压 {static:.2f} MPa, 超过 {limit} MPa"
                    f" (分区静压 ≤ {ZONE}, 入户 ≤ {DWELLING}): 降低设定值, 分区或加减压阀",
                    f"the lowest dwelling gets {static:.2f} MPa at rest, above {limit} MPa"
                    f" (zones ≤ {ZONE}, dwellings ≤ {DWELLING}): lower the setpoint, divide the"
                    " zone or reduce the pressure",
                )
            )
    if model.shutoff_head is not None:
        lifted = (model.fill_speed / 100) ** 2 * model.shutoff_head * MPA_PER_METRE
        if lifted <= FILL_MARGIN * setpoint:
            found.append(
                Text(
                    f"充水转速 {model.fill_speed:g} % 只能到 {lifted:.2f} MPa,"
                    f" 应高于设定值的 60 % ({FILL_MARGIN * setpoint:.2f} MPa): 提高 fill_speed",
                    f"at the fill speed of {model.fill_speed:g} % a pump reaches {lifted:.2f} MPa,"
                    f" not 60 % of the setpoint ({FILL_MARGIN * setpoint:.2f} MPa): raise"
                    " fill_speed",
                )
            )
    return tuple(found)
