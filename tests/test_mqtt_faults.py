"""Brokers that are absent, hang, break off, or talk nonsense: both MQTT drivers report it in time and come back."""

import signal
import socket
import threading

import pytest

from agent.benches.programs import free_port
from drivers.actuator import mqtt
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links import tcp
from drivers.sensor import mqtt as mqtt_sensor
from tests.hostile_tcp import ACCEPTED, Peer, after_login, closes, says, silent
from tests.mqtt_fixtures import needs_mosquitto, opened
from tests.waiting import until

SET = "lamp/set"
LAMP = {"topic": SET, "messages": {"on": "ON", "off": "OFF"}, "safe": "off"}
LEVEL = {"rate_hz": 10, "channels": [{"name": "level", "topic": "tank"}]}
NO_MQTT = b"\r\nraspberrypi login: "  # a terminal server
HALF = bytes.fromhex("20 03 00")


def actuator(port, **options):
    return mqtt.Driver(mqtt.Options(**{"host": "127.0.0.1", "port": port, **LAMP, **options}), "lamp")


def sensor(port, **options):
    return mqtt_sensor.Driver(mqtt_sensor.Options(**{"host": "127.0.0.1", "port": port, **LEVEL, **options}), "tank")


both = pytest.mark.parametrize("make", [actuator, sensor])


@both
def test_no_broker(make):
    with pytest.raises(DeviceMissing, match="refuses connections: is the server running"):
        make(free_port()).open()


@both
@pytest.mark.parametrize("tls", [None, {}])
def test_a_broker_that_hangs_at_the_login(make, tls):
    for behave in (silent, says(HALF)):
        with Peer(behave) as peer, pytest.raises((DeviceTimeout, DeviceFault), match="in time|no TLS"):
            make(peer.port, connect_ms=50, tls=tls).open()


@both
def test_a_name_server_that_hangs(make, monkeypatch):
    asked, answers, real = [], threading.Event(), socket.getaddrinfo

    def look_up(host, port, *more, **options):
        if host == "broker.example":
            asked.append(host)
            answers.wait()
        return real("127.0.0.1", port, *more, **options)

    monkeypatch.setattr(tcp.socket, "getaddrinfo", look_up)
    driver = make(free_port(), host="broker.example", connect_ms=20)
    for _ in range(3):
        with pytest.raises(DeviceTimeout, match="no name server answers"):
            driver.open()
    assert asked == ["broker.example"]  # not a thread for each try
    answers.set()
    until(lambda: "refuses connections" in str(_outcome(driver.open)))


def _outcome(call):
    try:
        return call()
    except DeviceError as error:
        return error


@both
def test_an_unknown_name(make, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(tcp.socket, "getaddrinfo", unknown)
    with pytest.raises(DeviceMissing, match="broker.example: unknown name"):
        make(1883, host="broker.example", connect_ms=5000).open()


@both
@pytest.mark.parametrize(
    "answer, error",
    [(NO_MQTT, "is no MQTT 5"), (b"\0" * 50, "is no MQTT 5"), (bytes.fromhex("20 03 00 87 00"), "Not authorized")],
)
def test_a_broker_that_refuses_or_is_none(make, answer, error):
    with Peer(says(answer)) as peer, pytest.raises(DeviceFault, match=error):
        make(peer.port, connect_ms=5000).open()


@both
def test_a_broker_that_closes(make):
    with Peer(closes) as peer, pytest.raises(DeviceMissing, match="connection lost"):
        make(peer.port, connect_ms=5000).open()


@both
def test_a_broker_that_announces_256_megabytes(make):
    start = bytes.fromhex("30 ff ff ff 7f") + bytes(100)
    with Peer(says(start)) as peer, pytest.raises(DeviceFault, match="sends a packet of over"):
        make(peer.port, connect_ms=5000).open()


IN_MID_CALL = [
    (silent, DeviceTimeout, "no acknowledgement for topic lamp/set in time"),
    (closes, DeviceMissing, "connection lost"),
    (says(NO_MQTT), DeviceFault, "is no MQTT 5"),
    (says(bytes.fromhex("e0 08 8b 06 1f 00 03 62 79 65")), DeviceMissing, "connection lost, Server shutting down"),
    (says(bytes.fromhex("40 04 00 01 97 00")), DeviceFault, "topic lamp/set refused, Quota exceeded"),
    (says(bytes.fromhex("34 07 00 01 61 00 01 00 31")), DeviceFault, "of QoS 2, which nobody asked for"),
    (says(bytes.fromhex("40 02 ff ff")), DeviceTimeout, "no acknowledgement"),
]


@pytest.mark.parametrize("then, error, text", IN_MID_CALL)
def test_in_the_middle_of_a_command(then, error, text):
    with Peer(after_login(then)) as peer:
        driver = actuator(peer.port, connect_ms=5000, timeout_ms=5000 if error != DeviceTimeout else 50)
        with opened(driver):
            with pytest.raises(error, match=text):
                driver.apply("on", {})
            assert not driver.at_rest
            driver.close()
            driver.close()
            driver.open()


def test_a_command_that_was_not_accepted_never_arrives():
    """The peer reads nothing until the command has failed, then everything: it gets a reset, and no second copy."""
    heard, go_on = [], threading.Event()

    def slow(connection):
        connection.recv(4096)
        connection.sendall(ACCEPTED)
        go_on.wait()
        while data := connection.recv(4096):
            heard.append(data)

    with Peer(slow) as peer:
        driver = actuator(peer.port, connect_ms=5000, timeout_ms=30)
        driver.open()
        first = driver.commands.client
        with pytest.raises(DeviceTimeout):
            driver.apply("on", {})
        driver.close()
        driver.open()
        assert driver.commands.client is not first
        assert not driver.commands.client._out_messages and not driver.commands.client._out_packet
        go_on.set()
        with pytest.raises(DeviceTimeout):
            driver.safe()
        until(lambda: b"OFF" in b"".join(heard))
        driver.close()
    assert b"".join(heard).count(b"ON") <= 1  # of the first connection, before its reset and its will


def test_a_broker_that_falls_silent_while_nothing_is_sent():
    with Peer(after_login(silent)) as peer:
        driver = actuator(peer.port, connect_ms=5000, timeout_ms=5000, keep_alive_s=1)
        with opened(driver):
            until(lambda: driver.commands.client.socket() is None)
            with pytest.raises(DeviceMissing, match="connection lost, Keep alive timeout"):
                driver.apply("on", {})


@needs_mosquitto
def test_after_a_broker_that_hung_the_last_word_is_safe(broker, device):
    """It had read the command from the network before it was stopped, or not: either way it ends safe."""
    lamp = device(SET)
    driver = actuator(broker.port, connect_ms=5000, timeout_ms=100)
    with opened(driver):
        driver.safe()
        broker.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(DeviceTimeout, match="no acknowledgement"):
                driver.apply("on", {})
            driver.close()
        finally:
            broker.process.send_signal(signal.SIGCONT)
        driver.open()
        driver.safe()
        until(lambda: len(lamp.received) >= 2)
        device("end").publish("end", "")
        assert lamp.payloads(SET)[-1] == "OFF"


@needs_mosquitto
def test_a_broker_that_returns_later(broker, device, tmp_path):
    driver = actuator(broker.port, connect_ms=5000, timeout_ms=5000, subscriber_required=False)
    with opened(driver):
        driver.apply("on", {})
        broker.stop()
        with pytest.raises(DeviceMissing, match="connection lost"):
            driver.apply("off", {})
        driver.close()
        with pytest.raises(DeviceMissing, match="refuses"):
            driver.open()
        broker.start()
        lamp = device(SET)
        driver.open()
        driver.apply("on", {})
        until(lambda: lamp.received)
        driver.safe()
        until(lambda: len(lamp.received) == 2)
    assert lamp.payloads(SET) == ["ON", "OFF"]  # nothing from before
