"""The units that ship: systemd itself says whether it accepts them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
EDGE = Path(sys.executable).with_name("edge")


@pytest.mark.slow
def test_systemd_accepts_both_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say once the program is where they expect it."""
    for unit in ("edge.service", "edge-failsafe.service"):
        text = (UNITS / unit).read_text().replace("/opt/edge/.venv/bin/edge", str(EDGE))
        (tmp_path / unit).write_text(text)

    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "edge.service"),
         str(tmp_path / "edge-failsafe.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "\n".join(x for x in told.stderr.splitlines() if "edge" in x) == ""
    assert told.returncode == 0


def test_the_restart_policy_is_the_one_that_the_failsafe_unit_relies_on() -> None:
    """Four failures in ten minutes, never after a configuration error, then the failsafe unit."""
    unit = (UNITS / "edge.service").read_text()
    options = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    wanted = {
        "Restart": "always", "RestartSec": "2", "StartLimitIntervalSec": "600",
        "StartLimitBurst": "4", "RestartPreventExitStatus": "78", "WatchdogSec": "10",
        "OnFailure": "edge-failsafe.service", "TimeoutStartSec": "300", "Type": "notify",
    }  # fmt: skip
    assert wanted == {name: options[name] for name in wanted}
    assert "MemoryDenyWriteExecute" not in options
