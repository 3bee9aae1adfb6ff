"""The server on a real socket: pymodbus' client, mbpoll, and bytes that are no Modbus."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient

from edge.bms import server
from edge.events import BMS_CLIENT_REFUSED, BMS_DOWN, BMS_UP
from edge.image.slots import Slot
from tests.edge.bms.served import Served, Wire
from tests.support.mbpoll import mbpoll, values

Client = AsyncModbusTcpClient
ILLEGAL_ADDRESS = "Illegal data address"


def with_client(stage: Served, talk: Callable[[Any], Awaitable[None]]) -> None:
    """Run `talk` with pymodbus' own client."""

    async def run(port: int) -> None:
        client = Client("127.0.0.1", port=port, timeout=2, retries=0)
        assert await client.connect()
        try:
            await talk(client)
        finally:
            client.close()

    stage.serve(run)


def with_wire(stage: Served, talk: Callable[[Wire], Awaitable[None]]) -> None:
    """Run `talk` with a bare connection."""

    async def run(port: int) -> None:
        wire = await Wire.to(port)
        await talk(wire)
        wire.writer.close()

    stage.serve(run)


def test_all_tables_are_read() -> None:
    """Functions 1 to 4, several values in one request, as pymodbus' client decodes them."""
    stage = Served()

    async def talk(client: Any) -> None:
        words = (await client.read_input_registers(0, count=4, device_id=5)).registers
        kinds = Client.DATATYPE
        assert Client.convert_from_registers(words[:2], kinds.FLOAT32) == pytest.approx(0.35)
        assert Client.convert_from_registers(words[2:], kinds.UINT32) == 1_234_567
        words = (await client.read_holding_registers(100, count=4, device_id=5)).registers
        assert words[0] == 800
        assert Client.convert_from_registers(words[1:3], kinds.FLOAT32) == pytest.approx(0.4)
        assert words[3] == 0xFFFF
        assert (await client.read_coils(7, count=1, device_id=5)).bits[0] is False
        assert (await client.read_discrete_inputs(0, count=1, device_id=5)).bits[0] is False
        words = (await client.read_input_registers(9000, count=6, device_id=5)).registers
        assert words == [4465, 1, 2, 0, 65534, 3]

    with_client(stage, talk)


def test_a_gap_refuses_the_whole_read() -> None:
    """Exception 2 for what nobody owns, not zeros."""
    stage = Served()

    async def talk(client: Any) -> None:
        for address, count in ((0, 5), (4, 1), (9, 2), (9005, 2), (65535, 1)):
            answer = await client.read_input_registers(address, count=count, device_id=5)
            assert answer.exception_code == 2

    with_client(stage, talk)


def test_writes_are_carried_out_and_read_back() -> None:
    """Functions 5, 6, 15 and 16; the answer repeats what was written."""
    stage = Served()

    async def talk(client: Any) -> None:
        answer = await client.write_register(100, 655, device_id=5)
        assert (answer.isError(), list(answer.registers)) == (False, [655])
        words = Client.convert_to_registers(0.42, Client.DATATYPE.FLOAT32)
        assert not (await client.write_registers(101, words, device_id=5)).isError()
        assert not (await client.write_coil(7, True, device_id=5)).isError()
        assert (await client.read_coils(7, count=1, device_id=5)).bits[0] is True
        assert not (await client.write_coils(7, [False], device_id=5)).isError()

    with_client(stage, talk)
    assert (stage.get("v3.position"), stage.get("pressure"), stage.get("lamp.on")) == (
        65.5, 0.42, 0.0,
    )  # fmt: skip
    assert {answer.by for answer in stage.answers} == {"bms"}


@pytest.mark.parametrize(
    ("address", "words", "code"),
    [
        (103, [100], 2),  # only read
        (104, [1], 2),  # nobody's
        (101, [0x3ED7], 2),  # half of a value
        (102, [0x0A3D], 2),
        (100, [700, 0x3ED7], 2),  # a value and a half
        (101, [0x7F80, 0], 3),  # an infinity
        (100, [950], 3),  # out of range
        (100, [100], 3),  # too great a step
    ],
)
def test_what_is_not_allowed_is_refused_whole(address: int, words: list[int], code: int) -> None:
    """Nothing moves, and the code says whether the address or the value is wrong."""
    stage = Served()

    async def talk(client: Any) -> None:
        answer = await client.write_registers(address, words, device_id=5)
        assert answer.exception_code == code
        if len(words) == 1:
            assert (
                await client.write_register(address, *words, device_id=5)
            ).exception_code == code

    with_client(stage, talk)
    assert not stage.asked


def test_a_refusal_by_circumstances_and_by_rate() -> None:
    """4 while a person on site holds the point, 6 for too many commands."""
    stage = Served()

    async def talk(client: Any) -> None:
        stage.image.request[Slot.LOCAL - 1, 0] = 50.0
        assert (await client.write_register(100, 655, device_id=5)).exception_code == 4
        codes = [
            (await client.write_coil(7, i % 2 == 0, device_id=5)).exception_code for i in range(7)
        ]
        assert codes == [0, 0, 0, 0, 0, 0, 6]

    with_client(stage, talk)


def test_units() -> None:
    """It answers to its unit, and to 0 and 255 as servers on TCP do; nobody else is here."""
    stage = Served()

    async def talk(wire: Wire) -> None:
        read = bytes([4, 0, 0, 0, 1])
        for unit in (5, 0, 255):
            assert (await wire.ask(read, unit))[0] == 4
        for unit in (1, 6, 247, 254):
            assert await wire.ask(read, unit) == bytes([0x84, 11])

    with_wire(stage, talk)


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("04 0000 0000", "84 03"),  # no register
        ("04 0000 007e", "84 03"),  # 126 of them
        ("03 0000", "83 03"),  # too short
        ("03 0064 0001 00", "83 03"),  # too long
        ("01 0007 07d1", "81 03"),
        ("05 0007 0001", "85 03"),  # neither ON nor OFF
        ("10 0065 0002 02 3ed7", "90 03"),  # bytes and count differ
        ("10 0065 0002 04 3ed7", "90 03"),  # not all of it is there
        ("0f 0007 0001 02 0000", "8f 03"),
        ("16 0064 0000 028f", "96 01"),  # mask write
        ("17 0000 0001 0064 0001 02 028f", "97 01"),
        ("08 0001 0000", "88 01"),  # restart of communications
        ("08 0004 0000", "88 01"),  # listen only
        ("11", "91 01"),
        ("14 07 06 0001 0000 0001", "94 01"),
        ("2b 0d 01 00", "ab 01"),
        ("2b 0e 00 00", "ab 03"),
        ("84 02", "84 01"),
        ("00", "80 01"),
        ("ff", "ff 01"),
    ],
)
def test_malformed_requests_are_answered(pdu: str, answer: str) -> None:
    """With the function that was asked, code 1 or 3; the connection goes on."""
    stage = Served()

    async def talk(wire: Wire) -> None:
        assert await wire.ask(bytes.fromhex(pdu)) == bytes.fromhex(answer)
        assert (await wire.ask(bytes([4, 0, 0, 0, 1])))[0] == 4

    with_wire(stage, talk)
    assert not stage.asked


def test_it_says_what_it_is() -> None:
    """Device identification: vendor, controller, version."""
    stage = Served()

    async def talk(client: Any) -> None:
        answer = await client.read_device_information(read_code=1, device_id=5)
        assert answer.information == {0: b"edge", 1: b"court/main", 2: b"1.2"}

    with_client(stage, talk)


def test_requests_sent_ahead_are_answered_in_order() -> None:
    """Twenty in one packet, and one byte at a time: none is lost, none changes place."""
    stage = Served()

    async def talk(wire: Wire) -> None:
        for i in range(20):
            wire.send(bytes([4, 0, 0, 0, 1 + i % 4]), transaction=i)
        for i in range(20):
            assert (await wire.answer(transaction=i))[1] == 2 * (1 + i % 4)
        for byte in bytes.fromhex("0001 0000 0006 05 04 0000 0001"):
            wire.writer.write(bytes([byte]))
            await wire.writer.drain()
            await asyncio.sleep(0)
        assert (await wire.answer(transaction=1))[0] == 4

    with_wire(stage, talk)


@pytest.mark.parametrize(
    "frame",
    [
        "0001 0001 0006 05 04 0000 0001",  # another protocol
        "0001 0000 0001 05",  # no function
        "0001 0000 00ff 05 04 0000 0001",  # longer than Modbus allows
        "0001 0000 ffff 05 04",
        "47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a",  # GET / HTTP/1.1
    ],
)
def test_what_is_no_modbus_ends_the_connection(frame: str) -> None:
    """Nothing behind a wrong header can be understood; a new connection is welcome."""
    stage = Served()

    async def talk(port: int) -> None:
        wire = await Wire.to(port)
        wire.writer.write(bytes.fromhex(frame))
        assert await wire.closed()
        assert (await (await Wire.to(port)).ask(bytes([4, 0, 0, 0, 1])))[0] == 4

    stage.serve(talk)


def test_only_the_listed_may_connect() -> None:
    """Another address is turned away before it is heard, and reported once."""
    stage = Served(clients=(ip_network("192.168.10.0/24"),))

    async def talk(port: int) -> None:
        for _ in range(3):
            assert await (await Wire.to(port)).closed()

    stage.serve(talk)
    assert [(event, fields["client"]) for event, fields in stage.told] == [
        (BMS_CLIENT_REFUSED, "127.0.0.1")
    ]


def test_an_ipv4_client_of_an_ipv6_socket_has_its_own_address() -> None:
    """`::ffff:127.0.0.1` is 127.0.0.1 for who may connect."""
    stage = Served(host="::")

    async def talk(port: int) -> None:
        assert (await (await Wire.to(port)).ask(bytes([4, 0, 0, 0, 1])))[0] == 4
        assert stage.server.health()["clients"] == ["127.0.0.1"]

    stage.serve(talk)


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine at once are one too many; the one that was silent longest makes place after a while."""
    stage = Served()

    async def talk(port: int) -> None:
        wires = [await Wire.to(port) for _ in range(server.CLIENTS)]
        read = bytes([4, 0, 0, 0, 1])
        for wire in (*wires[1:], wires[0]):
            await wire.ask(read)
        assert await (await Wire.to(port)).closed()
        monkeypatch.setattr(server, "GIVES_WAY", 0.0)
        extra = await Wire.to(port)
        assert (await extra.ask(read))[0] == 4
        assert await wires[1].closed()
        assert (await wires[0].ask(read))[0] == 4

    stage.serve(talk)
    assert [event for event, _ in stage.told] == [BMS_CLIENT_REFUSED]


def test_silence_and_half_requests_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing, or never finishes what it began, is let go."""
    monkeypatch.setattr(server, "IDLE", 0.05)
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    stage = Served()

    async def talk(port: int) -> None:
        silent, half = await Wire.to(port), await Wire.to(port)
        half.writer.write(bytes.fromhex("0001 0000 0006 05 04"))
        assert await silent.closed()
        assert await half.closed()
        assert stage.server.health()["clients"] == []

    stage.serve(talk)


def test_a_flood_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its burst a connection is answered at the pace, however fast it asks."""
    monkeypatch.setattr(server, "PACE", 0.004)
    stage = Served()

    async def talk(port: int) -> None:
        wire = await Wire.to(port)
        began = asyncio.get_running_loop().time()
        for i in range(server.BURST + 50):
            wire.send(bytes([4, 0, 0, 0, 4]), transaction=i)
        for i in range(server.BURST + 50):
            await wire.answer(transaction=i)
        assert asyncio.get_running_loop().time() - began >= 49 * 0.004

    stage.serve(talk)


def test_it_ends_with_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation that waits for its turn is over when the server is; nothing is left behind."""
    monkeypatch.setattr(server, "PACE", 0.05)
    monkeypatch.setattr(server, "BURST", 0)
    stage, wrong = Served(), list[dict[str, Any]]()

    async def talk(port: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        wire = await Wire.to(port)
        for i in range(3):
            wire.send(bytes([4, 0, 0, 0, 1]), transaction=i)
        await wire.answer(transaction=0)

    stage.serve(talk)
    assert stage.server.health()["clients"] == []
    assert wrong == []


def test_a_port_in_use_is_told_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the port may leave later; until then there is one event."""
    monkeypatch.setattr(server, "RETRY", 0.01)
    stage = Served()

    async def main() -> None:
        other = await asyncio.start_server(lambda *_: None, "127.0.0.1", stage.bms.port)
        serving = asyncio.create_task(stage.server.run())
        await asyncio.sleep(0.1)
        assert not stage.server.up.is_set()
        other.close()
        await asyncio.wait_for(stage.server.up.wait(), 5)
        serving.cancel()

    asyncio.run(main())
    assert [event for event, _ in stage.told] == [BMS_DOWN, BMS_UP]


PDUS = st.one_of(
    st.binary(min_size=1, max_size=253),
    st.builds(
        lambda function, rest: bytes([function]) + rest,
        st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 43]), st.binary(max_size=20),
    ),
    st.builds(
        lambda function, address, count, rest: struct.pack(">BHH", function, address, count) + rest,
        st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]),
        st.sampled_from([0, 2, 7, 10, 100, 101, 103, 9000, 65535]),
        st.integers(0, 130), st.binary(max_size=12),
    ),
    st.builds(lambda code, id: bytes([43, 14, code, id]), st.integers(0, 5), st.integers(0, 255)),
)  # fmt: skip


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(requests=st.lists(PDUS, min_size=1, max_size=10))
def test_whatever_arrives_is_answered(requests: list[bytes]) -> None:
    """Each request has one answer, of its own function; no error but Modbus' own leaves."""
    stage = Served()

    async def main() -> None:
        for pdu in requests:
            answer = await stage.server._answer(5, pdu, "127.0.0.1")
            frame = stage.server._framer.buildFrame(answer)
            assert len(frame) <= 260
            assert frame[7] & 0x7F == pdu[0] & 0x7F
            assert frame[7] < 0x80 or frame[8] in (1, 2, 3, 4, 6)
            assert stage.server.requests > 0

    asyncio.run(main())
    for name, low, high in (("v3.position", 10, 90), ("pressure", 0.35, 0.45), ("lamp.on", 0, 1)):
        assert low <= stage.get(name) <= high


@pytest.mark.slow
def test_mbpoll_reads_and_writes() -> None:
    """libmodbus reads every table, writes a value, and hears why another is refused."""
    stage = Served()

    async def ask(port: int, words: str) -> tuple[bool, str]:
        return await asyncio.to_thread(mbpoll, port, words, unit=5)

    async def talk(port: int) -> None:
        for words, expected in (
            ("-t 3:float -r 0 -c 1", [0.35]), ("-t 3:int -r 2 -c 1", [1_234_567]),
            ("-t 4:float -r 101 -c 1", [0.4]), ("-t 4 -r 100 -c 1", [800]),
            ("-t 3 -r 10 -c 1", [0x10000 - 150]), ("-t 0 -r 7 -c 1", [0]),
            ("-t 1 -r 0 -c 1", [0]), ("-t 3 -r 9000 -c 6", [4465, 1, 2, 0, 65534, 3]),
        ):  # fmt: skip
            well, told = await ask(port, words)
            assert well, told
            assert values(told) == pytest.approx(expected), told
        for words, name, value in (
            ("-t 4 -r 100 -- 655", "v3.position", 65.5),
            ("-t 4:float -r 101 -- 0.42", "pressure", 0.42), ("-t 0 -r 7 -- 1", "lamp.on", 1.0),
        ):  # fmt: skip
            well, told = await ask(port, words)
            assert well, told
            assert stage.get(name) == value
        for words, reason in (
            ("-t 4 -r 100 -- 950", "Illegal data value"), ("-t 4 -r 103 -- 1", ILLEGAL_ADDRESS),
            ("-t 4 -r 102 -- 1", ILLEGAL_ADDRESS), ("-t 3 -r 4 -c 1", ILLEGAL_ADDRESS),
        ):  # fmt: skip
            well, told = await ask(port, words)
            assert not well
            assert reason in told
        stage.image.request[Slot.LOCAL - 1, 1] = 0.0
        _, told = await ask(port, "-t 0 -r 7 -- 0")
        assert "Slave device or server failure" in told

    stage.serve(talk)
