"""BACnet services as bytes: what a request carries and what an answer brings.

Pure and small (ASHRAE 135 clauses 20.2 and 21): the three services that the driver asks for,
numbers and texts in application tags. Headers, invoke ids, retries and addresses are the link's.
Called by `driver.py` only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

READ_PROPERTY, READ_PROPERTY_MULTIPLE, WRITE_PROPERTY = 12, 14, 15  # confirmed services

NULL = b"\x00"  # an application tag without a value: what relinquishes

# Application tags that hold a number (clause 20.2.1.4).
BOOLEAN, UNSIGNED, SIGNED, REAL, DOUBLE, ENUMERATED = 1, 2, 3, 4, 5, 9
CHARACTERS = 7

# The character sets of clause 20.2.9: UTF-8, UCS-4, UCS-2, ISO 8859-1. Others are tried as UTF-8.
_CHARSETS = {3: ("utf-32-be",), 4: ("utf-16-be",), 5: ("latin-1",)}

_CONTEXT, _OPENING, _CLOSING = 0x08, 6, 7
INSTANCE_BITS = 22


class Malformed(ValueError):
    """The bytes are not what the service says."""


class NotANumber(ValueError):
    """The bytes are well-formed, but a number is not what they hold, or not one that fits."""


class Refusal(NamedTuple):
    """The error that stands in place of one property's value (clause 18): class and code."""

    error_class: int
    error_code: int


Property = tuple[int, int]  # object identifier as one number, property identifier


def object_identifier(kind: int, instance: int) -> int:
    """An object type and an instance as the 32-bit number of clause 20.2.14."""
    return kind << INSTANCE_BITS | instance


# ── requests ──────────────────────────────────────────────────────────────────────────────────────


def _context(number: int, value: int, size: int = 0) -> bytes:
    """A context-tagged unsigned number, in `size` octets or as few as hold it."""
    size = size or max(1, (value.bit_length() + 7) // 8)
    return bytes((number << 4 | _CONTEXT | size,)) + value.to_bytes(size, "big")


def read_property(target: Property) -> bytes:
    """The service data of ReadProperty."""
    return _context(0, target[0], 4) + _context(1, target[1])


def read_property_multiple(targets: Iterable[Property]) -> bytes:
    """The service data of ReadPropertyMultiple; neighbours of one object share their header."""
    out = bytearray()
    current = -1
    for identifier, prop in targets:
        if identifier != current:
            out += b"\x1f" if current >= 0 else b""
            out += _context(0, identifier, 4) + b"\x1e"
            current = identifier
        out += _context(0, prop)
    return bytes(out + b"\x1f")


def write_property(target: Property, value: bytes, priority: int | None) -> bytes:
    """The service data of WriteProperty; `value` is application-tagged."""
    head = read_property(target) + b"\x3e" + value + b"\x3f"
    return head if priority is None else head + _context(4, priority)


# ── answers ───────────────────────────────────────────────────────────────────────────────────────


class _Reader:
    """Walks over tags. Every step checks that the octets are there."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def octets(self, count: int) -> bytes:
        chunk = self.data[self.at : self.at + count]
        if len(chunk) != count:
            raise Malformed("the answer ends early")
        self.at += count
        return chunk

    def done(self) -> bool:
        return self.at >= len(self.data)

    def peek(self) -> int:
        if self.done():
            raise Malformed("the answer ends early")
        return self.data[self.at]

    def tag(self) -> tuple[int, bool, int]:
        """The tag here: number, whether context-specific, length (or opening, closing)."""
        first = self.octets(1)[0]
        number, context, length = first >> 4, bool(first & _CONTEXT), first & 7
        if number == 15:
            number = self.octets(1)[0]
        if length == 5:
            length = self.octets(1)[0]
            if length >= 254:
                length = int.from_bytes(self.octets(2 if length == 254 else 4), "big")
        elif length > 5:
            length = -length if context else 0  # negative: opening or closing
        if not context and number == BOOLEAN:
            length = 0  # its value stands in the tag itself
        return number, context, length

    def unsigned(self, number: int) -> int:
        """The content of context tag `number`."""
        found, context, length = self.tag()
        if found != number or not context or not 1 <= length <= 4:
            raise Malformed(f"context tag {number} expected")
        return int.from_bytes(self.octets(length), "big")

    def expect(self, octet: int) -> None:
        """One opening or closing tag, given as the octet it is."""
        if self.octets(1)[0] != octet:
            raise Malformed(f"tag 0x{octet:02x} expected")

    def skip(self) -> bytes:
        """One whole element, however deeply nested, as it stands in the data."""
        start, depth = self.at, 0
        while True:
            _, _, length = self.tag()
            if length == -_OPENING:
                depth += 1
            elif length == -_CLOSING:
                depth -= 1
            else:
                self.octets(length)
            if depth < 0:
                raise Malformed("a closing tag without its opening")
            if depth == 0:
                return self.data[start : self.at]

    def until(self, closing: int) -> bytes:
        """Everything up to the closing tag (an octet), which is consumed too."""
        start = self.at
        while self.peek() != closing:
            self.skip()
        self.at += 1
        return self.data[start : self.at - 1]

    def error(self) -> Refusal:
        """Error class and code, both as application-tagged enumerations."""
        codes = []
        for _ in range(2):
            number, context, length = self.tag()
            if number != ENUMERATED or context or not 1 <= length <= 4:
                raise Malformed("error class and code expected")
            codes.append(int.from_bytes(self.octets(length), "big"))
        return Refusal(*codes)


def property_value(data: bytes, target: Property) -> bytes:
    """The value in a ReadProperty answer, application-tagged; it must answer `target`."""
    reader = _Reader(data)
    if (reader.unsigned(0), reader.unsigned(1)) != target:
        raise Malformed("the answer is about another property")
    reader.expect(0x3E)
    value = reader.until(0x3F)
    if not reader.done():
        raise Malformed("the answer goes on after its end")
    return value


def property_values(data: bytes, targets: Sequence[Property]) -> list[bytes | Refusal]:
    """The values in a ReadPropertyMultiple answer, in the order of `targets`, which it must match.

    A value is application-tagged; a property that the device refused is a `Refusal`.
    """
    found: dict[Property, bytes | Refusal] = {}
    reader = _Reader(data)
    while not reader.done():
        identifier = reader.unsigned(0)
        reader.expect(0x1E)
        while reader.peek() != 0x1F:
            prop = reader.unsigned(2)
            opening = reader.octets(1)[0]
            if opening == 0x4E:
                found[identifier, prop] = reader.until(0x4F)
            elif opening == 0x5E:
                found[identifier, prop] = reader.error()
                reader.expect(0x5F)
            else:
                raise Malformed("a value or an error expected")
        reader.at += 1
    if len(found) != len(targets):
        raise Malformed(f"{len(found)} properties answered, {len(targets)} asked for")
    try:
        return [found[target] for target in targets]
    except KeyError:
        raise Malformed("the answer is about other properties") from None


def elements(data: bytes) -> list[bytes]:
    """The elements of an array, each as it stands in the data."""
    reader = _Reader(data)
    out = []
    while not reader.done():
        out.append(reader.skip())
    return out


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────


def application_tag(data: bytes) -> int:
    """The application tag number of a primitive value, -1 for anything else."""
    return data[0] >> 4 if data and not data[0] & _CONTEXT else -1


def number(data: bytes) -> float:
    """One application-tagged number as a float; active is 1, true is 1."""
    if data[:1] == b"\x44" and len(data) == 5:
        return float(struct.unpack(">f", data[1:])[0])  # what nearly all of them are
    reader = _Reader(data)
    kind, context, length = reader.tag()
    if kind == BOOLEAN and not context and reader.done():
        return float(data[0] & 7)
    content = reader.octets(max(length, 0))
    if context or not reader.done() or not content:
        raise NotANumber("not one number")
    if kind in (UNSIGNED, ENUMERATED):
        return float(int.from_bytes(content, "big"))
    if kind == SIGNED:
        return float(int.from_bytes(content, "big", signed=True))
    if kind == REAL and length == 4:
        return float(struct.unpack(">f", content)[0])
    if kind == DOUBLE and length == 8:
        return float(struct.unpack(">d", content)[0])
    raise NotANumber(f"application tag {kind}")


def encoded(value: float, kind: int) -> bytes:
    """A number in application tag `kind`; whole numbers are rounded, what cannot fit is refused."""
    try:
        if kind == REAL:
            return b"\x44" + struct.pack(">f", value)
        if kind == DOUBLE:
            return b"\x55\x08" + struct.pack(">d", value)
        whole = round(value)
        if kind == BOOLEAN and whole in (0, 1):
            return bytes((0x10 | whole,))
        if kind not in (UNSIGNED, SIGNED, ENUMERATED):
            raise NotANumber(f"application tag {kind}")
        signed = kind == SIGNED
        size = max(1, ((whole if whole >= 0 else ~whole).bit_length() + signed + 7) // 8)
        if size > 4:
            raise OverflowError
        return bytes((kind << 4 | size,)) + whole.to_bytes(size, "big", signed=signed)
    except (OverflowError, ValueError) as error:
        raise NotANumber(f"{value!r} does not fit application tag {kind}") from error


def text(data: bytes) -> str:
    """A character string (clause 20.2.9) as it is to be read by people, "" for anything else.

    Many devices say UTF-8 and mean GBK, so whatever fits is taken.
    """
    reader = _Reader(data)
    try:
        kind, context, length = reader.tag()
        content = reader.octets(max(length, 0))
    except Malformed:
        return ""
    if kind != CHARACTERS or context or not content:
        return ""
    charset, rest = content[0], content[1:]
    for codec in _CHARSETS.get(charset, ("utf-8", "gbk")):
        with suppress(UnicodeDecodeError):
            return "".join(c for c in rest.decode(codec).strip() if c.isprintable())
    return ""


def flags(data: bytes) -> int:
    """Status flags (bit string of four): in-alarm 8, fault 4, overridden 2, out-of-service 1."""
    if data[:2] != b"\x82\x04" or len(data) != 3:
        raise Malformed("status flags expected")
    return data[2] >> 4
