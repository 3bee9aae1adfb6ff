"""`edge bypass`: only what the site lets people bypass, with a reason, for a while."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edge.cli.test_commands import edge
from tests.edge.conftest import Running


def test_it_asks_for_a_reason_and_a_time(running: Running) -> None:
    """Neither can be left out: exit code 2, nothing is sent."""
    for words in (("--for", "2h"), ("--reason", "new contact")):
        assert edge("bypass", "fan_door", *words).exit_code == 2
    assert running.view.asked == []


def test_what_is_not_bypassable_is_refused(running: Running) -> None:
    """The command says what would have to stand in the site."""
    for language in ("zh", "en"):
        result = edge("bypass", "v3", "--for", "2h", "--reason", "x", lang=language)
        assert result.exit_code == 1
        assert "bypassable: true" in result.output
    assert (
        "bypassable: true" in edge("bypass", "v3", "--for", "2h", "--reason", "x", lang="zh").output
    )
    assert running.view.asked == []


def test_it_is_a_command_with_lease_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the setpoint of the interlock; followed to its end like any other command."""
    sent: list[tuple[str, Any]] = []
    point = {
        "id": "fan_door.bypass", "name": {"zh": "门联锁 旁路", "en": "Door interlock bypass"},
        "role": "setpoint", "unit": "", "d": 0, "write": {"feedback": None},
    }  # fmt: skip

    class Served:
        def __init__(self, _: str | None) -> None: ...

        def get(self, _: str) -> Any:
            return {"points": [point]}

        def post(self, path: str, body: Any) -> Any:
            sent.append((path, body))
            return {"id": body["id"], "state": "VERIFIED", "value": 1.0, "feedback": 1.0}

    monkeypatch.setattr("edge.cli.bypass.Client", Served)
    assert edge("bypass", "fan_door", "--for", "2h", "--reason", "new contact").exit_code == 0
    ((path, envelope),) = sent
    assert path == "commands"
    wanted = {"point": "fan_door.bypass", "value": 1.0, "lease_s": 7200.0, "reason": "new contact"}
    assert wanted.items() <= envelope.items()
