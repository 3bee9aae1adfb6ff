"""The demo's equipment on free ports, on a thread of its own, and the site that it stands behind.

Real sockets; the models stay within reach, so that a test sees what the pumps and valves really do
while a controller is killed, and can let something break. Used by the end-to-end tests.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import edge
from drivers import DRIVERS
from drivers.sim.equipment import Equipment
from edge.errors import EdgeError
from edge.proof.setting import setting
from tests.support.mosquitto import free_port

DEMO = Path(edge.__file__).resolve().parents[1] / "config" / "demo" / "site.yaml"
QUIET = 5.0  # minute of the garage's day: nobody comes for an hour
OUTPUTS = {
    "supply": tuple(f"p{i}_{what}" for i in (1, 2, 3) for what in ("run", "reference")),
    "zones": ("v1_command", "v2_command", "v3_command"),
    "lobby": ("level",),
    "panel": ("relay1", "relay2", "relay3"),
    "sump": ("p1_run", "p2_run"),
    "garage": ("level",),
}


def free_udp_port() -> int:
    """A UDP port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningPlant:
    """The plant, running; a context manager. `call` reaches into it safely."""

    def __init__(self, *, noise: float = 0.0) -> None:
        self.lobby_port = free_udp_port()
        self.modbus_port = free_port()
        self.bms_port = free_port()  # on which the controller serves the BMS
        self._noise = noise
        self._up: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plant", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]
        self._error: BaseException | None = None
        self.plant: Equipment

    def __enter__(self) -> RunningPlant:
        self._thread.start()
        self._up.wait(30)
        if self._error is not None:
            raise self._error
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
        try:
            with TemporaryDirectory() as folder:
                site, plant = self.site(Path(folder)), DEMO.with_name("plant.yaml")
                found = setting(site, DRIVERS, plant, {"garage": {"minute": QUIET}}, minute=435.0)
            found.field.rig.noise = self._noise
            self.plant = Equipment(found.field, found.site.buses)
            async with self.plant:
                self._up.set()
                await self.plant.run()
        except (OSError, EdgeError) as error:
            self._error = error
        finally:
            self._up.set()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call something of the plant on its own thread."""

        async def run() -> Any:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def fault(self, name: str, *, on: bool = True) -> None:
        """Let "MODEL FAULT" begin or end."""
        rig = self.plant.rig
        self.call(rig.start if on else rig.stop, *name.split())

    def press(self, button: int) -> None:
        """Hold a push button of the panel."""
        self.fault(f"panel press:{button}")

    def let_go(self, button: int) -> None:
        """Let go of it."""
        self.fault(f"panel press:{button}", on=False)

    def read(self, model: str, variable: str) -> float:
        """What a model shows now."""
        value: float = self.call(self.plant.rig.read, model, variable)
        return value

    def outputs(self) -> dict[str, float]:
        """Everything the controller drives, as the equipment holds it now."""

        def look() -> dict[str, float]:
            read = self.plant.rig.read
            return {f"{m}.{v}": read(m, v) for m, names in OUTPUTS.items() for v in names}

        found: dict[str, float] = self.call(look)
        return found

    def requests(self) -> int:
        """Modbus requests that arrived so far."""
        return sum(sum(server.requests.values()) for server in self.plant.modbus.values())

    def site(
        self, directory: Path, *, broker: int | None = None, replace: dict[str, str] | None = None
    ) -> Path:
        """The demo's site on this plant's ports, with MQTT 5; without a broker when None."""
        text = DEMO.read_text()
        changes = {
            "127.0.0.1:15502": f"127.0.0.1:{self.modbus_port}",
            "127.0.0.1:47820": f"127.0.0.1:{self.lobby_port}",
            "127.0.0.1/32:47821": f"127.0.0.1/32:{free_udp_port()}",
            "127.0.0.1:15503": f"127.0.0.1:{self.bms_port}",
            '{mqtt: "127.0.0.1:18830", protocol: "3.1.1"}': f'{{mqtt: "127.0.0.1:{broker}"}}',
            **(replace or {}),
        }
        for old, new in changes.items():
            assert old in text, f"{old} is not in the demo's site any more"
            text = text.replace(old, new)
        if broker is None:
            text = text[: text.index("uplink:")]
        path = directory / "site.yaml"
        path.write_text(text)
        return path
