"""A recorded run comes out the same when it is gone through again, and says where it does not."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from drivers import DRIVERS
from drivers.sim.driver import Line, sim_kind
from drivers.sim.models.zones import ZoneNetwork
from drivers.sim.rig import Rig
from edge.app import build
from edge.app.controller import Controller
from edge.blocks import KINDS
from edge.cli import group
from edge.clock import Clock
from edge.errors import Unusable
from edge.proof.replay import Replay, head
from edge.proof.virtual_loop import run_virtual
from edge.rules.kernel import plain_kernel
from edge.scan.record import INPUTS
from edge.site.load import load_site
from edge.site.site import Site

SITE = """
site: {id: recorded, timezone: Asia/Shanghai}
clock: {trust: always}
scan: {startup_delay: 1s}
buses: {field: {driver: sim, noise: 1}}
devices:
  v3:
    bus: field
    model: zones
    points:
      position: {variable: v3_command, unit: "%", range: [0, 100], default: 80, rate: 2}
      feedback: {variable: v3_position, unit: "%", range: [0, 100], poll: 500ms}
      pressure: {variable: z3_pressure, unit: MPa, range: [0, 1.6], poll: 250ms}
rules:
  low: {block: hysteresis, input: v3.pressure, on_at: 0.30, off_at: 0.35, on_delay: 1s}
  watch: {block: valve, command: v3.position, position: v3.feedback, travel: 50s}
interlocks:
  closed: {when: v3.feedback < 25, trip: [v3.position], value: 50}
alarms:
  LOW:
    point: v3.pressure
    below: 0.35 MPa
    priority: P2
    latch: true
    text: {zh: 低, en: low}
    checks: {zh: [看], en: [look]}
"""


Acts = dict[float, Callable[[], Awaitable[object] | None]]


async def life(controller: Controller, todo: Acts, *, kill: bool) -> None:
    """Let the controller live for a minute; `todo` by the second."""
    loop = asyncio.get_running_loop()
    stop, began = loop.create_future(), loop.time()
    task = loop.create_task(controller.run(stop))
    for at, act in todo.items():
        await asyncio.sleep(began + at - loop.time())
        if (done := act()) is not None:
            await done
    await asyncio.sleep(began + 60 - loop.time())
    if kill:
        task.cancel()
        await asyncio.wait([task])
    else:
        stop.set_result("test")
        await task


def acts(controller: Controller, rig: Rig, line: Line, command: str) -> Acts:
    """A command, a fault that trips an interlock, a silent device, what a person answers."""
    view = controller.view
    envelope = {"op": "set", "id": command, "point": "v3.position", "value": 60, "lease_s": 20}
    return {
        2.0: lambda: view.command(envelope, "lisi"),
        25.0: lambda: rig.start("zones", "valve_drift:3"),
        32.0: lambda: line.silent.add("v3"),
        38.0: line.silent.clear,
        45.0: lambda: rig.stop("zones", "valve_drift:3"),
        50.0: lambda: view.alarm("LOW", "ack", 0, "lisi"),
        58.0: lambda: view.alarm("closed", "reset", 0, "lisi"),
    }


def recorded(folder: Path) -> tuple[Site, list[Path]]:
    """Two lives that go on from each other; the first one is killed."""
    (folder / "site.yaml").write_text(SITE)
    rig, line = Rig({"zones": ZoneNetwork()}, noise=1.0), Line()
    site = load_site(folder / "site.yaml", {**DRIVERS, "sim": sim_kind(rig, line)}, KINDS)
    records = [folder / "first.rec", folder / "second.rec"]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = Clock(monotonic=loop.time, wall=lambda: 1.8e9 + loop.time(), trusted=lambda: True)
        for record in records:
            controller = build(
                site, state=folder / "state", socket=folder / "s.sock", clock=clock,
                threaded=False, record=record,
            )  # fmt: skip
            todo = acts(controller, rig, line, record.stem)
            await life(controller, todo, kill=record == records[0])

    run_virtual(main)
    return site, records


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, list[Path]]:
    return recorded(tmp_path_factory.mktemp("record"))


def replayed(path: Path, site: Site) -> Replay:
    found = Replay(path, site, KINDS, plain_kernel().run)
    for _ in found:
        pass
    return found


def test_every_step_of_both_lives_comes_out_the_same(run: tuple[Site, list[Path]]) -> None:
    """Faults, a silent device, a command, an interlock, a restart: bit for bit, to the end."""
    site, records = run
    for record in records:
        found = replayed(record, site)
        assert found.difference is None
        assert found.steps > 500
    assert found.complete
    with gzip.open(records[1], "rt") as lines:
        text = "".join(lines)
    assert '["LOW", "UNACK"]' in text
    assert '["v3.position", 50.0, 5]' in text  # the interlock's
    said = {name for name in INPUTS if f'\n["{name}"' in text}
    assert {"restore", "ask", "acknowledge", "reset_interlock", "online", "failsafe"} <= said


def changed(record: Path, path: Path, change: Callable[[list], object]) -> Path:
    """A copy in which one line is another."""
    with gzip.open(record, "rt") as lines:
        whole = [json.loads(line) for line in lines]
    change(whole)
    with gzip.open(path, "wt") as out:
        out.writelines(json.dumps(line) + "\n" for line in whole)
    return path


def test_another_input_is_another_run(run: tuple[Site, list[Path]], tmp_path: Path) -> None:
    """One answer that says something else: the first step after it is the one that differs."""
    site, records = run

    def disturb(lines: list) -> None:
        at = next(i for i, line in enumerate(lines) if i > 300 and line[0] == "deliver")
        lines[at][2] = "f8:" + "AAAAAAAA8D8=" * (len(lines[at][2]) // 11)
        disturbed.append(sum(line[0] == "step" for line in lines[1:at]) + 1)

    disturbed: list[int] = []
    found = replayed(changed(records[1], tmp_path / "other.rec", disturb), site)
    assert found.difference is not None
    assert found.difference.step == disturbed[0]


def test_a_record_that_was_cut_off_counts_as_far_as_it_goes(
    run: tuple[Site, list[Path]], tmp_path: Path
) -> None:
    """After a kill or on a full disk: what is whole is gone through, and that it has no end."""
    site, records = run
    cut = tmp_path / "cut.rec"
    cut.write_bytes(records[1].read_bytes()[:-2000])
    found = replayed(cut, site)
    assert found.difference is None
    assert found.steps > 100
    assert not found.complete


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    """A file of another kind, or none at all, is one sentence."""
    (tmp_path / "x.rec").write_text("hello")
    for name in ("x.rec", "none.rec"):
        with pytest.raises(Unusable):
            head(tmp_path / name)


def test_the_commands_replay_and_explain(
    run: tuple[Site, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`edge replay` says the same bit for bit; `edge explain --record --at` shows the chain."""
    _, records = run
    monkeypatch.setenv("EDGE_JIT", "0")
    monkeypatch.setenv("EDGE_LANG", "en")
    asked = CliRunner().invoke(group, ["replay", str(records[1]), "--json"])
    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.output)["same"] is True
    told = CliRunner().invoke(
        group,
        ["explain", "v3.position", "--record", str(records[0]), "--at", "2027-01-15 16:00:40"],
    )
    assert told.exit_code == 0, told.output
    assert "interlocks.closed" in told.output
    late = CliRunner().invoke(group, ["explain", "v3.position", "--record", str(records[1]),
                                      "--at", "2030-01-01 00:00:00"])  # fmt: skip
    assert late.exit_code == 2


def test_a_site_that_has_changed_is_refused(run: tuple[Site, list[Path]], tmp_path: Path) -> None:
    """The same bits are promised for the same site only."""
    _, records = run
    (tmp_path / "site.yaml").write_text(SITE.replace("0.30", "0.31"))
    asked = CliRunner().invoke(group, ["replay", str(records[1]), str(tmp_path / "site.yaml")])
    assert asked.exit_code == 78
