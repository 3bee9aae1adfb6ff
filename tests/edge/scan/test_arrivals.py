"""Answers on their way to the image: each is seen by a step of its own, and they cannot pile up."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.image import quality
from edge.image.image import ProcessImage
from edge.scan.arrivals import TURNS, Arrivals

POLLS = {0: 3, 3: 1, 4: 5, 9: 2}
"""How many points there are, by the first point of each poll."""
POINTS = 11


@dataclass
class Bench:
    """Arrivals beside the rule in its simplest form: a queue that is taken up to the first poll
    that comes twice. `left` is the greatest number of steps that the queue would take."""

    image: ProcessImage = field(default_factory=lambda: ProcessImage(POINTS, (), 0))
    queue: deque[tuple[int, float | None, int, float]] = field(default_factory=deque)
    put: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        self.arrivals = Arrivals(self.image)
        self.expected = ProcessImage(POINTS, (), 0)

    def arrive(self, first: int, value: float | None, bits: int = 0) -> None:
        now = float(self.put)
        self.put += 1
        self.queue.append((first, value, bits, now))
        if value is None:
            self.arrivals.put_failure(first, POLLS[first], bits)
        else:
            count = POLLS[first]
            values, qualities = np.full(count, value), np.full(count, bits, np.uint16)
            self.arrivals.put(first, values, qualities, now)
            values.fill(-1.0)  # the driver's buffers are its own
            qualities.fill(quality.COMM)

    def step(self) -> list[tuple[int, int]]:
        slices = self.arrivals.latch()
        self.taken += len(slices)
        return slices

    def simplest(self) -> list[tuple[int, int]]:
        slices: list[tuple[int, int]] = []
        while self.queue and self.queue[0][0] not in [first for first, _ in slices]:
            first, value, bits, now = self.queue.popleft()
            stop = first + POLLS[first]
            slices.append((first, stop))
            self.expected.quality[first:stop] = bits
            if value is not None:
                self.expected.value[first:stop] = value
                self.expected.stamp[first:stop] = now
        return slices

    def same(self) -> bool:
        return all(
            np.array_equal(getattr(self.image, name), getattr(self.expected, name), equal_nan=True)
            for name in ("value", "quality", "stamp")
        )


arrival = st.tuples(
    st.sampled_from(sorted(POLLS)),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.sampled_from([0, quality.COMM, quality.SENSOR]),
)


def within(turns: int) -> st.SearchStrategy[list[list[tuple[int, float | None, int]]]]:
    """What arrives before each of several steps; each poll answers at most so often."""
    return st.lists(
        st.lists(arrival, max_size=12).map(lambda found: list(_at_most(found, turns))), max_size=8
    )


def _at_most(
    found: list[tuple[int, float | None, int]], turns: int
) -> Iterator[tuple[int, float | None, int]]:
    seen: dict[int, int] = {}
    for one in found:
        seen[one[0]] = seen.get(one[0], 0) + 1
        if seen[one[0]] <= turns:
            yield one


@given(within(1))
def test_with_an_answer_per_poll_and_step_everything_is_taken_at_once(
    steps: list[list[tuple[int, float | None, int]]],
) -> None:
    """In the normal case nothing waits: each step has the newest answer of every poll."""
    bench = Bench()
    for arrivals in steps:
        for one in arrivals:
            bench.arrive(*one)
        assert bench.step() == bench.simplest()
        assert bench.same()
        assert not bench.arrivals
    assert bench.arrivals.skipped == 0


@given(st.lists(arrival, max_size=TURNS))
def test_a_burst_is_seen_whole_in_the_order_in_which_it_came(
    burst: list[tuple[int, float | None, int]],
) -> None:
    """Every answer of a burst gets a step of its own poll, as if the queue had no end."""
    bench = Bench()
    for one in burst:
        bench.arrive(*one)
    while bench.arrivals:
        assert bench.step() == bench.simplest()
        assert bench.same()
    assert (bench.taken, bench.arrivals.skipped) == (len(burst), 0)
    assert not bench.queue


@given(st.lists(st.one_of(arrival, st.none()), max_size=200))
def test_whatever_comes_when_the_bound_and_the_count_hold(
    events: list[tuple[int, float | None, int] | None],
) -> None:
    """Until something is skipped each step is that of an endless queue; what is put is taken,
    waits for one of the next steps, or is counted; and the newest of each poll is taken last."""
    bench = Bench()
    newest: dict[int, tuple[float | None, int]] = {}
    for event in events:
        if event is None:
            slices = bench.step()
            if not bench.arrivals.skipped:
                assert slices == bench.simplest()
                assert bench.same()
        else:
            bench.arrive(*event)
            newest[event[0]] = event[1:]
    steps = 0
    while bench.arrivals:
        bench.step()
        steps += 1
    assert steps <= TURNS
    assert bench.put == bench.taken + bench.arrivals.skipped
    for first, (value, bits) in newest.items():
        assert bench.image.quality[first] == bits
        assert value is None or bench.image.value[first] == value


def test_of_one_poll_nothing_is_skipped_that_waits_for_no_more_than_the_turns() -> None:
    """Four answers of a poll between two steps are four steps; of a fifth on, the newest stays."""
    bench = Bench()
    for k in range(TURNS):
        bench.arrive(0, float(k))
    assert bench.arrivals.skipped == 0
    bench.arrive(0, 10.0)
    bench.arrive(0, 11.0)
    assert bench.arrivals.skipped == 2
    seen = []
    while bench.arrivals:
        bench.step()
        seen.append(bench.image.value[0])
    assert seen == [0.0, 1.0, 2.0, 11.0]


def test_a_poll_that_floods_costs_its_neighbours_nothing() -> None:
    """Of one that answers ten times a step one answer is taken at each; the others lose none."""
    bench = Bench()
    for k in range(100):
        for _ in range(10):
            bench.arrive(0, float(k))
        bench.arrive(4, float(k))
        assert (0, 3) in bench.step()
    assert bench.image.value[4] >= 99 - TURNS
    while bench.arrivals:
        bench.step()
    assert bench.image.value[4] == 99.0
    assert bench.taken == 100 + 100 + TURNS - 1
    assert bench.arrivals.skipped == bench.put - bench.taken


def test_memory_is_flat_under_overload() -> None:
    """A hundred thousand answers to ten steps leave no more behind than four."""
    bench = Bench()
    values, bits = np.zeros(3), np.zeros(3, np.uint16)

    def flood(count: int) -> None:
        for k in range(count):
            bench.arrivals.put(0, values, bits, float(k))

    flood(TURNS)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            flood(10_000)
            bench.arrivals.latch()
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - before < 10_000
    assert after - before < 2_000
