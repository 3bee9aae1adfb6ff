"""Expressions: what is taken, what is refused and where, and that they mean what Python means."""

from __future__ import annotations

from math import inf, isfinite, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from edge.blocks.expression import (
    DEEPEST,
    LONGEST,
    Call,
    ExpressionError,
    Name,
    Number,
    parse,
    quantity,
)
from edge.image.quality import BAD, COMM, NEVER, RANGE, SIMULATED, STALE, UNCERTAIN
from edge.schema.model import Refusal
from tests.support.rules import Bench, site_of


def test_names_may_be_python_keywords_or_digits_after_a_dot() -> None:
    """Point ids such as fan.in and zone.3 are names, in the order in which they appear."""
    expression = parse("fan.in > zone.3 and not fan.in and booster.p1.run")
    assert expression.names == ("fan.in", "zone.3", "booster.p1.run")


def test_a_chain_of_comparisons_is_their_and() -> None:
    """0.2 < x <= 2000 asks both, as in Python."""
    x = Name("lobby.lux")
    assert parse("0.2 < lobby.lux <= 2000").tree == Call(
        "and", (Call("lt", (Number(0.2), x)), Call("le", (x, Number(2000.0))))
    )


def test_an_expression_may_span_lines() -> None:
    """A folded YAML text arrives with line breaks in it."""
    assert parse("a.x\n  and\n  b.y").names == ("a.x", "b.y")


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1), ("   ", 1), ("a ==", 1), ("a and = b", 7), ("a > 0.4 MPa", 9), ("f(x)", 1),
        ("a + x[1]", 5), ("a ** 2", 1), ("a // 2", 1), ("a % 2", 1), ("1 + 'x'", 5), ("True", 1),
        ("a and None", 7), ("x is y", 1), ("x in y", 1), ("a.b.c(1)", 1), ("abs(1, 2)", 1),
        ("min(a)", 1), ("max(a, key=b)", 1), ("lambda: 1", 1), ("[a for a in b]", 1), ("a; b", 2),
        ("a := 1", 3), ("(a := 1)", 2), ("a if b", 1), ("a and b # c", 9), ("a and “b”", 7),
        ("1e999 + 1", 1), ("a.b and fan.in.x + 1j", 20), ("__import__('os')", 1), ("a\0b", 2),
        ("{a}", 1), ("*a", 1), ("a, b", 1), ("~a", 1), ("f'{a}'", 1), ("(1).real", 1), ("a.b.", 1),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_its_column(text: str, column: int) -> None:
    """Nothing but the list in the message gets through; the column is that of the culprit."""
    with pytest.raises(ExpressionError) as error:
        parse(text)
    assert error.value.column == column
    assert error.value.text.zh != error.value.text.en


def test_length_and_depth_are_capped() -> None:
    """A text that is too long or too deep is refused; no recursion error whatever it is."""
    parse("(" * 30 + "a" + ")" * 30)
    parse("not " * (DEEPEST - 1) + "a")
    for text in ("a" * (LONGEST + 1), "not " * DEEPEST + "a", "(" * 400 + "a" + ")" * 400,
                 "-" * 900 + "1", "a.b+" * 249 + "c"):  # fmt: skip
        with pytest.raises(ExpressionError):
            parse(text)


@given(some.text(alphabet="ab.x13 <>=+-*/()andortif,'#[]{}:;%°", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Whatever a person types, the answer is an expression or an ExpressionError within it."""
    column = 1
    try:
        parse(text)
    except ExpressionError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1


@pytest.mark.parametrize(
    ("source", "unit", "value"),
    [
        (0.4, "MPa", 0.4), ("0.40 MPa", "MPa", 0.4), ("400 kPa", "MPa", 0.4), ("12", None, 12.0),
        ("400 kPa", None, 0.4), ("-5 °C", None, -5.0), ("2 K", None, 2.0), ("10 %", None, 10.0),
        ("a.b", "MPa", None), ("a.b > 3", None, None), ("1 + 2", None, None),
    ],
)  # fmt: skip
def test_an_input_may_be_a_quantity(
    source: str | float, unit: str | None, value: float | None
) -> None:
    """A number with or without unit is a constant in the input's unit; the rest an expression."""
    assert quantity(source, unit) == value


@pytest.mark.parametrize(("source", "unit"), [("5 lx", "MPa"), ("5 furlong", None)])
def test_a_quantity_of_another_kind_is_refused(source: str, unit: str | None) -> None:
    """Lux are no pressure, and an unknown unit is not ignored."""
    with pytest.raises(Refusal):
        quantity(source, unit)


# --- meaning: the compiled instructions against Python's own evaluation

POINTS = ("p.a", "p.b", "p.c", "p.d")
numbers = some.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0])


def numeric(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    pair = some.tuples(inner, inner)
    return some.one_of(
        some.tuples(inner, some.sampled_from("+-*"), inner).map(lambda t: f"({' '.join(t)})"),
        pair.map(lambda t: f"min({t[0]}, {t[1]})"),
        pair.map(lambda t: f"max({t[0]}, {t[1]}, 1)"),
        inner.map(lambda t: f"abs({t})"),
        inner.map(lambda t: f"-{t}"),
        some.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} > 0 else {t[2]})"),
    )


leaves = some.sampled_from(POINTS) | numbers.map(str)
arithmetic = some.recursive(leaves, numeric, max_leaves=8)
comparisons = some.tuples(
    arithmetic, some.sampled_from(["<", "<=", ">", ">=", "==", "!="]), arithmetic
).map(" ".join)


def boolean(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    return some.one_of(
        some.tuples(inner, some.sampled_from([" and ", " or "]), inner).map(
            lambda t: f"({t[0]}{t[1]}{t[2]})"
        ),
        inner.map(lambda t: f"(not {t})"),
    )


conditions = some.recursive(comparisons | some.sampled_from(["true", "false"]), boolean)


def evaluate(text: str, values: dict[str, tuple[float, int]]) -> tuple[float, int]:
    """Value and quality of an expression, by way of the instructions."""
    bench = Bench(site_of({"r": ("value", {"value": text})}))
    for name, (value, bits) in values.items():
        if name in bench.index:
            bench.image.value[bench.index[name]] = value
            bench.image.quality[bench.index[name]] = bits
    bench.step(0.0)
    return bench["r"], bench.bits("r")


def by_python(text: str, values: dict[str, float]) -> float:
    for name, value in values.items():
        text = text.replace(name, f"({value!r})")
    return float(eval(text, {"true": True, "false": False}))


@settings(max_examples=200, deadline=None)
@given(arithmetic | conditions, some.fixed_dictionaries(dict.fromkeys(POINTS, numbers)))
def test_good_operands_give_what_python_gives(text: str, values: dict[str, float]) -> None:
    """On good operands an expression is worth what Python says it is worth, and is good."""
    got, bits = evaluate(text, {name: (value, 0) for name, value in values.items()})
    assert got == by_python(text, values)
    assert bits == 0


@settings(max_examples=100, deadline=None)
@given(arithmetic, some.fixed_dictionaries(dict.fromkeys(POINTS, numbers)))
def test_a_result_is_bad_only_if_an_operand_is(text: str, values: dict[str, float]) -> None:
    """With one point lost, the result is bad, or the lost point did not matter to it."""
    lost = {name: (value, 0) for name, value in values.items()} | {"p.a": (nan, COMM)}
    got, bits = evaluate(text, lost)
    if bits & BAD:
        assert isnan(got)
        assert bits & COMM
    else:
        results = {by_python(text, values | {"p.a": x}) for x in (-7.0, 0.0, 5.0)}
        assert results == {got}


TRUE, FALSE, LOST = (1.0, 0), (0.0, 0), (nan, COMM)
NAMES = {TRUE: True, FALSE: False, LOST: None}


@pytest.mark.parametrize("a", NAMES)
@pytest.mark.parametrize("b", NAMES)
def test_and_or_are_three_valued(a: tuple[float, int], b: tuple[float, int]) -> None:
    """false and bad = false; true or bad = true; else a bad operand makes the result bad."""
    x, y = NAMES[a], NAMES[b]
    both = False if x is False or y is False else None if x is None or y is None else True
    either = True if x is True or y is True else None if x is None or y is None else False
    for word, wanted in (("and", both), ("or", either)):
        value, bits = evaluate(f"p.a {word} p.b", {"p.a": a, "p.b": b})
        if wanted is None:
            assert isnan(value)
            assert bits == COMM
        else:
            assert (value, bits) == (float(wanted), 0)


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/"])
def test_the_bits_of_bad_operands_are_joined(operator: str) -> None:
    """A comparison or sum of two bad values is bad for both reasons, and keeps the notes."""
    value, bits = evaluate(
        f"p.a {operator} p.b", {"p.a": (1.0, STALE | SIMULATED), "p.b": (1.0, COMM)}
    )
    assert isnan(value)
    assert bits == STALE | COMM | SIMULATED


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("p.a / p.b", {"p.a": (1.0, 0), "p.b": (0.0, 0)}),
        ("p.a / p.b", {"p.a": (0.0, 0), "p.b": (0.0, 0)}),
        ("p.a * p.b", {"p.a": (1e308, 0), "p.b": (1e308, 0)}),
        ("p.a + 1", {"p.a": (inf, 0)}), ("abs(p.a)", {"p.a": (nan, 0)}),
        ("p.a > 1", {"p.a": (nan, 0)}), ("not p.a", {"p.a": (nan, 0)}),
        ("p.a and true", {"p.a": (nan, 0)}), ("min(p.a, 1, 2)", {"p.a": (nan, 0)}),
        ("max(1, p.a, 2)", {"p.a": (nan, 0)}), ("1 if p.a else 2", {"p.a": (nan, 0)}),
        ("p.a", {"p.a": (nan, 0)}),
    ],
)  # fmt: skip
def test_no_finite_number_is_bad_with_range(
    text: str, values: dict[str, tuple[float, int]]
) -> None:
    """Division by zero, overflow and a NaN that somebody called good end as NaN with RANGE."""
    value, bits = evaluate(text, values)
    assert isnan(value)
    assert bits == RANGE


def test_notes_go_with_the_value_and_the_branch_not_taken_does_not_matter() -> None:
    """A simulated operand makes a simulated result; the other branch may be lost."""
    values = {"p.a": (1.0, SIMULATED), "p.b": (5.0, UNCERTAIN), "p.c": (nan, NEVER)}
    assert evaluate("p.b if p.a else p.c", values) == (5.0, SIMULATED | UNCERTAIN)
    assert evaluate("p.a or p.c", values) == (1.0, SIMULATED)
    value, bits = evaluate("p.c if p.a else p.b", values)
    assert not isfinite(value)
    assert bits == NEVER | SIMULATED
