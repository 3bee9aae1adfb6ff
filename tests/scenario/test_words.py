"""A scenario that does not hold fails, and says what was expected and what was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scenario import WORDS, play, read_case

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
    return folder


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
    with pytest.raises(AssertionError) as failed:
        play(case(tmp_path, expect), tmp_path / "state")
    told = str(failed.value).replace("'", "").replace("np.float64(0.41162)", "0.41162")
    assert expect in told
    assert seen in told
    assert "at 1 s (steps[0])" in told


def test_a_word_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Neither a wrong action nor a wrong function nor a wrong key passes silently."""
    for expect, do, told in (
        ("lowets(header.pressure, 0, 1) > 0", "fault: zones supply_drop", "lowets"),
        ("header.pressure > 0", "fualt: zones supply_drop", "fualt"),
        ("header.presure > 0", "fault: zones supply_drop", "header.presure"),
    ):
        with pytest.raises(AssertionError, match=told):
            play(case(tmp_path, expect, do), tmp_path / "state")
    (tmp_path / "case.yaml").write_text("text: words\nstep: []\n")
    with pytest.raises(AssertionError, match="step"):
        read_case(tmp_path)


def test_every_word_is_in_the_readme() -> None:
    """Whoever writes a case finds all there is on one page."""
    readme = (Path(__file__).parents[1] / "cases" / "scenario" / "README.md").read_text()
    assert [word for word in WORDS if word != "value" and f"`{word}" not in readme] == []


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
    play(tmp_path, tmp_path / "state")
