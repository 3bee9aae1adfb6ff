"""A controller restarted beside running equipment: what runs goes on, what stands stays."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import Controller, command, wait_until
from tests.support.mosquitto import Mosquitto
from tests.support.plant import RunningPlant
from tests.support.subscriber import Subscriber

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = "edge/garden-court/main"
MOST = 2.0  # % that an output may move
PANEL = ("panel.relay1", "panel.relay2", "panel.relay3")  # the beacon flashes
ACKNOWLEDGE = 2


class Recorder:
    """Samples all outputs of the plant on a thread; a context manager."""

    def __init__(self, plant: RunningPlant) -> None:
        self._plant = plant
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[dict[str, float]] = [plant.outputs()]

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            self.seen.append(self._plant.outputs())

    def moved(self, *, but: tuple[str, ...] = ()) -> dict[str, tuple[float, float]]:
        """The outputs that left their first value by more than 2 %, with their extremes."""
        extremes = {
            name: (min(s[name] for s in self.seen), max(s[name] for s in self.seen))
            for name in self.seen[0]
            if name not in but
        }
        first = self.seen[0]
        return {
            name: (low, high)
            for name, (low, high) in extremes.items()
            if low < first[name] - MOST or high > first[name] + MOST or _switched(name, low, high)
        }


def _switched(name: str, low: float, high: float) -> bool:
    return name.endswith("run") and low != high


@dataclass
class Stage:
    """Everything that a test needs."""

    plant: RunningPlant
    platform: Subscriber
    controller: Controller
    site: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Pumps at speed, lamps at their level, a valve held by a remote lease, alarms acknowledged."""
    directory = tmp_path_factory.mktemp("restart")
    with (
        RunningPlant() as plant,
        Mosquitto(directory / "broker") as broker,
        Subscriber(broker.port, ROOT) as platform,
    ):
        site = plant.site(directory, broker=broker.port)
        with Controller(site, directory) as controller:
            wait_until(platform.online, "the controller is online")
            wait_until(lambda: plant.read("panel", "relay3") == 1, "all is well at the panel")
            plant.fault("hydrant pressure_low")
            sent = platform.command("v3", "position", 74.0, lease_s=600)
            wait_until(lambda: "HYDRANT_P_LOW" in controller.alarms(), "the alarm is raised")
            plant.press(ACKNOWLEDGE)
            wait_until(lambda: _states(controller) == {"HYDRANT_P_LOW": "ACKED"}, "acknowledged")
            plant.let_go(ACKNOWLEDGE)
            platform.wait_for(sent, "VERIFIED")
            wait_until(
                lambda: plant.read("panel", "relay2") == 0 and plant.read("panel", "relay1") == 1,
                "the panel shows that the alarm is acknowledged",
            )
            yield Stage(plant, platform, controller, site)
        print(controller.tail())


def _states(controller: Controller) -> dict[str, str]:
    return {id: alarm["state"] for id, alarm in controller.alarms().items()}


def _in_charge(stage: Stage) -> bool:
    """Whether every output is driven again, and the pressure control has run for a while."""
    snapshot = stage.controller.api().get("snapshot")
    owners = {name: output["slot"] for name, output in snapshot["outputs"].items()}
    driven = ("booster.p1.run", "booster.p1.speed", "v1.position", "v3.position", "lobby.dimmer")
    return all(owners[name] for name in driven) and stage.plant.requests() > 0


def _restarted(stage: Stage, end: Callable[[], Any], *, but: tuple[str, ...] = ()) -> Recorder:
    """End the controller in some way, start the next one and watch the outputs meanwhile."""
    with Recorder(stage.plant) as recorder:
        end()
        stage.controller.start()
        wait_until(lambda: _in_charge(stage), "the successor is in charge")
        since = time.monotonic()
        wait_until(lambda: time.monotonic() > since + 4, "control has settled")
    assert recorder.moved(but=but) == {}
    return recorder


def test_killed_beside_running_equipment(stage: Stage) -> None:
    """After `kill -9` no output moves, the lease goes on, the alarm stays acknowledged, silent."""
    told = stage.platform.journal("alarm")
    for _ in range(2):
        recorder = _restarted(stage, stage.controller.kill, but=PANEL)
        print(f"{len(recorder.seen)} samples")
        assert {sample["panel.relay2"] for sample in recorder.seen} == {0.0}, "the buzzer"
        assert {sample["panel.relay1"] for sample in recorder.seen} == {1.0}, "the beacon"
        assert _states(stage.controller) == {"HYDRANT_P_LOW": "ACKED"}
        hold = stage.controller.api().get("snapshot")["holds"]["v3.position"]
        assert (hold["value"], hold["slot"], hold["by"]) == (74.0, 8, "zhangsan")
    wait_until(stage.platform.online, "the controller is online")
    assert stage.platform.journal("alarm") == told


def test_stopped_beside_running_equipment(stage: Stage) -> None:
    """SIGTERM ends with 0, drives the explicit failsafe values and nothing else."""
    explicit = {
        "lobby.level": 60.0, "garage.level": 100.0,
        "panel.relay1": 1.0, "panel.relay2": 0.0, "panel.relay3": 0.0,
    }  # fmt: skip
    before = stage.plant.outputs()
    codes: list[int] = []

    def stop() -> None:
        codes.append(stage.controller.stop())

        def driven() -> bool:  # acknowledged before it ended, shown by the model at its next tick
            outputs = stage.plant.outputs()
            return {name: outputs[name] for name in explicit} == explicit

        wait_until(driven, "the explicit failsafe values are driven")
        after = stage.plant.outputs()
        rest = [name for name in before if name not in explicit]
        assert {n: after[n] for n in rest} == pytest.approx({n: before[n] for n in rest}, abs=0.5)

    _restarted(stage, stop, but=tuple(explicit))
    assert codes == [0]
    assert not (set(_states(stage.controller)) - {"HYDRANT_P_LOW"})


def test_second_controller_is_refused(stage: Stage, tmp_path: Path) -> None:
    """One sentence that names the directory and who holds it; the first one is not disturbed."""
    pid = stage.controller.api().get("health")["pid"]
    told = _run(command(stage.site, stage.controller.state, tmp_path / "edge.sock"))
    assert told.returncode == 1
    assert str(stage.controller.state) in told.stderr
    assert str(pid) in told.stderr
    assert "Traceback" not in told.stderr
    assert stage.controller.api().get("health")["pid"] == pid


def test_socket_in_use_is_refused(stage: Stage, tmp_path: Path) -> None:
    """Another site on the same socket path is told so before it touches any equipment."""
    told = _run(command(stage.site, tmp_path / "state", stage.controller.socket))
    assert told.returncode == 1
    assert str(stage.controller.socket) in told.stderr
    assert "Traceback" not in told.stderr
    assert stage.controller.api().get("health")["site"] == "garden-court"


def test_unusable_socket_path(stage: Stage, tmp_path: Path) -> None:
    """A path that is taken by a file: a sentence, exit 1, no traceback, and the file stays."""
    (tmp_path / "file").write_text("mine")
    told = _run(command(stage.site, tmp_path / "state", tmp_path / "file"))
    assert told.returncode == 1
    assert str(tmp_path / "file") in told.stderr
    assert "Traceback" not in told.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_unusable_state_directory(stage: Stage, tmp_path: Path) -> None:
    """A state directory that cannot be made is named."""
    (tmp_path / "file").touch()
    told = _run(command(stage.site, tmp_path / "file" / "state", tmp_path / "edge.sock"))
    assert told.returncode == 1
    assert str(tmp_path / "file" / "state") in told.stderr
    assert "Traceback" not in told.stderr


def test_invalid_site_is_exit_78(tmp_path: Path) -> None:
    """All problems at once, each with its place; systemd does not restart on 78."""
    site = tmp_path / "site.yaml"
    site.write_text("site: {id: x, timezoon: Asia/Shanghai}\nbuses: {b: {driver: modbuss}}\n")
    told = _run(command(site, tmp_path / "state", tmp_path / "edge.sock"))
    assert told.returncode == 78
    lines = told.stderr.splitlines()
    assert any(line.startswith(f"{site}:1:") and "timezone" in line for line in lines)
    assert any(line.startswith(f"{site}:2:21") and "modbus" in line for line in lines)
    assert not (tmp_path / "state").exists()


def test_equipment_away_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """With no device and no broker there, the controller starts, says so and stops in order."""
    with socket.socket() as taken:  # bound, not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        site = tmp_path / "site.yaml"
        site.write_text(
            f"""
site: {{id: alone, timezone: Asia/Shanghai}}
buses: {{line: {{driver: modbus, tcp: "127.0.0.1:{port}"}}}}
devices:
  meter: {{bus: line, unit: 1, points: {{flow: {{holding: 0}}}}}}
uplink: {{cloud: {{mqtt: "127.0.0.1:{port}"}}}}
"""
        )
        with Controller(site, tmp_path) as controller:
            wait_until(lambda: controller.values()["meter.flow"][1] != 0, "the meter is bad")
            health = controller.edge("health")
            assert not health["buses"][0]["up"]
            assert not health["uplinks"][0]["up"]
            assert str(port) in health["buses"][0]["reason"]["en"]


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
