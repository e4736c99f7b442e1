"""Loads and checks reflexd.yaml. A mistake has file:line, the key, what was expected and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from agent import yamlfile
from agent.config.checks import all_mistakes
from agent.config.models import Config
from agent.config.renamed import new_name
from agent.errors import ConfigError
from agent.section import explain
from agent.yamlfile import Document, YamlError


def load_config(path: Path) -> Config:
    """The checked configuration. Raises ConfigError with every mistake found."""
    try:
        return validate_config(yamlfile.read(path))
    except YamlError as error:
        hint = ": name the configuration with -c FILE" if isinstance(error.__cause__, FileNotFoundError) else ""
        raise ConfigError([f"{error}{hint}"]) from error


def validate_config(document: Document) -> Config:
    """The checked configuration of a document. Raises ConfigError with every mistake found."""
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError(explain(document, error, Config, new_name=new_name)) from error
    mistakes = list(all_mistakes(config, document))
    if mistakes:
        raise ConfigError(mistakes)
    return config
