"""Loads and checks reflexd.yaml. A mistake has file:line, the key, what was expected and the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent import redact, yamlfile
from agent.config import surroundings
from agent.config.checks import all_mistakes
from agent.config.models import Config
from agent.config.paths import anchored
from agent.config.references import REFERENCE, References
from agent.config.renamed import new_name
from agent.config.salvage import salvage
from agent.errors import ConfigError, Pending, about_file
from agent.section import explain
from agent.yamlfile import Document, YamlError

LINE = re.compile(r".*?:(\d+): ")


def load_config(path: Path) -> Config:
    """The checked configuration. Raises ConfigError with every mistake found."""
    try:
        return validate_config(yamlfile.read(path))
    except YamlError as error:
        hint = ": name the configuration with -c FILE" if isinstance(error.__cause__, FileNotFoundError) else ""
        raise ConfigError([about_file(path, f"{error}{hint}")]) from error


def check_config(path: Path) -> tuple[Config, list[str]]:
    """(the checked configuration, warnings), with all that it needs beside itself. Raises ConfigError."""
    try:
        document = yamlfile.read(path)
    except YamlError:
        load_config(path)
        raise
    config, mistakes = examine(document)
    every_mistake = [*mistakes, *surroundings.missing(config, document)]
    cautions = [redact.message(warning) for warning in surroundings.warnings(config, document)]
    _raise_any(every_mistake, cautions)
    return config, cautions


def validate_config(document: Document) -> Config:
    """The checked configuration of a document. Raises ConfigError with every mistake found."""
    config, mistakes = examine(document)
    _raise_any(mistakes)
    return config


def _raise_any(mistakes: list[str], cautions: Sequence[str] = ()) -> None:
    """Each once, in the order of the file, without a secret."""
    if mistakes:
        ordered = sorted(dict.fromkeys(mistakes), key=_line)
        raise ConfigError([*(_masked(mistake) for mistake in ordered), *cautions])


def _line(mistake: str) -> int:
    """0 for one that has no line."""
    match = LINE.match(mistake)
    return int(match[1]) if match else 0


def _masked(mistake: str) -> str:
    """Without a secret. What may be no mistake later stays Pending: the exit code depends on it."""
    kind = Pending if isinstance(mistake, Pending) else str
    return kind(redact.message(mistake))


def examine(document: Document) -> tuple[Config, list[str]]:
    """(the valid parts, mistakes as they are: see `redact.message`).

    From here on this process masks the configuration's secrets in all its messages.
    """
    references = References(document)
    data = anchored(references.resolved(), document.path.resolve().parent)
    secrets = [*redact.secrets(data), *references.values]
    redact.remember(secret for secret in secrets if not REFERENCE.fullmatch(secret))  # its name may be shown
    mistakes = references.mistakes
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        mistakes += explain(document, error, Config, new_name=new_name)
        config = salvage(data)
    return config, [*mistakes, *all_mistakes(config, document)]
