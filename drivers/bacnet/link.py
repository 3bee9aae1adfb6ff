"""The BACnet/IP connection: the only place that knows bacpypes3.

A bound UDP port, requests in and service data out, with the library's errors (they derive from
BaseException) turned into `DriverError`s. Finds devices. Not the content of the services: that is
`codec.py`. Called by `driver.py`; `Stack` and `claim` also serve the simulated device.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Interface
from typing import Any, Final

from bacpypes3.apdu import (
    AbortPDU,
    ComplexAckPDU,
    ConfirmedRequestPDU,
    ErrorPDU,
    ErrorRejectAbortNack,
    SimpleAckPDU,
    WhoIsRequest,
)
from bacpypes3.app import Application, DeviceInfo
from bacpypes3.appservice import ApplicationServiceAccessPoint
from bacpypes3.basetypes import Segmentation
from bacpypes3.comm import ServiceAccessPoint, bind
from bacpypes3.errors import PropertyError
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.device import DeviceObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import Address, GlobalBroadcast, IPv4Address

from drivers.bacnet import codec
from drivers.bacnet.config import BusConfig
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, DriverError, LinkDown
from edge.text import Text

OUTSTANDING: Final = 4  # per device; the library has no limit and spins for ever at the 257th
BIND_TIMEOUT: Final = 2.0
WHO_IS_INTERVAL: Final = 10.0  # at most one broadcast search in so many seconds
MAX_APDU: Final = 1476  # one datagram of BACnet/IP; we ask for less rather than take segments
_TURNS_TO_CLOSE: Final = 3  # of the event loop, until a closed transport has freed its port
VENDOR: Final = 999  # ASHRAE keeps this number for work without one of its own

# The library logs a traceback for every datagram that it cannot read, to nobody's use.
logging.getLogger("bacpypes3").propagate = False  # noqa: TID251 - silenced, not written to

DEVICE: Final = 8  # the object type of the device itself
_MAX_APDU_LENGTH, _UNKNOWN_OBJECT = 62, "object/unknown-object"
_PERMANENT: Final = frozenset({"object", "property", "services", "reject"})


def _longest(device: int) -> codec.Property:
    """What the device is asked for first: it proves its instance, and fits every message."""
    return codec.object_identifier(DEVICE, device), _MAX_APDU_LENGTH


def _introduction(device: int) -> bytes:
    return codec.read_property(_longest(device))


def claim(host: str, port: int) -> None:
    """Say why a UDP address cannot be used, before the library binds it.

    It would share an occupied port silently (SO_REUSEPORT) and wait for ever for an absent address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LinkDown(_unbindable(host, port, error)) from None


def _unbindable(host: str, port: int, error: OSError) -> Text:
    if error.errno == errno.EADDRINUSE:
        return Text(
            f"UDP 端口 {host}:{port} 已被另一个程序占用; 请停止该程序或改用其他端口",
            f"UDP port {host}:{port} is in use by another program; stop it or choose another port",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Text(
            f"本机没有地址 {host}; 请核对网卡和 address",
            f"this machine has no address {host}; compare the network interface and `address`",
        )
    return Text(
        f"无法使用 UDP 端口 {host}:{port}: {error.strerror}",
        f"UDP port {host}:{port} cannot be used: {error.strerror}",
    )


class Stack(Application):  # type: ignore[misc]
    """A BACnet/IP application on one UDP port, built from the library's layers.

    `access` is the class of the layer that matches answers to requests.
    """

    def __init__(
        self,
        device: Any,
        interface: IPv4Interface,
        port: int,
        access: type[ApplicationServiceAccessPoint] = ApplicationServiceAccessPoint,
    ) -> None:
        super().__init__()
        address = IPv4Address(f"{interface.with_prefixlen}:{port}")
        self.asap = access(device, self.device_info_cache)
        self.nsap = NetworkServiceAccessPoint()
        self.nse = NetworkServiceElement()
        bind(self.nse, self.nsap)
        bind(self, self.asap, self.nsap)
        self.normal = NormalLinkLayer(address)
        self.nsap.bind(self.normal, address=address)
        self.add_object(device)

    async def bound(self) -> None:
        """Wait until the sockets are open; before that, closing would leave them to leak."""
        tasks = self.normal.server._transport_tasks  # not reachable in any other way
        _, pending = await asyncio.wait(tasks, timeout=BIND_TIMEOUT)
        if pending:
            for task in pending:
                task.cancel()
            await self.closed()
            raise LinkDown(Text("UDP 端口无法打开", "the UDP port could not be opened"))

    async def closed(self) -> None:
        """Close the sockets, and stop every timer of unfinished transactions."""
        for transaction in (*self.asap.clientTransactions, *self.asap.serverTransactions):
            transaction.stop_timer()
        self.normal.close()
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)


class _Access(ApplicationServiceAccessPoint):  # type: ignore[misc]
    """Hands answers up as they are: our codec reads them in a fraction of the time."""

    async def sap_response(self, apdu: Any) -> None:
        if isinstance(apdu, ComplexAckPDU):
            await ServiceAccessPoint.sap_response(self, apdu)
        else:
            await super().sap_response(apdu)


class _Client(Stack):
    """Our own device on the network: it asks, it can be found, and nobody can write to it."""

    def __init__(
        self, device: Any, interface: IPv4Interface, port: int, heard: Callable[[Any], None]
    ) -> None:
        super().__init__(device, interface, port, _Access)
        self._heard = heard

    async def do_IAmRequest(self, apdu: Any) -> None:
        self._heard(apdu)

    async def do_WritePropertyRequest(self, apdu: Any) -> None:
        raise PropertyError("writeAccessDenied")

    async def do_WritePropertyMultipleRequest(self, apdu: Any) -> None:
        raise PropertyError("writeAccessDenied")


class Link:
    """One BACnet/IP port and the devices behind it, by device instance.

    `fixed` gives the configured address of a device, None where it is to be found by Who-Is.
    """

    def __init__(self, config: BusConfig, fixed: Mapping[int, str | None]) -> None:
        self._config = config
        self._fixed = fixed
        self._stations: dict[int, Any] = {}  # where a device is known to be
        self._heard = asyncio.Event()
        self._searched = float("-inf")
        self._bound = defaultdict[int, asyncio.Semaphore](lambda: asyncio.Semaphore(OUTSTANDING))
        self._app: _Client | None = None

    async def open(self) -> None:
        """Bind the port. Raises `LinkDown` with the reason when that cannot be."""
        self._stations.clear()
        self._searched = float("-inf")
        interface, port = self._config.interface, self._config.port
        claim(str(interface.ip), port)
        if interface.network.prefixlen < 32:
            claim(str(interface.network.broadcast_address), port)
        own = DeviceObject(
            objectIdentifier=("device", self._config.device),
            objectName=f"edge-{self._config.device}",
            vendorIdentifier=VENDOR,
            vendorName="-",
            modelName="edge-controller",
            maxApduLengthAccepted=MAX_APDU,
            segmentationSupported=Segmentation.noSegmentation,
            apduTimeout=round(self._config.timeout * 1000),
            numberOfApduRetries=self._config.retries,
        )
        self._app = _Client(own, interface, port, self._on_i_am)
        await self._app.bound()

    async def close(self) -> None:
        """Close the port; a second time does nothing."""
        app, self._app = self._app, None
        if app is not None:
            await app.closed()

    async def request(self, device: int, service: int, data: bytes) -> bytes:
        """Send one confirmed request; return the service data of the answer (b"" for a plain ack).

        Raises `DeviceTimeout` after time-out x (retries + 1), `DeviceRefused` with a code such as
        "property/unknown-property", "reject/unrecognized-service", "abort/buffer-overflow".
        """
        async with self._bound[device]:
            try:
                station = self._stations.get(device) or await self._locate(device)
                return await self._exchange(station, service, data)
            except DeviceTimeout:
                self._stations.pop(device, None)  # it may come back elsewhere, or as another one
                raise

    async def probe(self, device: int) -> None:
        """Return when the device says anything at all, be it a refusal; else `DeviceTimeout`."""
        async with self._bound[device]:
            with suppress(DeviceRefused):
                station = self._stations.get(device)
                if station is None:
                    await self._locate(device)  # asks already
                    return
                try:
                    await self._exchange(station, codec.READ_PROPERTY, _introduction(device))
                except DeviceTimeout:
                    self._stations.pop(device, None)
                    raise

    async def _exchange(self, station: Any, service: int, data: bytes) -> bytes:
        if self._app is None:
            raise LinkDown(Text("BACnet 端口已关闭", "the BACnet port is closed"))
        request = ConfirmedRequestPDU(service, destination=station)
        request.put_data(data)
        # The library's own time-out comes first; ours is for a request that it lost.
        limit = self._config.timeout * (self._config.retries + 1) + 1.0
        try:
            async with asyncio.timeout(limit):
                answer = await self._app.request(request)
        except ErrorRejectAbortNack as error:
            raise self._translated(error, station) from None
        except TimeoutError:
            raise self._no_answer(station) from None
        if not isinstance(answer, SimpleAckPDU | ComplexAckPDU) or answer.apduService != service:
            raise BadAnswer(
                Text(f"{station} 的应答与请求不符", f"{station} answered something else")
            )
        return bytes(answer.pduData)

    # ── errors ────────────────────────────────────────────────────────────────────────────────────

    def _no_answer(self, station: Any) -> DeviceTimeout:
        waited = self._config.timeout * (self._config.retries + 1)
        return DeviceTimeout(
            Text(
                f"{station} 在 {waited:g} 秒内没有应答", f"{station} did not answer in {waited:g} s"
            )
        )

    def _translated(self, error: Any, station: Any) -> DriverError:
        if isinstance(error, ErrorPDU):
            code = f"{error.errorClass}/{error.errorCode}"
        elif isinstance(error, AbortPDU):
            if not error.apduSrv and str(error.reason) == "no-response":
                return self._no_answer(station)
            code = f"abort/{error.reason}"
        else:
            code = f"reject/{error.reason}"
        return DeviceRefused(
            Text(f"{station} 拒绝: {code}", f"{station} refuses: {code}"),
            code,
            permanent=code.partition("/")[0] in _PERMANENT,
        )

    # ── where a device is ─────────────────────────────────────────────────────────────────────────

    async def _locate(self, device: int) -> Any:
        address = self._fixed.get(device)
        if address is not None:
            return await self._introduce(device, Address(address))
        await self._search(device)
        return self._stations[device]

    async def _introduce(self, device: int, station: Any) -> Any:
        """Ask the device at a configured address for its longest APDU: that proves who it is."""
        try:
            data = await self._exchange(station, codec.READ_PROPERTY, _introduction(device))
            longest = int(codec.number(codec.property_value(data, _longest(device))))
        except DeviceRefused as error:
            if error.code == _UNKNOWN_OBJECT:
                raise DeviceRefused(
                    Text(f"{station} 不是设备 {device}", f"{station} is not device {device}"),
                    "device/another-instance",
                    permanent=True,
                ) from None
            longest = 0  # it is there, and does not say
        except ValueError as error:
            raise BadAnswer(
                Text(f"{station} 的应答不合规", f"{station} answered amiss: {error}")
            ) from None
        if longest >= 50 and self._app is not None:
            info = DeviceInfo(device, station, max_apdu_length_accepted=longest)
            self._app.device_info_cache.update_device_info(info)
        self._stations[device] = station
        return station

    async def _search(self, device: int) -> None:
        """Broadcast one Who-Is for everything still missing, and wait until `device` is heard."""
        loop = asyncio.get_running_loop()
        wait = 0.0
        if loop.time() - self._searched >= WHO_IS_INTERVAL:
            self._searched = loop.time()
            wait = self._config.timeout
            self._who_is()
        try:
            async with asyncio.timeout(wait):
                while device not in self._stations:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise DeviceTimeout(
                Text(
                    f"没有找到设备 {device} (Who-Is 无应答); 无广播的网络请写明 address",
                    f"device {device} was not found (no answer to Who-Is); "
                    "give its `address` where there is no broadcast",
                )
            ) from None

    def _who_is(self) -> None:
        missing = [
            device
            for device, address in self._fixed.items()
            if address is None and device not in self._stations
        ]
        if self._app is None or self._app.normal.server.broadcast_address is None:
            return
        self._app.request(
            WhoIsRequest(
                destination=GlobalBroadcast(),
                deviceInstanceRangeLowLimit=min(missing),
                deviceInstanceRangeHighLimit=max(missing),
            )
        )

    def _on_i_am(self, apdu: Any) -> None:
        device = int(apdu.iAmDeviceIdentifier[1])
        if device in self._stations or device not in self._fixed or self._fixed[device]:
            return
        info = DeviceInfo(
            device, apdu.pduSource, max_apdu_length_accepted=int(apdu.maxAPDULengthAccepted)
        )
        if self._app is not None:
            self._app.device_info_cache.update_device_info(info)
        self._stations[device] = apdu.pduSource
        self._heard.set()
