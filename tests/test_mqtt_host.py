"""actuator.mqtt in `reflexd actuate`: a host that dies, a broker that returns; the documented configuration."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.benches.io.mqtt import Broker
from agent.cli import cli
from tests.mqtt_fixtures import Device, needs_mosquitto
from tests.processes import Process
from tests.shared import mistakes
from tests.test_readme import blocks
from tests.waiting import until

SET = "hall/lamp/set"


@pytest.fixture
def host(broker: Broker, tmp_path: Path) -> Process:
    lamp = {
        "driver": "actuator.mqtt",
        "host": "127.0.0.1",
        "port": broker.port,
        "topic": SET,
        "messages": {"on": "ON", "off": "OFF"},
        "safe": "off",
        "connect_ms": 1000,
        "timeout_ms": 1000,
    }
    path = tmp_path / "reflexd.yaml"
    actuators = {"lamp": {"device": lamp, "rest": "off"}}
    path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "realtime": False, "actuators": actuators}))
    return Process(tmp_path / "log", "actuate", str(path))


@needs_mosquitto
@pytest.mark.slow
def test_a_host_that_dies_is_followed_by_its_will_and_its_standby(device: Callable[..., Device], host: Process) -> None:
    lamp = device(SET)
    until(lambda: lamp.payloads(SET), lambda: host.text)
    host.signal(signal.SIGKILL)
    until(lambda: len(lamp.received) >= 3, lambda: host.text)
    assert set(lamp.payloads(SET)) == {"OFF"}
    host.wait_for_standby("is safe: by the standby")


@needs_mosquitto
@pytest.mark.slow
def test_a_broker_that_goes_and_returns_is_logged_once_each(
    broker: Broker, device: Callable[..., Device], host: Process
) -> None:
    lamp = device(SET)
    host.wait_for("listens at")
    until(lambda: lamp.payloads(SET), lambda: host.text)
    host.signal(signal.SIGTERM)
    assert host.exit_code() == 0
    broker.stop()
    again = Process(host.log.with_name("again"), *host.command)
    again.wait_for("trying again until it is back")
    broker.start()
    again.wait_for("is back, and safe")
    assert again.text.count("refuses connections") == again.text.count("is back, and safe") == 1
    again.signal(signal.SIGTERM)
    assert again.exit_code() == 0


@needs_mosquitto
@pytest.mark.slow
def test_a_broker_that_goes_while_nothing_is_commanded_is_noticed(
    broker: Broker, device: Callable[..., Device], host: Process
) -> None:
    lamp = device(SET)
    until(lambda: lamp.payloads(SET), lambda: host.text)
    broker.stop()
    host.wait_for("trying again until it is back")
    broker.start()
    host.wait_for("is back, and safe")
    assert host.text.count("trying again until it is back") == 1
    host.signal(signal.SIGTERM)
    assert host.exit_code() == 0


def test_the_documented_configuration_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = (block for block in blocks("drivers/INDUSTRIAL.md", "yaml") if "actuator.mqtt" in block)
    monkeypatch.setenv("MQTT_PASSWORD", "Zq-secret")
    monkeypatch.setenv("LAMP_TOKEN", "Zq-token")
    (tmp_path / "hall.yaml").write_text(example, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", str(tmp_path / "hall.yaml")], catch_exceptions=False)
    assert "good: 2 lanes, 2 actuators, 1 rule" in result.stdout, result.output
    assert "Zq" not in result.output


def test_two_actuators_of_one_topic_are_a_mistake(tmp_path: Path) -> None:
    lamp = {"driver": "actuator.mqtt", "host": "h", "topic": SET, "messages": {"off": "OFF"}, "safe": "off"}
    found = mistakes(
        tmp_path / "hall.yaml",
        json.dumps({"actuators": {name: {"device": lamp, "rest": "off"} for name in ("one", "two")}}),
    )
    assert len(found) == 1 and f"'mqtt:h:1883/{SET}' is used by actuator" in found[0], found
