"""The simulated Modbus server, asked by pymodbus and by bare sockets."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from math import isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient

from drivers.sim.answers import answer
from drivers.sim.registers import BadValue, NoSuchAddress, Register, Unit, bits_of, words_of
from drivers.sim.serve_modbus import ModbusServer


class Shelf:
    """Values behind a unit."""

    def __init__(self, **values: float) -> None:
        self.values = values

    def unit(self, *registers: Register, holes: bool = True) -> Unit:
        return Unit(
            registers, self.values.__getitem__, self.values.__setitem__, holes=holes
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "wires"),
    [
        ("f32", 230.2, ("43663333", "33334366", "66433333", "33336643")),
        ("f32", 0.4, ("3ECCCCCD", "CCCD3ECC", "CC3ECDCC", "CDCCCC3E")),
        ("f32", -12.5, ("C1480000", "0000C148", "48C10000", "000048C1")),
        ("i32", 123456789, ("075BCD15", "CD15075B", "5B0715CD", "15CD5B07")),
        ("i32", -1000, ("FFFFFC18", "FC18FFFF", "FFFF18FC", "18FCFFFF")),
    ],
)
def test_orders_have_the_vectors(kind: Any, value: float, wires: tuple[str, ...]) -> None:
    """Each value stands on the wire as in the table of word orders."""
    for order, wire in zip(("ABCD", "CDAB", "BADC", "DCBA"), wires, strict=True):
        register = Register("x", "holding", 0, kind, order)
        assert register.encode(value).hex().upper() == wire
        assert register.decode(bytes.fromhex(wire)) == pytest.approx(value)


def test_a_bad_sensor_has_its_own_pattern() -> None:
    """NaN becomes the map's absent value in integers and NaN in floats."""
    assert Register("x", "holding", 0).encode(nan) == b"\xff\xff"
    assert Register("x", "holding", 0, "i16", absent=0x7FFF).encode(nan) == b"\x7f\xff"
    assert isnan(Register("x", "holding", 0, "f32", "CDAB").decode(b"\x00\x00\x7f\xc0"))


@given(st.integers(-(2**40), 2**40), st.sampled_from(["u16", "i16", "u32", "i32", "u64"]))
def test_numbers_end_at_their_range(value: int, kind: Any) -> None:
    """An integer register holds the nearest value that it can show."""
    register = Register("x", "holding", 0, kind)
    low = 0 if kind[0] == "u" else -(2 ** (int(kind[1:]) - 1))
    high = 2 ** (int(kind[1:]) - (kind[0] == "i")) - 1
    assert register.decode(register.encode(value)) == min(max(value, low), high)


def test_bits_of_one_word_come_together() -> None:
    """Registers that share an address are the bits of one word."""
    shelf = Shelf(a=1.0, b=0.0, c=1.0)
    unit = shelf.unit(
        Register("a", "input", 5, bit=0),
        Register("b", "input", 5, bit=1),
        Register("c", "input", 5, bit=9),
    )
    assert words_of(unit.values("input", 5, 1), 5, 1) == b"\x02\x01"


def test_a_part_of_a_value_can_be_read() -> None:
    """A client that reads half a 32-bit value gets its half, as from real devices."""
    unit = Shelf(x=0.4).unit(Register("x", "input", 10, "f32", "ABCD"))
    assert words_of(unit.values("input", 11, 1), 11, 1).hex().upper() == "CCCD"


def test_holes_are_refused_by_devices_without_them() -> None:
    """Outside the map is refused always, inside a hole where the device says so."""
    registers = (Register("a", "holding", 0), Register("b", "holding", 5))
    shelf = Shelf(a=1.0, b=2.0)
    lenient, strict = shelf.unit(*registers), shelf.unit(*registers, holes=False)
    assert len(lenient.values("holding", 0, 6)) == 2
    with pytest.raises(NoSuchAddress):
        strict.values("holding", 0, 6)
    with pytest.raises(NoSuchAddress):
        lenient.values("holding", 5, 2)
    with pytest.raises(NoSuchAddress):
        lenient.values("input", 0, 1)


def test_bits_are_packed_lowest_first() -> None:
    """The first coil stands in the lowest bit of the first byte."""
    shelf = Shelf(**{f"c{i}": float(i in (0, 9)) for i in range(10)})
    unit = shelf.unit(*(Register(f"c{i}", "coil", i, "bit") for i in range(10)))
    assert bits_of(unit.values("coil", 0, 10), 0, 10) == b"\x01\x02"


def test_writes_are_checked_as_a_whole() -> None:
    """Nothing is written when one value of a request is refused or comes in part."""
    shelf = Shelf(a=1.0, b=2.0)
    unit = shelf.unit(
        Register("a", "holding", 0, writable=(0, 100)),
        Register("b", "holding", 1, "f32", "CDAB", writable=(0, 100)),
    )
    with pytest.raises(BadValue):
        unit.put_words(0, b"\x00\x32\x00\x00\x7f\xc0")  # NaN
    with pytest.raises(BadValue):
        unit.put_words(0, b"\x00\x32\x00\x00")
    with pytest.raises(NoSuchAddress):
        unit.put_words(2, b"\x00\x00")
    assert shelf.values == {"a": 1.0, "b": 2.0}
    unit.put_words(0, b"\x00\x32\x00\x00\x41\x20")
    assert shelf.values == {"a": 50.0, "b": 10.0}


def serve(
    unit: Unit, act: Callable[[ModbusServer, AsyncModbusTcpClient], Awaitable[None]], **options: Any
) -> None:
    """Run `act` against a server with this unit as number 7."""

    async def main() -> None:
        async with ModbusServer({7: unit, 8: unit}, **options) as server:
            client = AsyncModbusTcpClient(
                "127.0.0.1", port=server.port, timeout=0.2, retries=0, reconnect_delay=0
            )
            assert await client.connect()
            try:
                await act(server, client)
            finally:
                client.close()

    asyncio.run(main())


def test_pymodbus_reads_and_writes_every_table() -> None:
    """A third-party client reads the four tables and writes coils and registers."""
    shelf = Shelf(coil=0.0, other=0.0, contact=1.0, level=12.34, power=0.4, speed=50.0)
    unit = shelf.unit(
        Register("coil", "coil", 0, "bit", writable=(0, 1)),
        Register("other", "coil", 1, "bit", writable=(0, 1)),
        Register("contact", "discrete", 3, "bit"),
        Register("level", "input", 0, scale=0.01),
        Register("speed", "holding", 0, scale=0.02, writable=(0, 100)),
        Register("power", "holding", 1, "f32", "CDAB", writable=(0, 100)),
    )

    async def act(_: ModbusServer, client: AsyncModbusTcpClient) -> None:
        assert (await client.read_discrete_inputs(3, device_id=7)).bits[0]
        assert (await client.read_input_registers(0, device_id=7)).registers == [1234]
        seen = await client.read_holding_registers(0, count=3, device_id=7)
        assert seen.registers == [2500, 0xCCCD, 0x3ECC]
        assert not (await client.write_coil(1, True, device_id=7)).isError()
        assert (await client.read_coils(0, count=2, device_id=7)).bits[:2] == [False, True]
        await client.write_coils(0, [True, False], device_id=7)
        await client.write_register(0, 1000, device_id=7)
        await client.write_registers(1, [0x0000, 0x4120], device_id=7)

    serve(unit, act)
    assert (shelf.values["coil"], shelf.values["other"]) == (1.0, 0.0)
    assert (shelf.values["speed"], shelf.values["power"]) == (20.0, 10.0)


def test_refusals_carry_the_codes_of_the_standard() -> None:
    """An unknown function is 1, a missing address 2, a bad value or count 3."""
    unit = Shelf(speed=1.0).unit(Register("speed", "holding", 0, scale=0.02, writable=(0, 100)))

    async def act(_: ModbusServer, client: AsyncModbusTcpClient) -> None:
        assert (await client.read_exception_status(device_id=7)).exception_code == 1
        assert (await client.read_holding_registers(9, device_id=7)).exception_code == 2
        assert (await client.write_register(0, 6000, device_id=7)).exception_code == 3
        assert (await client.write_coil(0, True, device_id=7)).exception_code == 2

    serve(unit, act)


def test_a_mask_moves_single_bits_of_a_word() -> None:
    """Function 22: what the mask keeps stays, in a number as in a word of bits; the others move."""
    shelf = Shelf(word=0x12, auto=1.0, open=0.0, fault=1.0)
    unit = shelf.unit(
        Register("word", "holding", 4, writable=(0, 0xFFFF)),
        Register("auto", "holding", 5, bit=0, writable=(0, 1)),
        Register("open", "holding", 5, bit=3, writable=(0, 1)),
        Register("fault", "holding", 5, bit=7),
    )

    async def act(_: ModbusServer, client: AsyncModbusTcpClient) -> None:
        # the example of the standard, §6.16
        done = await client.mask_write_register(address=4, and_mask=0xF2, or_mask=0x25, device_id=7)
        assert not done.isError()
        assert shelf.values["word"] == 0x17
        await client.mask_write_register(address=5, and_mask=0xFFF6, or_mask=0x8, device_id=7)
        assert (shelf.values["auto"], shelf.values["open"], shelf.values["fault"]) == (0, 1, 1)
        refused = await client.mask_write_register(address=9, and_mask=0, or_mask=0, device_id=7)
        assert refused.exception_code == 2

    serve(unit, act)


def test_written_and_read_in_one_request() -> None:
    """Function 23 writes first; when the write is refused nothing is read."""
    shelf = Shelf(level=5.0, speed=1.0)
    unit = shelf.unit(
        Register("speed", "holding", 0, writable=(0, 100)), Register("level", "holding", 1)
    )

    async def act(_: ModbusServer, client: AsyncModbusTcpClient) -> None:
        seen = await client.readwrite_registers(
            read_address=0, read_count=2, write_address=0, values=[42], device_id=7
        )
        assert seen.registers == [42, 5]
        refused = await client.readwrite_registers(
            read_address=0, read_count=2, write_address=1, values=[6], device_id=7
        )
        assert refused.exception_code == 2

    serve(unit, act)
    assert shelf.values == {"level": 5.0, "speed": 42.0}


@pytest.mark.parametrize(
    ("code", "first", "seen"),
    [
        (1, 0, [0, 1, 2]),
        (1, 1, [1, 2]),
        (2, 0, [0, 1, 2, 4]),
        (3, 0, [0, 1, 2, 4, 128]),
        (3, 77, [0, 1, 2, 4, 128]),
        (4, 2, [2]),
    ],
)
def test_a_device_says_who_it_is(code: int, first: int, seen: list[int]) -> None:
    """Function 43, kind 14: the basic, regular or all objects, or one of them."""
    identity = {0: "Maker", 1: "P-1", 2: "V1.0", 4: "泵", 128: "serial 4711"}
    unit = Unit((), dict[str, float]().__getitem__, lambda _name, _value: None, identity=identity)

    async def act(_: ModbusServer, client: AsyncModbusTcpClient) -> None:
        found = await client.read_device_information(read_code=code, object_id=first, device_id=7)
        assert found.information == {number: identity[number].encode() for number in seen}
        refused = await client.read_device_information(read_code=4, object_id=3, device_id=7)
        assert refused.exception_code == 2

    serve(unit, act)


def test_a_long_identification_comes_in_parts() -> None:
    """What does not fit is announced with where it begins, and comes with the next request."""
    identity = {number: chr(65 + number) * 80 for number in range(7)}
    unit = Unit((), dict[str, float]().__getitem__, lambda _name, _value: None, identity=identity)
    found, following = {}, 0
    for _ in range(3):
        reply = answer(unit, bytes((43, 14, 2, following)))
        assert len(reply) <= 253
        head, rest = reply[:7], reply[7:]
        for _ in range(head[6]):
            found[rest[0]] = rest[2 : 2 + rest[1]].decode()
            rest = rest[2 + rest[1] :]
        assert rest == b""
        following = head[5]
        assert head[4] == (0xFF if following else 0)
    assert (found, following) == (identity, 0)


def test_a_device_without_identification_does_not_know_the_function() -> None:
    """As most cheap devices."""
    unit = Shelf(a=1.0).unit(Register("a", "holding", 0))
    assert answer(unit, bytes((43, 14, 1, 0))) == bytes((0x80 | 43, 1))


@given(st.binary(min_size=1, max_size=20))
def test_whatever_is_asked_is_answered(pdu: bytes) -> None:
    """Any request has an answer of its own function, or an exception of it, that fits a frame."""
    unit = Shelf(a=1.0, b=0.0).unit(
        Register("a", "holding", 0, writable=(0, 9)), Register("b", "coil", 0, "bit")
    )
    reply = answer(unit, pdu)
    assert reply[0] & 0x7F == pdu[0] & 0x7F
    assert len(reply) <= 253


async def exchange(server: ModbusServer, pdu: bytes, *, transaction: int = 5) -> bytes:
    """Send one request to unit 7 on a connection of its own; b'' when it ends, or after 0.3 s."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, 7) + pdu)
    try:
        async with asyncio.timeout(0.3):
            return await reader.read(300)
    except TimeoutError:
        return b""
    finally:
        writer.close()


READ = bytes([3]) + struct.pack(">HH", 0, 2)
RIGHT = bytes.fromhex("0005 0000 0007 07 03 04 0064 00c8".replace(" ", ""))


@pytest.mark.parametrize(
    ("fault", "frame"),
    [
        ({}, RIGHT),
        ({"answer": "transaction"}, b"\x00\x06" + RIGHT[2:]),
        ({"answer": "unit"}, RIGHT[:6] + b"\x08" + RIGHT[7:]),
        ({"answer": "function"}, RIGHT[:7] + b"\x04" + RIGHT[8:]),
        ({"answer": "short"}, bytes.fromhex("00050000000507030200" + "64")),
        ({"answer": "words"}, RIGHT[:9] + bytes.fromhex("00c80064")),
        ({"answer": "garbage"}, b"\xde\xad\xbe\xef" * 8),
        ({"exception": 6}, bytes.fromhex("000500000003078306")),
        ({"silent": True}, b""),
        ({"drop": True}, b""),
    ],
)
def test_wire_faults_spoil_the_answer(fault: dict[str, Any], frame: bytes) -> None:
    """Each fault changes the frame in its one way."""

    async def act(server: ModbusServer, _: AsyncModbusTcpClient) -> None:
        for name, value in fault.items():
            setattr(server.wire[7], name, value)
        assert await exchange(server, READ) == frame
        assert server.requests == {7: 1, 8: 0}

    unit = Shelf(a=100, b=200).unit(Register("a", "holding", 0), Register("b", "holding", 1))
    serve(unit, act)


def test_one_silent_unit_does_not_silence_its_neighbour() -> None:
    """Behind one port, a silent or absent unit costs the others nothing."""
    unit = Shelf(a=100.0).unit(Register("a", "holding", 0))

    async def act(server: ModbusServer, client: AsyncModbusTcpClient) -> None:
        server.wire[7].silent = True
        for other in (7, 99):
            with pytest.raises(Exception, match="No response"):
                await client.read_holding_registers(0, device_id=other)
        assert (await client.read_holding_registers(0, device_id=8)).registers == [100]

    serve(unit, act)


def test_answers_byte_by_byte_are_whole() -> None:
    """A fragmented answer is complete in the end, and a cut connection can be opened again."""
    unit = Shelf(a=100.0).unit(Register("a", "holding", 0))

    async def act(server: ModbusServer, client: AsyncModbusTcpClient) -> None:
        server.wire[7].bytewise = True
        assert (await client.read_holding_registers(0, device_id=7)).registers == [100]
        server.cut()
        await asyncio.sleep(0.05)
        assert not client.connected
        assert await client.connect()
        assert (await client.read_holding_registers(0, device_id=7)).registers == [100]

    serve(unit, act)


def test_server_can_stop_and_start_again() -> None:
    """Stopped, nothing listens and clients are cut; started, the same port answers."""
    unit = Shelf(a=100.0).unit(Register("a", "holding", 0))

    async def act(server: ModbusServer, client: AsyncModbusTcpClient) -> None:
        await server.stop()
        await asyncio.sleep(0.05)
        assert not client.connected
        assert not await client.connect()
        await server.start()
        assert await client.connect()
        assert (await client.read_holding_registers(0, device_id=7)).registers == [100]

    serve(unit, act)
