"""From site to programs: order, sharing, writers, ranges, retained state, periods."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, nan
from typing import Any

import numpy as np
import pytest

from edge.blocks import KINDS
from edge.image import quality
from edge.rules.compile import compile_site
from edge.rules.program import FIRST_OPERAND, FIRST_STATE, OP, CompileError, Program, check_ranges
from edge.site.site import Site
from tests.support.rules import Bench, alarm, interlock, site_of


def order(program: Program) -> list[str]:
    return list(dict.fromkeys(program.owners))


def test_rules_run_after_what_they_read_whatever_their_order() -> None:
    """A chain written backwards settles in one step."""
    rules = {
        "d": ("value", {"value": "c + 1"}),
        "c": ("value", {"value": "b + 1"}),
        "b": ("value", {"value": "x.a + 1"}),
    }
    it = Bench(site_of(rules))
    it["x.a"] = 1.0
    it.step(0.0)
    assert it["d"] == 4.0
    assert order(it.programs.control) == ["rules.b", "rules.c", "rules.d"]


def test_a_loop_is_refused_with_its_path() -> None:
    """The message names the way round."""
    rules = {"a": ("value", {"value": "b + 1"}), "b": ("value", {"value": "a + x.y"})}
    with pytest.raises(CompileError, match=r"rules\.a → rules\.b → rules\.a|rules\.b → rules\.a"):
        Bench(site_of(rules))


def test_what_an_interlock_looks_at_runs_with_it() -> None:
    """Computing rules behind an interlock move to `protect`; one that drives stays in `control`."""
    rules: dict[str, tuple[str, dict[str, Any]]] = {
        "worst": ("value", {"value": "min(filtered, run)"}),
        "filtered": ("conditioning", {"input": "t.raw", "low": 0.0, "high": 9.0}),
        "run": ("delay", {"input": "x.a", "output": "p.run"}),
        "other": ("value", {"value": "dry.tripped or x.a"}),
    }
    it = Bench(site_of(rules, [interlock("dry", "worst < 0.3", ["p.run"])]))
    assert order(it.programs.protect) == [
        "rules.filtered", "rules.worst", "interlocks.dry", "trips.p.run",
    ]  # fmt: skip
    assert order(it.programs.control) == ["rules.run", "rules.other"]


def test_equal_expressions_are_computed_once() -> None:
    """Two rules with the same condition share its instructions; literals share their cell."""
    one = Bench(site_of({"a": ("value", {"value": "x.a > 3 and x.b"})}))
    two = Bench(
        site_of({
            "a": ("value", {"value": "x.a > 3 and x.b"}),
            "b": ("value", {"value": "not (x.a > 3 and x.b)"}),
        })
    )  # fmt: skip
    assert len(two.programs.control.code) == len(one.programs.control.code) + 2


def test_one_writer_per_request_and_point() -> None:
    """Two rules that drive one output at one slot are refused; at different slots they are not."""
    drive = ("delay", {"input": "x.a", "output": "p.run"})
    with pytest.raises(CompileError, match=r"already writes p\.run"):
        Bench(site_of({"a": drive, "b": drive}))
    schedule = {"output": "p.run", "entries": [{"at": "07:00", "value": 1.0}]}
    Bench(site_of({"a": drive, "b": ("schedule", schedule)}))


def broken(site: Site, **changes: Any) -> Site:
    return replace(site, **changes)


def test_a_missing_or_read_only_point_is_refused() -> None:
    """The compiler guesses nothing, even if the checks of the site were skipped."""
    site = site_of({"a": ("delay", {"input": "x.a", "output": "p.run"})})
    less = tuple(p for p in site.points if p.id != "x.a")
    with pytest.raises(CompileError, match=r"no point x\.a"):
        compile_site(replace(site, points=less), KINDS)
    fixed = tuple(replace(p, output=None) for p in site.points)
    with pytest.raises(CompileError, match=r"p\.run is not commandable"):
        compile_site(replace(site, points=fixed), KINDS)


@pytest.mark.parametrize(
    ("column", "value"), [(OP, 99), (OP, -1), (FIRST_OPERAND, 10_000), (FIRST_STATE, 10_000)]
)
def test_an_index_out_of_range_is_refused(column: int, value: int) -> None:
    """The kernel does not look, so this does."""
    programs = Bench(site_of({"a": ("delay", {"input": "x.a", "output": "p.run"})})).programs
    check_ranges(programs.control, 1000)
    with pytest.raises(CompileError, match="out of range"):
        check_ranges(programs.control, int(programs.control.ops.max()))
    programs.control.code[0, column] = value
    with pytest.raises(CompileError, match="out of range"):
        check_ranges(programs.control, 1000)


def test_a_fresh_image_holds_its_literals_and_nothing_else() -> None:
    """Literals are good; results are not there before they are computed; alarms are inactive."""
    site = site_of({"a": ("value", {"value": "x.a > 3"})}, (), [alarm("hot", when="x.a > 9")])
    programs = compile_site(site, KINDS)
    image = programs.image()
    assert {value for _, value in programs.initial} == {3.0, 9.0, 0.0}
    good = image.quality[image.first_cell :] == quality.GOOD
    assert int(good.sum()) == len(programs.initial)
    assert not image.value[list(programs.active)].any()
    assert isnan(image.value[programs.absent])
    assert image.quality[programs.absent] == quality.NEVER


def test_published_points_and_requests_are_listed() -> None:
    """The scan stamps what the programs publish and can withdraw what they ask."""
    it = Bench(site_of({"a": ("delay", {"input": "x.a", "output": "p.run"})}))
    assert [it.site.points[i].id for i in it.programs.published] == ["a"]
    it["x.a"] = 1.0
    it.step(0.0)
    assert list(it.image.value[it.programs.control.requests]) == [1.0]


def test_an_alarm_goes_on_as_the_journal_told_it() -> None:
    """An older state of its condition neither clears an alarm that stands nor raises it again."""
    options = {"point": "x.a", "above": 9.0, "on_delay": 5.0, "off_delay": 5.0}
    site = site_of({}, (), [alarm("hot", **options)])
    for active in (True, False):
        bench = Bench(site)
        bench["x.a"] = 0.0 if active else 10.0
        bench.step(0.0)  # a timer runs
        bench.programs.set_active("hot", active)
        bench["x.a"] = nan
        bench.step(20.0)
        assert bench.active() is active
        bench["x.a"] = 0.0 if active else 10.0
        for now in (30.0, 34.9):
            bench.step(now)
            assert bench.active() is active
        bench.step(35.0)
        assert bench.active() is not active


def test_state_is_restored_by_rule_and_options() -> None:
    """After a reload a rule goes on wherever it stands; with other options it starts anew."""

    def rules(delay: str) -> dict[str, tuple[str, dict[str, Any]]]:
        return {"a": ("delay", {"input": "x.a", "on_delay": "5s"}),
                "b": ("delay", {"input": "x.a", "on_delay": delay})}  # fmt: skip

    before = Bench(site_of(rules("5s")))
    before["x.a"] = 1.0
    for now in range(4):
        before.step(float(now))
    saved = before.programs.retained()
    turned = dict(reversed(rules("4s").items()))
    after = Bench(site_of(turned))
    after.programs.restore(saved)
    after["x.a"] = 1.0
    after.step(5.0)
    assert (after["a"], after["b"]) == (1.0, 0.0)
    after.programs.restore({"rules.a": ("no such digest", (1.0,)), "rules.gone": ("", ())})


def test_each_kind_has_its_period_and_an_instance_may_have_its_own() -> None:
    """A 0.5 s block among 0.1 s scans runs at every fifth, with dt as measured."""
    it = Bench(site_of({
        "r": ("ramp", {"input": "x.a", "up": 1.0, "down": 1.0}),
        "c": ("conditioning", {"input": "x.a", "low": 0.0, "high": 99.0, "every": "2s"}),
    }))  # fmt: skip
    it["x.a"] = 0.0
    it.step(0.0)
    it["x.a"] = 10.0
    seen, now = [], 0.0
    for _ in range(20):
        now += 0.1
        it.step(now)
        seen.append((round(it["r"], 6), it["c"]))
    assert [k + 1 for k in range(1, 20) if seen[k][0] != seen[k - 1][0]] == [5, 10, 15, 20]
    assert seen[-1] == (2.0, 10.0)
    assert {c for _, c in seen[:19]} == {0.0}


def test_an_agenda_is_a_cell_that_the_scan_fills() -> None:
    """Each time-driven rule has its own cell, and a pure function of the wall clock for it."""
    at = {"output": "p.run", "entries": [{"at": "07:00", "value": 1.0}]}
    it = Bench(site_of({"s": ("schedule", at)}))
    (cell,) = it.programs.agendas
    assert cell.owner == "rules.s"
    agenda = cell.at(1_800_000_000.0)
    assert agenda.value == 1.0
    assert agenda.until > 1_800_000_000.0
    assert it.image.quality[cell.index] == quality.NEVER


def test_restart_lets_a_rule_adopt_again() -> None:
    """After `restart` the next step starts from what the output does, whenever it comes."""
    it = Bench(site_of({"r": ("ramp", {"input": "x.a", "up": 1.0, "down": 1.0, "output": "p.o"})}))
    it["x.a"], it["p.o"] = 50.0, 0.0
    for k in range(5):
        it.step(0.5 * k)
    assert it["r"] == 2.0
    it.taken = {}
    it.image.target[0] = 30.0
    it.programs.control.restart({"rules.r"})
    it.kernel.run(it.programs.control, it.image, 2.0)
    assert it["r"] == 30.0


def test_compiling_twice_gives_the_same_program() -> None:
    """Nothing depends on the order of a set or on an address."""
    rules = {f"r{i}": ("value", {"value": f"x.a{i} > {i} and r{i + 1}"}) for i in range(30)}
    rules["r30"] = ("value", {"value": "x.b"})
    first, second = (compile_site(site_of(rules), KINDS) for _ in range(2))
    assert np.array_equal(first.control.code, second.control.code)
    assert np.array_equal(first.control.ops, second.control.ops)
    assert first.control.owners == second.control.owners


def test_an_empty_site_runs() -> None:
    """No rules, no alarms: three empty programs that the kernel walks."""
    it = Bench(site_of({}))
    it.step(0.0)
    assert it.programs.published == ()
    assert it.programs.slices == {}
