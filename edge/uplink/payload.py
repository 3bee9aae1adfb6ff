"""The JSON of the uplink and its topics below the root (`edge/<site>/<controller>`).

    status             retained, and the will: online or offline, boot, stream, configuration
    meta/<device>      retained: the dictionary of its points
    d/<device>         changes, each with its own time
    alarm/<id>         retained: the present state, empty when normal
    event              journal and gap records
    cmd/<device>/<pt>  commands to us; cmdack/<id> their answers

What has no device (virtual points, setpoints) stands under `_site`. Numbers are in the point's
unit, times Unix milliseconds. Pure functions, used by `report.py`, `session.py` and `export.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge.envelope import NO_DEVICE
from edge.site.site import Grant, Point, Site
from edge.store.journal_file import Record
from edge.store.outbox_file import Row
from edge.text import Text

STATUS = "status"
EVENT = "event"
COMMANDS = "cmd"


def dump(data: Any) -> str:
    """Compact JSON; NaN is a bug here, since JSON has none."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def numbered(row: Row) -> str:
    """The message with its place in the stream, by which duplicates and losses are told."""
    return f'{{"stream":"{row.stream}","n":{row.n},{row.body[1:]}'


def place(point: Point) -> tuple[str, str]:
    """Device and name of a point, as topics and messages have them."""
    if point.device is None:
        return NO_DEVICE, point.id
    return point.device, point.id.removeprefix(f"{point.device}.")


def command_target(root: str, topic: str) -> tuple[str, str] | None:
    """Device and point of a command's topic, None when it names none."""
    parts = topic.removeprefix(f"{root}/{COMMANDS}/").split("/")
    return (parts[0], parts[1]) if len(parts) == 2 else None


def status(state: str, identity: Mapping[str, str], stream: str, ts: int) -> str:
    """Online or offline; `identity` has `boot`, which commands must name, and `cfg`."""
    return dump({"state": state, **identity, "stream": stream, "ts": ts})


def data(device: str) -> str:
    """The topic of a device's changes."""
    return f"d/{device}"


def alarm(id: str) -> str:
    """The topic of an alarm's state."""
    return f"alarm/{id}"


def event(record: Record) -> str:
    """A record of the journal; `seq` is its number there, 0 when the disk could not take it."""
    head = f'{{"ts":{record.ts},"kind":{dump(record.kind)},"seq":{record.seq}'
    return f'{head},"data":{record.data}}}'


def dictionary(site: Site) -> dict[str, str]:
    """Topic and message of each device's points: what the numbers in `d/` mean."""
    grants = {grant.point: grant for grant in site.grants}
    devices: dict[str, dict[str, Any]] = {}
    for point in site.points:
        if point.local:
            continue
        device, name = place(point)
        devices.setdefault(device, {})[name] = _meaning(point, grants.get(point.id))
    return {
        f"meta/{device}": dump({"device": device, "cfg": f"sha256:{site.digest}", "points": points})
        for device, points in devices.items()
    }


def _meaning(point: Point, grant: Grant | None) -> dict[str, Any]:
    meaning: dict[str, Any] = {
        "role": point.role.value,
        "unit": point.unit,
        "name": _both(point.name),
        "decimals": point.decimals,
    }
    if point.labels:
        meaning["labels"] = {str(value): _both(text) for value, text in point.labels.items()}
    if grant is not None and not point.fire:
        meaning["write"] = {
            "range": [grant.low, grant.high],
            "step": grant.step if grant.step != float("inf") else None,
            "lease_s": [grant.lease, grant.lease_max],
            "roles": sorted(grant.roles),
        }
    return meaning


def _both(text: Text) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}
