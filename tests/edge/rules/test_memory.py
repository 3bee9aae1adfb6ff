"""What a rule has counted or learnt, and what it locked out, outlives a change of its options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edge.blocks import INTERNAL, KINDS
from edge.blocks.isolate import CLOSED, CLOSING
from edge.blocks.kind import Kind
from edge.blocks.zone_layout import BRANCH, BURST, NORMAL
from edge.rules.program import Programs
from tests.support.rules import Bench, interlock, site_of

BOOSTER: dict[str, Any] = {"pressure": "b.pressure", "setpoint": "0.40 MPa", "duty": 1}
THREE = ["b.p1", "b.p2", "b.p3"]


def model_of(kind: Kind) -> Any:
    return kind.model.model_validate(dict(kind.examples[0].options))


KEEPING = [kind for kind in KINDS.values() if kind.keeps(model_of(kind))]


def restarted(before: Bench, after: Bench) -> Bench:
    """What the one kept, over the file it is kept in, taken up by the other."""
    after.programs.restore(json.loads(json.dumps(before.programs.retained())))
    return after


def state(programs: Programs, owner: str) -> Any:
    at = programs.slices[owner]
    (program,) = (p for p in programs if p.name == at.program)
    return program.state[at.offset : at.offset + at.length]


def numbered(bench: Bench, owner: str) -> dict[str, float]:
    """Give every number of a rule's state a value of its own; the named ones."""
    numbers = state(bench.programs, owner)
    numbers[:] = np.arange(1.0, len(numbers) + 1)
    return {name: float(numbers[at]) for name, at in bench.programs.slices[owner].names.items()}


def named(bench: Bench, owner: str) -> dict[str, float]:
    numbers = state(bench.programs, owner)
    return {name: float(numbers[at]) for name, at in bench.programs.slices[owner].names.items()}


def boosters(**options: Any) -> Bench:
    given: Mapping[str, Any] = {**BOOSTER, "pumps": THREE, **options}
    return Bench(site_of({"supply": ("booster", given)}))


@pytest.mark.parametrize("kind", KEEPING, ids=lambda kind: kind.name)
def test_each_name_has_its_own_number(kind: Kind) -> None:
    """Names lie within the state, and no two on one number."""
    names, count = kind.keeps(model_of(kind)), kind.states(model_of(kind))
    assert len(set(names.values())) == len(names)
    assert all(0 <= at < count for at in names.values())


@pytest.mark.parametrize("kind", KEEPING, ids=lambda kind: kind.name)
def test_only_what_has_a_name_outlives_other_options(kind: Kind) -> None:
    """Timers and integrals begin anew, as after a start."""
    site = site_of({"it": (kind.name, kind.examples[0].options)})
    before, after = Bench(site), Bench(site)
    kept = numbered(before, "rules.it")
    saved = before.programs.retained()
    digest, numbers, names = saved["rules.it"]
    after.programs.restore({"rules.it": (f"not {digest}", numbers, names)})
    assert named(after, "rules.it") == kept
    others = np.delete(state(after.programs, "rules.it"), list(
        after.programs.slices["rules.it"].names.values()
    ))  # fmt: skip
    assert np.isnan(others).all()


def test_kinds_share_only_what_is_of_a_motor() -> None:
    """A rule that becomes one of another kind takes over the hours of its motors, nothing else."""
    owners: dict[str, list[str]] = {}
    for kind in [*KINDS.values(), *INTERNAL.values()]:
        if kind.examples:
            for name in kind.keeps(model_of(kind)):
                owners.setdefault(name, []).append(kind.name)
    shared = {name for name, kinds in owners.items() if len(set(kinds)) > 1}
    assert all(name.split(" of ")[0] in ("hours", "failure", "lockout") for name in shared)


def test_hours_lockouts_and_the_learnt_head_of_a_booster() -> None:
    """Another stage_up: nothing of it is lost; the phase and the integral begin anew."""
    before = boosters()
    kept = numbered(before, "rules.supply")
    after = restarted(before, boosters(stage_up="12s"))
    assert named(after, "rules.supply") == kept
    assert {"hours of b.p2.run", "lockout of b.p3.run", "learnt head", "wake 3"} <= kept.keys()
    assert np.isnan(state(after.programs, "rules.supply")[:5]).all()


def test_a_pump_more_or_less_leaves_the_others_theirs() -> None:
    """Pumps are known by their output, wherever they stand in the list."""
    before = boosters()
    kept = numbered(before, "rules.supply")
    after = restarted(before, boosters(pumps=["b.p4", "b.p3", "b.p2"]))
    now = named(after, "rules.supply")
    for pump in ("b.p2", "b.p3"):
        assert now[f"hours of {pump}.run"] == kept[f"hours of {pump}.run"]
    assert np.isnan(now["hours of b.p4.run"])


def test_the_usual_speed_is_that_of_a_setpoint() -> None:
    """At another pressure the speed of yesterday would be wrong; the head is still the pumps'."""
    before = boosters()
    kept = numbered(before, "rules.supply")
    now = named(restarted(before, boosters(setpoint="0.45 MPa")), "rules.supply")
    assert now["learnt head"] == kept["learnt head"]
    usual = [value for name, value in now.items() if name.startswith("usual speed")]
    assert usual
    assert np.isnan(usual).all()


def test_the_gain_of_a_loop_belongs_to_its_options() -> None:
    """What was halved stays so over a restart; with other options it is tried as written."""
    options = {"input": "b.p", "setpoint": 0.4, "output": "b.speed", "kp": 400.0, "ti": "6s"}
    before = Bench(site_of({"loop": ("pid", options)}))
    for point, value in (("b.p", 0.4), ("b.speed", 80.0)):
        before[point] = value
    before.step(0.0)
    at = before.programs.slices["rules.loop"]
    state(before.programs, "rules.loop")[7] = 0.5
    for changed, factor in (({}, 0.5), ({"kp": 200.0}, 1.0)):
        after = restarted(before, Bench(site_of({"loop": ("pid", {**options, **changed})})))
        for point, value in (("b.p", 0.4), ("b.speed", 80.0)):
            after[point] = value
        after.step(1.0)
        assert after["loop.gain_factor"] == factor
    assert at.names == {}


def test_a_tripped_interlock_stays_tripped_under_another_delay() -> None:
    """A change of `for` is no reset: the motor waits for a person as before."""

    def site(delay: float) -> Bench:
        bench = Bench(site_of({}, [interlock("dry", "t.level < 0.3", ["p.run"], delay=delay)]))
        bench["t.level"] = 1.0
        return bench

    before = site(0.0)
    before["t.level"] = 0.1
    before.step(0.0)
    before["t.level"] = 1.0
    before.step(1.0)
    assert before["dry.tripped"] == 1
    after = restarted(before, site(2.0))
    after.step(2.0)
    assert after["dry.tripped"] == 1
    after.reset("dry", 3.0)
    assert after["dry.tripped"] == 0


def test_a_dry_run_lockout_and_its_restarts_stay() -> None:
    """Another restart delay gives a pump without water no fresh attempts."""
    options = {"trip": ["p.run"], "level": "t.level", "low_low": 0.3, "restarts": 1}

    def site(**changed: Any) -> Bench:
        bench = Bench(site_of({"dry": ("dry_run", {**options, **changed})}))
        bench["t.level"] = 1.0
        return bench

    before = site(restart_delay="1s")
    before.step(0.0)
    before["t.level"] = 0.1
    before.step(1.0)
    before["t.level"] = 1.0
    for t in (2.0, 3.5):
        before.step(t)
    before["t.level"] = 0.1
    before.step(5.0)
    assert (before["dry.tripped"], before["dry.lockout"]) == (1, 1)
    after = restarted(before, site(restart_delay="5s"))
    for t in range(6, 60):
        after.step(float(t))
    assert (after["dry.tripped"], after["dry.lockout"], after["dry.restarts"]) == (1, 1, 1)


def test_what_a_former_version_kept_is_taken_up_too() -> None:
    """It kept numbers without names: whole with the same options, not at all with others."""
    before = boosters()
    kept = numbered(before, "rules.supply")
    old: Any = {owner: tuple(saved[:2]) for owner, saved in before.programs.retained().items()}
    same, other = boosters(), boosters(stage_up="12s")
    same.programs.restore(old)
    other.programs.restore(old)
    assert named(same, "rules.supply") == kept
    assert np.isnan(list(named(other, "rules.supply").values())).all()


def isolating(**more: Any) -> Bench:
    """Two zones, of which the second may be shut after 10 s of a burst."""
    zones = [
        {"id": f"zone{i}", "pressure": f"z{i}.p", "flow": f"z{i}.q", "baseline": 6.0, "kvs": 22.0,
         "command": f"v{i}.c", "position": f"v{i}.f", "auto_isolate": i == 2}
        for i in (1, 2)
    ]  # fmt: skip
    options = {"header": "h.p", "confirm": "0s", "isolate_after": "10s", "must_supply": []}
    bench = Bench(site_of({"zones": ("zone_loss", {"zones": zones, **options, **more})}))
    bench["h.p"] = 0.41162
    for i in (1, 2):
        bench[f"z{i}.p"], bench[f"z{i}.q"], bench[f"v{i}.f"], bench[f"v{i}.c"] = 0.4, 6, 80, 80
    return bench


def test_a_zone_that_is_being_shut_goes_on_under_other_options() -> None:
    """Another `drop` or tree is no reset: the valve neither opens nor stops halfway."""
    before = isolating()
    before.step(0.0)
    before["z2.p"], before["z2.q"] = 0.321, 16.72
    for k in range(1, 60):
        before.step(0.5 * k)
        before["v2.f"] = before["v2.c"]
    stands = before["v2.c"]
    assert (before["zones.zone2_isolation"], 40 < stands < 79) == (CLOSING, True)
    after = restarted(before, isolating(drop="0.05 MPa", branches=[{"id": "riser"}]))
    after["z2.p"], after["z2.q"], after["v2.f"], after["v2.c"] = 0.321, 16.72, stands, stands
    for k in range(60, 62):
        after.step(0.5 * k)
    assert (after["zones.zone2_isolation"], after["zones.zone2"]) == (CLOSING, BURST)
    assert after["v2.c"] == pytest.approx(stands, abs=2.0)
    for k in range(62, 200):
        after.step(0.5 * k)
        after["v2.f"] = after["v2.c"]
    assert (after["zones.zone2_isolation"], after["v2.c"]) == (CLOSED, 0.0)
    after["z2.p"] = 0.4
    for k in range(200, 230):
        after.step(0.5 * k)
    assert after["zones.zone2"] == NORMAL  # the loss has an end, too


def test_a_verdict_of_another_tree_names_no_branch() -> None:
    """It is kept where a zone may be shut; which branch it was is not."""
    before = isolating()
    before.step(0.0)
    at = before.programs.slices["rules.zones"].names["verdict of zone2"]
    state(before.programs, "rules.zones")[at] = BRANCH
    after = restarted(before, isolating(branches=[{"id": "riser"}]))
    after.step(1.0)
    assert (after["zones.zone2"], after["zones.branch"]) == (BRANCH, 0.0)
