"""How results of scenarios look: lines for people, plain data for scripts, JUnit for others.

Not the playing (`suite.py`). Called by `edge test` and by tests.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.proof.play import Failure
from edge.proof.suite import Result
from edge.rules.explain import render
from edge.text import Language, Text

WHY = Text("为何 ", "why  ")
SEEN = Text("实见 ", "seen ")
EXPECTED = Text("{mark} {at:g} 秒: 应有 {sentence}", "{mark} at {at:g} s: expected {sentence}")


def failure_lines(failure: Failure, language: Language) -> list[str]:
    """The sentence as written, the present value of all in it, and why its points have theirs."""
    expected = EXPECTED.format(mark=failure.mark, at=failure.at, sentence=failure.sentence)
    lines = [expected.of(language)]
    if failure.note is not None:
        lines.append(f"  {failure.note.of(language)}")
    lines += [f"  {SEEN.of(language)}{text} = {value}" for text, value in failure.seen]
    for explanation in failure.why:
        first, *rest = render(shortened(explanation), language)
        lines.append(f"  {WHY.of(language)}{first}")
        lines += [f"  {' ' * 5}{line}" for line in rest]
    return lines


def shortened(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """An explanation one level deep: what its rule reads is shown, and not explained in turn."""
    causes = [
        {**cause, "inputs": [{**read, "points": [_flat(p) for p in read["points"]]}
                             for read in cause["inputs"]]}
        for cause in explanation["causes"]
    ]  # fmt: skip
    return {**explanation, "causes": causes}


def _flat(explanation: Mapping[str, Any]) -> dict[str, Any]:
    winning = [level for level in explanation["levels"] if level["wins"]]
    return {**explanation, "causes": [], "levels": winning}


def result_lines(result: Result, language: Language) -> list[str]:
    """Everything that a result that does not hold has to say."""
    lines = [problem.line(language) for problem in result.problems]
    explained: set[str] = set()  # all failures are of one moment: once is enough
    for failure in result.failures:
        why = tuple(one for one in failure.why if one["point"] not in explained)
        explained.update(one["point"] for one in why)
        lines += failure_lines(replace(failure, why=why), language)
    return lines


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Plain data; times in seconds."""
    return {
        "ok": all(result.held for result in results),
        "scenarios": [_result_json(result) for result in results],
    }


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "file": result.file, "name": result.name, "zh": result.text.zh, "en": result.text.en,
        "held": result.held, "virtual_s": round(result.lasted, 3), "took_s": round(result.took, 3),
        "failures": [_failure_json(failure) for failure in result.failures],
        "problems": [problem.as_json() for problem in result.problems],
    }  # fmt: skip


def _failure_json(failure: Failure) -> dict[str, Any]:
    note = failure.note
    return {
        "file": failure.mark.file, "line": failure.mark.line, "column": failure.mark.column,
        "at_s": failure.at, "expected": failure.sentence, "seen": dict(failure.seen),
        "why": list(failure.why),
        "note": None if note is None else {"zh": note.zh, "en": note.en},
    }  # fmt: skip


def write_junit(results: Sequence[Result], path: Path, language: Language) -> None:
    """JUnit's XML, a suite for each file. Raises OSError."""
    root = ET.Element("testsuites", name="edge test")
    for file in dict.fromkeys(result.file for result in results):
        of_file = [result for result in results if result.file == file]
        suite = ET.SubElement(
            root, "testsuite", name=file, tests=str(len(of_file)),
            failures=str(sum(bool(result.failures) for result in of_file)),
            errors=str(sum(bool(result.problems) for result in of_file)),
            time=f"{sum(result.took for result in of_file):.3f}",
        )  # fmt: skip
        for result in of_file:
            _junit_case(suite, result, language)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _junit_case(suite: ET.Element, result: Result, language: Language) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=result.file, name=result.name, time=f"{result.took:.3f}"
    )
    if result.held:
        return
    lines = result_lines(result, language)
    kind = "error" if result.problems else "failure"
    found = ET.SubElement(case, kind, message=lines[0])
    found.text = "\n".join([result.text.of(language), *lines])
