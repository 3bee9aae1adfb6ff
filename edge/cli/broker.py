"""The demo's MQTT broker and its own subscriber: amqtt, in this process, on loopback.

For a demonstration only: MQTT 3.1.1, nobody is asked who they are, nothing survives. A real site
has a real broker. The only file that knows amqtt; used by `edge demo`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from amqtt.broker import Broker as Amqtt
from amqtt.client import MQTTClient
from amqtt.errors import AMQTTError, BrokerError, ClientError

from edge.errors import Unusable
from edge.text import Text

RETRY = 0.5  # seconds between attempts to reach the broker again


class Broker:
    """A broker that can be stopped and started, as a fault."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._running: Amqtt | None = None
        for name in ("amqtt", "transitions"):  # they report every disconnect as an error
            logging.root.getChild(name).setLevel(logging.CRITICAL)

    @property
    def up(self) -> bool:
        """Whether it listens."""
        return self._running is not None

    async def start(self) -> None:
        """Listen on the loopback port."""
        if self._running is None:
            broker = Amqtt(
                {
                    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
                    "plugins": {
                        "amqtt.plugins.authentication.AnonymousAuthPlugin": {
                            "allow_anonymous": True
                        }
                    },
                }
            )
            try:
                await broker.start()
            except (BrokerError, OSError) as error:
                raise Unusable(TAKEN.format(port=self.port)) from error
            self._running = broker

    async def stop(self) -> None:
        """Close the port and every connection."""
        broker, self._running = self._running, None
        if broker is not None:
            await broker.shutdown()


@dataclass(frozen=True, slots=True)
class Message:
    """What arrived; `data` is its JSON, None for an empty one."""

    topic: str
    data: Any


@dataclass
class Subscriber:
    """A second MQTT client beside the controller: keeps what it hears, and can publish."""

    port: int
    heard: list[Message] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.Event = field(default_factory=asyncio.Event)
    _client: MQTTClient | None = None

    async def run(self) -> None:
        """Subscribe to everything, again and again; never returns. `again` cuts a pause short."""
        while True:
            self.again.clear()
            client = MQTTClient("edge-demo", {"auto_reconnect": False, "keep_alive": 10})
            try:
                await client.connect(f"mqtt://127.0.0.1:{self.port}/")
                await client.subscribe([("edge/#", 1)])
                self._client = client
                self.connected.set()
                while (message := await client.deliver_message()) is not None:
                    self._take(message)
            except (AMQTTError, ClientError, OSError):
                pass
            self._client = None
            self.connected.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.again.wait(), RETRY)

    async def publish(self, topic: str, data: object) -> bool:
        """Publish JSON with QoS 1; False while there is no connection."""
        if self._client is None:
            return False
        await self._client.publish(topic, json.dumps(data).encode(), qos=1)
        return True

    def _take(self, message: Any) -> None:
        payload = bytes(message.data)
        self.heard.append(Message(message.topic, json.loads(payload) if payload else None))


TAKEN = Text(
    "端口 {port} 已被占用; 是否已有另一个 edge demo 在运行?",
    "port {port} is taken; is another `edge demo` running?",
)
