"""What changes become messages, and how records of the journal reach the broker's side."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import Clock
from edge.image import quality
from edge.image.image import ProcessImage
from edge.proof.virtual_loop import run_virtual
from edge.site.site import Grant, Role
from edge.store.outbox import Outbox
from edge.store.outbox_file import Row
from edge.text import Text
from edge.uplink import payload
from edge.uplink.export import Export
from edge.uplink.report import MOST, Reporter
from tests.edge.store.test_journal import Store
from tests.edge.test_commands import site
from tests.support.records import point

WALL, NOW = 1_795_000_000.0, 500.0
POINTS = (
    point("pump.flow", unit="m³/h", device="pump"),
    point("pump.head", device="pump"),
    point("v3.position", device="v3"),
    point("demand.high", Role.VIRTUAL),
)


class Added(Outbox):
    """An outbox that only notes what is added."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def add(self, priority: int, topic: str, body: str, then: Any = None) -> None:
        self.messages.append((topic, json.loads(body)))

    async def flush(self) -> None:
        pass


def made(points: Any = POINTS) -> tuple[Reporter, ProcessImage, Added]:
    image = ProcessImage(len(points), [], 0)
    image.value[: len(points)] = 0
    image.quality[: len(points)] = 0
    image.stamp[:] = NOW
    outbox = Added()
    clock = Clock(monotonic=lambda: NOW, wall=lambda: WALL, trusted=lambda: True, origin=NOW)
    return Reporter(points, image, outbox, clock, 1.0), image, outbox


def test_each_change_keeps_its_time() -> None:
    """Three changes of a point within a period are three entries with their own times."""
    reporter, image, outbox = made()
    for k in range(3):
        image.value[0], image.stamp[0] = 10.5 + k, NOW + k / 10
        reporter.changed([0], image, NOW + k / 10 + 0.01, WALL + k / 10 + 0.01)
    reporter.report()
    ts = round(WALL * 1000)
    assert outbox.messages == [
        ("d/pump", {"s": [{"ts": ts + 100 * k, "v": {"flow": 10.5 + k}} for k in range(3)]})
    ]


def test_points_of_one_time_share_an_entry_and_devices_have_their_own_message() -> None:
    """One poll's points stand together; what has no device stands under `_site`."""
    reporter, image, outbox = made()
    image.value[:4] = [1, 2, 3, 1]
    reporter.changed([0, 1, 2, 3], image, NOW, WALL)
    reporter.report()
    ts = round(WALL * 1000)
    assert outbox.messages == [
        ("d/pump", {"s": [{"ts": ts, "v": {"flow": 1, "head": 2}}]}),
        ("d/v3", {"s": [{"ts": ts, "v": {"position": 3}}]}),
        ("d/_site", {"s": [{"ts": ts, "v": {"demand.high": 1}}]}),
    ]
    reporter.report()
    assert len(outbox.messages) == 3


@pytest.mark.parametrize(
    ("bits", "code"),
    [(quality.COMM, 0), (quality.STALE, 500), (quality.RANGE | quality.STALE, 0),
     (quality.UNCERTAIN, None), (0, None)],
)  # fmt: skip
def test_quality_is_said_where_it_is_not_good(bits: int, code: int | None) -> None:
    """Sparkplug's codes, and the time of the step instead of the last good value's for bad ones."""
    reporter, image, outbox = made()
    image.value[0], image.quality[0], image.stamp[0] = math.nan if code == 0 else 4.0, bits, 100.0
    reporter.changed([0], image, NOW, WALL)
    reporter.report()
    (entry,) = outbox.messages[0][1]["s"]
    assert entry.get("q") == (None if code is None else {"flow": code})
    assert entry["v"] == {"flow": None if code == 0 else 4.0}
    assert entry["ts"] == round(WALL * 1000) - (400_000 if code is None else 0)


def test_float_noise_is_not_sent() -> None:
    """Ten digits: 0.1 + 0.2 and a 32-bit 0.401 arrive as people wrote them, a counter in full."""
    reporter, image, outbox = made()
    image.value[:3] = [0.1 + 0.2, 1234567.891, 3.0]
    reporter.changed([0, 1, 2], image, NOW, WALL)
    reporter.report()
    assert outbox.messages[0][1]["s"][0]["v"] == {"flow": 0.3, "head": 1234567.891}


@given(
    steps=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.floats(-1e9, 1e9)), max_size=6), max_size=8
    )
)
def test_no_change_is_lost_or_invented(steps: list[list[tuple[int, float]]]) -> None:
    """Whatever changes in whatever steps: exactly those values come out, per point in order."""
    reporter, image, outbox = made()
    expected: dict[str, list[float]] = {}
    for k, step in enumerate(steps):
        for i, value in dict(step).items():
            image.value[i], image.stamp[i] = value, NOW + k // 2  # two steps share a time
            expected.setdefault(".".join(payload.place(POINTS[i])), []).append(value)
        reporter.changed(list(dict(step)), image, NOW + k // 2, WALL + k // 2)
    reporter.report()
    got: dict[str, list[float]] = {}
    for topic, body in outbox.messages:
        for entry in body["s"]:
            for name, value in entry["v"].items():
                got.setdefault(f"{topic[2:]}.{name}", []).append(value)
    assert {k: pytest.approx(v, rel=1e-9) for k, v in expected.items()} == got


def test_large_device_is_sent_in_parts() -> None:
    """A message never has more than a thousand values."""
    many = tuple(point(f"big.p{i}", device="big") for i in range(2 * MOST + 5))
    reporter, image, outbox = made(many)
    image.value[: len(many)] = range(len(many))
    asyncio.run(reporter.full())
    counts = [sum(len(e["v"]) for e in body["s"]) for _, body in outbox.messages]
    assert counts == [MOST, MOST, 5]
    assert all(body["full"] for _, body in outbox.messages)


def test_what_is_local_stays_here() -> None:
    """Neither the full picture nor the dictionary has what tells of buses and devices."""
    local = point("line.bus.load", Role.VIRTUAL, local=True)
    reporter, _, outbox = made((*POINTS, local))
    asyncio.run(reporter.full())
    named = {name for _, body in outbox.messages for part in body["s"] for name in part["v"]}
    assert named == {"flow", "head", "position", "demand.high"}
    known = payload.dictionary(replace(site(), points=(*POINTS, local)))
    assert "line.bus.load" not in json.loads(known["meta/_site"])["points"]


def test_full_picture_at_each_connection_and_every_five_minutes() -> None:
    """Offline none; then one as soon as we are online, and the next 300 s later."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reporter, _, outbox = made(POINTS[:1])
        reporter._clock = Clock(monotonic=loop.time, wall=loop.time, trusted=lambda: True)
        online = asyncio.Event()
        task = asyncio.create_task(reporter.run(online))
        seen = []
        for seconds in (50, 2, 290, 15):
            await asyncio.sleep(seconds)
            seen.append(len(outbox.messages))
            online.set()
        online.clear()
        await asyncio.sleep(400)
        online.set()
        await asyncio.sleep(2)
        seen.append(len(outbox.messages))
        task.cancel()
        assert seen == [0, 1, 1, 2, 3]

    run_virtual(main)


def test_dictionary_says_what_the_numbers_mean() -> None:
    """Per device: role, unit, both names, labels, and what a remote command may do."""
    plant = site()
    points = (*plant.points[:3], replace(plant.points[3], device="v3"), plant.points[5],
              point("lobby.mode", labels={0: Text("自动", "auto")}, device="lobby"))  # fmt: skip
    grants = (*plant.grants, Grant("fire.run", 0, 1, math.inf, frozenset(), 1, 1))
    meta = payload.dictionary(site(points=points, grants=grants))
    position = json.loads(meta["meta/v3"])["points"]["position"]
    assert position["write"] == {
        "range": [10.0, 90.0], "step": 20.0, "lease_s": [1800.0, 3600.0], "roles": ["engineer"],
    }  # fmt: skip
    here = json.loads(meta["meta/_site"])["points"]
    assert "write" not in here["fire.run"]
    assert here["supply_pressure"]["unit"] == "MPa"
    lobby = json.loads(meta["meta/lobby"])["points"]["mode"]
    assert lobby["labels"] == {"0": {"zh": "自动", "en": "auto"}}


def test_command_topics() -> None:
    """Exactly device and point below cmd/; anything else names no target."""
    root = "edge/court/main"
    assert payload.command_target(root, f"{root}/cmd/v3/position") == ("v3", "position")
    assert payload.command_target(root, f"{root}/cmd/v3") is None
    assert payload.command_target(root, f"{root}/cmd/v3/position/x") is None


def test_numbered_message_is_json() -> None:
    """Stream and number stand in front of what was stored."""
    row = Row(7, "abc", 3, "d/x", '{"s":[]}', 2)
    assert json.loads(payload.numbered(row)) == {"stream": "abc", "n": 3, "s": []}


def test_records_reach_the_outbox_and_are_marked(tmp_path: Path) -> None:
    """A record becomes an event, a remote command's answer goes to cmdack too, each once."""

    async def main() -> None:
        async with Store(tmp_path) as store:
            await store.journal.add("alarm", {"alarm": "early"})  # before anybody exported
        async with Store(tmp_path) as store:
            await Export(store.journal, [store.outbox]).start()
            await store.journal.add("alarm", {"alarm": "a"})
            await store.journal.add("command", {"id": "c1", "via": "mqtt", "state": "ACCEPTED"})
            await store.journal.add("command", {"id": "c2", "via": "local"})
            await store.outbox.flush()
            rows = await store.outbox.take(100)
            topics = [(row.topic, json.loads(row.body).get("seq")) for row in rows]
            assert topics == [("event", 1), ("event", 2), ("cmdack/c1", None), ("event", 3),
                              ("event", 4)]  # fmt: skip
            assert json.loads(rows[1].body)["data"] == {"alarm": "a"}
        async with Store(tmp_path) as store:
            assert await store.journal.unexported() == []

    asyncio.run(main())


def test_no_change_waits_longer_than_a_period_and_its_quarter() -> None:
    """Neither a full picture nor many devices make the next report late."""
    points = tuple(point(f"d{k}.flow", device=f"d{k}") for k in range(20))
    added: dict[float, float] = {}  # time of the change: time at which it was sent

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reporter, image, outbox = made(points)
        reporter._clock = Clock(monotonic=loop.time, wall=loop.time, trusted=lambda: True)

        def add(priority: int, topic: str, body: str, then: Any = None) -> None:
            for entry in json.loads(body)["s"]:
                if "full" not in json.loads(body):
                    added[entry["ts"] / 1000] = loop.time()

        outbox.add = add  # type: ignore[method-assign]
        online = asyncio.Event()
        online.set()
        task = asyncio.create_task(reporter.run(online))
        for k in range(1000):
            image.value[k % 20], image.stamp[k % 20] = k, loop.time()
            reporter.changed([k % 20], image, loop.time(), loop.time())
            await asyncio.sleep(0.01)
        await asyncio.sleep(2)
        task.cancel()
        assert len(added) == 1000
        assert max(sent - changed for changed, sent in added.items()) <= 1.25 + 0.02

    run_virtual(main)


def test_report_that_is_cut_short_loses_nothing() -> None:
    """Stopped between two devices' messages, the rest of them is sent all the same."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reporter, image, outbox = made(POINTS)
        reporter._clock = Clock(monotonic=loop.time, wall=loop.time, trusted=lambda: True)
        task = asyncio.create_task(reporter.run(asyncio.Event()))
        await asyncio.sleep(0.5)
        reporter.changed([0, 1, 2, 3], image, NOW, WALL)
        await asyncio.sleep(0.51)
        assert [topic for topic, _ in outbox.messages] == ["d/pump"]
        task.cancel()
        await asyncio.sleep(0)
        assert [topic for topic, _ in outbox.messages] == ["d/pump", "d/v3", "d/_site"]

    run_virtual(main)
