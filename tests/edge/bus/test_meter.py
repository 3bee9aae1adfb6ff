"""The meter of a device or a bus: totals, and percentiles of the latest round trips."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edge.bus.meter import TRIPS, Meter


def test_counts_each_request_once_and_by_how_it_ended() -> None:
    """Answers, failures of each kind, busy time and back-off add up."""
    meter = Meter()
    meter.answered(0.25)
    meter.failed("timeout", 0.5)
    meter.failed("timeout", 0.5)
    meter.failed("bad_answer", 0.25)
    meter.rested(10.0)
    meter.rested(20.0)
    assert (meter.requests, meter.answers, meter.busy, meter.back_off) == (4, 1, 1.5, 30.0)
    assert meter.failures == {"timeout": 2, "refused": 0, "bad_answer": 1, "link": 0}


def test_requests_side_by_side_share_the_time_of_their_bus() -> None:
    """Four lanes that are all busy for a second are one busy second of the bus."""
    meter = Meter(lanes=4)
    for _ in range(4):
        meter.answered(1.0)
    assert meter.busy == 1.0


def test_knows_no_round_trip_before_the_first_answer() -> None:
    """A failure took time but is no round trip."""
    meter = Meter()
    meter.failed("timeout", 0.3)
    assert all(math.isnan(trip) for trip in meter.round_trips())


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=3 * TRIPS))
def test_percentiles_are_those_of_the_latest_round_trips(trips: list[float]) -> None:
    """At least half (99 %) of the last 256 are no longer than the median (p99), and none older."""
    meter = Meter()
    for trip in trips:
        meter.answered(trip)
    latest = trips[-TRIPS:]
    for share, found in zip((0.5, 0.99), meter.round_trips(), strict=True):
        assert found in latest
        assert sum(trip <= found for trip in latest) >= share * len(latest)
        assert sum(trip < found for trip in latest) < share * len(latest)
