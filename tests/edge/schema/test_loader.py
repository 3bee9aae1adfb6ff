"""Strict YAML: what a scalar is, what is refused, where things stand; nothing is ever raised."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.schema.loader import (
    DEEPEST,
    MOST_BYTES,
    Document,
    dotted,
    load_bytes,
    load_file,
    load_text,
)
from edge.schema.problem import Problem


def document(text: str) -> Document:
    found, problems = load_text(text, "site.yaml")
    assert problems == []
    assert found is not None
    return found


def problem(text: str) -> Problem:
    found, problems = load_text(text, "site.yaml")
    assert found is None
    assert len(problems) == 1
    return problems[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("YES", "YES"), ("on", "on"), ("n", "n"), ("12:30", "12:30"), ("08:30", "08:30"),
        ("2024-01-02", "2024-01-02"), ("1_000", "1_000"), ("=", "="), ("1.2.3", "1.2.3"),
        ("192.168.10.20", "192.168.10.20"), ("true", True), ("False", False), ("~", None),
        ("", None), ("null", None), ("0", 0), ("-0", 0), ("+3", 3), ("0x1F", 31), ("0o17", 15),
        ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-2.5E-1", -0.25), (".inf", math.inf),
        ("-.INF", -math.inf), ('"010"', "010"), ("'5'", "5"), ("5 MPa", "5 MPa"), ("１２", "１２"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(written: str, meant: object) -> None:
    """YAML 1.2 core scalars, nothing of YAML 1.1."""
    data = document(f"a: {written}\n").data
    assert (type(meant), meant) == (type(data["a"]), data["a"])


def test_not_a_number_is_not_a_number() -> None:
    """`.nan` is NaN, for the models to refuse."""
    assert math.isnan(document("a: .nan").data["a"])


@pytest.mark.parametrize("written", ["010", "-007", "00.5", "01e3"])
def test_a_leading_zero_is_refused(written: str) -> None:
    """Octal, decimal or a text? The writer says."""
    assert problem(f"a: {written}").code == "yaml-number"


def test_keys_are_always_texts() -> None:
    """`on: 1` and `1: 2` are keys "on" and "1"."""
    data = document("on: 1\n1: 2\nnull: 3\n").data
    assert list(data.items()) == [("on", 1), ("1", 2), ("null", 3)]


def test_an_alias_repeats_its_anchor() -> None:
    """Anchors and aliases work within bounds."""
    assert document("a: &x [1, 2]\nb: *x\n").data == {"a": [1, 2], "b": [1, 2]}


def test_marks_of_keys_and_values() -> None:
    """Line and column count from 1, in characters; what is not there has its parent's place."""
    found = document("站: 1\ndevices:\n  v3:\n    range: [0, 100]\n")
    assert str(found.value(["devices", "v3", "range", 1])) == "site.yaml:4:16"
    assert str(found.key(["devices", "v3", "range"])) == "site.yaml:4:5"
    assert str(found.value(["站"])) == "site.yaml:1:4"
    assert str(found.key(["devices", "v3", "unit"])) == "site.yaml:3:3"
    assert found.value(["devices", "v3", "range", 1]).path == "devices.v3.range[1]"
    assert found.holds(["devices", "v3"])
    assert not found.holds(["devices", "v3", "unit"])


def test_several_duplicates_are_told_at_once() -> None:
    """A duplicate key names the line of the first."""
    _, problems = load_text("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f")
    assert [p.line("en") for p in problems] == [
        'f:2:1 key "a" is already given in line 1 [duplicate-key]',
        'f:3:11 b: key "c" is already given in line 3 [duplicate-key]',
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[a]: 1", "yaml-key"), ("? {a: 1}\n: 2", "yaml-key"), ("&a b: c", "yaml-key"),
        ("a: &x 1\n*x : 2", "yaml-key"), ("<<: {a: 1}", "yaml-key"),
        ("a: !!python/object:os.system x", "yaml-tag"), ("a: ! x", "yaml-tag"),
        ("a: !!str 1", "yaml-tag"), ("a: *nobody", "yaml-alias"), ("a: &x [*x]", "yaml-alias"),
        ("a: 1\n---\nb: 2", "yaml-documents"), ("a:\n\tb: 1", "yaml-syntax"),
        ("a: b: c", "yaml-syntax"), ("a: [1", "yaml-syntax"), ("a: 'x", "yaml-syntax"),
        ("a: @x", "yaml-syntax"), ("%YAML 3.0\n---\na", "yaml-syntax"),
        ("a: \x07", "yaml-encoding"), ("a: \ud800", "yaml-encoding"),
        ("a: " + "9" * 50, "yaml-number"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, code: str) -> None:
    """Each excess and each error of syntax is one problem with its code."""
    assert problem(text).code == code


def test_a_tab_is_called_a_tab() -> None:
    """The commonest error of indentation has its own sentence."""
    assert "tab" in problem("a:\n\tb: 1").text.en


@pytest.mark.parametrize(
    "text",
    ["[" * 1_000_000, "- " * 1_000_000, "{a: " * 500_000, "[\n" * 1_000_000, "[a: " * 500_000],
    ids=["brackets", "dashes", "mappings", "lines", "pairs"],
)
def test_deep_nesting_is_refused_before_it_hurts(text: str) -> None:
    """A million levels are refused at the sixty-first; the C parser never recurses."""
    assert problem(text).code == "yaml-depth"


def test_as_deep_as_allowed() -> None:
    """The limit itself is fine."""
    document("[" * DEEPEST + "]" * DEEPEST)


def test_more_than_fifty_aliases() -> None:
    """Aliases are counted."""
    text = "a: &a [x]\n" + "".join(f"b{i}: *a\n" for i in range(51))
    assert problem(text).code == "yaml-alias"


def test_an_alias_bomb_counts_what_it_stands_for() -> None:
    """Nine times nine times nine: refused by what it would become."""
    lines = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 6)]
    assert problem("l0: &l0 [1, 1, 1, 1, 1]\n" + "\n".join(lines)).code == "yaml-size"


def test_files(tmp_path: Path) -> None:
    """No file, a directory, a file too large and one that is not UTF-8 each have a sentence."""
    (tmp_path / "big.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "gbk.yaml").write_bytes("a: 1\nb: 泵".encode("gbk"))
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    codes = {}
    for name in ("none.yaml", ".", "big.yaml", "gbk.yaml"):
        found, problems, _ = load_file(tmp_path / name, name)
        assert found is None
        codes[name] = (problems[0].code, str(problems[0].mark))
    assert codes == {
        "none.yaml": ("unreadable-file", "none.yaml:1:1"),
        ".": ("unreadable-file", ".:1:1"),
        "big.yaml": ("yaml-size", "big.yaml:1:1"),
        "gbk.yaml": ("yaml-encoding", "gbk.yaml:2:4"),
    }
    found, _, data = load_file(tmp_path / "bom.yaml")
    assert found is not None
    assert (found.data, data) == ({"a": 1}, b"\xef\xbb\xbfa: 1")


def test_an_empty_file_is_empty() -> None:
    """Nothing, or nothing but comments, is None: the models say what is missing."""
    assert document("").data is None
    assert document("# later\n").data is None


def test_dotted() -> None:
    """Paths read as people write them."""
    assert dotted(["a", "b", 0, 1, "c"]) == "a.b[0][1].c"


SOUP = st.text(alphabet="ab01 \n\t:-,[]{}&*!|>'\"%@`#?<.~=_+exo\\\u2028\ufeff院")


@given(st.one_of(st.text(), SOUP, SOUP.map(lambda s: "a: " + s)))
@settings(max_examples=600, deadline=None)
@example("\x85")
@example("\ufeff\ufeffa: 1")
@example("a: |\n x\n\ty")
@example("0x" + "f" * 39)
def test_no_text_raises(text: str) -> None:
    """Whatever the text is, there is a document or a problem with both languages, no exception."""
    found, problems = load_text(text, "f")
    assert (found is None) == bool(problems)
    assert all(p.text.zh and p.text.en and p.mark.line > 0 and p.mark.column > 0 for p in problems)


@given(st.binary())
@settings(deadline=None)
def test_no_bytes_raise(data: bytes) -> None:
    """The same for bytes."""
    found, problems = load_bytes(data, "f")
    assert (found is None) == bool(problems)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(alphabet="ab院 :#-"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
@settings(deadline=None)
def test_what_json_writes_is_read_back(data: object) -> None:
    """JSON is YAML: data written as JSON is read as it was, and every mark is inside the text."""
    text = json.dumps(data, ensure_ascii=False, indent=1)
    found = document(text)
    assert found.data == data
    assert found.value([]).line <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "line", "column", "plain"),
    [
        ("a：1\nb: 2", 1, 2, ":"),
        ("a：\n  b: 1", 1, 2, ":"),
        ("a: {b: 1， c: 2", 1, 9, ","),
        ("a: {b: 低，c: {", 1, 9, ","),
        ("a: ｛b: 1｝", 1, 4, "{"),
        ("a:\n    b: 1\n　　c: 2\n    d: 3", 3, 1, "' '"),
        ("a: “b: c”", 1, 4, '"'),
    ],
)
def test_full_width_punctuation_is_named_where_it_stands(
    text: str, line: int, column: int, plain: str
) -> None:
    """What a Chinese input method types breaks YAML: it is shown, with what is right."""
    found = problem(text)

    assert (found.mark.line, found.mark.column) == (line, column)
    assert found.text.en.endswith(f"write the plain {plain}")
    assert found.text.zh.endswith(f"请改用半角 {plain}")


@pytest.mark.parametrize(
    "text", ["a: {b: 压力低，请检查, c: {", 'a: {b: "x，y", c: {', "a: [1 # 一，2"]
)
def test_full_width_punctuation_in_prose_is_not_blamed(text: str) -> None:
    """Chinese sentences, quoted texts and comments may have it."""
    assert "full-width" not in problem(text).text.en


def test_a_quotation_mark_that_is_never_closed_is_shown_where_it_was_opened() -> None:
    """Not at the end of the file, where nothing is to be seen."""
    found = problem('a: "x\nb: 1\nc: 2\n')

    assert (found.mark.line, found.mark.column) == (1, 4)
