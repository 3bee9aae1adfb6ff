"""Log lines for terminal, journal and files; keys from a pseudo-terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from edge.cli.keys import Keys
from edge.cli.logs import journal_line, set_up, to_journal


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Other tests log as they would without these."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    structlog.reset_defaults()


def test_a_file_gets_one_json_object_per_line_from_us_and_from_libraries() -> None:
    """structlog and the standard logging come out in the same form."""
    out = io.StringIO()
    set_up(out)

    structlog.get_logger().warning("设备 v3 离线", code="device-offline", device="v3")
    logging.root.getChild("paho").warning("socket closed")

    ours, theirs = map(json.loads, out.getvalue().splitlines())
    assert (ours["event"], ours["level"], ours["device"]) == ("设备 v3 离线", "warning", "v3")
    assert (theirs["event"], theirs["level"]) == ("socket closed", "warning")
    assert ours["timestamp"].endswith("Z")


def test_a_traceback_stays_within_its_line() -> None:
    """One event is one line of JSON, whatever it carries."""
    out = io.StringIO()
    set_up(out)

    structlog.get_logger().error("task failed", exc_info=ValueError("boom"))

    (line,) = map(json.loads, out.getvalue().splitlines())
    assert "ValueError: boom" in line["exception"]


def test_the_journal_gets_priorities_and_the_sentence_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`<4>` is a warning to journald; the time is the journal's own."""
    with (tmp_path / "log").open("w+", encoding="utf-8") as out:
        status = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert to_journal(out)
        set_up(out)
        structlog.get_logger().warning("device v3 is offline", code="device-offline", device="v3")
        out.seek(0)
        assert out.read() == "<4>device v3 is offline  code=device-offline device=v3\n"


def test_the_journal_of_another_stream_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child with its output in a file inherits JOURNAL_STREAM and must not believe it."""
    monkeypatch.setenv("JOURNAL_STREAM", "9:99")
    with (tmp_path / "log").open("w") as out:
        assert not to_journal(out)


def test_journal_fields_are_quoted_and_each_line_of_a_trace_has_its_priority() -> None:
    """What holds spaces or quotes is quoted; journald would cut an unmarked second line off."""
    line = journal_line(None, "", {"level": "error", "event": "x", "reason": 'no "y"', "v": 0.5,
                                   "exception": "a\nb"})  # fmt: skip

    assert line == '<3>x  reason="no \\"y\\"" v=0.5\n<3>a\n<3>b'


def test_keys_are_read_one_by_one_and_the_terminal_is_put_back() -> None:
    """Arrows by name, letters as they are, nothing when nothing was typed."""
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with Keys(theirs) as keys:
        assert keys.pressed() == []
        os.write(ours, b"\x1b[B")
        assert keys.pressed(1.0) == ["down"]
        os.write(ours, b"1q")
        assert keys.pressed(1.0) == ["1", "q"]
        assert not termios.tcgetattr(theirs)[3] & termios.ICANON
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
