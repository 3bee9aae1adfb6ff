"""`edge equipment` and `edge run --local`: a sample site tried on one machine by a technician.

Two processes that share nothing but the site's files and the addresses of this machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.cli.client import Client
from edge.hmi.socket import alive
from tests.support.controller import START, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIG = Path(__file__).parents[2] / "config"
EDGE = [sys.executable, "-m", "edge.cli", "--lang", "en"]


@contextmanager
def process(*words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command that is told to stop at the end and does so."""
    started = subprocess.Popen([*EDGE, *words], text=True, **options)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


@contextmanager
def tried(
    site: Path, tmp_path: Path, *words: str
) -> Iterator[tuple[Client, Callable[[str], None], list[str]]]:
    """The controller on the site's equipment, what to type to the equipment, what that listens on.

    HOME stays: the compiled kernel is kept there. The state stands apart all the same.
    """
    told = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with process("equipment", str(site), "--noise", "0", *words, **told) as equipment:
        assert equipment.stdin is not None
        assert equipment.stdout is not None

        def typed(line: str) -> None:
            equipment.stdin.write(line + "\n")
            equipment.stdin.flush()

        typed("that?")
        places = []
        while "not understood" not in (line := equipment.stdout.readline()):
            assert line, "the equipment has ended"
            places.append(line.strip())
        socket, log = tmp_path / "edge.sock", (tmp_path / "edge.log").open("w")
        ours = ["run", str(site), "--local", "--socket", str(socket), "--state", str(tmp_path)]
        with log, process(*ours, stdout=log, stderr=log) as controller:
            wait_until(lambda: alive(socket) or controller.poll() is not None, "it runs", START)
            yield Client(socket), typed, places


def device(client: Client, name: str) -> bool:
    """Whether a device answers."""
    devices = [d for bus in client.get("health")["buses"] for d in bus["devices"]]
    return bool(next(d["online"] for d in devices if d["id"] == name))


def test_the_residential_site_runs_on_this_machine(tmp_path: Path) -> None:
    """Both gateways stand here, the pumps keep the pressure; what is typed breaks, and is seen."""
    with tried(CONFIG / "residential", tmp_path) as (client, typed, places):
        assert [place.partition(", units")[0] for place in places] == [
            "modbus tcp 127.0.0.1:15511", "modbus tcp 127.0.0.1:15512"
        ]  # fmt: skip
        wait_until(lambda: device(client, "booster") and device(client, "lane"), "all answer")

        def states() -> dict[str, str]:
            return {a["id"]: a["state"] for a in client.get("snapshot")["alarms"]}

        wait_until(lambda: not states(), "nothing is wrong")
        typed("fault supply pump_trip:1")
        wait_until(lambda: states().get("SUPPLY_PUMP1_TRIP") == "UNACK", "the trip is told")
        typed("silent pit")
        wait_until(lambda: not device(client, "pit"), "the sump's panel is missed", 60)
        typed("answers pit")
        client.post("retry", {})
        wait_until(lambda: device(client, "pit"), "it is back", 60)
        typed("quit")
        wait_until(lambda: not device(client, "booster"), "the equipment has ended", 60)


@pytest.mark.parametrize("name", ["irrigation", "office-lobby", "cooling-tower"])
def test_other_samples_run_on_this_machine_too(name: str, tmp_path: Path) -> None:
    """A serial line, BACnet devices that no broadcast finds, a tower: every device answers."""
    with tried(CONFIG / name, tmp_path) as (client, _, places):
        assert places

        def all_answer() -> bool:
            devices = [d for bus in client.get("health")["buses"] for d in bus["devices"]]
            return len(devices) > 0 and all(d["online"] for d in devices)

        wait_until(all_answer, "every device answers")


def test_a_port_that_is_taken_ends_it_with_one_sentence() -> None:
    """A second one on the same addresses says which, in both languages, and leaves with 69."""
    site = str(CONFIG / "residential")
    with process("equipment", site, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        for language in ("zh", "en"):
            second = subprocess.run(
                [*EDGE[:-1], language, "equipment", site], capture_output=True, text=True,
                check=False, timeout=60, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert second.returncode == 69
            (sentence,) = second.stderr.splitlines()
            assert "15511" in sentence
        assert sentence.startswith("edge: cannot listen")


def test_wrong_words_are_refused(tmp_path: Path) -> None:
    """A fault that there is not, a site without a plant, a plant that is wrong."""
    plant = tmp_path / "plant.yaml"
    plant.write_text("models: {tower: {model: towr}}\n")
    none = tmp_path / "none.yaml"
    none.write_text("models: {}\n")
    cases = (
        (["residential", "--fault", "supply pump_tripp:1"], 2, "no fault supply pump_tripp:1"),
        (["first-device", "--plant", str(none)], 78, "nothing is simulated"),
        (["../drivers/sim/sample.yaml"], 69, "no device to put on a socket"),
        (["cooling-tower", "--plant", str(plant)], 78, 'no model "towr"'),
    )
    for (site, *words), code, sentence in cases:
        done = subprocess.run(
            [*EDGE, "equipment", str(CONFIG / site), *words], capture_output=True, text=True,
            check=False, timeout=60, stdin=subprocess.DEVNULL, env=os.environ | {"EDGE_LANG": "en"},
        )  # fmt: skip
        assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
