"""actuator.http against servers that are absent, hang, break off, talk nonsense, or return later."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.benches.programs import free_port
from drivers.actuator import http
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from tests.hostile_tcp import Peer, closes, says, silent
from tests.mqtt_fixtures import opened

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def actuator(url, **options):
    common = {"critical": False, "requests": {"on": {}, "off": {}}, "safe": "off", "timeout_ms": 10_000, "retries": 0}
    return http.Driver(http.Options(**{"url": url, **common, **options}), "lamp")


def at(peer):
    return f"http://127.0.0.1:{peer.port}"


def test_a_server_that_starts_meanwhile_gets_the_command_once():
    answers = iter([b"", b"HTTP/1.1 503 Starting\r\n\r\n", OK])
    with Peer(
        lambda connection: (connection.recv(4096), connection.sendall(next(answers)), connection.close())
    ) as peer:
        driver = actuator(at(peer), retries=2, backoff_ms=1)
        with opened(driver):
            driver.apply("on", {})
        assert next(answers, None) is None


def test_no_server():
    driver = actuator(f"http://127.0.0.1:{free_port()}", retries=1, backoff_ms=1)
    with opened(driver), pytest.raises(DeviceMissing, match="refuses connections: is the server running"):
        driver.safe()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()
    with pytest.raises(DeviceFault, match="no verb 'fly', only on, off"):
        driver.apply("fly", {})


def trickles(connection):
    """A byte now and then, for ever: each one is within a time limit for a single read."""
    connection.recv(4096)
    for _ in range(10_000):
        connection.sendall(b"H")
        threading.Event().wait(0.01)


def floods(connection):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"a" * 1000 + b"\r\n")


@pytest.mark.parametrize(
    "behave, error, text",
    [
        (silent, DeviceTimeout, "no answer for 100 ms"),
        (trickles, DeviceTimeout, "no answer for 100 ms"),
        (floods, DeviceFault, "is no HTTP"),
        (closes, DeviceMissing, "connection lost"),
        (says(b"HTTP/1.1 20"), DeviceTimeout, "no answer"),
        (says(b"SSH-2.0-OpenSSH_9.2p1\r\n"), DeviceFault, "is no HTTP, BadStatusLine"),
        (says(b"HTTP/1.1 100 Continue\r\n\r\n" * 5), DeviceTimeout, "no answer"),
        (says(b"HTTP/1.1 900 Odd\r\n\r\n"), DeviceFault, "answers 900"),
    ],
)
def test_a_hostile_server(behave, error, text):
    with Peer(behave) as peer:
        driver = actuator(at(peer), timeout_ms=100 if error is DeviceTimeout else 10_000)
        with opened(driver), pytest.raises(error, match=text):
            driver.apply("on", {})


def test_a_server_that_returns_is_found_without_opening_again():
    answers = iter([b"", OK])
    with Peer(
        lambda connection: (connection.recv(4096), connection.sendall(next(answers)), connection.close())
    ) as peer:
        driver = actuator(at(peer))
        with opened(driver):
            with pytest.raises(DeviceMissing):
                driver.apply("on", {})
            driver.safe()


class Noise:
    def __init__(self):
        self.data = b""
        self.peer = Peer(self.answer)

    def answer(self, connection):
        connection.recv(4096)
        connection.sendall(self.data)
        connection.close()


@pytest.fixture(scope="module")
def noise():
    noise = Noise()
    with noise.peer:
        yield noise


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100) | st.text("HTP/1. 0243\r\n:ab", max_size=100).map(lambda t: f"HTTP/1.{t}".encode()))
def test_any_answer_is_an_error_of_a_device_or_success(noise, data):
    noise.data = data
    driver = actuator(at(noise.peer))
    driver.open()
    try:
        driver.safe()
    except DeviceError as error:
        assert str(error).startswith(at(noise.peer))
    else:
        assert data.split()[1].startswith(b"2")


def test_no_answer_to_the_tls_handshake():
    with Peer(silent) as peer:
        driver = actuator(f"https://127.0.0.1:{peer.port}", timeout_ms=100)
        with opened(driver), pytest.raises(DeviceTimeout, match="no answer in time"):
            driver.safe()
