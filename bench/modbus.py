"""CPU per request of 100 registers over Modbus TCP: our driver beside the others, in turn.

Each client is a process of its own in a closed loop over 1, 32 and 200 connections to
`bench.responder`; what counts is the client's CPU time divided by its requests. Both are kept to
the same core: across two, each lonely request wakes an idle core twice, which a virtual machine
bills to the client with 20 to 40 µs and which says nothing about it. The median of several rounds,
in each of which all take their turn. How each client is used: `bench.modbus_client`.
"""

from __future__ import annotations

import ctypes.util
import json
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from bench import rig
from bench.modbus_client import OWN_LOOP, REGISTERS

CONNECTIONS = {1: (25.0, 20.0), 32: (15.0, 9.0), 200: (15.0, 7.0)}  # limit and goal in µs
ROUNDS, SECONDS = 5, 0.5
THIRD = 1 / 3
CORE = 0


def measure(directory: Path) -> list[tuple[object, ...]]:
    """CPU of a request for each number of connections, and the worst ratio to pymodbus."""
    kinds = ["ours", "bare", "pymodbus", OWN_LOOP, "pyModbusTCP"]
    if ctypes.util.find_library("modbus"):
        kinds.append("libmodbus")
    cost: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        responder = stack.enter_context(_process("bench.responder", REGISTERS, 1, CORE))
        port = responder.told.split()[1]
        clients = {k: stack.enter_context(_process("bench.modbus_client", k)) for k in kinds}
        for connections in CONNECTIONS:
            for _ in range(ROUNDS):
                for kind, client in clients.items():
                    if kind == "libmodbus" and connections > 1:
                        continue  # one connection is what it is made for
                    seen = json.loads(client.ask(f"{port} {connections} {SECONDS}"))
                    used = 1e6 * seen["cpu"] / seen["requests"]
                    cost.setdefault((kind, connections), []).append(used)
    middle = {key: statistics.median(values) for key, values in cost.items()}
    return [*(_row(middle, n) for n in CONNECTIONS), _ratio(middle)]


def _process(module: str, *arguments: object) -> rig.Running:
    return rig.process(sys.executable, "-m", module, *map(str, arguments))


def _row(cost: dict[tuple[str, int], float], connections: int) -> tuple[object, ...]:
    limit, goal = CONNECTIONS[connections]
    others = ", ".join(
        f"{kind} {value:.1f}" for (kind, n), value in cost.items() if n == connections
        and kind != "ours"
    )  # fmt: skip
    plural = "s" if connections > 1 else ""
    name = f"Modbus TCP, CPU per request of {REGISTERS} registers, {connections} connection{plural}"
    return (name, cost["ours", connections], "µs", limit, goal, others)


def _ratio(cost: dict[tuple[str, int], float]) -> tuple[object, ...]:
    ratios = {n: cost["ours", n] / cost["pymodbus", n] for n in CONNECTIONS}
    own = {n: cost["ours", n] / cost[OWN_LOOP, n] for n in CONNECTIONS}
    each, other = (", ".join(f"{n}: {r:.2f}" for n, r in some.items()) for some in (ratios, own))
    return ("Modbus TCP, CPU per request, times pymodbus' at worst", max(ratios.values()), "x",
            THIRD, None, f"by connections {each}; times {OWN_LOOP}: {other}")  # fmt: skip
