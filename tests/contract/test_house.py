"""The rules of the house that a reader would otherwise have to watch over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.events import EVENTS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "edge").rglob("*.py")) + sorted((ROOT / "drivers").rglob("*.py"))

# A library, and the only places that import it.
HOMES = {
    "sqlite3": ("edge/store/",),
    "paho": ("edge/uplink/mqtt.py",),
    "aiohttp": ("edge/hmi/",),
    "numba": ("edge/rules/compiled.py",),
    "bacpypes3": ("drivers/bacnet/link.py", "drivers/sim/serve_bacnet.py"),
    "pymodbus": ("edge/bms/server.py",),
    "amqtt": ("edge/cli/broker.py",),
    "yaml": ("edge/schema/",),
    "structlog": ("edge/events.py", "edge/cli/logs.py"),
    "click": ("edge/cli/",),
    "rich": ("edge/cli/",),
}
WITHOUT_ASYNCIO = ("edge/image/", "edge/blocks/", "edge/rules/", "edge/scan/")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str) -> None:
    """Whoever changes a dependency finds all of its use in one place."""
    users = [name(p) for p in SOURCES if library in imported(p)]
    assert [u for u in users if not u.startswith(HOMES[library])] == []
    assert users


def test_the_middle_knows_no_loop() -> None:
    """Image, blocks, rules and scan are synchronous: no asyncio in them."""
    users = [name(p) for p in SOURCES if "asyncio" in imported(p)]
    assert [u for u in users if u.startswith(WITHOUT_ASYNCIO)] == []


def test_everything_is_caught_in_two_places_only() -> None:
    """`except Exception` stands in supervise.py and in the scan; nowhere is it bare."""
    found = [
        name(path)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and ast.unparse(node.body[-1]) != "raise"  # undo, and pass it on
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert {"edge/supervise.py", "edge/scan/cycle.py"} == set(found)


def test_every_event_speaks_both_languages() -> None:
    """With the same places in both texts, and a code of its own."""
    assert len({event.code for event in EVENTS}) == len(EVENTS)
    for event in EVENTS:
        zh, en = (set(re.findall(r"{(\w+)", text)) for text in event.text)
        assert zh == en, event.code


def test_the_readme_names_paths_that_exist() -> None:
    """Every path in backticks that looks like one of ours is there."""
    text = (ROOT / "README.md").read_text()
    paths = re.findall(r"`((?:edge|drivers|config|systemd|tests|bench|docs)/[\w./-]*)`", text)
    assert len(paths) > 20
    assert [p for p in paths if not (ROOT / p).exists()] == []
