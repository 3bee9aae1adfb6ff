"""What `edge demo` puts around a controller: equipment, a broker, a subscriber, and the process.

The controller is a child, started as `edge run` like any other, so that it can also be killed; the
equipment and the broker live here. Not the screen and not the script.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drivers.sim.equipment import Equipment
from edge.cli.broker import Broker, Subscriber
from edge.cli.client import Client
from edge.cli.command import Failed
from edge.cli.site import load_setting
from edge.hmi.socket import alive, place
from edge.proof.local import local
from edge.text import Text

SITE_ID, ROOT = "garden-court", "edge/garden-court/main"
BROKER_PORT = 18830  # as config/demo/site.yaml has it
START = 300.0  # seconds; the first start on a slow board compiles the kernel
STOP = 10.0  # seconds for an ordered stop
LINES = 12  # of the log, when the controller does not start
VALID_MS = 30_000
# Hours of the day: half of the lobby's light is daylight; nobody comes into the garage by himself.
MORNING, QUIET = 435.0, 5.0


@dataclass
class Switch:
    """A fault that a key or the script turns on and off."""

    name: str
    text: Text
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    on: bool = False

    async def toggle(self) -> None:
        """Start it, or put it right."""
        await (self.stop if self.on else self.start)()
        self.on = not self.on


class Stage:
    """Enter to build it all up; `run` keeps equipment and subscriber going; leave to clear away.

    `visible`: the socket is where `edge watch` in another terminal finds it.
    """

    def __init__(self, *, visible: bool) -> None:
        self.site = demo_site()
        found = load_setting(self.site, MORNING, equipment={"garage": {"minute": QUIET}})
        found.field.rig.noise = 1.0
        self.equipment = Equipment(found.field, local(found.site).buses)
        self.broker = Broker(BROKER_PORT)
        self.subscriber = Subscriber(BROKER_PORT)
        self.switches = {name: _switch(self.equipment, name) for name in FAULTS}
        self.switches["broker_down"] = Switch(
            "broker_down", BROKER_DOWN, self.broker.stop, self._broker_back
        )
        self.log = Path()
        self.commands = 0
        self._visible = visible
        self._socket = Path()
        self._process: asyncio.subprocess.Process | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):  # the child must not outlive us
            loop.add_signal_handler(number, task.cancel)
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-demo-")))
            self.log = directory / "edge.log"
            self._socket = place(SITE_ID) if self._visible else directory / "edge.sock"
            await stack.enter_async_context(self.equipment)
            await self.broker.start()
            stack.push_async_callback(self.broker.stop)
            self._process = await self._start(directory)
            stack.push_async_callback(self._end)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def running(self) -> bool:
        """Whether the controller's process lives."""
        return self._process is not None and self._process.returncode is None

    async def ready(self, waiting: Callable[[float], None]) -> Client:
        """Wait until the controller answers; `waiting` is told how long it has been."""
        began = time.monotonic()
        while not alive(self._socket):
            lasted = time.monotonic() - began
            if not self.running or lasted > START:
                raise Failed(NOT_STARTED.format(log=self.tail()))
            waiting(lasted)
            await asyncio.sleep(0.1)
        return self.client()

    def client(self) -> Client:
        """The command line's end of the controller's API."""
        return Client(self._socket)

    def tail(self) -> str:
        """The end of the controller's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LINES:])

    async def command(self, value: float, user: str = "zhangsan") -> str:
        """Ask for a position of the zone 3 valve as a remote platform does; returns the id."""
        status = self.last("status") or {}
        now = round(time.time() * 1000)  # noqa: TID251 - the sender's own clock
        envelope = {
            "id": uuid.uuid4().hex,
            "ts": now,
            "expires": now + VALID_MS,
            "session": status.get("boot", ""),
            "actor": {"user": user, "via": "demo"},
            "target": {"device": "v3", "point": "position"},
            "op": "set",
            "value": value,
            "unit": "%",
            "lease_s": 60,
            "on_expiry": "release",
            "reason": "edge demo",
        }
        self.commands += 1
        await self.subscriber.publish(f"{ROOT}/cmd/v3/position", envelope)
        return str(envelope["id"])

    def last(self, topic: str) -> Any:
        """The last message on a topic below the root, None when there was none."""
        for message in reversed(self.subscriber.heard):
            if message.topic == f"{ROOT}/{topic}":
                return message.data
        return None

    async def _broker_back(self) -> None:
        """Start the broker; the subscriber is there before the controller, and misses nothing."""
        await self.broker.start()
        self.subscriber.again.set()
        await self.subscriber.connected.wait()

    async def _start(self, directory: Path) -> asyncio.subprocess.Process:
        words = [sys.executable, "-m", "edge.cli", "run", str(self.site), "--state",
                 str(directory / "state"), "--socket", str(self._socket)]  # fmt: skip
        with self.log.open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"}, start_new_session=True,
            )  # fmt: skip

    async def _end(self) -> None:
        """Ask the controller to stop, and insist after a while."""
        assert self._process is not None
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def demo_site() -> Path:
    """The demo's site: in a clone of the repository, or where the package was installed."""
    for folder in (Path(__file__).parents[2], Path.cwd()):
        site = folder / "config" / "demo" / "site.yaml"
        if site.exists():
            return site
    raise Failed(NO_SITE)


def _switch(equipment: Equipment, name: str) -> Switch:
    where, fault, text = FAULTS[name]

    async def start() -> None:
        if fault:
            equipment.rig.start(where, fault)
        else:
            equipment.silence(where, True)

    async def stop() -> None:
        if fault:
            equipment.rig.stop(where, fault)
        else:
            equipment.silence(where, False)

    return Switch(name, text, start, stop)


# What the demo breaks: a fault of a model of its plant, or without one a device that goes silent.
FAULTS: dict[str, tuple[str, str, Text]] = {
    "valve_drift": (
        "zones", "valve_drift:3",
        Text("三区阀门自行关至 20 %", "the zone 3 valve runs to 20 % by itself"),
    ),
    "pump_trip": ("supply", "pump_trip:1", Text("1 号泵跳停", "pump 1 trips")),
    "tank_low": ("supply", "tank_low", Text("水箱缺水", "the break tank runs empty")),
    "lux_covered": ("lobby", "lux_covered", Text("照度传感器被遮挡", "the lux sensor is covered")),
    "flood": ("sump", "flood", Text("车库进水", "a burst main pours into the garage sump")),
    "car": ("garage", "pir_stuck", Text("车辆进入车库", "a car comes into the garage")),
    "vibration": (
        "tower", "vibration:1",
        Text("冷却塔 1 号风机剧烈振动", "fan 1 of the cooling tower shakes"),
    ),
    "device_silent": ("v3", "", Text("三区阀门设备失联", "the zone 3 valve goes silent")),
}  # fmt: skip
BROKER_DOWN = Text("MQTT 服务器停止", "the MQTT broker stops")
NOT_STARTED = Text("控制器没有启动:\n{log}", "the controller did not start:\n{log}")
NO_SITE = Text(
    "找不到 config/demo/site.yaml; 请在源码目录中运行 edge demo",
    "config/demo/site.yaml is not here; run `edge demo` in a clone of the repository",
)
