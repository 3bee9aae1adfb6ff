"""The health page of `edge watch`: buses with their load, devices with how they answer.

Draws, and asks nobody, like `edge/cli/view.py`. A line per device, and what is wrong below
it; on a wide terminal beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text as Rich

from edge.cli import health
from edge.cli.client import Json
from edge.cli.command import width as places
from edge.cli.points import duration_text
from edge.cli.view import BAD, TITLE, Align, Scene, cell, headline, row
from edge.text import Text

STATE, TRIP, AGE, REQUESTS = 6, 13, 9, 11  # widths of the columns after the name
COUNTED = 68  # columns from which requests are shown
BESIDE = 110  # columns from which what is wrong stands on the same line
BAR = 10


def draw_health(scene: Scene, width: int, height: int) -> Group:
    """The whole screen: at most `height` lines of at most `width` places."""
    columns = _columns(scene, width)
    lines = [line for bus in scene.health["buses"] for line in _bus(scene, bus, columns, width)]
    for uplink in scene.health["uplinks"]:
        lines += _broken(health.uplink_text(uplink, scene.language).split(", "), width, 1)
    room = max(0, height - 3)
    first = min(scene.scroll, max(0, len(lines) - room))
    visible = lines[first : first + room]
    titles = [title.of(scene.language) for title in health.TITLES]
    titles[0] = PLACE.of(scene.language)
    if len(visible) < len(lines):
        titles[0] = f"{first + 1}-{first + len(visible)}/{len(lines)}"
    made = [
        headline(scene, width),
        _cells([f" {titles[0]}", *titles[1:]], columns, TITLE),
        *visible,
    ]
    made += [Rich("")] * (height - 1 - len(made))
    return Group(*made[: height - 1], cell(f" {scene.keys.of(scene.language)}", width, "reverse"))


def _columns(scene: Scene, width: int) -> list[int]:
    """Name, state, round trip, age, requests; a width of 0 leaves the column out."""
    rest = [STATE, TRIP, AGE, REQUESTS if width >= COUNTED else 0]
    buses = scene.health["buses"]
    names = [f" {b['id']}" for b in buses]
    names += [f"  {d['id']}" for b in buses for d in b["devices"]]
    longest = max((places(name) for name in names), default=0) + 2
    return [max(8, min(longest, width - sum(rest))), *rest]


def _bus(scene: Scene, bus: Json, columns: Sequence[int], width: int) -> Iterator[Rich]:
    spoken, now = scene.language, scene.snapshot["t"]
    state = (health.UP if bus["up"] else health.DOWN).of(spoken)
    texts = [
        f" {bus['id']}", state, health.trip_text(bus, spoken),
        duration_text(bus["age_s"], spoken), str(bus["requests"]),
    ]  # fmt: skip
    yield _cells(texts, columns, TITLE)
    notes = [f"{LOAD.of(spoken)} {bar(bus['load'])} {health.load_text(bus)}"]
    if bus["reason"] is not None:
        notes.append(bus["reason"][spoken])
    notes += health.retry_notes(bus, now, spoken) + health.trouble(bus, spoken)
    yield from _broken(notes, width)
    for device in bus["devices"]:
        name, *rest = health.device_cells(device, spoken)
        line = _cells([f"  {name}", *rest], columns, "" if device["online"] else BAD)
        notes = health.device_notes(device, now, spoken)
        if width >= BESIDE:
            yield row([line, Rich(f"  {', '.join(notes)}")], width)
        else:
            yield line
            yield from _broken(notes, width)


def _broken(notes: Sequence[str], width: int, indent: int = 4) -> Iterator[Rich]:
    """Notes on as many lines as they need, each whole where that is possible."""
    line = ""
    for note in notes:
        longer = f"{line}, {note}" if line else note
        if line and indent + places(longer) > width:
            yield cell(" " * indent + line, width)
            longer = note
        line = longer
    if line:
        yield cell(" " * indent + line, width)


def bar(share: float | None) -> str:
    """A share of 1 as a bar of ten."""
    full = 0 if share is None else min(BAR, round(BAR * share))
    return f"[{'#' * full}{'.' * (BAR - full)}]"


def _cells(texts: Sequence[str], columns: Sequence[int], style: str) -> Rich:
    cells = [
        cell(text, wide, style, align)
        for text, wide, align in zip(texts, columns, ALIGN, strict=True)
        if wide
    ]
    return row(cells, sum(columns))


ALIGN: tuple[Align, ...] = ("left", "left", "right", "right", "right")
PLACE = Text("总线/设备", "bus/device")
LOAD = Text("负载", "load")
