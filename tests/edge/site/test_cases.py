"""Golden cases: a folder per problem code, its site and the exact lines in both languages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edge.site.load import ConfigProblems, load_site, read_site
from tests.support.bench_site import DRIVERS, KINDS

ROOT = Path(__file__).resolve().parents[3]
CASES = sorted((ROOT / "tests" / "cases" / "config").iterdir())
WARNINGS = {"bus-busy", "no-default", "no-vector", "rule-advice"}


def code(case: Path) -> str:
    """`duplicate-id--files` is a second case of `duplicate-id`."""
    return case.name.partition("--")[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_problems_are_told_exactly(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case yields these lines and no other, in Chinese and in English."""
    monkeypatch.chdir(case)
    problems = read_site(Path("site.yaml"), DRIVERS, KINDS).problems
    english = "".join(problem.line("en") + "\n" for problem in problems)
    chinese = "".join(problem.line("zh") + "\n" for problem in problems)
    assert Path("problems.txt").read_text() == f"{english}\n{chinese}"
    assert code(case) in {problem.code for problem in problems}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_only_errors_keep_a_site_from_running(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with an error is refused with all of its problems; one with warnings runs."""
    monkeypatch.chdir(case)
    if code(case) in WARNINGS:
        assert load_site(Path("site.yaml"), DRIVERS, KINDS).id == "yard"
        return
    with pytest.raises(ConfigProblems) as refused:
        load_site(Path("site.yaml"), DRIVERS, KINDS)
    assert refused.value.problems == read_site(Path("site.yaml"), DRIVERS, KINDS).problems


def test_every_code_has_its_case() -> None:
    """No problem code is without a golden case, and no case without its code."""
    literals = {
        part.value
        for room in ("schema", "site")
        for file in (ROOT / "edge" / room).glob("*.py")
        for part in ast.walk(ast.parse(file.read_text()))
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    codes = {text for text in literals if re.fullmatch(r"[a-z]+(-[a-z]+)+", text)}
    assert {code(case) for case in CASES} == codes


def test_chinese_lines_are_chinese() -> None:
    """The Chinese half of every case is written in Chinese."""
    for case in CASES:
        chinese = (case / "problems.txt").read_text().partition("\n\n")[2]
        for line in chinese.splitlines():
            assert re.search("[\u4e00-\u9fff]", line), (case.name, line)
