"""Who a device is, compared with who it should be: two meters swapped on a line look alike.

The option `identity` and the question it stands for. Not when it is asked (`contact.py`), not the
frames (`pdu.py`). Source of the objects: "MODBUS Application Protocol Specification V1.1b3", §6.21.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from drivers.modbus import pdu
from drivers.modbus.codec import Cell, Order, decode_string, limits, registers
from drivers.modbus.decoder import decode_one
from drivers.modbus.exceptions import DIVIDES, UNKNOWN_FUNCTION
from edge.errors import DeviceRefused, DeviceTimeout
from edge.schema.model import Model, Refusal
from edge.text import Text

_OBJECTS: Final[dict[str, tuple[int, Text]]] = {
    "vendor": (0, Text("厂商", "vendor")),
    "product": (1, Text("产品代码", "product")),
    "revision": (2, Text("版本", "revision")),
    "product_name": (4, Text("产品名称", "product name")),
    "model": (5, Text("型号", "model")),
}
_BASIC: Final = frozenset({0, 1, 2})


class Nameplate(Model):
    """Registers in which a device says who it is: a text, or a number."""

    holding: int | None = Field(
        None, ge=0, le=65536, description="First holding register of the nameplate."
    )
    input: int | None = Field(
        None, ge=0, le=65536, description="First input register of the nameplate."
    )
    length: int | None = Field(
        None, ge=1, le=125, description="How many registers hold the text, two characters each."
    )
    text: str | None = Field(
        None, min_length=1, description="What they must say; a * at the end allows any rest."
    )
    type: Literal["u16", "u32"] = Field("u16", description="What holds the number.")
    value: int | None = Field(None, ge=0, description="The number it must be, such as a type code.")

    @property
    def table(self) -> Literal["holding", "input"]:
        """The table it lies in."""
        return "input" if self.holding is None else "holding"

    @property
    def address(self) -> int:
        """Its number in the device's own counting (`base`)."""
        return self.holding if self.holding is not None else self.input or 0

    @property
    def size(self) -> int:
        """How many registers it occupies."""
        return registers(self.type) if self.length is None else self.length

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.holding is None) == (self.input is None):
            raise Refusal(_ONE_TABLE)
        text = self.text is not None and self.length is not None
        partly = self.text is not None or self.length is not None
        if text == (self.value is not None) or partly != text:
            raise Refusal(_TEXT_OR_VALUE)
        if text and "type" in self.model_fields_set:
            raise Refusal(_TEXT_OR_VALUE)
        if self.text is not None and len(self.text.removesuffix("*").encode()) > 2 * self.size:
            raise Refusal(_TOO_LONG.format(text=self.text, length=self.length))
        if self.value is not None and self.value > limits(Cell(0, self.type))[1]:
            raise Refusal(_TOO_GREAT.format(value=self.value, type=self.type))
        return self


class Identity(Model):
    """What a device must say of itself before it is read or written."""

    vendor: str | None = Field(None, min_length=1, description="Object 0, the vendor's name.")
    product: str | None = Field(None, min_length=1, description="Object 1, the product code.")
    revision: str | None = Field(
        None, min_length=1, description="Object 2, the revision, such as V2.*."
    )
    product_name: str | None = Field(
        None, min_length=1, description="Object 4, the product's name."
    )
    model: str | None = Field(None, min_length=1, description="Object 5, the model's name.")
    registers: Nameplate | None = Field(
        None, description="Registers that say it, for devices without identification objects."
    )

    @property
    def objects(self) -> dict[str, str]:
        """The objects that are compared: name and expected text."""
        wanted = {name: getattr(self, name) for name in _OBJECTS}
        return {name: text for name, text in wanted.items() if text is not None}

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.objects and self.registers is None:
            raise Refusal(_NOTHING)
        return self


class Mismatch(NamedTuple):
    """What was expected and what was found instead, for people."""

    expected: Text
    found: Text


async def mismatch(identity: Identity, base: int, order: Order, ask: pdu.Ask) -> Mismatch | None:
    """Ask the device who it is; None when it is the expected one.

    A device that cannot say it is not the expected one either. Raises what `ask` raises, unless it
    is an answer to the question.
    """
    if identity.objects and (wrong := await _wrong_objects(identity.objects, ask)):
        return wrong
    if identity.registers is not None:
        return await _wrong_nameplate(identity.registers, base, order, ask)
    return None


async def said(ask: pdu.Ask) -> dict[str, str]:
    """All that a device says of itself, by the names of the options; raises what `ask` raises."""
    try:
        objects = await _read_objects(frozenset(number for number, _ in _OBJECTS.values()), ask)
    except DeviceRefused as error:
        if error.code != UNKNOWN_FUNCTION:
            raise
        raise DeviceRefused(_SAYS_NOTHING, error.code, permanent=True) from None
    found = {name: _readable(objects.get(number)) for name, (number, _) in _OBJECTS.items()}
    return {name: text for name, text in found.items() if text}


async def _wrong_objects(expected: dict[str, str], ask: pdu.Ask) -> Mismatch | None:
    texts = {name: Text(text, text) for name, text in expected.items()}
    try:
        objects = await _read_objects(frozenset(_OBJECTS[name][0] for name in expected), ask)
    except DeviceTimeout as error:
        raise DeviceTimeout(_ASKED_WHO.format(reason=error.reason)) from None
    except DeviceRefused as error:
        if error.code != UNKNOWN_FUNCTION:
            raise
        return Mismatch(_listed(texts), _CANNOT_SAY)
    found = {name: _readable(objects.get(_OBJECTS[name][0])) for name in expected}
    wrong = [name for name, text in expected.items() if not _is(text, found[name])]
    if not wrong:
        return None
    said = {name: _NOT_SAID if (t := found[name]) is None else Text(t, t) for name in wrong}
    return Mismatch(_listed({name: texts[name] for name in wrong}), _listed(said))


async def _read_objects(wanted: frozenset[int], ask: pdu.Ask) -> dict[int, bytes]:
    """The objects, from the regular stream where it is needed; the basic one is mandatory."""
    found: dict[int, bytes] = {}
    if wanted - _BASIC:
        found = await _read_stream(pdu.REGULAR, wanted, ask)
    if (wanted & _BASIC) - found.keys():
        found |= await _read_stream(pdu.BASIC, wanted & _BASIC, ask)
    return found


async def _read_stream(stream: int, wanted: frozenset[int], ask: pdu.Ask) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    following: int | None = 0
    first = -1
    while following is not None and following > first and wanted - found.keys():
        first = following
        try:
            answer = pdu.identification(await ask(pdu.identify(stream, first)))
        except DeviceRefused as error:
            if error.code not in DIVIDES:  # it knows the function and has no such stream
                raise
            break
        found |= answer.objects
        following = answer.next
    return found


async def _wrong_nameplate(
    plate: Nameplate, base: int, order: Order, ask: pdu.Ask
) -> Mismatch | None:
    function = pdu.READ_HOLDING if plate.table == "holding" else pdu.READ_INPUT
    where = f"{plate.table} {plate.address}"
    expected = plate.text if plate.text is not None else str(plate.value)
    try:
        data = (await ask(pdu.read(function, plate.address - base, plate.size)))[2:]
    except DeviceRefused as error:
        if not error.permanent:
            raise
        found, shown = None, Text(f"{where} 不可读", f"no {where}")
    else:
        if plate.text is not None:
            found = _readable(data, order)
        else:
            found = f"{decode_one(Cell(0, plate.type, order), data, bits=False)[0]:.0f}"
        shown = Text(f"{where} = {found}", f"{where} = {found}")
    if _is(expected, found):
        return None
    return Mismatch(Text(f"{where} = {expected}", f"{where} = {expected}"), shown)


def _is(expected: str, found: str | None) -> bool:
    if found is None:
        return False
    if expected.endswith("*"):
        return found.startswith(expected[:-1])
    return found == expected


def _readable(data: bytes | None, order: Order = "ABCD") -> str | None:
    """A device's text; Chinese devices may say it in GBK. What is no text is shown as bytes."""
    if data is None:
        return None
    for charset in ("utf-8", "gb18030"):
        try:
            return decode_string(data, order, charset)
        except UnicodeDecodeError:
            continue
    return data.hex(" ").upper()


def _listed(texts: dict[str, Text]) -> Text:
    return Text(
        ", ".join(f"{_OBJECTS[name][1].zh} {text.zh}" for name, text in texts.items()),
        ", ".join(f"{_OBJECTS[name][1].en} {text.en}" for name, text in texts.items()),
    )


_NOT_SAID = Text("未提供", "not given")
_SAYS_NOTHING = Text(
    "设备有应答, 但不支持标识功能 (2B/0E); 请查看铭牌, 或读取标明型号的寄存器",
    "the device answers, but has no identification function (2B/0E); look at its nameplate, or "
    "read a register that names its model",
)
_CANNOT_SAY = Text(
    "设备不支持标识功能 (2B/0E), 请改用 identity 的 registers",
    "a device without the identification function (2B/0E): write registers under identity instead",
)
_ASKED_WHO = Text(
    "{reason}; 询问的是设备标识 (2B/0E), 若设备对其他请求有应答, 请改用 identity 的 registers",
    "{reason}; it was asked for its identification (2B/0E): if it answers otherwise, write "
    "registers under identity instead",
)
_NOTHING = Text(
    "identity 为空: 应写 vendor, product, revision, product_name, model 或 registers",
    "identity is empty: write vendor, product, revision, product_name, model or registers",
)
_ONE_TABLE = Text("应写 holding 或 input 之一", "write one of holding and input")
_TEXT_OR_VALUE = Text(
    "应写 length 和 text, 或 type 和 value", "write length and text, or type and value"
)
_TOO_LONG = Text(
    '"{text}" 放不进 {length} 个寄存器, 每个两个字符',
    '"{text}" does not fit {length} registers of two characters',
)
_TOO_GREAT = Text("{value} 不是 {type} 能有的值", "{value} is no value that {type} can have")
