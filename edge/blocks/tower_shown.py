"""What people see of a cooling tower: its states in words, its points, its alarms.

Drives nothing; the order of the points is that in which `cooling_tower.py` writes them.
"""

from __future__ import annotations

from edge.blocks.kind import AlarmTemplate, Published
from edge.blocks.motor import motor_alarms, motor_points
from edge.blocks.tower_model import CoolingTower
from edge.text import Text

SHOWN = 6  # published points of the tower; two more of each fan
OFF, IDLE, REGULATING, STAGED, FREEZE, HELD, FALLBACK, NO_FAN, WAITING, FREEZE_BLIND = range(1, 11)

STATES = {
    OFF: Text("未投入", "not enabled"),
    IDLE: Text("水温够低, 停机", "idle: the water is cool enough"),
    REGULATING: Text("恒温调节", "regulating"),
    STAGED: Text("分级运行", "running in stages"),
    FREEZE: Text("防冻停机", "stopped against freezing"),
    HELD: Text("水温信号坏, 保持", "temperature bad, held"),
    FALLBACK: Text("水温信号坏, 后备转速", "temperature bad, fallback speed"),
    NO_FAN: Text("无可用风机", "no fan available"),
    WAITING: Text("等待风机回读", "waiting for the fans' read-back"),
    FREEZE_BLIND: Text("水温信号坏, 防冻停机", "temperature bad, stopped against freezing"),
}


def tower_points(model: CoolingTower) -> tuple[Published, ...]:
    """Six of the tower, then state and hours of each fan; fans count from 1."""
    tower = (
        Published("state", "", Text("冷却塔状态", "state of the tower"), STATES),
        Published("setpoint", "°C", Text("出水温度设定值", "setpoint in force")),
        Published("speed", "%", Text("公共转速给定", "common speed reference")),
        Published("stage", "", Text("运行级数", "stages running")),
        Published("running", "", Text("运行台数", "fans running")),
        Published("pump_permitted", "", Text("允许冷却水泵运行", "condenser pump permitted")),
    )
    return tower + tuple(
        point
        for i in range(1, len(model.cells) + 1)
        for point in motor_points(f"fan{i}", f"{i}号风机", f"fan {i}")
    )


def tower_alarms(model: CoolingTower) -> tuple[AlarmTemplate, ...]:
    """The temperature lost, no fan, no water; trip and failed start of each fan."""
    shows = ("{rule}.setpoint", "{rule}.speed", "{rule}.running")
    sensor = Text("检查温度传感器与接线", "check the sensor and its wiring")
    tower = (
        AlarmTemplate(
            "{RULE}_TEMPERATURE_LOST",
            " or ".join(f"{{rule}}.state == {n}" for n in (HELD, FALLBACK, FREEZE_BLIND)), 2,
            Text("出水温度信号丢失", "Leaving temperature lost"),
            (sensor, Text("检查通信", "check the bus"),
             Text("就地读温度计", "read the local thermometer")),
            on_delay=10.0, shows=shows,
            consequence=Text("风机先保持, 30 秒后按后备转速",
                             "the fans are held, after 30 s at the fallback speed"),
        ),
        AlarmTemplate(
            "{RULE}_NO_FAN_AVAILABLE", f"{{rule}}.state == {NO_FAN}", 2,
            Text("无可用风机", "No fan available"),
            (Text("检查电源", "check the power"), Text("能否复位", "is a reset possible?"),
             Text("减负荷", "take load off")),
            on_delay=1.0, shows=shows,
        ),
        AlarmTemplate(
            "{RULE}_BASIN_LOW", "{rule}.pump_permitted == 0", 2,
            Text("集水盘缺水", "No water in the basin"),
            (Text("检查补水阀", "check the make-up valve"), Text("检查供水", "check the supply"),
             Text("查漏与排污阀", "look for a leak, at the blow-down valve")),
            on_delay=5.0, off_delay=30.0, shows=("{rule}.pump_permitted",),
        ),
    )  # fmt: skip
    return tower + tuple(
        alarm
        for i, cell in enumerate(model.cells, 1)
        for alarm in motor_alarms(f"fan{i}", f"{i}号风机", f"fan {i}", cell.hoa, ("{rule}.speed",))
    )
