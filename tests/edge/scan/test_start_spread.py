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


def test_shares_are_spread_evenly() -> None:
    """Over a thousand motors no tenth of the spread has twice its part."""
    site = compound()
    shares = [share(site, f"m{i}.run") for i in range(1000)]
    counts = np.histogram(shares, bins=10, range=(0, 1))[0]
    assert counts.max() < 200
    assert counts.min() > 50
