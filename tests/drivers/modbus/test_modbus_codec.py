"""Bytes ↔ numbers: the vectors of the reference, the extremes, and a round trip of everything."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from drivers.modbus import vector
from drivers.modbus.codec import (
    Cell,
    Order,
    Type,
    decode_string,
    encode,
    encode_string,
    limits,
    registers,
    wire_places,
)
from drivers.modbus.config import PointConfig
from drivers.modbus.decoder import Decoder, decode_one
from edge.errors import DeviceRefused
from edge.image import quality
from edge.schema.loader import load_file

CASES = Path(__file__).parents[2] / "cases" / "codec"
ORDERS: tuple[Order, ...] = get_args(Order)
TYPES: tuple[Type, ...] = get_args(Type)
QUALITY = {"good": quality.GOOD, "range": quality.RANGE, "sensor": quality.SENSOR}
REGISTER = st.integers(0, 0xFFFF)


def cases() -> list[Any]:
    found = []
    for folder in sorted(CASES.iterdir()):
        document, problems, _ = load_file(folder / "case.yaml")
        assert document is not None, problems
        for i, case in enumerate(document.data):
            found.append(pytest.param(case, id=f"{folder.name}-{i}"))
    return found


def cell_of(config: PointConfig, **more: Any) -> Cell:
    order = config.order or "ABCD"
    return Cell(0, config.kind, order, config.bit, config.length, config.sentinel, **more)


@pytest.mark.parametrize("case", cases())
def test_case(case: dict[str, Any]) -> None:
    """Each case decodes to its value and quality, and as a profile's test vector."""
    config, raw = PointConfig(**case["point"]), bytes.fromhex(case["raw"])
    value, bits = decode_one(cell_of(config), raw, bits=config.bits)
    assert QUALITY[case.get("quality", "good")] == bits
    if "value" in case:
        expected = case["value"]
        assert expected == pytest.approx(value, rel=1e-9, nan_ok=True)
        assert expected == pytest.approx(vector(config, raw, {}), rel=1e-9, nan_ok=True)


def test_vector_takes_the_order_of_its_profile() -> None:
    """Where a point says no order, a test vector is read in that of the profile's device."""
    raw, plain = bytes.fromhex("3333 4366"), PointConfig(holding=0, type="f32")
    assert vector(plain, raw, {"order": "CDAB"}) == pytest.approx(230.2, rel=1e-6)
    own = PointConfig(holding=0, type="f32", order="CDAB")
    assert vector(own, raw, {"order": "DCBA"}) == pytest.approx(230.2, rel=1e-6)


@pytest.mark.parametrize(
    ("config", "raw"),
    [({"holding": 0, "type": "f32"}, "4366"), ({"holding": 0}, "0001 0002"), ({"coil": 0}, "")],
)
def test_vector_of_the_wrong_length(config: dict[str, Any], raw: str) -> None:
    """Bytes that are not one value are refused, not read in part."""
    with pytest.raises(ValueError, match="bytes"):
        vector(PointConfig(**config), bytes.fromhex(raw), {})


def whole_registers(case: dict[str, Any]) -> bool:
    return not {"bit", "coil", "discrete", "quality"} & {*case, *case["point"]}


@pytest.mark.parametrize("case", [c for c in cases() if whole_registers(c.values[0])])
def test_case_backwards(case: dict[str, Any]) -> None:
    """Each good case in whole registers encodes to its own bytes."""
    config = PointConfig(**case["point"])
    assert encode(cell_of(config), case["value"]) == bytes.fromhex(case["raw"])


@st.composite
def cells(draw: st.DrawFn, kinds: tuple[Type, ...] = TYPES) -> Cell:
    kind = draw(st.sampled_from(kinds))
    bit = draw(st.integers(0, 15)) if kind in ("bool", "bitfield") else None
    length = draw(st.integers(1, 16 - (bit or 0))) if kind == "bitfield" else 1
    return Cell(0, kind, draw(st.sampled_from(ORDERS)), bit, length)


@given(cells(), st.data())
def test_round_trip(cell: Cell, data: st.DataObject) -> None:
    """What is encoded decodes to itself, for every type, order and value that fits."""
    low, high = limits(cell)
    if cell.type in ("f32", "f64"):
        width = 32 if cell.type == "f32" else 64
        value: float = data.draw(st.floats(allow_nan=False, allow_infinity=False, width=width))
    else:
        # float64 holds whole numbers exactly up to 2**53
        value = data.draw(st.integers(max(int(low), -(2**53)), min(int(high), 2**53)))
    wire = encode(cell, value)
    assert 2 * registers(cell.type) == len(wire)
    assert (value, quality.GOOD) == decode_one(cell, wire, bits=False)


@given(
    cells(("u16", "i16", "u32", "i32", "bcd16", "bcd32", "mod10k", "bitfield", "bool", "enum")),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_never_wrapped(cell: Cell, value: float) -> None:
    """A value is stored as its nearest step or refused; it never becomes another one."""
    low, high = limits(cell)
    if not math.isfinite(value) or not low <= round(value) <= high:
        with pytest.raises(DeviceRefused) as caught:
            encode(cell, value)
        assert caught.value.permanent
        return
    decoded, bits = decode_one(cell, encode(cell, value), bits=False)
    assert bits == quality.GOOD
    assert abs(decoded - value) <= 0.5


@pytest.mark.parametrize("value", [1e39, -1e39, math.inf, math.nan])
def test_float_overflow_is_refused(value: float) -> None:
    """A number beyond f32 is refused rather than written as infinity."""
    with pytest.raises(DeviceRefused):
        encode(Cell(0, "f32"), value)


def test_greatest_u64_is_refused_beyond_its_end() -> None:
    """2**64 does not fit u64, although float64 cannot tell it from the greatest that does."""
    with pytest.raises(DeviceRefused):
        encode(Cell(0, "u64"), 2.0**64)
    assert encode(Cell(0, "u64"), 2.0**64 - 2048) == b"\xff" * 6 + b"\xf8\x00"


def test_sentinel_cannot_be_written() -> None:
    """A value that would read back as "not available" is refused."""
    for cell in (
        Cell(0, "u16", sentinel=(0xFFFF,)),
        Cell(0, "i16", sentinel=(0xFFFF,), scale=-65535.0),
    ):
        with pytest.raises(DeviceRefused):
            encode(cell, 65535.0)


def test_value_outside_the_range_cannot_be_written() -> None:
    """The physical range of a point binds writes too."""
    cell = Cell(0, "u16", scale=0.1, low=0.0, high=50.0)
    assert encode(cell, 50.0) == b"\x01\xf4"
    with pytest.raises(DeviceRefused) as caught:
        encode(cell, 50.1)
    assert "50" in caught.value.reason.zh
    assert "50" in caught.value.reason.en


PYMODBUS = {
    "u16": "UINT16", "i16": "INT16", "u32": "UINT32", "i32": "INT32", "u64": "UINT64",
    "i64": "INT64", "f32": "FLOAT32", "f64": "FLOAT64",
}  # fmt: skip


@given(st.sampled_from(sorted(PYMODBUS)), st.booleans(), st.lists(REGISTER, min_size=4, max_size=4))
def test_as_pymodbus(kind: Type, big: bool, words: list[int]) -> None:
    """In the two orders that pymodbus has, the same registers give the same number."""
    words = words[: registers(kind)]
    theirs = ModbusClientMixin.convert_from_registers(
        words,
        ModbusClientMixin.DATATYPE[PYMODBUS[kind]],
        word_order="big" if big else "little",
    )
    wire = struct.pack(f">{len(words)}H", *words)
    ours, bits = decode_one(Cell(0, kind, "ABCD" if big else "CDAB"), wire, bits=False)
    assert isinstance(theirs, int | float)
    if math.isfinite(theirs):
        assert (float(theirs), quality.GOOD) == (ours, bits)
    else:
        assert bits == quality.RANGE


@given(st.lists(cells(), min_size=1, max_size=12), st.data())
def test_many_cells_decode_as_each_alone(mixed: list[Cell], data: st.DataObject) -> None:
    """A poll of any mixture, with gaps and any scaling, gives what each cell gives alone."""
    placed, at = [], 3
    for cell in mixed:
        at += data.draw(st.integers(0, 2))
        scale = data.draw(st.sampled_from([1.0, 0.1, -2.0]))
        offset = data.draw(st.sampled_from([0.0, -40.0]))
        low = data.draw(st.sampled_from([-math.inf, -40.0, 0.0]))
        sentinel = data.draw(st.sampled_from([(), (0x7FFF,), (0xFFFF, 0)]))
        if cell.type in ("f32", "f64"):
            sentinel = ()
        placed.append(
            Cell(
                at, cell.type, cell.order, cell.bit, cell.length, sentinel, scale, offset, low, 1e6
            )
        )
        at += registers(cell.type)
    words = data.draw(
        st.lists(st.sampled_from([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x1234, 0x4366]), min_size=at - 3,
                 max_size=at - 3)
    )  # fmt: skip
    answer = struct.pack(f">{len(words)}H", *words)
    decoder = Decoder(placed, 3, bits=False)
    decoder.decode(b"\x03" + bytes([2 * len(words)]) + answer)
    for i, cell in enumerate(placed):
        alone = answer[2 * (cell.at - 3) :][: 2 * registers(cell.type)]
        value, bits = decode_one(cell, alone, bits=False)
        assert bits == decoder.quality[i]
        assert value == pytest.approx(float(decoder.values[i]), nan_ok=True)


@given(
    st.sampled_from(["u16", "i16", "u32", "i32", "u64", "i64", "enum"]),
    st.integers(0, 7),
    st.lists(st.binary(min_size=24, max_size=24), min_size=2, max_size=5),
)
def test_one_answer_after_the_other(kind: Type, at: int, answers: list[bytes]) -> None:
    """Each gives what it gives alone, wherever it begins and whatever came before it, by whatever
    way it is read."""
    step = registers(kind)
    placed = [Cell(3 + step * i, kind) for i in range(12 // step)]
    decoder = Decoder(placed, 3, bits=False)
    first = answers.pop()
    decoder.decode(b"\x03\x18" + first)
    buffer = bytearray(b"?" * 40)
    read = decoder.reader(memoryview(buffer)[at:], 26)
    for answer in (*answers, first):
        buffer[at : at + 26] = b"\x03\x18" + answer
        if answer is first:
            decoder.decode(b"\x03\x18" + first)
        else:
            read()
        for i, cell in enumerate(placed):
            value, bits = decode_one(cell, answer[2 * step * i :][: 2 * step], bits=False)
            assert (value, bits) == (decoder.values[i], decoder.quality[i])


def test_quality_recovers() -> None:
    """A value that was out of range and comes back is good again, and the other way round."""
    decoder = Decoder([Cell(0, high=100.0), Cell(1, sentinel=(0xFFFF,))], 0, bits=False)
    seen = []
    for words in ((50, 7), (500, 0xFFFF), (50, 7), (50, 7), (500, 7)):
        decoder.decode(b"\x03\x04" + struct.pack(">HH", *words))
        seen.append(decoder.quality.tolist())
    good, high, both = [0, 0], [quality.RANGE, 0], [quality.RANGE, quality.SENSOR]
    assert [good, both, good, good, high] == seen


def test_out_of_range_value_is_shown() -> None:
    """A number beyond its bounds stays visible beside its quality."""
    value, bits = decode_one(Cell(0, high=100.0), b"\x01\xf4", bits=False)
    assert (value, bits) == (500.0, quality.RANGE)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 60))
def test_bits_of_coils(on: list[bool], start: int) -> None:
    """Coils lie in bytes from the lowest bit on."""
    data = np.packbits(on, bitorder="little").tobytes()
    decoder = Decoder([Cell(start + i, "bool") for i in range(len(on))], start, bits=True)
    decoder.decode(bytes([1, len(data)]) + data)
    assert on == decoder.values.astype(bool).tolist()
    assert not decoder.quality.any()


def test_inverted_coil() -> None:
    """A normally closed contact reads inverted by scale -1 and offset 1, and writes so."""
    cell = Cell(0, "bool", scale=-1.0, offset=1.0)
    assert decode_one(cell, b"\x01", bits=True) == (0.0, quality.GOOD)
    assert decode_one(cell, b"\x00", bits=True) == (1.0, quality.GOOD)
    assert encode(cell, 1.0) == b"\x00\x00"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("width", [2, 4, 8])
def test_orders_are_permutations(order: Order, width: int) -> None:
    """Each order puts each byte at one place."""
    assert list(range(width)) == sorted(wire_places(width, order))


@pytest.mark.parametrize("order", ORDERS)
def test_string_round_trip(order: Order) -> None:
    """A device's name reads as it was stored, filled up with NUL."""
    wire = encode_string("CIM 500", 6, order)
    assert len(wire) == 12
    assert decode_string(wire, order) == "CIM 500"
    assert wire[:4] == (b"IC M" if order in ("BADC", "DCBA") else b"CIM ")


def test_string_too_long_is_refused() -> None:
    """A text longer than its registers is an error, not cut."""
    with pytest.raises(ValueError, match="do not fit"):
        encode_string("CIM 500", 3)
