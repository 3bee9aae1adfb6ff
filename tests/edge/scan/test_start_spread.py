"""After a power cut motors start one by one; what runs is taken over as it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.blocks import KINDS
from edge.events import Events
from edge.image import quality
from edge.rules.compile import compile_site
from edge.rules.kernel import plain_kernel
from edge.scan.cycle import WARM, Scan
from edge.scan.wiring import share
from edge.site.site import Site
from tests.support.rules import interlock, site_of

PUMPS = ("p1.run", "p2.run", "p3.run", "p4.run")
START = {"input": 1, "input_low": 0, "input_high": 1, "low": 0, "high": 1, "unit": ""}
SPREAD = 30.0


def compound(name: str = "court") -> Site:
    """Four pumps that are asked to run, and a contact that stops the first."""
    rules = {f"start{i}": ("scale", {**START, "output": p}) for i, p in enumerate(PUMPS)}
    site = site_of(rules, [interlock("door", "p.door", [PUMPS[0]], reset="auto")])
    points = tuple(
        replace(p, output=replace(p.output, start_spread=SPREAD)) if p.output is not None else p
        for p in site.points
    )
    return replace(site, id=name, points=points)


def started(site: Site, cold_for: float, running: tuple[str, ...] = (), door: float = 0.0,
            ) -> dict[str, float]:  # fmt: skip
    """When each pump was first decided to run, in seconds after the first step."""
    programs = compile_site(site, KINDS)
    scan = Scan(site, KINDS, programs, plain_kernel().run, Events("en", quiet=True))
    scan.cold_for = cold_for
    scan.outputs.wires = tuple(replace(w, readable=True) for w in scan.outputs.wires)
    index, found = site.index(), {}
    for name in (*PUMPS, "p.door"):
        value = float(name in running) if name in PUMPS else door
        scan.deliver(index[name], np.asarray([value]), np.zeros(1, np.uint16), 0.0)
    for k in range(700):
        now = 0.1 * k
        scan.step(now, 1e9 + now, True)
        for name in PUMPS:
            held = scan.outputs.held[scan.ordinals[name]]
            if not held and scan.image.target[scan.ordinals[name]] == 1.0:
                found.setdefault(name, now)
    assert not scan.image.quality[index["p.door"]] & quality.BAD
    return found


def test_each_waits_for_its_share_of_the_spread() -> None:
    """30 to 60 s after a cold start, each at a time of its own that is the same every time."""
    site = compound()
    found = started(site, 30.0)
    assert found == {p: pytest.approx(30.0 + SPREAD * share(site, p), abs=0.11) for p in PUMPS}
    assert len({round(t) for t in found.values()}) == len(PUMPS)
    assert started(site, 30.0) == found


def test_another_site_has_other_times() -> None:
    """Two compounds on one transformer do not start together."""
    assert started(compound("garden"), 0.0) != started(compound("court"), 0.0)


def test_a_warm_restart_waits_for_nothing() -> None:
    """The plant was not off: what a rule asks for is driven at once."""
    assert started(compound(), WARM) == dict.fromkeys(PUMPS, 0.0)


def test_a_running_pump_goes_on() -> None:
    """It is adopted as soon as the start-up delay is over, without being switched off."""
    found = started(compound(), 5.0, running=(PUMPS[2],))
    assert found[PUMPS[2]] == pytest.approx(5.0)
    assert min(t for p, t in found.items() if p != PUMPS[2]) > 5.0


def test_a_protection_does_not_wait_for_the_spread() -> None:
    """A tripped interlock takes its output at once, and keeps it off."""
    assert PUMPS[0] not in started(compound(), 0.0, door=1.0)


class Rig:
    """Four pumps of one rule, of which `demand` run; the first waits 0.25 s, the others longer."""

    def __init__(self, cold_for: float = 0.0, running: tuple[str, ...] = ()) -> None:
        pumps = [{"run": f"p{i}.run", "running": f"p{i}.fb", "fault": f"p{i}.fault"}
                 for i in (1, 2, 3, 4)]  # fmt: skip
        site = site_of(
            {"duty": ("rotation", {"demand": "p.demand", "pumps": pumps})},
            [interlock("door", "p.door", [PUMPS[0]], reset="auto")],
        )
        points = tuple(
            replace(p, output=replace(p.output, start_spread=SPREAD)) if p.output is not None else p
            for p in site.points
        )
        self.site = replace(site, points=points)
        programs = compile_site(self.site, KINDS)
        self.scan = Scan(self.site, KINDS, programs, plain_kernel().run, Events("en", quiet=True))
        self.scan.cold_for = cold_for
        late = dict(zip(PUMPS, (0.25, 10.0, 20.0, 30.0), strict=True))
        self.scan.outputs.wires = tuple(
            replace(w, readable=True, late=late[w.point]) for w in self.scan.outputs.wires
        )
        self.index, self.now = self.site.index(), 0.0
        self.field = {p.id: 0.0 for p in self.site.points if p.device is not None}
        self.field |= {"p.demand": 1.0} | dict.fromkeys(running, 1.0)
        self.field |= {p.replace("run", "fb"): 1.0 for p in running}
        self.written: list[tuple[float, str, float]] = []

    def run(self, seconds: float, **field: float) -> Rig:
        self.field |= {name.replace("_", "."): value for name, value in field.items()}
        for _ in range(round(seconds / 0.1)):
            for name, value in self.field.items():
                self.scan.deliver(
                    self.index[name], np.asarray([value]), np.zeros(1, np.uint16), self.now
                )
            for _, write in self.scan.step(self.now, 1e9 + self.now, True).writes:
                self.written.append((round(self.now, 1), write.point, write.value))
                self.field[write.point] = write.value
                self.field[write.point.replace("run", "fb")] = write.value
            self.now += 0.1
        return self

    def starts(self) -> list[str]:
        return [point for _, point, value in self.written if value == 1.0]


def test_a_standby_that_replaces_a_failed_pump_starts_at_once() -> None:
    """The mains carry as many starts as before: no turn to wait for."""
    rig = Rig().run(5)
    assert rig.starts() == [PUMPS[0]]
    rig.run(2, p1_fault=1.0)
    assert rig.starts() == [PUMPS[0], PUMPS[1]]
    assert rig.written[-1][0] <= 6.0


def test_each_that_failed_lets_only_one_start_before_its_turn() -> None:
    """Three are asked for and one of them fails: the next one starts, the third waits."""
    rig = Rig().run(5)
    rig.run(3, p1_fault=1.0, p_demand=3.0)
    assert rig.starts() == [PUMPS[0], PUMPS[1]]
    rig.run(25)
    assert rig.starts() == [PUMPS[0], PUMPS[1], PUMPS[2], PUMPS[3]]
    (third,) = [t for t, point, _ in rig.written if point == PUMPS[2]]
    assert third == pytest.approx(20.0, abs=0.6)


def test_a_protection_stops_a_running_motor_during_the_start_up_delay() -> None:
    """At once, past the 30 s that everything else waits; and nothing starts meanwhile."""
    rig = Rig(cold_for=30.0, running=(PUMPS[0],)).run(5)
    assert rig.written == []
    rig.run(5, p_door=1.0)
    assert rig.written == [(5.0, PUMPS[0], 0.0)]
    rig.run(15, p_door=0.0)
    assert len(rig.written) == 1
    rig.run(20)
    assert rig.starts()[0] in PUMPS
    assert min(t for t, _, value in rig.written if value) >= 30.0


def test_a_protection_starts_nothing_during_the_start_up_delay() -> None:
    """One that wants something to run waits like everybody, and goes first then."""
    site = site_of({}, [interlock("smoke", "p.door", [PUMPS[0]], reset="auto", value=1.0)])
    scan = Scan(
        site, KINDS, compile_site(site, KINDS), plain_kernel().run, Events("en", quiet=True)
    )
    scan.cold_for = 10.0
    found = []
    for k in range(150):
        for name, value in ((PUMPS[0], 0.0), ("p.door", 1.0)):
            scan.deliver(site.index()[name], np.asarray([value]), np.zeros(1, np.uint16), 0.1 * k)
        writes = scan.step(0.1 * k, 1e9 + 0.1 * k, True).writes
        found += [(0.1 * k, write.value) for _, write in writes]
    assert found[0] == (pytest.approx(10.0), 1.0)


def test_a_trip_at_the_start_keeps_the_staggered_start() -> None:
    """When it is over the motor waits for its turn like the others."""
    site = compound()
    programs = compile_site(site, KINDS)
    scan = Scan(site, KINDS, programs, plain_kernel().run, Events("en", quiet=True))
    scan.outputs.wires = tuple(replace(w, readable=True) for w in scan.outputs.wires)
    started_at = None
    for k in range(400):
        now = 0.1 * k
        for name in (*PUMPS, "p.door"):
            value = float(now < 2.0) if name == "p.door" else 0.0
            scan.deliver(site.index()[name], np.asarray([value]), np.zeros(1, np.uint16), now)
        for _, write in scan.step(now, 1e9 + now, True).writes:
            if write.point == PUMPS[0] and write.value == 1.0 and started_at is None:
                started_at = now
    assert SPREAD * share(site, PUMPS[0]) > 3.0
    assert started_at == pytest.approx(SPREAD * share(site, PUMPS[0]), abs=0.11)


def test_a_missing_permission_stops_nothing_that_was_not_read_yet() -> None:
    """It only keeps from starting; whether the motor runs is read first."""
    permit = interlock("oil", "p.door", [PUMPS[0]], permissive=True)
    site = site_of({}, [permit])
    scan = Scan(
        site, KINDS, compile_site(site, KINDS), plain_kernel().run, Events("en", quiet=True)
    )
    scan.outputs.wires = tuple(replace(w, readable=True) for w in scan.outputs.wires)
    scan.cold_for = 10.0
    writes = []
    for k in range(300):
        scan.deliver(site.index()["p.door"], np.zeros(1), np.zeros(1, np.uint16), 0.1 * k)
        if k >= 20:
            scan.deliver(site.index()[PUMPS[0]], np.ones(1), np.zeros(1, np.uint16), 0.1 * k)
        writes += [write.value for _, write in scan.step(0.1 * k, 1e9 + 0.1 * k, True).writes]
    assert 0.0 not in writes


def test_shares_are_spread_evenly() -> None:
    """Over a thousand motors no tenth of the spread has twice its part."""
    site = compound()
    shares = [share(site, f"m{i}.run") for i in range(1000)]
    counts = np.histogram(shares, bins=10, range=(0, 1))[0]
    assert counts.max() < 200
    assert counts.min() > 50
