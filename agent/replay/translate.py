"""Recordings of 0.1.0, whose configuration and messages have names of their time, in today's names."""

from __future__ import annotations

import json
from typing import Any

from agent.config import renamed
from agent.recorder.recording import RecordingContents

FACTS = {"standing": "in_force"}
FIELDS = {"anew": "discontinuity", "looked": "refined", "hurried": "refine_skipped"}
DECISION_FIELDS = {"because": "explanation"}


def translate(contents: RecordingContents) -> RecordingContents:
    """The same recording; of another version than 0.1 unchanged."""
    if not contents.facts.get("version", "").startswith("0.1."):
        return contents
    facts = _with_new_names(contents.facts, FACTS)
    facts["config"] = json.dumps(renamed.translate(json.loads(facts["config"])))
    return contents._replace(facts=facts, messages=[(lane, _message(old)) for lane, old in contents.messages])


def _message(old: dict[str, Any]) -> dict[str, Any]:
    decisions = [_with_new_names(decision, DECISION_FIELDS) for decision in old["decisions"]]
    return {**_with_new_names(old, FIELDS), "decisions": decisions}


def _with_new_names(old: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in old.items()}
