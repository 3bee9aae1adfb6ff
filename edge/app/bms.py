"""The Modbus server for the BMS next door, joined to a running controller.

Only joins the parts of `edge.bms`; made by the controller for a site that has the section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import edge
from edge.bms.registers import Registers, Status
from edge.bms.writes import Writes
from edge.scan.alarms import UNACKNOWLEDGED
from edge.site.registers import Bms

if TYPE_CHECKING:
    from edge.app.controller import Controller
    from edge.bms.server import Server

VENDOR = "edge"


def bms_server(controller: Controller) -> Server | None:
    """The server, None when nobody asked for one."""
    c, bms = controller, controller.site.bms
    if bms is None:
        return None
    from edge.bms.server import Server  # noqa: PLC0415 - pymodbus is loaded only where it serves

    registers = Registers(bms, c.scan.index, c.scan.image, lambda: _status(c))
    identity = (VENDOR, f"{c.site.id}/{c.site.controller}", edge.__version__)
    return Server(bms, registers, _writes(c, bms), identity, c.clock, c.events)


def _writes(c: Controller, bms: Bms) -> Writes:
    return Writes(
        c.commands, c.clock, user=bms.user, session=c.uplinks.boot, trusted=lambda: c.trusted
    )


def _status(c: Controller) -> Status:
    rows = c.scan.alarms.states.values()
    active = [row.alarm.priority for row in rows if row.active and not row.suppressed]
    return Status(
        alive=c.timings.count,
        active=(active.count(1), active.count(2), active.count(3), active.count(4)),
        unacknowledged=sum(row.state in UNACKNOWLEDGED for row in rows),
    )
