"""Modbus protocol data units: the requests we send and what makes an answer theirs. Pure.

Not framing (`mbap.py`, `rtu.py`), not the meaning of registers (`codec.py`). Clause numbers are
those of "MODBUS Application Protocol Specification V1.1b3". Called by `plan`, `parts`, `identity`,
`writing`, `driver` and `link`.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

READ_COILS: Final = 1
READ_DISCRETE: Final = 2
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_COILS: Final = 15
WRITE_REGISTERS: Final = 16
MASK_WRITE: Final = 22
READ_WRITE: Final = 23
INTERFACE: Final = 0x2B  # encapsulated; 0x0E in it is "read device identification"
IDENTIFICATION: Final = 0x0E
EXCEPTION: Final = 0x80  # an exception answer carries the function plus this bit (§7)

BASIC: Final = 1  # streams of identification objects: vendor, product code, revision
REGULAR: Final = 2  # and vendor's address, product name, model, application

MAX_READ_BITS: Final = 2000
MAX_READ_REGISTERS: Final = 125
MAX_WRITE_BITS: Final = 1968
MAX_WRITE_REGISTERS: Final = 123
MAX_READ_WRITE_REGISTERS: Final = 121  # written by function 23, which reads up to 125
MAX_PDU: Final = 253
ADDRESSES: Final = 65536


class Request(NamedTuple):
    """A PDU to send and what makes an answer its answer: how it begins and how long it is.

    `size` is 0 where only the answer itself says how long it is (identification).
    """

    pdu: bytes
    head: bytes
    size: int


Ask = Callable[[Request], Awaitable[bytes]]
"""Sends a request to one device and gives back its answer, for which `answers` holds."""


def read(function: int, address: int, count: int) -> Request:
    """Functions 1 to 4 (§6.1-6.4)."""
    bits = function in (READ_COILS, READ_DISCRETE)
    _limit(address, count, MAX_READ_BITS if bits else MAX_READ_REGISTERS)
    size = (count + 7) // 8 if bits else 2 * count
    return Request(struct.pack(">BHH", function, address, count), bytes((function, size)), 2 + size)


def write_coil(address: int, on: bool) -> Request:
    """Function 5 (§6.5); the answer is an echo."""
    pdu = struct.pack(">BHH", WRITE_COIL, address, 0xFF00 if on else 0)
    return Request(pdu, pdu, 5)


def write_register(address: int, data: bytes) -> Request:
    """Function 6 (§6.6), `data` is one register as on the wire; the answer is an echo."""
    _limit(address, _registers(data), 1)
    pdu = struct.pack(">BH", WRITE_REGISTER, address) + data
    return Request(pdu, pdu, 5)


def write_coils(address: int, on: Sequence[bool]) -> Request:
    """Function 15 (§6.11)."""
    _limit(address, len(on), MAX_WRITE_BITS)
    data = np.packbits(np.asarray(on, np.bool_), bitorder="little").tobytes()
    head = struct.pack(">BHH", WRITE_COILS, address, len(on))
    return Request(head + bytes((len(data),)) + data, head, 5)


def write_registers(address: int, data: bytes) -> Request:
    """Function 16 (§6.12), `data` is registers as on the wire."""
    count = _registers(data)
    _limit(address, count, MAX_WRITE_REGISTERS)
    head = struct.pack(">BHH", WRITE_REGISTERS, address, count)
    return Request(head + bytes((len(data),)) + data, head, 5)


def mask_write(address: int, mask: bytes, data: bytes) -> Request:
    """Function 22 (§6.16): set the bits in `mask` to those of `data`, both one register as on the
    wire, and leave the others to the device; the answer is an echo."""
    _limit(address, _registers(mask), 1)
    _limit(address, _registers(data), 1)
    keep = bytes(byte ^ 0xFF for byte in mask)
    pdu = struct.pack(">BH", MASK_WRITE, address) + keep + data
    return Request(pdu, pdu, 7)


def read_write(address: int, count: int, write_at: int, data: bytes) -> Request:
    """Function 23 (§6.17): the device first writes `data`, then reads `count` registers."""
    written = _registers(data)
    _limit(address, count, MAX_READ_REGISTERS)
    _limit(write_at, written, MAX_READ_WRITE_REGISTERS)
    head = struct.pack(">BHHHHB", READ_WRITE, address, count, write_at, written, len(data))
    return Request(head + data, bytes((READ_WRITE, 2 * count)), 2 + 2 * count)


def identify(stream: int, first: int = 0) -> Request:
    """Function 43 / 14 (§6.21): the objects of a stream (`BASIC`, `REGULAR`), from `first` on."""
    head = bytes((INTERFACE, IDENTIFICATION, stream))
    return Request(head + bytes((first,)), head, 0)


class Identification(NamedTuple):
    """An answer to `identify`: objects by number, and where to go on, None at the end."""

    objects: dict[int, bytes]
    next: int | None


def identification(pdu: bytes) -> Identification:
    """What stands in an answer for which `answers` holds."""
    objects, at = {}, _OBJECTS
    for _ in range(pdu[6]):
        number, size = pdu[at], pdu[at + 1]
        objects[number] = pdu[at + 2 : at + 2 + size]
        at += 2 + size
    return Identification(objects, pdu[5] if pdu[4] else None)


_OBJECTS: Final = 7  # function, 0x0E, stream, conformity, more follows, next object, how many


def length(request: Request, begun: bytes) -> int | None:
    """How long the PDU is that begins with these bytes; None while more of it must be seen.

    For a line, where nothing but the answer itself says where it ends. Never more than `MAX_PDU`.
    """
    if not begun:
        return None
    if begun[0] == request.pdu[0] | EXCEPTION:
        return 2
    if request.size:
        return request.size
    if len(begun) < _OBJECTS:
        return None
    at = _OBJECTS
    for _ in range(begun[6]):
        if at + 2 > MAX_PDU:
            return MAX_PDU
        if at + 2 > len(begun):
            return None
        at += 2 + begun[at + 1]
    return min(at, MAX_PDU)


def answers(request: Request, pdu: bytes) -> bool:
    """Whether `pdu` is a normal answer to `request`: function, length, and the echo of a write."""
    if request.size:
        return len(pdu) == request.size and pdu.startswith(request.head)
    return pdu.startswith(request.head) and _is_identification(pdu)


def refusal(request: Request, pdu: bytes) -> int | None:
    """The exception code, when `pdu` is an exception answer to `request`."""
    return pdu[1] if len(pdu) == 2 and pdu[0] == request.pdu[0] | EXCEPTION else None


def _is_identification(pdu: bytes) -> bool:
    """Whether the objects fill the answer exactly, and "more follows" is said as it must be."""
    if len(pdu) < _OBJECTS or pdu[4] not in (0x00, 0xFF):
        return False
    at = _OBJECTS
    for _ in range(pdu[6]):
        if at + 2 > len(pdu):
            return False
        at += 2 + pdu[at + 1]
    return at == len(pdu)


def _registers(data: bytes) -> int:
    if len(data) % 2:
        raise ValueError(f"{len(data)} bytes are no registers")
    return len(data) // 2


def _limit(address: int, count: int, most: int) -> None:
    """What `plan.check` and the models refuse long before; here it is a bug of the caller."""
    if not 1 <= count <= most or not 0 <= address <= ADDRESSES - count:
        raise ValueError(f"{count} from {address}: one request takes 1 to {most}")
