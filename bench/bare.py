"""The peer of the CPU benchmark: the least that Python can do for the same job.

The same schedule (each device polled ten times a second, due times spread), a bare asyncio
protocol that trusts what it gets, a comparison with the last answer, and a paho publish of the
same changes at QoS 1. No quality, no rules, no store, no time-outs, no alarms.

    python -m bench.bare PORT DEVICES BROKER_PORT SECONDS

Prints one JSON line: CPU seconds, polls, changes, publishes confirmed, loop.
"""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import sys
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt

PERIOD = 0.1
REGISTERS = 100
TOGGLED = 99  # of device 0: answered by a write of coil 0, as the controller's rule does


class Poller(asyncio.Protocol):
    """One device: ask, compare, publish."""

    def __init__(self, number: int, publish: Any) -> None:
        self._number = number
        self._topic = f"bare/d{number}"
        self._publish = publish
        self._last = np.zeros(REGISTERS)
        self._request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, REGISTERS)
        self._transport: Any = None
        self.polls = 0
        self.published = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self) -> None:
        """Send the request."""
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if data[7] != 3:
            return  # the answer to a write
        values = np.frombuffer(data, ">u2", REGISTERS, 9).astype(np.float64)
        if self._number == 0 and values[TOGGLED] != self._last[TOGGLED]:
            on = 0xFF00 if values[TOGGLED] else 0
            self._transport.write(struct.pack(">HHHBBHH", 2, 0, 6, 1, 5, 0, on))
        changed = np.flatnonzero(values != self._last)
        self._last = values
        self.polls += 1
        if len(changed):
            self.published += 1
            self._publish(self._topic, json.dumps({f"r{i}": values[i] for i in changed.tolist()}))


class Broker:
    """paho on the loop, as thin as it goes."""

    def __init__(self, port: int) -> None:
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._port = port
        self.confirmed = 0

    async def connect(self) -> None:
        """Connect and let the loop drive the socket."""
        loop, client = asyncio.get_running_loop(), self._client
        ready = asyncio.Event()
        client.on_socket_open = lambda c, u, s: loop.add_reader(s, c.loop_read)
        client.on_socket_register_write = lambda c, u, s: loop.add_writer(s, c.loop_write)
        client.on_socket_unregister_write = lambda c, u, s: loop.remove_writer(s)
        client.on_connect = lambda *_: ready.set()
        client.on_publish = self._done
        client.connect("127.0.0.1", self._port)
        await ready.wait()

    def publish(self, topic: str, body: str) -> None:
        """Hand over one message."""
        self._client.publish(topic, body, qos=1)

    def _done(self, *_: Any) -> None:
        self.confirmed += 1


async def main(port: int, devices: int, broker_port: int, seconds: float) -> None:
    """Poll for `seconds` after a second of warming up."""
    loop = asyncio.get_running_loop()
    broker = Broker(broker_port)
    await broker.connect()
    pollers = []
    for number in range(devices):
        _, poller = await loop.create_connection(
            lambda number=number: Poller(number, broker.publish), "127.0.0.1", port + number
        )
        pollers.append(poller)

    def turn(poller: Poller, due: float) -> None:
        poller.ask()
        loop.call_at(due + PERIOD, turn, poller, due + PERIOD)

    start = loop.time() + 0.1
    for k, poller in enumerate(pollers):
        due = start + PERIOD * k / devices
        loop.call_at(due, turn, poller, due)
    await asyncio.sleep(1.0)
    before, polls = _cpu(), sum(p.polls for p in pollers)
    await asyncio.sleep(seconds)
    print(
        json.dumps(
            {
                "cpu": _cpu() - before,
                "polls": sum(p.polls for p in pollers) - polls,
                "published": sum(p.published for p in pollers),
                "confirmed": broker.confirmed,
                "loop": type(loop).__module__.split(".")[0],
            }
        )
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
