"""What is known of a pit and its pumps: inflow, capacity, states in words, points and alarms.

Shows and tells, drives nothing: who runs is decided in `sump.py`, whose step calls `estimate`.
"""

from __future__ import annotations

from math import isnan, nan

from edge.blocks.kind import AlarmTemplate, Published
from edge.blocks.motor import motor_alarms, motor_memory, motor_points
from edge.blocks.sump_model import Sump
from edge.image.image import Floats
from edge.text import Text

(IDLE, PUMPING, FLOODED, HELD, BY_FLOAT, BLIND, NO_PUMP, WAITING, EXERCISING, TESTING,
 CONTRADICTED, DOUBTED) = range(1, 13)  # fmt: skip
SHOWN, PER_PUMP = 7, 5  # published points of the pit and of each pump
CAPACITY, PUMP_STATES = 7, 8

WEAR = 0.8  # of the commissioned capacity
SETTLE = 10.0  # s after a change, until the water runs evenly
LEAST, LONGEST = 60.0, 300.0  # s over which a rate is measured
_TURNING, _SINCE, _HEIGHT, INFLOW, WINDOW_STATES = range(5)


def estimate(
    height: float, area: float, turning: int, count: int, st: Floats, w: int, pumps: int, now: float
) -> None:
    """Inflow Qi = A·dh/dt while nothing runs; capacity Qp = Qi - A·dh/dt while one pump does.

    `turning` are bits. A rate is that of 60 to 300 s without any change of what runs.
    """
    since = st[w + _SINCE]
    if isnan(height) or isnan(area):
        st[w + _TURNING] = nan
        return
    if st[w + _TURNING] != turning:
        st[w + _TURNING], st[w + _SINCE], st[w + _HEIGHT] = turning, now + SETTLE, height
        return
    if now < since or isnan(st[w + _HEIGHT]):
        st[w + _HEIGHT] = height
        return
    elapsed = now - since
    if elapsed < LEAST:
        if elapsed == 0.0:
            st[w + _HEIGHT] = height
        return
    flow = 3600.0 * area * (height - st[w + _HEIGHT]) / elapsed
    if turning == 0:
        st[w + INFLOW] = max(flow, 0.0)
    for i in range(count):
        if turning == 1 << i and not isnan(st[w + INFLOW]):
            st[pumps + i * PUMP_STATES + CAPACITY] = max(st[w + INFLOW] - flow, 0.0)
    if elapsed >= LONGEST:
        st[w + _SINCE], st[w + _HEIGHT] = now, height


def pit_state(
    want: int, got: int, extra: int, flood: bool, believed: bool, suspect: bool, doubted: bool,
    lost: bool, floatless: bool,
) -> int:  # fmt: skip
    """What the pit is told to be doing, the most important first."""
    if want > 0 and got == 0:
        return NO_PUMP
    if doubted:
        return DOUBTED
    if flood:
        return FLOODED
    if suspect:
        return CONTRADICTED
    if not believed:
        return (BLIND if floatless else BY_FLOAT) if lost else HELD
    if extra != 0:
        return extra
    return PUMPING if want > 0 else IDLE


STATES = {
    IDLE: Text("待机", "idle"),
    PUMPING: Text("排水", "pumping"),
    FLOODED: Text("超高水位, 全部水泵运行", "high-high level, every pump runs"),
    HELD: Text("液位信号坏, 保持", "level bad, held"),
    BY_FLOAT: Text("液位信号坏, 仅按浮球", "level bad, by the float alone"),
    CONTRADICTED: Text("液位与浮球矛盾, 仅按浮球", "float contradicts level, by the float alone"),
    DOUBTED: Text("浮球疑似卡在高位, 按液位, 定时试排",
                  "float seems stuck up: by the level, pumps tried now and then"),
    BLIND: Text("无液位信号", "no level signal"),
    NO_PUMP: Text("无可用水泵", "no pump available"),
    WAITING: Text("等待水泵回读", "waiting for the pumps' read-back"),
    EXERCISING: Text("防卡试转", "exercising a pump"),
    TESTING: Text("汛前检查", "readiness test"),
}  # fmt: skip
_READINESS = {
    0: Text("未检查", "not tested"),
    1: Text("检查中", "under test"),
    2: Text("合格", "ready"),
    3: Text("不合格", "not ready"),
}
_TESTS = {0: Text("未检查", "not tested"), 1: Text("合格", "passed"), 2: Text("不合格", "failed")}


def sump_points(model: Sump) -> tuple[Published, ...]:
    """The pit's points, then five of each pump; pumps count from 1."""
    pit = (
        Published("state", "", Text("集水坑状态", "state of the sump"), STATES),
        Published("flood", "", Text("超高水位", "high-high level")),
        Published("disagree", "", Text("液位信号不一致", "level and float disagree")),
        Published("not_emptying", "", Text("排水不降", "not emptying")),
        Published("running", "", Text("运行台数", "pumps running")),
        Published("inflow", "m³/h", Text("估算进水量", "inflow, estimated")),
        Published("readiness", "", Text("汛前检查", "readiness for the rains"), _READINESS),
    )
    return pit + tuple(
        point
        for i in range(1, len(model.pumps) + 1)
        for point in (
            *motor_points(f"pump{i}", f"{i}号泵", f"pump {i}"),
            Published(
                f"pump{i}_capacity", "m³/h",
                Text(f"{i}号泵估算流量", f"capacity of pump {i}, estimated"),
            ),
            Published(
                f"pump{i}_test", "", Text(f"{i}号泵检查结果", f"test of pump {i}"), _TESTS
            ),
            Published(
                f"pump{i}_urgent", "",
                Text(f"防淹保护启动{i}号泵", f"flood protection starts pump {i}"),
            ),
        )
    )  # fmt: skip


def pit_memory(
    model: Sump, first: int, window: int, ready: int, ran_at: int, result: int
) -> dict[str, int]:
    """What outlives a change of options: the first pump's state is at `first`. Readiness is that of
    all pumps together."""
    own = ("last run", ran_at), ("test", result), ("capacity", CAPACITY)
    return {
        f"readiness of {[pump.run for pump in model.pumps]}": ready,
        "inflow": window + INFLOW,
        **motor_memory(model.pumps, first, PUMP_STATES, *own),
    }


_POWER = Text("检查电源", "check the power")
_FOULED = Text("清洗液位计", "clean the transmitter")
_FLOAT = Text("查看浮球是否卡住", "look whether the float is stuck")


def sump_alarms(model: Sump) -> tuple[AlarmTemplate, ...]:
    """Flood, contradiction, blockage, lost level; of each pump: trip, failed start, wear."""
    shows = ("{rule}.state", "{rule}.running", "{rule}.inflow")
    pit = (
        AlarmTemplate(
            "{RULE}_FLOOD_HIGH", "{rule}.flood == 1", 1,
            Text("集水坑超高水位", "Sump level high-high"),
            (Text("水泵是否运行", "are the pumps running?"), _POWER,
             Text("调移动泵, 设挡水板", "bring a portable pump, set the barriers")),
            on_delay=0.5, off_delay=60.0, shows=shows,
            consequence=Text(f"超过 {model.spill:g} m 溢出", f"spills above {model.spill:g} m"),
        ),
        AlarmTemplate(
            "{RULE}_LEVEL_SENSOR_DISAGREE", "{rule}.disagree == 1", 3,
            Text("液位信号不一致", "Level signals disagree"), (_FLOAT, _FOULED), shows=shows,
            consequence=Text("液位不动则仅按浮球排水; 液位随泵降至停泵水位则停泵, 定时试排",
                             "while the level stands still the float alone starts the pumps; where "
                             "it fell with them to `stop` they rest, and are tried now and then"),
        ),
        AlarmTemplate(
            "{RULE}_PUMP_NOT_EMPTYING", "{rule}.not_emptying == 1", 2,
            Text("排水不降", "Sump is not emptying"),
            (Text("查有无堵塞", "look for a blockage"),
             Text("检查止回阀", "check the check valve"),
             Text("检查排水软管, 排气", "check the hose, let the air out")),
            shows=(*shows, "{rule}.pump1_capacity"),
        ),
        AlarmTemplate(
            "{RULE}_LEVEL_LOST", f"{{rule}}.state >= {HELD} and {{rule}}.state <= {BLIND}", 2,
            Text("液位信号丢失", "Level signal lost"),
            (Text("检查液位计电源与接线", "check the transmitter's supply and wiring"), _FOULED,
             Text("就地查看水位", "look at the level on site")),
            on_delay=10.0, shows=shows,
            consequence=Text("仅按浮球排水; 无浮球则不排水",
                             "pumped by the float alone; not at all without a float"),
        ),
        AlarmTemplate(
            "{RULE}_NO_PUMP_AVAILABLE", f"{{rule}}.state == {NO_PUMP}", 1,
            Text("无可用水泵", "No pump available"),
            (_POWER, Text("能否复位", "is a reset possible?"),
             Text("调移动泵", "bring a portable pump")),
            on_delay=1.0, shows=shows, consequence=Text("集水坑将满溢", "the pit will run over"),
        ),
    )  # fmt: skip
    pumps = range(1, len(model.pumps) + 1)
    return pit + tuple(alarm for i in pumps for alarm in _pump_alarms(model, i))


def _pump_alarms(model: Sump, i: int) -> tuple[AlarmTemplate, ...]:
    alarms = motor_alarms(
        f"pump{i}", f"{i}号泵", f"pump {i}", model.pumps[i - 1].hoa, ("{rule}.state",)
    )
    if model.capacity is None or model.area is None:
        return alarms
    least = WEAR * model.capacity
    return (
        *alarms,
        AlarmTemplate(
            f"{{RULE}}_PUMP{i}_WEAR", f"{{rule}}.pump{i}_capacity < {least:g}", 4,
            Text(f"{i}号泵流量下降", f"Pump {i} delivers less"),
            (Text("检查叶轮和口环", "check impeller and wear ring"),
             Text("查有无堵塞", "look for a blockage"),
             Text("检查止回阀", "check the check valve")),
            shows=(f"{{rule}}.pump{i}_capacity", "{rule}.inflow"),
            cause=Text(f"低于验收流量 {model.capacity:g} m³/h 的 80 %",
                       f"below 80 % of the commissioned {model.capacity:g} m³/h"),
        ),
    )  # fmt: skip
