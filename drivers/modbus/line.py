"""RTU frames over a serial line or a TCP connection: whose answer is whose, without transactions.

An RTU answer does not say which request it answers. So the line is silent before each request,
what was never answered is remembered while it may still arrive, and nothing that could be mistaken
for it is asked meanwhile. Not framing (`rtu.py`), not ports (`port.py`). Asked by `driver.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drivers.modbus import pdu, rtu
from drivers.modbus.exceptions import refused
from drivers.modbus.link import SILENCE, Link, mismatch, no_answer, silent
from drivers.modbus.pdu import Request, answers, refusal
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, LinkDown, NotYet
from edge.text import Text

QUIET: Final = 0.005  # seconds of silence after trouble: adapters deliver in lumps
PASSED_ON: Final = 0.00175  # seconds of silence on RTU over TCP, where no byte times are known
PATIENCE: Final = 3.0  # times its time-out that an answer may still arrive
ASKED_AGAIN: Final = 0.25  # of its time-out after which a request that must wait looks again
MOST: Final = 10.0  # the same where such answers queue up
SHORTEST: Final = 5  # bytes of a frame; fewer are a twitch of the line
KEPT: Final = 1024  # bytes looked through for an answer; four of the greatest frames
_WRITES: Final = frozenset(
    (pdu.WRITE_COIL, pdu.WRITE_REGISTER, pdu.WRITE_COILS, pdu.WRITE_REGISTERS, pdu.MASK_WRITE,
     pdu.READ_WRITE)
)  # fmt: skip


@dataclass(slots=True, eq=False)
class _Asked:
    """A request on its way. `until`: when its answer can no longer be expected (loop time).

    `overtaken`: something was written to its unit after it, so its answer may be of before.
    """

    unit: int
    request: Request
    frame: bytes
    timeout: float
    patience: float = 0.0  # seconds until it counts as unanswered
    until: float = 0.0
    answer: asyncio.Future[bytes] | None = None
    echoed: bool = False
    overtaken: bool = False

    @property
    def shape(self) -> tuple[int, bytes, int]:
        """All that an answer shows of its request: where it is the same, one passes for another."""
        return self.unit, self.request.head, self.request.size

    def refused_like(self, other: _Asked) -> bool:
        """The same for refusals, which name no more than unit and function."""
        return (self.unit, self.request.pdu[0]) == (other.unit, other.request.pdu[0])

    @property
    def ambiguous(self) -> bool:
        """Whether the request itself, come back from the line, would pass for its answer."""
        return answers(self.request, self.request.pdu)


class RtuLink(Link, asyncio.Protocol):
    """RTU with one request in flight. `baud` is None over TCP.

    `noise` counts bytes that belonged to nothing. `echoes` says whether the line brings back what
    we send (two-wire adapters): seen at the first answer, and until then no write is sent that its
    own echo would acknowledge.
    """

    def __init__(
        self, peer: str, baud: int | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(peer)
        self.noise = 0
        self.echoes: bool | None = None
        self._baud = baud
        self._time = clock or precise(self._loop)
        self._silence = rtu.silence(baud) if baud else PASSED_ON
        self._quiet = self._silence
        self._last = self._time()  # when the last byte was on the line
        self._buffer = b""
        self._before = b""  # the frame that came last since we sent
        self._pending: _Asked | None = None
        self._sent: bytes | None = None  # the newest request, if it shows its echo for certain
        self._deadline = math.inf
        self._look_at = math.inf
        self._outstanding: list[_Asked] = []
        self._next: dict[tuple[int, bytes, int], bytes] = {}  # the frame that waits, by its shape
        self._waiter: asyncio.Future[None] | None = None

    async def ask(self, unit: int, request: Request, timeout: float) -> bytes:
        asked = _Asked(unit, request, rtu.wrap(unit, request.pdu), timeout)
        if asked.ambiguous and self.echoes is None:
            await self._learn(asked)
        await self._turn(asked)
        self._send(asked)
        assert asked.answer is not None
        try:
            return await asked.answer
        finally:
            if self._pending is asked:  # cancelled: it may still be answered
                self._leave(asked)

    async def _learn(self, asked: _Asked) -> None:
        """Find out whether the line echoes, by reading what is about to be written."""
        function = {pdu.WRITE_COIL: pdu.READ_COILS, pdu.WRITE_REGISTER: pdu.READ_HOLDING,
                    pdu.MASK_WRITE: pdu.READ_HOLDING}  # fmt: skip
        code = asked.request.pdu[0]
        address = int.from_bytes(asked.request.pdu[1:3], "big")
        reading = pdu.read(function.get(code, code), address, 1)
        with contextlib.suppress(DeviceRefused):
            await self.ask(asked.unit, reading, asked.timeout)
        if self.echoes is None:
            self._strike()
            raise BadAnswer(_NOISY.format(peer=self.peer))

    async def _turn(self, asked: _Asked) -> None:
        """Wait until the line is silent; NotYet while a late answer could be taken for ours."""
        busy_since = math.inf
        while True:
            if self._down is not None:
                raise LinkDown(self._down.reason)
            now = self._time()
            self._expire(now)
            owed = max((o.until for o in self._outstanding if self._bars(o, asked)), default=now)
            if owed > now:
                self._next.setdefault(asked.shape, asked.frame)
                wait = min(owed - now, ASKED_AGAIN * asked.timeout)
                raise NotYet(_OWED.format(unit=asked.unit, peer=self.peer), wait)
            self._next.pop(asked.shape, None)
            silent_at = self._last + self._quiet
            if silent_at <= now:
                return
            if now - busy_since > asked.timeout + self._wire_time(rtu.GREATEST):
                self._strike()
                raise BadAnswer(_NEVER_SILENT.format(peer=self.peer))
            busy_since = min(busy_since, now)
            await self._wait(silent_at - now)

    def _bars(self, outstanding: _Asked, asked: _Asked) -> bool:
        """Whether its answer could be taken for that of `asked`, or another one waits for it."""
        if outstanding.shape != asked.shape:
            return False
        alike = {outstanding.frame, self._next.get(asked.shape, asked.frame)} == {asked.frame}
        return outstanding.overtaken or not alike

    async def _wait(self, seconds: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _send(self, asked: _Asked) -> None:
        assert self._transport is not None
        now = self._time()
        self._throw_away()
        self._before = b""
        self._quiet = self._silence
        self._last = now + self._wire_time(len(asked.frame))
        answer = asked.request.size + 3 if asked.request.size else rtu.GREATEST
        patience = asked.timeout + self._wire_time(len(asked.frame) + answer)
        before = max((o.until for o in self._outstanding if o.unit == asked.unit), default=now)
        asked.until = min(before + PATIENCE * patience, now + MOST * patience)
        asked.patience = patience
        if asked.request.pdu[0] in _WRITES:
            for earlier in self._outstanding:
                earlier.overtaken = earlier.overtaken or earlier.unit == asked.unit
        asked.answer = self._loop.create_future()
        self._pending = asked
        self._sent = None if asked.ambiguous else asked.frame
        self._deadline = now + patience
        self._transport.write(asked.frame)
        self._call_at(self._deadline)

    def _wire_time(self, count: int) -> float:
        return rtu.wire_time(self._baud, count) if self._baud else 0.0

    def data_received(self, data: bytes) -> None:
        self._last = max(self._last, self._time())
        self._buffer += data
        if len(self._buffer) > KEPT:
            self.noise += len(self._buffer) - KEPT
            self._buffer = self._buffer[-KEPT:]
        pending = self._pending
        if pending is not None and not self._strip_echo(pending):
            return
        if pending is None and self._sent is not None and self._sent in self._buffer:
            self.echoes = True  # behind an answer that had been under way before
        damaged = self._look()
        pending = self._pending
        if pending is None:
            return
        if damaged and not pending.frame.startswith(self._buffer):
            self._call_at(min(self._deadline, self._time() + max(self._silence, QUIET)))
        else:
            self._call_at(self._deadline)

    def _strip_echo(self, pending: _Asked) -> bool:
        """Cut our own request out of what came; whether there is anything left to look at."""
        if pending.echoed or (pending.ambiguous and not self.echoes):
            return True
        at = self._buffer.find(pending.frame)
        if at >= 0:
            pending.echoed = True
            self.noise += at
            self._buffer = self._buffer[at + len(pending.frame) :]
            return bool(self._buffer)
        return not pending.ambiguous

    def _look(self) -> bool:
        """Take all whole frames out of what came; whether a damaged one of ours is among it."""
        while True:
            pending = self._pending
            asked = [*self._outstanding, pending] if pending else self._outstanding
            units = frozenset(one.unit for one in asked)
            if pending is None:
                found = rtu.find(self._buffer, units)
            else:
                found = rtu.find(self._buffer, units, pending.unit, pending.request.pdu[0])
            if found.body is None:
                return found.damaged
            self.noise += found.start
            frame = self._buffer[found.start : found.end]
            self._buffer = self._buffer[found.end :]
            self._silent = 0
            if frame == self._before:  # a copy answers nothing else that is still under way
                self.late += 1
                continue
            self._before = frame
            self._take(found.unit, found.body, clean=found.start == 0)

    def _take(self, unit: int, body: bytes, *, clean: bool) -> None:
        pending = self._pending
        if pending is not None and pending.unit == unit:
            code = refusal(pending.request, body)
            if answers(pending.request, body) or (code is not None and self._is_ours(pending)):
                self._learn_echo(pending, clean=clean)
                self._strikes = 0
                self._heard.add(unit)
                self._settle(pending)
                if code is None:
                    self._answer(pending, body)
                else:
                    self._answer(pending, refused(unit, code))
                return
        if self._is_late(unit, body):
            return
        if pending is None:
            self.late += 1
        elif pending.unit == unit and pending.request.pdu[0] == body[0] & 0x7F:
            self._outstanding.append(pending)
            self._answer(pending, BadAnswer(mismatch(unit, pending.request, unit, body)))
            self._strike()
        else:
            self._strike()

    def _is_late(self, unit: int, body: bytes) -> bool:
        """Whether it answers what was not answered in time, which is then waited for no longer.

        A refusal that may be that of several different requests ends the waiting for none of them.
        """
        found = [o for o in self._outstanding if o.unit == unit and _fits(o.request, body)]
        if not found:
            return False
        self.late += 1
        pending = self._pending
        possible = {one.frame for one in found}
        if pending is not None and pending.unit == unit and _fits(pending.request, body):
            possible.add(pending.frame)
        if len(possible) == 1:
            self._outstanding.remove(found[0])
        return True

    def _is_ours(self, pending: _Asked) -> bool:
        """Whether a refusal cannot be that of another request, never answered until now."""
        return not any(
            o.refused_like(pending) and o.frame != pending.frame for o in self._outstanding
        )

    def _settle(self, pending: _Asked) -> None:
        """One answer came to `pending` and to what was asked before it with the same bytes.

        Which one it answers nobody can say: as many as before may still come, less one.
        """
        for before in self._outstanding:
            if before.frame == pending.frame:
                self._outstanding.remove(before)
                self._outstanding.append(pending)
                return

    def _learn_echo(self, pending: _Asked, *, clean: bool) -> None:
        if pending.ambiguous:
            return
        if pending.echoed:
            self.echoes = True
        elif clean and not any(o.frame == pending.frame for o in self._outstanding):
            self.echoes = False

    def _answer(self, pending: _Asked, result: bytes | Exception) -> None:
        self._pending = None
        self._deadline = math.inf
        assert pending.answer is not None
        if pending.answer.done():
            return
        if isinstance(result, Exception):
            pending.answer.set_exception(result)
        else:
            pending.answer.set_result(result)

    def _leave(self, asked: _Asked) -> None:
        """Nothing came to `asked`: remember it, and let the line come to rest before the next."""
        self._pending = None
        self._deadline = math.inf
        self._quiet = max(self._silence, QUIET)
        self._outstanding.append(asked)

    def _expire(self, now: float) -> None:
        self._outstanding = [o for o in self._outstanding if o.until > now]
        if not self._outstanding:
            self._next.clear()

    def _throw_away(self) -> None:
        self.noise += len(self._buffer)
        self._buffer = b""

    def _call_at(self, at: float) -> None:
        """Look again at `at`. A timer that rings earlier is set anew, one that is later moved."""
        self._look_at = at
        if self._timer_at > at:
            self._set_timer(at)

    def _on_timer(self) -> None:
        pending = self._pending
        if pending is None:
            return
        if self._time() < self._look_at:
            self._set_timer(self._look_at)
            return
        if self._look_at < self._deadline:
            self._found_damaged(pending)
        else:
            self._found_nothing(pending)

    def _found_damaged(self, pending: _Asked) -> None:
        """What came was the answer, so none is to come; unless it was a late one to another."""
        if self._is_ours(pending):
            self._settle(pending)
        else:
            self._outstanding.append(pending)
        self._quiet = max(self._silence, QUIET)
        self._answer(pending, BadAnswer(_DAMAGED.format(unit=pending.unit, peer=self.peer)))
        self._strike()

    def _found_nothing(self, pending: _Asked) -> None:
        self._leave(pending)
        if pending.echoed and not pending.ambiguous:
            self.echoes = True
        if len(self._buffer) >= SHORTEST:
            self._answer(pending, BadAnswer(_STRANGE.format(unit=pending.unit, peer=self.peer)))
            self._strike()
            return
        self._silent = 0 if self._buffer else self._silent + (pending.unit in self._heard)
        if self._silent >= SILENCE:
            gone = silent(self.peer, self._silent)
            self._answer(pending, gone)
            self._drop(gone)
            return
        self._answer(pending, DeviceTimeout(no_answer(pending.unit, self.peer, pending.patience)))

    def _fail(self, error: LinkDown) -> None:
        if self._pending is not None:
            self._answer(self._pending, LinkDown(error.reason))
        self._wake()


def _fits(request: Request, body: bytes) -> bool:
    return answers(request, body) or refusal(request, body) is not None


def precise(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's clock; where it counts whole milliseconds (uvloop), the one beneath it."""
    return time.monotonic if type(loop).__module__.startswith("uvloop") else loop.time


_NOISY = Text(
    "{peer}: 线路有干扰, 无法确认是否回显所发字节, 未写入; 请检查屏蔽层, 终端电阻和接地",
    "{peer}: with the noise on the line it cannot be told whether it echoes what is sent, so "
    "nothing was written; check shield, terminating resistors and ground",
)
_OWED = Text(
    "站号 {unit} ({peer}) 的迟到应答尚可能到达, 暂不询问相似内容",
    "an answer of unit {unit} at {peer} is late and may still come, so nothing is asked whose "
    "answer looks the same",
)
_NEVER_SILENT = Text(
    "{peer}: 线路一直有数据, 无法发送; 请检查是否还有另一台主站, 波特率是否一致, 设备是否故障",
    "{peer}: the line never falls silent, so nothing can be sent; look for a second master, a "
    "different baud rate, or a device that is stuck",
)
_DAMAGED = Text(
    "站号 {unit} ({peer}) 的应答校验错误; 请检查屏蔽层, 终端电阻和接地, "
    "并确认没有两台设备用同一站号",
    "the answer of unit {unit} at {peer} fails its check sum; check shield, terminating resistors "
    "and ground, and that no two devices have this unit number",
)
_STRANGE = Text(
    "站号 {unit} ({peer}) 没有有效应答, 但收到无法识别的字节; "
    "请核对波特率, 校验位, 停止位和 A/B 极性",
    "unit {unit} at {peer} gave no valid answer, but bytes came that make no sense; compare baud "
    "rate, parity, stop bits and the polarity of A and B",
)
