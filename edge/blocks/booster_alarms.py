"""What a booster shows and what it raises, in both languages (domain §2.9).

Texts and conditions only. Used by the kind in `booster.py`.
"""

from __future__ import annotations

from edge.blocks.booster_layout import (
    ASLEEP,
    FALLBACK,
    FILL_TIMEOUT,
    FILLING,
    FOLLOWING,
    FREQUENT,
    HELD,
    LOW,
    NO_PUMP,
    NOT_QUIET,
    OFF,
    OVER_PRESSURE,
    PROTECTED,
    REGULATING,
    SUCTION_LOW,
    WAITING,
)
from edge.blocks.booster_model import Booster
from edge.blocks.kind import AlarmTemplate, Published
from edge.blocks.oscillation import gain_point, hunting_alarm
from edge.blocks.pumps import pump_alarms, pump_points
from edge.text import Text

STATES = {
    REGULATING: Text("运行: 恒压调节", "run: regulating"),
    HELD: Text("运行: 压力信号坏, 保持转速", "run: pressure bad, speed held"),
    FALLBACK: Text("运行: 压力信号坏, 后备转速", "run: pressure bad, fallback speed"),
    OVER_PRESSURE: Text("保护停机: 超压", "trip: over-pressure"),
    NO_PUMP: Text("检查: 无可用水泵", "check: no pump available"),
    FOLLOWING: Text("手动: 跟踪他人控制", "manual: following another's control"),
    WAITING: Text("检查: 等待允许条件或回读", "check: waiting for permissive or read-back"),
    FILLING: Text("管网充水", "fill: filling the pipes"),
    FILL_TIMEOUT: Text("管网充水: 超时, 单泵低速", "fill: timed out, one pump goes on"),
    ASLEEP: Text("休眠", "sleep"),
    SUCTION_LOW: Text("保护停机: 进口压力低", "trip: suction pressure low"),
    PROTECTED: Text("检查: 水泵被保护闭锁", "check: pumps held off by a protection"),
    OFF: Text("停用", "off"),
}
SENSORS = {
    0: Text("无压力信号", "no pressure signal"),
    1: Text("主传感器", "main sensor"),
    2: Text("备用传感器", "second sensor"),
}
SLEEP_OFF = {
    0: Text("允许休眠", "sleep allowed"),
    int(FREQUENT): Text("唤醒过频, 停止休眠", "no sleep: woken too often"),
    int(NOT_QUIET): Text("并非无人用水, 暂不休眠", "no sleep for now: it was not quiet"),
}

PROTECTION = {
    0: Text("正常", "normal"),
    1: Text("超压或进口压力低", "over-pressure, or suction pressure low"),
}


def numbers(model: Booster) -> range:
    """Pumps count from 1, as on the cabinet door."""
    return range(1, len(model.pumps) + 1)


def published(model: Booster) -> tuple[Published, ...]:
    """The group's points in the order of the layout, then those of each pump."""
    group = (
        Published("state", "", Text("供水状态", "state"), STATES),
        Published("speed", "%", Text("公共转速给定", "common speed reference")),
        Published("pressure", "MPa", Text("出口压力(滤波)", "discharge pressure, filtered")),
        Published("setpoint", "MPa", Text("当前设定值", "setpoint in force")),
        Published("running", "", Text("运行台数", "pumps running")),
        Published("sensor", "", Text("压力传感器", "pressure sensor in use"), SENSORS),
        Published("no_flow_speed", "%", Text("零流量转速", "no-flow speed")),
        Published("destage_speed", "%", Text("减泵转速", "speed at which a pump stops")),
        Published("wakes", "", Text("近一小时唤醒次数", "wakes in the last hour")),
        Published("sleep_off", "", Text("休眠限制", "sleep restriction"), SLEEP_OFF),
        Published("protection", "", Text("保护停泵", "pumps stopped by protection"), PROTECTION),
        Published("tripped", "", Text("待复位水泵台数", "pumps that wait for a reset"), told=True),
        gain_point(),
    )
    return group + tuple(point for i in numbers(model) for point in pump_points(i))


_TANK = Text("查看进水压力和水箱水位", "look at suction pressure and tank level")
_BURST = Text("查有无爆管或大用水", "look for a burst or a large demand")
_POWER = Text("检查电源", "check the power")
_SHOWS = ("{rule}.pressure", "{rule}.setpoint", "{rule}.speed", "{rule}.running")


def alarms(model: Booster) -> tuple[AlarmTemplate, ...]:
    """The catalogue's alarms of a booster set, then those of each pump."""
    groups = (_pressure_alarms(model), _sensor_alarms(model), _supply_alarms(model))
    group = tuple(alarm for part in groups for alarm in part)
    return group + tuple(
        alarm for i, pump in enumerate(model.pumps, 1) for alarm in pump_alarms(i, pump.hoa)
    )


def _pressure_alarms(model: Booster) -> tuple[AlarmTemplate, ...]:
    explained = (NO_PUMP, PROTECTED, SUCTION_LOW, FILLING, FILL_TIMEOUT, OFF)
    return (
        AlarmTemplate(
            "{RULE}_P_LOW", f"{{rule}}.pressure < {{rule}}.setpoint - {LOW}", 2,
            Text("供水压力低", "Supply pressure low"),
            (Text("水泵是否运行", "are the pumps running?"), _TANK, _BURST),
            on_delay=10.0, off_delay=30.0, shows=_SHOWS,
            suppressed_by=" or ".join(f"{{rule}}.state == {state}" for state in explained),
        ),
        AlarmTemplate(
            "{RULE}_P_HIGH", f"{{rule}}.pressure > {{rule}}.setpoint + {model.over_pressure}", 2,
            Text("供水超压", "Supply pressure high"),
            (Text("检查减压阀和压力传感器", "check relief valve and sensor"),
             Text("转速是否卡住", "is the speed stuck?"),
             Text("检查止回阀", "check the check valves")),
            on_delay=3.0, off_delay=10.0, shows=_SHOWS,
        ),
        hunting_alarm(_SHOWS),
    )  # fmt: skip


def _sensor_alarms(model: Booster) -> tuple[AlarmTemplate, ...]:
    sensor = Text("检查压力传感器及其电源", "check the sensor and its supply")
    wiring = Text("检查通信与接线", "check bus and wiring")
    lost = AlarmTemplate(
        "{RULE}_PRESSURE_LOST", f"{{rule}}.state == {HELD} or {{rule}}.state == {FALLBACK}", 2,
        Text("出口压力信号丢失", "Discharge pressure signal lost"),
        (sensor, wiring,
         Text("看就地压力表, 必要时切手动", "read the local gauge; go to HAND if needed")),
        on_delay=10.0, shows=_SHOWS,
        consequence=Text("先保持转速, 30 秒后按后备转速供水",
                         "the speed is held, after 30 s the fallback speed applies"),
    )  # fmt: skip
    second = AlarmTemplate(
        "{RULE}_SECOND_SENSOR", "{rule}.sensor == 2", 3,
        Text("主压力传感器失效, 已用备用", "Main pressure sensor lost, second one in use"),
        (sensor, wiring, Text("比较就地压力表", "compare with the local gauge")),
        on_delay=10.0, shows=_SHOWS,
    )  # fmt: skip
    return (lost,) if model.second is None else (lost, second)


def _supply_alarms(model: Booster) -> tuple[AlarmTemplate, ...]:
    found = [
        AlarmTemplate(
            "{RULE}_NO_PUMP_AVAILABLE", f"{{rule}}.state == {NO_PUMP}", 1,
            Text("无可用水泵", "No pump available"),
            (_POWER, Text("能否复位", "is a reset possible?"),
             Text("通知住户停水", "notify the residents")),
            on_delay=1.0, shows=_SHOWS, consequence=Text("停水", "no water"),
        ),
        AlarmTemplate(
            "{RULE}_FILL_TIMEOUT", f"{{rule}}.state == {FILL_TIMEOUT}", 2,
            Text("充水超时", "The pipes do not fill"),
            (Text("泄水阀是否开着", "is a drain open?"),
             Text("沿线查爆管", "walk the pipe and look for a burst"),
             Text("检查排气阀", "check the air valves")),
            shows=_SHOWS, cause=Text("疑似爆管或泄水阀未关", "a burst, or an open drain"),
        ),
        AlarmTemplate(
            "{RULE}_FREQUENT_WAKE", f"{{rule}}.sleep_off == {int(FREQUENT)}", 3,
            Text("频繁启停", "Woken too often"),
            (Text("检查气压罐预充压力", "check the pre-charge of the pressure tank"),
             Text("查夜间漏水", "look for a leak at night"),
             Text("检查止回阀", "check the check valves")),
            shows=("{rule}.pressure", "{rule}.wakes"),
            cause=Text("管网漏水或气压罐失压", "a leak, or a tank that lost its air"),
            consequence=Text("2 小时内不休眠", "no sleep for two hours"),
        ),
    ]  # fmt: skip
    if model.suction_limit is not None:
        found.append(
            AlarmTemplate(
                "{RULE}_SUCTION_LOW", f"{{rule}}.state == {SUCTION_LOW}", 2,
                Text("进口压力低, 已停泵", "Suction pressure low, pumps stopped"),
                (Text("查看市政管网压力", "look at the pressure of the mains"),
                 Text("检查进口阀门和过滤器", "check inlet valve and strainer"),
                 Text("检查进口压力传感器", "check the suction sensor")),
                shows=_SHOWS, consequence=Text("停水", "no water"),
            )
        )  # fmt: skip
    return tuple(found)
