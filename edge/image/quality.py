"""Quality bits: whether a value may be used, and what should be said about it.

Plain integers, so that numpy and numba use them as they are. A value is usable when no BAD bit is
set; notes never make a value unusable.
"""

from __future__ import annotations

GOOD = 0

# BAD bits: the value must not be used.
NEVER = 1 << 0  # nothing has arrived yet
STALE = 1 << 1  # older than the point's max_age
COMM = 1 << 2  # the device or the line does not answer
RANGE = 1 << 3  # outside the physical range, NaN or infinite
SENSOR = 1 << 4  # the device or a block says the sensor is at fault
CONFIG = 1 << 5  # the device refuses the address: the map is wrong

BAD = NEVER | STALE | COMM | RANGE | SENSOR | CONFIG

# Notes: the value is usable and this is known about it.
UNCERTAIN = 1 << 8  # substituted, clamped, one of two sensors
OVERRIDDEN = 1 << 9  # somebody stronger than us holds it
SIMULATED = 1 << 10  # comes from a model; never drives a real output
DRILL = 1 << 11  # part of a drill; never drives a real output
OUT_OF_SERVICE = 1 << 12  # the device says: not connected to the process
HELD = 1 << 13  # the last good value, kept while the input is bad

NAMES: tuple[tuple[int, str, str], ...] = (
    (NEVER, "never", "无数据"),
    (STALE, "stale", "过期"),
    (COMM, "comm", "通信中断"),
    (RANGE, "range", "超量程"),
    (SENSOR, "sensor", "传感器故障"),
    (CONFIG, "config", "配置错误"),
    (UNCERTAIN, "uncertain", "存疑"),
    (OVERRIDDEN, "overridden", "被外部强制"),
    (SIMULATED, "simulated", "仿真"),
    (DRILL, "drill", "演练"),
    (OUT_OF_SERVICE, "out-of-service", "停用"),
    (HELD, "held", "保持"),
)


def names(bits: int) -> tuple[str, ...]:
    """The English names of the set bits, `()` when good."""
    return tuple(en for bit, en, _ in NAMES if bits & bit)


def names_zh(bits: int) -> tuple[str, ...]:
    """The Chinese names of the set bits, `()` when good."""
    return tuple(zh for bit, _, zh in NAMES if bits & bit)


def sparkplug(bits: int) -> int:
    """The three codes that Sparkplug B allows: 192 good, 500 stale, 0 bad."""
    if not bits & BAD:
        return 192
    return 500 if bits & BAD == STALE else 0
