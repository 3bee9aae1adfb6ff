"""The shape of `bms:`: the controller's own points as registers of a Modbus TCP server.

What this section alone can get wrong; what it and the rest of the site must agree on is
`edge/site/check_bms.py`. Not the server (`edge/bms/`). Filled by `edge/site/parts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge.schema.model import Model, Refusal
from edge.site.registers import BITS, TABLES, Bms, Network, Order, Register, Table
from edge.text import Text

PORT: Final = 502
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
Number = Literal["u16", "i16", "u32", "i32", "f32"]

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(\d{1,5}))?", re.ASCII)


def split_listen(text: str) -> tuple[str, int]:
    """Address and port of `192.168.10.5`, `0.0.0.0:1502` or `[::]:1502`; 502 without a port."""
    match = _ADDRESS.fullmatch(text)
    host = (match[1] or match[2]) if match else ""
    port = int(match[3] or PORT) if match else 0
    try:
        ip_address(host)
    except ValueError:
        port = 0
    if not 1 <= port <= 65535:
        raise Refusal(
            Text(
                f'"{text}" 不是监听地址; 应写如 0.0.0.0:1502, 192.168.10.5:502 或 [::]:1502',
                f'"{text}" is no address to listen on; write it like 0.0.0.0:1502, '
                "192.168.10.5:502 or [::]:1502",
            )
        )
    return host, port


def _listen(text: str) -> str:
    split_listen(text)
    return text


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise Refusal(_no_network(text)) from None
    return text


def _no_network(text: str) -> Text:
    try:
        meant = str(ip_network(text, strict=False))
    except ValueError:
        meant = "192.168.10.7 / 192.168.10.0/24"
    return Text(
        f'"{text}" 不是地址或网段; 应写如 {meant}',
        f'"{text}" is neither an address nor a network; write it like {meant}',
    )


class BmsPointOptions(Model):
    """One point in one of the four tables of Modbus. Addresses are those on the wire, from 0."""

    coil: int | None = Field(None, ge=0, le=65535, description="A bit that may be written.")
    discrete: int | None = Field(None, ge=0, le=65535, description="A bit that is only read.")
    holding: int | None = Field(None, ge=0, le=65535, description="Registers, maybe written.")
    input: int | None = Field(None, ge=0, le=65535, description="Registers that are only read.")
    type: Number | None = Field(None, description="How a number stands in its registers.")
    scale: float = Field(1.0, gt=0, description="value = raw * scale, in the point's unit")
    write: bool = Field(False, description="The BMS may command it, as `commands:` says.")
    bad: Literal[0, 1] = Field(0, description="What a bit reads while the point's value is bad.")

    @property
    def table(self) -> Table:
        """The one table in which the point stands."""
        return next(table for table in TABLES if getattr(self, table) is not None)

    def register(self, point: str) -> Register:
        """The same without YAML's alternatives."""
        at = int(getattr(self, self.table))
        kind = self.type or "bit"
        return Register(point, self.table, at, kind, self.scale, self.write, bool(self.bad))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(getattr(self, table) is not None for table in TABLES) != 1:
            raise Refusal(_ONE_TABLE)
        if self.write and self.table in ("discrete", "input"):
            raise Refusal(_READ_ONLY.format(table=self.table))
        bits = self.table in BITS
        if bits and {"type", "scale"} & self.model_fields_set:
            raise Refusal(_JUST_A_BIT)
        if not bits and "bad" in self.model_fields_set:
            raise Refusal(_NOT_A_BIT)
        if not bits and self.type is None:
            raise Refusal(_NO_TYPE, "missing-key")
        return self


class BmsOptions(Model):
    """The controller as a Modbus TCP server for the building management system next door."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        description="Address and port: 0.0.0.0:1502; the port is 502 unless given."
    )
    unit: int = Field(1, ge=1, le=247, description="Answers to this unit, 0 and 255.")
    clients: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Who may connect: addresses or networks; on loopback this machine."
    )
    user: str | None = Field(None, description="Whose authority writes have; of `users:`.")
    order: Order = Field("ABCD", description="Word order of 32-bit values.")
    points: Annotated[Mapping[str, BmsPointOptions], Field(min_length=1)]

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.clients and not ip_address(split_listen(self.listen)[0]).is_loopback:
            raise Refusal(_NO_CLIENTS, "missing-key")
        return self

    def resolved(self) -> Bms:
        """The same without YAML's alternatives."""
        host, port = split_listen(self.listen)
        networks: tuple[Network, ...] = tuple(ip_network(c) for c in self.clients or LOOPBACK)
        registers = tuple(options.register(id) for id, options in self.points.items())
        return Bms(host, port, self.unit, networks, self.user or "", self.order, registers)


_ONE_TABLE = Text(
    "点要写在 coil、discrete、holding、input 之一, 如 {input: 0, type: f32}",
    "a point stands in one of coil, discrete, holding, input, such as {input: 0, type: f32}",
)
_READ_ONLY = Text(
    "{table} 只能读; 可写的点请用 coil 或 holding",
    "{table} is only read; what is written stands in coil or holding",
)
_JUST_A_BIT = Text(
    "coil 和 discrete 是一个位, 没有 type 和 scale",
    "coil and discrete are one bit, without type and scale",
)
_NOT_A_BIT = Text(
    "bad 只用于 coil 和 discrete; 寄存器有 “不可用” 的值",
    "bad is for coil and discrete; a register has a value for not available",
)
_NO_TYPE = Text(
    '缺少 "type": u16, i16, u32, i32 或 f32', '"type" is missing: u16, i16, u32, i32 or f32'
)
_NO_CLIENTS = Text(
    '缺少 "clients": Modbus 没有口令, 请写允许连接的地址或网段, 如 [192.168.10.0/24]',
    '"clients" is missing: Modbus knows no password, so write who may connect, such as '
    "[192.168.10.0/24]",
)
