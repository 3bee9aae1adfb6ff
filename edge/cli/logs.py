"""How log lines look: pretty on a terminal, one line each in the journal, JSON anywhere else.

Libraries that use the standard logging come out the same way. Set up once, by `edge run`;
`edge test` wants none of them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

Line = MutableMapping[str, Any]

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # sd-daemon(3)
QUIET = ("bacpypes3", "asyncio", "aiohttp.access")  # they warn about what we report ourselves


def silence() -> None:
    """Drop every line: what is played in virtual time is no news of this machine."""
    structlog.configure(processors=[_drop])
    logging.disable()


def _drop(_: object, __: str, line: Line) -> Line:
    raise structlog.DropEvent


def set_up(stream: TextIO = sys.stderr) -> None:
    """Send structlog and the standard logging to `stream`, in the form that suits it."""
    renderer = _renderer(stream)
    shared: list[Processor] = [structlog.stdlib.add_log_level]
    if renderer is not journal_line:  # the journal has its own times
        shared.append(structlog.processors.TimeStamper(fmt="iso", utc=not stream.isatty()))
    shared.append(structlog.processors.StackInfoRenderer())
    if not stream.isatty():  # the pretty one prints a traceback by itself
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in QUIET:
        logging.root.getChild(name).setLevel(logging.ERROR)


def _renderer(stream: TextIO) -> Processor:
    if stream.isatty():
        return structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ, pad_event_to=0)
    if to_journal(stream):
        return journal_line
    return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)


def to_journal(stream: TextIO) -> bool:
    """Whether `stream` is connected to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    if not device or not inode:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def journal_line(_: Any, __: str, line: Line) -> str:
    """`<4>device v3 is offline: no answer  code=device-offline device=v3`."""
    priority = PRIORITY.get(line.pop("level", "info"), 6)
    text = line.pop("event", "")
    trace = line.pop("exception", None)
    fields = " ".join(f"{key}={_quoted(value)}" for key, value in line.items())
    lines = [f"{text}  {fields}".rstrip(), *(trace.splitlines() if trace else ())]
    return "\n".join(f"<{priority}>{part}" for part in lines)


def _quoted(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if text and not any(c.isspace() or c in '"=' for c in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
