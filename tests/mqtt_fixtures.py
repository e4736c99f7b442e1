"""A real broker for a test, devices that subscribe to it, and certificates for it."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.benches.io.mqtt import Broker, program, reason
from tests.waiting import until

needs_mosquitto = pytest.mark.skipif(bool(reason()), reason=reason() or "here")


class Received(NamedTuple):
    topic: str
    payload: str
    retained: bool
    expires_s: int  # 0: never


class Device:
    """Another client of the broker, by paho's own threads: what it received, and `publish`."""

    def __init__(self, broker: Broker, topics: str | list[str] = "#", name: str = "", session_s: int = 0) -> None:
        self.received: list[Received] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        self.topics = [(topic, 1) for topic in ([topics] if isinstance(topics, str) else topics)]
        self.ready = False
        self.client.on_connect = lambda *_: self.client.subscribe(self.topics)
        self.client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self.client.on_message = lambda _client, _data, message: self.received.append(_received(message))
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_s
        self.client.connect("127.0.0.1", broker.port, clean_start=not session_s, properties=properties)
        self.client.loop_start()
        until(lambda: self.ready, "the device's subscription")

    def publish(self, topic: str, payload: object, retain: bool = False, qos: int = 1) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(60)

    def payloads(self, topic: str) -> list[str]:
        return [message.payload for message in self.received if message.topic == topic]

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def _received(message: paho.MQTTMessage) -> Received:
    expiry = getattr(message.properties, "MessageExpiryInterval", 0)
    return Received(message.topic, bytes(message.payload).decode(), message.retain, expiry)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as started:
        yield started


@pytest.fixture
def device(broker: Broker) -> Iterator[Callable[..., Device]]:
    """Makes devices that are stopped at the end."""
    made: list[Device] = []

    def make(*arguments: object, **more: object) -> Device:
        made.append(Device(broker, *arguments, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop()


@contextmanager
def opened(*drivers: object) -> Iterator[None]:
    """Open, and closed at the end."""
    with ExitStack() as stack:
        for driver in drivers:
            stack.callback(driver.close)  # type: ignore[attr-defined]
            driver.open()  # type: ignore[attr-defined]
        yield


def login(folder: Path, user: str, password: str, *more: str) -> list[str]:
    """Settings of a broker that only lets this user in."""
    tool = str(Path(program()).with_name("mosquitto_passwd"))
    tool = tool if Path(tool).exists() else "mosquitto_passwd"
    subprocess.run([tool, "-b", "-c", str(folder / "passwords"), user, password], check=True, capture_output=True)
    return ["allow_anonymous false", f"password_file {folder / 'passwords'}", *more]


def certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host.startswith("127."):
        names = [x509.IPAddress(ipaddress.ip_address(host))]
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
