"""The search for circles among rules: complete, and each circle real."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.site.check_loops import find_loops
from edge.site.checks import CHECKS, check_site

GRAPHS = st.integers(1, 8).flatmap(
    lambda n: st.dictionaries(
        st.sampled_from([str(i) for i in range(n)]),
        st.lists(st.sampled_from([str(i) for i in range(n)]), max_size=4),
        min_size=n,
        max_size=n,
    )
)


def reachable(reads: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(reads[start])
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting += reads[here]
    return found


@given(GRAPHS)
@settings(max_examples=300, deadline=None)
def test_loops(reads: dict[str, list[str]]) -> None:
    """A circle is found exactly when some rule reaches itself; each of its steps is a reading."""
    loops = find_loops(reads)
    assert bool(loops) == any(name in reachable(reads, name) for name in reads)
    for loop in loops:
        assert len(set(loop)) == len(loop)
        for reader, read in zip(loop, (*loop[1:], loop[0]), strict=True):
            assert read in reads[reader]


def test_a_long_chain_is_no_recursion() -> None:
    """Ten thousand rules in a row, closed to a circle at the end."""
    names = [f"r{i}" for i in range(10_000)]
    reads = {name: [after] for name, after in pairwise(names)}
    assert find_loops({**reads, names[-1]: []}) == []
    assert [len(loop) for loop in find_loops({**reads, names[-1]: [names[0]]})] == [10_000]


def test_every_check_is_in_the_list() -> None:
    """A check that is not called finds nothing."""
    import edge.site.checks as module

    named = {f for name, f in vars(module).items() if name.startswith("check_")}
    assert named - {check_site} == set(CHECKS)
