"""Modbus TCP framing: the MBAP header in front of a PDU, and frames cut out of a byte stream.

Pure: no socket, no time. One per connection, called by `link.py`. Source: "MODBUS Messaging on
TCP/IP Implementation Guide V1.0b", §3.1.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

HEADER: Final = struct.Struct(">HHHB")  # transaction, protocol 0, length of unit and PDU, unit
_SMALLEST: Final = 3  # unit, function and one more byte: there is no shorter answer
_GREATEST: Final = 254  # unit and a PDU of 253 bytes


class Frame(NamedTuple):
    """One frame as it came."""

    transaction: int
    unit: int
    pdu: bytes


class Garbled(Exception):
    """The stream is not Modbus TCP; where the next frame begins cannot be known."""


def wrap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """The frame to send."""
    return HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class Unwrapper:
    """Cuts frames out of a stream however it was divided; keeps less than one frame in `rest`."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises Garbled at the first impossible header."""
        if self.rest:
            data = self.rest + data
        frames: list[Frame] = []
        start, end = 0, len(data)
        while end - start >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(data, start)
            if protocol or not _SMALLEST <= length <= _GREATEST:
                raise Garbled
            after = start + 6 + length
            if after > end:
                break
            frames.append(Frame(transaction, unit, data[start + 7 : after]))
            start = after
        self.rest = data[start:]
        return frames
