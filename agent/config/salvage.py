"""The valid parts of a configuration with mistakes, so that one wrong key hides no other mistake."""

from __future__ import annotations

import copy
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from agent.config.models import Config
from agent.section import fields_at
from agent.yamlfile import Place

CLOSE = 0.8  # of 1: how much a misspelt key resembles the right one
# Without them the rest of their section means something else.
WHOLE = ("boxes", "device", "endpoint", "server_key", "source")


def salvage(data: dict[str, Any]) -> Config:
    """Without the invalid keys, and without the sections that need them.

    A misspelt key is taken for the one that it resembles: this one is not also reported as missing.
    """
    rest = copy.deepcopy(data)
    while True:
        try:
            return Config.model_validate(rest)
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_input=False)
            if any(_rename(rest, tuple(each["loc"])) for each in mistakes if each["type"] == "extra_forbidden"):
                continue
            mistake = mistakes[0]
            place = tuple(mistake["loc"])
            _drop(rest, place[:-1] if mistake["type"] == "missing" else place)


def _rename(data: dict[str, Any], place: Place) -> bool:
    """A key with a plain value that is nearly a valid one, which is not there: give it that name. True if so."""
    section: Any = data
    for step in place[:-1]:
        if not isinstance(section, dict) or str(step) not in section:
            return False
        section = section[str(step)]
    key = str(place[-1])
    if not isinstance(section, dict) or isinstance(section.get(key), (dict, list)):
        return False
    meant = [name for name in get_close_matches(key, fields_at(Config, place[:-1]), 1, CLOSE) if name not in section]
    if not meant or key not in section:
        return False
    section[meant[0]] = section.pop(key)
    return True


def _drop(data: dict[str, Any], place: Place) -> None:
    """Remove the key at a place, or the nearest above it that has a name: a list without an item has other indices.

    An item that is wrong as a whole loses its last key: the wrong one is among those that may be left out.
    """
    section: Any = data
    parents: list[tuple[Any, Any]] = []
    for step in place:
        if isinstance(section, dict) and str(step) in section:
            key: Any = str(step)
        elif isinstance(section, list) and type(step) is int and step < len(section):
            key = step
        else:
            break
        parents.append((section, key))
        section = section[key]
    if parents and isinstance(parents[-1][0], list) and isinstance(section, dict) and section:
        section.popitem()
        return
    while parents and isinstance(parents[-1][0], list) or len(parents) > 2 and parents[-1][1] in WHOLE:
        parents.pop()
    holder, key = parents[-1] if parents else (data, next(iter(data)))
    del holder[key]
