"""Losses behind branches (domain §1.12 #2, #3): which branch, and whose burst drags whom down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.blocks.kind import layout
from edge.blocks.zone_layout import (
    BRANCH,
    BURST,
    DRAGGED,
    GROUP_STATES,
    NORMAL,
    PART,
    RESTRICTION,
    SUPPLY,
    VALVE,
    ZONE_STATES,
)
from edge.blocks.zone_loss import ZONE_LOSS
from edge.blocks.zone_tree import lost_branch
from tests.support.block import Instance
from tests.support.hydraulics import Pipes

# Two risers; the east one divides at the top, and the upper of its two floors once more.
TREE = {"east": None, "high": "east", "low": "east", "attic": "high", "west": None}
ZONES = {
    "a": "attic", "b": "attic", "c": "high", "d": "low", "e": "low", "f": "west", "g": "west",
    "h": None,
}  # fmt: skip


def options(pipes: Pipes, **more: Any) -> dict[str, Any]:
    usual = pipes.seen()
    branches: list[dict[str, Any]] = [{"id": id} for id in pipes.parents]
    for branch in branches:
        if (above := pipes.parents[branch["id"]]) is not None:
            branch["parent"] = above
    zones: list[dict[str, Any]] = [
        {
            "id": zone, "pressure": f"{zone}.pressure", "flow": f"{zone}.flow",
            "baseline": usual[zone][1], "command": f"{zone}.command",
            "position": f"{zone}.position", "kvs": 22.0,
            **({} if branch is None else {"branch": branch}),
        }
        for zone, branch in pipes.zones.items()
    ]  # fmt: skip
    return {"header": "header", "zones": zones, "branches": branches, **more}


class Watched:
    """A network of pipes under the verdict, polled every 0.5 s."""

    def __init__(self, pipes: Pipes) -> None:
        self.pipes = pipes
        self.block = Instance(ZONE_LOSS, options(pipes))
        self.position = dict.fromkeys(pipes.zones, 80.0)
        self.command = dict.fromkeys(pipes.zones, 80.0)
        self.now = 0.0
        self.run(20)

    def run(self, seconds: float) -> dict[str, float]:
        for _ in range(round(seconds / 0.5)):
            self.block["header"] = self.pipes.header
            for zone, (pressure, flow) in self.pipes.seen().items():
                self.block[f"{zone}.pressure"], self.block[f"{zone}.flow"] = pressure, flow
                self.block[f"{zone}.command"] = self.command[zone]
                self.block[f"{zone}.position"] = self.position[zone]
            self.block.step(self.now)
            self.now += 0.5
        return self.verdicts()

    def verdicts(self) -> dict[str, float]:
        return {z: self.block[z] for z in self.pipes.zones if self.block[z] != NORMAL}

    @property
    def branch(self) -> str:
        number = int(self.block["branch"])
        return list(self.pipes.parents)[number - 1] if number else ""


@pytest.mark.parametrize("leak", [20.0, 40.0])
@pytest.mark.parametrize("pipe", [15.0, 20.0, 30.0])
def test_a_burst_in_a_branch_of_two_names_its_zone(pipe: float, leak: float) -> None:
    """Row 2's rule about flows holds for row 3: whose flow rose is named, the other is dragged."""
    it = Watched(Pipes({"east": None}, {"a": "east", "b": "east"}, pipe=pipe))
    usual = it.pipes.seen()
    it.pipes.leaks["a"] = leak
    now = it.pipes.seen()
    assert now["a"][1] > 1.5 * usual["a"][1]
    assert now["b"][1] < usual["b"][1]
    verdicts = it.run(20)
    assert verdicts["a"] == BURST
    assert it.block["verdict"] == NORMAL
    if usual["b"][0] - now["b"][0] >= 0.061:
        assert verdicts["b"] == DRAGGED
    else:
        assert "b" not in verdicts


def test_the_order_of_the_zones_does_not_matter() -> None:
    """The burst may stand first or last in the site."""
    for burst, other in (("a", "b"), ("b", "a")):
        it = Watched(Pipes({"east": None}, {"a": "east", "b": "east"}, pipe=15.0))
        it.pipes.leaks[burst] = 40.0
        assert it.run(20) == {burst: BURST, other: DRAGGED}


def test_who_was_dragged_is_judged_anew_when_the_burst_is_over() -> None:
    """And is normal when the pressure is back; a loss that stays gets its own verdict."""
    it = Watched(Pipes({"east": None}, {"a": "east", "b": "east"}, pipe=15.0))
    it.pipes.leaks["a"] = 40.0
    it.run(20)
    it.pipes.leaks.clear()
    assert it.run(20) == {}
    it.pipes.leaks["a"] = 40.0
    it.run(20)
    it.pipes.leaks.clear()
    it.pipes.valves["b"] = 4.4
    assert it.run(30) == {"b": RESTRICTION}


def test_a_burst_that_pulls_the_header_down() -> None:
    """The pump cannot keep it up: not a lost supply, and the others have no cause of their own."""
    it = Watched(Pipes({}, {"a": None, "b": None, "c": None}))
    it.pipes.leaks["b"] = 60.0
    it.pipes.header = 0.30
    assert it.run(20) == {"a": DRAGGED, "b": BURST, "c": DRAGGED}


@pytest.mark.parametrize(
    ("branch", "zones"),
    [("attic", "ab"), ("high", "abc"), ("low", "de"), ("east", "abcde"), ("west", "fg")],
)
def test_a_broken_pipe_is_its_branch(branch: str, zones: str) -> None:
    """A leak in the pipe itself lowers all flows behind it: the branch, at every depth."""
    it = Watched(Pipes(TREE, ZONES, pipe=200.0))
    it.pipes.leaks[branch] = 400.0
    it.pipes.header = 0.41162
    verdicts = it.run(20)
    fell = set(verdicts)
    assert set(zones) <= fell
    if fell == set(zones):
        assert verdicts == dict.fromkeys(zones, BRANCH)
        assert it.branch == branch


def test_two_risers_are_a_lost_supply() -> None:
    """Zones with no branch in common fall and no flow is raised: #2 comes before #3."""
    it = Watched(Pipes(TREE, ZONES, pipe=300.0))
    it.pipes.leaks |= {"east": 900.0, "west": 900.0}
    verdicts = it.run(20)
    assert set(verdicts.values()) == {SUPPLY}


def test_a_burst_is_told_while_its_neighbours_valve_runs_away() -> None:
    """A valve of a dragged zone that moves by itself is its own fault."""
    it = Watched(Pipes({"east": None}, {"a": "east", "b": "east"}, pipe=15.0))
    it.pipes.leaks["a"] = 40.0
    it.position["b"] = 20.0
    it.pipes.valves["b"] = 4.4
    assert it.run(20) == {"a": BURST, "b": VALVE}


@st.composite
def trees(draw: st.DrawFn) -> tuple[dict[str, str | None], dict[str, str | None]]:
    count = draw(st.integers(1, 7))
    parents: dict[str, str | None] = {}
    for i in range(count):
        above = draw(st.integers(-1, i - 1))
        parents[f"n{i}"] = None if above < 0 else f"n{above}"
    zones = {}
    for i in range(draw(st.integers(2, 8))):
        place = draw(st.integers(-1, count - 1))
        zones[f"z{i}"] = None if place < 0 else f"n{place}"
    return parents, zones


def chain(parents: dict[str, str | None], branch: str | None) -> list[str]:
    """A branch and all above it, the deepest first."""
    found = []
    while branch is not None:
        found.append(branch)
        branch = parents[branch]
    return found


@given(tree=trees(), hit=st.sets(st.integers(0, 7)))
@settings(deadline=None)
def test_the_branch_that_is_named(
    tree: tuple[dict[str, str | None], dict[str, str | None]], hit: set[int]
) -> None:
    """Never one with an unaffected zone behind it; it has two zones or more; no branch above it has
    only affected zones and more of them, and none below it has the same."""
    parents, zones = tree
    names, ids = list(zones), list(parents)
    affected = {names[i] for i in hit if i < len(names)}
    behind = {b: {z for z in zones if b in chain(parents, zones[z])} for b in ids}
    model = ZONE_LOSS.model.model_validate(options(Pipes(parents, zones)))
    par = np.asarray(layout(ZONE_LOSS, model).parameters)
    state = np.zeros(GROUP_STATES + ZONE_STATES * len(zones))
    for k, zone in enumerate(names):
        state[GROUP_STATES + ZONE_STATES * k + PART] = float(zone in affected)
    for k, zone in enumerate(names):
        if zone not in affected:
            continue
        named = lost_branch(par, 0, state, 0, k)
        whole = [b for b in chain(parents, zones[zone]) if behind[b] <= affected]
        most = max((len(behind[b]) for b in whole), default=0)
        if most < 2:
            assert named == -1
            continue
        assert behind[ids[named]] <= affected
        assert len(behind[ids[named]]) == most
        assert ids[named] == next(b for b in whole if len(behind[b]) == most)  # the deepest of them


@given(tree=trees(), which=st.integers(0, 20), leak=st.floats(10, 300), pipe=st.floats(12, 300))
@settings(max_examples=60, deadline=None)
def test_whatever_breaks_nobody_is_sent_to_the_wrong_place(
    tree: tuple[dict[str, str | None], dict[str, str | None]], which: int, leak: float, pipe: float
) -> None:
    """A leak in a pipe or a zone of any tree: a named branch has no unaffected zone behind it, and
    the leak is behind it or in it; a burst zone is never told as a lost branch or supply."""
    parents, zones = tree
    it = Watched(Pipes(parents, zones, pipe=pipe))
    assert it.verdicts() == {}
    usual, places = it.pipes.seen(), [*parents, *zones]
    place = places[which % len(places)]
    it.pipes.leaks[place] = leak
    now, verdicts = it.pipes.seen(), it.run(15)
    if place in zones and now[place][1] > 1.55 * usual[place][1]:
        assert verdicts.get(place, NORMAL) in (NORMAL, BURST)
        others = {verdict for zone, verdict in verdicts.items() if zone != place}
        if place in verdicts:
            assert others <= {DRAGGED}
    if it.branch:
        behind = {z for z in zones if it.branch in chain(parents, zones[z])}
        assert behind <= set(verdicts)
        assert chain(parents, zones.get(place, place))[-1] == chain(parents, it.branch)[-1]


@pytest.mark.parametrize(
    ("branches", "told"),
    [
        ([{"id": "x"}, {"id": "x"}], "twice"),
        ([{"id": "x", "parent": "y"}, {"id": "y", "parent": "x"}], "circle: x → y → x"),
        ([{"id": "x", "parent": "x"}], "circle: x → x"),
        ([{"id": "x", "parent": "eats"}, {"id": "east"}], 'no branch "eats"; did you mean "east"'),
        ([{"id": "west"}], 'no branch "east"'),
    ],
)
def test_what_is_no_tree_is_refused(branches: list[dict[str, str]], told: str) -> None:
    """Circles and names that do not exist, with the nearest that does."""
    given = options(Pipes({"east": None}, {"a": "east"}))
    if branches != [{"id": "west"}]:
        given["zones"][0].pop("branch")
    with pytest.raises(ValidationError, match=told):
        ZONE_LOSS.model.model_validate(given | {"branches": branches})
