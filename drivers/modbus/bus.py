"""What a technician writes for a Modbus bus: how it is reached, and how long things may take.

Only the shape and what can be judged from one record alone. Devices and points are `config.py`,
opening what is described here is `media.py`. Filled by `edge.site`, read by `plan` and `driver`.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge.schema.model import Model, Refusal
from edge.schema.syntax import full_width
from edge.schema.units import Duration
from edge.text import Text

PORT: Final = 502
PORT_TLS: Final = 802
USB: Final = "usb:"  # an adapter by its serial number
USB_PATH: Final = "usb-path:"  # an adapter by the socket it is plugged into
MEDIA: Final = ("tcp", "rtu_tcp", "serial")
_NUMBERS = re.compile(r"[0-9.]+")

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?", re.ASCII)


def split_address(text: str, port: int = PORT) -> tuple[str, int]:
    """Host and port of `host`, `host:port` or `[IPv6]:port`; `port` when none is given."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        slip = full_width(text)
        raise Refusal(slip[1] if slip else _NO_ADDRESS.format(text=text))
    host, port = match[1] or match[2], int(match[3] or port)
    if not 1 <= port <= 65535:
        raise Refusal(_NO_SUCH_PORT.format(port=port))
    if _NUMBERS.fullmatch(host):
        try:
            IPv4Address(host)
        except ValueError:
            raise Refusal(_NO_IP.format(host=host)) from None
    return host, port


def _address(text: str) -> str:
    split_address(text)
    return text


def _address_and_port(text: str) -> str:
    if _ADDRESS.fullmatch(text) and not text.rpartition("]")[2].rpartition(":")[2].isdecimal():
        raise Refusal(_NO_PORT.format(address=text))
    return _address(text)


def _serial(text: str) -> str:
    if not text.startswith(("/", USB, USB_PATH)) or text in ("/", USB, USB_PATH):
        raise Refusal(_NO_SERIAL.format(text=text))
    return text


class TlsConfig(Model):
    """The certificates of a TLS connection; files are counted from the site's folder."""

    ca: str | None = Field(
        None,
        description="File with the authority that signed the device's certificate; those of the "
        "system unless given.",
    )
    certificate: str | None = Field(
        None, description="File with our own certificate, where the device wants one."
    )
    key: str | None = Field(None, description="File with the key of our certificate.")
    name: str | None = Field(
        None, description="Name in the device's certificate; the host of `tcp` unless given."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise Refusal(_KEY_TOO)
        return self

    def within(self, folder: Path) -> Self:
        """The same with file names counted from `folder`. Raises Refusal for a missing file."""
        files = {key: getattr(self, key) for key in ("ca", "certificate", "key")}
        found = {key: str(folder / name) for key, name in files.items() if name is not None}
        for key, name in found.items():
            if not Path(name).is_file():
                raise Refusal(_NO_FILE.format(key=key, file=name), "missing-file")
        return self.model_copy(update=found)


class BusConfig(Model):
    """One connection or line: Modbus TCP, with TLS or without, RTU over TCP, or a serial line."""

    tcp: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="Modbus TCP: host or host:port of the device or gateway; the port is 502 "
        "unless given, with `tls` 802.",
        examples=["192.168.10.20", "192.168.10.20:1502"],
    )
    tls: bool | TlsConfig = Field(
        False, description="With `tcp`: encrypt; true, or the files and the name to use."
    )
    rtu_tcp: Annotated[str, AfterValidator(_address_and_port)] | None = Field(
        None,
        description="RTU frames over TCP: host:port of a serial device server that passes bytes "
        "on as they are.",
        examples=["192.168.10.30:4001"],
    )
    serial: Annotated[str, AfterValidator(_serial)] | None = Field(
        None,
        description="Serial line: a device file, `usb:` and the serial number of an adapter, or "
        "`usb-path:` and the socket it is plugged into.",
        examples=["/dev/serial/by-id/usb-FTDI_A10K-if00-port0", "usb:A10K4XQ1", "usb-path:1-1.2"],
    )
    baud: int = Field(
        9600, ge=300, le=4_000_000, description="Serial line: bit/s, as set at all its devices."
    )
    parity: Literal["none", "even", "odd"] = Field(
        "none", description="Serial line: parity, as set at all its devices."
    )
    stop: Literal[1, 2] = Field(
        1, description="Serial line: stop bits; the standard has 2 where there is no parity."
    )
    rs485: bool = Field(
        False,
        description="Serial line: let the kernel switch the transmitter, for ports of the board "
        "that need it; USB adapters do it themselves.",
    )
    timeout: Annotated[Duration, Field(ge=0.01, le=60)] = Field(
        0.5,
        description="How long to wait for an answer; a device may have its own. On a serial line "
        "the time of the bytes themselves comes on top.",
    )
    connect_timeout: Annotated[Duration, Field(ge=0.1, le=60)] = Field(
        3.0, description="How long to wait for the connection."
    )
    settle: Annotated[Duration, Field(le=60)] = Field(
        0.0, description="Pause after connecting, for devices that need one before they answer."
    )
    gap: Annotated[Duration, Field(le=10)] = Field(
        0.0, description="Pause between an answer and the next request, for slow gateways."
    )
    pipeline: int = Field(
        1,
        ge=1,
        le=16,
        description="With `tcp`: how many requests may be under way at once; more than 1 only for "
        "gateways that say so.",
    )

    @property
    def claims(self) -> tuple[str, ...]:
        """The serial port, which this bus alone uses."""
        if self.serial is None:
            return ()
        return (os.path.realpath(self.serial) if self.serial.startswith("/") else self.serial,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [medium for medium in MEDIA if getattr(self, medium) is not None]
        if len(given) != 1:
            raise Refusal(_ONE_MEDIUM.format(given=", ".join(given)) if given else _NO_MEDIUM)
        written = self.model_fields_set
        for key in ("baud", "parity", "stop", "rs485"):
            if key in written and self.serial is None:
                raise Refusal(_BELONGS.format(key=key, medium="serial"))
        for key, used in (("tls", self.tls is not False), ("pipeline", self.pipeline > 1)):
            if used and self.tcp is None:
                raise Refusal(_BELONGS.format(key=key, medium="tcp"))
        if self.pipeline > 1 and self.gap:
            raise Refusal(_GAP_OR_PIPELINE)
        return self

    def within(self, folder: Path) -> Self:
        """The same with file names counted from `folder`. Raises Refusal for a missing file."""
        if not isinstance(self.tls, TlsConfig):
            return self
        return self.model_copy(update={"tls": self.tls.within(folder)})


_NO_ADDRESS = Text(
    '"{text}" 不是地址; 应写如 192.168.10.20, gateway.local:502 或 [fd00::20]:502',
    '"{text}" is no address; write it like 192.168.10.20, gateway.local:502 or [fd00::20]:502',
)
_NO_SUCH_PORT = Text(
    "没有端口 {port}; 应为 1 到 65535, Modbus TCP 通常为 502",
    "there is no port {port}; it is 1 to 65535, for Modbus TCP mostly 502",
)
_NO_IP = Text(
    '"{host}" 不是 IP 地址; 应为四个 0 到 255 的数, 如 192.168.10.20',
    '"{host}" is no IP address; it has four numbers from 0 to 255, such as 192.168.10.20',
)
_NO_MEDIUM = Text(
    "缺少连接方式: 应写 tcp, rtu_tcp, serial 之一",
    "how the bus is reached is missing: write one of tcp, rtu_tcp and serial",
)
_ONE_MEDIUM = Text(
    "总线须写 tcp, rtu_tcp, serial 之一, 且只写一个; 现有: {given}",
    "a bus has one of tcp, rtu_tcp and serial, and only one; here: {given}",
)
_BELONGS = Text("{key} 只用于 {medium}", "{key} belongs to {medium} only")
_GAP_OR_PIPELINE = Text(
    "gap 与 pipeline 不能同时使用: 前者要求停顿, 后者要求不等待",
    "gap and pipeline exclude each other: one wants pauses, the other no waiting",
)
_NO_PORT = Text(
    "rtu_tcp 须写端口 (没有标准端口), 如 {address}:4001; 请查阅串口服务器的设置",
    "rtu_tcp needs its port, there is no standard one: {address}:4001, as set in the device server",
)
_NO_SERIAL = Text(
    '"{text}" 不是串口; 应写如 /dev/serial/by-id/…, usb:序列号 或 usb-path:1-1.2',
    '"{text}" is no serial port; write it like /dev/serial/by-id/…, usb:SERIAL_NUMBER '
    "or usb-path:1-1.2",
)
_KEY_TOO = Text("certificate 和 key 要一起写", "certificate and key go together")
_NO_FILE = Text("{key}: 找不到文件 {file}", "{key}: there is no file {file}")
