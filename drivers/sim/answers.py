"""What a simulated Modbus unit answers to one request, as the standard says.

Plain functions over a `Unit`, without frames and faults; shares nothing with `drivers/modbus`.
Source: "MODBUS Application Protocol Specification V1.1b3", §6. Called by the servers beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from drivers.sim.registers import BadValue, NoSuchAddress, Table, Unit, bits_of, words_of

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
LONGEST: Final = 253  # bytes of a PDU
_READS: Final[Mapping[int, Table]] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_LAST_OBJECT: Final = {1: 2, 2: 127, 3: 255}  # of the basic, regular and extended identification
_IDENTIFICATION: Final = 0x0E  # the one kind of function 43 that devices have


def answer(unit: Unit, pdu: bytes) -> bytes:
    """Carry out one request."""
    try:
        return _perform(unit, pdu)
    except (NoSuchAddress, KeyError):
        return bytes([pdu[0] | 0x80, ILLEGAL_ADDRESS])
    except (BadValue, ValueError, IndexError, struct.error):
        return bytes([pdu[0] | 0x80, ILLEGAL_VALUE])


def _perform(unit: Unit, pdu: bytes) -> bytes:
    function = pdu[0]
    if function in _READS:
        return bytes([function]) + _read(unit, function, pdu[1:5])
    if function == 5:
        address, value = struct.unpack(">HH", pdu[1:])
        if value not in (0x0000, 0xFF00):
            raise BadValue(value)
        unit.put_bits(address, [value == 0xFF00])
        return pdu
    if function == 6:
        unit.put_words(struct.unpack(">H", pdu[1:3])[0], pdu[3:])
        return pdu
    if function in (15, 16):
        _write(unit, function, pdu[1:])
        return pdu[:5]
    if function == 22:
        address, keep, put = struct.unpack(">HHH", pdu[1:])
        there = words_of(unit.values("holding", address, 1), address, 1)
        word = int.from_bytes(there, "big") & keep | put & ~keep
        unit.put_words(address, word.to_bytes(2, "big"))
        return pdu
    if function == 23:
        _write(unit, 16, pdu[5:])  # first, says the standard
        return bytes([function]) + _read(unit, 3, pdu[1:5])
    if function == 43 and unit.identity:
        return pdu[:2] + _identification(unit.identity, pdu[1:])
    return bytes([function | 0x80, ILLEGAL_FUNCTION])


def _read(unit: Unit, function: int, asked: bytes) -> bytes:
    address, count = struct.unpack(">HH", asked)
    bits = function in (1, 2)
    if not 1 <= count <= (2000 if bits else 125):
        raise BadValue(count)
    values = unit.values(_READS[function], address, count)
    payload = (bits_of if bits else words_of)(values, address, count)
    return bytes([len(payload)]) + payload


def _write(unit: Unit, function: int, asked: bytes) -> None:
    address, count, size = struct.unpack(">HHB", asked[:5])
    data = asked[5:]
    if len(data) != size or size != ((count + 7) // 8 if function == 15 else 2 * count):
        raise BadValue(size)
    if function == 15:
        packed = int.from_bytes(data, "little")
        unit.put_bits(address, [bool(packed >> i & 1) for i in range(count)])
    else:
        unit.put_words(address, data)


def _identification(identity: Mapping[int, str], asked: bytes) -> bytes:
    """What follows function and kind: as many objects as fit, and where the rest begins."""
    kind, code, first = struct.unpack(">BBB", asked)
    if kind != _IDENTIFICATION or code not in (1, 2, 3, 4):
        raise BadValue(code)
    if code == 4 and first not in identity:
        raise NoSuchAddress(first)
    wanted = [first] if code == 4 else list(_stream(identity, _LAST_OBJECT[code], first))
    objects, following = b"", 0
    count = 0
    for number in wanted:
        text = identity[number].encode()
        if 7 + len(objects) + 2 + len(text) > LONGEST:
            following = number
            break
        objects += bytes([number, len(text)]) + text
        count += 1
    conformity = 0x82 if max(identity) > _LAST_OBJECT[1] else 0x81
    more = 0xFF if following else 0
    return bytes([code, conformity, more, following, count]) + objects


def _stream(identity: Mapping[int, str], last: int, first: int) -> Iterator[int]:
    """The objects from `first` on; from the beginning where there is no such object."""
    start = first if first in identity else 0
    return (number for number in sorted(identity) if start <= number <= last)
