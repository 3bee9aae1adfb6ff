"""`edge blocks`: the kinds, one kind's page, and docs/blocks.md as they say it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from edge.blocks import KINDS
from edge.blocks.kind import Kind
from edge.cli import group
from edge.cli.block_plot import run, svg
from edge.cli.blocks import documents

DOCS = Path(__file__).parents[3] / "docs"


def blocks(*arguments: str) -> str:
    done = CliRunner().invoke(group, ["blocks", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_documentation_is_what_the_kinds_say() -> None:
    """docs/blocks.md and its plots are those of `edge blocks --all docs`, and no others."""
    made = documents()
    for path, content in made.items():
        assert (DOCS / path).read_text(encoding="utf-8") == content, (
            f"edge blocks --all docs: {path}"
        )
    assert {f"blocks/{p.name}" for p in (DOCS / "blocks").iterdir()} | {"blocks.md"} == set(made)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_each_kind_is_listed_and_has_a_page(lang: str) -> None:
    """Every kind stands in the table; its page has its options, points and example."""
    table = blocks("--lang", lang)
    for kind in KINDS.values():
        assert kind.name in table
        assert kind.text.of(lang) in table
    page = blocks("sump", "--lang", lang)
    assert "`start_lead`" in page
    assert "| m | 0.9 |" in page
    assert "block: sump" in page


def test_a_slip_of_the_pen_is_understood() -> None:
    """A kind that is not there: one sentence, with the one that was meant."""
    done = CliRunner().invoke(group, ["blocks", "boster", "--lang", "en"])
    assert done.exit_code == 2
    assert 'did you mean "booster"?' in done.output


def test_json() -> None:
    """For scripts: every kind with the schema of its options."""
    listed = json.loads(blocks("--json"))
    assert [k["kind"] for k in listed] == list(KINDS)
    assert all(k["schema"]["properties"] for k in listed)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_plot_shows_what_the_example_expects(kind: Kind) -> None:
    """The example's own run gives its expected values at its own steps; the plot is sound XML."""
    example = kind.examples[0]
    _, results = run(kind, example)
    for t, _, expected in example.steps:
        for name, value in expected.items():
            got = dict(results[name])[t]
            assert got == pytest.approx(value, abs=max(example.tolerance, 1e-9), nan_ok=True), name
    ElementTree.fromstring(svg(kind))
