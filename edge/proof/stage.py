"""A whole controller on simulated equipment in virtual time: what a scenario acts on and looks at.

The product is the real one: buses, scan, kernel, journal, commands, local API. Time, the wall clock
and the equipment are ours. Beside `edge/app` it alone makes a task: the controller's, which a
scenario stops, kills and starts again. Driven by `edge/proof/play.py`.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from drivers.sim.plant_file import MODEL, unknown
from edge.app import build
from edge.app.controller import Controller
from edge.clock import Clock
from edge.driver import DriverKind
from edge.envelope import NO_DEVICE
from edge.errors import Unusable
from edge.image import quality
from edge.image.slots import Slot
from edge.proof.setting import setting
from edge.rules.program import Program
from edge.schema.model import Refusal
from edge.schema.units import parse_quantity
from edge.schema.validate import Marks
from edge.site.site import Point, Role
from edge.text import Text
from edge.uplink.session import Received

START_LIMIT = 5.0  # virtual seconds until the first scan


@dataclass
class Trace:
    """Every point after every scan; rows of one array per scan."""

    times: list[float] = field(default_factory=list)
    values: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def of(self, at: int, since: float, until: float) -> tuple[np.ndarray[Any, Any], Any]:
        """Times and values of the point with index `at` within [since, until]."""
        times = np.asarray(self.times)
        chosen = np.flatnonzero((times >= since - 1e-9) & (times <= until + 1e-9))
        return times[chosen], np.asarray([self.values[i][at] for i in chosen])


class Stage:
    """`plant` is the file that says what stands behind a site's points; `equipment` are options of
    its models, written at `marks`; `wall` is the site's wall clock in Unix seconds and
    `minute` that of the day at the start, for the sun. `alone`: no broker and no BMS is reached,
    and each uplink is as connected as `silence` says.

    Raises `ConfigProblems`: what is wrong with the site, the plant or the options.
    """

    def __init__(
        self,
        site: Path,
        folder: Path,
        wall: Callable[[], float],
        drivers: Mapping[str, DriverKind],
        plant: Path | None = None,
        equipment: Mapping[str, Mapping[str, Any]] | None = None,
        marks: Marks | None = None,
        *,
        minute: float = 0.0,
        alone: bool = True,
    ) -> None:
        self._wall, self._folder = wall, folder
        self.trusted = True  # whether the wall clock is synchronised
        self._ahead = 0.0  # s by which somebody has set it
        found = setting(site, drivers, plant, equipment, marks, minute, alone=alone)
        self.site, self.field, self.uplinks = found.site, found.field, found.uplinks
        self.line = self.field.line
        self.rig = self.field.rig
        self.index = self.site.index()
        self.trace = Trace()
        self.broken: set[str] = set()  # programs that raise
        self.sessions: list[str] = []
        self._controller: Controller | None = None
        self._task: asyncio.Task[int] | None = None
        self._stop: asyncio.Future[str] | None = None

    @property
    def now(self) -> float:
        """Virtual time."""
        return asyncio.get_running_loop().time()

    @property
    def controller(self) -> Controller:
        """The controller that runs now, else the one that ran last."""
        if self._controller is None:
            raise Refusal(Text("控制器尚未启动", "no controller has started yet"))
        return self._controller

    def wall(self) -> float:
        """The wall clock, as it was set last."""
        return self._wall() + self._ahead

    def set_clock(self, local: str) -> None:
        """Set the wall clock to a local time of the site, "2026-10-10 07:00:00"."""
        zone = ZoneInfo(self.site.timezone)
        wanted = datetime.fromisoformat(local).replace(tzinfo=zone).timestamp()
        self._ahead += wanted - self.wall()

    # The controller.

    async def start(self) -> None:
        """Build a controller on what its predecessor kept, and wait for its first scan."""
        loop = asyncio.get_running_loop()
        clock = Clock(monotonic=loop.time, wall=self.wall, trusted=lambda: self.trusted)
        self._controller = controller = build(
            self.site, state=self._folder / "state", socket=self._folder / "edge.sock",
            clock=clock, threaded=False,
        )  # fmt: skip
        self.sessions.append(controller.uplinks.boot)
        self._watch(controller)
        for uplink in self.uplinks:
            self.silence(uplink, silent=uplink in self.line.silent)
        self._stop = loop.create_future()
        self._task = loop.create_task(controller.run(self._stop))
        started = loop.create_task(controller.started.wait())
        await asyncio.wait({self._task, started}, timeout=START_LIMIT,
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        if self._task.done():
            self._task.result()
        if not controller.started.is_set():
            raise Unusable(
                Text(
                    f"控制器启动后 {START_LIMIT:g} 秒内没有完成首次扫描",
                    f"the controller made no scan within {START_LIMIT:g} s of its start",
                )
            )

    async def stop(self) -> None:
        """Stop as SIGTERM does."""
        if self._task is None or self._stop is None:
            return
        if not self._task.done():
            self._stop.set_result("scenario")
        await self._task

    async def kill(self) -> None:
        """End without an ordered stop: nothing is written, nothing more is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def end(self) -> None:
        """Stop what still runs."""
        if self.running:
            await self.stop()

    @property
    def running(self) -> bool:
        """Whether a controller runs now."""
        return self._task is not None and not self._task.done()

    def exit_code(self) -> int | None:
        """Of the controller that has ended; None while one runs."""
        return self._task.result() if self._task is not None and self._task.done() else None

    def forget(self) -> None:
        """Lose everything that was kept."""
        shutil.rmtree(self._folder / "state")

    def _watch(self, controller: Controller) -> None:
        scan, step, run = controller.scan, controller.scan.step, controller.scan._run

        def watched(now: float, wall: float, trusted: bool) -> Any:
            outcome = step(now, wall, trusted)
            self.trace.times.append(self.now)
            self.trace.values.append(scan.image.value[: scan.image.points].copy())
            return outcome

        def failing(program: Program, image: Any, now: float) -> None:
            if any(program is getattr(scan.programs, name) for name in self.broken):
                raise ZeroDivisionError("a bug in a rule")
            run(program, image, now)

        scan.step = watched  # type: ignore[method-assign]
        scan._run = failing

    # What happens to the equipment and what people do.

    def equipment(self, model: str) -> Any:
        """A model as it is at this moment."""
        self.rig.advance_to(self.now)
        if model not in self.rig.models:
            raise unknown(MODEL, model, self.rig.models)
        return self.rig.models[model]

    def fault(self, model: str, name: str, *, repaired: bool = False) -> None:
        """Let a fault of the rig happen, or repair it."""
        self.equipment(model)
        if name not in self.rig.faults(model):
            what = Text(f"{model} 的故障", f"fault of {model}")
            raise unknown(what, name, self.rig.faults(model))
        (self.rig.stop if repaired else self.rig.start)(model, name)

    def silence(self, name: str, *, silent: bool) -> None:
        """Let a device or an uplink be silent, or answer."""
        (self.line.silent.add if silent else self.line.silent.discard)(name)
        if name in self.uplinks and self._controller is not None:
            clock = self._controller.clock
            self._controller.scan.tell(f"{name}.online", float(not silent), clock.now())

    def show(self, point: str, value: float | bool | str) -> None:
        """Let the field show a value for a point, whatever the equipment does; NaN for a broken
        sensor. What no model stands behind takes it for good."""
        found = self.site.points[self.index[point]]
        if found.device is None or found.local:
            raise Refusal(Text(f"{point} 不是现场点", f"{point} is no point of the field"))
        number = parse_quantity(value, found.unit) if isinstance(value, str) else float(value)
        cell = self.field.cells.get(point)
        if cell is None or cell.model or math.isnan(number):
            self.line.pinned[point] = number
        else:
            cell.value = number
            self.line.pinned.pop(point, None)

    def send(self, *, retained: bool = False, boot: int = -1, **fields: Any) -> None:
        """A command as the broker would bring it. `boot` -2 names the session before this one;
        `late` and `valid` are seconds; everything else stands in the envelope as given."""
        point, late = fields.pop("point"), fields.pop("late", 0.0)
        device, _, name = point.rpartition(".")
        target = {"device": device or NO_DEVICE, "point": name}
        wall = self.controller.clock.wall()
        expires = wall - late if late else wall + fields.pop("valid", 30.0)
        session = self.sessions[boot] if -len(self.sessions) <= boot else "a former one"
        envelope = {
            "ts": round((expires - 30.0) * 1000), "expires": round(expires * 1000),
            "session": session, "actor": {"user": fields.pop("by")}, "target": target,
            "op": "set" if "value" in fields else "release", **fields,
        }  # fmt: skip
        payload = json.dumps(envelope).encode()
        received = Received((device or NO_DEVICE, name), payload, retained)
        self.controller.uplinks.intake(received)

    async def local(self, *, by: str, **fields: Any) -> None:
        """A command as the local API would bring it."""
        envelope = {"op": "set" if "value" in fields else "release", **fields}
        await self.controller.view.command(envelope, by)

    async def answer_alarm(self, alarm: str, op: str) -> None:
        """Acknowledge or reset the latest occurrence, as the local API would."""
        await self.controller.view.alarm(alarm, op, 0, "lisi")

    # What there is to see.

    def value(self, point: str) -> float:
        """A point's value, whatever its quality."""
        return float(self.controller.scan.image.value[self.index[point]])

    def quality(self, point: str) -> str:
        """GOOD, or the BAD bits of a point such as "NEVER" or "COMM,STALE"; notes are left out."""
        bits = int(self.controller.scan.image.quality[self.index[point]]) & quality.BAD
        names = ("NEVER", "STALE", "COMM", "RANGE", "SENSOR", "CONFIG")
        return ",".join(n for n in names if bits & getattr(quality, n)) or "GOOD"

    def owner(self, point: str) -> str:
        """The slot that decides an output, "none" when nobody does."""
        number = int(self.controller.scan.image.owner[self.ordinal(point)])
        return Slot(number).name.lower() if number else "none"

    def bound(self, point: str) -> tuple[float, float]:
        """What the arbiter keeps automatic requests within, NaN when it does not."""
        low, high = self.controller.scan.image.span[:, self.ordinal(point)]
        return float(low), float(high)

    def outputs(self) -> list[Point]:
        """The outputs in the field."""
        return [p for p in self.site.points if p.role is Role.OUTPUT]

    def ordinal(self, point: str) -> int:
        """A commandable point's place on the ladder."""
        return self.controller.scan.ordinals[point]

    async def journal(self, kind: str) -> list[dict[str, Any]]:
        """The records of one kind, oldest first, as they stand on the medium."""
        records = await self.controller.journal.records()
        return [json.loads(record.data) for record in records if record.kind == kind]
