"""A setting that a device must hold before it is used: read, written when it differs, read back.

Not when, and not what follows from a failure (`contact.py`); the option is `config.Setting`. Values
are the device's own raw numbers, as its manual has them.
"""

from __future__ import annotations

from drivers.modbus import pdu
from drivers.modbus.codec import Order, encode
from drivers.modbus.config import Setting, WriteBy
from drivers.modbus.decoder import decode_one
from drivers.modbus.writing import put
from edge.errors import DeviceRefused
from edge.text import Text


async def found(setting: Setting, base: int, order: Order, ask: pdu.Ask) -> float | None:
    """The raw number that the device holds instead of the setting; None when it holds that."""
    cell = setting.cell(base, order)
    data = (await ask(pdu.read(pdu.READ_HOLDING, cell.at, setting.size)))[2:]
    return None if data == encode(cell, setting.value) else decode_one(cell, data, bits=False)[0]


async def write(setting: Setting, base: int, order: Order, by: WriteBy, ask: pdu.Ask) -> None:
    """Write a setting and read it back.

    Raises DeviceRefused, code "readback", when the device took the value and does not hold it; else
    what `ask` raises.
    """
    cell = setting.cell(base, order)
    await put(ask, by, cell.at, encode(cell, setting.value))
    other = await found(setting, base, order, ask)
    if other is not None:
        raise DeviceRefused(_NOT_TAKEN.format(value=setting.value, found=other), "readback")


_NOT_TAKEN = Text(
    "写入 {value:.10g} 后读回 {found:.10g}; 请查手册: 是否需先解锁或只读",
    "it reads {found:.10g} after {value:.10g} was written; see the manual whether it must be "
    "unlocked first or is read-only",
)
