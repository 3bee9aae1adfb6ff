"""The other end of the broker: keeps every message it hears, over outages, and sends commands.

paho with a persistent session and QoS 1, as a platform would; so what the broker took for it while
it was away arrives later. Runs on paho's own thread. Used by the end-to-end tests.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.controller import wait_until

VALID_MS = 60_000


@dataclass(frozen=True, slots=True)
class Heard:
    """One message: monotonic time, topic below the root, body (None when empty)."""

    at: float
    topic: str
    body: Any
    retained: bool


class Subscriber:
    """Hears everything below `root`; a context manager."""

    def __init__(self, port: int, root: str) -> None:
        self.port, self.root = port, root
        self.heard: list[Heard] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"test-{uuid.uuid4().hex[:8]}",
            clean_session=False, protocol=paho.MQTTv311,
        )  # fmt: skip
        self._client.on_connect = lambda *_: self._client.subscribe(f"{root}/#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.append(True)
        self._client.on_message = self._message
        self._client.reconnect_delay_set(1, 1)
        self._subscribed: list[bool] = []

    def __enter__(self) -> Subscriber:
        self._client.connect("127.0.0.1", self.port, keepalive=10)
        self._client.loop_start()
        wait_until(lambda: self._subscribed, "the subscription is confirmed")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload) if message.payload else None
        topic = message.topic.removeprefix(f"{self.root}/")
        self.heard.append(Heard(time.monotonic(), topic, body, message.retain))

    def publish(self, topic: str, body: Any, *, retain: bool = False) -> None:
        """Publish JSON below the root and wait for the broker; None clears a retained message."""
        data = b"" if body is None else json.dumps(body).encode()
        info = self._client.publish(f"{self.root}/{topic}", data, 1, retain)
        info.wait_for_publish(30)

    def on(self, topic: str) -> list[Any]:
        """The bodies heard on one topic, oldest first."""
        return [heard.body for heard in list(self.heard) if heard.topic == topic]

    def last(self, topic: str) -> Any:
        """The last body on a topic, None when there is none."""
        return next(iter(reversed(self.on(topic))), None)

    def online(self) -> bool:
        """Whether the controller says that it is there."""
        status = self.last("status")
        return bool(status) and status["state"] == "online"

    def numbered(self) -> dict[tuple[str, int], tuple[str, Any]]:
        """Topic and body by (stream, n); fails when one pair came with two contents."""
        found: dict[tuple[str, int], tuple[str, Any]] = {}
        for heard in list(self.heard):
            if isinstance(heard.body, dict) and "n" in heard.body and "stream" in heard.body:
                pair = (heard.body["stream"], heard.body["n"])
                content = (heard.topic, heard.body)
                assert found.setdefault(pair, content) == content, f"{pair} has two contents"
        return found

    def journal(self, kind: str) -> list[Any]:
        """The journal's records of one kind, duplicates removed, in the journal's order."""
        records = {
            body["seq"]: body["data"] for topic, body in self.numbered().values()
            if topic == "event" and body["kind"] == kind
        }  # fmt: skip
        return [records[seq] for seq in sorted(records)]

    def gaps(self) -> list[Any]:
        """Every gap record."""
        events = (body for topic, body in self.numbered().values() if topic == "event")
        return [body["gap"] for body in events if body["kind"] == "gap"]

    def changes(self) -> Iterator[tuple[str, str, int, float | None]]:
        """Each change of a point as (device, point, wall ms, value); full pictures left out."""
        for topic, body in self.numbered().values():
            if topic.startswith("d/") and not body.get("full"):
                for entry in body["s"]:
                    for point, value in entry["v"].items():
                        yield topic.removeprefix("d/"), point, entry["ts"], value

    def missing(self) -> dict[str, list[int]]:
        """The numbers between 1 and the highest that never came, by stream, gap records observed.

        A record without an end covers what follows the last number that came.
        """
        by_stream: dict[str, set[int]] = {}
        for stream, n in self.numbered():
            by_stream.setdefault(stream, set()).add(n)
        lost = {s: sorted(set(range(1, max(ns) + 1)) - ns) for s, ns in by_stream.items()}
        for gap in self.gaps():
            if gap["first"] is not None and gap["last"] is not None:
                told = range(gap["first"], gap["last"] + 1)
                lost[gap["stream"]] = [n for n in lost.get(gap["stream"], []) if n not in told]
        return {stream: numbers for stream, numbers in lost.items() if numbers}

    # ── commands ───────────────────────────────────────────────────────────────────────────────

    def command(self, device: str, point: str, value: float | None, **changes: Any) -> str:
        """Send a command as its platform would; `changes` replace parts of the envelope."""
        now = round(time.time() * 1000)
        envelope: dict[str, Any] = {
            "id": uuid.uuid4().hex, "ts": now, "expires": now + VALID_MS,
            "session": (self.last("status") or {}).get("boot", ""),
            "actor": {"user": "zhangsan", "via": "test"},
            "target": {"device": device, "point": point},
            "op": "release" if value is None else "set", "value": value, "lease_s": 60,
        }  # fmt: skip
        retain = changes.pop("retain", False)
        envelope |= changes
        if envelope["op"] == "release":
            del envelope["value"], envelope["lease_s"]
        self.publish(f"cmd/{device}/{point}", envelope, retain=retain)
        return str(envelope["id"])

    def answers(self, command: str) -> list[Any]:
        """What was answered to a command so far, duplicates of a number removed."""
        numbered = sorted(self.numbered().items(), key=lambda item: item[0][1])
        return [body for _, (topic, body) in numbered if topic == f"cmdack/{command}"]

    def wait_for(
        self,
        command: str,
        *wanted: str,
        within: float = 60.0,
        also: Callable[[], None] = lambda: None,
    ) -> Any:
        """The first answer whose state is one of `wanted`; `also` runs at each look."""

        def look() -> Any:
            also()
            return next((a for a in self.answers(command) if a["state"] in wanted), None)

        return wait_until(look, f"command {command} comes to {wanted}", within)
