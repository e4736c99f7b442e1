"""Models that are updated, for `reflexd status`: the version in use, what is on trial, what was rejected last."""

from __future__ import annotations

from typing import Any

from agent.field import format
from agent.field.snapshot import View


def lines(view: View) -> list[str]:
    """From the daemon's reply; one for each model, and one for a reason."""
    updates = view.reply.get("updates")
    if not isinstance(updates, dict):
        return []
    return [line for name, update in updates.items() if isinstance(update, dict) for line in _of_model(name, update)]


def _of_model(name: str, update: dict[str, Any]) -> list[str]:
    parts = [f"model {name}: {update.get('current') or 'the package of the configuration'}"]
    trial = update.get("trial")
    if isinstance(trial, dict):
        parts.append(_trial(trial))
    if update.get("hold"):
        parts.append(f"held at {update['hold']}")
    rejected = update.get("rejected")
    last = list(rejected.items())[-1:] if isinstance(rejected, dict) else []
    return [
        format.plain("; ".join(parts)),
        *(format.plain(f"  {version} was rejected: {why}") for version, why in last),
    ]


def _trial(trial: dict[str, Any]) -> str:
    text = f"{trial.get('version')} on trial: {trial.get('stage')}"
    if trial.get("of"):
        text += f", {trial.get('done')} of {trial['of']} samples"
    agreement = trial.get("agreement")
    return text if not isinstance(agreement, float) else f"{text}, {agreement:.1%} agreement"
