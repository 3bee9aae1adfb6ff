"""What a technician writes for Modbus: a bus, a device, a point.

Only the shape and what can be judged from one record alone; what needs a device and its points
together is `plan.check`. Filled by `edge.site`, read by `plan` and `driver`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from drivers.modbus.codec import Cell, Order, Type, limits, patterns, registers
from drivers.modbus.identity import Identity
from edge.schema.model import Model, Refusal
from edge.schema.syntax import full_width
from edge.schema.units import Duration
from edge.text import Text

PORT: Final = 502
PORT_TLS: Final = 802
USB: Final = "usb:"  # an adapter by its serial number
USB_PATH: Final = "usb-path:"  # an adapter by the socket it is plugged into
Table = Literal["holding", "input", "coil", "discrete"]
WriteBy = Literal["single", "multiple", "read_write"]
TABLES: Final[tuple[Table, ...]] = ("holding", "input", "coil", "discrete")
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


class Setting(Model):
    """One configuration register of a device and the value that it must hold."""

    holding: int = Field(ge=0, le=65536, description="Holding register (4xxxx) of the setting.")
    type: Literal[
        "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd16", "bcd32", "mod10k", "enum"
    ] = Field("u16", description="What stands in the register.")
    order: Order | None = Field(
        None, description="How it lies on the wire; the device's order unless given."
    )
    value: int | float = Field(description="The raw number that it must hold, as in the manual.")

    @property
    def size(self) -> int:
        """How many registers it occupies."""
        return registers(self.type)

    def cell(self, base: int, order: Order) -> Cell:
        """Where it stands on the wire, in a device with this base and order."""
        return Cell(self.holding - base, self.type, self.order or order)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        low, high = limits(Cell(0, self.type))
        whole = self.type in ("f32", "f64") or self.value == int(self.value)
        if not (low <= self.value <= high and whole):
            raise Refusal(_SENTINEL.format(raw=self.value, type=self.type))
        return self


class DeviceConfig(Model):
    """One unit behind the connection, and how its register map is to be read."""

    unit: int = Field(
        1,
        ge=0,
        le=255,
        description="Unit number (station address), 1 to 247 on a line. A device with its own "
        "network socket often takes any; 0 and 255 are used there too.",
    )
    timeout: Annotated[Duration, Field(ge=0.01, le=60)] | None = Field(
        None, description="How long to wait for this device; the bus's timeout unless given."
    )
    delay: Annotated[Duration, Field(le=10)] = Field(
        0.0, description="Pause after each answer of this device."
    )
    base: Literal[0, 1] = Field(
        0,
        description="Number of the first register in the map: 0 as on the wire, 1 in many manuals.",
    )
    order: Order = Field(
        "ABCD",
        description="How values lie on the wire, unless a point says otherwise: ABCD as in the "
        "standard, CDAB low word first, BADC bytes of each register swapped, DCBA both.",
    )
    max_regs: int = Field(
        125, ge=1, le=125, description="Most registers the device gives in one answer."
    )
    max_gap: int | None = Field(
        None,
        ge=0,
        le=124,
        description="Registers that nobody asked for and that are read along to save a request; "
        "0 for maps with holes. For bits, 16 times as many. Unless given: on a serial line as many "
        "as take less time than a request, 12 at 9600 bit/s, elsewhere 8.",
    )
    write: WriteBy = Field(
        "single",
        description="Function for one coil or register: single is 5 and 6, multiple is 15 and 16; "
        "read_write is 23, which reads registers back at once, and 5. Longer values are written by "
        "16 or 23.",
    )
    read_modify_write: bool = Field(
        False,
        description="Permit writing some bits of a holding register by reading it, changing them "
        "and writing it back. What the device changes in between is overwritten.",
    )
    mask_write: bool = Field(
        False,
        description="Write some bits of a holding register by function 22, which leaves the others "
        "to the device; for devices that know it.",
    )
    identity: Identity | None = Field(
        None,
        description="What the device must say of itself before it is read or written; another "
        "device is refused.",
    )
    program: Mapping[str, Setting] = Field(
        {},
        description="Settings by name that the device must hold, such as a failsafe position: read "
        "at the first contact, written when they differ, and read back.",
    )

    @property
    def claims(self) -> tuple[str, ...]:
        """What this device alone uses on its bus."""
        return (f"unit {self.unit}",)


class PointConfig(Model):
    """Where a point lies in a device, and what stands there."""

    holding: int | None = Field(None, ge=0, le=65536, description="Holding register (4xxxx).")
    input: int | None = Field(None, ge=0, le=65536, description="Input register (3xxxx).")
    coil: int | None = Field(None, ge=0, le=65536, description="Coil (0xxxx).")
    discrete: int | None = Field(None, ge=0, le=65536, description="Discrete input (1xxxx).")
    type: Type | None = Field(
        None,
        description="What stands in the registers. Unless given: bool for coils, discrete inputs "
        "and single bits, bitfield for several bits, u16 otherwise.",
    )
    order: Order | None = Field(
        None, description="How the value lies on the wire; the device's order unless given."
    )
    bit: int | None = Field(
        None,
        ge=0,
        le=15,
        description="The bit of the register, 0 is the lowest; the first of several.",
    )
    length: int = Field(1, ge=1, le=16, description="How many bits, counted upwards from `bit`.")
    sentinel: tuple[int | float, ...] = Field(
        (),
        description="Raw values by which the device says that there is no value, such as 0x7FFF.",
    )
    access: Literal["read", "write", "read_write"] | None = Field(
        None,
        description="What the device permits. Unless given: read for inputs of the site, "
        "read_write for its outputs.",
    )
    clears: bool = Field(
        False, description="Reading it clears it: it is read at its period only and never along."
    )

    @property
    def table(self) -> Table:
        """The table it lies in."""
        return next(table for table in TABLES if getattr(self, table) is not None)

    @property
    def address(self) -> int:
        """Its number in the device's own counting (`base`)."""
        return int(getattr(self, self.table))

    @property
    def bits(self) -> bool:
        """Whether it lies in a table of single bits."""
        return self.table in ("coil", "discrete")

    @property
    def kind(self) -> Type:
        """The type, given or implied."""
        if self.type is not None:
            return self.type
        if self.bits or (self.bit is not None and self.length == 1):
            return "bool"
        return "u16" if self.bit is None else "bitfield"

    @property
    def size(self) -> int:
        """How many registers (or bits, in their tables) it occupies."""
        return 1 if self.bits else registers(self.kind)

    @property
    def readable(self) -> bool:
        """Whether the device lets it be read."""
        return self.access != "write"

    @property
    def writable(self) -> bool:
        """Whether the device lets it be written, as far as that is known without its role."""
        return self.table in ("holding", "coil") and self.access != "read"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [table for table in TABLES if getattr(self, table) is not None]
        if len(given) != 1:
            raise Refusal(_one_table(given))
        if self.access in ("write", "read_write") and self.table in ("input", "discrete"):
            raise Refusal(_READ_ONLY.format(table=self.table))
        if self.clears and not self.readable:
            raise Refusal(_CLEARS_UNREAD)
        self._check_type()
        return self

    def _check_type(self) -> None:
        if self.bits:
            if self.kind != "bool" or self.bit is not None or self.length != 1 or self.sentinel:
                raise Refusal(_JUST_A_BIT.format(table=self.table))
            return
        if self.kind == "bitfield" and self.bit is None:
            raise Refusal(_NO_BIT)
        if self.bit is not None and self.kind not in ("bool", "bitfield"):
            raise Refusal(_BIT_OF_NUMBER.format(type=self.kind))
        if self.length != 1 and self.kind != "bitfield":
            raise Refusal(_LENGTH_OF_NUMBER.format(type=self.kind))
        if self.bit is not None and self.bit + self.length > 16:
            raise Refusal(_PAST_REGISTER.format(bit=self.bit, length=self.length))
        low, high = patterns(self.kind)
        for raw in self.sentinel:
            if not low <= raw <= high or (self.kind not in ("f32", "f64") and raw != int(raw)):
                raise Refusal(_SENTINEL.format(raw=raw, type=self.kind))


def _one_table(given: list[Table]) -> Text:
    if not given:
        return Text(
            "缺少地址: 应写 holding, input, coil 或 discrete 之一",
            "no address: write one of holding, input, coil or discrete",
        )
    both = ", ".join(given)
    return Text(f"只能写一个地址, 现有 {both}", f"one address only, here are {both}")


_READ_ONLY = Text("{table} 只能读, 不能写", "{table} can only be read, not written")
_CLEARS_UNREAD = Text(
    "clears 用于读后清零的点, 该点不可读", "clears is for what reading clears; this is not read"
)
_JUST_A_BIT = Text(
    "{table} 只有一位: 不需要 type, bit, length, sentinel",
    "{table} is a single bit: it takes no type, bit, length or sentinel",
)
_NO_BIT = Text("bitfield 需要 bit (起始位)", "a bitfield needs its first bit: bit")
_BIT_OF_NUMBER = Text(
    "bit 只用于 bool 和 bitfield, 不用于 {type}", "bit belongs to bool and bitfield, not to {type}"
)
_LENGTH_OF_NUMBER = Text(
    "length 只用于 bitfield, 不用于 {type}", "length belongs to bitfield, not to {type}"
)
_PAST_REGISTER = Text(
    "从 bit {bit} 起 {length} 位超出寄存器的 16 位",
    "{length} bits from bit {bit} reach past the 16 bits of a register",
)
_SENTINEL = Text("{raw} 不是 {type} 能有的原始值", "{raw} is no raw value that {type} can have")
