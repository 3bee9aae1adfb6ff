"""`edge check --plan`: what each bus will carry, what it costs, what is known of the devices."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from edge.app.retain import DRIVERS as NAME
from edge.app.retain import FORM
from edge.cli import group
from edge.driver import FieldDevice, Kept, Poll
from edge.store.database import Ballast
from edge.store.journal_file import JournalFile, State
from edge.text import Text
from tests.support.bench_site import BENCH, LINE

SITE = """
site: {id: yard, timezone: Asia/Shanghai}
buses:
  meters: {driver: line, port: /dev/ttyS0}
  net: {driver: bench, port: eth0}
devices:
  a: {bus: meters, unit: 1, points: {p: {address: 0, poll: 1s}, q: {address: 1, poll: 500ms}}}
  b: {bus: meters, unit: 2, points: {run: {address: 2, access: write, output: true}}}
  c: {bus: net, unit: 1, points: {p: {address: 0, poll: 4s}}}
"""


def learned(device: FieldDevice, kept: Kept) -> Iterator[Text]:
    for register in kept.get("bad", []):
        yield Text(f"寄存器 {register} 被拒", f"register {register} is refused")


def spare(bus: object, device: FieldDevice) -> tuple[Poll, ...]:
    """The bench's plan, with two registers more in each request."""
    return tuple(replace(poll, spare=2) for poll in BENCH.plan(bus, device))


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = {"line": replace(LINE, plan=spare, learned=learned), "bench": BENCH}
    monkeypatch.setitem(sys.modules, "drivers", SimpleNamespace(DRIVERS=table))
    monkeypatch.setenv("EDGE_LANG", "en")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "site.yaml").write_text(SITE)


def plan(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(group, ["check", str(folder), "--plan", *words])


@contextlib.contextmanager
def kept(folder: Path, memory: object) -> Iterator[Path]:
    """A state directory as a running controller uses it."""
    folder.mkdir()
    journal = JournalFile(folder / "journal.db", Ballast(folder / "ballast"))
    journal.open()
    journal.apply([State(NAME, json.dumps({"form": FORM, "drivers": memory}).encode())])
    yield folder
    journal.close()


def test_the_requests_of_each_bus(tmp_path: Path) -> None:
    """A line per request with its cost, where that can be calculated, and the bus's load."""
    nowhere = tmp_path / "none"
    done = plan(tmp_path, "--state", str(nowhere))
    assert done.exit_code == 0
    assert done.output.splitlines()[-12:] == [
        "bus meters (line): 3 requests a second, 15.0 % of the line's time",
        "  a",
        "    request  every  points  spare  time     share",
        "    all      0.5 s  1       2      50.0 ms  10.0 %",
        "    all      1.0 s  1       2      50.0 ms  5.0 %",
        "  b",
        "    written, never read",
        "bus net (bench): 0.25 requests a second, their time depends on the network",
        "  c",
        "    request  every  points  spare",
        "    all      4.0 s  1       0",
        f"no controller has run in {nowhere} yet: nothing has been learned of the devices",
    ]
    assert not nowhere.exists()


def test_what_drivers_have_learned(tmp_path: Path) -> None:
    """From the state directory of a running controller, which is only read; also when it ended."""
    memory = {"meters": {"a": {"bad": [7]}}, "gone": {"x": {"bad": [1]}}}
    with kept(tmp_path / "state", memory) as state:
        before = sorted(path.name for path in state.iterdir())
        english = plan(tmp_path, "--state", str(state)).output
        chinese = plan(tmp_path, "--state", str(state), "--lang", "zh").output
        assert sorted(path.name for path in state.iterdir()) == before
    assert "    ! register 7 is refused\n" in english
    assert "    ! 寄存器 7 被拒\n" in chinese
    assert "占线路时间的 15.0 %" in chinese
    assert plan(tmp_path, "--state", str(state), "--lang", "en").output == english


def test_for_scripts(tmp_path: Path) -> None:
    """All the numbers, and None where nobody can tell."""
    with kept(tmp_path / "state", {"meters": {"a": {"bad": [7]}}}) as state:
        found = json.loads(plan(tmp_path, "--json", "--state", str(state)).output)
    meters, net = found["plan"]["buses"]
    assert found["ok"]
    assert found["plan"]["state"] == str(tmp_path / "state")
    assert (meters["id"], meters["driver"], round(meters["load"], 6)) == ("meters", "line", 0.15)
    assert meters["devices"][0] == {
        "id": "a",
        "polls": [
            {"label": "all", "points": ["a.q"], "period": 0.5, "spare": 2, "cost": 0.05,
             "share": 0.1},
            {"label": "all", "points": ["a.p"], "period": 1.0, "spare": 2, "cost": 0.05,
             "share": 0.05},
        ],
        "learned": [{"zh": "寄存器 7 被拒", "en": "register 7 is refused"}],
    }  # fmt: skip
    assert meters["devices"][1]["polls"] == []
    assert (net["load"], net["devices"][0]["polls"][0]["cost"]) == (None, None)


def test_a_line_that_is_too_busy_can_be_looked_at(tmp_path: Path) -> None:
    """The plan of a site that is refused for it is shown all the same; it still fails."""
    (tmp_path / "site.yaml").write_text(SITE.replace("500ms", "60ms"))
    done = plan(tmp_path, "--state", str(tmp_path))
    assert done.exit_code == 78
    assert "[bus-overloaded]" in done.output
    assert "83.3 %" in done.output


def test_a_state_directory_alone_is_a_mistake(tmp_path: Path) -> None:
    """`--state` without `--plan` would do nothing: said, not ignored."""
    done = CliRunner().invoke(group, ["check", str(tmp_path), "--state", str(tmp_path)])
    assert done.exit_code == 2
