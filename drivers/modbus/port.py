"""Serial ports: which one is meant, opening it, and its bytes to and from the loop.

pyserial finds, opens and configures; reading and writing are the loop's own. Not what the bytes
mean (`line.py`). Called by `media.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import termios
from typing import Any, Final

import serial
from serial.rs485 import RS485Settings
from serial.tools import list_ports

from drivers.modbus.bus import USB, BusConfig
from drivers.modbus.line import RtuLink
from edge.errors import LinkDown
from edge.text import Text

_PARITY: Final = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_LUMP: Final = 4096  # bytes read at once
_STUCK: Final = 4096  # bytes that a port has not taken: its adapter hangs


async def open_serial(bus: BusConfig) -> RtuLink:
    """Open the bus's serial port. Raises LinkDown.

    In a thread, as a broken adapter can hold up the open for seconds.
    """
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open, bus)
    try:
        port = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise
    link = RtuLink(bus.serial or "", bus.baud)
    SerialTransport(port, link)
    return link


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(bus: BusConfig) -> serial.Serial:
    name = bus.serial or ""
    path = find(name)
    try:
        port = serial.Serial(
            path,
            bus.baud,
            parity=_PARITY[bus.parity],
            stopbits=bus.stop,
            timeout=0,
            exclusive=True,
        )
    except (OSError, ValueError) as error:
        raise LinkDown(_trouble(name, error)) from error
    try:
        _configure(port, bus)
    except (OSError, ValueError, termios.error) as error:
        port.close()
        raise LinkDown(_NO_RS485.format(port=name, why=error)) from error
    return port


def _configure(port: serial.Serial, bus: BusConfig) -> None:
    with contextlib.suppress(OSError, ValueError):  # FTDI: 1 ms instead of 16 until bytes arrive
        port.set_low_latency_mode(True)
    settings = termios.tcgetattr(port.fileno())
    settings[6][termios.VMIN] = 1  # so that no bytes read means gone, not idle
    termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)
    if bus.rs485:
        port.rs485_mode = RS485Settings()


def find(name: str) -> str:
    """The device file of `name`, which may be `usb:` or `usb-path:`. Raises LinkDown."""
    if name.startswith("/"):
        return name
    wanted = name.partition(":")[2]
    ports = [port for port in list_ports.comports() if port.vid is not None]
    for port in ports:
        if wanted == (port.serial_number if name.startswith(USB) else port.location):
            return str(port.device)
    there = ", ".join(f"{p.device} (usb:{p.serial_number} usb-path:{p.location})" for p in ports)
    raise LinkDown(
        Text(
            f"{name} 没有插上; 现在插着的 USB 串口: {there or '无'}",
            f"{name} is not plugged in; USB serial ports that are: {there or 'none'}",
        )
    )


def _trouble(name: str, error: OSError | ValueError) -> Text:
    code = error.errno if isinstance(error, OSError) else None
    if code is None and isinstance(error.__context__, termios.error):
        code = error.__context__.args[0]
    zh, en = _TROUBLE.get(code or 0, (f"无法打开 ({error})", f"cannot be opened ({error})"))
    return Text(f"串口 {name} {zh}", f"the serial port {name} {en}")


_GONE = ("不存在; 请检查适配器是否插好, 名称见 ls /dev/serial/by-id",
         "does not exist; check that the adapter is plugged in, ls /dev/serial/by-id shows the "
         "names")  # fmt: skip
_BUSY = ("已被其他程序占用; 请关闭该程序 (ModemManager, 串口调试工具)",
         "is used by another program; close it (ModemManager, a terminal program)")  # fmt: skip
_DENIED = ("无法打开: 没有权限; 请把运行本程序的用户加入 dialout 组, 再重新登录或重启服务",
           "may not be opened; add the user that runs this to the group dialout, then log in "
           "again or restart the service")  # fmt: skip
_NO_PORT = ("不是串口; 请核对路径", "is no serial port; compare the path")
_TROUBLE: Final[dict[int, tuple[str, str]]] = {
    errno.ENOENT: _GONE,
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EBUSY: _BUSY,
    errno.EAGAIN: _BUSY,
    errno.ENOTTY: _NO_PORT,
    errno.EISDIR: _NO_PORT,
    errno.EIO: ("读写错误; 请拔下适配器再插上", "fails; pull the adapter out and plug it in again"),
}
_NO_RS485 = Text(
    "串口 {port} 不接受设置 ({why}); USB 适配器自己切换收发, 不需要 rs485",
    "the serial port {port} does not take its settings ({why}); USB adapters switch the "
    "transmitter themselves and need no rs485",
)


def _close(port: serial.Serial) -> None:
    """In a thread: the kernel waits up to 30 s for bytes that a hanging adapter does not take."""
    with contextlib.suppress(OSError, termios.error):
        port.reset_output_buffer()
    with contextlib.suppress(OSError, termios.error):
        port.close()


class SerialTransport(asyncio.Transport):
    """The bytes of an open port, as a transport of the loop. Closes the port when it ends."""

    def __init__(self, port: serial.Serial, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._port: serial.Serial | None = port
        self._fd: int = port.fileno()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self._loop.add_reader(self._fd, self._readable)
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        """Send; what the port does not take at once follows when it can."""
        if self._port is None:
            return
        waiting = bool(self._unsent)
        self._unsent += data
        if len(self._unsent) > _STUCK:
            self._end(OSError(errno.EIO, os.strerror(errno.EIO)))
        elif not waiting:
            self._writable()

    def close(self) -> None:
        """The same as `abort`: a line has nothing to say goodbye to."""
        self._end(None)

    def abort(self) -> None:
        """Close at once; `connection_lost` follows."""
        self._end(None)

    def _writable(self) -> None:
        try:
            sent = os.write(self._fd, self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._end(error)
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        """Read all there is: after a hang-up uvloop calls this once and never again."""
        while self._port is not None:
            try:
                data = os.read(self._fd, _LUMP)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error)
                return
            if not data:  # VMIN is 1: the port is gone
                self._end(None)
                return
            self._protocol.data_received(data)

    def _end(self, error: Exception | None) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        closing = self._loop.run_in_executor(None, _close, port)
        closing.add_done_callback(lambda _: self._protocol.connection_lost(error))
