"""Modbus protocol data units: the requests we send and what makes an answer theirs. Pure.

Not framing (`mbap.py`), not the meaning of registers (`codec.py`). Clause numbers are those of
"MODBUS Application Protocol Specification V1.1b3". Called by `plan`, `parts`, `driver`, `link`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
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
EXCEPTION: Final = 0x80  # an exception answer carries the function plus this bit (§7)

MAX_READ_BITS: Final = 2000
MAX_READ_REGISTERS: Final = 125
ADDRESSES: Final = 65536


class Request(NamedTuple):
    """A PDU to send and what makes an answer its answer: how it begins and how long it is."""

    pdu: bytes
    head: bytes
    size: int


def read(function: int, address: int, count: int) -> Request:
    """Functions 1 to 4 (§6.1-6.4)."""
    size = (count + 7) // 8 if function in (READ_COILS, READ_DISCRETE) else 2 * count
    return Request(struct.pack(">BHH", function, address, count), bytes((function, size)), 2 + size)


def write_coil(address: int, on: bool) -> Request:
    """Function 5 (§6.5); the answer is an echo."""
    pdu = struct.pack(">BHH", WRITE_COIL, address, 0xFF00 if on else 0)
    return Request(pdu, pdu, 5)


def write_register(address: int, data: bytes) -> Request:
    """Function 6 (§6.6), `data` is one register as on the wire; the answer is an echo."""
    pdu = struct.pack(">BH", WRITE_REGISTER, address) + data
    return Request(pdu, pdu, 5)


def write_coils(address: int, on: Sequence[bool]) -> Request:
    """Function 15 (§6.11)."""
    data = np.packbits(np.asarray(on, np.bool_), bitorder="little").tobytes()
    head = struct.pack(">BHH", WRITE_COILS, address, len(on))
    return Request(head + bytes((len(data),)) + data, head, 5)


def write_registers(address: int, data: bytes) -> Request:
    """Function 16 (§6.12), `data` is registers as on the wire."""
    head = struct.pack(">BHH", WRITE_REGISTERS, address, len(data) // 2)
    return Request(head + bytes((len(data),)) + data, head, 5)


def answers(request: Request, pdu: bytes) -> bool:
    """Whether `pdu` is a normal answer to `request`: function, length, and the echo of a write."""
    return len(pdu) == request.size and pdu.startswith(request.head)


def refusal(request: Request, pdu: bytes) -> int | None:
    """The exception code, when `pdu` is an exception answer to `request`."""
    return pdu[1] if len(pdu) == 2 and pdu[0] == request.pdu[0] | EXCEPTION else None
