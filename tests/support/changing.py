"""Modbus devices whose registers change all the time, on a thread of their own, with a log.

Each register counts up, so that a value tells which change it was; register `FLAG` of the first
device is 0 or 1 by turns, for an alarm. Not the device itself (`modbus_device.py`). Used by the
end-to-end tests.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from tests.support.modbus_device import Fault, ModbusDevice, Unit

REGISTERS = 10
FLAG = 20
FLAG_STAYS = (0.2, 1.6)  # s
TICK = 0.05  # s between two changes of a device


class Changing:
    """One connection for each number in `units`, with so many units behind it.

    A context manager. `d3u1` is the site's name of unit 1 behind connection 3.
    """

    def __init__(self, *units: int) -> None:
        self.devices = [ModbusDevice({u: _unit() for u in range(1, count + 1)}) for count in units]
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]

    def __enter__(self) -> Changing:
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(30)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task = asyncio.get_running_loop(), task
        async with AsyncExitStack() as stack:
            for device in self.devices:
                device.log = True
                await stack.enter_async_context(device)
            self._up.set()
            await self._change()

    async def _change(self) -> None:
        chance = random.Random(1)
        turn, toggle = 0, time.monotonic()
        while True:
            for device in self.devices:
                for unit in device.units.values():
                    at = turn % REGISTERS
                    unit.holding[at] = (unit.holding[at] + 1) & 0xFFFF
            if time.monotonic() >= toggle:
                toggle += chance.uniform(*FLAG_STAYS)
                self.devices[0].units[1].holding[FLAG] ^= 1
            turn += 1
            await asyncio.sleep(TICK)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call something of the devices on their own thread."""

        async def run() -> Any:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def fault(self, device: int, fault: Fault, *, unit: int = 1) -> None:
        """Let a device behave so from now on."""
        self.call(self.devices[device].faults.__setitem__, unit, fault)

    def served(self, device: int, *, unit: int = 1) -> list[tuple[float, int, int]]:
        """Each change that an answer showed for the first time: monotonic time, address, value."""
        shown: dict[int, int] = {}
        changes = []
        for at, address, value in self.reads(device, unit=unit):
            if shown.get(address) != value:
                shown[address] = value
                changes.append((at, address, value))
        return changes

    def reads(self, device: int, *, unit: int = 1) -> list[tuple[float, int, int]]:
        """Each register in each answer: monotonic time, address, value; gap fillers left out."""
        wanted = {*range(REGISTERS), FLAG}
        log = self.call(list, self.devices[device].served)
        return [(e.at, e.address, e.value) for e in log if e.unit == unit and e.address in wanted]

    def polls(self, device: int, *, unit: int = 1, since: float, until: float) -> int:
        """Answers to this unit's poll between two monotonic times."""
        reads = self.reads(device, unit=unit)
        return sum(address == 0 and since <= at < until for at, address, _ in reads)

    def site(self, directory: Path, *, broker: int) -> Path:
        """A site with all of them, an alarm on the flag and a virtual point for each device.

        What has a connection of its own is polled ten times a second, the rest as often as shipped.
        """
        lines = [
            "site: {id: changing, timezone: Asia/Shanghai}", "clock: {trust: always}", "buses:",
            *(
                f'  b{k}: {{driver: modbus, tcp: "{device.address}"}}'
                for k, device in enumerate(self.devices)
            ),
            "devices:",
        ]  # fmt: skip
        names = self.names()
        for name, (k, unit) in names.items():
            lines += [f"  {name}:", f"    bus: b{k}", f"    unit: {unit}"]
            lines += ["    poll: 100ms"] if len(self.devices[k].units) == 1 else []
            lines += ["    points:", *(f"      r{i}: {{holding: {i}}}" for i in range(REGISTERS))]
            if (k, unit) == (0, 1):
                lines += ["      flag:", f"        holding: {FLAG}"]
        lines += ["rules:", *(f"  s_{name}: {{value: {name}.r1 + {name}.r2}}" for name in names)]
        first = next(iter(names))
        lines += [
            "alarms:", "  FLAG:", f"    when: {first}.flag == 1", "    priority: P2",
            "    text: {zh: 标志, en: flag}", "    checks: {zh: [看], en: [look]}",
        ]  # fmt: skip
        lines += ["uplink:", f'  cloud: {{mqtt: "127.0.0.1:{broker}"}}']
        path = directory / "site.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def names(self) -> dict[str, tuple[int, int]]:
        """The site's name of each unit: (connection, unit number)."""
        return {
            f"d{k}u{unit}": (k, unit)
            for k, device in enumerate(self.devices) for unit in device.units
        }  # fmt: skip


def _unit() -> Unit:
    return Unit(holding=dict.fromkeys(range(FLAG + 1), 0))
