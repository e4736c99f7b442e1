"""The valid parts of a configuration that may have mistakes, for the doctor and the archive of a support ticket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent import yamlfile
from agent.config.models import Config
from agent.yamlfile import YamlError


def read_config(path: Path) -> Config:
    """Its valid lanes, actuators, rules and sections: a broken one does not hide the others."""
    try:
        data = yamlfile.read(path).data
    except YamlError:
        return Config.model_validate({})
    return _salvage(data)


def _salvage(data: dict[str, Any]) -> Config:
    rest = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    while True:
        try:
            return Config.model_validate(rest)
        except ValidationError as error:
            for mistake in error.errors():
                _drop(rest, [str(step) for step in mistake["loc"]])


def _drop(data: dict[str, Any], place: list[str]) -> None:
    """Remove the invalid part at a place: one lane, not all of them."""
    section = data.get(place[0])
    if place[0] in ("lanes", "actuators", "rules") and len(place) > 1 and isinstance(section, dict):
        section.pop(place[1], None)
    else:
        data.pop(place[0], None)
