"""The BMS next door: Debian's mbpoll against a running controller, on the demo's equipment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import Controller, wait_until
from tests.support.mbpoll import mbpoll, values
from tests.support.mosquitto import Mosquitto
from tests.support.plant import RunningPlant
from tests.support.subscriber import Subscriber

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = "edge/garden-court/main"
VALVE = "-t 4 -r 100"
REMOTE = 8


@dataclass
class Stage:
    """Everything that a test needs."""

    plant: RunningPlant
    platform: Subscriber
    controller: Controller
    site: Path

    def read(self, words: str) -> list[float]:
        """What a BMS reads."""
        well, told = mbpoll(self.plant.bms_port, words)
        assert well, told
        return values(told)

    def owner(self) -> dict[str, Any]:
        """Who decides the valve of zone 3."""
        owner: dict[str, Any] = self.controller.api().get("snapshot")["outputs"]["v3.position"]
        return owner


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("bms")
    with (
        RunningPlant() as plant,
        Mosquitto(directory / "broker") as broker,
        Subscriber(broker.port, ROOT) as platform,
    ):
        site = plant.site(directory, broker=broker.port)
        with Controller(site, directory) as controller:
            stage = Stage(plant, platform, controller, site)
            wait_until(platform.online, "the controller is online")
            wait_until(lambda: plant.read("panel", "relay3") == 1, "all is well at the panel")
            yield stage
        print(controller.tail())


def test_it_reads_what_the_controller_sees(stage: Stage) -> None:
    """Every table over the wire agrees with the controller's own values."""
    shown = stage.controller.values()
    pressure, flow = stage.read("-t 3:float -r 0 -c 2")
    assert pressure == pytest.approx(shown["booster.discharge_pressure"][0], abs=0.02)
    assert flow == pytest.approx(shown["booster.flow"][0], abs=2)
    assert stage.read("-t 3 -r 4 -c 2") == [
        pytest.approx(100 * (shown["booster.tank_level"][0] or 0), abs=2),
        shown["zones.zone3"][0],
    ]
    assert stage.read("-t 1 -r 0 -c 3") == [shown["booster.p1.running"][0], 0, 0]
    assert stage.read(f"{VALVE} -c 1") == [800]
    first = stage.read("-t 3 -r 9000 -c 1")
    wait_until(lambda: stage.read("-t 3 -r 9000 -c 1") != first, "the alive counter counts")
    assert stage.read("-t 3 -r 9001 -c 5") == [0, 0, 0, 0, 0]


def test_a_write_moves_the_valve_as_a_command_of_the_bms(stage: Stage) -> None:
    """It arrives at the equipment, in the journal upstream and in `edge explain`."""
    well, told = mbpoll(stage.plant.bms_port, f"{VALVE} -- 700")
    assert well, told
    wait_until(lambda: stage.plant.read("zones", "v3_command") == pytest.approx(70), "v3 at 70 %")
    assert stage.owner() == {"value": 70.0, "slot": REMOTE, "by": "bms"}
    explained = stage.controller.edge("explain", "v3.position")
    assert "bms" in str(explained)
    wait_until(lambda: stage.read(f"{VALVE} -c 1") == [700], "the register follows")

    def record() -> dict[str, Any] | None:
        found = [r for r in stage.platform.journal("command") if r["state"] == "VERIFIED"]
        return found[-1] if found else None

    told_upstream = wait_until(record, "the journal says that it was verified")
    assert (told_upstream["point"], told_upstream["value"]) == ("v3.position", 70.0)
    assert (told_upstream["by"], told_upstream["role"], told_upstream["via"]) == (
        "bms", "integration", "bms",
    )  # fmt: skip
    assert told_upstream["reason"] == "Modbus TCP 127.0.0.1"


def test_what_is_refused_moves_nothing(stage: Stage) -> None:
    """Out of range, too great a step, and a register that is only read."""
    for words, reason in (
        (f"{VALVE} -- 950", "Illegal data value"),
        (f"{VALVE} -- 200", "Illegal data value"),
        ("-t 4:float -r 101 -- 0.4", "Illegal data address"),
    ):
        well, told = mbpoll(stage.plant.bms_port, words)
        assert not well
        assert reason in told
    assert stage.owner()["value"] == 70.0


def test_the_map_is_there_after_a_crash(stage: Stage) -> None:
    """The successor of a killed controller serves the same registers and goes on with the lease."""
    stage.controller.kill()
    stage.controller.start()
    wait_until(lambda: mbpoll(stage.plant.bms_port, f"{VALVE} -c 1")[0], "it listens again")
    wait_until(lambda: stage.read(f"{VALVE} -c 1") == [700], "the valve is where it was")
    wait_until(lambda: stage.owner()["by"] == "bms", "the lease is taken up")
    well, told = mbpoll(stage.plant.bms_port, f"{VALVE} -- 700")
    assert well, told
    health = stage.controller.edge("health")["bms"]
    assert health["up"]
    assert health["refused"] == 0
