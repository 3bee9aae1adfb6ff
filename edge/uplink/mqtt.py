"""One connection to a broker: paho-mqtt driven by our loop. The only file that knows paho.

A link is used once; `session.py` makes a new one for each attempt, so that paho never keeps a
message that the outbox will send again. No tasks and no thread but the one that connects.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import UplinkDown
from edge.site.site import Uplink
from edge.text import Text

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 30.0  # for each message in flight; a half-open link is noticed by this or by ping
SESSION_EXPIRY = 120  # seconds the broker keeps commands for us: none is valid for longer
TICK = 1.0
UNLIMITED = 65535  # Receive Maximum of a broker that names none (MQTT 5, 3.2.2.3.3)


class Message(NamedTuple):
    """What the broker sent. It stays unacknowledged until `Link.acknowledge`."""

    topic: str
    payload: bytes
    retained: bool
    mid: int
    qos: int


class Link:
    """A connection. The callbacks run on the loop and must not raise.

    `on_published(token, refusal)` brings what `publish` was given, refusal "" for success;
    `on_lost` is called once when the connection ends without `close`; `lost` then says why.
    `will` is a (topic, payload) that the broker publishes, retained, when we vanish.
    """

    def __init__(
        self,
        config: Uplink,
        will: tuple[str, str],
        *,
        on_message: Callable[[Message], None],
        on_published: Callable[[Any, str], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._config = config
        self._five = config.protocol == "5"
        self._on_message = on_message
        self._on_published = on_published
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._flight: dict[int, tuple[object, float]] = {}
        self._subscriptions: dict[int, asyncio.Future[str]] = {}
        self._connected: asyncio.Future[int] = self._loop.create_future()
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False
        self.lost: Text | None = None
        self._client = self._make(will)

    def _make(self, will: tuple[str, str]) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._config.client_id,
            clean_session=None if self._five else False,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_inflight_messages_set(0)  # the session keeps the window
        client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        client.on_publish = self._puback
        client.on_subscribe = self._suback
        client.on_message = self._message
        client.on_socket_open = self._socket_open
        client.on_socket_close = self._socket_close
        client.on_socket_register_write = self._want_write
        client.on_socket_unregister_write = self._no_write
        return client

    # ── for the session ────────────────────────────────────────────────────────────────────────

    async def connect(self) -> int:
        """Connect; the broker's Receive Maximum. Raises `UplinkDown`."""
        try:
            await self._in_thread()
            self._tick()
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connected
        except TimeoutError:
            raise UplinkDown(NO_ANSWER.format(host=self._config.host)) from None
        except (OSError, ValueError) as error:
            raise UplinkDown(self._unreachable(error)) from error

    def publish(self, topic: str, payload: str, token: object, *, retain: bool = False) -> None:
        """Send with QoS 1; `token` comes back with the broker's answer, unless the link is lost."""
        info = self._client.publish(topic, payload, 1, retain)
        if info.rc == paho.MQTT_ERR_SUCCESS:
            self._flight[info.mid] = (token, self._loop.time() + ANSWER_TIMEOUT)

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not answered."""
        return len(self._flight)

    async def subscribe(self, topic: str) -> str:
        """Subscribe with QoS 1; why the broker refuses, "" when it does not.

        With MQTT 5 a message keeps its retain flag also when it comes live: 3.1.1 clears it then.
        """
        if self._five:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            code, mid = self._client.subscribe(topic, options=options)
        else:
            code, mid = self._client.subscribe(topic, 1)
        if code != paho.MQTT_ERR_SUCCESS or mid is None:
            raise UplinkDown(self.lost or GONE)
        answer: asyncio.Future[str] = self._loop.create_future()
        self._subscriptions[mid] = answer
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await answer
        except TimeoutError:
            raise UplinkDown(NO_ANSWER.format(host=self._config.host)) from None

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that the message is in safe hands; it would come again otherwise."""
        if not self._closed:
            self._client.ack(message.mid, message.qos)

    def close(self, farewell: tuple[str, str] | None = None) -> None:
        """Disconnect in order, with a last retained message instead of the will."""
        if self._closed:
            return
        if farewell is not None and self._client.is_connected():
            self._client.publish(farewell[0], farewell[1], 1, retain=True)
        self._closed = True
        self._client.disconnect()
        self._client.loop_write()
        self._shut()

    # ── the socket on the loop ─────────────────────────────────────────────────────────────────

    def _connect(self) -> None:
        """Blocks: name resolution, TCP, TLS. On a thread of its own."""
        config = self._config
        if config.username is not None:
            self._client.username_pw_set(config.username, _password(config.password))
        if config.tls:
            context = ssl.create_default_context(cafile=config.ca)
            if config.certificate is not None:
                context.load_cert_chain(config.certificate, config.key)
            self._client.tls_set_context(context)
        keepalive = max(round(config.keepalive), 1)
        if self._five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY
            self._client.connect(
                config.host, config.port, keepalive, clean_start=False, properties=properties
            )
        else:
            self._client.connect(config.host, config.port, keepalive)

    def _in_thread(self) -> asyncio.Future[None]:
        """`_connect` in a daemon thread: nobody waits at shutdown for a broker that is silent."""
        done: asyncio.Future[None] = self._loop.create_future()

        def settle(error: Exception | None) -> None:
            if error is None and not done.done():
                done.set_result(None)
            elif error is not None and not done.done():
                done.set_exception(error)

        def run() -> None:
            error: Exception | None = None
            try:
                self._connect()
            except (OSError, ValueError) as caught:
                error = caught
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(settle, error)

        threading.Thread(target=run, name="mqtt-connect", daemon=True).start()
        return done

    def _on_loop(self, call: Callable[..., Any], sock: Any, *args: Any) -> None:
        """Run `call(fd, …)` on the loop, if the socket is still open and wanted then."""
        if sock.fileno() < 0 or (self._closed and args):
            return
        if threading.get_ident() == self._thread:
            call(sock.fileno(), *args)
        else:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._on_loop, call, sock, *args)

    def _socket_open(self, client: paho.Client, _: Any, sock: Any) -> None:
        # Nagle's algorithm and the broker's delayed ACK together make 40 ms of each window.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_loop(self._loop.add_reader, sock, self._readable)

    def _socket_close(self, client: paho.Client, _: Any, sock: Any) -> None:
        self._on_loop(self._loop.remove_reader, sock)

    def _want_write(self, client: paho.Client, _: Any, sock: Any) -> None:
        self._on_loop(self._loop.add_writer, sock, self._writable)

    def _no_write(self, client: paho.Client, _: Any, sock: Any) -> None:
        self._on_loop(self._loop.remove_writer, sock)

    def _readable(self) -> None:
        self._client.loop_read()
        sock = self._client.socket()
        while (
            isinstance(sock, ssl.SSLSocket) and sock.pending()
        ):  # decrypted, no event comes for it
            self._client.loop_read()
            sock = self._client.socket()

    def _writable(self) -> None:
        self._client.loop_write()

    def _tick(self) -> None:
        """Keep-alive, and the deadline of the oldest message in flight."""
        if self._closed:
            return
        self._ticking = self._loop.call_later(TICK, self._tick)
        self._client.loop_misc()
        oldest = next(iter(self._flight.values()), None)
        if oldest is not None and oldest[1] < self._loop.time():
            self._lose(NO_ANSWER.format(host=self._config.host))

    def _lose(self, reason: Text) -> None:
        if self._closed:
            return
        self.lost = reason
        self._shut()
        if not self._connected.done():
            self._connected.set_exception(UplinkDown(reason))
        for answer in self._subscriptions.values():
            if not answer.done():
                answer.set_exception(UplinkDown(reason))
        self._on_lost()

    def _shut(self) -> None:
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        sock = self._client.socket()
        if isinstance(sock, socket.socket) and sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()
        self._flight.clear()

    # ── paho's callbacks, on the loop ──────────────────────────────────────────────────────────

    def _connack(
        self, client: paho.Client, _: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if self._connected.done():
            return
        if code.is_failure:
            reason = REFUSED.format(host=self._config.host, reason=_reason(code))
            self._connected.set_exception(UplinkDown(reason))
        else:
            self._connected.set_result(int(getattr(properties, "ReceiveMaximum", UNLIMITED)))

    def _disconnected(
        self, client: paho.Client, _: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        self._lose(LOST.format(reason=_reason(code)))

    def _puback(
        self, client: paho.Client, _: Any, mid: int, code: ReasonCode, properties: Any
    ) -> None:
        entry = self._flight.pop(mid, None)
        if entry is not None:
            self._on_published(entry[0], str(code) if code.is_failure else "")

    def _suback(
        self, client: paho.Client, _: Any, mid: int, codes: list[ReasonCode], properties: Any
    ) -> None:
        answer = self._subscriptions.pop(mid, None)
        if answer is not None and not answer.done():
            refused = [str(code) for code in codes if code.is_failure]
            answer.set_result(refused[0] if refused else "")

    def _message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        self._on_message(
            Message(message.topic, bytes(message.payload), message.retain, message.mid, message.qos)
        )

    def _unreachable(self, error: Exception) -> Text:
        host, port = self._config.host, self._config.port
        return UNREACHABLE.format(host=host, port=port, reason=str(error) or type(error).__name__)


def _password(file: Path | None) -> str | None:
    return None if file is None else file.read_text(encoding="utf-8").strip()


def _reason(code: ReasonCode) -> Text:
    return REASONS.get(code.value, Text(str(code), str(code)))


REASONS = {
    134: Text("用户名或密码错误", "bad user name or password"),
    135: Text("未授权", "not authorized"),
    141: Text("保活超时", "keep-alive timeout"),
    142: Text("同一 client id 在别处登录", "another client took over this client id"),
    132: Text("不支持此 MQTT 版本", "this MQTT version is not supported"),
}
UNREACHABLE = Text(
    "无法连接 {host}:{port} ({reason})", "{host}:{port} cannot be reached ({reason})"
)
REFUSED = Text("{host} 拒绝连接: {reason}", "{host} refuses the connection: {reason}")
NO_ANSWER = Text("{host} 无应答", "{host} does not answer")
LOST = Text("连接中断: {reason}", "the connection was lost: {reason}")
GONE = Text("连接中断", "the connection was lost")
