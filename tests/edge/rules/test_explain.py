"""Why a point has its value: ladder, rule, inputs, interlocks, recursion, both languages."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, isnan, nan
from typing import Any

import pytest

from edge.driver import DriverKind, Poll
from edge.image.slots import Slot
from edge.rules.explain import Explanation, explain, render
from edge.schema.model import Model
from edge.site.site import Annunciator, Bus
from edge.text import Text
from tests.support.rules import Bench, interlock, site_of

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "demand": ("value", {"value": "b.flow > 20 and filtered > 0.3"}),
    "filtered": ("conditioning", {"input": "b.pressure", "low": 0.0, "high": 1.0, "unit": "MPa"}),
    "second": ("delay", {"input": "demand", "on_delay": "5s", "output": "b.p2"}),
}


def bench() -> Bench:
    site = site_of(RULES, [interlock("dry", "tank.level < 0.3", ["b.p2"], reset="auto")])
    kind = DriverKind("sim", Model, Model, Model, lambda *_: (), None)  # type: ignore[arg-type]
    poll = Poll("b", ("b.pressure", "b.flow"), 0.5, None, "holding 0-1")
    site = replace(site, buses=(Bus("main", kind, Model(), (), (poll,)),))
    it = Bench(site)
    for name, value in (("b.flow", 25.0), ("b.pressure", 0.4), ("tank.level", 1.0)):
        it[name] = value
        it.image.stamp[it.index[name]] = 9.5
    it["b.p2"] = 0.0
    for k in range(70):
        it.step(0.1 * k)
    return it


def why(it: Bench, point: str, now: float = 10.0, **who: Any) -> Explanation:
    return explain(it.site, it.programs, it.image, point, now, **who)


def test_an_output_is_explained_down_to_its_devices() -> None:
    """Slot 14 won, by rule `second`, on `demand`, made of a flow and a filtered pressure."""
    found = why(bench(), "b.p2")
    assert (found.winner, found.decided) == (Slot.CONTROL, 1.0)
    (level,) = found.levels
    assert (level.slot, level.value, level.who, level.wins) == (14, 1.0, "rules.second", True)
    (cause,) = found.causes
    assert (cause.owner, cause.kind) == ("rules.second", "delay")
    demand = cause.inputs[0].points[0]
    assert (demand.point, demand.value) == ("demand", 1.0)
    flow, filtered = demand.causes[0].inputs[0].points
    assert (flow.point, flow.value, flow.age) == ("b.flow", 25.0, 0.5)
    assert flow.source.en == "device b, holding 0-1 (bus main, every 0.5 s)"
    assert filtered.causes[0].inputs[0].points[0].point == "b.pressure"
    assert {read.option for read in filtered.causes[0].inputs} == {"input"}


def test_a_tripped_interlock_is_the_cause() -> None:
    """Slot 5 won; the interlock with its condition is behind it, the rule still asks below."""
    it = bench()
    it["tank.level"] = 0.1
    it.step(7.0)
    found = why(it, "b.p2")
    assert [(x.slot, x.who, x.wins) for x in found.levels] == [
        (5, "interlocks.dry", True),
        (14, "rules.second", False),
    ]
    (cause,) = found.causes
    assert cause.owner == "interlocks.dry"
    assert cause.inputs[0].text == "tank.level < 0.3"
    assert cause.inputs[0].points[0].value == 0.1
    assert why(it, "dry.tripped").causes[0].owner == "interlocks.dry"


def test_a_person_and_the_time_left() -> None:
    """A command's slot shows who and how long; the rule is not the cause while a person holds."""
    it = bench()
    c = it.ordinal["b.p2"]
    it.image.request[Slot.REMOTE - 1, c] = 0.0
    it.image.expires[Slot.REMOTE - 1, c] = 1810.0
    it.step(7.0)
    found = why(it, "b.p2", commands={("b.p2", Slot.REMOTE): "c-17 (zhangsan)"})
    assert (found.levels[0].who, found.levels[0].expires) == ("c-17 (zhangsan)", 1800.0)
    assert found.winner == Slot.REMOTE
    assert found.causes == ()


def test_bad_inputs_are_named() -> None:
    """Quality names in both languages, at the input that is bad and at what follows from it."""
    it = bench()
    it["b.flow"] = nan
    it.step(7.0)
    found = why(it, "demand")
    assert isnan(found.value)
    assert (found.bits, found.bits_zh) == (("comm",), ("通信中断",))
    assert found.causes[0].inputs[0].points[0].bits == ("comm",)


def test_a_rule_that_reads_its_own_output_ends() -> None:
    """A point is not explained within itself, however the rules are tied."""
    options = {"input": "b.level + b.pump", "on_at": 0.9, "off_at": 0.4, "output": "b.pump"}
    it = Bench(site_of({"h": ("hysteresis", options)}))
    it["b.level"] = it["b.pump"] = 1.0
    it.step(0.0)
    inner = why(it, "b.pump").causes[0].inputs[0].points
    assert [(p.point, p.causes) for p in inner] == [("b.level", ()), ("b.pump", ())]


def test_constants_of_a_rule_are_shown() -> None:
    """A threshold that is a quantity is an input without points."""
    options = {"input": "b.level", "on_at": "0.9 m", "off_at": 0.4, "output": "b.pump"}
    it = Bench(site_of({"h": ("hysteresis", options)}))
    it["b.level"] = 1.0
    it.step(0.0)
    reads = why(it, "b.pump").causes[0].inputs
    assert [(r.option, r.text, len(r.points)) for r in reads] == [
        ("input", "b.level", 1), ("on_at", "0.9 m", 0), ("off_at", "0.4", 0),
    ]  # fmt: skip


def test_it_is_json_and_lines_in_both_languages() -> None:
    """No NaN in the data; every point, quality and owner of the way down is in the lines."""
    it = bench()
    it["b.flow"] = nan
    it["tank.level"] = 0.1
    it.step(7.0)
    data = json.loads(json.dumps(why(it, "b.p2").as_json(), allow_nan=False))
    english, chinese = "\n".join(render(data, "en")), "\n".join(render(data, "zh"))
    assert "→  5 protect: 0.00 · interlocks.dry" in english
    assert "→  5 保护: 0.00 · interlocks.dry" in chinese
    assert "tank.level = 0.10 · good · 0.5 s ago" in english
    assert "tank.level = 0.10 · 正常 · 0.5 秒前" in chinese
    data = why(it, "demand").as_json()
    assert "  value: b.flow > 20 and filtered > 0.3" in "\n".join(render(data, "en"))
    assert "b.flow = 无值 · 通信中断" in "\n".join(render(data, "zh"))


def test_an_output_nobody_asks_for_says_so() -> None:
    """An empty ladder is said in words, and the winner is nobody."""
    it = Bench(site_of({"d": ("delay", {"input": "x.a", "output": "x.run"})}))
    it.step(0.0)
    found = why(it, "x.run")
    assert (found.winner, found.levels, found.causes) == (0, (), ())
    assert "nobody asks for anything" in "\n".join(render(found.as_json(), "en"))
    assert found.source == Text("设备 x, 只写不读", "device x, written and never read")


def test_an_unknown_point_is_a_key_error() -> None:
    """The caller knows the points and their nearest names."""
    with pytest.raises(KeyError):
        why(bench(), "b.nothing")


def test_notes_and_panels_are_told() -> None:
    """What keeps an output from being driven stands on top; a panel is named as who asks."""
    it = Bench(site_of({"d": ("delay", {"input": "x.a", "output": "x.run"})}))
    panel = Annunciator("wall", "x.run", None, None, None, None, None, None)
    it.site = replace(it.site, rules=(), annunciators=(panel,))
    it.image.request[Slot.CONTROL - 1, 0] = 1.0
    found = explain(it.site, it.programs, it.image, "x.run", 0.0)
    assert [level.who for level in found.levels] == ["annunciators.wall"]
    data = found.as_json() | {"notes": [{"zh": "只观察", "en": "observing"}]}
    assert render(data, "zh")[1] == "  只观察"


def test_a_loop_that_was_detuned_says_so() -> None:
    """What a pid drives shows by what its kp is multiplied, beside what it reads."""
    options = {"input": "b.p", "setpoint": 0.4, "output": "b.speed", "kp": 400.0, "ti": "6s"}
    bench = Bench(site_of({"loop": ("pid", options)}))
    bench["b.p"], bench["b.speed"] = 0.4, 80.0
    bench.step(0.0)
    found = explain(bench.site, bench.programs, bench.image, "b.speed", 1.0)
    (cause,) = found.causes
    (told,) = [read for read in cause.inputs if read.option == "gain_factor"]
    assert told.points[0].value == 1.0
    assert told.points[0].causes == ()
    alone = explain(bench.site, bench.programs, bench.image, "loop.gain_factor", 1.0)
    assert [read.option for read in alone.causes[0].inputs] == ["input", "setpoint"]
    assert "gain_factor: loop.gain_factor = 1.00" in "\n".join(render(found.as_json(), "en"))


def test_a_valve_that_nobody_sees() -> None:
    """What automatic requests are held to, and why; nothing of it when the position is good."""
    options = {"command": "v3.position", "position": "v3.feedback"}
    regulator = {"output": "v3.position", "input": "b.pressure", "setpoint": 0.4,
                 "kp": 1.0, "ti": "1s"}  # fmt: skip
    it = Bench(site_of({"regulator": ("pid", regulator), "v3_watch": ("valve", options)}))
    for name, value in (("v3.feedback", 50.0), ("b.pressure", 0.4), ("v3.position", 50.0)):
        it[name] = value
    it.step(0.0)
    assert why(it, "v3.position").bound is None
    c = it.ordinal["v3.position"]
    it.image.span[:, c], it.image.target[c] = (40.0, 60.0), 60.0
    it["v3.feedback"] = nan
    found = why(it, "v3.position").as_json()
    assert found["bound"] == {"low": 40.0, "high": 60.0, "because": "v3.feedback"}
    english, chinese = "\n".join(render(found, "en")), "\n".join(render(found, "zh"))
    assert "  held to 40.00..60.00 because v3.feedback is bad" in english
    assert "rate-limited" not in english
    assert "rules.regulator · now 60.00" in english
    assert "v3.feedback 无效, 自动控制限于 40.00..60.00" in chinese
    it.image.owner[c] = Slot.REMOTE
    assert "automatic control is held to 40.00..60.00" in "\n".join(
        render(why(it, "v3.position").as_json(), "en")
    )
    it.image.span[:, c] = inf, -inf
    assert "nobody knows where it stands (v3.feedback is bad): only people move it" in "\n".join(
        render(why(it, "v3.position").as_json(), "en")
    )
