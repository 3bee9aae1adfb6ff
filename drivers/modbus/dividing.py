"""Reads a poll in parts: divides what the device refuses, and tries again what is bad.

What a part is and what is known of it stands in `parts.py`; this asks. Called by `driver.py`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from drivers.modbus.exceptions import DIVIDES
from drivers.modbus.parts import Reading
from drivers.modbus.pdu import Ask
from edge.errors import DeviceRefused

PROBES: Final = 16  # refused requests at most per read: a wrong map must not take the bus


async def read_parts(reading: Reading, ask: Ask, now: float) -> None:
    """Fill the sample with what the device has; `now` is the loop's time.

    Raises the last refusal when nothing at all was answered. What was known before then stays,
    unless the device has by now what it had not.
    """
    known = reading.findings()
    refused = await _ask_all(reading, ask, now)
    if refused is not None:
        if known is not None and reading.recall(known):
            if await _try_again(reading, ask, now):
                reading.reset()
        elif not reading.parts:
            reading.reset()
        raise refused
    if reading.settled:
        if reading.changed:
            reading.settle()
        if await _try_again(reading, ask, now):
            reading.settle()


async def _ask_all(reading: Reading, ask: Ask, now: float) -> DeviceRefused | None:
    """Ask for every part, and for halves of what is refused; the refusal, when that was all.

    What was answered before comes first and always; then the widest pieces, so that a good half is
    not kept waiting by a bad one.
    """
    queue = deque(reading.order())
    refused: DeviceRefused | None = None
    answered, probes = False, PROBES
    while queue and (probes > 0 or not reading.pending(queue[0])):
        part = queue.popleft()
        try:
            answer = await ask(part.request)
        except DeviceRefused as error:
            if error.code not in DIVIDES:
                raise
            refused, probes = error, probes - 1
            queue.extend(reading.refuse(part, error.code, now))
        else:
            part.decoder.decode(answer)
            reading.answered(part)
            answered = True
    return None if answered else refused


async def _try_again(reading: Reading, ask: Ask, now: float) -> bool:
    """Ask for one bad part that is due; how else than as bad it is refused does not matter here."""
    part = reading.due(now)
    if part is None:
        return False
    try:
        answer = await ask(part.request)
    except DeviceRefused:
        reading.put_off(part, now)
        return False
    part.decoder.decode(answer)
    reading.rejoin(part)
    return True
