"""actuator.opcua where the server is absent, hangs, ends, is none, or comes back."""

import json
import random
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from asyncua.crypto.security_policies import SecurityPolicyNone

from agent.benches.io import opcua
from drivers._opcua_protocol import MAX_MESSAGE, Protocol
from drivers.actuator.opcua import Driver, Options
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from tests.opcua_peers import BELT, Line, peer, verbs
from tests.processes import Process
from tests.waiting import until


def made(url, **options):
    return Driver(Options.model_validate({"url": url, "security": "none"} | verbs(**options)), "belt")


def no_threads():
    until(
        lambda: not [each for each in threading.enumerate() if each.name.startswith("opcua")], "no thread of a session"
    )


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


@pytest.fixture
def belt():
    with opcua.counterpart() as counterpart:
        yield counterpart


@pytest.mark.slow
def test_a_damaged_line_is_an_error_of_the_device_and_nothing_else(belt):
    line = Line(belt.port)
    outcomes = set()
    for seed in range(60):
        line.seed = seed if random.Random(seed).randrange(5) else None
        driver = made(line.url, open_ms=150, timeout_ms=100)
        try:
            driver.open()
            driver.safe()
            outcomes.add("safe")
        except DeviceError as error:
            outcomes.add(type(error).__name__)
        driver.close()
    line.close()
    assert {"safe", "DeviceFault"} <= outcomes
    no_threads()
    again = made(belt.options["url"])
    again.open()
    again.safe()
    again.close()


@pytest.mark.slow
def test_a_server_that_hangs_ends_and_returns(belt):
    """Each time the same driver takes the next command whole, in a new session."""
    options = {
        **verbs()["verbs"],
        "die": {"call": {"object": "ns=2;s=Belt", "method": BELT + "Go", "arguments": [DIE]}},
    }
    driver = made(belt.options["url"], verbs=options, timeout_ms=300)
    driver.open()
    driver.apply("run", {})
    belt.pause()
    with pytest.raises(DeviceTimeout, match="no answer .*while doing 'stop'"):
        driver.safe()
    with pytest.raises(DeviceTimeout, match="while doing 'stop'"):
        driver.safe()  # at once: the connection is aborted
    driver.close()
    driver.options = driver.options.model_copy(update={"open_ms": 100})
    with pytest.raises(DeviceTimeout, match="no answer"):
        driver.open()
    belt.resume()
    driver.options = driver.options.model_copy(update={"open_ms": 10_000})
    driver.open()
    driver.safe()
    assert belt.ask(get="Run") is False

    driver.timeout_s = 10.0
    with pytest.raises(DeviceMissing, match="the connection ended while doing 'die'"):
        driver.apply("die", {})
    belt.stop()
    with pytest.raises(DeviceMissing, match="is the server on"):
        driver.open()
    with opcua.counterpart(port=belt.port) as returned:
        driver.open()
        driver.apply("run", {})
        assert returned.ask(get="Run") is True
        session = driver.session
        returned.stop()
        until(lambda: session.lost, "that an idle driver notices the end")
        with pytest.raises(DeviceMissing, match="the connection ended while idle"):
            driver.safe()
    driver.close()
    no_threads()


DIE = {"type": "Float", "value": -1}


@pytest.mark.slow
def test_a_host_logs_an_absent_server_once_and_makes_it_safe_when_it_is_back(tmp_path):
    port = opcua.free_port()
    device = {"driver": "actuator.opcua", "url": f"opc.tcp://127.0.0.1:{port}", "security": "none", **verbs()}
    config = {"run_dir": str(tmp_path / "run"), "realtime": False}
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps(config | {"actuators": {"belt": {"device": device, "rest": "stop"}}}))
    host = Process(tmp_path / "log", "actuate", str(path))
    host.wait_for("is the server on")
    with opcua.counterpart(port=port) as belt:
        host.wait_for("actuator belt: the device is back, and safe")
        assert belt.ask(get="Run") is False
        assert len(host.lines("is the server on")) == 1
        assert host.stop() == 0
    assert "Traceback" not in host.text


@pytest.mark.slow
def test_an_idle_driver_notices_a_server_that_hangs_and_one_late_answer_is_no_end(belt):
    driver = made(belt.options["url"], keepalive_ms=50, timeout_ms=50)
    driver.open()
    driver.safe()
    session = driver.session
    belt.pause()
    until(lambda: session.lost, "that it is noticed")
    with pytest.raises(DeviceTimeout, match="no answer while idle"):
        driver.safe()
    belt.resume()
    driver.open()
    driver.safe()
    driver.close()
