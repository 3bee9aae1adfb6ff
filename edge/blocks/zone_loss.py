"""Localisation of a zone's pressure loss: valve, burst, restriction, sensor or supply (§1.12).

Model, texts and alarms of the kind; how it decides is `zone_verdict`. One rule serves a header and
all zones on it, since only together they tell a lost supply from a local cause.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.blocks.kind import AlarmTemplate, Example, Input, Kind, Published, Source
from edge.blocks.zone_verdict import (
    BRANCH,
    BURST,
    GROUP_STATES,
    NORMAL,
    RESTRICTION,
    SENSOR,
    SUPPLY,
    UNDETERMINED,
    VALVE,
    VALVE_OR_BURST,
    ZONE_STATES,
    zone_loss_step,
)
from edge.image.slots import Slot
from edge.schema.model import Model, Refusal, Words
from edge.schema.units import Duration, Quantity
from edge.text import Text

Pressure = Annotated[float, Quantity("MPa", difference=True), Field(gt=0, le=1)]
Flow = Annotated[float, Quantity("m³/h"), Field(ge=0)]


class Zone(Model):
    """A zone behind its valve. `id` names its points and alarms: zone3 gives ZONE3_VALVE_DEVIATION.

    `raw` is the pressure before conditioning, when `pressure` is conditioned. `baseline` is the
    usual flow of this hour (a number or a point), `sigma` its spread, 15 % of it when left out.
    `kvs` in m³/h at 1 bar; `travel` is a full stroke. `branch` numbers the riser that it shares
    with others, 0 for none.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: Words | None = None
    pressure: Annotated[Source, Input("MPa")]
    raw: Annotated[Source | None, Input("MPa")] = None
    flow: Annotated[Source | None, Input("m³/h")] = None
    baseline: Annotated[Source | None, Input("m³/h")] = None
    command: Annotated[Source, Input("%")]
    position: Annotated[Source, Input("%")]
    curve: Literal["linear", "equal_percentage"] = "linear"
    kvs: Annotated[float, Field(gt=0)]
    rangeability: Annotated[float, Field(ge=10, le=200)] = 50.0
    branch: Annotated[int, Field(ge=0, le=99)] = 0
    low: Annotated[float, Quantity("MPa"), Field(gt=0)] | None = None
    sigma: Flow | None = None
    travel: Annotated[Duration, Field(gt=0, le=600)] = 50.0


class ZoneLoss(Model):
    """A header and its zones. A loss is a fall by `drop` within `window`, by `slow_drop` within
    `slow_window`, or 3 s below a zone's `low`. The verdict falls `confirm` after it, when every
    meter was read once more: give at least the slowest poll. `margin` is the least pressure drop
    over a valve that its Kv is computed from: 0.03 MPa or 5 x the combined sensor error.
    """

    header: Annotated[Source, Input("MPa")]
    zones: tuple[Zone, ...] = Field(min_length=1, max_length=64)
    drop: Pressure = 0.06
    window: Annotated[Duration, Field(ge=2, le=60)] = 5.0
    slow_drop: Pressure = 0.05
    slow_window: Annotated[Duration, Field(ge=60, le=3600)] = 600.0
    margin: Pressure = 0.03
    confirm: Annotated[Duration, Field(le=5)] = 1.0

    @model_validator(mode="after")
    def _ids_once(self) -> Self:
        ids = [zone.id for zone in self.zones]
        for id in ids:
            if ids.count(id) > 1:
                raise Refusal(Text(f'分区 "{id}" 重复', f'zone "{id}" stands here twice'))
        return self


VERDICTS = {
    NORMAL: Text("正常", "normal"),
    SENSOR: Text("压力传感器故障", "pressure sensor fault"),
    SUPPLY: Text("总供水压力丢失", "supply lost"),
    BRANCH: Text("支管压力丢失", "branch lost"),
    VALVE: Text("阀门位置偏差", "valve deviation"),
    RESTRICTION: Text("堵塞或假反馈", "restriction or false feedback"),
    BURST: Text("疑似爆管或大用水", "burst or large demand"),
    VALVE_OR_BURST: Text("阀门或爆管(无流量计)", "valve or burst, no flow meter"),
    UNDETERMINED: Text("原因未定", "undetermined"),
}

_VALVE_CHECKS = (
    Text("检查执行器电源", "check the actuator's power"),
    Text("查看手动手柄是否被操作", "see whether the hand lever was used"),
    Text("检查阀杆", "check the stem"),
)
_BURST_CHECKS = (
    Text("沿线巡查", "walk the route"),
    Text("必要时关阀隔离: {valve}", "isolate if needed, with {valve}"),
    Text("通知住户", "notify the residents"),
)
_PIPE_CHECKS = (
    Text("检查过滤器", "check the strainer"),
    Text("检查阀门联轴器", "check the valve's coupling"),
    Text("检查隔离阀是否全开", "are the isolating valves open?"),
)
_SENSOR_CHECKS = (
    Text("核对就地压力表", "compare with the local gauge"),
    Text("检查传感器接线与电源", "check the sensor's wiring and supply"),
    Text("检查取压管是否堵塞", "check the impulse pipe for blockage"),
)
_SUPPLY_CHECKS = (
    Text("水泵是否运行", "are the pumps running?"),
    Text("查看进水压力和水箱水位", "look at inlet pressure and tank level"),
    Text("查看总管阀门", "look at the main valves"),
)

# verdict, what the alarm is called, zh, en, priority, on delay, first checks
_ZONE_ALARMS = (
    (SENSOR, "SENSOR", "压力传感器故障", "pressure sensor fault", 3, 0.0, _SENSOR_CHECKS),
    (VALVE, "VALVE_DEVIATION", "阀门位置偏差", "valve deviation", 2, 0.0, _VALVE_CHECKS),
    (RESTRICTION, "RESTRICTION", "堵塞/假反馈", "restriction or false feedback", 2, 10.0,
     _PIPE_CHECKS),
    (BURST, "BURST_OR_DEMAND", "疑似爆管", "burst suspected, or a large demand", 1, 5.0,
     _BURST_CHECKS),
    (VALVE_OR_BURST, "VALVE_OR_BURST", "压力下降: 阀门或爆管", "pressure lost: valve or burst",
     2, 5.0, _VALVE_CHECKS + _BURST_CHECKS),
    (UNDETERMINED, "PRESSURE_LOSS", "压力下降, 原因未定", "pressure lost, cause not determined",
     3, 5.0, _VALVE_CHECKS + _BURST_CHECKS),
)  # fmt: skip

_POINT = re.compile(r"[A-Za-z_]\w*(\.\w+)+", re.ASCII)


def _publishes(model: ZoneLoss) -> tuple[Published, ...]:
    points = [
        Published("verdict", "", Text("共同原因判定", "common verdict"), VERDICTS),
        Published("branch", "", Text("失压支管号", "branch that was lost")),
    ]
    for zone in model.zones:
        name = zone.name or Text(zone.id, zone.id)

        def text(zh: str, en: str, name: Text = name) -> Text:
            return Text(f"{name.zh}{zh}", f"{name.en} {en}")

        points += [
            Published(zone.id, "", text("失压判定", "verdict"), VERDICTS),
            Published(f"{zone.id}_confidence", "", text("判定置信度", "confidence")),
            Published(f"{zone.id}_r", "", text("流通能力比 r", "Kv ratio r")),
            Published(f"{zone.id}_fall", "MPa", text("压力降幅", "pressure fall")),
            Published(f"{zone.id}_pressure", "MPa", text("压力(经判定)", "pressure, judged")),
        ]
    return tuple(points)


def _alarms(model: ZoneLoss) -> tuple[AlarmTemplate, ...]:
    common = [
        AlarmTemplate(
            f"{{RULE}}_{name}", f"{{rule}}.verdict == {verdict}", 2, text, _SUPPLY_CHECKS,
            shows=("{rule}.verdict", "{rule}.branch", *_shown(model.header)),
            consequence=Text("多个分区压力低", "several zones are low"),
        )
        for verdict, name, text in (
            (SUPPLY, "SUPPLY", Text("总供水压力丢失", "Supply pressure lost")),
            (BRANCH, "BRANCH", Text("支管压力丢失", "Branch pressure lost")),
        )
    ]  # fmt: skip
    return tuple(common) + tuple(a for zone in model.zones for a in _zone_alarms(zone))


def _zone_alarms(zone: Zone) -> tuple[AlarmTemplate, ...]:
    name, point = zone.name or Text(zone.id, zone.id), f"{{rule}}.{zone.id}"
    shows = (
        *_shown(zone.command, zone.position, zone.pressure, zone.flow),
        f"{point}_fall", f"{point}_r", f"{point}_confidence",
    )  # fmt: skip
    alarms = [
        AlarmTemplate(
            f"{zone.id.upper()}_{suffix}", f"{point} == {verdict}", priority,
            Text(f"{name.zh}{zh}", f"{name.en}: {en}"),
            tuple(check.format(valve=zone.command) for check in checks),
            on_delay=delay, shows=shows,
        )
        for verdict, suffix, zh, en, priority, delay, checks in _ZONE_ALARMS
    ]  # fmt: skip
    if zone.low is not None:
        alarms.append(
            AlarmTemplate(
                f"{zone.id.upper()}_P_LOW", f"{point}_pressure < {zone.low}", 2,
                Text(f"{name.zh}供水压力低", f"{name.en}: supply pressure low"),
                _SUPPLY_CHECKS + _VALVE_CHECKS[:1], on_delay=5.0,
                # Clears before the verdict ends (10 s after recovery), or it would show then.
                off_delay=5.0,
                suppressed_by=f"{point} != 0", shows=shows,
            )
        )  # fmt: skip
    return tuple(alarms)


def _shown(*sources: Source | None) -> tuple[str, ...]:
    return tuple(s for s in sources if isinstance(s, str) and _POINT.fullmatch(s))


ZONE_LOSS = Kind(
    name="zone_loss",
    model=ZoneLoss,
    step=zone_loss_step,
    text=Text("区域压降定位", "zone pressure-loss localisation"),
    every=0.5,
    slot=Slot.CONTROL,
    publishes=_publishes,
    states=lambda model: GROUP_STATES + ZONE_STATES * len(model.zones),
    alarms=_alarms,
    positions=lambda model: {str(zone.command): zone.position for zone in model.zones},
    explains=lambda model: {
        str(zone.command): f"{{rule}}.{zone.id} != {NORMAL}" for zone in model.zones
    },
    examples=(
        Example(
            "the plug is at 20 % although the feedback says 80 %: r = 0.25",
            {
                "header": "header.pressure",
                "confirm": "0s",
                "zones": [
                    {"id": "zone3", "pressure": "z3.pressure", "flow": "z3.flow", "baseline": 6.0,
                     "command": "v3.command", "position": "v3.position", "kvs": 22.0}
                ],
            },
            (
                (
                    0.0,
                    {"header.pressure": 0.41162, "z3.pressure": 0.4, "z3.flow": 6.0,
                     "v3.command": 80.0, "v3.position": 80.0},
                    {"zone3": NORMAL, "verdict": NORMAL},
                ),
                (0.5, {"z3.pressure": 0.281, "z3.flow": 5.03},
                 {"zone3": RESTRICTION, "zone3_confidence": 0.8, "zone3_fall": 0.119}),
                (1.0, {}, {"zone3": RESTRICTION, "verdict": NORMAL}),
            ),
        ),
    ),
)  # fmt: skip
