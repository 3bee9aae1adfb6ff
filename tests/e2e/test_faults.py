"""Faults over real sockets: silent devices, lying devices, a broker that is gone for 30 seconds.

One controller with ten devices on connections of their own, ten units behind one gateway and seven
devices that lie. They all go wrong at the same time, and the tests look at what came of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.changing import FLAG, Changing
from tests.support.controller import Controller, wait_until
from tests.support.modbus_device import MALFORMED, Fault
from tests.support.mosquitto import Mosquitto
from tests.support.subscriber import Subscriber

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ALONE, GATEWAY = range(10), 10
LIARS = dict(enumerate(MALFORMED, 11))  # connection: what it does
TURNED = 11 + len(MALFORMED)  # honest at first
OUTAGE = 30.0
SAMPLE_EVERY = 0.5
QUEUE = "max_queued_messages 0"
ROOT = "edge/changing/main"

Values = dict[str, tuple[float | None, int]]


@dataclass
class Day:
    """What was seen: values every half second of the outage, and when it began and ended."""

    devices: Changing
    platform: Subscriber
    controller: Controller
    began: float
    ended: float
    first: Values
    samples: list[Values]
    record: Any  # of `edge watch --once --json`


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    directory = tmp_path_factory.mktemp("faults")
    with (
        Changing(*[1] * len(ALONE), 10, *[1] * len(LIARS), 1) as devices,
        Mosquitto(directory / "broker", settings=QUEUE) as broker,
        Subscriber(broker.port, ROOT) as platform,
    ):
        for connection, fault in LIARS.items():
            devices.fault(connection, fault)
        with Controller(devices.site(directory, broker=broker.port), directory) as controller:
            wait_until(platform.online, "the controller is online")
            wait_until(lambda: _good(controller.values()), "every honest device was read")
            first = controller.values()
            broker.stop()
            devices.fault(ALONE[-1], Fault.SILENT)
            devices.fault(GATEWAY, Fault.SILENT, unit=10)
            devices.fault(TURNED, Fault.LONG)
            began = time.monotonic()
            samples = []
            while time.monotonic() < began + OUTAGE:
                samples.append(controller.values())
                time.sleep(SAMPLE_EVERY)
            ended = time.monotonic()
            record = controller.edge("watch", "--once")
            broker.start()
            day = Day(devices, platform, controller, began, ended, first, samples, record)
            wait_until(platform.online, "the controller is online again", within=90)
            wait_until(lambda: _caught_up(day), "the backlog arrives", within=60, every=0.5)
            yield day
        print(controller.tail())


def _good(values: Values) -> bool:
    honest = [f"d{k}u1" for k in (*ALONE, TURNED)] + [f"d{GATEWAY}u{u}" for u in range(1, 11)]
    return all(values[f"{name}.r0"][1] == 0 for name in honest)


def _caught_up(day: Day) -> bool:
    """Whether nothing waits any more, and something from after the outage was heard."""
    latest = max((ts for *_, ts, _ in day.platform.changes()), default=0) / 1000
    uplink = day.controller.api().get("health")["uplinks"][0]
    return latest - time.time() + time.monotonic() > day.ended + 3 and uplink["backlog"] < 50


def test_silent_device_costs_only_itself(day: Day) -> None:
    """Nine devices on connections of their own keep their ten polls a second."""
    lasted = day.ended - day.began
    rates = [day.devices.polls(k, since=day.began, until=day.ended) / lasted for k in ALONE]
    print("polls a second:", [round(rate, 2) for rate in rates])
    assert min(rates[:-1]) >= 0.95 * 10
    assert rates[-1] == 0


def test_silent_unit_leaves_the_shared_line_to_the_others(day: Day) -> None:
    """Nine units behind one gateway keep their rate while the tenth says nothing."""
    units, lasted = range(1, 11), day.ended - day.began
    polls = [day.devices.polls(GATEWAY, unit=u, since=day.began, until=day.ended) for u in units]
    print("polls a second:", [round(count / lasted, 2) for count in polls])
    asked = [r for r in day.devices.devices[GATEWAY].requests if r[0] == 10]
    print(f"{len(asked)} requests to the silent unit since the start")
    assert min(polls[:-1]) >= 0.95 * lasted
    assert polls[-1] == 0
    assert day.samples[-1][f"d{GATEWAY}u10.r0"][1] != 0
    assert day.record["points"][f"d{GATEWAY}u10.online"]["value"] == 0


def test_lying_device_never_yields_a_value(day: Day) -> None:
    """Another transaction, unit, function or length, or garbage: asked for, never believed."""
    for connection, fault in LIARS.items():
        name = f"d{connection}u1"
        assert len(day.devices.devices[connection].requests) >= 3, fault
        for values in (day.first, *day.samples):
            for point in (f"{name}.r0", f"{name}.r9", f"s_{name}"):
                value, bits = values[point]
                assert value is None, f"{fault}: {point} = {value}"
                assert bits != 0, f"{fault}: {point} is good"
        shown = day.record["points"][f"{name}.r0"]
        assert shown["value"] is None
        assert shown["quality"]
    arrived = {device for device, _, _, value in day.platform.changes() if value is not None}
    assert arrived & {f"d{connection}u1" for connection in LIARS} == set()


def test_device_that_begins_to_lie_is_no_longer_believed(day: Day) -> None:
    """The last honest value stays, marked as bad; nothing that it says later replaces it."""
    honest = {
        address: value
        for at, address, value in day.devices.reads(TURNED) if at < day.began + 0.5
    }  # fmt: skip
    value, bits = day.samples[-1][f"d{TURNED}u1.r0"]
    assert bits != 0
    assert value is not None
    assert value <= honest[0]


def test_outage_of_the_broker_loses_nothing(day: Day) -> None:
    """What was served before and during it arrives, each number once, none missing."""
    arrived = {(d, p, v) for d, p, _, v in day.platform.changes()}
    count = 0
    for name, (k, unit) in day.devices.names().items():
        if k in (*ALONE, GATEWAY):
            for at, address, value in day.devices.served(k, unit=unit):
                if at < day.ended:
                    count += 1
                    point = "flag" if address == FLAG else f"r{address}"
                    assert (name, point, value) in arrived, f"{at - day.began:.2f} s"
    print(f"{count} changes, {len(day.platform.numbered())} messages")
    assert day.platform.missing() == {}
    assert day.platform.gaps() == []
    assert len({stream for stream, _ in day.platform.numbered()}) == 1
    local = [(a["n"], a["state"]) for a in day.controller.api().get("alarms")]
    heard = [(r["n"], r["state"]) for r in day.platform.journal("alarm")]
    assert heard[: len(local)] == local
