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
from drivers.modbus.knowledge import Knowledge, Tried
from drivers.modbus.parts import RETRY
from drivers.modbus.pdu import Ask
from drivers.modbus.plan import span
from drivers.modbus.program import found, write
from edge.driver import FieldDevice, Host
from edge.errors import BadAnswer, DeviceRefused, WrongDevice
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
        """Look, where it is time to; raises WrongDevice for another one.

        Raises what the questions raise when they get no answer; a setting that fails does not. A
        write is not refused for good: it is due as soon as the right device is there.
        """
        async with self._looking:
            if self.due <= now:
                await self._identify(now)
                self.due = await self._program(now)
        if self._wrong is not None:
            text = _WRONG.format(**self._wrong._asdict())
            raise WrongDevice(text, "WRONG_DEVICE", permanent=permanent, rest=REST)

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
            await self._set(name, setting, now)
        tried = self._knowledge.program
        return min(
            (tried[name].until for name in self._config.program if name in tried), default=math.inf
        )

    async def _set(self, name: str, setting: Setting, now: float) -> None:
        """Make one setting, unless that was tried less than an hour ago: registers wear out.

        However the writing ends it is not repeated sooner, also where nobody answers it.
        """
        config = self._config
        tried = before = self._tried(name, setting, now)
        resting = before is not None and before.until > now
        if tried is None or not resting:
            told = before is not None and before.told
            tried = Tried(value=setting.value, until=now + RETRY, told=told)
        try:
            other = await found(setting, config.base, config.order, self._ask)
            if other is None:
                if before is not None and not resting:
                    self._keep(name, None)
                return
            if resting:
                self._tell(name, setting, tried, _NOT_KEPT.format(found=other))
                return
            self._keep(name, tried)
            await write(setting, config.base, config.order, config.write, self._ask)
        except (DeviceRefused, BadAnswer) as error:
            self._tell(name, setting, tried, error.reason)
            return
        self._keep(name, tried.model_copy(update={"told": False}))
        where = self._where(name, setting)
        self._host.emit(DEVICE_PROGRAMMED, **where, old=other, new=setting.value)

    def _tried(self, name: str, setting: Setting, now: float) -> Tried | None:
        """What became of a setting last; not later than in an hour, when the clock began anew."""
        tried = self._knowledge.program.get(name)
        if tried is None or tried.value != setting.value:
            return None
        if tried.until > now + RETRY:
            tried = tried.model_copy(update={"until": now + RETRY})
            self._keep(name, tried)
        return tried

    def _tell(self, name: str, setting: Setting, tried: Tried, reason: Text) -> None:
        """The device does not hold a setting: once, until it was made."""
        if not tried.told:
            where = self._where(name, setting)
            self._host.emit(DEVICE_NOT_PROGRAMMED, **where, value=setting.value, reason=reason)
        self._keep(name, tried.model_copy(update={"told": True}))

    def _where(self, name: str, setting: Setting) -> dict[str, str]:
        register = span("holding", setting.holding, setting.size)
        return {"device": self._device, "setting": name, "register": register}

    def _keep(self, name: str, tried: Tried | None) -> None:
        if tried is None:
            self._knowledge.program.pop(name, None)
        else:
            self._knowledge.program[name] = tried
        self._knowledge.keep()


_NOT_KEPT = Text(
    "写入不到一小时, 现为 {found:.10g}; 请查是否另有主站或就地设置在改, 或设备未应答写入",
    "it was written within the hour and is {found:.10g}; see whether another master or somebody "
    "on site sets it, or the device does not answer the writing",
)
_WRONG = Text(
    "不是配置的设备: 应为 {expected}; 实为 {found}; 请核对站号和接线, 或更正 identity",
    "this is not the device that is configured: expected {expected}; found {found}; compare unit "
    "number and wiring, or correct identity",
)
