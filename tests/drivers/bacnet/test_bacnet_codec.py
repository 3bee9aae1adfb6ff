"""The codec against bacpypes3, which codes the same services in its own way."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from bacpypes3.apdu import (
    ReadPropertyACK,
    ReadPropertyMultipleACK,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    WritePropertyRequest,
)
from bacpypes3.basetypes import (
    ErrorType,
    PriorityValue,
    PropertyIdentifier,
    PropertyReference,
    ReadAccessResult,
    ReadAccessResultElement,
    ReadAccessResultElementChoice,
    ReadAccessSpecification,
    StatusFlags,
)
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import ArrayOf
from bacpypes3.primitivedata import (
    Boolean,
    CharacterString,
    Date,
    Double,
    Enumerated,
    Integer,
    Null,
    ObjectIdentifier,
    Real,
    Unsigned,
)
from hypothesis import given
from hypothesis import strategies as st

from drivers.bacnet import codec

kinds = st.integers(0, 1023)
instances = st.integers(0, 4_194_302)
identifiers = st.builds(codec.object_identifier, kinds, instances)
properties = st.integers(0, 4_194_303)
targets = st.tuples(identifiers, properties)
reals = st.floats(width=32)
numbers = st.one_of(
    st.builds(Real, reals),
    st.builds(Double, st.floats()),
    st.builds(Unsigned, st.integers(0, 2**32 - 1)),
    st.builds(Integer, st.integers(-(2**31), 2**31 - 1)),
    st.builds(Enumerated, st.integers(0, 65535)),
    st.builds(Boolean, st.booleans()),
)


def theirs(identifier: int) -> Any:
    return ObjectIdentifier((identifier >> 22, identifier & 0x3FFFFF))


def service_data(apdu: Any) -> bytes:
    return bytes(apdu.encode().pduData)


def tagged(value: Any) -> bytes:
    return bytes(AnyValue(value).tagList.encode().pduData)


def result(target: tuple[int, int], value: Any) -> Any:
    choice = ReadAccessResultElementChoice()
    if isinstance(value, ErrorType):
        choice.propertyAccessError = value
    else:
        choice.propertyValue = AnyValue(value)
    element = ReadAccessResultElement(
        propertyIdentifier=PropertyIdentifier(target[1]), readResult=choice
    )
    return ReadAccessResult(objectIdentifier=theirs(target[0]), listOfResults=[element])


@given(targets)
def test_read_property_is_coded_as_the_library_does(target: tuple[int, int]) -> None:
    """A ReadProperty request is octet for octet the library's."""
    request = ReadPropertyRequest(
        objectIdentifier=theirs(target[0]), propertyIdentifier=PropertyIdentifier(target[1])
    )
    assert codec.read_property(target) == service_data(request)


@given(st.dictionaries(identifiers, st.lists(properties, min_size=1, max_size=4), min_size=1))
def test_read_property_multiple_is_coded_as_the_library_does(
    wanted: dict[int, list[int]],
) -> None:
    """Properties of one object share its header, as in the library's request."""
    request = ReadPropertyMultipleRequest(
        listOfReadAccessSpecs=[
            ReadAccessSpecification(
                objectIdentifier=theirs(identifier),
                listOfPropertyReferences=[
                    PropertyReference(propertyIdentifier=PropertyIdentifier(p)) for p in props
                ],
            )
            for identifier, props in wanted.items()
        ]
    )
    flat = [(identifier, p) for identifier, props in wanted.items() for p in props]
    assert codec.read_property_multiple(flat) == service_data(request)


@given(targets, st.one_of(numbers, st.just(Null(()))), st.one_of(st.none(), st.integers(1, 16)))
def test_write_property_is_coded_as_the_library_does(
    target: tuple[int, int], value: Any, priority: int | None
) -> None:
    """A WriteProperty request carries the library's octets, with and without a priority."""
    request = WritePropertyRequest(
        objectIdentifier=theirs(target[0]),
        propertyIdentifier=PropertyIdentifier(target[1]),
        propertyValue=AnyValue(value),
    )
    if priority is not None:
        request.priority = priority
    assert codec.write_property(target, tagged(value), priority) == service_data(request)


def test_null_is_what_the_library_calls_null() -> None:
    """What relinquishes is the application tag Null, not a number."""
    assert tagged(Null(())) == codec.NULL


@given(targets, numbers)
def test_a_value_is_found_in_the_answer(target: tuple[int, int], value: Any) -> None:
    """The value of a ReadProperty answer is what the library put there, as a number."""
    answer = ReadPropertyACK(
        objectIdentifier=theirs(target[0]),
        propertyIdentifier=PropertyIdentifier(target[1]),
        propertyValue=AnyValue(value),
    )
    raw = codec.property_value(service_data(answer), target)
    assert raw == tagged(value)
    expected = float(int(value)) if isinstance(value, Boolean) else float(value)
    assert codec.number(raw) == expected or math.isnan(expected)


errors = st.builds(
    lambda c, e: ErrorType(errorClass=c, errorCode=e), st.integers(0, 7), st.integers(0, 90)
)
values = st.one_of(
    numbers,
    errors,
    st.builds(CharacterString, st.text(max_size=300)),
    st.just(StatusFlags([0, 1, 0, 1])),
    st.just(Date("2026-11-21")),
    st.builds(lambda v: ArrayOf(PriorityValue)([PriorityValue(x) for x in v]),
              st.lists(st.one_of(st.just(Null(())), st.builds(Real, reals)), min_size=1)),
)  # fmt: skip


@given(st.dictionaries(targets, values, min_size=1, max_size=8))
def test_all_values_are_found_in_a_long_answer(wanted: dict[tuple[int, int], Any]) -> None:
    """Each property gets its own value or its own refusal, whatever stands beside it."""
    ack = ReadPropertyMultipleACK(
        listOfReadAccessResults=[result(target, value) for target, value in wanted.items()]
    )
    asked = list(wanted)[::-1]
    for target, answer in zip(asked, codec.property_values(service_data(ack), asked), strict=True):
        value = wanted[target]
        if isinstance(value, ErrorType):
            assert answer == codec.Refusal(int(value.errorClass), int(value.errorCode))
        else:
            assert answer == tagged(value)


@given(st.dictionaries(targets, numbers, min_size=2, max_size=4), st.data())
def test_an_answer_about_something_else_is_malformed(
    wanted: dict[tuple[int, int], Any], data: st.DataObject
) -> None:
    """An answer with another object, a property less or one more has no values."""
    asked = list(wanted)
    other = data.draw(targets.filter(lambda t: t not in wanted))
    missing = ReadPropertyMultipleACK(
        listOfReadAccessResults=[result(t, v) for t, v in list(wanted.items())[1:]]
    )
    swapped = ReadPropertyMultipleACK(
        listOfReadAccessResults=[
            result(other if t == asked[0] else t, v) for t, v in wanted.items()
        ]
    )
    more = ReadPropertyMultipleACK(
        listOfReadAccessResults=[result(t, v) for t, v in [*wanted.items(), (other, Real(1.0))]]
    )
    for ack in (missing, swapped, more):
        with pytest.raises(codec.Malformed):
            codec.property_values(service_data(ack), asked)


@given(st.dictionaries(targets, values, min_size=1, max_size=4), st.data())
def test_a_damaged_answer_never_raises_anything_else(
    wanted: dict[tuple[int, int], Any], data: st.DataObject
) -> None:
    """Cut short or with octets changed, an answer is Malformed or decodes; nothing else happens."""
    ack = ReadPropertyMultipleACK(
        listOfReadAccessResults=[result(target, value) for target, value in wanted.items()]
    )
    octets = bytearray(service_data(ack))
    for at in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=3)):
        octets[at] = data.draw(st.integers(0, 255))
    damaged = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    try:
        answers = codec.property_values(damaged, list(wanted))
    except codec.Malformed:
        return
    assert len(answers) == len(wanted)


@given(st.binary(max_size=40))
def test_any_octets_are_a_number_or_refused(octets: bytes) -> None:
    """Decoding a number from whatever octets gives a float or a ValueError."""
    for decode in (codec.number, codec.elements, codec.flags):
        try:
            decode(octets)
        except ValueError:
            continue


@given(reals)
def test_reals_survive_the_round_trip(value: float) -> None:
    """A single-precision number is written and read back as it is."""
    again = codec.number(codec.encoded(value, codec.REAL))
    assert struct.pack(">f", again) == struct.pack(">f", value) or math.isnan(value)


@given(st.integers(-(2**31), 2**31 - 1))
def test_whole_numbers_are_coded_as_the_library_does(value: int) -> None:
    """Signed and unsigned numbers take as few octets as the library gives them."""
    assert codec.encoded(value, codec.SIGNED) == tagged(Integer(value))
    if value >= 0:
        assert codec.encoded(value, codec.UNSIGNED) == tagged(Unsigned(value))
        assert codec.encoded(value, codec.ENUMERATED) == tagged(Enumerated(value))
    else:
        with pytest.raises(codec.NotANumber):
            codec.encoded(value, codec.UNSIGNED)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1e39, codec.REAL), (2.0**32, codec.UNSIGNED), (math.inf, codec.SIGNED),
        (math.nan, codec.UNSIGNED), (2.0, codec.BOOLEAN), (1.0, 7),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(value: float, kind: int) -> None:
    """A value that a type cannot hold is refused instead of changed."""
    with pytest.raises(codec.NotANumber):
        codec.encoded(value, kind)


@pytest.mark.parametrize("flags", [0, 1, 2, 4, 8, 15])
def test_status_flags(flags: int) -> None:
    """In-alarm, fault, overridden and out-of-service are the bits 8, 4, 2 and 1."""
    bits = [int(bool(flags & bit)) for bit in (8, 4, 2, 1)]
    assert codec.flags(tagged(StatusFlags(bits))) == flags


@pytest.mark.parametrize("words", ["Delta Controls", "江森自控", "Grüße", "x" * 300])
def test_texts_are_read_as_the_library_codes_them(words: str) -> None:
    """UTF-8, as nearly all devices say, of any length."""
    assert codec.text(tagged(CharacterString(words))) == words


@pytest.mark.parametrize(
    ("charset", "coded", "words"),
    [
        (0, "江森".encode("gbk"), "江森"),  # what says UTF-8 and is not
        (1, "江森".encode("gbk"), "江森"),
        (3, "风机".encode("utf-32-be"), "风机"),
        (4, "风机".encode("utf-16-be"), "风机"),
        (5, "Kälte".encode("latin-1"), "Kälte"),
        (0, b"AHU-1\x00\x00 ", "AHU-1"),
        (0, b"\xff\xff\xff", ""),
        (9, b"plain", "plain"),
    ],
)
def test_other_character_sets_are_read_too(charset: int, coded: bytes, words: str) -> None:
    """Whatever a device says its set is, what can be read is, without what is not to be seen."""
    content = bytes((charset,)) + coded
    head = bytes((0x75, len(content))) if len(content) > 4 else bytes((0x70 | len(content),))
    assert codec.text(head + content) == words


@given(st.binary(max_size=40))
def test_any_octets_are_a_text_or_nothing(octets: bytes) -> None:
    """Nothing that arrives raises, and nothing unprintable comes out."""
    assert codec.text(octets).isprintable()
