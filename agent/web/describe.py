"""`python -m agent.web.describe FILE [-]`: what the live view needs of a configuration, as JSON. -: its text is stdin.

A process of its own, because to check a configuration takes 10 MB and half a second that the web process is spared.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agent import redact, yamlfile
from agent.config.load import load_config, validate_config
from agent.config.models import Config
from agent.errors import ConfigError, PackageError
from agent.packages import package
from agent.yamlfile import YamlError


def describe(config: Config, base_folder: Path) -> dict[str, Any]:
    """base_folder: of the configuration, where relative paths start."""
    return {
        "node": config.node,
        "run_dir": str(config.run_dir.absolute()),
        "state_dir": str(config.state_dir.absolute()),
        "web": config.web.model_dump(mode="json"),
        "lanes": {name: _lane(name, config, base_folder) for name in config.lanes},
        "rules": list(config.rules),
        "actuators": list(config.actuators),
        "models": _models(config, base_folder),
    }


def _lane(name: str, config: Config, base_folder: Path) -> dict[str, Any]:
    section = config.lanes[name]
    first = package.find(section.model, base_folder)
    return {
        "model": section.model,
        "then": section.then,
        "heads": list(section.heads),
        "refine": section.refine.model if section.refine else "",
        "driver": section.source.driver,
        "zones": section.zones,
        "labels": _labels(section.models, base_folder),
        "budget_ms": section.budget_ms or package.read(first).budget_ms,
        "conditions": conditions(name, config),
    }


def _labels(models: list[str], base_folder: Path) -> list[str]:
    return list(dict.fromkeys(label for model in models for label in package.labels(package.find(model, base_folder))))


def conditions(lane: str, config: Config) -> list[dict[str, Any]]:
    """What the rules look for in this lane."""
    return [
        {
            "rule": name,
            "label": condition.label,
            "score": condition.score,
            "absent": condition.absent,
            "zone": condition.zone if isinstance(condition.zone, str) else "",
            "zone_by": condition.zone_by,
        }
        for name, rule in config.rules.items()
        for condition in rule.conditions
        if condition.lane == lane
    ]


def _models(config: Config, base_folder: Path) -> dict[str, Any]:
    """Folder and lanes of each model, by its folder's name; a second one of that name gets a number."""
    lanes: dict[Path, list[str]] = {}
    for lane, section in config.lanes.items():
        for model in section.models:
            lanes.setdefault(package.find(model, base_folder).absolute(), []).append(lane)
    models: dict[str, Any] = {}
    for folder, users in lanes.items():
        name = folder.name if folder.name not in models else f"{folder.name}-{len(models) + 1}"
        models[name] = {"folder": str(folder), "lanes": users}
    return models


def main() -> int:
    path = Path(sys.argv[1])
    try:
        if sys.argv[2:]:
            config = validate_config(yamlfile.parse(sys.stdin.buffer.read(), path))
        else:
            config = load_config(path)
        print(json.dumps(describe(config, path.resolve().parent)))
    except (ConfigError, PackageError, YamlError) as error:
        print(json.dumps({"error": redact.message(str(error))}))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
