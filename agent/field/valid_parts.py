"""The valid parts of a configuration that may have mistakes, for the doctor and the archive of a support ticket."""

from __future__ import annotations

from pathlib import Path

from agent import yamlfile
from agent.config.models import Config
from agent.config.references import References
from agent.config.salvage import salvage
from agent.yamlfile import YamlError


def read_config(path: Path) -> Config:
    """Its valid lanes, actuators, rules and sections: a broken one does not hide the others."""
    try:
        return salvage(References(yamlfile.read(path)).resolved())
    except YamlError:
        return Config.model_validate({})
