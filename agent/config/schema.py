"""The JSON schema of the configuration with the options of every shipped driver, for editors and forms."""

from __future__ import annotations

from typing import Any

from agent.config.models import Config
from drivers import base as drivers


def full() -> dict[str, Any]:
    """Config's schema, in which a source or device is a shipped driver, or another module by its dotted path."""
    schema = Config.model_json_schema()
    shared = schema.setdefault("$defs", {})
    sources: list[dict[str, Any]] = []
    devices: list[dict[str, Any]] = []
    for name in drivers.names():
        try:
            module = drivers.load(name)
        except drivers.DriverError:
            continue  # its library is not installed, so its options are not known
        target = devices if issubclass(module.Driver, drivers.Actuator) else sources
        target.append(_driver_schema(name, module.Options.model_json_schema(), shared))
    lane, actuator = shared["LaneConfig"]["properties"], shared["ActuatorConfig"]["properties"]
    lane["source"] = {"anyOf": [*sources, {"$ref": "#/$defs/Device"}]}
    actuator["device"] = {"anyOf": [*devices, {"$ref": "#/$defs/Device"}, {"type": "null"}], "default": None}
    return schema


def _driver_schema(name: str, options: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Its options plus the fixed `driver` key; nested definitions move to the shared ones under the driver's name."""
    prefix = name.replace(".", "_")
    for inner, definition in options.pop("$defs", {}).items():
        shared[f"{prefix}_{inner}"] = _relink(definition, prefix)
    properties = {"driver": {"const": name}, **_relink(options.get("properties", {}), prefix)}
    required = ["driver", *options.get("required", [])]
    return {
        "type": "object",
        "title": name,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _relink(node: Any, prefix: str) -> Any:
    """Point references at the moved definitions."""
    if isinstance(node, dict):
        return {
            k: v.replace("#/$defs/", f"#/$defs/{prefix}_") if k == "$ref" else _relink(v, prefix)
            for k, v in node.items()
        }
    if isinstance(node, list):
        return [_relink(item, prefix) for item in node]
    return node
