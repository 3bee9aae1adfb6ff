"""RTU framing: a PDU between its unit and a check sum, and such frames found among other bytes.

Pure: no port, no time. Nothing marks where an RTU frame begins; it is found by unit, function,
length and check sum. Called by `line.py`. Source: "MODBUS over Serial Line V1.02", §2.5.1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from drivers.modbus import pdu

GREATEST: Final = 256  # bytes of a frame
_BITS: Final = 11  # of a character: start, 8 data bits, parity or a second stop bit, stop
_AROUND: Final = 3  # bytes of a frame that are not its PDU
_IDENTIFY: Final = pdu.identify(pdu.BASIC)


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


_TABLE: Final = tuple(_row(byte) for byte in range(256))


def check_sum(data: bytes) -> bytes:
    """The CRC of a frame, low byte first as it follows on the wire (§6.2.2)."""
    value, table = 0xFFFF, _TABLE
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def wrap(unit: int, body: bytes) -> bytes:
    """The frame to send."""
    frame = bytes((unit,)) + body
    return frame + check_sum(frame)


def wire_time(baud: int, count: int) -> float:
    """Seconds that so many bytes take on the line."""
    return count * _BITS / baud


def silence(baud: int) -> float:
    """t3.5 in seconds: the silence between two frames (§2.5.1.1)."""
    return 3.5 * _BITS / baud if baud <= 19200 else 0.00175


class Found(NamedTuple):
    """What stands among some bytes.

    `body` is the PDU of the first whole frame of one of the wanted units, None when there is none,
    and `start` to `end` where the frame stands. `damaged`: before any whole frame, something begins
    like an answer to the request, has its full length, and fails its check sum.
    """

    unit: int = 0
    body: bytes | None = None
    start: int = 0
    end: int = 0
    damaged: bool = False


def find(data: bytes, units: frozenset[int], unit: int = -1, function: int = 0) -> Found:
    """Look for a whole answer of one of `units`; `damaged` is about `unit` and `function`."""
    damaged = waiting = False
    for start in range(len(data) - 1):
        if data[start] not in units:
            continue
        size = _length(data[start + 1 : start + GREATEST])
        ours = data[start] == unit and data[start + 1] & 0x7F == function
        if size is None:
            waiting = waiting or (ours and not damaged)
            continue
        end = start + size + _AROUND
        if not size or end - start > GREATEST:
            continue
        if end > len(data):
            waiting = waiting or (ours and not damaged)
        elif check_sum(data[start : end - 2]) == data[end - 2 : end]:
            return Found(data[start], data[start + 1 : end - 2], start, end)
        elif ours and not waiting:
            damaged = True
    return Found(damaged=damaged)


def _length(begun: bytes) -> int | None:
    """How long the answer is that begins so, by its own word; 0 for a function that we never use.

    None: more of it must be seen.
    """
    function = begun[0]
    if function & pdu.EXCEPTION:
        return 2 if function & 0x7F in _FIXED or function & 0x7F in _COUNTED else 0
    if function in _COUNTED:
        return 2 + begun[1] if len(begun) > 1 else None
    if function == pdu.INTERFACE:
        return pdu.length(_IDENTIFY, begun)
    return _FIXED.get(function, 0)


_COUNTED: Final = frozenset(
    (pdu.READ_COILS, pdu.READ_DISCRETE, pdu.READ_HOLDING, pdu.READ_INPUT, pdu.READ_WRITE)
)
_FIXED: Final = {
    pdu.WRITE_COIL: 5,
    pdu.WRITE_REGISTER: 5,
    pdu.WRITE_COILS: 5,
    pdu.WRITE_REGISTERS: 5,
    pdu.MASK_WRITE: 7,
    pdu.INTERFACE: 0,  # here for its exceptions only: an answer says itself how long it is
}
