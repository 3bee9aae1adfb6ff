"""The ladder's slots: sixteen priorities, lowest number wins, as BACnet numbers them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Slot(IntEnum):
    """Who may ask an output for a value, strongest first.

    1 and 2 are life safety: never written by us, honoured if something else holds them.
    """

    PROTECT = 5
    MIN_TIME = 6
    LOCAL = 7
    REMOTE = 8
    CORRECT = 10
    MAINTAIN = 12
    CONTROL = 14
    SCHEDULE = 15
    DEFAULT = 16


SLOTS: Final = 16

NAMES_ZH: Final = {
    Slot.PROTECT: "保护",
    Slot.MIN_TIME: "最短时间",
    Slot.LOCAL: "就地手动",
    Slot.REMOTE: "远程手动",
    Slot.CORRECT: "自动处置",
    Slot.MAINTAIN: "维护",
    Slot.CONTROL: "自动控制",
    Slot.SCHEDULE: "时间表",
    Slot.DEFAULT: "默认",
}
