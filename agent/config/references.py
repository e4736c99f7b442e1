"""`${NAME}` in a driver's options: a password from the environment or systemd's credentials instead of the file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.yamlfile import Document, Place

REFERENCE = re.compile(r"\$(\$?)\{([A-Za-z_][\w.-]{0,63})\}")  # $${NAME} stands for ${NAME} itself
SECTIONS = (("lanes", "source"), ("actuators", "device"))
MAX_BYTES = 4096


class References:
    """The references of a document. values: what they stand for. mistakes: a line for each that stands for nothing."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values: set[str] = set()
        self.mistakes: list[str] = []

    def resolved(self) -> dict[str, Any]:
        """The document's values with every reference replaced; one that stands for nothing stays."""
        data = dict(self.document.data)
        for sections, device in SECTIONS:
            if isinstance(data.get(sections), dict):
                data[sections] = {
                    name: {**section, device: self._in(section[device], (sections, name, device))}
                    if isinstance(section, dict) and device in section
                    else section
                    for name, section in data[sections].items()
                }
        return data

    def _in(self, value: Any, place: Place) -> Any:
        if isinstance(value, dict):
            return {key: self._in(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._in(item, (*place, index)) for index, item in enumerate(value)]
        return self._in_text(value, place) if isinstance(value, str) else value

    def _in_text(self, text: str, place: Place) -> str:
        def replaced(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            try:
                value = _value(match[2])
            except LookupError as error:
                self.mistakes.append(f"{self.document.at(place)}: {error.args[0]}")
                return match[0]
            self.values.add(value)
            before, after = text[: match.start()], text[match.end() :]
            if before.endswith("://") and after.startswith("@"):  # user and password
                return ":".join(quote(part, "") for part in value.split(":", 1))
            return quote(value, "") if "://" in before else value

        return REFERENCE.sub(replaced, text)


def has_reference(text: str) -> bool:
    return any(not match[1] for match in REFERENCE.finditer(text))


def _value(name: str) -> str:
    """Raises LookupError."""
    value = os.environ.get(name) or next(_credential(name), "")
    if not value:
        raise LookupError(
            f"'${{{name}}}' stands for nothing: set it in EnvironmentFile= or LoadCredential= of the service,"
            f" or here: {name}=... reflexd check"
        )
    return value


def _credential(name: str) -> Iterator[str]:
    """Of systemd: a file that only the service can read."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        if folder:
            with open(Path(folder) / name, encoding="utf-8") as file:
                yield file.read(MAX_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return
