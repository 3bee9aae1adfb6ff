"""`edge check --plan`: which requests a bus will carry, what they cost, what is known of devices.

Pure but for what drivers have kept, which is read from the state directory and left as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.cli.health import aligned
from edge.cli.points import duration_text
from edge.driver import FieldDevice, Kept
from edge.site import cost
from edge.site.site import Bus, Site
from edge.text import Language, Text

Json = dict[str, Any]
Memory = dict[str, dict[str, Kept]]
"""What drivers keep, by bus and device."""


def remembered(directory: Path) -> Memory | None:
    """What drivers have learned in this state directory; None when nobody has run there yet."""
    if not (directory / "journal.db").exists():
        return None
    from edge.app.retain import read_drivers

    return read_drivers(directory)


def as_json(site: Site, directory: Path, memory: Memory | None) -> Json:
    """The plan for scripts; shares are of 1, times in seconds, None where nobody can tell."""
    known = memory or {}
    return {
        "state": None if memory is None else str(directory),
        "buses": [_bus(bus, known.get(bus.id, {})) for bus in site.buses],
    }


def _bus(bus: Bus, memory: dict[str, Kept]) -> Json:
    return {
        "id": bus.id,
        "driver": bus.kind.name,
        "load": cost.load(bus),
        "rate": sum(1 / poll.period for poll in bus.polls),
        "devices": [_device(bus, device, memory.get(device.id, {})) for device in bus.devices],
    }


def _device(bus: Bus, device: FieldDevice, kept: Kept) -> Json:
    learned = bus.kind.learned(device, kept) if kept and bus.kind.learned is not None else ()
    return {
        "id": device.id,
        "polls": [
            {
                "label": poll.label, "points": list(poll.points), "period": poll.period,
                "spare": poll.spare, "cost": cost.cost(bus, poll), "share": cost.share(bus, poll),
            }
            for poll in bus.polls
            if poll.device == device.id
        ],
        "learned": [{"zh": text.zh, "en": text.en} for text in learned],
    }  # fmt: skip


def lines(plan: Json, directory: Path, spoken: Language) -> list[str]:
    """The plan as text: a bus, its devices, a line per request."""
    made = []
    for bus in plan["buses"]:
        made.append(_head(bus, spoken))
        for device in bus["devices"]:
            made += [f"  {line}" for line in _device_lines(device, spoken)]
    state = NOTHING if plan["state"] is None else FROM
    return [*made, state.format(directory=directory).of(spoken)]


def _head(bus: Json, spoken: Language) -> str:
    load = UNKNOWN if bus["load"] is None else LOAD.format(load=100 * bus["load"])
    return HEAD.format(bus=bus["id"], driver=bus["driver"], rate=bus["rate"], load=load).of(spoken)


def _device_lines(device: Json, spoken: Language) -> list[str]:
    made = [device["id"]]
    if device["polls"]:
        calculated = device["polls"][0]["cost"] is not None
        count = len(TITLES) if calculated else len(TITLES) - 2
        rows = [[title.of(spoken) for title in TITLES[:count]]]
        rows += [_row(poll, spoken)[:count] for poll in device["polls"]]
        made += [f"  {row.rstrip()}" for row in aligned(rows)]
    else:
        made.append(f"  {UNREAD.of(spoken)}")
    return made + [f"  ! {text[spoken]}" for text in device["learned"]]


def _row(poll: Json, spoken: Language) -> list[str]:
    row = [
        poll["label"], duration_text(poll["period"], spoken), str(len(poll["points"])),
        str(poll["spare"]),
    ]  # fmt: skip
    if poll["cost"] is not None:
        unit = "毫秒" if spoken == "zh" else "ms"
        row += [f"{1e3 * poll['cost']:.1f} {unit}", f"{100 * poll['share']:.1f} %"]
    return row


HEAD = Text(
    "总线 {bus} ({driver}): 每秒 {rate:.3g} 次请求, {load}",
    "bus {bus} ({driver}): {rate:.3g} requests a second, {load}",
)
LOAD = Text("占线路时间的 {load:.1f} %", "{load:.1f} % of the line's time")
UNKNOWN = Text("耗时取决于网络, 不能预先计算", "their time depends on the network")
TITLES = (
    Text("请求", "request"),
    Text("周期", "every"),
    Text("点数", "points"),
    Text("多读", "spare"),
    Text("耗时", "time"),
    Text("占比", "share"),
)
UNREAD = Text("只写, 不读", "written, never read")
FROM = Text(
    "标 ! 的是驱动对设备的了解, 取自 {directory}",
    "marked ! is what drivers have learned of a device, from {directory}",
)
NOTHING = Text(
    "{directory} 中还没有运行过控制器, 驱动对设备尚无了解",
    "no controller has run in {directory} yet: nothing has been learned of the devices",
)
