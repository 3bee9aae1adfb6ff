"""One broker for ever: connect, say who we are, send what waits, take commands, begin again.

Rows of the outbox go out in order within a window and are deleted when the broker has taken them;
a command is acknowledged to the broker when the intake has recorded it. A task of the app, under
`supervise`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edge.clock import Clock
from edge.errors import UplinkDown
from edge.events import COMMANDS_UNHEARD, MESSAGE_REFUSED, UPLINK_DOWN, UPLINK_UP, Events
from edge.site.site import Uplink
from edge.store.outbox import Outbox
from edge.store.outbox_file import Row
from edge.text import Text
from edge.uplink import payload
from edge.uplink.mqtt import Link, Message

WINDOW = 40  # messages in flight; more costs more CPU per message and gains nothing nearby
AHEAD = 4  # windows that are read from the outbox at once
BURST = 4  # messages after which whatever else waits gets its turn
FIRST = 1.0  # seconds to the second attempt
LONGEST = 15.0  # what a returned broker may have to wait for us
HEALTHY = 30.0  # a connection that lived so long begins again with FIRST


class Received(NamedTuple):
    """A command as it came: its topic's device and point (None: the topic names none)."""

    target: tuple[str, str] | None
    payload: bytes
    retained: bool


Intake = Callable[[Received], "asyncio.Future[int] | None"]
"""Takes a command; its future is done when the command is recorded, None when that is at once."""


class UplinkSession:
    """One broker. `identity` is what the status says of us: `boot` and `cfg`.

    `online` is set while the broker hears us.
    """

    def __init__(
        self,
        config: Uplink,
        outbox: Outbox,
        intake: Intake,
        identity: Mapping[str, str],
        clock: Clock,
        events: Events,
        *,
        window: int = WINDOW,
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._intake = intake
        self._identity = identity
        self._clock = clock
        self._events = events
        self._window = window
        self._jitter = random.Random(config.client_id)
        self._wake = asyncio.Event()
        self._inbox: deque[Message] = deque()
        self._rows: deque[Row] = deque()
        self._more = True  # there may be rows that were not taken yet
        self._retained: dict[str, str] = {}
        self._due: dict[str, None] = {}  # retained topics to be sent, in order
        self._refused: set[str] = set()  # topics that were reported in this connection
        self._down_since: float | None = None
        self.online = asyncio.Event()
        self.sent = 0
        self.refused = 0
        outbox.on_stored = self._stored

    def publish_retained(self, topic: str, body: str) -> None:
        """Keep `body` as the present state of a topic below the root; "" clears it.

        It is sent at each connection and whenever it changes; only the latest counts.
        """
        self._retained[topic] = body
        self._due[topic] = None
        self._wake.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        delay = FIRST
        while True:
            began = self._clock.now()
            try:
                await self._connection()
            except UplinkDown as down:
                self._report_down(down.reason)
            if self._clock.now() - began >= HEALTHY:
                delay = FIRST
            await asyncio.sleep(delay * self._jitter.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST)

    # ── one connection ─────────────────────────────────────────────────────────────────────────

    async def _connection(self) -> None:
        link = Link(
            self._config,
            self._status("offline"),
            on_message=self._incoming,
            on_published=self._published,
            on_lost=self._wake.set,
        )
        try:
            window = min(await link.connect(), self._window)
            await self._begin(link)
            await self._serve(link, window)
        finally:
            self.online.clear()
            self._inbox.clear()
            self._rows.clear()
            link.close(self._status("offline"))

    async def _begin(self, link: Link) -> None:
        """Hear commands, then say that we are there, then send what waits."""
        commands = f"{self._config.root}/{payload.COMMANDS}/#"
        if reason := await link.subscribe(commands):
            self._events.emit(
                COMMANDS_UNHEARD, uplink=self._config.id, topic=commands, reason=reason
            )
        topic, status = self._status("online")
        link.publish(topic, status, payload.STATUS, retain=True)
        self._refused.clear()
        self._due = dict.fromkeys(self._retained)
        await self._outbox.rewind()
        self._more = True
        self.online.set()
        self._report_up()

    async def _serve(self, link: Link, window: int) -> None:
        while True:
            self._wake.clear()
            if link.lost is not None:
                raise UplinkDown(link.lost)
            while self._inbox:
                self._receive(link, self._inbox.popleft())
            # Something is always at hand when the window opens: a broker's small answers wait for
            # our next packet (Nagle's algorithm), so a pause of ours costs 40 ms.
            if not self._rows and self._more:
                self._rows.extend(await self._take(AHEAD * window))
            if self._send(link, window):
                await asyncio.sleep(0)  # let the control loop in between
            elif self._rows or self._due or not self._more:
                await self._wake.wait()

    async def _take(self, count: int) -> list[Row]:
        self._more = False  # set again by whatever is stored from here on
        rows = await self._outbox.take(count)
        self._more |= len(rows) == count
        return rows

    def _send(self, link: Link, window: int) -> bool:
        """Publish a few messages; True when more could go at once."""
        root = self._config.root
        for _ in range(BURST):
            if link.in_flight >= window or link.lost is not None:
                return False
            if self._due:
                topic = next(iter(self._due))
                del self._due[topic]
                link.publish(f"{root}/{topic}", self._retained[topic], topic, retain=True)
            elif self._rows:
                row = self._rows.popleft()
                link.publish(f"{root}/{row.topic}", payload.numbered(row), row)
            else:
                return False
        return True

    def _receive(self, link: Link, message: Message) -> None:
        """Hand a command on; the broker keeps it until it is recorded."""
        target = payload.command_target(self._config.root, message.topic)
        recorded = self._intake(Received(target, message.payload, message.retained))
        if recorded is None:
            link.acknowledge(message)
        else:
            recorded.add_done_callback(lambda _: link.acknowledge(message))

    # ── called by the link and the outbox ──────────────────────────────────────────────────────

    def _incoming(self, message: Message) -> None:
        self._inbox.append(message)
        self._wake.set()

    def _published(self, token: Row | str, refusal: str) -> None:
        self._wake.set()
        if isinstance(token, Row):
            if refusal:
                self.refused += 1
                self._outbox.refused(token.id, refusal)
                self._report_refused(token.n, token.topic, refusal)
            else:
                self.sent += 1
                self._outbox.delivered(token.id)
        elif refusal:
            self._report_refused(0, token, refusal)
        elif self._retained.get(token) == "" and token not in self._due:
            del self._retained[token]

    def _stored(self) -> None:
        self._more = True
        self._wake.set()

    # ── words ──────────────────────────────────────────────────────────────────────────────────

    def _status(self, state: str) -> tuple[str, str]:
        ts = round(self._clock.wall() * 1000)
        topic = f"{self._config.root}/{payload.STATUS}"
        return topic, payload.status(state, self._identity, self._outbox.stream, ts)

    def _report_refused(self, n: int, topic: str, reason: str) -> None:
        """Once per topic and connection: a broker that refuses one refuses the next as well."""
        if topic not in self._refused:
            self._refused.add(topic)
            self._events.emit(MESSAGE_REFUSED, n=n, topic=topic, reason=reason)

    def _report_down(self, reason: Text) -> None:
        if self._down_since is None:
            self._down_since = self._clock.now()
            self._events.emit(UPLINK_DOWN, uplink=self._config.id, reason=reason)

    def _report_up(self) -> None:
        if self._down_since is not None:
            lasted = self._clock.now() - self._down_since
            self._down_since = None
            self._events.emit(
                UPLINK_UP, uplink=self._config.id, lasted=lasted, backlog=self._outbox.waiting
            )
