"""The first contact with a device: who it is, then what it must be set to, before all else.

Again after each connect and after each silence, when somebody may have exchanged it. The questions
are `identity.py` and `program.py`; here is when, and what follows. Called by `driver.py`.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from drivers.modbus.config import DeviceConfig, Setting
from drivers.modbus.identity import Mismatch, mismatch
from drivers.modbus.knowledge import Knowledge
from drivers.modbus.parts import RETRY
from drivers.modbus.pdu import Ask
from drivers.modbus.plan import span
from drivers.modbus.program import program
from edge.driver import FieldDevice, Host
from edge.errors import BadAnswer, DeviceRefused
from edge.events import (
    DEVICE_NOT_PROGRAMMED,
    DEVICE_PROGRAMMED,
    RIGHT_DEVICE,
    WRONG_DEVICE,
)
from edge.text import Text

REST: Final = 60.0  # seconds after which a wrong device is asked again who it is


class Contact:
    """What must be known and set before one device is used. `due`: loop time of the next look.

    With requests under way at the same time, the first one looks and the others wait for it.
    """

    def __init__(self, device: FieldDevice, host: Host, knowledge: Knowledge, ask: Ask) -> None:
        self.due = -math.inf
        self._device = device.id
        self._config: DeviceConfig = device.config
        self._host = host
        self._knowledge = knowledge
        self._ask = ask
        self._looking = asyncio.Lock()
        self._wrong: Mismatch | None = None

    @property
    def done(self) -> bool:
        """Whether it has been met, is the right one, and nothing waits to be set."""
        return self.due == math.inf

    def lost(self) -> None:
        """The device was silent: look again who is there."""
        self.due = -math.inf

    async def meet(self, now: float, *, permanent: bool = True) -> None:
        """Look, where it is time to; raises DeviceRefused, "WRONG_DEVICE", for another device.

        Raises what the questions raise when they get no answer; a setting that fails does not. A
        write is not refused for good: it is due as soon as the right device is there.
        """
        async with self._looking:
            if self.due <= now:
                await self._identify(now)
                self.due = await self._program(now)
        if self._wrong is not None:
            text = _WRONG.format(**self._wrong._asdict())
            raise DeviceRefused(text, "WRONG_DEVICE", permanent=permanent, rest=REST)

    async def _identify(self, now: float) -> None:
        config = self._config
        if config.identity is None:
            return
        wrong = await mismatch(config.identity, config.base, config.order, self._ask)
        if wrong is not None and wrong != self._wrong:
            self._host.emit(WRONG_DEVICE, device=self._device, **wrong._asdict())
        if wrong is None and self._wrong is not None:
            self._host.emit(RIGHT_DEVICE, device=self._device)
        self._wrong = wrong

    async def _program(self, now: float) -> float:
        """Make all settings; when to look again, after a failure or at a wrong device."""
        if self._wrong is not None:
            return now + REST
        if not self._host.writes:
            return math.inf
        for name, setting in self._config.program.items():
            at = self._knowledge.program.get(name, -math.inf)
            if at > now + RETRY:  # kept by a machine that has been started anew
                at = now + RETRY
                self._put_off(name, at)
            if at <= now:
                await self._set(name, setting, now)
        waiting = self._knowledge.program
        return min(
            (waiting[name] for name in self._config.program if name in waiting), default=math.inf
        )

    async def _set(self, name: str, setting: Setting, now: float) -> None:
        """Make one setting; what cannot be made is told once and left alone for an hour."""
        config, failed = self._config, name in self._knowledge.program
        where = {
            "device": self._device,
            "setting": name,
            "register": span("holding", setting.holding, setting.size),
        }
        try:
            change = await program(setting, config.base, config.order, config.write, self._ask)
        except (DeviceRefused, BadAnswer) as error:
            self._put_off(name, now + RETRY)
            if not failed:
                told = {"value": setting.value, "reason": error.reason}
                self._host.emit(DEVICE_NOT_PROGRAMMED, **where, **told)
            return
        if failed:
            del self._knowledge.program[name]
            self._knowledge.keep()
        if change is not None:
            self._host.emit(DEVICE_PROGRAMMED, **where, **change._asdict())

    def _put_off(self, name: str, at: float) -> None:
        self._knowledge.program[name] = at
        self._knowledge.keep()


_WRONG = Text(
    "不是配置的设备: 应为 {expected}; 实为 {found}; 请核对站号和接线, 或更正 identity",
    "this is not the device that is configured: expected {expected}; found {found}; compare unit "
    "number and wiring, or correct identity",
)
