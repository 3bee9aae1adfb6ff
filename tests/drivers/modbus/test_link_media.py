"""Opening what a bus is reached by: sockets, TLS, a pseudo-terminal; what is said when it fails."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import serial
import uvloop
from pydantic import ValidationError

from drivers.modbus import MODBUS, pdu, port
from drivers.modbus.bus import BusConfig, TlsConfig
from drivers.modbus.line import RtuLink
from drivers.modbus.media import open_link
from drivers.modbus.port import SerialTransport
from edge.errors import LinkDown
from edge.schema.model import Refusal
from edge.site.load import read_site
from tests.support.certificates import certificates
from tests.support.modbus_device import ModbusDevice
from tests.support.modbus_media import Pty, RtuTcp, Tls
from tests.support.modbus_units import Unit

READ = pdu.read(3, 100, 2)
ANSWER = bytes.fromhex("03 04 1234 5678")


def units() -> dict[int, Unit]:
    return {7: Unit(holding={100: 0x1234, 101: 0x5678})}


def run(main: Callable[[], Coroutine[Any, Any, None]], *, fast: bool = False) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(20):
            await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if fast else None) as runner:
        runner.run(within_time())


async def refused(options: dict[str, Any]) -> LinkDown:
    """Why the bus cannot be opened."""
    with pytest.raises(LinkDown) as caught:
        await open_link(BusConfig(**options))
    assert caught.value.reason.zh != caught.value.reason.en
    return caught.value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "write one of tcp, rtu_tcp and serial"),
        ({"tcp": "h", "serial": "/dev/ttyS0"}, "here: tcp, serial"),
        ({"tcp": "h", "rtu_tcp": "h:1"}, "only one"),
        ({"tcp": "h", "baud": 9600}, "baud belongs to serial"),
        ({"rtu_tcp": "h:4001", "parity": "even"}, "parity belongs to serial"),
        ({"rtu_tcp": "h:4001", "tls": True}, "tls belongs to tcp"),
        ({"serial": "/dev/ttyS0", "pipeline": 2}, "pipeline belongs to tcp"),
        ({"tcp": "h", "pipeline": 2, "gap": "10ms"}, "exclude each other"),
        ({"rtu_tcp": "192.168.10.30"}, "192.168.10.30:4001"),
        ({"rtu_tcp": "[fd00::20]"}, "needs its port"),
        ({"serial": "ttyUSB0"}, "/dev/serial/by-id"),
        ({"serial": "COM3"}, "usb-path"),
        ({"serial": "usb:"}, "usb-path"),
    ],
)
def test_bus_refused(options: dict[str, Any], words: str) -> None:
    """What does not go together is refused in one sentence that says what would."""
    with pytest.raises(ValidationError) as caught:
        BusConfig(**options)
    (error,) = caught.value.errors()
    refusal = error["ctx"]["error"]
    assert isinstance(refusal, Refusal)
    assert words in refusal.text.en
    assert refusal.text.zh != refusal.text.en


def test_two_buses_on_one_port(tmp_path: Path) -> None:
    """Two spellings of one port are one port, which only one bus can have."""
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")
    claims = {BusConfig(serial=str(tmp_path / name)).claims for name in ("by-id", "ttyUSB0")}
    assert claims == {(str((tmp_path / "ttyUSB0").resolve()),)}
    assert BusConfig(serial="usb:A10K").claims == ("usb:A10K",)
    assert BusConfig(tcp="h").claims == ()


SITE = """
site: {id: s, name: {zh: 站, en: s}, timezone: UTC}
buses:
  a: {driver: modbus, tcp: h, tls: {ca: ca.pem}}
"""


def test_certificate_without_its_key(tmp_path: Path) -> None:
    """A certificate without a key is one problem with one sentence."""
    site = tmp_path / "site.yaml"
    site.write_text(SITE.replace("ca: ca.pem", "certificate: a.pem"))
    (problem,) = read_site(site, {"modbus": MODBUS}, {}).problems
    assert "go together" in problem.line("en")


def test_certificates_lie_beside_the_site(tmp_path: Path) -> None:
    """File names of TLS are counted from the site's folder; a missing one is a problem there."""
    site = tmp_path / "site.yaml"
    site.write_text(SITE)
    (problem,) = read_site(site, {"modbus": MODBUS}, {}).problems
    assert problem.code == "missing-file"
    assert str(tmp_path / "ca.pem") in problem.line("en")
    (tmp_path / "ca.pem").touch()
    checked = read_site(site, {"modbus": MODBUS}, {})
    assert checked.problems == ()
    assert checked.site is not None
    assert checked.site.buses[0].config.tls == TlsConfig(ca=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("client", [False, True])
def test_tls(client: bool, fast: bool) -> None:
    """An answer arrives through TLS, with a certificate of ours where the device wants one."""

    async def main() -> None:
        medium = Tls(certificates(), client=client)
        async with ModbusDevice(units(), medium=medium):
            link = await open_link(BusConfig(**medium.options))
            assert await link.ask(7, READ, 5.0) == ANSWER
            await link.close()

    run(main, fast=fast)


def test_tls_that_cannot_be_trusted() -> None:
    """Each kind of wrong certificate is a LinkDown that names it."""

    async def main() -> None:
        files = certificates()
        medium = Tls(files, client=True)
        async with ModbusDevice(units(), medium=medium):
            right = medium.options["tls"]
            address = {"tcp": medium.address}
            stranger = await refused(address | {"tls": right | {"ca": str(files.stranger)}})
            assert "not accepted" in stranger.reason.en
            name = await refused(address | {"tls": right | {"name": "other.test"}})
            assert "other.test" in name.reason.en
            missing = await refused(address | {"tls": right | {"ca": "/nowhere/ca.pem"}})
            assert "/nowhere/ca.pem" in missing.reason.en
            pair = right | {"key": str(files.server_key)}
            assert "belong together" in (await refused(address | {"tls": pair})).reason.en

    run(main)


def test_tls_without_our_certificate() -> None:
    """A device that wants a certificate and gets none ends the link, and the reason is TLS."""

    async def main() -> None:
        medium = Tls(certificates(), client=True)
        async with ModbusDevice(units(), medium=medium):
            tls = {"ca": str(certificates().ca), "name": certificates().name}

            async def talk() -> None:
                link = await open_link(BusConfig(tcp=medium.address, tls=tls))
                await link.ask(7, READ, 5.0)

            with pytest.raises(LinkDown) as caught:
                await talk()
            assert "TLS" in caught.value.reason.en

    run(main)


def test_tls_where_none_is_spoken() -> None:
    """TLS to a plain Modbus TCP port fails the connection with a sentence, not a traceback."""

    async def main() -> None:
        async with ModbusDevice(units()) as device:
            options = {"tcp": device.address, "tls": True, "connect_timeout": "300ms"}
            await refused(options)

    run(main)


@pytest.mark.parametrize("fast", [False, True])
def test_rtu_over_tcp(fast: bool) -> None:
    """RTU frames over a socket."""

    async def main() -> None:
        medium = RtuTcp()
        async with ModbusDevice(units(), medium=medium):
            link = await open_link(BusConfig(**medium.options))
            for _ in range(3):
                assert await link.ask(7, READ, 5.0) == ANSWER
            await link.close()

    run(main, fast=fast)


@pytest.mark.parametrize("fast", [False, True])
def test_serial_line(fast: bool) -> None:
    """RTU frames over a terminal; a hung-up one is noticed at once, also while nobody asks."""

    async def main() -> None:
        medium = Pty()
        async with ModbusDevice(units(), medium=medium) as device:
            for asking in (True, False):
                link = await open_link(BusConfig(**medium.options))
                for _ in range(3):
                    assert await link.ask(7, READ, 5.0) == ANSWER
                assert isinstance(link, RtuLink)
                assert link.echoes is False
                device.delay = 10.0 if asking else 0.0
                task = asyncio.ensure_future(link.ask(7, READ, 9.0)) if asking else None
                await asyncio.sleep(0.02)
                begun = asyncio.get_running_loop().time()
                device.drop()
                if task is not None:
                    with pytest.raises(LinkDown):
                        await task
                else:
                    await asyncio.shield(link._closed)
                assert asyncio.get_running_loop().time() - begun < 5.0
                device.delay = 0.0
                await link.close()

    run(main, fast=fast)


def test_port_is_ours_alone() -> None:
    """A port that another program holds is not opened; once it is closed it is."""

    async def main() -> None:
        medium = Pty()
        async with ModbusDevice(units(), medium=medium):
            link = await open_link(BusConfig(**medium.options))
            assert "used by another" in (await refused(medium.options)).reason.en
            await link.close()
            again = await open_link(BusConfig(**medium.options))
            await again.close()

    run(main)


def test_a_port_that_does_not_close_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take 30 s to close what an adapter holds: the rest of us goes on meanwhile."""
    closing, may = threading.Event(), threading.Event()

    async def main() -> None:
        medium = Pty()
        async with ModbusDevice(units(), medium=medium):
            link = await open_link(BusConfig(**medium.options))
            assert isinstance(link._transport, SerialTransport)
            opened = link._transport._port
            assert opened is not None
            close = opened.close

            def slow() -> None:
                closing.set()
                assert may.wait(5.0), "the loop stood still"
                close()

            monkeypatch.setattr(opened, "close", slow)
            left = asyncio.ensure_future(link.close())
            await asyncio.to_thread(closing.wait, 5.0)
            assert not left.done()  # until the port is free for the next attempt
            may.set()
            await left
            again = await open_link(BusConfig(**medium.options))
            await again.close()

    run(main)


def test_port_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, one that is no port, and one without permission are told apart."""
    plain = tmp_path / "file"
    plain.touch()

    def denied(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    async def main() -> None:
        missing = await refused({"serial": str(tmp_path / "nothing")})
        assert "plugged in" in missing.reason.en
        assert "no serial port" in (await refused({"serial": str(plain)})).reason.en
        monkeypatch.setattr(serial, "Serial", denied)
        assert "dialout" in (await refused({"serial": str(plain)})).reason.en

    run(main)


def test_rs485_that_the_port_cannot() -> None:
    """Asking a terminal to switch a transmitter is refused, and the port is free again."""

    async def main() -> None:
        medium = Pty()
        async with ModbusDevice(units(), medium=medium):
            assert "rs485" in (await refused(medium.options | {"rs485": True})).reason.en
            link = await open_link(BusConfig(**medium.options))
            await link.close()

    run(main)


@dataclass
class Adapter:
    """What pyserial tells of a USB adapter."""

    device: str
    serial_number: str | None
    location: str
    vid: int | None = 0x0403


def test_adapter_by_serial_number_or_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter is found by what it is or where it is plugged in; else those present are named."""
    plugged = [
        Adapter("/dev/ttyUSB0", "A10K", "1-1.2"),
        Adapter("/dev/ttyUSB1", None, "1-1.3"),
        Adapter("/dev/ttyS0", None, "", vid=None),
    ]
    monkeypatch.setattr(port.list_ports, "comports", lambda: plugged)
    assert port.find("usb:A10K") == "/dev/ttyUSB0"
    assert port.find("usb-path:1-1.3") == "/dev/ttyUSB1"
    assert port.find("/dev/ttyS0") == "/dev/ttyS0"
    with pytest.raises(LinkDown) as caught:
        port.find("usb:B20K")
    assert "/dev/ttyUSB0 (usb:A10K usb-path:1-1.2)" in caught.value.reason.en
    assert "ttyS0" not in caught.value.reason.en
    plugged.clear()
    with pytest.raises(LinkDown, match="none"):
        port.find("usb-path:1-1.2")


class Heard(asyncio.Protocol):
    """What came over a transport."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.mark.parametrize("fast", [False, True])
def test_port_that_takes_bytes_slowly(fast: bool) -> None:
    """What a port does not take at once follows in order; one that takes nothing is given up."""

    async def main() -> None:
        near, far = os.openpty()
        opened = serial.Serial(os.ttyname(far), 115200, timeout=0)
        heard = Heard()
        transport = SerialTransport(opened, heard)
        told = b""
        for i in range(40):
            transport.write(bytes([i]) * 100)
            await asyncio.sleep(0)
            if i % 10 == 9:
                told += await asyncio.to_thread(os.read, near, 4096)
        while len(told) < 4000:
            told += await asyncio.to_thread(os.read, near, 4096)
        assert told == b"".join(bytes([i]) * 100 for i in range(40))
        while not heard.lost.done():
            transport.write(b"\0" * 4000)
            await asyncio.sleep(0)
        assert isinstance(await heard.lost, OSError)
        os.close(near)
        os.close(far)

    run(main, fast=fast)
