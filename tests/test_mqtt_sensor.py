"""sensor.mqtt against a real mosquitto, and its reading of payloads."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.benches.io.mqtt import Broker
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout, load
from drivers.sensor import mqtt
from drivers.sensor.mqtt import number
from tests.mqtt_fixtures import certificate, login, needs_mosquitto, opened
from tests.waiting import until

LEVEL = {"name": "level", "topic": "tank/level"}
AXIS = [
    {"name": "speed", "topic": "arm", "path": "axis.0.speed", "scale": 0.001},
    {"name": "torque", "topic": "arm", "path": "axis.0.torque"},
]


def sensor(port, channels=(LEVEL,), **options):
    options = {"timeout_ms": 60_000, "connect_ms": 5000, "rate_hz": 10, **options}
    return mqtt.Driver(mqtt.Options(host="127.0.0.1", port=port, channels=list(channels), **options), "tank")


def rows(driver, count):
    """As many readings, and the samples."""
    samples, readings = [], []
    while len(readings) < count:
        sample = until(lambda: driver.read(0.05), f"{count} readings")
        readings += sample.payload.tolist()
        samples.append(sample)
    return readings, samples


@needs_mosquitto
def test_plain_numbers_and_json(broker, device):
    driver, plc = sensor(broker.port, [LEVEL, *AXIS]), device("none")
    with opened(driver):
        plc.publish("tank/level", "21.5")
        plc.publish("arm", '{"axis": [{"speed": 250, "torque": true}]}')
        plc.publish("tank/level", "22")
        readings, samples = rows(driver, 2)
    assert driver.channels == ("level", "speed", "torque")
    assert readings == [[21.5, 0.25, 1.0], [22.0, 0.25, 1.0]]  # none before every topic was heard
    assert samples[-1].sequence == 1 and samples[-1].skipped == 0


@needs_mosquitto
def test_a_reading_is_stamped_when_it_arrives(broker, device):
    driver, plc = sensor(broker.port), device("none")
    with opened(driver):
        plc.publish("tank/level", "1")
        _, (first,) = rows(driver, 1)
        plc.publish("tank/level", "2")
        _, (second,) = rows(driver, 1)
        assert driver.t_received == second.t_capture > first.t_capture
        assert driver.read(0.0) is None


@needs_mosquitto
@pytest.mark.parametrize("retained", ["ignore", "use"])
def test_a_retained_message_is_no_fresh_data(broker, device, retained):
    driver, plc = sensor(broker.port, retained=retained), device("none")
    plc.publish("tank/level", "1", retain=True)
    with opened(driver):
        plc.publish("tank/level", "2", retain=True)
        readings, _ = rows(driver, 1 if retained == "ignore" else 2)
    assert readings == ([[2.0]] if retained == "ignore" else [[1.0], [2.0]])


@needs_mosquitto
def test_bad_messages_are_counted_and_many_in_a_row_are_a_fault(broker, device):
    driver, plc = sensor(broker.port, bad_run=8, max_payload=1000), device("none")
    bad = ["", "x", "NaN", "1e999", "null", "[1]", '"3"', " " * 1000 + "1"]
    with opened(driver):
        for payload in [*bad, "1", *bad]:
            plc.publish("tank/level", payload)
        assert rows(driver, 1)[0] == [[1.0]]
        until(lambda: driver.read(0.05) or driver.bad_messages == 16)
        plc.publish("tank/level", "[" * 900)
        with pytest.raises(DeviceFault, match="9 bad messages in a row, the last of tank/level: check path"):
            until(lambda: driver.read(0.05))


@needs_mosquitto
def test_a_payload_that_is_far_too_long_is_not_even_sent(broker, device):
    """The broker is asked not to (MQTT 5, Maximum Packet Size)."""
    driver, plc = sensor(broker.port, max_payload=100), device("none")
    with opened(driver):
        plc.publish("tank/level", " " * 100_000 + "1")
        plc.publish("tank/level", "2")
        assert rows(driver, 1)[0] == [[2.0]]
    assert driver.bad_messages == 0


@needs_mosquitto
def test_a_topic_that_falls_silent_while_another_goes_on(broker, device):
    driver, plc = sensor(broker.port, [LEVEL, *AXIS], timeout_ms=300), device("none")
    with opened(driver):
        plc.publish("arm", '{"axis": [{"speed": 250, "torque": 1}]}')
        with pytest.raises(DeviceTimeout, match="no good message of tank/level for 300 ms"):
            while True:
                plc.publish("arm", '{"axis": [{"speed": 250, "torque": 1}]}')
                driver.read(0.01)


@needs_mosquitto
def test_silence_is_a_timeout_and_the_broker_s_end_is_missing(broker, device):
    driver, plc = sensor(broker.port, timeout_ms=50), device("none")
    with opened(driver), pytest.raises(DeviceTimeout, match="0 bad ones since open"):
        until(lambda: driver.read(0.02))
    patient = sensor(broker.port)
    with opened(patient):
        broker.stop()
        with pytest.raises(DeviceMissing, match="connection lost"):
            until(lambda: patient.read(0.05))
        patient.close()
        with pytest.raises(DeviceMissing, match="refuses"):
            patient.open()
        broker.start()
        patient.open()
        until(lambda: plc.client.is_connected())
        plc.publish("tank/level", "7")
        assert rows(patient, 1)[0] == [[7.0]]
        assert patient.sequence == 0


@needs_mosquitto
def test_login_and_tls(tmp_path):
    public, key = certificate(tmp_path)
    settings = login(tmp_path, "arm", "Zq-secret", f"certfile {public}", f"keyfile {key}")
    with Broker(tmp_path, settings) as broker:
        options = {"host": "localhost", "port": broker.port, "tls": {"ca": str(public)}, "user": "arm", "rate_hz": 1}
        for password, right in (("Zq-wrong", False), ("Zq-secret", True)):
            driver = mqtt.Driver(mqtt.Options(**options, password=password, channels=[LEVEL], connect_ms=5000))
            if right:
                with opened(driver):
                    assert driver.read(0.0) is None
            else:
                with pytest.raises(DeviceFault, match="refuses the login"):
                    driver.open()


def test_read_before_open():
    with pytest.raises(DeviceMissing, match="not open"):
        sensor(1883).read(0.1)


@pytest.mark.parametrize("path, expected", [("", 3.0), ("a.b", 6.0), ("a.c.1", 9.0)], ids=["plain", "keys", "position"])
def test_where_a_number_is(path, expected):
    document = {"a": {"b": 2, "c": [0, 3]}} if path else 1
    assert number(document, path, 3.0) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@settings(max_examples=40)
@given(JSON, st.sampled_from(["", "a", "a.b", "0", "a.0", "..", "a.-1", "x"]), st.floats(-1e6, 1e6))
def test_any_document_has_a_finite_number_or_none(document, path, scale):
    try:
        value = number(document, path, scale)
    except (ValueError, LookupError, TypeError, OverflowError):
        return
    assert math.isfinite(value) and abs(value) <= mqtt.FLOAT32_MAX


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"channels": []}, "at least 1"),
        ({"channels": [LEVEL, LEVEL]}, "same name"),
        ({"channels": [{**LEVEL, "topic": "tank/#"}]}, "pattern"),
        ({"retained": "yes"}, "'ignore' or 'use'"),
        ({"qos": 2}, "Input should be"),
    ],
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        mqtt.Options.model_validate({"host": "h", "rate_hz": 1, "channels": [LEVEL], **options})


def test_it_is_loaded_by_name():
    assert load("sensor.mqtt").Driver.__mro__[1].__name__ == "SensorStream"
