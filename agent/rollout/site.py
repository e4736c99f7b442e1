"""`reflexd check --site`: the configurations of all boxes from one file, each by itself and then together."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent import redact, yamlfile
from agent.box import private
from agent.config.load import examine
from agent.errors import ConfigError, Pending
from agent.rollout import across
from agent.rollout.across import Box
from agent.rollout.overlay import box_documents
from agent.yamlfile import YamlError

LINE = re.compile(r".*?:(\d+): ")


def load_site(path: Path) -> tuple[list[Box], list[str]]:
    """(the boxes in the file's order, warnings). Raises ConfigError with every mistake found.

    Files that only a box has (keys, recordings) are looked for where their folder is here; else they are the box's
    own `reflexd check`.
    """
    try:
        documents, wrong = box_documents(yamlfile.read(path))
    except YamlError as error:
        raise ConfigError([str(error)]) from error
    boxes: list[Box] = []
    found: dict[str, list[str]] = {}
    for name, document in documents.items():
        config, own = examine(document)
        boxes.append(Box(name, document, config))
        found[name] = [mistake for mistake in own if not isinstance(mistake, Pending)]
    every_mistake = [*wrong, *_of_boxes(found)] or list(across.mistakes(boxes))
    if every_mistake:
        raise ConfigError([redact.message(mistake) for mistake in sorted(dict.fromkeys(every_mistake), key=_line)])
    return boxes, [redact.message(warning) for warning in across.warnings(boxes)]


def _of_boxes(found: dict[str, list[str]]) -> list[str]:
    """A mistake of the common part once; one of some boxes with their names."""
    owners: dict[str, list[str]] = {}
    for box, mistakes in found.items():
        for mistake in dict.fromkeys(mistakes):
            owners.setdefault(mistake, []).append(box)
    return [
        mistake if len(names) == len(found) > 1 else f"{mistake} (box {', '.join(names)})"
        for mistake, names in owners.items()
    ]


def _line(mistake: str) -> int:
    match = LINE.match(mistake)
    return int(match[1]) if match else 0


def write(boxes: Sequence[Box], folder: Path) -> list[Path]:
    """A file NAME.yaml for each box, for its owner only: it may hold passwords. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for box in boxes:
        head = f"# Box {box.name}, made by 'reflexd check --site' from {box.document.path.name}: change that file.\n"
        paths.append(folder / f"{box.name}.yaml")
        private.write(paths[-1], head.encode() + _yaml(box.document.data))
    return paths


def _yaml(data: dict[str, Any]) -> bytes:
    from ruamel.yaml import YAML  # slow to import: only where YAML is written

    text = io.BytesIO()
    YAML(typ="rt", pure=True).dump(data, text)  # in the order of the file
    return text.getvalue()
