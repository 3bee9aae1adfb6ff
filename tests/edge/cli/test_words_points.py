"""Words of a register in every order, and a point in words."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli.points import chosen, duration_text, owner_text, shown
from edge.cli.words import orders, words
from edge.text import Language

LAYOUT = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}


@given(st.floats(width=32, allow_nan=False), st.sampled_from(sorted(LAYOUT)))
def test_a_float_sent_in_any_order_is_found_in_its_line(value: float, order: str) -> None:
    """Whatever order a device uses, the line of that name shows the number."""
    big = struct.pack(">f", value)
    wire = bytes(big[LAYOUT[order].index(i)] for i in range(4))

    found = {reading.order: reading.float for reading in orders(wire)}

    assert list(found) == ["ABCD", "CDAB", "BADC", "DCBA"]
    assert struct.pack(">f", found[order]) == big


def test_four_words_are_read_as_doubles() -> None:
    """Eight bytes get the same four orders with 64 bits."""
    found = orders(struct.pack(">d", 1234.5))

    assert found[0].order == "ABCDEFGH"
    assert found[0].float == 1234.5
    assert [reading.order for reading in found[1:]] == ["GHEFCDAB", "BADCFEHG", "HGFEDCBA"]


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x00\x01", b"\x00\x01\x02", bytes(6)])
def test_other_lengths_have_words_and_no_orders(raw: bytes) -> None:
    """One register has no word order."""
    assert orders(raw) == []
    assert len(words(raw)) == len(raw) // 2


def test_a_word_is_shown_unsigned_and_signed() -> None:
    """0xFFFE is 65534 and -2."""
    (word,) = words(b"\xff\xfe")

    assert (word.hex, word.unsigned, word.signed) == ("fffe", 65534, -2)


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0.04, "0.0 秒", "0.0 s"), (9.9, "9.9 秒", "9.9 s"), (119.0, "119 秒", "119 s"),
        (125.0, "2 分钟", "2 min"), (7300.0, "2 小时", "2 h"), (200000.0, "2 天", "2 d"),
        (None, "--", "--"),
    ],
)  # fmt: skip
def test_durations_use_the_unit_that_suits_them(seconds: float | None, zh: str, en: str) -> None:
    """Two significant steps at most: nobody reads 7300 s."""
    assert (duration_text(seconds, "zh"), duration_text(seconds, "en")) == (zh, en)


def test_what_is_measured_of_buses_is_shown_to_who_asks() -> None:
    """A device's own points do not drown: its link is shown when named, or with everything."""
    ids = ("v3.position", "v3.online", "v3.link.age", "line.bus.load")
    model = {"points": [
        {"id": id, "name": {"zh": "", "en": ""}, "role": "virtual", "unit": "", "d": 0,
         "local": ".link." in id or ".bus." in id}
        for id in ids
    ]}  # fmt: skip
    snapshot = {"v": {}, "outputs": {}, "holds": {}, "age": [0.0] * 4, "t": 0.0}
    points = shown(model, snapshot)

    def found(*wanted: str, everything: bool = False) -> list[str]:
        return [point.id for point in chosen(points, wanted, everything=everything)]

    assert found() == found("v3") == found("v3.*") == found("*") == ["v3.position", "v3.online"]
    assert found("v3.link") == found("*.age") == found("v3.link.age") == ["v3.link.age"]
    assert found("line") == ["line.bus.load"]
    assert found(everything=True) == list(ids)
    assert found("v3", everything=True) == list(ids[:3])


def test_what_a_valve_is_held_to_stands_beside_its_owner() -> None:
    """Automatic owners only; where nothing moves it, that stands there instead."""
    model = {"points": [
        {"id": "v3.position", "name": {"zh": "", "en": ""}, "role": "output", "unit": "%", "d": 0}
    ]}  # fmt: skip

    def owner(language: Language, **output: object) -> str:
        snapshot = {"v": {}, "outputs": {"v3.position": output}, "holds": {}, "age": [0.0], "t": 0}
        return owner_text(shown(model, snapshot)[0], language)

    asked = {"value": 60.0, "slot": 14, "by": "regulator"}
    assert owner("en", **asked) == "60 % control 14 regulator"
    assert owner("en", **asked, held=[40.0, 60.0]) == "60 % control 14 held to 40..60 regulator"
    assert owner("zh", **asked, held=[40.0, 60.0]) == "60 % 自动控制 14 限于 40..60 regulator"
    person = asked | {"slot": 8, "by": "lisi"}
    assert owner("en", **person, held=[40.0, 60.0]) == "60 % remote 8 lisi"
    nowhere = {"value": None, "slot": 0, "by": "", "held": [None, None]}
    assert owner("en", **nowhere) == "place unknown, not moved"
