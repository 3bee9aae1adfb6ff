"""What is shown and told of a zone that is shut by itself; how it is done is `isolate`."""

from __future__ import annotations

from collections.abc import Iterator

from edge.blocks.isolate import (
    CLOSED,
    CLOSING,
    HALTED_NO_PATH,
    HALTED_TAKEN,
    HALTED_UNSEEN,
    NO_OTHER_PATH,
    READY,
    STOPPED,
    STUCK,
    TAKEN,
    UNSEEN,
    WAITING,
)
from edge.blocks.kind import AlarmTemplate, Published
from edge.text import Text

# Not `tripped`: the panel's button resets what bears that name, and whoever presses it for a pump
# must not open a burst pipe with it.
WAITS_FOR_RESET = Published(
    "isolated", "", Text("自动隔离待复位", "isolation waits for a reset"),
    {0: Text("否", "no"), 1: Text("是", "yes")},
)  # fmt: skip

_STATES = {
    READY: Text("待命", "ready"),
    WAITING: Text("疑似爆管, 确认后关闭 {valve}", "burst suspected, {valve} is shut if it lasts"),
    NO_OTHER_PATH: Text(
        "未关闭 {valve}: 否则有用户断水", "{valve} not shut: somebody would be cut off"
    ),
    UNSEEN: Text("未关闭 {valve}: 阀位无效", "{valve} not shut: its position is bad"),
    TAKEN: Text(
        "未关闭 {valve}: 由人或保护控制", "{valve} not shut: a person or a protection has it"
    ),
    CLOSING: Text("正在关闭 {valve}", "shutting {valve}"),
    CLOSED: Text("已关闭 {valve}", "{valve} is shut"),
    HALTED_NO_PATH: Text(
        "{valve} 停在半途: 否则有用户断水", "{valve} halted on its way: somebody would be cut off"
    ),
    HALTED_UNSEEN: Text("{valve} 停在半途: 阀位无效", "{valve} halted: its position is bad"),
    HALTED_TAKEN: Text("{valve} 由人或保护控制", "a person or a protection has {valve}"),
    STUCK: Text("{valve} 关不到位", "{valve} does not shut"),
    STOPPED: Text("压力已恢复, 停止关闭 {valve}", "pressure is back, {valve} left where it is"),
}
_FAILED = (NO_OTHER_PATH, UNSEEN, HALTED_NO_PATH, HALTED_UNSEEN, STUCK, STOPPED)


def isolation(zone: str, name: Text, valve: str) -> Published:
    """How the isolation of a zone stands; each of its changes is on record."""
    states = {
        code: Text(f"{name.zh}: {text.zh}", f"{name.en}: {text.en}").format(valve=valve)
        for code, text in _STATES.items()
    }
    shown = Text(f"{name.zh}自动隔离", f"{name.en} isolation")
    return Published(f"{zone}_isolation", "", shown, states)


def isolation_alarms(
    zone: str, name: Text, valve: str, after: float, shows: tuple[str, ...]
) -> Iterator[AlarmTemplate]:
    """What was shut, why and how it is let go; and that a burst zone was not shut."""
    point = f"{{rule}}.{zone}_isolation"
    find = Text("沿线巡查, 找到并修复漏点", "walk the route, find the leak and mend it")
    release = Text(
        f"修复后用 edge reset {{rule}} 放开 {valve}; 不会自动打开",
        f"then let {valve} go with `edge reset {{rule}}`; nothing opens it by itself",
    )
    yield AlarmTemplate(
        f"{zone.upper()}_ISOLATED", f"{point} >= {CLOSING}", 1,
        Text(f"{name.zh}疑似爆管, 已自动关闭 {valve}",
             f"{name.en}: burst suspected, {valve} shut automatically"),
        (find, Text("通知住户停水", "tell the residents that the water is off"), release),
        shows=(point, *shows),
        cause=Text(f"流量超过常用值的 1.5 倍并持续 {after:g} s",
                   f"the flow was above 1.5 x the usual for {after:g} s"),
        consequence=Text("该区停水, 直到有人复位", "the zone has no water until a person resets"),
    )  # fmt: skip
    yield AlarmTemplate(
        f"{zone.upper()}_NOT_ISOLATED", " or ".join(f"{point} == {s}" for s in _FAILED), 2,
        Text(f"{name.zh}未能自动隔离", f"{name.en} was not isolated automatically"),
        (Text("看原因: 该区的隔离状态", "see why: the state of the zone's isolation"),
         Text(f"人工决定是否关闭 {valve}", f"decide whether to shut {valve} by hand"), find,
         release),
        on_delay=5.0, shows=(point, *shows),
        consequence=Text("漏水可能仍在继续", "the water may still be running"),
    )  # fmt: skip
