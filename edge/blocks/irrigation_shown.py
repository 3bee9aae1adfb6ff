"""What people see of irrigation: its states in words, its points, its alarms.

Drives nothing; the order of the points is that in which `irrigation.py` writes them.
"""

from __future__ import annotations

from edge.blocks.irrigation_model import Irrigation
from edge.blocks.kind import AlarmTemplate, Published, points_of
from edge.text import Text

SHOWN, PER_ZONE = 5, 4  # published points of the whole and of each zone
RESTING, UNDER_WAY, COMPLETE, LEFT_OUT, NO_CLOCK, HELD_BACK = range(1, 7)
NONE, RAIN, WIND, FROST, SOIL, NO_DEMAND, UNKNOWN_DEMAND, TOO_LATE = map(float, range(8))
IDLE, WAITING, WATERING, SOAKING, DONE, SKIPPED, BROKEN, NOT_OPEN, OVER = range(9)

_STATES = {
    RESTING: Text("待机", "resting"),
    UNDER_WAY: Text("浇水中", "watering"),
    COMPLETE: Text("今日已完成", "done for today"),
    LEFT_OUT: Text("今日跳过", "skipped today"),
    HELD_BACK: Text("大风, 暂停", "held back by the wind"),
    NO_CLOCK: Text("时钟不可信, 不浇水", "no watering: the clock is not trusted"),
}
_REASONS = {
    0: Text("无", "none"),
    1: Text("降雨", "rain"),
    2: Text("大风", "wind"),
    3: Text("低温", "frost"),
    4: Text("土壤湿润", "the soil is moist"),
    5: Text("无需水量", "no demand"),
    6: Text("蒸散量未知", "the evaporation is not known"),
    7: Text("时段结束, 未浇完", "the window ended before it was done"),
}
_ZONES = {
    IDLE: Text("待机", "idle"),
    WAITING: Text("等待", "waiting"),
    WATERING: Text("浇水", "watering"),
    SOAKING: Text("渗吸", "soaking"),
    DONE: Text("完成", "done"),
    SKIPPED: Text("土壤湿润, 跳过", "skipped: the soil is moist"),
    BROKEN: Text("流量过大, 已关阀", "closed: flow too high"),
    NOT_OPEN: Text("流量过小, 已关阀", "closed: flow too low"),
    OVER: Text("达到当日限时", "daily limit reached"),
}


def irrigation_points(model: Irrigation) -> tuple[Published, ...]:
    """Five of the whole, then four of each zone; zones count from 1."""
    whole = (
        Published("state", "", Text("喷灌状态", "state of the irrigation"), _STATES),
        Published("reason", "", Text("未浇原因", "why not watered"), _REASONS),
        Published("leak", "", Text("漏水", "leak")),
        Published("volume", "m³", Text("今日计划水量", "water planned today")),
        Published(
            "tripped",
            "",
            Text("有区因流量关闭", "a zone is closed for its flow"),
            {0: Text("无", "none"), 1: Text("有, 可复位", "yes, to be reset")},
        ),
    )
    return whole + tuple(
        point
        for i in range(1, len(model.zones) + 1)
        for point in (
            Published(f"zone{i}", "", Text(f"{i}区状态", f"state of zone {i}"), _ZONES),
            Published(f"zone{i}_time", "s", Text(f"{i}区计划时间", f"time planned, zone {i}")),
            Published(f"zone{i}_flow", "m³/h", Text(f"{i}区正常流量", f"usual flow, zone {i}")),
            Published(
                f"zone{i}_over", "", Text(f"{i}区达到当日限时", f"daily limit of zone {i} reached")
            ),
        )
    )


def irrigation_alarms(model: Irrigation) -> tuple[AlarmTemplate, ...]:
    """A leak, or a head that is off; a valve that stays shut; a clock that nobody trusts."""
    zones = tuple(f"{{rule}}.zone{i}" for i in range(1, len(model.zones) + 1))
    flow = points_of(model.flow)
    debris = Text("查阀内有无杂物", "look for debris in the valve")
    head = Text("查喷头有无损坏", "look for a broken head")
    coil = Text("检查电磁阀线圈与接线", "check coil and wiring of the valve")
    shows = (*flow, *zones[:8])
    return (
        AlarmTemplate(
            "{RULE}_IRR_LEAK", "{rule}.leak == 1", 3, Text("灌溉漏水", "Irrigation leaks"),
            (debris, head, Text("沿线查漏", "walk the line")), shows=shows,
            cause=Text("全关仍有流量, 或流量高于开启各区正常值之和 30 %",
                       "flow with all valves closed, or 30 % more than open zones usually take"),
            consequence=Text("该区关阀至次日或复位", "closed until tomorrow or a reset"),
        ),
        *(
            AlarmTemplate(
                f"{{RULE}}_ZONE{i}_NOT_OPEN", f"{{rule}}.zone{i} == {NOT_OPEN}", 3,
                Text(f"{i}区阀门未打开", f"Valve of zone {i} did not open"),
                (coil, debris, Text("检查水源", "check the supply")), shows=(*flow, zones[i - 1]),
            )
            for i in range(1, len(model.zones) + 1)
        ),
        AlarmTemplate(
            "{RULE}_NO_CLOCK", f"{{rule}}.state == {NO_CLOCK}", 4,
            Text("时钟不可信, 停止喷灌", "No irrigation: the clock is not trusted"),
            (Text("检查 NTP", "check NTP"), Text("检查时钟电池", "check the clock's battery")),
            on_delay=600.0, shows=("{rule}.state",),
        ),
    )  # fmt: skip
