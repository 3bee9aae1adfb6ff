"""What a BMS writes, as commands of its user at slot `remote`: checked and recorded like any other.

A BMS repeats in a cycle what it wants, so what is held already renews its lease, and a refusal
that repeats is recorded once in a while. Not the wire (`server.py`), not the checks
(`edge/commands.py`).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from edge.clock import Clock
from edge.commands import Commands, State
from edge.envelope import NO_DEVICE
from edge.site.registers import Register

REPEAT: Final = 600.0  # seconds until the same refusal of the same point is recorded again
VALID: Final = 10.0  # seconds; a command is carried out at once


class Writes:
    """Asks on the authority of `user`; `session` is the controller's own."""

    def __init__(
        self,
        commands: Commands,
        clock: Clock,
        *,
        user: str,
        session: str,
        trusted: Callable[[], bool],
    ) -> None:
        self._commands, self._clock, self._trusted = commands, clock, trusted
        self._user, self._session = user, session
        self._recorded: dict[tuple[str, str], float] = {}  # (point, code): when

    def ask(self, wanted: Sequence[tuple[Register, float]], client: str) -> str:
        """Ask for everything that one request writes: the code of the first refusal, or "".

        All of it is looked at before any of it is carried out; only the limit of commands a minute
        can then stop it half-way.
        """
        now, wall = self._clock.now(), self._clock.wall()
        fresh = [
            (register.point, value)
            for register, value in wanted
            if not self._commands.repeats(register.point, value, self._user, now, wall)
        ]
        for point, value in fresh:
            if code := self._commands.refusal(point, value, self._user, now):
                if now - self._recorded.get((point, code), -math.inf) >= REPEAT:
                    self._recorded[point, code] = now
                    self._command(point, value, client, now, wall)
                return code
        for point, value in fresh:
            if code := self._command(point, value, client, now, wall):
                return code
        return ""

    def _command(self, point: str, value: float, client: str, now: float, wall: float) -> str:
        """Give one command; the code of its refusal, "" when it was accepted."""
        release = math.isnan(value)
        envelope = {
            "id": uuid.uuid4().hex, "op": "release" if release else "set",
            "value": None if release else value, "point": point, "session": self._session,
            "ts": wall * 1e3, "expires": (wall + VALID) * 1e3,
            "actor": {"user": self._user, "via": "bms"}, "reason": f"Modbus TCP {client}",
        }  # fmt: skip
        answer = self._commands.receive(
            envelope, via="bms", topic_target=(NO_DEVICE, point), now=now, wall=wall,
            trusted=self._trusted(),
        )  # fmt: skip
        return answer.code if answer.state is State.REJECTED else ""
