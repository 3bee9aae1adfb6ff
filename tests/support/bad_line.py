"""What a line does to the frames on it: nothing, one fault with a seed, or byte times.

Used by the faulty device between its units and the medium. Not what a unit does wrong
(`modbus_device.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Trouble(Enum):
    """What is wrong with a line."""

    BYTES = "answers arrive one byte at a time"
    CORRUPT = "bits are flipped"
    LATE = "answers come after the time-out"
    TWICE = "answers come two times"
    LATE_TWICE = "answers come after the time-out, and then two times"
    UNIT = "answers are those of another unit"
    DROP = "the connection is cut before, within or after an answer"
    NOISE = "bytes that belong to nothing stand before or after an answer"
    ECHO = "requests come back, as from an adapter that hears itself"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that arrive `pause` seconds after the piece before; `data` None: the line is cut."""

    data: bytes | None
    pause: float = 0.0


class Line:
    """A line without faults."""

    def request(self, data: bytes, *, rtu: bool) -> tuple[bytes, bytes]:
        """What the device hears of bytes that were sent to it, and what comes back at once."""
        return data, b""

    def arrival(self, length: int) -> float:
        """Seconds until the device has heard a request of so many bytes."""
        return 0.0

    def answer(self, frame: bytes, *, rtu: bool) -> Sequence[Piece]:
        """How a frame arrives."""
        return (Piece(frame),)


class BadLine(Line):
    """A line with one trouble that hits a `share` of the answers, always the same for one `seed`.

    `hurt` counts the frames that it spoilt: those that cannot have been understood in time. On RTU
    an echo is none of them: adapters do that, to every request, and it can be told from an answer.
    Corruption flips 1 to 3 bits, which a CRC always detects; an RTU request is hit as often as an
    answer. Modbus TCP has no check of its own: nobody can tell a flipped bit in a value from
    another value, so there only transaction, protocol, length, unit and function are corrupted, and
    of answers only. `timeout` is that of the other end, for answers that are to miss it.
    """

    def __init__(self, trouble: Trouble, seed: int, *, share: float, timeout: float) -> None:
        self.trouble, self.share, self.timeout = trouble, share, timeout
        self.hurt = 0
        self._chance = random.Random(seed)

    def _hits(self) -> bool:
        return self._chance.random() < self.share

    def request(self, data: bytes, *, rtu: bool) -> tuple[bytes, bytes]:
        if self.trouble is Trouble.ECHO and self._hits():
            self.hurt += not rtu
            return data, data
        if self.trouble is Trouble.CORRUPT and rtu and self._hits():
            self.hurt += 1
            return self._flipped(data, range(8 * len(data))), b""
        return data, b""

    def answer(self, frame: bytes, *, rtu: bool) -> Sequence[Piece]:
        if self.trouble is Trouble.BYTES:
            return [Piece(bytes([byte])) for byte in frame]
        if self.trouble is Trouble.ECHO or not self._hits():
            return (Piece(frame),)
        return self._spoilt(frame, rtu)

    def _spoilt(self, frame: bytes, rtu: bool) -> Sequence[Piece]:
        chance = self._chance
        if self.trouble is Trouble.TWICE:
            return (Piece(frame + frame),)
        self.hurt += 1
        if self.trouble is Trouble.CORRUPT:
            bits = range(8 * len(frame)) if rtu else range(8 * 8)
            return (Piece(self._flipped(frame, bits)),)
        if self.trouble in (Trouble.LATE, Trouble.LATE_TWICE):
            frame *= 2 if self.trouble is Trouble.LATE_TWICE else 1
            return (Piece(frame, self.timeout * chance.uniform(1.1, 2.5)),)
        if self.trouble is Trouble.UNIT:
            return (Piece(_readdressed(frame, chance.randint(1, 246), rtu)),)
        if self.trouble is Trouble.NOISE:
            noise = chance.randbytes(chance.randint(1, 5))
            return (Piece(noise + frame if chance.random() < 0.5 else frame + noise),)
        at = chance.choice((0, len(frame), chance.randint(1, len(frame) - 1)))
        return (Piece(frame[:at]), Piece(None))

    def _flipped(self, data: bytes, bits: range) -> bytes:
        """1 to 3 of these bits flipped."""
        number = int.from_bytes(data, "big")
        for bit in self._chance.sample(bits, self._chance.randint(1, 3)):
            number ^= 1 << (8 * len(data) - 1 - bit)
        return number.to_bytes(len(data), "big")


class Several(Line):
    """Several troubles at once: what one makes of a frame goes through the next.

    Not for `Trouble.BYTES`, whose pieces are no frames.
    """

    def __init__(self, *lines: Line) -> None:
        self._lines = lines

    def request(self, data: bytes, *, rtu: bool) -> tuple[bytes, bytes]:
        back = b""
        for line in self._lines:
            data, more = line.request(data, rtu=rtu)
            back += more
        return data, back

    def answer(self, frame: bytes, *, rtu: bool) -> Sequence[Piece]:
        pieces = [Piece(frame)]
        for line in self._lines:
            pieces = [piece for before in pieces for piece in _through(line, before, rtu)]
        return pieces


def _through(line: Line, piece: Piece, rtu: bool) -> Sequence[Piece]:
    """A piece of at least the shortest frame as another line passes it on; others as they are."""
    if piece.data is None or len(piece.data) < 5:
        return (piece,)
    first, *rest = line.answer(piece.data, rtu=rtu)
    return (Piece(first.data, first.pause + piece.pause), *rest)


class PacedLine(Line):
    """A serial line at so many bit/s, 11 bits a character: requests and answers take their time.

    A unit answers t3.5 and `turnaround` after a request. The bytes arrive in pieces of about 4 ms,
    as from a USB adapter. What `other` does to the frames comes first.
    """

    def __init__(self, baud: int, *, turnaround: float = 0.005, other: Line | None = None) -> None:
        self.character = 11 / baud
        self.silence = 3.5 * self.character if baud <= 19200 else 0.00175
        self.turnaround = turnaround
        self.other = other or Line()

    def request(self, data: bytes, *, rtu: bool) -> tuple[bytes, bytes]:
        return self.other.request(data, rtu=rtu)

    def arrival(self, length: int) -> float:
        return length * self.character + self.silence + self.turnaround

    def answer(self, frame: bytes, *, rtu: bool) -> Sequence[Piece]:
        step = max(1, int(0.004 / self.character))
        pieces: list[Piece] = []
        for piece in self.other.answer(frame, rtu=rtu):
            if piece.data is None:
                pieces.append(piece)
                continue
            pause = piece.pause
            for i in range(0, len(piece.data), step):
                part = piece.data[i : i + step]
                pieces.append(Piece(part, pause + len(part) * self.character))
                pause = 0.0
        return pieces


def crc(data: bytes) -> bytes:
    """The check sum of an RTU frame, bit by bit (Serial Line V1.02, §6.2.2), low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def _readdressed(frame: bytes, by: int, rtu: bool) -> bytes:
    """The frame as of another unit in 1 to 247, which holds something else."""
    at, end = (0, len(frame) - 2) if rtu else (6, len(frame))
    body = bytearray(frame[:end])
    body[at] = (body[at] - 1 + by) % 247 + 1
    body[-1] ^= 0x55
    return bytes(body) + (crc(body) if rtu else b"")
