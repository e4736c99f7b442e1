"""The discovery message by which Home Assistant knows an MQTT switch or select.

Format: home-assistant.io/integrations/mqtt (discovery), switch.mqtt and select.mqtt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import Field

from drivers.base import DriverOptions


class Discovery(DriverOptions):
    """How Home Assistant shows it."""

    name: str = Field(min_length=1, max_length=100, description="shown to people")
    object_id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="its name in topics, unique in the house")
    prefix: str = Field("homeassistant", pattern=r"^[^$+#\x00/]+$", max_length=100)


def topic(discovery: Discovery, payloads: Mapping[str, str]) -> str:
    component = "switch" if len(payloads) == 2 else "select"
    return f"{discovery.prefix}/{component}/{discovery.object_id}/config"


def configuration(
    discovery: Discovery, payloads: Mapping[str, str], safe: str, command_topic: str, state_topic: str
) -> bytes:
    """payloads: of each verb, which is also the state. Two verbs are a switch that the safe one turns off."""
    identity = f"reflexd_{discovery.object_id}"
    common = {
        "name": discovery.name,
        "unique_id": identity,
        "command_topic": command_topic,
        "state_topic": state_topic,
        "qos": 1,
        "retain": False,  # a retained command would be carried out whenever the device subscribes again
        "optimistic": False,
        "device": {"identifiers": [identity], "name": discovery.name},
        "origin": {"name": "reflexd"},
    }
    own = _switch(payloads, safe) if len(payloads) == 2 else _select(payloads)
    return json.dumps({**common, **own}, ensure_ascii=False).encode()


def _switch(payloads: Mapping[str, str], safe: str) -> dict[str, object]:
    (on,) = set(payloads) - {safe}
    return {"payload_on": payloads[on], "payload_off": payloads[safe], "state_on": on, "state_off": safe}


def _select(payloads: Mapping[str, str]) -> dict[str, object]:
    """Home Assistant sends the option's name; its template makes the payload of it."""
    table = json.dumps(dict(payloads), ensure_ascii=False)
    return {"options": list(payloads), "command_template": f"{{{{ {table}[value] }}}}"}
