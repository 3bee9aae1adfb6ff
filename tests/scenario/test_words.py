"""A scenario that does not hold fails, and says what was expected and what was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers import DRIVERS
from edge.proof.acting import ACTS
from edge.proof.play import play
from edge.proof.report import failure_lines
from edge.proof.seeing import WORDS
from edge.site.load import ConfigProblems
from tests.scenario.reading import read

SITE = """
site: {id: words, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {field: {driver: sim}}
devices:
  header: {bus: field, model: zones, points: {pressure: {variable: header_pressure, unit: MPa}}}
"""
CASE = "text: words\ngiven: {settle: 5s}\nsteps: [{at: 1s, when: [DO], then: ['EXPECT']}]\n"


def case(folder: Path, expect: str, do: str = "repair: zones supply_drop") -> Path:
    (folder / "site.yaml").write_text(SITE)
    (folder / "case.yaml").write_text(CASE.replace("EXPECT", expect).replace("DO", f"{{{do}}}"))
    return folder / "case.yaml"


def told(case: Path, state: Path) -> str:
    """What a play says of the sentences that were false."""
    failures = play(read(case), state, DRIVERS).failures
    return "\n".join(line for failure in failures for line in failure_lines(failure, "en"))


@pytest.mark.parametrize(
    ("expect", "seen"),
    [
        ("header.pressure == 0.5 ± 0.01", "header.pressure = 0.41162"),
        ("lowest(header.pressure, 0, 1) > 1", "lowest(header.pressure, 0, 1) = 0.41162"),
        ("raised(HEADER_OFFLINE)[0] < 5", "raised(HEADER_OFFLINE) = []"),
        ("quality(header.pressure) == STALE", "quality(header.pressure) = GOOD"),
        ("exit_code() == 0", "exit_code() = None"),
    ],
)
def test_a_false_expectation_says_what_was_seen(tmp_path: Path, expect: str, seen: str) -> None:
    """The sentence as written, then the present value of everything in it."""
    found = told(case(tmp_path, expect), tmp_path / "state")
    assert f"case.yaml:3:62 at 1 s: expected {expect}" in found
    assert seen in found


WRONG = [
    ("lowets(header.pressure, 0, 1) > 0", "fault: zones supply_drop", '"lowest"'),
    ("header.pressure > 0", "fualt: zones supply_drop", '"fault"'),
    ("header.presure > 0", "fault: zones supply_drop", '"header.pressure"'),
    ("raised(HEADER_OFLINE) == []", "fault: zones supply_drop", '"HEADER_OFFLINE"'),
    ("header.pressure > 0", "silent: haeder", '"header"'),
    ("header.pressure > 0", "fault: zones suply_drop", '"supply_drop"'),
    ("header.pressure > 0", "busy: {device: header, times: 2, tiems: 1}", '"times"'),
    ("header.pressure > 0", "restart: {after: 5}", "a duration needs its unit"),
    ("header.pressure > limit", "fault: zones supply_drop", 'no point "limit"'),
    ("lowest(header.pressure) > 0", "fault: zones supply_drop", "lowest(point, since, until)"),
    ('events("wirte-failed") == 0', "fault: zones supply_drop", '"write-failed"'),
    ("header.pressure > ", "fault: zones supply_drop", "is no expression"),
    ("header.__class__ == 1", "fault: zones supply_drop", "header.__class__"),
    ("(1).real == 1", "fault: zones supply_drop", 'no point "1 .real"'),
    ("[x for x in [1]] == [1]", "fault: zones supply_drop", "ListComp is not possible"),
    ("(lambda: 1)() == 1", "fault: zones supply_drop", "no word"),
]


@pytest.mark.parametrize(("expect", "do", "told"), WRONG)
def test_a_word_that_does_not_exist_is_named(
    tmp_path: Path, expect: str, do: str, told: str
) -> None:
    """Neither a wrong action nor a wrong function nor a wrong name passes silently."""
    with pytest.raises(ConfigProblems) as wrong:
        play(read(case(tmp_path, expect, do)), tmp_path / "state", DRIVERS)
    problem = wrong.value.problems[-1]
    assert told in problem.text.en
    assert problem.mark.line == 3


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    """What is no part of a scenario is refused with what there is."""
    (tmp_path / "case.yaml").write_text("text: words\nstep: []\n")
    with pytest.raises(ConfigProblems, match='did you mean "steps"'):
        read(tmp_path / "case.yaml")


def test_every_word_is_documented() -> None:
    """Whoever writes a scenario finds all there is on one page."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    assert [word for word in WORDS if word != "value" and f"`{word}" not in page] == []
    assert [act for act in ACTS if f"{act}:" not in page] == []


LINE = """
site: {id: words, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {field: {driver: sim}}
devices:
  v3:
    bus: field
    model: zones
    points: {position: {variable: v3_command, unit: "%", default: 80}}
  header: {bus: field, model: zones, points: {pressure: {variable: header_pressure, unit: MPa}}}
"""
BROKEN = """
text: each way to break the line, and its end
given: {settle: 5s}
steps:
  - {at: 0s, when: [{corrupted: v3}], then: [v3.online == 1]}
  - {at: 30s, when: [{answers: v3}], then: [v3.online == 0, header.online == 1]}
  - {at: 60s, when: [{busy: {device: v3, times: 2}}], then: [v3.online == 1, requests(v3) > 30]}
  - {at: 70s, then: [v3.online == 1, quality(v3.position) == GOOD]}
"""


def test_a_line_is_broken_and_mended(tmp_path: Path) -> None:
    """A device whose answers are damaged is lost, a busy one is not, its neighbour never."""
    (tmp_path / "site.yaml").write_text(LINE)
    (tmp_path / "case.yaml").write_text(BROKEN)
    assert told(tmp_path / "case.yaml", tmp_path / "state") == ""
