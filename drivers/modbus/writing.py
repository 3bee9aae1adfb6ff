"""How a value gets into a device: which function writes it, and whether the device holds it.

Not acknowledgement matching (`pdu.answers`), not verification after the write (the bus task's).
Called by `driver.py` and `program.py`.
"""

from __future__ import annotations

from drivers.modbus import pdu
from drivers.modbus.codec import Cell, bit_mask, encode, raw_number
from drivers.modbus.config import WriteBy
from drivers.modbus.decoder import decode_one
from drivers.modbus.exceptions import ACKNOWLEDGED
from drivers.modbus.plan import FUNCTIONS, Spot
from edge.errors import DeviceRefused
from edge.text import Text


async def read_raw(ask: pdu.Ask, spot: Spot) -> bytes:
    """The bytes of a spot as on the wire; of a coil or discrete input one byte, 0 or 1."""
    data = (await ask(pdu.read(FUNCTIONS[spot.table], spot.address, spot.size)))[2:]
    return data if spot.table in ("holding", "input") else bytes((data[0] & 1,))


async def write_spot(ask: pdu.Ask, by: WriteBy, spot: Spot, value: float, *, masked: bool) -> None:
    """Write a value; bits of a register by function 22 (`masked`), else by reading it first.

    `plan.check` saw to it that one of the two is permitted. Raises DeviceRefused, code "value", for
    what does not fit.
    """
    if spot.table == "coil":
        await _put_coil(ask, by, spot.address, raw_number(spot.cell, value) == 1)
        return
    data = encode(spot.cell, value)
    if spot.cell.bit is None:
        await put(ask, by, spot.address, data)
    elif masked:
        await _send(ask, pdu.mask_write(spot.address, _mask(spot.cell), data))
    else:
        mask, present = _mask(spot.cell), await read_raw(ask, spot)
        changed = bytes((p & ~m) | b for p, m, b in zip(present, mask, data, strict=True))
        await put(ask, by, spot.address, changed)


async def put(ask: pdu.Ask, by: WriteBy, address: int, data: bytes) -> None:
    """Write registers as on the wire.

    Function 23 reads them back in the same request: a difference raises DeviceRefused, "readback",
    which is unsure, as a slow device may yet follow.
    """
    if by == "read_write":
        answer = await _send(ask, pdu.read_write(address, len(data) // 2, address, data))
        if answer is not None and answer[2:] != data:
            shown = {"wanted": data.hex(" ").upper(), "found": answer[2:].hex(" ").upper()}
            raise DeviceRefused(_NOT_HELD.format(**shown), "readback", unsure=True)
    elif by == "multiple" or len(data) > 2:
        await _send(ask, pdu.write_registers(address, data))
    else:
        await _send(ask, pdu.write_register(address, data))


async def holds_spot(ask: pdu.Ask, spot: Spot, value: float) -> bool:
    """Whether the spot's registers hold exactly what `write_spot` would leave there."""
    if spot.table == "coil":
        wanted = raw_number(spot.cell, value)
        return (await read_raw(ask, spot))[0] == wanted
    data = encode(spot.cell, value)
    present = await read_raw(ask, spot)
    if spot.cell.type in ("f32", "f64"):  # -0.0 is 0.0
        plain = Cell(0, spot.cell.type, spot.cell.order)
        return decode_one(plain, present, bits=False)[0] == decode_one(plain, data, bits=False)[0]
    mask = _mask(spot.cell) if spot.cell.bit is not None else b"\xff" * len(data)
    return all(p & m == w for p, m, w in zip(present, mask, data, strict=True))


async def _put_coil(ask: pdu.Ask, by: WriteBy, address: int, on: bool) -> None:
    if by == "multiple":
        await _send(ask, pdu.write_coils(address, [on]))
    else:
        await _send(ask, pdu.write_coil(address, on))


def _mask(cell: Cell) -> bytes:
    """The bits of its register that a cell occupies, as on the wire."""
    return encode(Cell(0, order=cell.order), bit_mask(cell))


async def _send(ask: pdu.Ask, request: pdu.Request) -> bytes | None:
    """The answer to a write; None when the device said that it has taken it up (exception 5).

    Such a write shows in what is read back and must not be sent again.
    """
    try:
        return await ask(request)
    except DeviceRefused as error:
        if error.code != ACKNOWLEDGED:
            raise
        return None


_NOT_HELD = Text(
    "设备确认了写入但寄存器为 {found}, 应为 {wanted}; 请核对量程, 是否就地控制",
    "it acknowledged the write and holds {found} instead of {wanted}; compare the range, and "
    "whether it is under local control",
)
