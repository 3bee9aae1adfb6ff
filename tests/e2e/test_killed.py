"""Twenty times `kill -9` of the controller under load: nothing that was seen is lost or doubled.

The lives after them end with SIGTERM, which loses nothing at all.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.changing import FLAG, Changing
from tests.support.controller import Controller, wait_until
from tests.support.mosquitto import Mosquitto
from tests.support.subscriber import Subscriber

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = 20
SEEN = 0.5  # s that something must last for a scan to see it for certain
OLD_ENOUGH = 1.5  # s before a kill: what was served earlier must arrive
JUST_SERVED = 0.3  # s before SIGTERM or a scan: what was served later may not have been heard
QUEUE = "max_queued_messages 0"  # the broker may keep any number for a slow subscriber


@dataclass
class Lives:
    """What happened. `lives` are from start to where what was served must arrive."""

    devices: Changing
    platform: Subscriber
    controller: Controller
    lives: list[tuple[float, float]]

    def required(self, device: str) -> Iterator[tuple[float, int, int]]:
        """Changes served in time, as (monotonic time, address, value)."""
        connection, unit = self.devices.names()[device]
        for at, address, value in self.devices.served(connection, unit=unit):
            if any(began <= at < end for began, end in self.lives):
                yield at, address, value


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """Twenty lives, a third of them too short to connect anywhere, and one that sends the rest."""
    directory = tmp_path_factory.mktemp("killed")
    chance = random.Random(5)
    lives = []
    with (
        Changing(1, 1, 1, 1) as devices,
        Mosquitto(directory / "broker", settings=QUEUE) as broker,
        Subscriber(broker.port, "edge/changing/main") as platform,
    ):
        controller = Controller(devices.site(directory, broker=broker.port), directory)
        for life in range(KILLS):
            began = time.monotonic()
            controller.start()
            time.sleep(chance.uniform(0.0, 0.5) if life % 3 == 2 else chance.uniform(1.8, 2.5))
            lives.append((began, controller.kill() - OLD_ENOUGH))
        began = time.monotonic()
        controller.start()
        time.sleep(3)
        lives.append((began, time.monotonic() - JUST_SERVED))
        assert controller.stop() == 0
        began = time.monotonic()
        with controller:
            found = Lives(devices, platform, controller, lives)
            wait_until(lambda: _heard(platform, began), "the backlog arrives", every=0.5)
            yield found
        print(controller.tail())


def _heard(platform: Subscriber, since: float) -> bool:
    """Whether the platform knows of a change that is 3 s younger than `since`."""
    latest = max((ts for *_, ts, _ in platform.changes()), default=0)
    return latest / 1000 - time.time() + time.monotonic() > since + 3


def test_every_change_arrives(killed: Lives) -> None:
    """What a device served 1.5 s before a kill, or before SIGTERM, reaches the subscriber."""
    arrived = {(d, p, v) for d, p, _, v in killed.platform.changes()}
    for device in killed.devices.names():
        required = list(killed.required(device))
        assert len(required) > 200
        lost = [
            (round(at, 2), address, value)
            for at, address, value in required
            if (device, "flag" if address == FLAG else f"r{address}", value) not in arrived
        ]
        assert lost == [], f"{device}: lives {killed.lives}"
        print(f"{device}: {len(required)} changes, all arrived")


def test_every_number_has_one_content(killed: Lives) -> None:
    """No (stream, n) comes with two contents, and within a stream none is missing."""
    streams = {stream for stream, _ in killed.platform.numbered()}
    print(f"{len(killed.platform.numbered())} messages in {len(streams)} streams")
    assert 2 <= len(streams) <= KILLS + 1
    assert killed.platform.missing() == {}
    assert {gap["reason"] for gap in killed.platform.gaps()} == {"unclean"}


def test_no_alarm_transition_is_lost(killed: Lives) -> None:
    """Raises and clears follow each other without a break, at the platform as in the journal."""
    told = killed.platform.journal("alarm")
    for before, after in itertools.pairwise(told):
        assert before["state"] == after["before"]
        assert after["n"] == before["n"] + (after["state"] == "UNACK")
    assert told[0]["before"] == "NORMAL"
    local = [(a["id"], a["n"], a["state"]) for a in killed.controller.api().get("alarms")]
    heard = [(r["alarm"], r["n"], r["state"]) for r in killed.platform.journal("alarm")]
    assert heard[: len(local)] == local
    offset = time.time() - time.monotonic()
    times = [record["ts"] / 1000 - offset for record in told]
    reads = [(at, value) for at, address, value in killed.devices.reads(0) if address == FLAG]
    for record, t in zip(told, times, strict=True):  # no restart clears or raises anything
        known = max((at for at, _ in reads if at <= t - JUST_SERVED), default=0)
        seen = {value for at, value in reads if known <= at <= t + 0.01}
        assert int(record["cause"] == "raised") in seen, f"{t:.2f}: {record}"
    changes = [(at, value) for at, address, value in killed.required("d0u1") if address == FLAG]
    for (at, value), (after, _) in itertools.pairwise(changes):
        # What is taken back before a scan on a busy machine has looked is no alarm.
        if at > killed.lives[0][0] + OLD_ENOUGH and after - at > SEEN:
            wanted = "raised" if value else "cleared"
            assert any(
                record["cause"] == wanted and -0.1 < t - at < OLD_ENOUGH
                for record, t in zip(told, times, strict=True)
            ), f"{wanted} at {at:.2f}"
    print(f"{len(told)} transitions")
