"""One device behind the connection: where its points lie, how to reach it, what is known of it.

Not a connection (`link.py`), not reading or writing (`driver.py`), which alone makes these.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.modbus import pdu
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig
from drivers.modbus.contact import Contact
from drivers.modbus.exceptions import MEMORY
from drivers.modbus.knowledge import Knowledge
from drivers.modbus.parts import Reading
from drivers.modbus.plan import FUNCTIONS, Spot, spot_of, unit_of
from edge.driver import FieldDevice, Host
from edge.errors import DeviceRefused, DeviceTimeout
from edge.events import DEVICE_DAMAGED


class Device:
    """One device. `contact` is there when it must be met before it is used.

    `ask` asks it alone and may raise NotYet; `insist` waits instead, for what cannot be begun anew.
    """

    def __init__(
        self,
        bus: BusConfig,
        device: FieldDevice,
        readings: Sequence[Reading],
        host: Host,
        ask: pdu.Ask,
        insist: pdu.Ask,
    ) -> None:
        self.id = device.id
        self.config: DeviceConfig = device.config
        self.unit = unit_of(bus, self.config)
        self.ask = ask
        self.insist = insist
        self.spots = {p.id: spot_of(self.config, p) for p in device.points}
        self.unreadable = {p.id for p in device.points if not p.config.readable}
        self.knowledge = Knowledge(device, host, readings)
        self.contact: Contact | None = None
        if self.config.identity is not None or self.config.program:
            self.contact = Contact(device, host, self.knowledge, insist)
        self._readings = readings
        self._host = host
        self._damaged = False  # told, and not silent since

    def note(self, error: DeviceTimeout | DeviceRefused) -> None:
        """After silence it may be another one, or was switched off and on; damage is told once."""
        if isinstance(error, DeviceTimeout):
            self._damaged = False
            if self.contact is not None:
                self.contact.lost()
        elif error.code == MEMORY and not self._damaged:
            self._damaged = True
            self._host.emit(DEVICE_DAMAGED, device=self.id)

    def probe(self) -> pdu.Request:
        """The smallest request that the device is known to answer, else most probably answers.

        What reading clears is spared; a device with nothing else is asked who it is.
        """
        spots = [s for s in self.spots.values() if not s.clears]
        if not spots:
            return pdu.identify(pdu.BASIC)
        bad = {(r.block.table, *place) for r in self._readings for place in r.bad}

        def doubt(spot: Spot) -> tuple[bool, bool, int, int]:
            refused = (spot.table, spot.address, spot.size) in bad
            return refused, spot.point in self.unreadable, spot.size, spot.address

        spot = min(spots, key=doubt)
        return pdu.read(FUNCTIONS[spot.table], spot.address, spot.size)
