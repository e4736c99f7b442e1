"""The valid parts of a configuration with mistakes, so that one wrong key hides no other mistake."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import ValidationError

from agent.config.models import Config
from agent.yamlfile import Place

# Without them the rest of their section means something else.
WHOLE = ("device", "endpoint", "server_key", "source")


def salvage(data: dict[str, Any]) -> Config:
    """Without the invalid keys, and without the sections that need them."""
    rest = copy.deepcopy(data)
    while True:
        try:
            return Config.model_validate(rest)
        except ValidationError as error:
            mistake = error.errors(include_url=False, include_input=False)[0]
            place = tuple(mistake["loc"])
            _drop(rest, place[:-1] if mistake["type"] == "missing" else place)


def _drop(data: dict[str, Any], place: Place) -> None:
    """Remove the key at a place, or the nearest above it that has a name: a list without an item has other indices."""
    section: Any = data
    parents: list[tuple[dict[str, Any], str]] = []
    for step in place:
        if not isinstance(section, dict) or str(step) not in section:
            break
        parents.append((section, str(step)))
        section = section[str(step)]
    while len(parents) > 2 and parents[-1][1] in WHOLE:
        parents.pop()
    holder, key = parents[-1] if parents else (data, next(iter(data)))
    del holder[key]
