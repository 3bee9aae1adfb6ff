"""Opens what a bus is reached by: TCP, TLS, RTU over TCP, or a serial line.

What goes wrong becomes one `LinkDown` that says what to look at. Not what is said over it
(`link.py`, `line.py`), not serial ports themselves (`port.py`). Called by `driver.py`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Final

from drivers.modbus.bus import PORT, PORT_TLS, BusConfig, TlsConfig, split_address
from drivers.modbus.line import RtuLink
from drivers.modbus.link import Link, TcpLink
from drivers.modbus.port import open_serial
from edge.errors import LinkDown
from edge.text import Text

_TROUBLE: Final[dict[int, tuple[str, str]]] = {
    errno.ECONNREFUSED: ("对方拒绝连接; 请核对端口, 并确认其连接数未满",
                         "refuses the connection; compare the port, and whether its few "
                         "connections are taken"),
    errno.ECONNRESET: ("接受后立即断开连接; 请核对端口和协议, 并确认其连接数未满",
                       "took the connection and cut it; compare port and protocol, and whether "
                       "its few connections are taken"),
    errno.EHOSTUNREACH: ("主机不可达; 请检查网线, 电源和地址",
                         "cannot be reached; check cable, power and address"),
    errno.ENETUNREACH: ("网络不可达; 请检查本机网络设置",
                        "is in a network that cannot be reached; check our own network settings"),
    errno.ETIMEDOUT: ("连接超时; 请检查网线, 电源和地址",
                      "does not answer the connection; check cable, power and address"),
}  # fmt: skip


async def open_link(bus: BusConfig) -> Link:
    """Connect by the bus's medium. Raises LinkDown."""
    if bus.serial is not None:
        return await open_serial(bus)
    if bus.rtu_tcp is not None:
        host, port = split_address(bus.rtu_tcp)
        peer = _peer(host, port)
        return await _connect(RtuLink(peer), host, port, bus.connect_timeout)
    host, port = split_address(bus.tcp or "", PORT_TLS if bus.tls else PORT)
    link = TcpLink(_peer(host, port), bus.pipeline)
    if not bus.tls:
        return await _connect(link, host, port, bus.connect_timeout)
    tls = bus.tls if isinstance(bus.tls, TlsConfig) else TlsConfig()
    context = _context(tls, link.peer)
    return await _connect(link, host, port, bus.connect_timeout, context, tls.name or host)


async def open_tcp(host: str, port: int, timeout: float) -> TcpLink:
    """Connect to a Modbus TCP device. Raises LinkDown."""
    link = TcpLink(_peer(host, port))
    await _connect(link, host, port, timeout)
    return link


async def _connect(
    link: Link,
    host: str,
    port: int,
    timeout: float,
    context: ssl.SSLContext | None = None,
    name: str | None = None,
) -> Link:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            await loop.create_connection(
                lambda: link, host, port, ssl=context, server_hostname=name if context else None
            )
    except TimeoutError:
        why = _TROUBLE[errno.ETIMEDOUT] if context is None else _MUTE
        raise _cannot(link.peer, *why) from None
    except (socket.gaierror, UnicodeError) as error:
        raise _cannot(
            link.peer, "主机名无法解析; 请改用 IP 地址或检查 DNS",
            "has a name that cannot be resolved; use an IP address or check DNS",
        ) from error  # fmt: skip
    except ssl.SSLError as error:
        raise _cannot(link.peer, *_tls_trouble(error, name)) from error
    except OSError as error:
        code = error.errno or (errno.ECONNRESET if isinstance(error, ConnectionError) else 0)
        plain = (error.strerror or str(error),) * 2
        raise _cannot(link.peer, *_TROUBLE.get(code, plain)) from error
    return link


def _context(tls: TlsConfig, peer: str) -> ssl.SSLContext:
    """TLS 1.2 at least, the device's certificate checked, ours shown where there is one."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ValueError) as error:
        raise LinkDown(_BAD_CA.format(peer=peer, file=tls.ca, why=_why(error))) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
        except (OSError, ValueError) as error:
            names = {"file": tls.certificate, "key": tls.key}
            raise LinkDown(_BAD_PAIR.format(peer=peer, why=_why(error), **names)) from error
    return context


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or error.strerror or str(error)
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _tls_trouble(error: ssl.SSLError, name: str | None) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or str(error)
        return (
            f"的证书未通过验证 ({why}); 请核对 ca, 证书有效期和名称 {name}",
            f"has a certificate that was not accepted ({why}); compare ca, its dates, and the name "
            f"{name}",
        )
    return (
        f"的 TLS 握手失败 ({_why(error)}); 请核对端口, 对方是否使用 TLS, 是否要求本机证书",
        f"failed the TLS handshake ({_why(error)}); compare the port, whether it speaks TLS, and "
        "whether it wants a certificate of ours",
    )


def _peer(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cannot(peer: str, zh: str, en: str) -> LinkDown:
    return LinkDown(Text(f"{peer} {zh}", f"{peer} {en}"))


_MUTE: Final = (
    "没有完成 TLS 连接; 请核对对方在此端口是否使用 TLS, 并检查网线, 电源和地址",
    "does not complete the TLS connection; check that it speaks TLS on this port, the cable, its "
    "power and address",
)
_BAD_CA = Text(
    "连接 {peer} 用的 ca 文件 {file} 无法使用 ({why}); 应为本程序可读的 PEM 证书",
    "the ca file {file} for {peer} cannot be used ({why}); it should be a PEM certificate that we "
    "may read",
)
_BAD_PAIR = Text(
    "连接 {peer} 用的证书 {file} 和私钥 {key} 无法使用 ({why}); 应为配套的 PEM 文件, 私钥不加密, "
    "且本程序可读",
    "the certificate {file} and key {key} for {peer} cannot be used ({why}); they should be PEM, "
    "belong together, need no passphrase, and be readable to us",
)
