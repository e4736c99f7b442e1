"""Relative paths in a driver's options start from the configuration file's folder, as those of models do."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from agent.config.references import SECTIONS
from drivers import base as drivers
from drivers.base import DriverError


def anchored(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration's values with every path of every driver absolute. Values of a wrong kind stay as they are."""
    made = dict(data)
    for sections, device in SECTIONS:
        if isinstance(made.get(sections), dict):
            made[sections] = {
                name: {**section, device: _device(section[device], folder)}
                if isinstance(section, dict) and isinstance(section.get(device), dict)
                else section
                for name, section in made[sections].items()
            }
    return made


def _device(section: dict[str, Any], folder: Path) -> dict[str, Any]:
    try:
        options = drivers.load(section["driver"]).Options
    except (DriverError, LookupError, TypeError):
        return section  # reported by the checks
    made: dict[str, Any] = _absolute(options, section, folder)
    return made


def _absolute(kind: Any, value: Any, folder: Path) -> Any:
    """kind: the annotation of an option, or a model of options."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _absolute(inner[0], value, folder)
    if origin in (Union, types.UnionType):
        made = [_absolute(each, value, folder) for each in inner]
        return next((each for each in made if each != value), value)
    if isinstance(value, str):
        return _from(folder, value) if isinstance(kind, type) and issubclass(kind, Path) else value
    if isinstance(value, list) and inner:
        return [_absolute(inner[0], each, folder) for each in value]
    if isinstance(value, dict) and origin is dict:
        return {key: _absolute(inner[1], each, folder) for key, each in value.items()}
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return {
            key: _absolute(fields[key].annotation, at, folder) if key in fields else at for key, at in value.items()
        }
    return value


def _from(folder: Path, path: str) -> str:
    """An address stays one, so that the driver can say that it takes files only; an empty one stays empty."""
    return path if not path or "://" in path else str(folder / path)
