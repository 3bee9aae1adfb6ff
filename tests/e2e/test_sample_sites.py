"""Every sample site holds its scenarios: `edge test` as a technician runs it on a copy of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITES = sorted(
    path.parent for path in ROOT.glob("config/*/site.test.yaml") if path.parent.name != "demo"
)  # the demo's are played in tests/edge/proof/test_edge_test.py


def test_every_sample_with_equipment_has_scenarios() -> None:
    """A site that brings a plant brings scenarios too, and the other way round."""
    plants = {path.parent.name for path in ROOT.glob("config/*/plant.yaml")}
    assert plants == {site.name for site in SITES} | {"demo"}


@pytest.mark.slow
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_sample_site_holds(site: Path) -> None:
    """Each scenario holds, on the site's own profiles, polls and periods."""
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "test", str(site), "-j", "2", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["ok"], done.stdout
    assert len(found["scenarios"]) >= 3
