"""What a reader of the local API needs to know once: names, units, limits, alarm texts.

Made from the site alone, so it changes only with it; its hash is the site's digest. Not the values.
Called by the app's `View`.
"""

from __future__ import annotations

from edge.blocks import KINDS
from edge.hmi.view import Json, both, number
from edge.site.requests import resettable
from edge.site.site import Alarm, Grant, Point, Role, Site

VERSION = 1


def model(site: Site) -> Json:
    """The site for a screen. A point's place in `points` is its name on the wire.

    Points that are `local` tell of buses and devices: there are many, shown when asked for.
    """
    grants = {grant.point: grant for grant in site.grants}
    return {
        "v": VERSION,
        "hash": site.digest,
        "site": {
            "id": site.id,
            "name": both(site.name),
            "timezone": site.timezone,
            "language": site.language,
        },
        "points": [_point(point, grants.get(point.id)) for point in site.points],
        "alarms": {alarm.id: _alarm(alarm) for alarm in site.alarms},
        "interlocks": list(resettable(site, KINDS)),
        "buses": [
            {"id": bus.id, "driver": bus.kind.name, "devices": [d.id for d in bus.devices]}
            for bus in site.buses
        ],
    }


def _point(point: Point, grant: Grant | None) -> Json:
    made: Json = {
        "id": point.id,
        "name": both(point.name),
        "role": str(point.role),
        "unit": point.unit,
        "d": point.decimals,
        "range": [number(point.low), number(point.high)],
    }
    if point.device is not None:
        made |= {"device": point.device, "period": point.period}
    if point.local:
        made["local"] = True
    if point.labels:
        made["labels"] = {str(value): both(text) for value, text in point.labels.items()}
    if point.role in (Role.OUTPUT, Role.SETPOINT) and not point.fire:
        feedback = point.output.feedback if point.output else None
        made["write"] = {"feedback": feedback}
        if grant:  # what a person far away may do; on the spot the point's own range binds
            made["write"] |= {
                "range": [number(grant.low), number(grant.high)],
                "step": number(grant.step),
                "lease": [grant.lease, grant.lease_max],
            }
    return made


def _alarm(alarm: Alarm) -> Json:
    return {
        "text": both(alarm.text),
        "checks": [both(check) for check in alarm.checks],
        "cause": both(alarm.cause),
        "consequence": both(alarm.consequence),
        "priority": alarm.priority,
        "latch": alarm.latch,
        "point": alarm.point,
        "shows": list(alarm.shows),
        "responsible": alarm.responsible,
    }
