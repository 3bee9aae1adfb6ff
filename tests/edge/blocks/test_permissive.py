"""Permissives, first-out and bypass: what starts, what came first, what is out of force."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import pytest

from edge.image.quality import UNCERTAIN
from edge.image.slots import Slot
from edge.rules.explain import explain, render
from tests.support.rules import Bench, interlock, site_of

PROTECT = int(Slot.PROTECT)
START = {"input": 1, "input_low": 0, "input_high": 1, "low": 0, "high": 1, "unit": ""}


def fan(*protections: Any) -> Bench:
    """A rule asks for the fan to run; the protections guard it."""
    it = Bench(site_of({"start": ("scale", {**START, "output": "fan.run"})}, protections))
    for name in ("a.x", "b.x", "damper.open"):
        if name in it.index:
            it[name] = 0.0
    return it


def damper(**options: Any) -> Any:
    given = {"permissive": True, "reset": "auto"} | options
    return interlock("damper", "damper.open", ["fan.run"], **given)


def test_it_is_needed_to_start_and_ignored_once_running() -> None:
    """Slot 5 holds 0 until it is permitted; afterwards a permission that is lost does nothing."""
    it = fan(damper())
    it.step(0.0)
    assert it.request("fan.run", PROTECT) == 0.0
    it["damper.open"] = 1.0
    it.step(1.0)
    assert it.asked("fan.run") == 1.0
    for bad in (0.0, nan):
        it["damper.open"] = bad
        it.step(2.0)
        it.step(3.0)
        assert isnan(it.request("fan.run", PROTECT))
        assert it["fan.run"] == 1.0
    it.taken["fan.run"] = (PROTECT, 0.0)
    it.step(4.0)
    it.taken.clear()
    it.step(5.0)
    assert it.request("fan.run", PROTECT) == 0.0


def test_a_running_fan_is_adopted_without_a_permission() -> None:
    """After a restart of the controller the device says that it runs: it goes on."""
    it = fan(damper())
    it["fan.run"] = 1.0
    it.step(0.0)
    assert isnan(it.request("fan.run", PROTECT))


def test_it_waits_until_its_input_was_read() -> None:
    """Neither permits nor refuses: a running output that is not known yet is not touched."""
    it = Bench(site_of({}, [damper()]))
    it.step(0.0)
    assert isnan(it.request("fan.run", PROTECT))


@pytest.mark.parametrize(("on_bad", "after"), [("trip", 0.0), ("hold", 1.0), ("ok", 1.0)])
def test_a_bad_input_refuses_unless_the_site_says_otherwise(on_bad: str, after: float) -> None:
    """Not permitted is the default; `hold` keeps what was last known."""
    it = fan(damper(on_bad=on_bad))
    it["damper.open"] = 1.0
    it.step(0.0)
    it["damper.open"] = nan
    it.step(1.0)
    assert it["damper.permitted"] == after
    assert it.bits("damper.permitted") == UNCERTAIN


def test_the_first_of_a_cascade_is_marked() -> None:
    """Earlier standing trips, and those over for less than 5 s, come before; then anew."""
    it = fan(
        interlock("a", "a.x", ["fan.run"], reset="auto"),
        interlock("b", "b.x", ["fan.run"], reset="auto"),
    )
    it.step(0.0)
    trace = [  # t, a.x, b.x, then who is marked how
        (1.0, 1, 0, 1, 0), (60.0, 1, 1, 1, 0), (61.0, 0, 1, 0, 0), (62.0, 0, 0, 0, 0),
        (70.0, 0, 1, 0, 1), (71.0, 0, 0, 0, 0), (74.0, 1, 0, 0, 0), (75.0, 0, 0, 0, 0),
        (90.0, 1, 1, 2, 2), (91.0, 1, 1, 2, 2),
    ]  # fmt: skip
    for now, a, b, first_a, first_b in trace:
        it["a.x"], it["b.x"] = float(a), float(b)
        it.step(now)
        assert (it["a.first_out"], it["b.first_out"]) == (first_a, first_b), now


def test_explain_names_the_first_one_first() -> None:
    """In the data and in the lines of both languages."""
    it = fan(interlock("a", "a.x", ["fan.run"]), interlock("b", "b.x", ["fan.run"]), damper())
    it["damper.open"] = 1.0
    it.step(0.0)
    it["b.x"] = 1.0
    it.step(1.0)
    it["a.x"] = 1.0
    it["damper.open"] = 0.0
    it.step(2.0)
    found = explain(it.site, it.programs, it.image, "fan.run", 2.0)
    assert found.levels[0].who == "interlocks.b, interlocks.a, permissives.damper"
    assert [c.note.en for c in found.causes] == ["first-out", "", ""]
    assert [c.kind for c in found.causes] == ["interlock", "interlock", "permissive"]
    for language, word in (("en", "first-out"), ("zh", "首出")):
        lines = render(found.as_json(), language)  # type: ignore[arg-type]
        assert any("interlocks.b" in line and word in line for line in lines)


def test_a_single_interlock_has_no_rival() -> None:
    """Where nothing else stops an output there is nothing to mark."""
    it = fan(interlock("a", "a.x", ["fan.run"]), damper())
    assert "a.first_out" not in it.index


def test_a_bypass_ends_where_it_began() -> None:
    """Out of force it neither trips nor stays latched; when the bypass ends it trips at once."""
    it = fan(interlock("a", "a.x", ["fan.run"], delay=2.0, bypassable=True))
    it["a.bypass"] = 0.0
    it.step(0.0)
    it["a.x"] = 1.0
    it.step(1.0)
    it.step(3.0)
    assert it["a.tripped"] == 1.0
    it["a.bypass"] = 1.0
    it.step(4.0)
    assert (it["a.tripped"], it.asked("fan.run")) == (0.0, 1.0)
    it["a.bypass"] = 0.0
    it.step(5.0)
    assert (it["a.tripped"], it.asked("fan.run")) == (1.0, 0.0)


def test_what_is_not_bypassable_has_no_bypass() -> None:
    """No point, so nothing that anybody could command."""
    it = fan(interlock("a", "a.x", ["fan.run"]))
    assert "a.bypass" not in it.index


def test_a_bypassed_permissive_permits() -> None:
    """It starts without the condition, as long as the bypass stands."""
    it = fan(damper(bypassable=True))
    it["damper.bypass"] = 1.0
    it.step(0.0)
    assert it.asked("fan.run") == 1.0
