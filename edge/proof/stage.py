"""A whole controller on simulated equipment in virtual time: what a scenario acts on and looks at.

The product is the real one: buses, scan, kernel, journal, commands, local API. Only time, the wall
clock and the equipment are ours. Beside `edge/app` it alone makes a task: the controller's, which
a scenario stops, kills and starts again. Driven by `edge/proof/play.py`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from drivers.sim.driver import Line, sim_kind
from drivers.sim.models import MODELS
from drivers.sim.rig import Rig
from edge.app import build
from edge.app.controller import Controller
from edge.blocks import KINDS
from edge.clock import Clock
from edge.driver import DriverKind, FieldPoint
from edge.envelope import NO_DEVICE
from edge.errors import Unusable
from edge.image import quality
from edge.image.slots import Slot
from edge.rules.program import Program
from edge.schema.model import Refusal
from edge.schema.validate import did_you_mean
from edge.site.load import load_site
from edge.site.site import Point, Role, Site
from edge.text import Text
from edge.uplink.session import Received

START_LIMIT = 5.0  # virtual seconds until the first scan


class WatchedRig(Rig):
    """A rig that remembers what was written to it: (time, model, variable, value)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.written: list[tuple[float, str, str, float]] = []

    def write(self, model: str, variable: str, value: float) -> None:
        super().write(model, variable, value)
        now = asyncio.get_running_loop().time()
        self.written.append((now, model, variable, value))


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
    """`equipment` are the models' options by name, with `run_at` for running pumps; `wall` is the
    site's wall clock in Unix seconds. Raises `ConfigProblems` and `Refusal`."""

    def __init__(
        self,
        site: Path,
        folder: Path,
        equipment: Mapping[str, Mapping[str, Any]],
        wall: Callable[[], float],
        drivers: Mapping[str, DriverKind],
    ) -> None:
        if unknown := sorted(equipment.keys() - MODELS.keys()):
            raise _unknown(Text("模型", "model"), unknown[0], MODELS)
        models = {name: _model(name, equipment.get(name, {})) for name in MODELS}
        self.rig = WatchedRig(models)
        self.line = Line()
        self._wall, self._folder = wall, folder
        self.trusted = True  # whether the wall clock is synchronised
        self._ahead = 0.0  # s by which somebody has set it
        self.site: Site = load_site(site, {**drivers, "sim": sim_kind(self.rig, self.line)}, KINDS)
        used = {d.config.model for b in self.site.buses for d in b.devices if b.kind.name == "sim"}
        self.rig.models = {name: model for name, model in models.items() if name in used}
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
            raise _unknown(Text("模型", "model"), model, self.rig.models)
        return self.rig.models[model]

    def fault(self, model: str, name: str, *, repaired: bool = False) -> None:
        """Let a fault of the rig happen, or repair it."""
        self.equipment(model)
        if name not in self.rig.faults(model):
            raise _unknown(Text(f"{model} 的故障", f"fault of {model}"), name,
                           self.rig.faults(model))  # fmt: skip
        (self.rig.stop if repaired else self.rig.start)(model, name)

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

    def outputs(self) -> list[Point]:
        """The outputs in the field."""
        return [p for p in self.site.points if p.role is Role.OUTPUT]

    def variable(self, point: str) -> tuple[str, FieldPoint]:
        """The model behind a point, and the point as the driver knows it."""
        devices = (device for bus in self.site.buses for device in bus.devices)
        pairs = ((device.config.model, p) for device in devices for p in device.points)
        return next(pair for pair in pairs if pair[1].id == point)

    def ordinal(self, point: str) -> int:
        """A commandable point's place on the ladder."""
        return self.controller.scan.ordinals[point]

    async def journal(self, kind: str) -> list[dict[str, Any]]:
        """The records of one kind, oldest first, as they stand on the medium."""
        records = await self.controller.journal.records()
        return [json.loads(record.data) for record in records if record.kind == kind]


def _unknown(what: Text, name: str, known: Iterable[str]) -> Refusal:
    hint = did_you_mean(name, known)
    return Refusal(
        Text(f'没有{what.zh} "{name}"{hint.zh}', f'no {what.en} "{name}"{hint.en}'), "unknown-name"
    )


def _model(name: str, options: Mapping[str, Any]) -> Any:
    given = dict(options)
    speeds = given.pop("run_at", None)
    try:
        model = MODELS[name](**given)
    except TypeError as error:
        raise Refusal(
            Text(
                f"模型 {name} 不接受这些参数: {error}", f"model {name} does not take this: {error}"
            )
        ) from error
    if speeds is not None:
        model.run_at(*speeds)  # type: ignore[attr-defined]
    return model
