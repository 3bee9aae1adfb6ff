"""What a device's exception codes mean and what follows from each: one table.

Not how an exception is told from an answer (`pdu.refusal`), not dividing what is refused
(`parts.py`). Called by `link.py`. Source: "MODBUS Application Protocol Specification V1.1b3", §7.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edge.errors import DeviceRefused, DeviceTimeout, DriverError
from edge.text import Text

ACKNOWLEDGED: Final = "05"
"""A write that the device has taken up: it shows in what is read back, and is not sent again."""
MEMORY: Final = "08"
"""The device's own memory is damaged: a person has to see to it."""
UNKNOWN_FUNCTION: Final = "01"
NO_SUCH: Final = "02"
TOO_MANY: Final = "03"
DIVIDES: Final = (NO_SUCH, TOO_MANY)
"""A smaller request may be answered."""


class _Rule(NamedTuple):
    """The sentence, and what `DeviceRefused` says of the code; `silent`: a DeviceTimeout."""

    zh: str
    en: str
    permanent: bool = False
    rest: float = 60.0
    again: tuple[float, ...] = ()
    unsure: bool = False
    silent: bool = False


_RULES: Final[dict[int, _Rule]] = {
    1: _Rule("不支持该功能码; 请核对寄存器类型 (保持/输入/线圈)",
             "does not know this function; compare the table (holding, input, coil)",
             permanent=True, rest=3600.0),
    2: _Rule("没有该地址; 请核对寄存器表和 base (0 或 1)",
             "has no such address; compare the register map and base (0 or 1)",
             permanent=True, rest=600.0),
    3: _Rule("不接受该数量或数值; 请减小 max_regs 或核对量程",
             "does not take this count or value; lower max_regs or compare the range",
             permanent=True, rest=600.0),
    4: _Rule("执行失败; 请查看设备本身的故障指示",
             "failed to do it; look at the fault display of the device",
             again=(1.0, 2.0), unsure=True),
    5: _Rule("已接受, 仍在执行; 将稍后再读",
             "accepted it and is still at work; it is read again later", again=(1.0, 1.0, 1.0)),
    6: _Rule("正忙; 将稍后重试, 若频繁出现请放慢轮询",
             "is busy; it is tried again, poll more slowly if this stays", again=(1.0, 1.0, 1.0)),
    8: _Rule("存储器校验错误; 请断电重启设备, 仍出现则更换",
             "reports a memory parity error; power-cycle it, replace it if that stays"),
    10: _Rule("无法经网关到达: 网关没有通路; 请检查网关配置和负载",
              "cannot be reached through the gateway; check the gateway's set-up and load",
              silent=True),
    11: _Rule("在网关后没有应答, 网关本身正常; 请检查该设备的电源, 接线和站号",
              "does not answer behind the gateway, which is well itself; "
              "check the unit's power, wiring and number", silent=True),
}  # fmt: skip
_UNKNOWN: Final = _Rule(
    "返回了未知异常码; 请查阅设备手册", "answered with an unknown exception code; see its manual"
)


def refused(unit: int, code: int) -> DriverError:
    """The exception code as an error that says what to do about it.

    A DeviceRefused with the code in two hex digits; for 0A and 0B a DeviceTimeout, as it is the
    gateway that answers and the device that is silent.
    """
    rule = _RULES.get(code, _UNKNOWN)
    text = Text(
        f"站号 {unit} {rule.zh} (异常码 {code:02X})",
        f"unit {unit} {rule.en} (exception {code:02X})",
    )
    if rule.silent:
        return DeviceTimeout(text)
    return DeviceRefused(
        text,
        f"{code:02X}",
        permanent=rule.permanent,
        rest=rule.rest,
        again=rule.again,
        unsure=rule.unsure,
    )
