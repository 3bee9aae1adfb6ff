"""Localisation of a zone's pressure loss: valve, burst, restriction, sensor or supply (§1.12).

Model, texts and alarms of the kind. When it triggers is `zone_trigger`, how it decides
`zone_verdict`, the course of an event `zone_event`, shutting a zone `isolate`. One rule serves a
header and all zones on it, since only together they tell a lost supply from a local cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import nan
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edge.blocks import isolate, zone_tree
from edge.blocks.isolate import CLOSING, ISOLATION_STATES, READY, WAITING, Path
from edge.blocks.isolate_shown import WAITS_FOR_RESET, isolation, isolation_alarms
from edge.blocks.kind import AlarmTemplate, Example, Input, Kind, Published, Source, Target
from edge.blocks.zone_event import zone_loss_step
from edge.blocks.zone_layout import (
    BRANCH,
    BURST,
    DRAGGED,
    GROUP_STATES,
    NORMAL,
    RESTRICTION,
    SENSOR,
    SUPPLY,
    UNDETERMINED,
    VALVE,
    VALVE_OR_BURST,
    ZONE_STATES,
)
from edge.blocks.zone_tree import Branch
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
    `kvs` in m³/h at 1 bar; `travel` is a full stroke. `branch` is the pipe that it shares with
    others.

    `auto_isolate`: a burst here shuts the zone's valve, or the one that `isolate` names, whose
    position is `isolate_position`. Only a person opens it again, with `edge reset` of the rule: the
    panel's button, which resets all that tripped, does not.
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
    branch: str | None = None
    low: Annotated[float, Quantity("MPa"), Field(gt=0)] | None = None
    sigma: Flow | None = None
    travel: Annotated[Duration, Field(gt=0, le=600)] = 50.0
    auto_isolate: bool = False
    isolate: Annotated[str | None, Target("%")] = None
    isolate_position: Annotated[Source | None, Input("%")] = None

    @model_validator(mode="before")
    @classmethod
    def _own_valve(cls, data: Any) -> Any:
        own = isinstance(data, Mapping) and data.get("auto_isolate") is True
        if not own or "isolate" in data:
            return data
        return {**data, "isolate": data.get("command"), "isolate_position": data.get("position")}

    @model_validator(mode="after")
    def _can_be_isolated(self) -> Self:
        if self.isolate is not None and not self.auto_isolate:
            raise Refusal(
                Text(f"{self.id}: isolate 只与 auto_isolate: true 同用",
                     f"{self.id}: isolate goes with auto_isolate: true")
            )  # fmt: skip
        missing = [n for n in ("flow", "baseline", "isolate_position") if getattr(self, n) is None]
        if self.auto_isolate and missing:
            raise Refusal(
                Text(f"{self.id}: auto_isolate 需要 {missing[0]}, 否则无法确认爆管和关阀",
                     f"{self.id}: auto_isolate needs {missing[0]}: without it nobody knows of a "
                     "burst, or of a valve that is shut")
            )  # fmt: skip
        return self


class ZoneLoss(Model):
    """A header and its zones. A loss is a fall by `drop` within `window`, by `slow_drop` within
    `slow_window`, or 3 s below a zone's `low`. The verdict falls `confirm` after it, when every
    meter was read once more: give at least the slowest poll. `margin` is the least pressure drop
    over a valve that its Kv is computed from: 0.03 MPa or 5 x the combined sensor error. Of a slow
    fall the first 0.05 MPa that the header shares do not count: a booster set sleeps.

    `branches` is the tree of pipes between header and zones. A zone with `auto_isolate` is shut
    when its burst has been sure by `isolate_confidence`, with its flow above 1.5 x the baseline,
    for `isolate_after`: in 50 s or more, at slot 10, if every consumer of `must_supply` that it
    would cut off has another path open by 20 %. A path whose position is bad counts as shut.
    `must_supply: []` says that nobody there must have water at any time.
    """

    header: Annotated[Source, Input("MPa")]
    zones: tuple[Zone, ...] = Field(min_length=1, max_length=64)
    drop: Pressure = 0.06
    window: Annotated[Duration, Field(ge=2, le=60)] = 5.0
    slow_drop: Pressure = 0.05
    slow_window: Annotated[Duration, Field(ge=60, le=3600)] = 600.0
    margin: Pressure = 0.03
    confirm: Annotated[Duration, Field(le=5)] = 1.0
    isolate_after: Annotated[Duration, Field(ge=10, le=3600)] = 60.0
    isolate_confidence: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    must_supply: tuple[Path, ...] = Field(default=(), max_length=64)
    branches: tuple[Branch, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _is_a_network(self) -> Self:
        zone_tree.check_tree(self.branches, [zone.branch for zone in self.zones])
        shut = [zone.isolate for zone in self.zones if zone.isolate is not None]
        if shut and "must_supply" not in self.model_fields_set:
            raise Refusal(
                Text("auto_isolate 需要 must_supply: 列出不可断水的用户及其供水路径, 没有则写 []",
                     "auto_isolate needs must_supply: who must not be cut off, and the ways in "
                     "which they get their water; [] if nobody")
            )  # fmt: skip
        isolate.check_paths(self.must_supply, shut)
        return self

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
    DRAGGED: Text("被他区爆管拖低", "dragged down by another zone's burst"),
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
        Published("branch", "", Text("失压支管", "branch that was lost"), _branches(model)),
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
    return (*points, *_isolations(model))


def _branches(model: ZoneLoss) -> Mapping[int, Text]:
    named = (branch.name or Text(branch.id, branch.id) for branch in model.branches)
    return {0: Text("无", "none"), **dict(enumerate(named, 1))}


def _isolations(model: ZoneLoss) -> Iterator[Published]:
    """Whether anything waits for a person's reset, then how each isolation stands."""
    shut = [zone for zone in model.zones if zone.auto_isolate]
    if shut:
        yield WAITS_FOR_RESET
    for zone in shut:
        yield isolation(zone.id, zone.name or Text(zone.id, zone.id), str(zone.isolate))


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
    own = [alarm for zone in model.zones for alarm in _zone_alarms(zone)]
    shut = [zone for zone in model.zones if zone.auto_isolate]
    for zone in shut:
        name, valve = zone.name or Text(zone.id, zone.id), str(zone.isolate)
        shows = _shown(zone.isolate, zone.isolate_position, zone.flow, zone.pressure)
        own += isolation_alarms(zone.id, name, valve, model.isolate_after, shows)
    return (*common, *own)


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


def _derived(model: ZoneLoss) -> Iterator[float]:
    yield from zone_tree.numbers(model.branches, [zone.branch for zone in model.zones])
    yield from isolate.numbers(model.must_supply, [zone.isolate for zone in model.zones])


def _positions(model: ZoneLoss) -> Mapping[str, Source | None]:
    shut = {zone.isolate: zone.isolate_position for zone in model.zones if zone.isolate}
    return {**shut, **{str(zone.command): zone.position for zone in model.zones}}


ZONE_LOSS = Kind(
    name="zone_loss",
    model=ZoneLoss,
    step=zone_loss_step,
    text=Text("区域压降定位", "zone pressure-loss localisation"),
    every=0.5,
    slot=Slot.CORRECT,
    publishes=_publishes,
    states=lambda model: GROUP_STATES + (ZONE_STATES + ISOLATION_STATES) * len(model.zones),
    keeps=lambda model: isolate.memory([(zone.id, zone.isolate) for zone in model.zones]),
    alarms=_alarms,
    resettable=lambda model: any(zone.auto_isolate for zone in model.zones),
    audited=lambda model: tuple(p.name for p in _isolations(model) if p != WAITS_FOR_RESET),
    derived=_derived,
    positions=_positions,
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
        Example(
            "a burst that has been sure for 10 s: the valve is shut in 50 s, here the first two",
            {
                "header": "header.pressure",
                "confirm": "0s",
                "isolate_after": "10s",
                "zones": [
                    {"id": "zone2", "pressure": "z2.pressure", "flow": "z2.flow", "baseline": 6.0,
                     "command": "v2.command", "position": "v2.position", "kvs": 22.0,
                     "auto_isolate": True}
                ],
                "must_supply": [
                    {"consumer": "clinic", "through": ["v2.command"], "position": "v2.position"},
                    {"consumer": "clinic", "through": ["v4.command"], "position": "v4.position"},
                ],
            },
            (
                (
                    0.0,
                    {"header.pressure": 0.41162, "z2.pressure": 0.4, "z2.flow": 6.0,
                     "v2.command": 80.0, "v2.position": 80.0, "v4.position": 60.0, "reset": 0.0},
                    {"zone2": NORMAL, "zone2_isolation": READY, "v2.command": nan},
                ),
                (1.0, {"z2.pressure": 0.321, "z2.flow": 16.72},
                 {"zone2": BURST, "zone2_confidence": 0.8, "zone2_isolation": WAITING}),
                *((float(t), {}, {"v2.command": nan}) for t in range(2, 11)),
                (11.0, {}, {"zone2_isolation": CLOSING, "isolated": 1, "v2.command": 80.0}),
                (12.0, {}, {"v2.command": 78.4}),
                (13.0, {}, {"v2.command": 76.8, "zone2": BURST}),
                (14.0, {"reset": 1.0}, {"v2.command": nan, "isolated": 0}),
            ),
        ),
    ),
)  # fmt: skip
