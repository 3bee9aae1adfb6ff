"""How a poll is asked for in parts, and that what was learned of it can be taken up again."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from drivers.bacnet import BACNET, groups
from drivers.bacnet.config import DeviceConfig, PointConfig
from drivers.bacnet.knowledge import Knowledge, learned
from drivers.bacnet.point import Known
from edge.driver import FieldDevice, FieldPoint

LASTING, PASSING = "abort/segmentation-not-supported", "abort/out-of-resources"


def field_point(number: int, *, writable: bool = False) -> FieldPoint:
    config = PointConfig(object=f"analog-value,{number}")
    return FieldPoint(
        f"lobby.a{number}", config, 1.0, 0.0, -math.inf, math.inf, 1.0, True, writable
    )


def places(count: int) -> groups.Places:
    return [(i, Known.of(field_point(i), Knowledge())) for i in range(count)]


def names(found: list[groups.Group]) -> list[tuple[bool, list[str]]]:
    return sorted((group.singly, [point.name for _, point in group.points]) for group in found)


refusals = st.lists(st.tuples(st.integers(0, 40), st.just(LASTING)), max_size=30)
any_refusals = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([LASTING, PASSING])), max_size=30
)


def refused(poll: groups.Places, steps: list[tuple[int, str]]) -> list[groups.Group]:
    found = groups.groups(poll, Knowledge())
    for turn, code in steps:
        group = found[turn % len(found)]
        if smaller := group.smaller(code):
            found.remove(group)
            found += smaller
    return found


@given(st.integers(1, 20), any_refusals)
def test_every_point_is_asked_for_once_however_often_the_device_refuses(
    count: int, steps: list[tuple[int, str]]
) -> None:
    """Halving loses no point and asks for none twice; what is kept of it does not either."""
    poll = places(count)
    found = refused(poll, steps)
    together, singly = groups.kept([found])
    again = groups.groups(poll, Knowledge(groups=together, singly=singly))
    for made in (found, again):
        asked = [place for group in made for place, _ in group.points]
        assert sorted(asked) == list(range(count))


@given(st.integers(1, 20), refusals)
def test_what_is_kept_brings_back_the_same_requests(
    count: int, steps: list[tuple[int, str]]
) -> None:
    """A successor asks exactly as its predecessor had learned to; through JSON, as it is kept."""
    poll = places(count)
    found = refused(poll, steps)
    together, singly = groups.kept([found])
    data = json.loads(json.dumps(Knowledge(groups=together, singly=singly).kept()))
    assert names(groups.groups(poll, Knowledge.of(data))) == names(found)
    assert (data == {}) == (len(found) == 1 and not found[0].singly)


@given(st.integers(2, 20), st.integers(1, 30))
def test_a_shortage_of_the_moment_is_not_kept(count: int, times: int) -> None:
    """Busy buffers split a poll for now only."""
    found = refused(places(count), [(turn, PASSING) for turn in range(times)])
    assert len(found) > 1
    assert groups.kept([found]) == ((), ())


def test_a_point_that_came_later_is_asked_for_beside_what_was_learned() -> None:
    """What is known of a site before a change does not stop the points that are new in it."""
    known = Knowledge(groups=(("analog-value,0", "analog-value,1"),), singly=("analog-value,2",))
    assert names(groups.groups(places(5), known)) == [
        (False, ["analog-value,0", "analog-value,1"]),
        (False, ["analog-value,3", "analog-value,4"]),
        (True, ["analog-value,2"]),
    ]


def test_what_was_learned_is_told_in_sentences() -> None:
    """Points by their names in the site; what the site no longer has is left out."""
    config = DeviceConfig(device=1001)
    points = tuple(field_point(i, writable=True) for i in range(4))
    device = FieldDevice("lobby", config, points)

    def told(**known: object) -> list[str]:
        assert BACNET.learned is learned
        sentences = list(learned(device, Knowledge(**known).kept()))  # type: ignore[arg-type]
        assert all(text.zh and text.zh != text.en for text in sentences)
        return [text.en for text in sentences]

    assert told() == []
    assert told(multiple=False) == [
        "the device does not know ReadPropertyMultiple: each point is asked for by itself"
    ]
    assert told(groups=(("analog-value,0", "analog-value,1"), ("analog-value,3",))) == [
        "the device answers at most 2 points at once: they are asked for in 2 requests"
    ]
    assert told(singly=("analog-value,2", "analog-value,9")) == [
        "only a request of its own reads lobby.a2"
    ]
    assert told(commandable={"analog-value,1": False, "analog-value,2": True}) == [
        "no priority array, so it is written plainly and cannot be relinquished: lobby.a1"
    ]
    assert told(unflagged=tuple(f"analog-value,{i}" for i in range(4))) == [
        "no status flags: lobby.a0, lobby.a1, lobby.a2, lobby.a3"
    ]
    assert told(
        groups=(("analog-value,8", "analog-value,9"),), singly=("analog-value,7",),
        commandable={"analog-value,6": False}, types={"analog-value,6": 4},
    ) == []  # fmt: skip


def test_what_another_version_kept_is_nothing() -> None:
    """Neither an unknown key nor a wrong type is taken up, or fails."""
    for kept in ({"halves": 2}, {"multiple": "no"}, {"groups": 7}, {"types": {"a": "b"}}):
        assert Knowledge.of(kept) == Knowledge()
