"""Interlocks and alarm conditions: delays, bad inputs, reset, deadband."""

from __future__ import annotations

from math import isnan, nan

import pytest

from edge.image.quality import COMM, UNCERTAIN
from edge.image.slots import Slot
from tests.support.rules import Bench, alarm, interlock, site_of

PROTECT = int(Slot.PROTECT)


def dry_run(**options: object) -> Bench:
    """Trips pump.run when tank.level is below 0.3."""
    it = Bench(site_of({}, [interlock("dry", "tank.level < 0.3", ["pump.run"], **options)]))
    it["tank.level"], it["pump.run"] = 1.0, 1.0
    it.step(0.0)
    return it


def test_it_trips_after_its_delay_and_not_before() -> None:
    """True for 2 s: slot 5 asks for 0; a flicker starts the time anew."""
    it = dry_run(delay=2.0)
    trace = [(1, 0.2), (2, 0.5), (3, 0.2), (4, 0.2)]
    for now, level in trace:
        it["tank.level"] = level
        it.step(float(now))
        assert it["dry.tripped"] == 0.0
        assert isnan(it.request("pump.run", PROTECT))
    it.step(5.0)
    assert it["dry.tripped"] == 1.0
    assert it.request("pump.run", PROTECT) == 0.0


def test_manual_reset_needs_a_person_and_the_cause_gone() -> None:
    """Latched until reset; a reset while the cause is there is refused."""
    it = dry_run(reset="manual")
    it["tank.level"] = 0.2
    it.step(1.0)
    it.reset("dry", 2.0)
    assert it["dry.tripped"] == 1.0
    it["tank.level"] = 1.0
    it.step(3.0)
    assert it["dry.tripped"] == 1.0
    it.reset("dry", 4.0)
    assert it["dry.tripped"] == 0.0
    assert isnan(it.request("pump.run", PROTECT))


def test_automatic_reset_follows_the_cause() -> None:
    """With `auto` the request goes as soon as the condition does."""
    it = dry_run(reset="auto")
    for now, level, tripped in ((1, 0.2, 1.0), (2, 1.0, 0.0), (3, 0.2, 1.0)):
        it["tank.level"] = level
        it.step(float(now))
        assert it["dry.tripped"] == tripped


def lose(it: Bench, bits: int = COMM) -> None:
    it.image.quality[it.index["tank.level"]] = bits


def test_a_bad_input_trips_only_when_it_lasts() -> None:
    """on_bad: trip waits ten seconds, so that one lost answer stops no pump, and then latches."""
    it = dry_run()
    lose(it)
    for now, tripped in ((1.0, 0.0), (10.9, 0.0), (11.0, 1.0)):
        it.step(now)
        assert it["dry.tripped"] == tripped
        assert it.bits("dry.tripped") == UNCERTAIN
    it["tank.level"] = 1.0
    it.step(12.0)
    assert it["dry.tripped"] == 1.0


def test_what_was_not_read_yet_trips_nothing() -> None:
    """NEVER alone is "not yet", however long that takes."""
    it = Bench(site_of({}, [interlock("dry", "tank.level < 0.3", ["pump.run"])]))
    for now in (0.0, 11.0, 60.0):
        it.step(now)
        assert it["dry.tripped"] == 0.0
        assert isnan(it.request("pump.run", PROTECT))
    it["tank.level"] = 0.2
    it.step(61.0)
    assert it["dry.tripped"] == 1.0


def test_an_input_that_is_lost_from_the_start_on_trips_without_latching() -> None:
    """At start there is nothing to reset: it lets go as soon as it sees; later it latches."""
    it = Bench(site_of({}, [interlock("dry", "tank.level < 0.3", ["pump.run"])]))
    it.step(0.0)
    lose(it)
    for now, tripped in ((0.5, 0.0), (10.5, 1.0)):
        it.step(now)
        assert it["dry.tripped"] == tripped
    it["tank.level"] = 1.0
    it.step(11.0)
    assert it["dry.tripped"] == 0.0
    lose(it)
    for now in (12.0, 22.0):
        it.step(now)
    it["tank.level"] = 1.0
    it.step(23.0)
    assert it["dry.tripped"] == 1.0


@pytest.mark.parametrize("before", [0.0, 1.0])
def test_on_bad_hold_and_ok(before: float) -> None:
    """`hold` keeps what it was; `ok` takes bad for false."""
    for on_bad, after in (("hold", before), ("ok", 0.0)):
        it = dry_run(reset="auto", on_bad=on_bad)
        it["tank.level"] = 0.2 if before else 1.0
        it.step(1.0)
        assert it["dry.tripped"] == before
        lose(it)
        for now in (2.0, 30.0):
            it.step(now)
            assert it["dry.tripped"] == after


def test_a_good_switch_trips_although_the_transmitter_is_dead() -> None:
    """true or bad = true: the float switch decides at once."""
    it = Bench(site_of({}, [interlock("flood", "pit.float or pit.level > 1.3", ["pump.stop"],
                                      value=1.0)]))  # fmt: skip
    it["pit.float"] = 1.0
    it.step(0.0)
    assert it.request("pump.stop", PROTECT) == 1.0


def test_several_interlocks_guard_one_output() -> None:
    """Each holds it on its own; the first of the file gives the value; all must be gone."""
    both = [interlock("a", "x.a > 0", ["v.open"], reset="auto", value=0.0),
            interlock("b", "x.b > 0", ["v.open", "p.run"], reset="auto", value=1.0)]  # fmt: skip
    it = Bench(site_of({}, both))
    for now, (a, b, wanted) in enumerate(
        [(0, 0, nan), (0, 1, 1.0), (1, 1, 0.0), (1, 0, 0.0), (0, 0, nan)]
    ):
        it["x.a"], it["x.b"] = a, b
        it.step(float(now))
        assert it.request("v.open", PROTECT) == pytest.approx(wanted, nan_ok=True)


# --- alarm conditions

TRACE = [0.48, 0.50, 0.51, 0.49, 0.50, 0.51, 0.52, 0.53, 0.49, 0.485, 0.48, 0.47, 0.49, 0.48, 0.47,
         0.46, 0.45, 0.44, 0.44]  # fmt: skip


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_alarm_vector(mirrored: bool) -> None:
    """Domain §2.2 (S31): active at t = 7, gone at t = 18; a low limit is its mirror image."""
    limit = {"below": -0.5} if mirrored else {"above": 0.5}
    made = alarm("high", point="p.x", deadband=0.02, on_delay=2.0, off_delay=4.0, **limit)
    it = Bench(site_of({}, (), [made]))
    states = []
    for now, value in enumerate(TRACE):
        it["p.x"] = -value if mirrored else value
        it.step(float(now))
        states.append(it.active())
    assert [k for k in range(1, 19) if states[k] != states[k - 1]] == [7, 18]


def test_both_limits_of_one_alarm() -> None:
    """Above one or below the other; inside both and their deadbands it clears."""
    it = Bench(site_of({}, (), [alarm("band", point="p.x", above=10.0, below=2.0, deadband=1.0)]))
    for now, (x, wanted) in enumerate(
        [(5, False), (10, False), (10.1, True), (9.0, True), (8.9, False), (1.9, True), (3, True),
         (3.1, False)]
    ):  # fmt: skip
        it["p.x"] = x
        it.step(float(now))
        assert it.active() == wanted, x


def test_bad_data_neither_raises_nor_clears() -> None:
    """An active alarm stays and is uncertain; an inactive one stays inactive; timers start anew."""
    it = Bench(site_of({}, (), [alarm("high", point="p.x", above=1.0, on_delay=2.0),
                                alarm("on", when="p.run", off_delay=2.0)]))  # fmt: skip
    steps = [(0, 2.0, 1.0, False, True), (1, nan, nan, False, True), (2, 2.0, 0.0, False, True),
             (3, 2.0, nan, False, True), (4, 2.0, 0.0, True, True), (5, nan, 0.0, True, True),
             (6, 0.0, 0.0, False, False), (7, nan, nan, False, False)]  # fmt: skip
    for now, x, run, high, on in steps:
        it["p.x"], it["p.run"] = x, run
        it.step(float(now))
        assert (it.active(0), it.active(1)) == (high, on), now
        uncertain = it.image.quality[it.programs.active[0]]
        assert uncertain == (UNCERTAIN if isnan(x) else 0)


def test_suppression_that_is_bad_does_not_suppress() -> None:
    """Only what is known to be true suppresses; without a rule nothing does."""
    it = Bench(site_of({}, (), [alarm("low", when="p.low", suppressed_by="p.filling"),
                                alarm("other", when="p.low")]))  # fmt: skip
    for now, (filling, wanted) in enumerate([(0.0, 0.0), (1.0, 1.0), (nan, 0.0)]):
        it["p.low"], it["p.filling"] = 1.0, filling
        it.step(float(now))
        cells = it.programs.suppressed
        assert it.image.value[cells[0]] == wanted
        assert it.image.quality[cells[0]] == 0
        assert it.image.value[cells[1]] == 0.0
