"""What starts and stops in which order; the only place that creates tasks.

    start   lock · journal · what was kept · scan · outboxes · buses, uplinks, BMS, API, scan
    stop    no more steps and commands · explicit failsafe values · mailboxes empty (at most 3 s)
            · state kept · buses · outboxes and journal closed

The scan task is not supervised: if it ends, everything ends and systemd starts the next process.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from edge.admission import Turn
from edge.app import retain
from edge.app.bms import bms_server
from edge.app.health import Health
from edge.app.notify import Notify
from edge.app.recording import Recording
from edge.app.timing import Timings
from edge.app.uplinks import Uplinks
from edge.app.view import AppView
from edge.blocks.kind import Kind
from edge.bus.host import BusHost
from edge.bus.runner import BusRunner, spread
from edge.clock import Clock
from edge.commands import Commands
from edge.driver import Write
from edge.envelope import Answer
from edge.errors import Fatal
from edge.events import (
    ALARM,
    CALLBACK_FAILED,
    COMMAND,
    COMPILING,
    CORRECTION,
    OBSERVING,
    SCAN_OVERRUN,
    STARTED,
    STATE_GONE,
    STOPPED,
    STOPPING,
    Events,
)
from edge.hmi.server import Server
from edge.hmi.socket import listen
from edge.rules.compile import compile_site
from edge.rules.kernel import compile_kernel, compiled_before
from edge.scan.alarms import Transition
from edge.scan.annunciator import PANEL
from edge.scan.audits import Audit
from edge.scan.cycle import PROTECT_FAILURES, WARM, Scan
from edge.site.site import Site
from edge.store.database import Ballast
from edge.store.journal import Journal
from edge.store.state import Lock
from edge.store.writer import Writer
from edge.supervise import supervise

BROKEN = 70  # sysexits.h EX_SOFTWARE
FLUSH = 3.0  # seconds that the last writes may take at an ordered stop
TRUST_EVERY = 10.0  # seconds between looks whether the wall clock is synchronised


class Controller:
    """One site, running. Made by `edge.app.build`; `run` is called once."""

    def __init__(
        self,
        site: Site,
        kinds: Mapping[str, Kind],
        *,
        directory: Path,
        socket: Path,
        observe: bool,
        clock: Clock,
        threaded: bool,
        record: Path | None = None,
    ) -> None:
        self.site, self.clock, self.observe = site, clock, observe
        self.events = Events(site.language)
        self.timings = Timings()
        self.trusted = clock.trusted()
        self.directory, self._socket = directory, socket
        if not compiled_before():
            self.events.emit(COMPILING)
        self._kernel = compile_kernel()
        programs = compile_site(site, kinds)
        self.scan = Scan(site, kinds, programs, self._kernel.run, self.events)
        self.scan.wake = self._wake
        self.recording = (
            None if record is None else Recording(record, self.scan, site, clock, self.events)
        )
        phase, index = spread(site.buses), site.index()
        self.buses = {
            bus.id: BusRunner(
                bus, index, phase, self.scan, clock, self.events,
                outputs={point.id: point.output for point in site.points},
                host=BusHost(writes=not observe, events=self.events, changed=self._learned),
                worn=self._wrote,
            )
            for bus in site.buses
        }  # fmt: skip
        self.health = Health(self.buses, self.scan, clock, self.events)
        self.started = asyncio.Event()
        self.writer = Writer(threaded=threaded)
        self.ballast = Ballast(directory / "ballast")
        self.journal = Journal(
            directory / "journal.db", self.writer, self.ballast, clock, self.events
        )
        self.uplinks = Uplinks(self)
        self.commands = Commands(
            site, self.scan.image, session=self.uplinks.boot, ask=self.scan.ask,
            answer=self._answered, turn=self._writable,
        )  # fmt: skip
        self.bms = bms_server(self)
        self.view = AppView(self, kinds)
        self.recorded: asyncio.Future[int] | None = None  # the journal's promise for an answer
        self._directory_gone = False
        self._written = 0  # writes whose counts are kept
        self._notify = Notify()
        self._fed = 0.0
        self._last = 0.0
        self._arrived = False
        self._turn: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._due = 0.0  # kept here: uvloop's handle of a time that has passed has no `when`
        self._overrun = False

    async def run(self, stop: asyncio.Future[str]) -> int:
        """Run until `stop` brings the reason; returns the exit code."""
        asyncio.get_running_loop().set_exception_handler(self._loop_error)
        async with AsyncExitStack() as stack:
            stack.enter_context(Lock(self.directory))
            listen(self._socket).close()  # a bad path is a mistake to be told now, not later
            stack.push_async_callback(self.writer.close)
            await self.journal.open()
            stack.push_async_callback(self.journal.close)
            await self._take_up()
            await self.uplinks.open()
            stack.push_async_callback(self.uplinks.close)
            code = await self._serve_until(stop)
        if self.recording is not None:
            self.recording.close()
        self.events.emit(STOPPED)
        return code

    async def _serve_until(self, stop: asyncio.Future[str]) -> int:
        code = 0
        try:
            await self._serve(stop)
        except* Fatal:
            code = BROKEN
        return code

    async def _take_up(self) -> None:
        kept = await retain.take_up(self.journal, self.clock, self.events)
        self.scan.cold_for = WARM if kept.warm else self.site.startup_delay
        self.scan.restore(kept.data.get("scan", {}))
        self.commands.restore(
            kept.commands, self.clock.now(), self.clock.wall(),
            known=kept.downtime is not None,
        )  # fmt: skip
        for bus, runner in self.buses.items():
            runner.host.memory.update(kept.memory.get(bus, {}))
            runner.restore(kept.writes)
        self._keep()  # a first start has a successor at once

    async def _serve(self, stop: asyncio.Future[str]) -> None:
        self.events.emit(
            STARTED, site=self.site.name, points=sum(not point.local for point in self.site.points),
            rules=len(self.site.rules), alarms=len(self.site.alarms),
        )  # fmt: skip
        if self.observe:
            self.events.emit(OBSERVING)
        async with asyncio.TaskGroup() as group:
            edge = {
                **{f"bus {name}": runner.run for name, runner in self.buses.items()},
                **self.uplinks.tasks(),
                **({"bms": self.bms.run} if self.bms else {}),
                "health": self.health.run,
                "api": Server(self.view, self._socket).run,
                "housekeeping": self._keep_house,
                **({"recording": self.recording.run} if self.recording else {}),
            }
            tasks = {
                name: group.create_task(supervise(name, run, self.clock, self.events), name=name)
                for name, run in edge.items()
            }
            tasks["scan"] = group.create_task(self._scan(), name="scan")
            reason = await stop
            tasks["scan"].cancel()  # one more step would write over the failsafe values
            await self._stop(reason)
            for task in tasks.values():
                task.cancel()

    async def _stop(self, reason: str) -> None:
        self.events.emit(STOPPING, reason=reason)
        self._notify.stopping(reason)
        self.commands.closed = True
        self._post(self.scan.failsafe(self.clock.now()), urgent=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                for runner in self.buses.values():
                    if runner.up:
                        await runner.mailbox.emptied()
        self._keep()

    # The scan task.

    async def _scan(self) -> None:
        self._last = asyncio.get_running_loop().time()
        while True:
            self._step()
            await self._next_turn()

    def _step(self) -> None:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        self._arrived = False
        self._last = loop.time()
        now, wall = self.clock.now(), self.clock.wall()
        outcome = self.scan.step(now, wall, self.trusted)
        self._post(outcome.writes, urgent=self.scan.protect_failures > 0)
        self.commands.step(now, wall)
        if outcome.changed:
            self.uplinks.changed(outcome.changed, self.scan.image, now, wall)
        for interlock in outcome.resets:
            self.journal.add("reset", {"interlock": interlock, "by": PANEL})
        for audit in outcome.audits:
            self._audit(audit)
        for transition in outcome.transitions:
            self._alarm(transition)
        if outcome.latched:
            retain.save_latches(self.journal, self.clock, self.scan)
        if self.scan.waiting:
            self._arrived = True
        self._finish(time.perf_counter() - began, now)

    def _finish(self, took: float, now: float) -> None:
        self.timings.add(took)
        late = took > self.site.scan_max
        if late:
            self.timings.overruns += 1
            if not self._overrun:
                self.events.emit(
                    SCAN_OVERRUN, took_ms=took * 1e3, limit_ms=self.site.scan_max * 1e3
                )
        self._overrun = late
        if self.scan.protect_failures >= PROTECT_FAILURES:
            raise Fatal
        if not self.started.is_set():
            self.started.set()
            gc.collect()
            gc.freeze()  # what start-up made stays: a full collection would stop the scan for 50 ms
            self._notify.ready(self.site.name.of(self.site.language))
        if self._notify.interval and not late and now - self._fed >= self._notify.interval:
            self._fed = now
            self._notify.watchdog()

    def _post(self, writes: list[tuple[str, Write]], *, urgent: bool) -> None:
        if self.observe:
            return
        for bus, write in writes:
            self.buses[bus].mailbox.put(write, urgent=urgent)

    async def _next_turn(self) -> None:
        """Wait until something arrived, at least scan.min after the last step, or scan.max."""
        loop = asyncio.get_running_loop()
        self._turn = loop.create_future()
        pause = self.site.scan_min if self._arrived else self.site.scan_max
        self._due = self._last + pause
        self._timer = loop.call_at(self._due, self._go)
        try:
            await self._turn
        finally:
            self._timer.cancel()
            self._turn = None

    def _wake(self) -> None:
        if self._arrived:
            return
        self._arrived = True
        if self._turn is None or self._timer is None:
            return
        loop = asyncio.get_running_loop()
        due = self._last + self.site.scan_min
        if loop.time() >= due:
            self._go()
        elif self._due > due:
            self._timer.cancel()
            self._due = due
            self._timer = loop.call_at(due, self._go)

    def _go(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    # What happened, into the journal; from there it goes upstream.

    def _alarm(self, transition: Transition) -> None:
        self.events.emit(
            ALARM, alarm=transition.alarm.id, state=transition.state.value,
            text=transition.alarm.text,
        )  # fmt: skip
        self.journal.add("alarm", transition.as_json())
        self.uplinks.alarm(transition.alarm.id)

    def _audit(self, audit: Audit) -> None:
        numbers = ", ".join(f"{name} {value:g}" for name, value in audit.numbers.items())
        self.events.emit(CORRECTION, rule=audit.rule, text=audit.text, numbers=numbers)
        self.journal.add(audit.kind, audit.as_json())

    def _answered(self, answer: Answer) -> None:
        self.events.emit(
            COMMAND, id=answer.id, point=answer.point, value=answer.value, state=answer.state,
            refusal=answer.code,
        )  # fmt: skip
        self.recorded = self.journal.add("command", answer.as_json())
        retain.save_commands(self.journal, self.commands)

    def _writable(self, point: str, now: float) -> Turn:
        """When an output may be written, as far as its budget goes."""
        device = self.site.points[self.scan.index[point]].device
        for runner in self.buses.values():
            if device in runner.devices:
                at, spent, waiting = runner.turn(point, now)
                return Turn(at, "WRITES_SPENT" if spent else "WRITE_INTERVAL", waiting)
        return Turn()

    def _keep(self) -> None:
        retain.save(self.journal, self.clock, self.scan)
        written = sum(runner.writes for runner in self.buses.values())
        if written != self._written:
            self._written = written
            self._wrote()

    def _wrote(self) -> None:
        """Something was written; what wears out by it says so at once."""
        retain.save_writes(self.journal, self.buses.values())

    def _learned(self) -> None:
        """A driver keeps something else of a device than before."""
        retain.save_drivers(self.journal, self.buses.values())

    def _loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of some library failed: nobody awaits it, so it is an event."""
        error = context.get("exception")
        self.events.emit(CALLBACK_FAILED, error=error or context["message"], exc_info=error)

    async def _keep_house(self) -> None:
        """Look after the clock's trust and the uplinks' points, and keep state once a minute."""
        trust = self.clock.now()
        keep = trust + retain.EVERY
        while True:
            now = self.clock.now()
            self.uplinks.tell(now)
            if now >= trust:
                trust = now + TRUST_EVERY
                self.trusted = self.clock.trusted()
            if now >= keep:
                keep = now + retain.EVERY
                self._keep()
            self._look_at_directory()
            await asyncio.sleep(1.0)

    def _look_at_directory(self) -> None:
        """Somebody may delete it: SQLite goes on with files that nobody will ever find again."""
        gone = not (self.directory / "lock").exists()
        if gone and not self._directory_gone:
            self.events.emit(STATE_GONE, directory=self.directory)
        self._directory_gone = gone
