"""A site's simulated equipment on real sockets, as the site's own profiles describe its devices.

Reads the register maps and objects out of the site's points and answers them from a `Field`: the
same models and cells that stand behind the points in-process. Coding is `registers.py` and the
BACnet library, nothing of our drivers. The caller owns the task in which `run` lets time pass.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from errno import EACCES, EADDRINUSE
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any, Final

from drivers.sim.field import Field
from drivers.sim.local import Bus
from drivers.sim.registers import Kind, Register, Unit
from drivers.sim.serve_bacnet import SERVED, BacnetDevice, Faults, ObjectSpec
from drivers.sim.serve_modbus import ModbusServer, Wire
from drivers.sim.serve_rtu import SerialLine
from edge.driver import FieldDevice, FieldPoint
from edge.errors import LinkDown, Unusable
from edge.text import Text

VENDOR, REVISION = "Simulated Equipment", "1.0"  # what every unit says of itself
STEP: Final = 0.1  # s between advances
_OBJECTS: Final = {"vendor": 0, "product": 1, "revision": 2, "product_name": 4, "model": 5}


class Equipment:
    """Enter to listen, `run` to let time pass, leave to close.

    `buses` have addresses of this machine (`local.py`). `modbus` are the servers by address or
    line, `bacnet` the devices by id. The units of the first server also stand on a line that
    `serial` is the link to. Raises `Unusable` for what cannot be served.
    """

    def __init__(self, field: Field, buses: Sequence[Bus], *, serial: Path | None = None) -> None:
        self.field, self.rig = field, field.rig
        self.modbus: dict[str, ModbusServer] = {}
        self.lines: list[SerialLine] = []
        self.bacnet: dict[str, BacnetDevice] = {}
        self._silence: dict[str, Callable[[bool], None]] = {}
        self._stack = AsyncExitStack()
        units: dict[str, dict[int, Unit]] = {}
        for bus in buses:
            if bus.kind.name == "modbus":
                here = units.setdefault(bus.config.serial or bus.config.tcp, {})
                for device in bus.devices:
                    if device.config.unit in here:
                        raise Unusable(_SHARED.format(device=device.id, unit=device.config.unit))
                    here[device.config.unit] = _unit(device, field)
            elif bus.kind.name == "bacnet":
                self.bacnet |= {d.id: _bacnet(d, field) for d in bus.devices}
        for address, served in units.items():
            self._serve(address, served)
        if not units and not self.bacnet:
            raise Unusable(_NOTHING)
        if serial is not None:
            if not self.modbus:
                raise Unusable(_NO_UNITS)
            self.lines.append(SerialLine(next(iter(self.modbus.values())), serial))
        for bus in buses:
            for device in bus.devices:
                if bus.kind.name == "modbus":
                    server = self.modbus[bus.config.serial or bus.config.tcp]
                    self._silence[device.id] = _silencer(server.wire[device.config.unit])
        self._silence |= {id: _silencer(d.faults) for id, d in self.bacnet.items()}

    def _serve(self, address: str, units: dict[int, Unit]) -> None:
        if address.startswith("/"):
            server = ModbusServer(units, before=self._catch_up)
            self.lines.append(SerialLine(server, Path(address)))
        else:
            host, colon, port = address.rpartition(":")
            if not colon or "]" in port:  # no port is given
                host, port = address, "502"
            server = ModbusServer(units, host.strip("[]"), int(port), before=self._catch_up)
        self.modbus[address] = server

    async def __aenter__(self) -> Equipment:
        """Listen everywhere; `Unusable` when an address is taken or a link cannot be made."""
        self._catch_up()
        async with AsyncExitStack() as stack:
            try:
                for address, server in self.modbus.items():
                    if not address.startswith("/"):
                        await stack.enter_async_context(server)
                for line in self.lines:
                    await stack.enter_async_context(line)
                for device in self.bacnet.values():
                    await stack.enter_async_context(device)
            except OSError as error:
                raise Unusable(_refused(error)) from error
            except LinkDown as error:
                raise Unusable(error.reason) from error
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Let time pass; never returns."""
        while True:
            self._catch_up()
            for device in self.bacnet.values():
                device.tick()
            await asyncio.sleep(STEP)

    @property
    def devices(self) -> Collection[str]:
        """Those that can be silenced."""
        return self._silence.keys()

    def silence(self, device: str, silent: bool) -> None:
        """A device stops answering, or answers again. KeyError: there is no such one."""
        self._silence[device](silent)

    def places(self) -> Iterator[str]:
        """A line for each place where something listens."""
        for address, server in self.modbus.items():
            units = ", ".join(map(str, sorted(server.units)))
            if not address.startswith("/"):
                yield f"modbus tcp {server.host}:{server.port}, units {units}"
        for line in self.lines:
            yield f"modbus rtu {line.path}, units {', '.join(map(str, sorted(line.units)))}"
        for device in self.bacnet.values():
            yield f"bacnet/ip {re.sub('/[0-9]+', '', device.address)}, device {device.device}"

    def _catch_up(self) -> None:
        self.rig.advance_to(asyncio.get_running_loop().time())


def _silencer(wire: Wire | Faults) -> Callable[[bool], None]:
    return partial(setattr, wire, "silent")


def _unit(device: FieldDevice, field: Field) -> Unit:
    """The unit that a Modbus device of the site is."""
    config = device.config
    registers = [_register(config, point) for point in device.points]
    model = next((field.cells[p.id].model for p in device.points if field.cells[p.id].model), "")
    identity = {0: VENDOR, 1: model or device.id, 2: REVISION}
    if config.identity is not None:
        if config.identity.registers is not None:
            raise Unusable(_NAMEPLATE.format(device=device.id))
        identity |= {_OBJECTS[k]: v.rstrip("*") for k, v in config.identity.objects.items()}
    held = {f"{device.id} {name}": 0.0 for name in config.program}
    registers += [
        Register(f"{device.id} {name}", "holding", setting.holding - config.base,
                 _kind(setting.type), _order(_kind(setting.type), setting.order or config.order),
                 writable=(float("-inf"), float("inf")))
        for name, setting in config.program.items()
    ]  # fmt: skip

    def read(name: str) -> float:
        return held[name] if name in held else field.value(name)

    def write(name: str, value: float) -> None:
        if name in held:
            held[name] = value
        else:
            field.put(name, value)

    return Unit(registers, read, write, holes=config.max_gap != 0, identity=identity)


def _register(device: Any, point: FieldPoint) -> Register:
    """Where a point lies in its unit, by the site's own words."""
    where = point.config
    kind: Kind = "bit" if where.bits else _kind(where.kind)
    return Register(
        point.id, where.table, where.address - device.base, kind,
        "" if where.bits else _order(kind, where.order or device.order),
        scale=point.scale, offset=point.offset, length=where.length,
        bit=where.bit if where.bit is not None or where.kind != "bool" or where.bits else 0,
        writable=(point.low, point.high) if point.writable else None,
        absent=round(where.sentinel[0]) if where.sentinel else -1,
    )  # fmt: skip


def _kind(type: Any) -> Kind:
    return "u16" if type in ("bool", "bitfield", "enum") else type


def _order(kind: str, order: str) -> str:
    """The bytes on the wire of a value of this kind, the most significant A."""
    low_first, swapped = order in ("CDAB", "DCBA"), order in ("BADC", "DCBA")
    words = {"32": 2, "0k": 2, "64": 4}.get(kind[-2:], 1)
    pairs = ["ABCDEFGH"[2 * i : 2 * i + 2] for i in range(words)]
    return "".join(p[::-1] if swapped else p for p in (reversed(pairs) if low_first else pairs))


def _bacnet(device: FieldDevice, field: Field) -> BacnetDevice:
    """The device that a BACnet device of the site is."""
    objects = tuple(_object(point, field) for point in device.points)
    model = next((field.cells[p.id].model for p in device.points if field.cells[p.id].model), "")
    host, _, port = device.config.address.partition(":")
    address = f"{host}/32:{port}" if port else f"{host}/32"
    return BacnetDevice(device.config.device, address, objects, model=model or device.id)


def _object(point: FieldPoint, field: Field) -> ObjectSpec:
    where, cell = point.config, field.cells[point.id]
    kind = where.object.partition(",")[0].strip()
    if kind not in SERVED or where.property != "present-value":
        raise Unusable(_NO_OBJECT.format(point=point.id, name=where.name))

    def get() -> float:
        value = (field.value(point.id) - point.offset) / point.scale
        return 0.0 if isnan(value) else value  # the status flags say that it is bad

    def put(raw: float) -> None:
        with suppress(ValueError):  # a value that the equipment cannot take changes nothing
            field.put(point.id, raw * point.scale + point.offset)

    def bad() -> bool:
        return isnan(field.value(point.id))

    rest = (cell.rest - point.offset) / point.scale
    return ObjectSpec(
        where.object.replace(" ", ""), point.id,
        get=None if point.writable else get, set=put if point.writable else None, bad=bad,
        default=0.0 if isnan(rest) else rest,
        commandable=point.writable and kind.endswith("-value"),
    )  # fmt: skip


def _refused(error: OSError) -> Text:
    reason = os.strerror(error.errno or 0)
    if error.filename2 is not None:
        link = error.filename2
        return Text(
            f"无法建立串口链接 {link} ({reason})", f"the link {link} cannot be made ({reason})"
        )
    bound = re.search(r"\('([^']+)', (\d+)", error.strerror or "")  # asyncio puts it there
    at = f" {bound[1]}:{bound[2]}" if bound else ""
    on = f" on{at}" if at else ""
    if error.errno == EACCES:
        return Text(
            f"无法监听{at}: 1024 以下的端口需要管理员权限",
            f"cannot listen{on}: ports below 1024 are the administrator's",
        )
    if error.errno == EADDRINUSE:
        return Text(
            f"无法监听{at}: 端口已被占用; 请停止占用它的程序",
            f"cannot listen{on}: the port is taken; stop what uses it",
        )
    return Text(f"无法监听{at}: {reason}", f"cannot listen{on}: {reason}")


_SHARED = Text(
    "设备 {device} 与另一设备在同一地址使用同一站号 {unit}, 无法同时仿真",
    "device {device} shares address and unit {unit} with another: one of the two can be simulated",
)
_NOTHING = Text(
    "站点没有可在套接字上提供的设备 (driver: sim 在控制器进程内运行)",
    "no device to put on a socket (those of `driver: sim` are in the controller's own process)",
)
_NO_UNITS = Text(
    "站点没有 Modbus 设备, 串口上没有可放置的单元", "no Modbus devices to put on a serial line"
)
_NAMEPLATE = Text(
    "设备 {device} 以寄存器表明身份 (identity.registers), 无法仿真",
    "device {device} says who it is by registers (identity.registers), which cannot be simulated",
)
_NO_OBJECT = Text(
    "点 {point}: BACnet 对象 {name} 无法仿真",
    "point {point}: the BACnet object {name} cannot be simulated",
)
