"""Models: strict scalars, and every error a sentence at the right place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import pytest
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import core_schema

from edge.schema.loader import load_text
from edge.schema.model import Model, Refusal, Words, keys
from edge.schema.sentences import sentence
from edge.schema.validate import did_you_mean, keys_at, validate
from edge.text import Text


def _even(value: int) -> int:
    if value % 2:
        raise Refusal(Text("必须是偶数", "must be even"), "odd")
    return value


class Inner(Model):
    size: int = 1
    delay: float = Field(0.0, alias="for")


class Outer(Model):
    name: Words = Text("", "")
    count: Annotated[int, AfterValidator(_even)] = 0
    flag: bool = False
    kind: Literal["fast", "slow"] = "fast"
    span: tuple[float, float] = (0.0, 1.0)
    source: str | float = 0.0
    inner: Inner | None = None
    table: Mapping[str, Inner] = {}
    many: tuple[Inner, ...] = ()


def lines(text: str, model: type[Model] = Outer) -> list[str]:
    document, problems = load_text(text, "f")
    assert document is not None, problems
    record, problems = validate(model, document.data, document)
    assert (record is None) == bool(problems)
    return [problem.line("en") for problem in problems]


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", "12"), ("count", True), ("count", 2.0), ("flag", 1), ("flag", "true"),
     ("span", ("0", 1)), ("span", (True, 1)), ("source", True), ("kind", 0)],
)  # fmt: skip
def test_scalars_are_what_they_say(field: str, value: object) -> None:
    """No silent conversion."""
    with pytest.raises(ValidationError):
        Outer.model_validate({field: value})


def test_what_may_be_converted() -> None:
    """A whole number for any number, a list for a tuple, a mapping for a record."""
    record = Outer.model_validate(
        {"span": [0, 2], "many": [{"size": 2, "for": 1}], "source": "4 bar", "name": "泵"}
    )
    assert record.span == (0.0, 2.0)
    assert type(record.span[0]) is float
    assert record.many[0].delay == 1.0
    assert record.name == Text("泵", "泵")


def test_places_and_sentences() -> None:
    """Each problem stands where the value or, for a key, the key is."""
    assert lines("count: 3\nspan: [0, x]\ninner: {size: 1.5, fr: 2}\nmany: [{for: soon}]\n") == [
        "f:1:8 count: must be even [odd]",
        'f:2:11 span[1]: should be a number, not the text "x" [wrong-type]',
        "f:3:15 inner.size: should be a whole number, not the number 1.5 [wrong-type]",
        'f:3:20 inner.fr: no option "fr"; did you mean "for"? [unknown-key]',
        'f:4:14 many[0].for: should be a number, not the text "soon" [wrong-type]',
    ]


def test_members_of_a_union_speak_with_one_voice() -> None:
    """`str | float` yields one sentence with both."""
    assert lines("source: [1]") == [
        "f:1:9 source: should be a text or a number, not a list [wrong-type]"
    ]
    assert lines("inner: 3") == [
        "f:1:8 inner: should be a mapping (key: value), not the number 3 [wrong-type]"
    ]


def test_a_member_that_took_the_value_speaks_alone() -> None:
    """Of `bool | Inner` a mapping is an Inner: what is wrong within is all that is said."""

    class Inner(Model):
        file: str = ""

    class Outer(Model):
        tls: bool | Inner = False

    assert lines("tls: {fil: x}", Outer) == [
        'f:1:7 tls.fil: no option "fil"; did you mean "file"? [unknown-key]'
    ]


def test_a_list_whose_items_are_wrong_is_not_too_short() -> None:
    """The items that are refused are there: only what is wrong with them is said."""

    class Outer(Model):
        many: tuple[Inner, ...] = Field(min_length=1)

    assert lines("many: [{siz: 3}]", Outer) == [
        'f:1:9 many[0].siz: no option "siz"; did you mean "size"? [unknown-key]'
    ]
    assert lines("many: []", Outer) == ["f:1:7 many: needs at least 1, has 0 [wrong-value]"]


def test_choices() -> None:
    """The nearest choice, or all of them."""
    assert lines("kind: fasst")[0].endswith(
        '"fasst" is not possible; did you mean "fast"? [wrong-choice]'
    )
    assert lines("kind: 7")[0].endswith('"7" is not possible; possible: fast, slow [wrong-choice]')


def test_quotes_are_explained() -> None:
    """A number where a text is wanted, and the other way round."""

    class Pair(Model):
        text: str = ""
        number: int = 0

    assert lines("text: 1.20\nnumber: '5'", Pair) == [
        "f:1:7 text: should be a text, not the number 1.2; put it in quotes if it is a text "
        "[wrong-type]",
        'f:2:9 number: should be a whole number, not the text "5"; drop the quotes [wrong-type]',
    ]


def test_keys_of_nested_models() -> None:
    """Through options, tables and lists, by the names that are written."""
    assert keys(Inner) == ("size", "for")
    for path in (["inner"], ["table", "x"], ["many", 0]):
        assert keys_at(Outer, path) == {"size", "for"}
    assert keys_at(Outer, ["span", 0]) == set()
    assert keys_at(Outer, ["nothing", "at", "all"]) == set()


def test_did_you_mean() -> None:
    """Case does not matter; few choices are listed, many are not."""
    assert did_you_mean("Spead", ["speed", "flow"]).en == '; did you mean "speed"?'
    assert did_you_mean("x", ["speed", "flow"]).zh == "; 可用: flow, speed"
    assert did_you_mean("x", [f"p{i}0000" for i in range(9)]) == Text("", "")


def test_words() -> None:
    """One text for both languages, or both; half is refused."""
    assert Outer.model_validate({"name": {"zh": "泵", "en": "pump"}}).name == Text("泵", "pump")
    for bad in ({"zh": "泵"}, "", {"zh": "泵", "en": ""}, 3, None):
        with pytest.raises(ValidationError):
            Outer.model_validate({"name": bad})


CONTEXT: dict[str, Any] = {
    "gt": 1.0, "ge": 1.0, "lt": 1.0, "le": 1.0, "multiple_of": 2, "min_length": 1,
    "max_length": 2, "actual_length": 3, "pattern": "[a-z]", "tag": "x", "discriminator": "kind",
    "error": ValueError("reason"),
}  # fmt: skip


@pytest.mark.parametrize("kind", get_args(core_schema.ErrorType))
def test_every_error_of_pydantic_has_a_sentence(kind: str) -> None:
    """None of its own messages reaches a person, and both languages are there."""
    detail: Any = {"type": kind, "loc": ("key",), "input": "v", "msg": "RAW", "ctx": CONTEXT}
    code, text = sentence(detail, ())
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", code)
    assert re.search("[\u4e00-\u9fff]", text.zh)
    assert "RAW" not in text.en
    assert "{" not in text.en
