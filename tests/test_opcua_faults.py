"""actuator.opcua where there is no server: nothing, a name that hangs, peers that are silent or send noise."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from asyncua.crypto.security_policies import SecurityPolicyNone

from agent.benches.io import opcua
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.opcua.protocol import MAX_MESSAGE, Protocol
from tests.opcua_peers import made, no_threads, peer


def test_nothing_listens():
    driver = made(f"opc.tcp://127.0.0.1:{opcua.free_port()}")
    with pytest.raises(DeviceMissing, match="is the server on"):
        driver.open()
    driver.close()
    no_threads()


def test_a_name_that_is_unknown(monkeypatch):
    def unknown(*arguments, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DeviceMissing, match="its name is not known"):
        made("opc.tcp://plc").open()


def test_a_name_server_that_hangs_holds_one_thread_and_no_call(monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **more: gate.wait() and [])
    driver = made("opc.tcp://slow-plc", open_ms=50)
    with pytest.raises(DeviceTimeout, match=r"no answer within \d+ ms while connecting"):
        driver.open()
    for _ in range(3):
        with pytest.raises(DeviceTimeout, match="still being looked up: write its IP address"):
            driver.open()
    assert len([each for each in threading.enumerate() if each.name.startswith("opcua")]) == 1
    gate.set()
    no_threads()


HELLO = b"ACKF\x1c\0\0\0" + bytes(4) + b"\0\0\1\0" * 2 + bytes(8)
HUGE = b"MSGF\xf0\xff\xff\xff" + bytes(100)
ENDLESS = b"MSGC\x18\0\0\0" + bytes(16)


@pytest.mark.parametrize(
    "answers, error, complaint",
    [
        ((), DeviceTimeout, "while greeting it"),
        ((HELLO,), DeviceTimeout, "while opening the secure channel"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), DeviceFault, "unknown type while greeting it: is it an OPC UA server"),
        ((HUGE,), DeviceFault, "a chunk of 4294967280 bytes"),
        ((HELLO, HUGE), DeviceFault, "a chunk of 4294967280 bytes"),
        ((HELLO, ENDLESS * 1000), DeviceFault, "a message that cannot be read"),
        ((HELLO[:20],), DeviceTimeout, "while greeting it"),
        ((HELLO * 5,), DeviceFault, "a message that cannot be read"),
        ((b"ERRF\x10\0\0\0\0\0\x7d\x80" + b"\xff" * 4,), DeviceFault, "BadTcpServerTooBusy"),
    ],
)
def test_a_peer_that_is_no_server(answers, error, complaint):
    with peer(*answers) as url:
        driver = made(url, open_ms=300)
        for _ in range(2):
            with pytest.raises(error, match=complaint):
                driver.open()
        with pytest.raises(DeviceMissing, match="not open"):
            driver.safe()
        driver.close()
    no_threads()


@pytest.mark.parametrize("answers", [(b"",), (HELLO, b"")])
def test_a_peer_that_hangs_up(answers):
    with peer(*answers, end=True) as url, pytest.raises(DeviceError, match="connection"):
        made(url).open()
    no_threads()


class Pipe:
    """A transport as far as the protocol uses one."""

    closed = False

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close

    def write(self, data):
        pass


NOISE = st.binary(max_size=300) | st.sampled_from([HELLO, HUGE, ENDLESS, b"OPNF", b"MSGA\x20\0\0\0"])


@given(st.lists(NOISE, max_size=20))
def test_any_bytes_are_survived_and_bounded(chunks):
    protocol = Protocol(1.0, SecurityPolicyNone(), lambda: None)
    pipe = Pipe()
    protocol.connection_made(pipe)
    for chunk in chunks:
        if not pipe.closed:
            protocol.data_received(chunk)
        assert len(protocol.pending) <= MAX_MESSAGE + 300
