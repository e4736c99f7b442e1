"""actuator.opcua where a real server hangs, ends, comes back, or its line damages what it sends."""

import asyncio
import json
import random

import pytest

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from asyncua import ua

from agent.benches.io import opcua
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.opcua.keepalive import keep_alive
from tests.opcua_peers import BELT, Line, made, no_threads, verbs
from tests.processes import Process
from tests.waiting import until


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


class Server:
    """As far as keep_alive asks one: an answer, or None for silence, at a time."""

    secure_channel_timeout = 3_600_000

    def __init__(self, *answers):
        self.answers = list(answers)
        self.uaclient = self

    async def read_attributes(self, nodes, attribute):
        state = self.answers.pop(0)
        if state is None:
            raise asyncio.TimeoutError
        return [ua.DataValue(ua.Variant(state))]


def test_two_late_answers_are_no_end_of_an_idle_session_but_three_are(monkeypatch):
    monkeypatch.setattr("drivers.links.opcua.keepalive.MIN_TICK_S", 0)
    server = Server(None, 0, None, None, 0, None, None, None, 0)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(keep_alive(server, "plc", 0, 1))
    assert server.answers == [0]
    with pytest.raises(DeviceFault, match="plc: does not run, state 4: start it"):
        asyncio.run(keep_alive(Server(0, 4), "plc", 0, 1))


@pytest.mark.slow
def test_an_idle_driver_notices_a_server_that_hangs(belt):
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
