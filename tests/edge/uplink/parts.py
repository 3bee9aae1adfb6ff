"""A session against a real broker, and a subscriber that keeps everything it hears."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.clock import Clock
from edge.events import Events
from edge.site.site import Uplink
from edge.store.database import Ballast
from edge.store.journal import Journal
from edge.store.outbox import Outbox
from edge.store.writer import Writer
from edge.uplink.session import Received, UplinkSession
from tests.edge.store.parts import Seen

ROOT = "edge/court/main"


def uplink(port: int, **fields: Any) -> Uplink:
    """A plain MQTT 5 uplink to a broker on this machine."""
    config = Uplink(
        id="cloud", host="127.0.0.1", port=port, protocol="5", tls=False, ca=None,
        certificate=None, key=None, username=None, password=None, client_id="court-main",
        root=ROOT, report=1.0, keepalive=30.0,
    )  # fmt: skip
    return replace(config, **fields)


class Subscriber:
    """Another client of the broker, with a persistent session, in paho's own thread."""

    def __init__(self, port: int, topic: str = "#", **tls: Any) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "listener", protocol=paho.MQTTv5)
        if tls:
            self.client.tls_set(ca_certs=str(tls["ca"]))
            self.client.username_pw_set(*tls["login"])
        self.client.on_connect = lambda c, *_: c.subscribe(topic, 1)
        self._subscribed = False
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = lambda _c, _u, m: self.heard.append(
            (m.topic, bytes(m.payload), m.retain)
        )
        self.client.reconnect_delay_set(0.1, 0.2)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self.client.loop_start()

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed = True

    async def ready(self) -> None:
        await until(lambda: self._subscribed)

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        """Messages of a topic below the root, parsed."""
        return [json.loads(p) for t, p, _ in self.heard if t == f"{ROOT}/{topic}" and p]

    def publish(self, topic: str, body: str, *, retain: bool = False) -> None:
        self.client.publish(f"{ROOT}/{topic}", body, 1, retain).wait_for_publish(5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def until(true: Callable[[], bool], most: float = 15.0) -> None:
    """Return as soon as it is true."""
    async with asyncio.timeout(most):
        while not true():  # noqa: ASYNC110 - the other side has no event for us
            await asyncio.sleep(0.01)


class Running:
    """Store and session, running until the block is left."""

    def __init__(self, directory: Path, config: Uplink, **options: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.seen = Seen()
        self.clock = Clock()
        self.received: list[Received] = []
        self.events: Events = self.seen.events
        self.writer = Writer()
        ballast = Ballast(directory / "ballast", 0)
        self.journal = Journal(
            directory / "journal.db", self.writer, ballast, self.clock, self.events
        )
        self.outbox = Outbox(
            directory / "outbox.db", self.writer, ballast, self.clock, self.events,
            limit=64 << 20, age=math.inf,
        )  # fmt: skip
        self.session = UplinkSession(
            config, self.outbox, self._intake, {"boot": "b1", "cfg": "sha256:0"}, self.clock,
            self.events, **options,
        )  # fmt: skip

    def _intake(self, received: Received) -> asyncio.Future[int]:
        self.received.append(received)
        return self.journal.add("command", {"id": "x", "via": "local"})

    async def __aenter__(self) -> Running:
        await self.journal.open()
        await self.outbox.open()
        self.task = asyncio.create_task(self.session.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled() or self.task.result()
        await self.outbox.close()
        await self.journal.close()
        await self.writer.close()

    def codes(self) -> list[str]:
        return self.seen.codes()
