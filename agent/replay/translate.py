"""Recordings of 0.1.0, whose configuration and messages have that version's names, in today's names."""

from __future__ import annotations

import json
from typing import Any

from agent.config import renamed
from agent.recorder.recording import RecordingContents

HEADER_KEYS = {"standing": "in_force"}
MESSAGE_KEYS = {"anew": "discontinuity", "looked": "refined", "hurried": "refine_skipped"}
DECISION_KEYS = {"because": "explanation"}


def translate(contents: RecordingContents) -> RecordingContents:
    """The same recording; of another version than 0.1 unchanged. If damaged: LookupError, ValueError, TypeError."""
    if not contents.header.get("version", "").startswith("0.1."):
        return contents
    header = _with_new_keys(contents.header, HEADER_KEYS)
    header["config"] = json.dumps(renamed.translate(json.loads(header["config"])))
    messages = [(lane, _translate_message(message)) for lane, message in contents.messages]
    return contents._replace(header=header, messages=messages)


def _translate_message(message: dict[str, Any]) -> dict[str, Any]:
    decisions = [_with_new_keys(decision, DECISION_KEYS) for decision in message["decisions"]]
    return {**_with_new_keys(message, MESSAGE_KEYS), "decisions": decisions}


def _with_new_keys(old: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in old.items()}
