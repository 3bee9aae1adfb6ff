"""What a technician writes for a Modbus device and its points.

Only the shape and what can be judged from one record alone; the bus is `bus.py`, and what needs a
device and its points together is `plan.check`. Filled by `edge.site`, read by `plan` and `driver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from drivers.modbus.codec import Cell, Order, Type, limits, patterns, registers
from drivers.modbus.identity import Identity
from edge.schema.model import Model, Refusal
from edge.schema.units import Duration
from edge.text import Text

Table = Literal["holding", "input", "coil", "discrete"]
WriteBy = Literal["single", "multiple", "read_write"]
TABLES: Final[tuple[Table, ...]] = ("holding", "input", "coil", "discrete")


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

    @property
    def written(self) -> str:
        """Which option has the driver write of its own accord."""
        return "program" if self.program else ""


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
