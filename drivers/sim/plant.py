"""The plant of the demo site: a booster set that feeds three zones, a panel, a lobby, a fire main,
a garage with its sump.

Built from the models and served on real sockets, on the units and ports of `config/demo/site.yaml`.
Not the controller: it knows nothing of it. The caller owns the task in which `run` advances time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from drivers.sim.maps import (
    FIRE_MAP,
    GARAGE_MAP,
    booster_map,
    io_map,
    meter_map,
    sump_map,
    valve_map,
)
from drivers.sim.models.booster import Booster
from drivers.sim.models.drainage import Sump
from drivers.sim.models.fire import FireMain
from drivers.sim.models.lighting import Garage, Lobby
from drivers.sim.models.panel import IoModule
from drivers.sim.models.zones import ZoneNetwork
from drivers.sim.registers import Register, Unit
from drivers.sim.rig import Rig
from drivers.sim.serve_bacnet import BacnetDevice, ObjectSpec
from drivers.sim.serve_modbus import ModbusServer
from drivers.sim.serve_rtu import SerialLine
from edge.errors import LinkDown, Unusable
from edge.text import Text

BOOSTER, VALVES, HEADER, METERS, PANEL, FIRE = 1, (11, 12, 13), 20, (21, 22, 23), 31, 41
PIT, LANE = 51, 52
MODBUS_PORT = 15502
LOBBY, LOBBY_ADDRESS = 1001, "127.0.0.1/32:47820"
VENDOR, REVISION = "Simulated Equipment", "1.0"  # what every unit says of itself
LAMPS = 50.0  # %, until somebody commands them
PRESSURE = 0.41  # MPa, where the demo's booster rule keeps it
SPEED = 87.6  # %, at which two pumps feed three zones at that pressure
MORNING = 435.0  # minute of the day: half of the lobby's light is daylight
QUIET = 5.0  # minute of the garage's day: nobody comes for an hour but whom a fault brings
WET = 0.85  # m in the pit, just below where a pump starts
STEP = 0.1  # s between advances


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can go wrong in the plant, and can be put right."""

    name: str
    text: Text
    start: Callable[[], None]
    stop: Callable[[], None]


class Plant:
    """Enter to listen, `run` to let time pass, leave to close.

    `rig` is the equipment, `modbus` and `bacnet` serve it and have wire faults; `faults` are the
    ready-made ones by name. `log` gets the Modbus server's line for each change it served. The
    Modbus units also stand on a `serial` line where one is wanted.
    """

    def __init__(
        self,
        modbus_port: int = MODBUS_PORT,
        bacnet_address: str = LOBBY_ADDRESS,
        *,
        noise: float = 1.0,
        seed: int = 1,
        minute: float = MORNING,
        log: TextIO | None = None,
        serial: bool = False,
        link: Path | None = None,
    ) -> None:
        booster = Booster(pressure=PRESSURE)
        booster.run_at(SPEED, SPEED)
        zones = ZoneNetwork(supply=PRESSURE)

        def couple() -> None:
            zones.supply = booster.pressure
            booster.draw = zones.flow

        couple()
        self.rig = Rig(
            {
                "booster": booster,
                "zones": zones,
                "io": IoModule(),
                "lobby": Lobby(minute=minute, level=LAMPS),
                "fire_main": FireMain(),
                "sump": Sump(level=WET),
                "garage": Garage(minute=QUIET),
            },
            couplings=[couple],
            noise=noise,
            seed=seed,
        )
        self.modbus = ModbusServer(self._units(), port=modbus_port, before=self._catch_up, log=log)
        self.serial = SerialLine(self.modbus, link) if serial else None
        self.bacnet = BacnetDevice(LOBBY, bacnet_address, self._objects(), model="lobby-lighting")
        self.faults = {fault.name: fault for fault in self._faults()}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Plant:
        """Listen on both ports; `Unusable` when one of them is taken."""
        self._catch_up()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.modbus)
                if self.serial is not None:
                    await self._open_serial(stack, self.serial)
                await stack.enter_async_context(self.bacnet)
            except OSError as error:
                raise Unusable(_taken(self.modbus.port, error)) from error
            except LinkDown as error:
                raise Unusable(error.reason) from error
            self._stack = stack.pop_all()
        return self

    async def _open_serial(self, stack: AsyncExitStack, serial: SerialLine) -> None:
        try:
            await stack.enter_async_context(serial)
        except OSError as error:
            raise Unusable(_unlinked(error)) from error

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Let time pass; never returns."""
        while True:
            self._catch_up()
            self.bacnet.tick()
            await asyncio.sleep(STEP)

    def press(self, button: int) -> None:
        """Hold the push button on this input of the panel."""
        self.rig.start("io", f"press:{button}")

    def let_go(self, button: int) -> None:
        """Let go of it."""
        self.rig.stop("io", f"press:{button}")

    def _catch_up(self) -> None:
        self.rig.advance_to(asyncio.get_running_loop().time())

    def _units(self) -> dict[int, Unit]:
        units = {
            BOOSTER: self._unit("booster", booster_map(), "BOOSTER-3"),
            HEADER: self._unit("zones", meter_map("header"), "METER-PF", holes=False),
            PANEL: self._unit("io", io_map(), "IO-8-8"),
            FIRE: self._unit("fire_main", FIRE_MAP, "HYDRANT"),
            PIT: self._unit("sump", sump_map(), "SUMP-2"),
            LANE: self._unit("garage", GARAGE_MAP, "DIMMER-1"),
        }
        for i, (valve, meter) in enumerate(zip(VALVES, METERS, strict=True), 1):
            units[valve] = self._unit("zones", valve_map(i), "VALVE-ACT")
            units[meter] = self._unit("zones", meter_map(f"z{i}"), "METER-PF", holes=False)
        return units

    def _unit(
        self, model: str, registers: tuple[Register, ...], product: str, *, holes: bool = True
    ) -> Unit:
        return Unit(
            registers, partial(self.rig.read, model), partial(self.rig.write, model), holes=holes,
            identity={0: VENDOR, 1: product, 2: REVISION},
        )  # fmt: skip

    def _objects(self) -> tuple[ObjectSpec, ...]:
        def shown(number: int, variable: str, units: str) -> ObjectSpec:
            get = partial(self.rig.read, "lobby", variable)
            return ObjectSpec(f"analog-input,{number}", variable, units, get=get)

        lamps = partial(self.rig.write, "lobby", "level")
        return (
            shown(1, "illuminance", "luxes"),
            shown(2, "power", "watts"),
            shown(3, "outdoor", "luxes"),
            ObjectSpec("analog-output,1", "lamps", "percent", set=lamps, default=LAMPS),
        )

    def _faults(self) -> Iterator[Fault]:
        for name, model, fault, text in _FAULTS:
            yield Fault(
                name,
                text,
                partial(self.rig.start, model, fault),
                partial(self.rig.stop, model, fault),
            )
        text = Text("三区阀门设备失联", "the zone 3 valve goes silent")
        silence = partial(setattr, self.modbus.wire[VALVES[2]], "silent")
        yield Fault("device_silent", text, partial(silence, True), partial(silence, False))
        text = Text("大堂照明控制器失联", "the lobby lighting controller goes silent")
        silence = partial(setattr, self.bacnet.faults, "silent")
        yield Fault("lobby_silent", text, partial(silence, True), partial(silence, False))


def _taken(port: int, error: OSError) -> Text:
    reason = os.strerror(error.errno or 0)
    return Text(
        f"无法使用 TCP 端口 127.0.0.1:{port} ({reason}); 请停止占用它的程序",
        f"TCP port 127.0.0.1:{port} cannot be used ({reason}); stop what uses it",
    )


def _unlinked(error: OSError) -> Text:
    reason, link = os.strerror(error.errno or 0), error.filename2
    return Text(f"无法建立串口链接 {link} ({reason})", f"the link {link} cannot be made ({reason})")


_FAULTS: tuple[tuple[str, str, str, Text], ...] = (
    (
        "valve_drift", "zones", "valve_drift:3",
        Text("三区阀门自行关至 20 %", "the zone 3 valve runs to 20 % by itself"),
    ),
    (
        "valve_stuck", "zones", "valve_stuck:3",
        Text("三区阀门卡住", "the zone 3 valve is stuck"),
    ),
    (
        "false_feedback", "zones", "false_feedback:3",
        Text("三区阀门关至 20 %, 反馈不变", "the zone 3 valve closes unseen by its feedback"),
    ),
    ("burst", "zones", "burst:2", Text("二区爆管", "a pipe bursts in zone 2")),
    ("supply_drop", "zones", "supply_drop", Text("总管压力下降", "the header loses pressure")),
    (
        "sensor_jump", "zones", "sensor_jump:z1_pressure",
        Text("一区压力传感器跳变", "the zone 1 pressure sensor jumps"),
    ),
    ("pump_trip", "booster", "pump_trip:1", Text("1 号泵跳闸", "pump 1 trips")),
    (
        "pump_no_feedback", "booster", "no_run_feedback:1",
        Text("1 号泵停转, 无故障触点", "pump 1 stops without a fault contact"),
    ),
    (
        "pump_hand", "booster", "hoa_hand:2",
        Text("2 号泵转换开关置手动", "pump 2 is switched to HAND"),
    ),
    ("tank_low", "booster", "tank_low", Text("水箱缺水", "the break tank runs empty")),
    (
        "pressure_bad", "booster", "sensor_bad:discharge_pressure",
        Text("出口压力传感器断线", "the discharge pressure sensor fails"),
    ),
    ("lux_covered", "lobby", "lux_covered", Text("照度传感器被遮挡", "the lux sensor is covered")),
    (
        "hydrant_low", "fire_main", "pressure_low",
        Text("消火栓压力低", "the hydrant main loses pressure"),
    ),
    ("flood", "sump", "flood", Text("车库进水", "a burst main pours into the garage sump")),
    ("car", "garage", "pir_stuck", Text("车辆进入车库", "a car comes into the garage")),
)  # fmt: skip
