"""A setting that a device must hold before it is used: read, written when it differs, read back.

Not when, and not what follows from a failure (`contact.py`); the option is `config.Setting`. Values
are the device's own raw numbers, as its manual has them.
"""

from __future__ import annotations

from typing import NamedTuple

from drivers.modbus import pdu
from drivers.modbus.codec import Cell, Order, decode_one, encode
from drivers.modbus.config import Setting, WriteBy
from drivers.modbus.writing import put
from edge.errors import DeviceRefused
from edge.text import Text


class Change(NamedTuple):
    """A setting that was not as it must be: the raw numbers before and after."""

    old: float
    new: float


async def program(
    setting: Setting, base: int, order: Order, by: WriteBy, ask: pdu.Ask
) -> Change | None:
    """Read a setting and write it when it differs; None when it held the value already.

    Raises DeviceRefused, code "readback", when the device took the value and does not hold it; else
    what `ask` raises.
    """
    cell = setting.cell(base, order)
    wanted = encode(cell, setting.value)
    read = pdu.read(pdu.READ_HOLDING, cell.at, setting.size)
    present = (await ask(read))[2:]
    if present == wanted:
        return None
    await put(ask, by, cell.at, wanted)
    after = (await ask(read))[2:]
    if after != wanted:
        shown = _number(cell, after)
        raise DeviceRefused(_NOT_TAKEN.format(value=setting.value, found=shown), "readback")
    return Change(_number(cell, present), setting.value)


def _number(cell: Cell, data: bytes) -> float:
    return decode_one(cell, data, bits=False)[0]


_NOT_TAKEN = Text(
    "写入 {value:.10g} 后读回 {found:.10g}; 请查手册: 是否需先解锁或只读",
    "it reads {found:.10g} after {value:.10g} was written; see the manual whether it must be "
    "unlocked first or is read-only",
)
