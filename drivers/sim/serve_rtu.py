"""Simulated units on a serial line without hardware: Modbus RTU on a pseudo-terminal.

The units and their faults are those of a `ModbusServer`; frames are coded here and share
nothing with `drivers/modbus`. Nothing is paced: a pseudo-terminal has no baud rate. Used by
`equipment.py`.
"""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from drivers.sim.registers import Unit
from drivers.sim.serve_modbus import ModbusServer

SILENCE: Final = 0.02  # s after which what has come is a frame, or nothing
LONGEST: Final = 256
_FIXED: Final = {**dict.fromkeys((1, 2, 3, 4, 5, 6), 8), 22: 10, 43: 7}
_COUNTED: Final = {15: 6, 16: 6, 23: 10}  # where the number of data bytes stands


def crc(data: bytes) -> int:
    """The checksum of "MODBUS over Serial Line V1.02", §6.2.2; its low byte is sent first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def framed(unit: int, pdu: bytes) -> bytes:
    """Address, PDU and checksum."""
    frame = bytes([unit]) + pdu
    return frame + crc(frame).to_bytes(2, "little")


def spoiled(answer: str, unit: int, pdu: bytes) -> bytes:
    """The frame around an answer, right or wrong in the one way that `answer` says."""
    if answer == "garbage":
        return b"\xde\xad\xbe\xef" * 8
    if answer == "unit":
        unit = unit + 1 & 0xFF
    if answer == "function":
        pdu = bytes([3 if pdu[0] == 4 else 4]) + pdu[1:]
    if answer == "short":
        pdu = bytes([pdu[0], max(pdu[1] - 2, 0)]) + pdu[2:-2]
    frame = framed(unit, pdu)
    if answer == "transaction":  # there is none here: the checksum is what does not match
        return frame[:-1] + bytes([frame[-1] ^ 0xFF])
    return frame


class SerialLine:
    """A line with the units of `server`; an async context manager that holds the terminal.

    `path` is what a site writes as `serial:`. A `link` to it is made where one is wanted: the
    terminal has another name at each start.
    """

    def __init__(self, server: ModbusServer, link: Path | None = None) -> None:
        self._server, self._link = server, link
        self.path = ""
        self._master = self._slave = -1
        self._buffer = bytearray()
        self._pause: asyncio.TimerHandle | None = None

    @property
    def units(self) -> Mapping[int, Unit]:
        """The units that answer here."""
        return self._server.units

    async def __aenter__(self) -> SerialLine:
        """Open the terminal; OSError when the link cannot be made."""
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self.path = os.ttyname(self._slave)
            if self._link is not None:
                if self._link.is_symlink():
                    self._link.unlink()
                self._link.symlink_to(self.path)
                self.path = str(self._link)
        except OSError:
            self._close()
            raise
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(self._master)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def _readable(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._buffer += os.read(self._master, LONGEST)
        while (size := _size(self._buffer)) and len(self._buffer) >= size:
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._request(frame)
        if self._buffer:
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later(SILENCE, self._silence)

    def _silence(self) -> None:
        """Nothing more came: this was a request of unknown length, or noise."""
        frame = bytes(self._buffer[:LONGEST])
        self._buffer.clear()
        self._request(frame)

    def _request(self, frame: bytes) -> None:
        """Answer a request to one of the units; anything else stays unanswered, as on a line."""
        unit, pdu = frame[0], frame[1:-2]
        if not pdu or unit not in self._server.units:
            return
        if crc(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
            self._buffer.clear()
            return
        if delay := self._server.wire[unit].delay:
            asyncio.get_running_loop().call_later(delay, self._answer, unit, pdu)
        else:
            self._answer(unit, pdu)

    def _answer(self, unit: int, pdu: bytes) -> None:
        reply = self._server.reply(unit, pdu)
        if reply is None:
            return
        frame = spoiled(reply.wire.answer, unit, reply.pdu)
        if reply.wire.bytewise:
            loop = asyncio.get_running_loop()
            for i in range(len(frame)):
                loop.call_later(i * 0.001, self._put, frame[i : i + 1])
        else:
            self._put(frame)

    def _put(self, data: bytes) -> None:
        if self._master >= 0:
            try:
                os.write(self._master, data)
            except BlockingIOError:
                return  # nobody reads: on a line it would be gone too


def _size(buffer: bytearray) -> int:
    """How long the request is that begins here; 0 as long as that is not known."""
    if len(buffer) < 2:
        return 0
    function = buffer[1]
    at = _COUNTED.get(function, 0)
    if at:
        return at + 1 + buffer[at] + 2 if len(buffer) > at else 0
    return _FIXED.get(function, 0)
