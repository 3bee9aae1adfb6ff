"""Alarms of a site: its own, those that rules and devices bring, and what a site changes on those.

Called by `edge/site/build.py`. How alarms behave is `edge/scan/alarms.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge.blocks.expression import ExpressionError, parse
from edge.blocks.kind import NOTHING, AlarmTemplate
from edge.schema.problem import Problem
from edge.schema.validate import did_you_mean
from edge.site.files import Source
from edge.site.model import AlarmOptions
from edge.site.parts import DevicePart, Record
from edge.site.points import Amounts
from edge.site.site import Alarm, Point
from edge.text import Text

RE_ALARM = 1800.0  # seconds; domain.md 2.2: a P1 that was acknowledged and stays sounds again

# domain.md 2.9, DEVICE_OFFLINE. Behind a bus that is down nobody can tell; once it is back, the
# device has the whole delay to answer again.
_OFFLINE = AlarmTemplate(
    id="{RULE}_OFFLINE",
    when="not {rule}.online and {bus}.bus.online",
    priority=3,
    text=Text("{name}离线", "{name} offline"),
    checks=(
        Text("查设备电源", "look at the device's power supply"),
        Text(
            "查通信线: RS-485 的 A/B 接线与终端电阻, 或网线与交换机",
            "look at the line: RS-485 A/B and terminator, or network cable and switch",
        ),
        Text("核对通信地址", "compare the address"),
    ),
    on_delay=30.0,
    off_delay=10.0,
    suppressed_by="not {bus}.bus.online",
    shows=("{rule}.online",),
    cause=Text("设备断电、断线或地址错误", "no power, a broken line or a wrong address"),
    consequence=Text("该设备的数据和控制中断", "its data and its control are gone"),
)

# domain.md 2.9, WRITE_VERIFY_FAIL: acknowledged, and not done. The delay leaves a rule that
# supervises the device the time to name the cause and to suppress this.
_NOT_FOLLOWING = AlarmTemplate(
    id="{RULE}_NOT_FOLLOWING",
    when="not {rule}.following",
    priority=2,
    text=Text("{name}控制未生效", "{name} does not follow"),
    checks=(
        Text("查就地/远程转换开关是否在就地", "look whether a switch on site is on local"),
        Text("核对寄存器表与写入权限", "compare the register map and the right to write"),
        Text("查设备自身的联锁和故障", "look for interlocks and faults of the device itself"),
    ),
    on_delay=10.0,
    shows=("{rule}.following",),
    about="{rule}",
    cause=Text("设备应答了写入但没有执行", "the device acknowledged a write and did not do it"),
    consequence=Text("自动控制对它无效", "automatic control has no effect on it"),
)

# domain.md 4.2: a register that is not in the device's map; the others go on. Of a device that is
# silent it is not known what it refuses.
_REFUSING = AlarmTemplate(
    id="{RULE}_REFUSING",
    when="{rule}.link.refused > 0",
    priority=4,
    text=Text("{name}拒绝部分点的读取", "{name} refuses some of its points"),
    checks=(
        Text(
            "查看日志和 edge check SITE --plan: 哪些寄存器被拒, 或是否接了另一台设备",
            "look into the log and `edge check SITE --plan`: which registers, or another device",
        ),
        Text(
            "核对寄存器表、地址起点 (base) 与数据类型",
            "compare the register map, its base and the data types",
        ),
        Text("核对设备型号与固件版本", "compare the device's model and firmware"),
    ),
    on_delay=60.0,
    shows=("{rule}.link.refused",),
    cause=Text(
        "配置的寄存器在设备中不存在或不可读",
        "registers of the configuration do not exist in the device or cannot be read",
    ),
    consequence=Text("这些点没有数据, 其余点正常", "these points have no data, the others do"),
)

# Of every device that says who it must be. It stands for all that follows from it.
_WRONG = AlarmTemplate(
    id="{RULE}_WRONG",
    when="{rule}.link.wrong",
    priority=3,
    text=Text("{name}不是配置的设备", "{name} is not the device that is configured"),
    checks=(
        Text(
            "看它自报的身份: edge read --identify {rule}",
            "see what it says that it is: `edge read --identify {rule}`",
        ),
        Text(
            "核对站号 (拨码或菜单) 和接线: 是否两台互换, 或接到了另一条总线",
            "compare unit number (switches or menu) and wiring: two exchanged, or another line",
        ),
        Text(
            "若已换成另一型号: 核对寄存器表, 再更正站点文件中的 identity",
            "if it was replaced by another model: compare the register map, then correct "
            "`identity` in the site",
        ),
    ),
    on_delay=5.0,
    suppressed_by="not {bus}.bus.online",
    shows=("{rule}.link.wrong",),
    cause=Text("该地址上应答的是另一台设备", "another device answers at its address"),
    consequence=Text(
        "不读也不写: 该设备的数据和控制中断",
        "it is neither read nor written: data and control are gone",
    ),
)

# Of every bus; it stands for all devices behind it.
_BUS_DOWN = AlarmTemplate(
    id="{RULE}_DOWN",
    when="not {rule}.bus.online",
    priority=2,
    text=Text("总线 {rule} 中断", "bus {rule} is down"),
    checks=(
        Text(
            "查网线或 RS-485 线: 插头、接线、断点",
            "look at the cable: plugs, RS-485 wiring, breaks",
        ),
        Text(
            "查网关、交换机或 USB 转换器的电源和指示灯",
            "look at power and lamps of the gateway, the switch or the USB adapter",
        ),
        Text(
            "核对地址: 网关的 IP 和端口, 或串口名",
            "compare the address: IP and port of the gateway, or the serial port",
        ),
    ),
    on_delay=10.0,
    off_delay=10.0,
    shows=("{rule}.bus.online",),
    cause=Text(
        "断线、网关或转换器断电、地址错误",
        "a broken cable, a gateway or adapter without power, a wrong address",
    ),
    consequence=Text(
        "该总线上全部设备的数据和控制中断",
        "data and control of every device behind it are gone",
    ),
)

# domain.md 2.9, UPSTREAM_DOWN
_UPSTREAM = AlarmTemplate(
    id="{RULE}_DOWN",
    when="not {rule}.online",
    priority=3,
    text=Text("上行 {rule} 中断", "uplink {rule} is down"),
    checks=(
        Text("查路由器、SIM 卡和外网", "look at router, SIM card and the way out"),
        Text("查服务器证书是否到期", "look whether the broker's certificate has expired"),
    ),
    on_delay=300.0,
    shows=("{rule}.online",),
    consequence=Text("数据存于本机, 恢复后补传", "data is kept here and sent when it is back"),
)

# domain.md 1.18: as long as a protection is out of force, somebody sees it.
_BYPASSED = AlarmTemplate(
    id="{RULE}_BYPASSED",
    when="{rule}.bypass == 1",
    priority=3,
    text=Text("{name}已旁路", "{name} is bypassed"),
    checks=(
        Text("看操作日志: 谁旁路, 原因, 到何时", "look into the log: who, why, until when"),
        Text("派人看守该设备", "have somebody stay with the equipment"),
        Text(
            "原因消除后用 edge release {rule}.bypass 恢复",
            "put it back in force with `edge release {rule}.bypass` when the cause is gone",
        ),
    ),
    shows=("{rule}.bypass",),
    consequence=Text("该联锁暂不起作用", "it does not protect for now"),
)

# What an alarm has before its options are applied.
_BLANK = AlarmTemplate(id="", when="", priority=3, text=NOTHING, checks=())


def expand(template: AlarmTemplate, rule: str, name: Text, bus: str = "") -> AlarmTemplate:
    """Fill `{rule}`, `{RULE}` and, for devices, `{name}` and `{bus}`."""

    def fill(text: str, shown: str = rule) -> str:
        filled = text.replace("{rule}", rule).replace("{bus}", bus)
        return filled.replace("{name}", shown)

    def both(text: Text) -> Text:
        return Text(fill(text.zh, name.zh), fill(text.en, name.en))

    return replace(
        template,
        id=identity(template.id, rule),
        when=fill(template.when),
        text=both(template.text),
        checks=tuple(both(step) for step in template.checks),
        suppressed_by=fill(template.suppressed_by),
        shows=tuple(fill(point) for point in template.shows),
        cause=both(template.cause),
        consequence=both(template.consequence),
    )


def identity(template: str, rule: str) -> str:
    """The id of an alarm: the rule's name goes before it unless it begins with it already.

    So `zone3` brings ZONE3_VALVE_DEVIATION, and `fire` FIRE_PUMP_NOT_AUTO, as the catalogue has it.
    """
    upper = re.sub(r"[^A-Z0-9]", "_", rule.upper())
    own = template.removeprefix("{RULE}_")
    if own == upper or own.startswith(f"{upper}_"):
        return own
    return template.replace("{RULE}", upper)


def of_device(device: DevicePart, *, drives: bool, decides: bool) -> Iterator[AlarmTemplate]:
    """The alarms that every device brings, one more if it has outputs or must say who it is.

    `decides`: an output or a protection depends on what it measures.
    """
    name = device.options.name or Text(device.id, device.id)
    templates = [_OFFLINE, _REFUSING, *([_NOT_FOLLOWING] if drives else [])]
    if getattr(device.config, "identity", None) is not None:
        apart = replace(_OFFLINE, when=f"{_OFFLINE.when} and not {{rule}}.link.wrong")
        templates = [_unless_wrong(template) for template in (apart, *templates[1:])]
        templates.append(replace(_WRONG, priority=2 if drives or decides else 3))
    for template in templates:
        yield expand(template, device.id, name, device.options.bus)


def _unless_wrong(template: AlarmTemplate) -> AlarmTemplate:
    causes = [template.suppressed_by, "{rule}.link.wrong"]
    return replace(template, suppressed_by=" or ".join(filter(None, causes)))


def told_once(
    template: AlarmTemplate, explained: Mapping[str, Sequence[tuple[str, str]]],
    points: Sequence[str], kind: str = "",
) -> AlarmTemplate:  # fmt: skip
    """The template, suppressed while a rule of another kind explains the fault of these points.

    `explained` by point: the kind of the rule and its expression.
    """
    reasons = [e for point in points for other, e in explained.get(point, ()) if other != kind]
    if not reasons:
        return template
    own = [f"({template.suppressed_by})"] if template.suppressed_by else []
    return replace(template, suppressed_by=" or ".join(dict.fromkeys((*own, *reasons))))


def down(bus: str) -> AlarmTemplate:
    """The alarm that every bus brings."""
    return expand(_BUS_DOWN, bus, Text(bus, bus))


def bypassed(id: str, name: Text) -> AlarmTemplate:
    """The alarm that every bypassable interlock or permissive brings."""
    return expand(_BYPASSED, id, name)


def upstream(uplink: str) -> AlarmTemplate:
    """The alarm that every uplink brings."""
    return expand(_UPSTREAM, uplink, Text(uplink, uplink))


def build_alarms(
    templates: Mapping[str, tuple[AlarmTemplate, Source]],
    own: Mapping[str, Record[AlarmOptions]],
    points: Mapping[str, Point],
    amounts: Amounts,
) -> tuple[Alarm, ...]:
    """Templates first, each with what the site says under its id, then the site's own."""
    alarms = []
    for id, (template, source) in templates.items():
        record = own.get(id)
        given = _given(record.options) if record else {}
        where = record.source.over(source) if record else source
        alarms.append(_alarm(id, template, given, where, points, amounts))
    for id, record in own.items():
        if id in templates:
            continue
        if record.options.text is None:
            hint = did_you_mean(id, templates, listed=0)
            text = Text(f'缺少 "text"{hint.zh}', f'"text" is missing{hint.en}')
            amounts.problems.append(Problem("missing-key", record.source.key(), text))
        given = _given(record.options)
        alarms.append(_alarm(id, _BLANK, given, record.source, points, amounts))
    return tuple(alarms)


def _given(options: AlarmOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.model_fields_set}


def _alarm(
    id: str,
    template: AlarmTemplate,
    given: Mapping[str, Any],
    source: Source,
    points: Mapping[str, Point],
    amounts: Amounts,
) -> Alarm:
    point = given.get("point")
    unit = points[point].unit if point is not None and point in points else None
    limits = {}
    for key in ("above", "below", "deadband"):
        if unit is None:
            limits[key] = math.nan  # no such point: said by the checks
        else:
            limits[key] = amounts.of(
                given.get(key), unit, source, key, difference=key == "deadband"
            )
    priority = int(given["priority"][1]) if "priority" in given else template.priority
    when = given.get("when") or ("" if point else template.when)
    shows = given.get("shows") or template.shows or _shown(point, when, points)
    return Alarm(
        id=id,
        text=given.get("text") or template.text,
        checks=given.get("checks") or template.checks,
        cause=given.get("cause") or template.cause,
        consequence=given.get("consequence") or template.consequence,
        priority=priority,
        when=when,
        point=point,
        above=limits["above"],
        below=limits["below"],
        deadband=0.0 if math.isnan(limits["deadband"]) else limits["deadband"],
        on_delay=given.get("on_delay", template.on_delay),
        off_delay=given.get("off_delay", template.off_delay),
        latch=given.get("latch", template.latch),
        suppressed_by=given.get("suppressed_by", template.suppressed_by),
        shows=(*shows, *_first_out(when, shows, points)),
        responsible=given.get("responsible", ""),
        re_alarm=_re_alarm(given.get("re_alarm"), priority),
        mark=source.key(),
    )


def _re_alarm(given: float | str | None, priority: int) -> float:
    if given is None:
        return RE_ALARM if priority == 1 else math.inf
    return math.inf if given == "never" else float(given)


def _first_out(when: str, shows: Sequence[str], points: Mapping[str, Point]) -> Iterator[str]:
    """Of an alarm on a protection that has rivals: whether it came first."""
    for name in _shown(None, when, points):
        mark = name.removesuffix(".tripped") + ".first_out"
        if name.endswith(".tripped") and mark in points and mark not in shows:
            yield mark


def _shown(point: str | None, when: str, points: Mapping[str, Point]) -> tuple[str, ...]:
    """The points whose live values belong to an alarm that does not say."""
    if point:
        return (point,)
    try:
        return tuple(name for name in parse(when).names if name in points)
    except ExpressionError:
        return ()  # said by the checks
