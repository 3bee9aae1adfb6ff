"""`edge retry`: what it asks of the controller, what it says, how it refuses."""

from __future__ import annotations

import getpass
import json

from click.shell_completion import ShellComplete

from edge.cli import group
from tests.edge.cli.test_commands import edge
from tests.edge.conftest import Running


def test_all_that_waits_is_tried(running: Running) -> None:
    """Without a name; each bus and device is a line, in both languages."""
    result = edge("retry")

    assert result.exit_code == 0
    assert result.output.splitlines()[:2] == [
        "pump_room: connecting now", "v3: is asked now, in turn with others of its bus",
    ]  # fmt: skip
    assert running.view.asked == [("retry", None, getpass.getuser())]
    assert "pump_room: 正在连接" in edge("retry", lang="zh").output


def test_one_device_is_tried(running: Running) -> None:
    """By its name; for scripts as JSON."""
    result = edge("retry", "v3", "--json")

    assert result.exit_code == 0
    assert json.loads(result.output) == {"buses": [], "devices": ["v3"]}
    assert running.view.asked == [("retry", "v3", getpass.getuser())]


def test_nothing_waits(running: Running) -> None:
    """A sentence and exit code 1."""
    result = edge("retry", "booster")

    assert (result.exit_code, result.output) == (1, "edge: nothing waits [NOTHING_WAITS]\n")


def test_names_are_completed(running: Running) -> None:
    """Buses and devices of the running controller."""

    def complete(begun: str) -> list[str]:
        shell = ShellComplete(group, {}, "edge", "_EDGE_COMPLETE")
        return [item.value for item in shell.get_completions(["retry"], begun)]

    assert complete("") == ["pump_room", "booster", "v3"]
    assert complete("v") == ["v3"]


def test_no_controller_is_another_exit_code() -> None:
    """69: nobody is there who could try."""
    assert edge("retry").exit_code == 69
