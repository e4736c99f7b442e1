"""actuator.mqtt against a real mosquitto: commands, last will, state, expiry."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from pydantic import ValidationError

from drivers.actuator import mqtt
from drivers.base import DeviceFault, DeviceMissing, load
from tests.mqtt_fixtures import needs_mosquitto, opened
from tests.waiting import until

pytestmark = needs_mosquitto

SET, STATE = "hall/lamp/set", "hall/lamp/state"
LAMP = {
    "host": "127.0.0.1",
    "topic": SET,
    "messages": {"on": "ON", "off": "OFF"},
    "safe": "off",
    "timeout_ms": 5000,
    "connect_ms": 5000,
}


def actuator(broker, **options):
    return mqtt.Driver(mqtt.Options(port=broker.port, **{**LAMP, **options}), "lamp")


def test_a_verb_is_a_message(broker, device):
    lamp = device(SET)
    driver = actuator(broker, messages={"on": "ON", "off": "OFF", "blink": {"topic": SET + "/x", "payload": "2 Hz"}})
    other = device(SET + "/x")
    with opened(driver):
        driver.apply("on", {})
        driver.apply("blink", {"speed": 1})
        driver.safe()
        driver.safe()
        until(lambda: len(lamp.received) == 3 and other.received)
    assert lamp.payloads(SET) == ["ON", "OFF", "OFF"] and other.payloads(SET + "/x") == ["2 Hz"]
    # 9.2: at most a second old at delivery; the safe state is never too old
    assert [message.expires_s for message in lamp.received] == [1, 0, 0]
    assert not any(message.retained for message in lamp.received)


def test_no_delay_is_set(broker):
    driver = actuator(broker)
    with opened(driver):
        sock = driver.commands.client.socket()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_device_that_does_not_listen_is_missing_until_it_does(broker, device):
    driver = actuator(broker)
    with opened(driver):
        with pytest.raises(DeviceMissing, match=f"nobody subscribes to {SET}"):
            driver.safe()
        device(SET)
        driver.safe()
    lonely = actuator(broker, topic="nobody", subscriber_required=False)
    with opened(lonely):
        lonely.safe()


def test_unknown_verbs_and_a_closed_driver(broker):
    driver = actuator(broker)
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()
    with opened(driver), pytest.raises(DeviceFault, match="no verb 'fly', only on, off"):
        driver.apply("fly", {})
    driver.close()


def test_a_close_in_the_safe_state_leaves_no_will_and_any_other_does(broker, device):
    lamp, witness = device(SET), device("witness")
    driver = actuator(broker)
    with opened(driver):
        driver.apply("on", {})
        driver.safe()
    with opened(driver):
        driver.apply("on", {})
    until(lambda: len(lamp.received) >= 4)
    witness.publish("witness", "all before has been delivered")
    until(lambda: witness.received)
    assert lamp.payloads(SET) == ["ON", "OFF", "ON", "OFF"]


PROGRAM = """
import json, sys, time
from drivers.actuator import mqtt
driver = mqtt.Driver(mqtt.Options(**json.loads(sys.argv[1])), "lamp")
driver.open()
driver.apply("on", {})
print("on", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("state", [{}, {"state_topic": STATE}])
def test_when_the_box_dies_the_broker_makes_it_safe(broker, device, state):
    lamp = device([SET, STATE])
    options = json.dumps({**LAMP, "port": broker.port, **state})
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, options], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"on\n"
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: lamp.payloads(SET) == ["ON", "OFF"], lambda: str(lamp.received))
        until(lambda: lamp.payloads(STATE) == (["on", "off"] if state else []), lambda: str(lamp.received))
    finally:
        process.kill()
        process.communicate()


def test_when_the_box_falls_silent_the_broker_makes_it_safe(broker, device):
    """A stopped process stands for a cut cable: its connection stays open."""
    lamp = device(SET)
    options = json.dumps({**LAMP, "port": broker.port, "keep_alive_s": 1})
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, options], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGSTOP)
        until(lambda: lamp.payloads(SET) == ["ON", "OFF"], lambda: str(lamp.received))
    finally:
        process.kill()
        process.communicate()


def test_an_idle_connection_is_kept_alive(broker, device):
    device(SET)
    driver = actuator(broker, keep_alive_s=1)
    with opened(driver):
        driver.apply("on", {})
        until(lambda: broker.log.count("PINGREQ from reflexd") >= 3)  # longer than the broker would wait
        driver.safe()


def test_the_standby_takes_the_old_connection_over(broker, device):
    """What the old one had under way is over before the new one is answered."""
    lamp = device(SET)
    dead, standby = actuator(broker), actuator(broker)
    with opened(dead):
        dead.apply("on", {})
        with opened(standby):
            standby.safe()
            until(lambda: lamp.payloads(SET) == ["ON", "OFF", "OFF"], lambda: str(lamp.received))
            with pytest.raises(DeviceMissing, match="connection lost"):
                dead.apply("on", {})
    assert lamp.payloads(SET) == ["ON", "OFF", "OFF"]


def test_a_command_does_not_wait_for_a_device_that_comes_back_late(broker, device):
    """Its session is kept, so the broker keeps what it missed; only the safe state is still valid."""
    device(SET, "lamp-1", 60).stop()
    driver = actuator(broker)
    with opened(driver):
        driver.safe()
        driver.apply("on", {})
        published = time.monotonic()
        until(lambda: time.monotonic() > published + 2)  # a message may live for one second, counted in whole ones
        lamp = device(SET, "lamp-1", 60)
        driver.safe()
        until(lambda: len(lamp.received) >= 2, lambda: str(lamp.received))
    assert lamp.payloads(SET) == ["OFF", "OFF"]


def test_the_state_is_retained(broker, device):
    device(SET)
    driver = actuator(broker, state_topic=STATE)
    with opened(driver):
        driver.apply("on", {})
        late = device(STATE, name="late")
        until(lambda: late.received)
        assert (late.received[0].payload, late.received[0].retained) == ("on", True)
        driver.safe()
        until(lambda: late.payloads(STATE) == ["on", "off"])


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"safe": "halt"}, "'halt' is not among"),
        ({"topic": None}, "topic: missing"),
        ({"topic": "hall/+"}, "pattern"),
        ({"topic": "$SYS/x"}, "pattern"),
        ({"state_topic": SET}, "is also a topic of commands"),
        ({"discovery": {"name": "Lamp", "object_id": "lamp"}}, "needs a state_topic"),
        ({"password": "x"}, "needs a user"),
        ({"host": "mqtt://h"}, "pattern"),
        ({"port": 0}, "greater than"),
        ({"tls": {"certificate": "a"}}, "belong together"),
        ({"expiry_s": 0}, "greater than"),
        ({"retain": True}, "Extra inputs"),
    ],
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        mqtt.Options.model_validate({**LAMP, **options})


def test_it_is_loaded_by_name_and_says_its_deadline():
    module = load("actuator.mqtt")
    options = {key: LAMP[key] for key in ("host", "topic", "messages", "safe")}
    assert module.Driver(module.Options(**options)).deadline_ms == 150
