"""One MQTT 5 connection: paho's client, driven by the calling thread, with time limits and without its queues.

A connection that fails is closed for good. paho resends on a reconnect what was not acknowledged; here every `open` has
a client of its own and a clean start, so no command outlives its connection.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import Field, StringConstraints, model_validator

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, DriverOptions
from drivers.links.tcp import Host, Resolver, TlsContext, TlsOptions, explain, no_delay, remaining, tls_context

# MQTT 5, 4.7: no wildcard in a topic's name, no NUL; $ begins the broker's own topics
Topic = Annotated[str, StringConstraints(pattern=r"^[^$+#\x00][^+#\x00]*$", max_length=1000)]
PACKET = 4096  # bytes in front of a payload: topic, properties
PACKETS = 64  # handled in one turn, so that a broker that floods keeps nobody
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: drop what was not sent yet


class BrokerOptions(DriverOptions):
    """Address and login of the broker."""

    host: Host = Field(description="name or address of the broker; an address needs no name server")
    port: int = Field(1883, ge=1, le=65_535, description="8883 is usual with TLS")
    tls: TlsOptions | None = Field(None, description="{} for TLS with the system's certificates")
    user: str | None = Field(None, min_length=1, max_length=256)
    password: str | None = Field(None, min_length=1, max_length=1024, description="write '${NAME}', see systemd/README")
    client_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="the device's name is added; reflexd and this box's name by default",
    )
    connect_ms: float = Field(100.0, gt=0, le=5000, description="time limit for connecting, TLS and login included")

    @model_validator(mode="after")
    def _login(self) -> BrokerOptions:
        if self.password is not None and self.user is None:
            raise ValueError("password: needs a user, too")
        return self

    def input_files(self) -> list[Path]:
        return self.tls.input_files() if self.tls else []


class Message(NamedTuple):
    """To publish. expiry_s: the broker delivers it to nobody later than this; 0: no limit."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry_s: int = 0


class Connection:
    """lock: held by the thread that uses paho's client. largest: payload in bytes that is still received."""

    def __init__(self, options: BrokerOptions, name: str, keep_alive_s: int, largest: int = 0) -> None:
        self.options = options
        self.place = f"{options.host}:{options.port}"
        # two connections with the same id would end each other in turns
        self.client_id = f"{options.client_id or 'reflexd-' + socket.gethostname()}-{name}"
        self.keep_alive_s = keep_alive_s
        self.largest = largest + PACKET
        self.resolver = Resolver(options.host, options.port)
        self.lock = threading.Lock()
        self.will: Message | None = None
        self.on_message: Callable[[paho.MQTTMessage], None] = lambda _message: None
        self.client: paho.Client | None = None
        self.closing = threading.Event()
        self._forget()

    def _forget(self) -> None:
        self.connected: Any = None  # paho's ReasonCode of each answer
        self.disconnected: Any = None
        self.answers: dict[int, list[Any]] = {}
        self.lost: DeviceError | None = None  # since `open`, as the keep-alive found

    def open(self, until: float) -> None:
        """Connect and log in, until this monotonic time. Raises DeviceError and leaves nothing half open."""
        self.close()
        tls = tls_context(self.options.tls, self.options.host) if self.options.tls else None
        self._forget()
        try:
            self._connect(tls, until)
            self._await(lambda: self.connected is not None, until, "no answer to the login")
        except DeviceError:
            self.close()
            raise

    def _connect(self, tls: TlsContext | None, until: float) -> None:
        failure: Exception = OSError("no address")
        properties = Properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = self.largest
        for address in self.resolver.addresses(until):
            self.client = self._new_client(tls, until)
            try:
                self.client.connect(
                    address, self.options.port, self.keep_alive_s, clean_start=True, properties=properties
                )
                return
            except OSError as error:
                failure = error
        raise explain(self.place, failure) from failure

    def _new_client(self, tls: TlsContext | None, until: float) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = remaining(until)
        # a command and the safe state after it: with more than that unanswered the connection is given up
        client.max_queued_messages_set(8)
        client.username_pw_set(self.options.user, self.options.password)
        if tls:
            tls.until = until
            client.tls_set_context(tls)
        if self.will:
            client.will_set(self.will.topic, self.will.payload, qos=1, retain=self.will.retain)
        client.on_socket_open = lambda _client, _data, sock: no_delay(sock)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: setattr(self, "connected", reason)
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: setattr(self, "disconnected", reason)
        client.on_publish = lambda _client, _data, mid, reason, _properties: self.answers.update({mid: [reason]})
        client.on_subscribe = lambda _client, _data, mid, reasons, _properties: self.answers.update({mid: reasons})
        client.on_message = lambda _client, _data, message: self.on_message(message)
        return client

    def publish(self, message: Message, until: float) -> int:
        """MQTT's reason code of the broker's acknowledgement, less than 128. Raises DeviceError."""
        properties = Properties(PacketTypes.PUBLISH)
        if message.expiry_s:
            properties.MessageExpiryInterval = message.expiry_s
        (reason,) = self._request(
            lambda client: client.publish(message.topic, message.payload, 1, message.retain, properties),
            until,
            f"no acknowledgement for topic {message.topic}",
        )
        if reason.is_failure:
            raise DeviceFault(f"{self.place}: topic {message.topic} refused, {reason}: check the broker's access list")
        return int(reason.value)

    def subscribe(self, topics: list[tuple[str, Any]], until: float) -> None:
        """Topics with their SubscribeOptions. Raises DeviceError."""
        reasons = self._request(lambda client: client.subscribe(topics), until, "no answer to the subscription")
        for (topic, _), reason in zip(topics, reasons):
            if reason.is_failure:
                raise DeviceFault(f"{self.place}: topic {topic} refused, {reason}: check the broker's access list")

    def _request(self, send: Callable[[paho.Client], Any], until: float, silence: str) -> list[Any]:
        """The reason codes that answer it."""
        if not self.lock.acquire(timeout=remaining(until)):
            raise DeviceTimeout(f"{self.place}: the connection is busy")
        try:
            if self.client is None:
                raise DeviceMissing(f"{self.place}: not open")
            self.answers.clear()
            code, mid = send(self.client)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise self._lost_by(code)
            self._await(lambda: mid in self.answers, until, silence)
            return self.answers[mid]
        finally:
            self.lock.release()

    def _await(self, arrived: Callable[[], bool], until: float, silence: str) -> None:
        while not arrived():
            left = until - time.monotonic()
            if left <= 0:
                raise DeviceTimeout(f"{self.place}: {silence} in time")
            self.step(left)

    def step(self, wait_s: float) -> bool:
        """Wait for traffic and handle it: whether there was any. Needs the lock, or one thread. Raises DeviceError."""
        assert self.client is not None, "used before open"
        sock: Any = self.client.socket()
        if sock is None:
            raise self._lost_by(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        ready = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0  # decrypted, so invisible to poll
        if not ready:
            poller = select.poll()
            poller.register(sock, select.POLLIN | (select.POLLOUT if self.client.want_write() else 0))
            ready = bool(poller.poll(wait_s * 1e3))
        try:
            code = self.client.loop_read() or self.client.loop_write() or self.client.loop_misc()
        except Exception as error:  # paho's decoders raise whatever the bytes provoke
            raise DeviceFault(f"{self.place}: sends what is no MQTT 5: {type(error).__name__}") from error
        if self.client.socket() is None or code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._lost_by(code)
        # MaximumPacketSize is only a request; MQTT itself allows 256 MB
        if self.client._in_packet["remaining_length"] > self.largest:
            raise DeviceFault(f"{self.place}: sends a packet of over {self.largest} bytes")
        if self.client._in_messages:  # nobody subscribes with QoS 2, and paho would keep each of them
            raise DeviceFault(f"{self.place}: sends messages of QoS 2, which nobody asked for")
        return ready

    def keep_alive(self) -> None:
        """Answer for this connection in a thread, until it is closed: the broker publishes the will of a silent one."""
        self.closing = threading.Event()
        threading.Thread(target=self._stay, args=(self.closing,), name="mqtt", daemon=True).start()

    def _stay(self, closing: threading.Event) -> None:
        while not closing.wait(self.keep_alive_s / 4):
            with self.lock:
                if closing.is_set() or not self._drained():
                    return

    def _drained(self) -> bool:
        try:
            for _ in range(PACKETS):
                if not self.step(0.0):
                    break
        except DeviceError as error:
            self.lost = error
            return False
        return True

    def _lost_by(self, code: MQTTErrorCode) -> DeviceError:
        if self.connected is not None and self.connected.is_failure:
            return DeviceFault(f"{self.place}: refuses the login, {self.connected}: check user, password and client_id")
        if code == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            return DeviceFault(f"{self.place}: sends what is no MQTT 5: is this the right port, with or without TLS?")
        return DeviceMissing(f"{self.place}: connection lost, {self.disconnected or paho.error_string(code)}")

    def close(self, in_order: bool = False) -> None:
        """in_order: the broker forgets the will. Otherwise it publishes it, and what was not sent yet never leaves."""
        self.closing.set()
        with self.lock, suppress(Exception):  # of a socket that is already broken
            client, self.client = self.client, None
            if client is None:
                return
            if in_order:
                client.disconnect()
            sock: Any = client.socket()
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()
