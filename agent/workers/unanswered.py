"""What the daemon says of lanes whose worker does not answer."""

from __future__ import annotations

from typing import Any

from agent import ledger
from agent.config.models import Config, LaneConfig
from agent.report import actuator


def unanswered(config: Config, reason: str) -> dict[str, Any]:
    """In place of a worker's answer to `status`. config: of its lanes."""
    return {
        "updates": {},
        "lanes": {name: _lane(section, reason) for name, section in config.lanes.items()},
        "actuators": {name: actuator(name, config) for name in config.actuators},
    }


def _lane(section: LaneConfig, reason: str) -> dict[str, Any]:
    """As of `Runner.status`."""
    return {
        "state": ledger.STATES[ledger.GONE],
        "healthy": False,
        "reason": reason,
        "model": section.model,
        "versions": {},
        "then": section.then,
        "driver": section.source.driver,
        "critical": section.critical,
        "budget_ms": section.budget_ms,
    }
