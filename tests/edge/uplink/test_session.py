"""The uplink against a real Mosquitto: delivery, refusal, outages, commands, TLS, MQTT 3.1.1."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from pathlib import Path

import pytest

from edge.store.outbox_file import EVENT, SAMPLE
from edge.uplink.mqtt import Link
from tests.edge.uplink.parts import ROOT, Running, Subscriber, until, uplink
from tests.support.mosquitto import Mosquitto

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_rows_arrive_numbered_and_leave_the_outbox(tmp_path: Path, protocol: str) -> None:
    """Each row arrives once, in order, with its stream and number, and is gone after its PUBACK."""

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port)
        await listener.ready()
        async with Running(tmp_path / "s", uplink(broker.port, protocol=protocol)) as run:
            for i in range(300):
                run.outbox.add(SAMPLE, "d/x", json.dumps({"i": i}))
            await run.outbox.flush()
            await until(lambda: len(listener.bodies("d/x")) == 300)
            assert [(run.outbox.stream, i + 1, i) for i in range(300)] == [
                (b["stream"], b["n"], b["i"]) for b in listener.bodies("d/x")
            ]
            await run.outbox.flush()
            await until(lambda: run.outbox.waiting == 0)
            assert run.session.sent == 300
        assert [b["state"] for b in listener.bodies("status")] == ["online", "offline"]
        assert run.codes() == []
        listener.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_outage_loses_nothing(tmp_path: Path) -> None:
    """Broker killed and started again: all arrives, duplicates told by (stream, n), two events."""

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port)
        await listener.ready()
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            await until(run.session.online.is_set)
            for i in range(200):
                run.outbox.add(SAMPLE, "d/x", json.dumps({"i": i}))
            await asyncio.sleep(0.01)
            broker.stop()
            for i in range(200, 400):
                run.outbox.add(SAMPLE, "d/x", json.dumps({"i": i}))
            await run.outbox.flush()
            await until(lambda: "uplink-down" in run.codes())
            broker.start()
            await until(lambda: len({b["n"] for b in listener.bodies("d/x")}) == 400)
            contents = {(b["stream"], b["n"]): b["i"] for b in listener.bodies("d/x")}
            assert list(range(400)) == sorted(contents.values())
            await until(lambda: run.outbox.waiting == 0)
        assert run.codes() == ["uplink-down", "uplink-up"]
        assert run.seen.all[1][1]["lasted"] > 0
        listener.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_refused_row_does_not_hold_the_others(tmp_path: Path) -> None:
    """MQTT 5: what the broker's ACL refuses is set aside with its reason and reported once."""
    acl = f"topic readwrite {ROOT}/event\ntopic readwrite {ROOT}/status\ntopic read #\n"

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port)
        await listener.ready()
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            for i in range(3):
                run.outbox.add(SAMPLE, "d/x", json.dumps({"i": i}))
            run.outbox.add(EVENT, "event", '{"kind":"alarm"}')
            await until(lambda: len(listener.bodies("event")) >= 2)
            await run.outbox.flush()
            await until(lambda: run.outbox.waiting == 0)
            parked = await run.outbox.parked()
            assert [(row[1], row[3]) for row in parked] == [("d/x", "Not authorized")] * 3
            assert run.codes() == ["message-refused"]
            assert run.session.refused == 3
            gaps = [b["gap"] for b in listener.bodies("event") if b["kind"] == "gap"]
            assert sum(gap["count"] for gap in gaps) == 3
        listener.close()

    with Mosquitto(tmp_path / "m", acl=acl) as broker:
        asyncio.run(main(broker))


def test_half_open_broker_is_noticed(tmp_path: Path) -> None:
    """A broker that stops answering is left by keep-alive and found again; nothing is lost."""

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port)
        await listener.ready()
        async with Running(tmp_path / "s", uplink(broker.port, keepalive=1.0)) as run:
            await until(run.session.online.is_set)
            broker.freeze()
            for i in range(50):
                run.outbox.add(SAMPLE, "d/x", json.dumps({"i": i}))
            await until(lambda: "uplink-down" in run.codes())
            broker.thaw()
            await until(lambda: len({b["n"] for b in listener.bodies("d/x")}) == 50)
        listener.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_command_is_acknowledged_when_recorded(tmp_path: Path) -> None:
    """A command reaches the intake with its target; unrecorded, it comes once more."""

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port, f"{ROOT}/status")
        await listener.ready()
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            intake, run.session._intake = run.session._intake, lambda r: intake(r) and never
            await until(run.session.online.is_set)
            listener.publish("cmd/v3/position", '{"id":"a"}')
            await until(lambda: len(run.received) == 1)
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            await until(lambda: len(run.received) == 1)
            assert run.received[0] == (("v3", "position"), b'{"id":"a"}', False)
            listener.publish("cmd/v3/position/more", "{}")
            await until(lambda: len(run.received) == 2)
            assert run.received[1].target is None
            await run.journal.flush()
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            await until(run.session.online.is_set)
            await asyncio.sleep(0.2)
            assert run.received == []
        listener.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_retained_command_is_marked(tmp_path: Path) -> None:
    """A command to be kept arrives with `retained`, from the broker's store and live (MQTT 5)."""

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port, f"{ROOT}/status")
        await listener.ready()
        listener.publish("cmd/v3/position", "{}", retain=True)
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            await until(lambda: len(run.received) == 1)
            assert run.received[0].retained
            listener.publish("cmd/v3/position", "{}", retain=True)
            listener.publish("cmd/v3/position", "{}")
            await until(lambda: len(run.received) == 3)
            assert [received.retained for received in run.received[1:]] == [True, False]
        listener.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_retained_state_is_sent_at_each_connection(tmp_path: Path) -> None:
    """The latest state of each retained topic is there after a reconnection; "" clears it."""

    async def main(broker: Mosquitto) -> None:
        async with Running(tmp_path / "s", uplink(broker.port)) as run:
            run.session.publish_retained("alarm/a", '{"state":"UNACK"}')
            run.session.publish_retained("alarm/b", '{"state":"UNACK"}')
            await until(run.session.online.is_set)
            run.session.publish_retained("alarm/a", '{"state":"ACKED"}')
            run.session.publish_retained("alarm/b", "")
            late = Subscriber(broker.port)
            await until(lambda: {"state": "ACKED"} in late.bodies("alarm/a"))
            await until(lambda: "alarm/b" not in run.session._retained)
            late.close()
            broker.kill()
            (tmp_path / "m" / "mosquitto.db").unlink(missing_ok=True)
            broker.start()
            again = Subscriber(broker.port)
            await until(lambda: again.bodies("alarm/a")[:1] == [{"state": "ACKED"}])
            again.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_will_says_that_we_vanished(tmp_path: Path) -> None:
    """When the connection breaks without a farewell, the broker publishes the retained will."""

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port, f"{ROOT}/status")
        await listener.ready()
        lost = asyncio.Event()
        link = Link(
            uplink(broker.port), (f"{ROOT}/status", '{"state":"offline"}'),
            on_message=print, on_published=print, on_lost=lost.set,
        )  # fmt: skip
        await link.connect()
        sock = link._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait_for(lost.wait(), 5)
        assert link.lost is not None
        await until(lambda: listener.bodies("status") == [{"state": "offline"}])
        listener.close()

    with Mosquitto(tmp_path / "m") as broker:
        asyncio.run(main(broker))


def test_wrong_password_is_one_event(tmp_path: Path) -> None:
    """However often the broker refuses us, the log says it once, and why."""
    password = tmp_path / "password"
    password.write_text("wrong\n")

    async def main(broker: Mosquitto) -> None:
        config = uplink(broker.port, username="court", password=password)
        async with Running(tmp_path / "s", config) as run:
            await until(lambda: broker.log.read_text().count("not authorised") >= 2)
            password.write_text("right\n")
            await until(run.session.online.is_set)
        assert run.codes() == ["uplink-down", "uplink-up"]
        assert "not authorized" in run.seen.all[0][1]["reason"].en

    with Mosquitto(tmp_path / "m", users={"court": "right"}) as broker:
        asyncio.run(main(broker))


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A certificate authority of our own and a certificate for 127.0.0.1."""
    made = tmp_path / "tls"
    made.mkdir()
    (made / "names").write_text("subjectAltName=IP:127.0.0.1")
    for command in (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        " -subj /CN=authority -keyout ca.key -out ca.pem",
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        " -subj /CN=127.0.0.1 -keyout broker.key -out broker.csr",
        "openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile names -out broker.pem",
    ):
        subprocess.run(command.split(), cwd=made, check=True, capture_output=True)
    return made / "ca.pem", made / "broker.pem", made / "broker.key"


def test_tls_with_password(tmp_path: Path, certificates: tuple[Path, Path, Path]) -> None:
    """With the right authority rows arrive over TLS; a strange authority is refused."""
    password = tmp_path / "password"
    password.write_text("secret")

    async def main(broker: Mosquitto) -> None:
        listener = Subscriber(broker.port, ca=certificates[0], login=("court", "secret"))
        await listener.ready()
        config = uplink(
            broker.port, tls=True, ca=certificates[0], username="court", password=password
        )
        async with Running(tmp_path / "s", config) as run:
            for i in range(200):
                run.outbox.add(SAMPLE, "d/x", json.dumps({"i": i, "b": "x" * 2000}))
            await until(lambda: len(listener.bodies("d/x")) == 200)
        strange = uplink(broker.port, tls=True, username="court", password=password)
        async with Running(tmp_path / "t", strange) as run:
            await until(lambda: run.codes() == ["uplink-down"])
            assert "certificate" in run.seen.all[0][1]["reason"].en
        listener.close()

    with Mosquitto(tmp_path / "m", users={"court": "secret"}, tls=certificates) as broker:
        asyncio.run(main(broker))
