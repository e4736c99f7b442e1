"""Writes the proposals into the configuration: checked by `reflexd check` first, with a backup, comments kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent import redact
from agent.box import private
from agent.config import edit
from agent.config.edit import EditError
from agent.errors import ConfigError
from agent.isolated import python
from agent.tune.propose import Outcome
from agent.yamlfile import Place

CHECK_S = 120.0  # loading models, and timing engines that were never timed here


class Written(NamedTuple):
    """backup: beside the file, as it was."""

    path: Path
    backup: Path


def write(path: Path, outcomes: Sequence[Outcome]) -> Written | None:
    """None where nothing is proposed. Raises ConfigError, with the file as it was."""
    changes: dict[Place, Any] = {}
    for outcome in outcomes:
        if outcome.proposal:
            own = outcome.proposal.row.candidate.changes
            changes |= {("lanes", outcome.lane, *place): value for place, value in own.items()}
    return _written(path, changes) if changes else None


def _written(path: Path, changes: Mapping[Place, Any]) -> Written:
    try:
        content = edit.changed(path, changes)
        check(path, content)
        return Written(path, edit.write(path, content))
    except EditError as error:
        raise ConfigError([redact.message(str(error))]) from error
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror}: nothing was written"
        raise ConfigError([f"{reason}; write it as the owner of {path}"]) from error


def check(path: Path, content: bytes) -> None:
    """What `reflexd check` finds in this content, where the file is. Raises ConfigError, OSError."""
    draft = path.resolve().with_name(f".{path.name}.tune.yaml")  # beside it: relative paths start from there
    private.write(draft, content, durable=False)
    try:
        command = python("agent", "check", "--json", "-c", str(draft))
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CHECK_S)
        report = json.loads(ended.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise ConfigError([f"{path}: nothing was written: `reflexd check` gave no answer"]) from error
    finally:
        draft.unlink(missing_ok=True)
    if not report["ok"]:
        mistakes = "; ".join(report["mistakes"]).replace(str(draft), str(path))
        raise ConfigError([f"{path}: nothing was written: with the change `reflexd check` reports: {mistakes}"])
