"""What a Modbus device says of itself, asked of simulated units that share no code with us."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from drivers.modbus import MODBUS, mbap, pdu
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig
from drivers.modbus.link import TcpLink
from drivers.sim.registers import Unit
from drivers.sim.serve_modbus import ModbusServer
from edge.bus.host import BusHost
from edge.driver import FieldDevice, Identifying
from edge.errors import DeviceRefused, DeviceTimeout, LinkDown
from edge.proof.virtual_loop import run_virtual
from tests.drivers.modbus.wire import Wire, receive

NAMES = ("vendor", "product", "revision", "url", "product_name", "model")


def told(objects: Mapping[int, str], **device: object) -> Mapping[str, str]:
    """What the driver makes of a unit with these objects; `device` are further options."""
    unit = Unit((), dict[str, float]().__getitem__, lambda _name, _value: None, identity=objects)

    async def main() -> Mapping[str, str]:
        async with ModbusServer({1: unit}) as server:
            bus = BusConfig(tcp=f"127.0.0.1:{server.port}", timeout="100ms")
            meter = FieldDevice("meter", DeviceConfig.model_validate({"unit": 1, **device}), ())
            async with MODBUS.connect(bus, (meter,), (), BusHost()) as driver:
                assert isinstance(driver, Identifying)
                return await driver.identify("meter")

    return asyncio.run(main())


def test_a_device_says_what_it_is() -> None:
    """Its basic objects, and of the further ones those that name it."""
    assert told({0: "Maker", 1: "P-1", 2: "V1"}) == {
        "vendor": "Maker", "product": "P-1", "revision": "V1",
    }  # fmt: skip
    assert told({0: "厂家", 1: "P-1", 2: "V1", 3: "http://x", 4: "泵", 5: "M5"}) == {
        "vendor": "厂家", "product": "P-1", "revision": "V1", "product_name": "泵", "model": "M5",
    }  # fmt: skip


def test_a_long_answer_comes_in_parts() -> None:
    """Objects that do not fit one answer are asked for from where the first one ended."""
    long = {number: chr(65 + number) * 100 for number in range(6)}
    found = told(long)
    assert found == {name: long[i] for i, name in enumerate(NAMES) if name != "url"}


def test_a_device_without_identification_refuses() -> None:
    """Most cheap devices do not know the function; that is no silence."""
    with pytest.raises(DeviceRefused):
        told({})


def test_another_device_than_the_configured_one_may_say_who_it_is() -> None:
    """That is what one wants to know then."""
    assert told({0: "Other", 1: "X", 2: "0"}, identity={"vendor": "Maker"})["vendor"] == "Other"


def test_a_silent_device_says_nothing() -> None:
    """Nobody answers at this unit number."""
    with pytest.raises(DeviceTimeout):
        told({0: "Maker", 1: "P-1", 2: "V1"}, unit=2)


def test_a_header_alone_is_no_answer() -> None:
    """Also where what is left of an earlier answer in the buffer would make it one."""

    async def main() -> None:
        link = TcpLink("192.0.2.1:502")
        wire = Wire(link)
        link.connection_made(wire)
        part = bytes.fromhex("2B 0E 02 82 FF 01 01 00 01 41")
        asking = link.ask(7, pdu.identify(pdu.REGULAR), 0.5)
        receive(link, mbap.wrap(1, 7, part))
        assert await asking == part
        asking = link.ask(7, pdu.identify(pdu.REGULAR, 1), 0.5)
        receive(link, mbap.wrap(2, 7, b""))
        with pytest.raises(LinkDown):
            await asking

    run_virtual(main)
