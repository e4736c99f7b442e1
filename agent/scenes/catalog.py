"""Ready configurations of whole scenes: on simulated devices, or on recordings where there are some."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from agent import yamlfile
from agent.errors import ConfigError

HERE = Path(__file__).parent
RECORDINGS = "recordings"
MARK = "data:"  # before a path in recordings.yaml that starts from the folder of the recordings


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.yaml") if path.stem != RECORDINGS)


def find(name: str) -> Path:
    """Raises ConfigError."""
    if name not in names():
        close = get_close_matches(name, names(), 1, 0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"there is {', '.join(names())}"
        raise ConfigError([f"no scene '{name}'; {hint}"])
    return HERE / f"{name}.yaml"


def on_recordings(name: str, data: Path, folder: Path) -> Path:
    """The scene with the sources, models and rules of recordings.yaml instead of the simulated ones, written to folder.

    data: laid out as README.md here says. Raises ConfigError that names the first file that is missing.
    """
    scene = yamlfile.read(find(name)).data
    replacements = yamlfile.read(HERE / f"{RECORDINGS}.yaml").data.get(name)
    if not replacements:
        raise ConfigError([f"scene {name} has no recordings: run it without --data"])
    for section, entries in replacements.items():
        for key, entry in entries.items():
            if entry is None:
                scene[section].pop(key, None)
            else:
                scene.setdefault(section, {})[key] = _with_paths(entry, data)
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(scene, indent=1), encoding="utf-8")
    return path


def _with_paths(entry: Any, data: Path) -> Any:
    """The same with every marked path as a full path."""
    if isinstance(entry, dict):
        return {key: _with_paths(value, data) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_with_paths(value, data) for value in entry]
    return str(_below(data, entry)) if isinstance(entry, str) and entry.startswith(MARK) else entry


def _below(data: Path, marked: str) -> Path:
    path = (data / marked.removeprefix(MARK)).resolve()
    if not path.exists():
        raise ConfigError([f"{path} does not exist: agent/scenes/README.md lists the files"])
    return path
