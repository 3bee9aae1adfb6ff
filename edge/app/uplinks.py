"""The controller's brokers: an outbox, a reporter and a session each, and one export for all.

Only joins the parts of `edge.uplink` and `edge.store`. Made, opened and closed by the controller.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.image.image import ProcessImage
from edge.scan.alarms import State
from edge.site.site import Uplink
from edge.store.outbox import Outbox
from edge.uplink import payload
from edge.uplink.export import Export
from edge.uplink.report import Reporter
from edge.uplink.session import Received, UplinkSession

if TYPE_CHECKING:
    from edge.app.controller import Controller


@dataclass(frozen=True, slots=True)
class Line:
    """One broker: what waits for it, what gathers, what sends."""

    config: Uplink
    outbox: Outbox
    reporter: Reporter
    session: UplinkSession


class Uplinks:
    """All brokers of a site; a site may have none."""

    def __init__(self, controller: Controller) -> None:
        self._c = controller
        self.boot = uuid.uuid4().hex  # the session that a command must name
        self.lines: tuple[Line, ...] = ()
        self._told: dict[str, bool] = {}

    async def open(self) -> None:
        """Open the outboxes and send on what the last process could not."""
        self.lines = tuple([await self._line(config) for config in self._c.site.uplinks])
        await Export(self._c.journal, [line.outbox for line in self.lines]).start()
        for line in self.lines:
            for topic, body in payload.dictionary(self._c.site).items():
                line.session.publish_retained(topic, body)
        for alarm in self._c.scan.alarms.states:  # it may have cleared while nobody was there
            self.alarm(alarm)

    async def close(self) -> None:
        """Store what was gathered, the journal's last records too, and close the outboxes."""
        await self._c.journal.flush()
        for line in self.lines:
            line.reporter.report()
            await line.outbox.close()

    def tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs for ever, by name."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {}
        for line in self.lines:
            tasks[f"uplink {line.config.id}"] = line.session.run
            tasks[f"report {line.config.id}"] = partial(line.reporter.run, line.session.online)
        return tasks

    def changed(self, at: Sequence[int], image: ProcessImage, now: float, wall: float) -> None:
        """Points that changed in this step."""
        for line in self.lines:
            line.reporter.changed(at, image, now, wall)

    def alarm(self, id: str) -> None:
        """Show an alarm's present state upstream; a normal one is cleared there."""
        row = self._c.scan.alarms.states[id]
        body = "" if row.state is State.NORMAL else payload.dump(row.as_json())
        for line in self.lines:
            line.session.publish_retained(payload.alarm(id), body)

    def health(self) -> list[dict[str, object]]:
        """Connection and backlog of each."""
        return [
            {
                "id": line.config.id, "up": line.session.online.is_set(),
                "backlog": line.outbox.waiting, "sent": line.session.sent,
                "refused": line.session.refused, "gaps": line.outbox.gaps,
                "oldest_s": round(line.outbox.oldest(), 1), "stream": line.outbox.stream,
            }
            for line in self.lines
        ]  # fmt: skip

    def tell(self, now: float) -> None:
        """Set the points `<uplink>.online` when they changed."""
        for line in self.lines:
            online = line.session.online.is_set()
            if self._told.get(line.config.id) is not online:
                self._told[line.config.id] = online
                self._c.scan.tell(f"{line.config.id}.online", float(online), now)

    async def _line(self, config: Uplink) -> Line:
        c = self._c
        outbox = Outbox(
            c.directory / f"outbox-{config.id}.db", c.writer, c.ballast, c.clock, c.events,
            limit=c.site.outbox_bytes, age=c.site.outbox_age,
        )  # fmt: skip
        await outbox.open()
        reporter = Reporter(c.site.points, c.scan.image, outbox, c.clock, config.report)
        identity = {"boot": self.boot, "cfg": f"sha256:{c.site.digest}"}
        session = UplinkSession(config, outbox, self.intake, identity, c.clock, c.events)
        return Line(config, outbox, reporter, session)

    def intake(self, received: Received) -> asyncio.Future[int] | None:
        """A command from a broker; its future is done when the answer is on the medium."""
        if not received.payload:
            return None  # clears what a broker kept, and asks for nothing
        c = self._c
        c.recorded = None
        c.commands.receive(
            received.payload, via="mqtt", retained=received.retained,
            topic_target=received.target, now=c.clock.now(), wall=c.clock.wall(),
            trusted=c.trusted,
        )  # fmt: skip
        return c.recorded
