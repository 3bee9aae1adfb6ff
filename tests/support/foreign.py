"""Modbus servers that are not ours, each in its own process, all with the same content.

pymodbus over TCP, TLS, RTU over TCP and RTU on a terminal; Node's modbus-serial over TCP. Not the
faulty device of the contract suite (`modbus_device.py`), which is ours. Used by the end-to-end
tests.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificates
from tests.support.controller import wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("javascript") / "server.js"
PACKAGES = ROOT / ".tools" / "javascript" / "node_modules"
HOST = "127.0.0.1"

MEDIA = ("pymodbus tcp", "pymodbus tls", "pymodbus rtu_tcp", "pymodbus serial", "node tcp")


def words(data: str) -> list[int]:
    """Registers from hex digits as on the wire."""
    return [int(data[i : i + 4], 16) for i in range(0, len(data), 4)]


def _from(address: int, values: list[int]) -> dict[int, int]:
    return {address + i: value for i, value in enumerate(values)}


CONTENT: dict[str, Any] = {
    "units": {
        1: {
            "holding": {
                **_from(100, words("43663333" "33334366" "66433333" "33336643")),
                **_from(108, words("075BCD15" "CD15075B" "5B0715CD" "15CD5B07")),
                **_from(116, words("FFFFFC18" "1234" "FFFE" "1234" "04D2162E")),
                **_from(130, [0] * 20),
                **_from(300, [7]),
                **_from(600, [7]),
            },
            "input": {**_from(0, words("400921FB54442D18")), **_from(1000, list(range(125)))},
            "coil": _from(0, [int(i % 3 == 0) for i in range(32)]),
            "discrete": _from(0, [int(i % 5 == 0) for i in range(32)]),
        },
        2: {"holding": _from(100, [2002]), "input": _from(0, [0]), "coil": _from(0, [0] * 16),
            "discrete": _from(0, [0] * 16)},
        247: {"holding": _from(100, [247]), "input": _from(0, [0]), "coil": _from(0, [0] * 16),
              "discrete": _from(0, [0] * 16)},
    },
    "refuses": {300: 6, 600: 4},  # holding registers that are answered by an exception
    "identity": {0: "Nobody", 1: "N-1", 2: "V2.7"},
}  # fmt: skip
"""What every server holds: tables of units, holding registers with an exception, identification."""


@contextmanager
def server(medium: str) -> Iterator[dict[str, Any]]:
    """One of `MEDIA`, listening; the options of a bus that reaches it."""
    kind, _, how = medium.partition(" ")
    if how == "serial":
        with _terminals() as (ours, its), _process(_pymodbus(how, str(its))):
            yield {"serial": str(ours), "baud": 115200, "timeout": "1s"}
        return
    port = _free_port()
    command = _node(port) if kind == "node" else _pymodbus(how, str(port))
    with _process(command):
        address = f"{HOST}:{port}"
        if how == "rtu_tcp":
            yield {"rtu_tcp": address}
        elif how == "tls":
            known = certificates()
            yield {"tcp": address, "tls": {"ca": str(known.ca), "name": known.name}}
        else:
            yield {"tcp": address}


def _pymodbus(how: str, where: str) -> list[str]:
    known = certificates() if how == "tls" else None
    files = [str(known.server), str(known.server_key)] if known else []
    module = "tests.support.pymodbus_server"
    return [sys.executable, "-m", module, how, where, json.dumps(CONTENT), *files]


def _node(port: int) -> list[str]:
    node = shutil.which("node")
    if node is None or not PACKAGES.is_dir():
        missing = "Node or its packages are missing: run tests/setup-tools, which `make test` does"
        if os.getuid() != 0:
            pytest.skip(missing)  # who may not install it is not to blame
        pytest.fail(missing)
    return [node, str(SCRIPT), str(port), json.dumps(CONTENT)]


@contextmanager
def _process(command: list[str]) -> Iterator[None]:
    """A server that has said `ready`."""
    environment = {**os.environ, "NODE_PATH": str(PACKAGES)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "ready", f"{command[:3]} did not start"
            yield
        finally:
            child.kill()


@contextmanager
def _terminals() -> Iterator[tuple[Path, Path]]:
    """Two ends of one line."""
    with tempfile.TemporaryDirectory(prefix="edge-foreign-") as folder:
        pair = [Path(folder) / end for end in "ab"]
        with subprocess.Popen(["socat", *(f"pty,raw,echo=0,link={path}" for path in pair)]) as line:
            try:
                wait_until(lambda: all(path.exists() for path in pair), "socat made its terminals")
                yield pair[0], pair[1]
            finally:
                line.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
