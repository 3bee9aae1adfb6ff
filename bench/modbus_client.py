"""A Modbus TCP client in a closed loop: each connection asks again as soon as it has its answer.

    python -m bench.modbus_client KIND

Reads `PORT CONNECTIONS SECONDS` lines and answers each with a JSON line: CPU seconds of this
process (user and system, all threads), requests answered and seconds on the clock. KIND is

    ours        `drivers.modbus` by the driver port, with decode into values and quality; as the
                bus task does, it reads on from answer to answer
    bare        an asyncio protocol that trusts what it gets and decodes into an array: the floor
    pymodbus    its asyncio client; its values stay a list of ints
    pymodbus on asyncio's own loop
                the same as most run it
    pyModbusTCP blocking: one thread goes round the connections; a list of ints
    libmodbus   C, called through ctypes, blocking: as pyModbusTCP

The others that use asyncio do so on uvloop.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import json
import struct
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import uvloop
from pymodbus.client import AsyncModbusTcpClient
from pyModbusTCP.client import ModbusClient

from bench.rig import keep_to
from drivers.modbus import MODBUS
from drivers.modbus.driver import ModbusDriver
from edge.bus.host import BusHost
from edge.driver import FieldDevice, FieldPoint, Poll, Sample

REGISTERS = 100
WARM = 0.2  # seconds before it counts
OWN_LOOP = "pymodbus on asyncio's own loop"


class Measure:
    """Counts requests and CPU from the end of the warming up to the end of the run, to the request:
    connections that are counted by the dozen all begin and end theirs at once."""

    def __init__(self, seconds: float) -> None:
        self.requests = 0
        self.ended = False
        self._seconds = seconds
        self._until = time.perf_counter() + WARM
        self._warm = False
        self._start = self._end = (0.0, 0.0)

    def count(self) -> bool:
        """One more request was answered; whether the time is over."""
        self.requests += 1
        if not self.requests % EVERY:
            self._look()
        return self.ended

    def _look(self) -> None:
        now = time.perf_counter()
        if now < self._until or self.ended:
            return
        if self._warm:
            self.ended, self._end = True, (now, time.process_time())
            self._requests = self.requests
        else:
            self._warm, self.requests = True, 0
            self._start = (now, time.process_time())
            self._until = now + self._seconds

    def result(self) -> str:
        """One JSON line."""
        return json.dumps(
            {
                "cpu": self._end[1] - self._start[1],
                "requests": self._requests,
                "seconds": self._end[0] - self._start[0],
            }
        )


Asks = Callable[[], Coroutine[Any, Any, Any]]
EVERY = 64  # requests between two looks at the clock, which costs a little too


async def _rounds(asks: list[Asks], measure: Measure) -> None:
    """All connections at once, each in its own task."""

    async def one(ask: Asks) -> None:
        while not measure.count():
            await ask()

    async with asyncio.TaskGroup() as group:
        for ask in asks:
            group.create_task(one(ask))


async def ours(port: int, connections: int, measure: Measure) -> None:
    """Our driver, by its port alone."""
    bus = MODBUS.bus.model_validate({"tcp": f"127.0.0.1:{port}", "timeout": "10s"})
    inf = float("inf")
    points = tuple(
        FieldPoint(f"r{i}", MODBUS.point.model_validate({"holding": i}), 1.0, 0.0, -inf, inf,
                   1.0, True, False)
        for i in range(REGISTERS)
    )  # fmt: skip
    device = FieldDevice("d", MODBUS.device.model_validate({"unit": 1}), points)
    polls = MODBUS.plan(bus, device)
    assert len(polls) == 1
    async with AsyncExitStack() as stack:
        drivers: list[ModbusDriver] = []
        for _ in range(connections):
            driver = MODBUS.connect(bus, (device,), polls, BusHost())
            drivers.append(await stack.enter_async_context(driver))
            sample = await drivers[-1].read(polls[0])
            assert len(sample.values) == REGISTERS
            assert not sample.quality.any()
        async with asyncio.TaskGroup() as group:
            for driver in drivers:
                group.create_task(_read_on(driver, polls[0], measure))


async def _read_on(driver: ModbusDriver, poll: Poll, measure: Measure) -> None:
    """What the task of one bus does while polls are due."""

    def following(_sample: Sample) -> Poll | None:
        return None if measure.count() else poll

    assert await driver.read_on(poll, following) is None


class Bare(asyncio.Protocol):
    """One connection of the floor."""

    def __init__(self, measure: Measure, ended: Callable[[], None]) -> None:
        self._measure, self._ended = measure, ended
        self._values = np.zeros(REGISTERS)
        self._request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, REGISTERS)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._values[:] = np.frombuffer(data, ">u2", REGISTERS, 9)
        if self._measure.count():
            self._ended()
        else:
            self._transport.write(self._request)


async def bare(port: int, connections: int, measure: Measure) -> None:
    """No transaction, no check, no time-out, no task."""
    loop = asyncio.get_running_loop()
    left, done, transports = [connections], loop.create_future(), []

    def ended() -> None:
        left[0] -= 1
        if not left[0]:
            done.set_result(None)

    for _ in range(connections):
        transport, _ = await loop.create_connection(lambda: Bare(measure, ended), "127.0.0.1", port)
        transports.append(transport)
    await done
    for transport in transports:
        transport.close()


async def pymodbus(port: int, connections: int, measure: Measure) -> None:
    """Its asyncio client."""
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, retries=0) for _ in range(connections)]
    for client in clients:
        assert await client.connect()
    first = await clients[0].read_holding_registers(0, count=REGISTERS, device_id=1)
    assert len(first.registers) == REGISTERS
    await _rounds(
        [lambda c=c: c.read_holding_registers(0, count=REGISTERS, device_id=1) for c in clients],
        measure,
    )
    for client in clients:
        client.close()


def _in_turn(asks: list[Callable[[], Any]], measure: Measure) -> None:
    """One thread, one connection after the other."""
    while not measure.ended:
        for ask in asks:
            ask()
            measure.count()


def pymodbustcp(port: int, connections: int, measure: Measure) -> None:
    """pyModbusTCP's blocking client."""
    clients = [ModbusClient("127.0.0.1", port, unit_id=1) for _ in range(connections)]
    assert len(clients[0].read_holding_registers(0, REGISTERS) or ()) == REGISTERS
    _in_turn([lambda c=c: c.read_holding_registers(0, REGISTERS) for c in clients], measure)
    for client in clients:
        client.close()


def libmodbus(port: int, connections: int, measure: Measure) -> None:
    """C libmodbus; the call through ctypes costs about half a microsecond of it."""
    c = ctypes.CDLL(ctypes.util.find_library("modbus"))
    c.modbus_new_tcp.restype = ctypes.c_void_p
    contexts = [ctypes.c_void_p(c.modbus_new_tcp(b"127.0.0.1", port)) for _ in range(connections)]
    values = (ctypes.c_uint16 * REGISTERS)()
    for context in contexts:
        assert c.modbus_connect(context) == 0
    read = c.modbus_read_registers
    assert read(contexts[0], 0, REGISTERS, values) == REGISTERS
    _in_turn([lambda x=x: read(x, 0, REGISTERS, values) for x in contexts], measure)
    for context in contexts:
        c.modbus_close(context)
        c.modbus_free(context)


KINDS: dict[str, Callable[[int, int, Measure], Coroutine[Any, Any, None] | None]] = {
    "ours": ours,
    "bare": bare,
    "pymodbus": pymodbus,
    OWN_LOOP: pymodbus,
    "pyModbusTCP": pymodbustcp,
    "libmodbus": libmodbus,
}


def main(kind: str) -> None:
    """Measure what each line asks for."""
    keep_to(0)
    run = KINDS[kind]
    print("ready", flush=True)
    for line in sys.stdin:
        port, connections, seconds = line.split()
        measure = Measure(float(seconds))
        work = run(int(port), int(connections), measure)
        if work is not None:
            factory = asyncio.new_event_loop if kind == OWN_LOOP else uvloop.new_event_loop
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(work)
        print(measure.result(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
