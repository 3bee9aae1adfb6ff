"""The register map: every value, every address, every half of a value."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bms.registers import BadValue, NoSuchAddress, decode, encode
from edge.image import quality
from edge.site.registers import RAW, STATUS_AT, Order, Register, Table, Type
from tests.edge.bms.served import REGISTERS, Served

NUMBERS = sorted(RAW)
WORDS = st.integers(0, 0xFFFF)
ORDERS = st.sampled_from(["ABCD", "CDAB"])
SCALES = st.sampled_from([1.0, 0.1, 0.01, 0.001, 0.5, 10.0, 0.3])


def register(kind: Type, scale: float = 1.0) -> Register:
    return Register("p", "holding", 0, kind, scale, write=True)


@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data(), order=ORDERS, scale=SCALES)
def test_words_survive_a_round_trip(
    kind: Type, data: st.DataObject, order: Order, scale: float
) -> None:
    """What was written and taken up reads as the same words, whatever the scale."""
    one = register(kind, scale if kind != "f32" else 1.0)
    words = tuple(data.draw(st.lists(WORDS, min_size=one.width, max_size=one.width)))
    try:
        value = decode(one, order, words)
    except BadValue:
        assert kind == "f32"
        return
    if math.isnan(value):
        assert math.isnan(decode(one, order, encode(one, order, value)))
    else:
        assert encode(one, order, value) == words


@pytest.mark.parametrize("kind", NUMBERS)
@given(value=st.floats(), scale=SCALES, order=ORDERS)
def test_a_value_is_shown_or_not_available(
    kind: Type, value: float, scale: float, order: Order
) -> None:
    """What a register shows is the value to within half a step; nothing is clipped."""
    one = register(kind, scale)
    shown = decode(one, order, encode(one, order, value))
    if math.isnan(shown):
        low, high = one.limits()
        assert math.isnan(value) or not low + scale <= value <= high - scale
    elif kind == "f32":
        assert shown == pytest.approx(value, rel=1e-6, abs=1e-44)
    else:
        assert abs(shown - value) <= scale * 0.5000001


def test_words_are_in_their_order() -> None:
    """An independent encoding of the same number, in both word orders."""
    first, second = struct.unpack(">HH", struct.pack(">f", 0.41))
    assert encode(register("f32"), "ABCD", 0.41) == (first, second)
    assert encode(register("f32"), "CDAB", 0.41) == (second, first)
    assert encode(register("u32", 0.1), "ABCD", 123456.7) == (18, 54919)
    assert encode(register("i16", 0.01), "CDAB", -1.5) == (0x10000 - 150,)


def test_32_bits_mean_the_decimal_number() -> None:
    """0.35 as f32 is not below a limit of 0.35, and 3 × 0.1 is not above one of 0.3."""
    assert decode(register("f32"), "ABCD", struct.unpack(">HH", struct.pack(">f", 0.35))) == 0.35
    assert decode(register("u16", 0.1), "ABCD", (3,)) == 0.3


@pytest.mark.parametrize(
    ("kind", "words"),
    [("u16", (0xFFFF,)), ("i16", (0x8000,)), ("u32", (0xFFFF, 0xFFFF)), ("i32", (0x8000, 0)),
     ("f32", (0x7FC0, 0))],
)  # fmt: skip
def test_each_type_has_its_word_for_not_available(kind: Type, words: tuple[int, ...]) -> None:
    """NaN and what does not fit read as it, and writing it means nothing is wanted."""
    one = register(kind)
    assert encode(one, "ABCD", math.nan) == words
    assert encode(one, "ABCD", 1e39) == words
    assert math.isnan(decode(one, "ABCD", words))


def test_an_infinity_is_no_value() -> None:
    """It is refused, not taken for the largest number."""
    with pytest.raises(BadValue):
        decode(register("f32"), "ABCD", (0x7F80, 0))


def test_a_bad_value_is_never_shown() -> None:
    """Registers read as not available, a bit as the site says."""
    stage = Served()
    assert stage.registers.read("input", 10, 1) == [0x10000 - 150]
    assert stage.registers.read("discrete", 0, 1) == [0]
    stage.set("tank.level", 2.0, quality.STALE)
    stage.set("pump.fault", 0.0, quality.COMM)
    assert stage.registers.read("input", 10, 1) == [0x8000]
    assert stage.registers.read("holding", 103, 1) == [0xFFFF]
    assert stage.registers.read("discrete", 0, 1) == [1]
    stage.set("tank.level", 2.0, quality.OVERRIDDEN)
    assert stage.registers.read("input", 10, 1) == [200]


@given(
    table=st.sampled_from(["coil", "discrete", "holding", "input"]),
    address=st.one_of(st.integers(0, 12), st.integers(98, 106), st.integers(8998, 9008)),
    count=st.integers(1, 9),
)
def test_a_read_is_whole_or_refused(table: Table, address: int, count: int) -> None:
    """As many words as asked for when every address has an owner, else none at all."""
    stage = Served()
    owned = {
        at for r in REGISTERS if r.table == table for at in range(r.at, r.at + r.width)
    } | (set(range(STATUS_AT, STATUS_AT + 6)) if table == "input" else set())  # fmt: skip
    if set(range(address, address + count)) <= owned:
        words = stage.registers.read(table, address, count)
        each = [stage.registers.read(table, address + i, 1)[0] for i in range(count)]
        assert words == each
    else:
        with pytest.raises(NoSuchAddress):
            stage.registers.read(table, address, count)


@given(
    table=st.sampled_from(["coil", "holding"]),
    address=st.one_of(st.integers(6, 9), st.integers(98, 106)),
    raw=st.lists(st.integers(0, 1), min_size=1, max_size=5),
)
def test_a_write_is_of_whole_writable_values_or_refused(
    table: Table, address: int, raw: list[int]
) -> None:
    """Half of a value, a register that is only read and a gap refuse everything."""
    whole = {"coil": {(7, 1)}, "holding": {(100, 1), (101, 2), (100, 3)}}[table]
    stage = Served()
    if (address, len(raw)) in whole:
        asked = stage.registers.written(table, address, raw)
        assert sum(register.width for register, _ in asked) == len(raw)
    else:
        with pytest.raises(NoSuchAddress):
            stage.registers.written(table, address, raw)


def test_status_words() -> None:
    """The alive counter wraps, the counts do not."""
    assert Served().registers.read("input", STATUS_AT, 6) == [70_001 - 65_536, 1, 2, 0, 65_534, 3]
