"""What Home Assistant would read: retained messages whose keys its documentation has. Not run in Home Assistant."""

import json

import pytest

from drivers.actuator import mqtt
from tests.mqtt_fixtures import needs_mosquitto, opened
from tests.waiting import until

# home-assistant.io/integrations/switch.mqtt and select.mqtt, and of mqtt discovery: origin
COMMON = {
    "availability": list,
    "availability_topic": str,
    "command_template": str,
    "command_topic": str,
    "device": dict,
    "enabled_by_default": bool,
    "entity_category": str,
    "icon": str,
    "name": str,
    "optimistic": bool,
    "origin": dict,
    "qos": int,
    "retain": bool,
    "state_topic": str,
    "unique_id": str,
    "value_template": str,
}
KEYS = {
    "switch": {**COMMON, "payload_on": str, "payload_off": str, "state_on": str, "state_off": str},
    "select": {**COMMON, "options": list},
}
DEVICE = {"configuration_url", "connections", "identifiers", "manufacturer", "model", "name", "sw_version"}
ORIGIN = {"name", "sw_version", "support_url"}
TWO = {"run": "ON", "stop": "OFF"}
THREE = {"run": "2", "slow": '{"speed": "ä"}', "stop": "0"}


def actuator(port, messages, **options):
    discovery = {"name": "Förderband", "object_id": "belt-1"}
    return mqtt.Driver(
        mqtt.Options(
            host="127.0.0.1",
            port=port,
            topic="belt/set",
            messages=messages,
            safe="stop",
            state_topic="belt/state",
            discovery=discovery,
            timeout_ms=5000,
            connect_ms=5000,
            **options,
        ),
        "belt",
    )


@needs_mosquitto
@pytest.mark.parametrize("kind, messages", [("switch", TWO), ("select", THREE)])
def test_the_announcement_has_the_documented_keys(broker, device, kind, messages):
    topic = f"homeassistant/{kind}/belt-1/config"
    with opened(actuator(broker.port, messages)):
        home = device("homeassistant/#")
        until(lambda: home.received)
    (message,) = home.received
    assert (message.topic, message.retained, message.expires_s) == (topic, True, 0)
    body = json.loads(message.payload)
    for key, value in body.items():
        assert isinstance(value, KEYS[kind][key]), key
    assert set(body["device"]) <= DEVICE and body["device"]["identifiers"] == [body["unique_id"]]
    assert set(body["origin"]) <= ORIGIN and body["origin"]["name"]
    assert (body["name"], body["command_topic"], body["state_topic"]) == ("Förderband", "belt/set", "belt/state")
    assert not body["retain"]


def test_a_switch_is_on_in_the_state_that_is_not_safe():
    body = json.loads(actuator(1883, TWO)._discovery().payload)
    assert [body[key] for key in ("payload_on", "payload_off", "state_on", "state_off")] == ["ON", "OFF", "run", "stop"]


def test_a_select_sends_the_payload_of_the_option():
    """Its template is a Jinja expression: a literal mapping with a key; here read as the JSON that it is."""
    body = json.loads(actuator(1883, THREE)._discovery().payload)
    assert body["options"] == list(THREE)
    template = body["command_template"]
    assert template.startswith("{{ {") and template.endswith("}[value] }}")
    assert json.loads(template.removeprefix("{{ ").removesuffix("[value] }}")) == THREE


@needs_mosquitto
def test_what_home_assistant_sends_and_reads(broker, device):
    """The state it shows is the verb last accepted."""
    driver = actuator(broker.port, TWO)
    device("belt/set")
    with opened(driver):
        body = json.loads(driver._discovery().payload)
        home = device(body["state_topic"])
        driver.apply("run", {})
        driver.safe()
        until(lambda: len(home.received) == 2)
    assert [message.payload for message in home.received] == [body["state_on"], body["state_off"]]
